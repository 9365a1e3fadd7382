// Vector kernels of the trainer. Every function exists for float (…_f32) and double (…_f64).
//
// Shapes: B rows (sequences), H cells, F features, V classes, n elements. Matrices are row-major, rows follow each other without
// gaps unless a stride is given. Pointers marked `nullable` may be NULL. Results depend on the arguments alone, not on the
// instruction set that runs: products and sums are never contracted, and every sum has one order.
#pragma once
#include <stddef.h>
#include <stdint.h>

/* What makes a product or what follows it faster and changes no bit: two regions of memory that are used right after it and that it fetches
   towards its end, of 0 bytes where there is none; and whether to begin with the last columns, since of a factor that is read again and again,
   in turns from either end, a cache keeps what it has room for. */
typedef struct {
  const void *first, *second;
  size_t first_bytes, second_bytes;
  int is_reversed;
} lockstep_hints;

/* Elements whose squares are summed together. */
enum { LOCKSTEP_SQUARES = 2048 };

#define LOCKSTEP_DECLARE_KERNELS(R, S)                                                                                          \
  /* a *= s */                                                                                                                  \
  void lockstep_scale_##S(size_t n, R *a, R s);                                                                                 \
  /* out = a + b, either of which it may be; and, unless NULL, the sum of squares in double of each LOCKSTEP_SQUARES elements of it, and   \
     of the rest, each in 16 interleaved partial sums. */                                                                       \
  void lockstep_add_##S(size_t n, R *out, const R *a, const R *b, double *squares);                                             \
  /* These sums of squares of a. */                                                                                             \
  void lockstep_squares_##S(size_t n, const R *a, double *squares);                                                             \
  /* Index of the first element that is not finite, or n. */                                                                    \
  size_t lockstep_first_not_finite_##S(size_t n, const R *a);                                                                   \
  /* out[f] (+)= Σ_b x[b, f] */                                                                                                 \
  void lockstep_column_sums_##S(size_t B, size_t F, const R *x, size_t stride, R *out, int accumulate);                         \
                                                                                                                                \
  /* One step of an LSTM. a = z_scale ⊙ z + r_scale ⊙ r + shift, gates i, f, g, o of H each; then the cell.                     \
     nullable: z_scale and r_scale (1), r (0), p_i and p_f, p_o. `gates` [B, 4H] receives σ, σ, tanh, σ and may be `z`. */      \
  void lockstep_lstm_forward_##S(size_t B, size_t H, const R *z, const R *z_scale, const R *r, const R *r_scale,                \
                                 const R *shift, const R *p_i, const R *p_f, const R *p_o, const R *c_previous, R *gates,       \
                                 R *c, R *h, size_t h_stride);                                                                  \
  /* Its derivative. dh = dh_above + dh_next (nullable); dc is read as the gradient of c_t from later steps and written as      \
     that of c_{t-1}; da [B, 4H] may be `gates`; dp_* (with p_*) accumulate. */                                                 \
  void lockstep_lstm_backward_##S(size_t B, size_t H, const R *gates, const R *c, const R *c_previous, const R *dh_above,       \
                                  size_t dh_stride, const R *dh_next, R *dc, const R *p_i, const R *p_f, const R *p_o,          \
                                  R *dp_i, R *dp_f, R *dp_o, R *da);                                                            \
  /* h = tanh(z_scale ⊙ z + r_scale ⊙ r + shift); and its derivative. */                                                        \
  void lockstep_rnn_forward_##S(size_t B, size_t H, const R *z, const R *z_scale, const R *r, const R *r_scale,                 \
                                const R *shift, R *h, size_t h_stride);                                                         \
  void lockstep_rnn_backward_##S(size_t B, size_t H, const R *h, size_t h_stride, const R *dh_above, size_t dh_stride,          \
                                 const R *dh_next, R *da);                                                                      \
                                                                                                                                \
  /* Mean and sum of squared deviations of each column. */                                                                      \
  void lockstep_moments_##S(size_t B, size_t F, const R *x, R *mean, R *m2);                                                    \
  /* Chan et al.: (n_a, mean_a, m2_a) ← (n_a, mean_a, m2_a) ∪ (n_b, mean_b, m2_b), elementwise. */                              \
  void lockstep_merge_moments_##S(size_t F, R n_a, R *mean_a, R *m2_a, R n_b, const R *mean_b, const R *m2_b);                  \
  /* v = m2 / n: rstd = 1/√(v + ε), scale = γ rstd, shift = β − scale ⊙ mean. nullable: beta (0). */                            \
  void lockstep_normalization_fold_##S(size_t F, R n, R epsilon, const R *mean, const R *m2, const R *gamma, const R *beta,     \
                                       R *rstd, R *scale, R *shift);                                                            \
  /* sum_dy = Σ_b dy, sum_dy_x = Σ_b dy ⊙ (x − mean) rstd. */                                                                   \
  void lockstep_normalization_sums_##S(size_t B, size_t F, const R *dy, const R *x, const R *mean, const R *rstd, R *sum_dy,    \
                                       R *sum_dy_x);                                                                            \
  /* dx = scale ⊙ (dy − (sum_dy + x̂ ⊙ sum_dy_x) / n); dx may be dy or x. */                                                     \
  void lockstep_normalization_backward_##S(size_t B, size_t F, R n, const R *dy, const R *x, const R *mean, const R *rstd,      \
                                           const R *scale, const R *sum_dy, const R *sum_dy_x, R *dx);                          \
  /* r ← (1 − m) r + m w s */                                                                                                   \
  void lockstep_blend_##S(size_t n, R keep, R weight, R *r, const R *s);                                                        \
                                                                                                                                \
  /* Replaces B rows of V logits, with the bias added, by the logarithm of their softmax. */                                     \
  void lockstep_log_softmax_##S(size_t B, size_t V, R *logits, const R *bias);                                                  \
                                                                                                                                \
  /* Softmax cross entropy of frames in columns, which take their classes in blocks, from first on: x [V, B] holds logits of V of B     \
     frames. `softmax_block` adds the bias and replaces x by e^(x − block_maximum); it keeps the running maximum (−∞ at the start)    \
     and sum of e^(x − maximum) (0), and for frames with a target (≥ 0) its logit, and whether its arg max is another (0).          \
     `softmax_factors` then gives what a block's x is to be multiplied by: gradient_scale / sum and the change of maximum, or 0     \
     without a target. `softmax_gradient` does so, subtracts gradient_scale at the targets, and gives the sum of every row. */      \
  void lockstep_softmax_block_##S(size_t V, size_t B, R *x, const R *bias, size_t first, const int32_t *targets, R *maximum,    \
                                  R *sum, R *block_maximum, R *target_logit, int32_t *wrong);                                   \
  void lockstep_softmax_factors_##S(size_t B, const int32_t *targets, const R *block_maximum, const R *maximum, const R *sum,   \
                                    R gradient_scale, R *factors);                                                              \
  void lockstep_softmax_gradient_##S(size_t V, size_t B, R *x, const R *factors, size_t first, const int32_t *targets,          \
                                     R gradient_scale, R *row_sums, int accumulate);                                            \
                                                                                                                                \
  /* out[b] = table[ids[b]], rows of E elements; out[b] += table[ids[b]]; and table[slots[b]] += x[b], b ascending. */          \
  void lockstep_gather_rows_##S(size_t B, size_t E, const R *table, size_t table_stride, const int32_t *ids, R *out,            \
                                size_t out_stride);                                                                             \
  void lockstep_add_gathered_rows_##S(size_t B, size_t E, const R *table, const int32_t *ids, R *out);                          \
  void lockstep_scatter_add_rows_##S(size_t B, size_t E, R *table, const int32_t *slots, const R *x);                           \
                                                                                                                                \
  /* Dropout of B rows of F units: kept with probability 1 − p and multiplied by 1/(1 − p). The draw for a unit is Philox       \
     4×32-10 with the key `seed` and the counter (layer, unit / 4; time; examples[row]; step). out may be x. */                 \
  void lockstep_dropout_##S(size_t B, size_t F, const R *x, R *out, double p, uint64_t seed, uint32_t step, uint32_t layer,     \
                            const int32_t *examples, uint32_t time);                                                            \
                                                                                                                                \
  /* out[c, r] = x[r, c] */                                                                                                       \
  void lockstep_transpose_##S(size_t rows, size_t columns, const R *x, size_t x_row, R *out, size_t out_row);                   \
                                                                                                                                \
  /* C [M, N] = (C +) A B for A [M, K] with element (m, k) at m a_row + k a_column, one of which is 1, and B [K, N]: rows b_row       \
     apart, or, where b_row is 0, packed. Each element is one sum over ascending k, whatever M, N and K are; with fused              \
     multiply-add where the processor has it, as in the products of BLAS. `hints` is nullable. `pack` takes W = Bᵀ [N, K] with element (n, k) at          \
     n stride_n + k stride_k, one of which is 1; `packed` holds packed_size elements. Tuned: faster than BLAS here. */                 \
  size_t lockstep_packed_size_##S(size_t N, size_t K);                                                                          \
  void lockstep_pack_##S(size_t N, size_t K, const R *W, size_t stride_n, size_t stride_k, R *packed);                          \
  void lockstep_product_##S(size_t M, size_t N, size_t K, const R *A, size_t a_row, size_t a_column, const R *B, size_t b_row,  \
                            R *C, size_t c_row, int accumulate, const lockstep_hints *hints);                             \
  int lockstep_product_is_tuned_##S(void);                                                                                      \
  /* The same for a matrix that is packed in bfloat16: rounded to nearest, ties to even. The products and sums are as above. */  \
  void lockstep_pack_rounded_##S(size_t N, size_t K, const R *W, size_t stride_n, size_t stride_k, uint16_t *packed);           \
  void lockstep_product_rounded_##S(size_t M, size_t N, size_t K, const R *A, size_t a_row, size_t a_column,                    \
                                    const uint16_t *packed, R *C, size_t c_row, int accumulate,                                 \
                                    const lockstep_hints *hints);                                                         \
                                                                                                                                \
  /* Updates of n parameters θ by gradients s g. */                                                                             \
  void lockstep_sgd_##S(size_t n, R *theta, const R *g, R s, R rate);                                                           \
  void lockstep_momentum_##S(size_t n, R *theta, R *u, const R *g, R s, R rate, R momentum);                                    \
  void lockstep_adam_##S(size_t n, R *theta, R *m, R *v, const R *g, R s, R rate, double beta1, double beta2, R correction1,              \
                         R correction2, R epsilon);                                                                             \
  void lockstep_rmsprop_##S(size_t n, R *theta, R *v, R *u, const R *g, R s, R rate, R momentum, double decay, R epsilon);

LOCKSTEP_DECLARE_KERNELS(float, f32)
LOCKSTEP_DECLARE_KERNELS(double, f64)

/* The product by the kernels of an instruction set, 3 or 4 for x86-64-v3 or v4, to compare their bits; 0 where the processor has it not.
   B is packed in bfloat16 if it is rounded. */
int lockstep_product_of_level_f32(int level, size_t M, size_t N, size_t K, const float *A, size_t a_row, size_t a_column, const void *B,
                                  size_t b_row, int is_rounded, float *C, size_t c_row, int accumulate);

/* Makes `count` threads, the calling one among them, do what the kernels divide: products, packing, gates, softmax and updates, in pieces
   that leave every element's own order of operations as it is, so that their number changes no bit. 1, as at the start, ends the others.
   `least_work`: the least that is worth a piece, in floating-point operations of a product; 0 for the default. Returns 0, or the error of
   the system that will not start them; then there is 1. Any thread may call any kernel meanwhile: one at a time has the others' help. */
int lockstep_set_threads(size_t count, size_t least_work);
size_t lockstep_threads(void);
/* Writes a bit for each processor that the calling thread may run on; returns the bytes written, 0 where there are more processors. */
size_t lockstep_usable_processors(size_t bytes, unsigned char *mask);

/* Formats of 16 bits, float16 (IEEE 754 binary16) and bfloat16. `encode` rounds to nearest, ties to even; what is too large becomes infinite,
   a NaN stays one. `decode` is exact. `round`: out = decode(encode(x)), out may be x. `add_rounded`: a = round(round(a) + round(b)), the
   sum in single precision. `add_encoded`: the same of encoded numbers. */
#define LOCKSTEP_DECLARE_HALF_KERNELS(S)                                                                                        \
  void lockstep_encode_##S(size_t n, const float *x, uint16_t *out);                                                            \
  void lockstep_decode_##S(size_t n, const uint16_t *x, float *out);                                                            \
  void lockstep_round_##S(size_t n, const float *x, float *out);                                                                \
  void lockstep_add_rounded_##S(size_t n, float *a, const float *b);                                                            \
  void lockstep_add_encoded_##S(size_t n, uint16_t *a, const uint16_t *b);

LOCKSTEP_DECLARE_HALF_KERNELS(float16)
LOCKSTEP_DECLARE_HALF_KERNELS(bfloat16)

/* Starts a program, found as a shell finds it; `arguments` ends with NULL. It has a process group of its own and nothing to read, and gets `ending_signal`
   when the calling thread ends: to be called by the main thread. Returns its process number, or −errno; a program that cannot be run ends with 127. */
int lockstep_spawn(char *const arguments[], int ending_signal);

/* Whether a host takes, or refuses, a TCP connection within so many milliseconds: 1, or 0; −1 where its name is unknown, which may take longer
   to find out. */
int lockstep_host_answers(const char *host, const char *port, int milliseconds);

/* n doubles uniform in [0, 1), 53 bits each: values first ..< first + n of the sequence that (seed, stream) names.
   `first` is even. Philox 4×32-10 with the key `seed` and the counter (index / 2; stream; ~0). */
void lockstep_uniform(size_t n, double *out, uint64_t seed, uint32_t stream, uint64_t first);

/* `rounds` of multiply-adds x ← factor x + addend in registers on each thread, in enough independent chains to fill the processor's arithmetic;
   their sum goes to *out. Returns the number of floating-point operations. */
double lockstep_multiply_add_chains_f32(size_t rounds, float factor, float addend, float *out);

/* The instruction set whose clone of the kernels runs here: "x86-64-v4", "x86-64-v3", "x86-64" or "generic". */
const char *lockstep_kernel_instruction_set(void);

/* Notes SIGUSR1, SIGTERM and SIGINT from now on instead of dying of them; a second SIGTERM or SIGINT acts as usual. */
void lockstep_catch_signals(void);
/* The number of the last signal noted, or 0. */
int lockstep_signal_received(void);
