// Vector kernels of the trainer, in one table for each number type and instruction set.
//
// Shapes: B rows (sequences), H cells, F features, V classes, n elements. Matrices are row-major, and rows follow each other without
// gaps unless a stride is given. Arrays of `void` hold real numbers: float or double, as the table is for. Scalars come in double and
// are rounded to the table's type. Results depend on the arguments alone, not on the instruction set that computes them: every sum
// has one order, and which products and sums are fused is the same everywhere.
#pragma once
#include <stddef.h>
#include <stdint.h>

#pragma clang assume_nonnull begin

// ---- Arguments -------------------------------------------------------------------------------------------------------------

/* What a step of a cell adds up before its nonlinearities, G features a row: z_scale ⊙ z + r_scale ⊙ r + shift + r_shift. Without
   z_scale or r_scale it is 1; without r or r_shift it is 0. r_shift is only there with r_scale, but for cells that read r apart. */
typedef struct {
  const void *z;
  const void *_Nullable z_scale, *_Nullable r, *_Nullable r_scale, *_Nullable r_shift;
  const void *shift;
} lockstep_preactivation;

/* One step of an LSTM: a [B, 4H], gates i, f, g, o of H each, then the cell. Without p_* there are no peepholes.
   `gates` [B, 4H] receives σ, σ, tanh, σ and may be `z`. Without h, which needs r_shift, the output is left to `lstm_output`. */
typedef struct {
  size_t B, H;
  lockstep_preactivation a;
  const void *_Nullable p_i, *_Nullable p_f, *_Nullable p_o;
  const void *c_previous;
  void *gates, *c;
  void *_Nullable h;
  size_t h_stride;
} lockstep_lstm_step;

/* Its derivative. dh = dh_above + dh_next. `dc` is read as the gradient of c_t from later steps and written as that of c_{t-1};
   da [B, 4H] may be `gates`; dp_* (with p_*) accumulate. Without dh_above, `dc_output` [B, H] is the gradient of c_t from the output
   and the output gate's part of da is there already, as `lstm_output_backward` leaves them. */
typedef struct {
  size_t B, H;
  const void *gates, *c, *c_previous;
  const void *_Nullable dh_above;
  size_t dh_stride;
  const void *_Nullable dh_next, *_Nullable dc_output;
  void *dc;
  const void *_Nullable p_i, *_Nullable p_f, *_Nullable p_o;
  void *_Nullable dp_i, *_Nullable dp_f, *_Nullable dp_o;
  void *da;
} lockstep_lstm_derivative;

/* The output of an LSTM with a normalised cell: h = o ⊙ tanh(scale ⊙ cell + shift), with o in `gates` [B, 4H]. */
typedef struct {
  size_t B, H;
  const void *gates, *cell, *scale, *shift;
  void *h;
  size_t h_stride;
} lockstep_lstm_output_step;

/* Its derivative: d_normalized [B, H], the gradient of scale ⊙ cell + shift, and the output gate's part of da [B, 4H], which may be
   `gates`. */
typedef struct {
  size_t B, H;
  const void *gates, *cell, *scale, *shift, *dh_above;
  size_t dh_stride;
  const void *_Nullable dh_next;
  void *d_normalized, *da;
} lockstep_lstm_output_derivative;

/* One step of a plain cell: h = tanh(a), with a [B, H]. */
typedef struct {
  size_t B, H;
  lockstep_preactivation a;
  void *h;
  size_t h_stride;
} lockstep_rnn_step;

/* Its derivative: da = (dh_above + dh_next) ⊙ (1 − h²). */
typedef struct {
  size_t B, H;
  const void *h;
  size_t h_stride;
  const void *dh_above;
  size_t dh_stride;
  const void *_Nullable dh_next;
  void *da;
} lockstep_rnn_derivative;

/* One step of a GRU, gates r, z, n of H each: with u = z_scale ⊙ z + shift and v = r_scale ⊙ r + r_shift [B, 3H],
   r = σ(u_r + v_r), z = σ(u_z + v_z), n = tanh(u_n + r ⊙ v_n), h = (1 − z) ⊙ n + z ⊙ h_previous. `gates` may be `a.z`. */
typedef struct {
  size_t B, H;
  lockstep_preactivation a;
  const void *h_previous;
  size_t h_previous_stride;
  void *gates, *h;
  size_t h_stride;
} lockstep_gru_step;

/* Its derivative. dh = dh_above + dh_next. du [B, 3H], which may be `gates`, and dv [B, 3H], which may be `r`, are the gradients of u
   and v; dh_previous [B, H], which may be dh_next, receives dh ⊙ z. */
typedef struct {
  size_t B, H;
  const void *gates, *r;
  const void *_Nullable r_scale;
  const void *r_shift, *h_previous;
  size_t h_previous_stride;
  const void *dh_above;
  size_t dh_stride;
  const void *_Nullable dh_next;
  void *dh_previous, *du, *dv;
} lockstep_gru_derivative;

/* out = scale ⊙ x + shift, rows of F features. */
typedef struct {
  size_t B, F;
  const void *x, *scale, *shift;
  void *out;
  size_t out_stride;
} lockstep_affine_map;

/* Layer normalisation without its parameters: x̂ = (x − mean) rstd, with mean and biased variance v over the F features of a row and
   rstd = 1/√(v + ε) [B]. x_hat may be x. */
typedef struct {
  size_t B, F;
  double epsilon;
  const void *x;
  void *x_hat;
  void *_Nullable rstd;
} lockstep_standardization;

/* Its derivative, with g = gamma ⊙ dy: dx = rstd (g − mean(g) − x̂ mean(g ⊙ x̂)), means over the features of a row. dx may be dy or
   x_hat. */
typedef struct {
  size_t B, F;
  const void *dy, *x_hat, *rstd, *gamma;
  void *dx;
} lockstep_standardization_derivative;

/* Normalisation as one scale and shift a feature, with v = m2 / n: rstd = 1/√(v + ε), scale = γ rstd, shift = β − scale ⊙ mean.
   Without beta it is 0. */
typedef struct {
  size_t F;
  double n, epsilon;
  const void *mean, *m2, *gamma;
  const void *_Nullable beta;
  void *rstd, *scale, *shift;
} lockstep_normalization;

/* The derivative of normalisation over n frames. `normalization_sums` writes sum_dy = Σ_b dy and sum_dy_x = Σ_b dy ⊙ x̂, where
   x̂ = (x − mean) rstd. `normalization_backward` reads them: dx = scale ⊙ (dy − (sum_dy + x̂ ⊙ sum_dy_x) / n); dx may be dy or x. */
typedef struct {
  size_t B, F;
  double n;
  const void *dy, *x, *mean, *rstd;
  const void *_Nullable scale;
  void *sum_dy, *sum_dy_x;
  void *_Nullable dx;
} lockstep_normalization_derivative;

/* Softmax cross entropy by blocks of classes, with frames in columns: x [V, B], rows x_row apart, holds the logits of the V classes
   from `first` on. The bias is added and x becomes e^(x − block_maximum). Over all blocks so far, `maximum` (−∞ at the start) and
   `sum` (0 at the start) are those of e^(x − maximum) (online softmax, Milakov & Gimelshein 2018). Frames with a target ≥ 0 get its
   logit and whether the arg max is another class. */
typedef struct {
  size_t V, B, first;
  void *x;
  size_t x_row;
  const void *bias;
  const int32_t *targets;
  void *maximum, *sum, *block_maximum, *target_logit;
  int32_t *wrong;
} lockstep_softmax_block;

/* The gradient of such a block: x ← x ⊙ factors, less gradient_scale at the targets; row_sums [V] receives, or with `accumulate`
   has added to it, the sum of every row. Frames without a target get 0. */
typedef struct {
  size_t V, B, first;
  void *x;
  const void *factors;
  const int32_t *targets;
  double gradient_scale;
  void *row_sums;
  int accumulate;
} lockstep_softmax_gradient;

/* Dropout of B rows of F units: a unit is kept with probability 1 − p and multiplied by 1/(1 − p). Its draw is Philox 4×32-10 with
   the key `seed` and the counter (layer, unit / 4; time; examples[row]; step). `out` may be x. */
typedef struct {
  size_t B, F;
  const void *x;
  void *out;
  double p;
  uint64_t seed;
  uint32_t step, layer;
  const int32_t *examples;
  uint32_t time;
} lockstep_dropout;

/* An update of n parameters θ by gradients gradient_scale · g; u and v are what the rule remembers of each. */
typedef struct {
  size_t n;
  void *theta;
  void *_Nullable u, *_Nullable v;
  const void *g;
  double gradient_scale, rate, momentum, beta1, beta2, correction1, correction2, epsilon;
} lockstep_update;

/* C [M, N] = A B, or C += A B with `accumulate`. Element (m, k) of A is at m a_row + k a_column, one of which is 1. B [K, N] has rows
   b_row apart, or, where b_row is 0, is packed by `lockstep_pack` with the same table, in bfloat16 if `is_rounded`. Each element of C
   is one chain of multiply-adds over ascending k, beginning with 0 or with what C holds; in single precision they are fused. */
typedef struct {
  size_t M, N, K;
  const void *A;
  size_t a_row, a_column;
  const void *B;
  size_t b_row;
  int is_rounded;
  void *C;
  size_t c_row;
  int accumulate;
  /* Memory that is read right after the product, to be prefetched meanwhile: from end to end, `soon_bytes` of it. */
  const void *_Nullable soon;
  size_t soon_bytes;
} lockstep_product;

/* Packs W = Bᵀ [N, K], with element (n, k) at n stride_n + k stride_k, one of which is 1, into `packed`, which has room for
   `lockstep_packed_size` elements: real numbers or, if `is_rounded`, bfloat16, rounded to nearest, ties to even. */
typedef struct {
  size_t N, K;
  const void *W;
  size_t stride_n, stride_k;
  void *packed;
  int is_rounded;
} lockstep_packing;

/* Elements whose squares are summed together. */
enum { LOCKSTEP_SQUARES = 2048 };

// ---- Tables ----------------------------------------------------------------------------------------------------------------

/* The kernels of one number type for one instruction set. They run on the calling thread. */
typedef struct {
  /* Bytes of a real number. */
  size_t element_size;
  /* Columns of a panel of a packed matrix, and rows of the tile of C that stays in registers. */
  size_t panel, tile_rows;
  /* The most k of one pass over a product whose left factor is transposed. */
  size_t depth_of_strips;
  /* 1 if products use the processor's vectors and fused multiply-add; otherwise callers should prefer BLAS. */
  int is_tuned;

  /* a *= s */
  void (*scale)(size_t n, void *a, double s);
  /* out = a + b, either of which it may be; and, unless NULL, the sum of squares in double of each LOCKSTEP_SQUARES elements of it,
     and of the rest, each in 16 interleaved partial sums. */
  void (*add)(size_t n, void *out, const void *a, const void *b, double *_Nullable squares);
  /* These sums of squares of a. */
  void (*squares)(size_t n, const void *a, double *squares);
  /* Returns the index of the first element that is not finite, or n. */
  size_t (*first_not_finite)(size_t n, const void *a);
  /* out[f] (+)= Σ_b x[b, f] */
  void (*column_sums)(size_t B, size_t F, const void *x, size_t stride, void *out, int accumulate);
  /* out[c, r] = x[r, c] */
  void (*transpose)(size_t rows, size_t columns, const void *x, size_t x_row, void *out, size_t out_row);

  void (*lstm_forward)(const lockstep_lstm_step *);
  void (*lstm_backward)(const lockstep_lstm_derivative *);
  void (*lstm_output)(const lockstep_lstm_output_step *);
  void (*lstm_output_backward)(const lockstep_lstm_output_derivative *);
  void (*rnn_forward)(const lockstep_rnn_step *);
  void (*rnn_backward)(const lockstep_rnn_derivative *);
  void (*gru_forward)(const lockstep_gru_step *);
  void (*gru_backward)(const lockstep_gru_derivative *);

  /* Mean and sum of squared deviations of each column. */
  void (*moments)(size_t B, size_t F, const void *x, void *mean, void *m2);
  /* Chan et al.: (n_a, mean_a, m2_a) ← (n_a, mean_a, m2_a) ∪ (n_b, mean_b, m2_b), elementwise. */
  void (*merge_moments)(size_t F, double n_a, void *mean_a, void *m2_a, double n_b, const void *mean_b, const void *m2_b);
  void (*normalization_fold)(const lockstep_normalization *);
  void (*normalization_sums)(const lockstep_normalization_derivative *);
  void (*normalization_backward)(const lockstep_normalization_derivative *);
  void (*affine)(const lockstep_affine_map *);
  void (*standardize)(const lockstep_standardization *);
  void (*standardize_backward)(const lockstep_standardization_derivative *);
  /* r ← keep r + weight s */
  void (*blend)(size_t n, double keep, double weight, void *r, const void *s);

  /* Replaces B rows of V logits, with the bias added, by the logarithm of their softmax. */
  void (*log_softmax)(size_t B, size_t V, void *logits, const void *bias);
  void (*softmax_block)(const lockstep_softmax_block *);
  /* What a block's x is to be multiplied by: gradient_scale / sum and the change of maximum since, or 0 without a target. */
  void (*softmax_factors)(size_t B, const int32_t *targets, const void *block_maximum, const void *maximum, const void *sum,
                          double gradient_scale, void *factors);
  void (*softmax_gradient)(const lockstep_softmax_gradient *);

  /* out[b] = table[ids[b]], rows of E elements. */
  void (*gather_rows)(size_t B, size_t E, const void *table, size_t table_stride, const int32_t *ids, void *out, size_t out_stride);
  /* out[b] += table[ids[b]] */
  void (*add_gathered_rows)(size_t B, size_t E, const void *table, const int32_t *ids, void *out);
  /* table[slots[b]] += x[b], b ascending. */
  void (*scatter_add_rows)(size_t B, size_t E, void *table, const int32_t *slots, const void *x);
  void (*dropout)(const lockstep_dropout *);

  /* θ ← θ − η s g; uses theta, g, gradient_scale, rate. */
  void (*sgd)(const lockstep_update *);
  /* u ← m u + s g, θ ← θ − η u; also uses u, momentum. */
  void (*momentum)(const lockstep_update *);
  /* Kingma & Ba 2015, algorithm 1, with u and v the first and second moment and correction = 1 / (1 − β^t). */
  void (*adam)(const lockstep_update *);
  /* v ← ρ v + (1 − ρ) (s g)², u ← m u − η s g / √(v + ε), θ ← θ + u, with ρ in beta2. */
  void (*rmsprop)(const lockstep_update *);

  void (*product)(const lockstep_product *);
  void (*pack)(const lockstep_packing *);
} lockstep_kernels;

/* The kernels of a format of 16 bits in which numbers are sent but not computed with. `encode` rounds to nearest, ties to even; what
   is too large becomes infinite, a NaN stays one. `decode` is exact. */
typedef struct {
  void (*encode)(size_t n, const float *x, uint16_t *out);
  void (*decode)(size_t n, const uint16_t *x, float *out);
  /* out = decode(encode(x)); out may be x. */
  void (*round)(size_t n, const float *x, float *out);
  /* a = round(round(a) + round(b)), the sum in single precision. */
  void (*add_rounded)(size_t n, float *a, const float *b);
  /* The same of encoded numbers. */
  void (*add_encoded)(size_t n, uint16_t *a, const uint16_t *b);
} lockstep_half_kernels;

/* All kernels for one instruction set. */
typedef struct {
  /* "x86-64-v4" (AVX-512), "x86-64-v3" (AVX2), "aarch64" (NEON) or "portable" (what the compiler assumes of every processor). */
  const char *name;
  const lockstep_kernels *f32, *f64;
  /* IEEE 754 binary16, and the upper half of single precision. */
  const lockstep_half_kernels *float16, *bfloat16;
  /* `rounds` of multiply-adds x ← factor x + addend in registers, in enough independent chains to fill the processor's arithmetic;
     their sum goes to *out. Returns the number of floating-point operations. */
  double (*multiply_add_chains)(size_t rounds, float factor, float addend, float *out);
} lockstep_kernel_set;

/* Returns the sets that this processor can run, from the fastest, for i from 0; then NULL. */
const lockstep_kernel_set *_Nullable lockstep_kernel_set_at(size_t i);
/* Returns the set of that name that this processor can run, or NULL. "portable" is what the compiler assumes of every processor of its
   kind: on aarch64, the set "aarch64". */
const lockstep_kernel_set *_Nullable lockstep_kernel_set_named(const char *name);
/* Returns the set in use. At first it is the one that the environment variable LOCKSTEP_KERNELS names, or the fastest where it is
   not set or names none that the processor can run. */
const lockstep_kernel_set *lockstep_kernel_set_in_use(void);
/* Puts another set to use, for all threads, while no kernel runs. */
void lockstep_use_kernel_set(const lockstep_kernel_set *set);

// ---- Kernels on several threads --------------------------------------------------------------------------------------------

/* Makes `count` threads, the calling one among them, share the functions below, in pieces that leave every element's own order of
   operations as it is, so that their number changes no bit. 1, as at the start, ends the others. `least_work`: the least that is worth
   a piece, in floating-point operations of a product; 0 for the default. Returns 0, or the error of the system that does not start
   them; then there is 1. Any thread may call any kernel meanwhile: one at a time has the others' help. */
int lockstep_set_threads(size_t count, size_t least_work);
size_t lockstep_threads(void);
/* Starts a detached thread that blocks all signals and calls `body` once. Returns 0 or an error number. */
int lockstep_start_thread(void *_Nullable (*_Nonnull body)(void *_Nullable), void *_Nullable context);
/* Writes a bit for each processor that the calling thread may run on; returns the bytes written, 0 where there are more processors. */
size_t lockstep_usable_processors(size_t bytes, unsigned char *mask);

/* Each does what the table's kernel of that name does. */
void lockstep_add(const lockstep_kernels *, size_t n, void *out, const void *a, const void *b, double *_Nullable squares);
void lockstep_squares(const lockstep_kernels *, size_t n, const void *a, double *squares);
void lockstep_lstm_forward(const lockstep_kernels *, const lockstep_lstm_step *);
void lockstep_lstm_backward(const lockstep_kernels *, const lockstep_lstm_derivative *);
void lockstep_gru_forward(const lockstep_kernels *, const lockstep_gru_step *);
void lockstep_gru_backward(const lockstep_kernels *, const lockstep_gru_derivative *);
void lockstep_normalization_backward(const lockstep_kernels *, const lockstep_normalization_derivative *);
void lockstep_standardize(const lockstep_kernels *, const lockstep_standardization *);
void lockstep_standardize_backward(const lockstep_kernels *, const lockstep_standardization_derivative *);
void lockstep_add_softmax_block(const lockstep_kernels *, const lockstep_softmax_block *);
void lockstep_differentiate_softmax_block(const lockstep_kernels *, const lockstep_softmax_gradient *);
void lockstep_sgd(const lockstep_kernels *, const lockstep_update *);
void lockstep_momentum(const lockstep_kernels *, const lockstep_update *);
void lockstep_adam(const lockstep_kernels *, const lockstep_update *);
void lockstep_rmsprop(const lockstep_kernels *, const lockstep_update *);
void lockstep_multiply(const lockstep_kernels *, const lockstep_product *);
void lockstep_pack(const lockstep_kernels *, const lockstep_packing *);
/* Multiply-add chains of the set in use, on every thread. */
double lockstep_multiply_adds(size_t rounds, float factor, float addend, float *out);

/* Elements of a packed matrix [N, K]. */
static inline size_t lockstep_packed_size(const lockstep_kernels *kernels, size_t N, size_t K) {
  return (N + kernels->panel - 1) / kernels->panel * kernels->panel * K;
}

/* A product by somebody else's library, of the rows and columns first ..< end: called for parts of C, on several threads at a time. */
typedef void (*lockstep_part)(const void *context, size_t first, size_t end);
/* Calls `part` for `count` items one at a time, on the threads that there are. `work`: of all items, in operations of a product. */
void lockstep_for_each(size_t count, size_t work, lockstep_part part, const void *context);

// ---- Random numbers --------------------------------------------------------------------------------------------------------

/* n doubles uniform in [0, 1), 53 bits each: values first ..< first + n of the sequence that (seed, stream) names.
   `first` is even. Philox 4×32-10 with the key `seed` and the counter (index / 2; stream; ~0). */
void lockstep_uniform(size_t n, double *out, uint64_t seed, uint32_t stream, uint64_t first);

// ---- The system ------------------------------------------------------------------------------------------------------------

/* Starts a program, found as a shell finds it; `arguments` ends with NULL. It has a process group of its own and no input, and gets
   `ending_signal` when the calling thread ends: to be called by the main thread. `environment` ends with NULL; NULL: that of this process.
   `output` and `errors` are its standard output and error, or −1 for those of this process. Returns its process number, or −errno; a
   program that cannot be run ends with 127. */
int lockstep_spawn(
    char *_Nullable const arguments[_Nonnull], char *_Nullable const *_Nullable environment, int output, int errors, int ending_signal);

/* Makes a file without a name in `folder`, open for reading and writing. Returns its descriptor, or −errno. */
int lockstep_temporary_file(const char *folder);

/* Runs a command by /bin/sh without input and waits until it ends; any thread may call it. `output` and `errors` are the descriptors of its
   standard output and error. Returns its exit code, 128 and the number of the signal that ended it, or −errno where it cannot be started. */
int lockstep_run_shell(const char *command, int output, int errors);

/* Returns 1 if a host accepts or refuses a TCP connection within so many milliseconds, 0 if not, and −1 where its name is unknown,
   which may take longer to find out. */
int lockstep_host_answers(const char *host, const char *port, int milliseconds);

/* Records SIGUSR1, SIGTERM, SIGINT and, unless it is ignored (nohup), SIGHUP from now on instead of dying of them; a second SIGTERM or SIGINT
   acts as usual. */
void lockstep_catch_signals(void);

/* Whether this thread, and threads that it starts later, take numbers below the least normal one for zero, as operands and as results. Processors
   are many times slower on such numbers. Returns what was so before. */
int lockstep_flush_subnormals(int is_on);

/* The number of the last signal recorded, or 0. */
int lockstep_signal_received(void);

#pragma clang assume_nonnull end
