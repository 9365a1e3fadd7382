// Prints a digest of the results of every kernel in single precision, and of products and sums in double, for each set of kernels that
// the processor can run: the same lines on every architecture. `Scripts/test-aarch64` compares them.
//
// Kernels in double precision that call the C library's exp, tanh or log are left out: their last bits are the library's.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "CKernels.h"

// FNV-1a of 64 bits.
static unsigned long long digest(const void *bytes, size_t count) {
  unsigned long long hash = 0xCBF29CE484222325ull;
  for (size_t i = 0; i < count; i++) hash = (hash ^ ((const unsigned char *)bytes)[i]) * 0x100000001B3ull;
  return hash;
}

static void show(const char *set, const char *name, const void *bytes, size_t count) {
  printf("%s %s %016llx\n", set, name, digest(bytes, count));
}

// Numbers of different size and sign, from a sequence that `seed` names. A result is used until the program ends.
static float *numbers(size_t n, unsigned seed, float scale) {
  float *values = malloc(n * sizeof *values);
  unsigned long long state = seed;
  for (size_t i = 0; i < n; i++) {
    state = state * 6364136223846793005ull + 1442695040888963407ull;
    values[i] = ((float)(int)(state >> 40) / 8388608.0f - 1) * scale;
  }
  return values;
}

static double *doubles(size_t n, unsigned seed) {
  const float *values = numbers(n, seed, 1);
  double *result = malloc(n * sizeof *result);
  for (size_t i = 0; i < n; i++) result[i] = (double)values[i] / 3;
  return result;
}

static void *copy(const void *values, size_t bytes) { return memcpy(malloc(bytes), values, bytes); }

static void *zeros(size_t n) { return calloc(n, sizeof(double)); }

static void products(const char *set, const char *type, const lockstep_kernels *kernels, const void *A, const void *W, size_t size) {
  static const size_t shapes[][3] = {{1, 1, 1}, {5, 17, 9}, {6, 16, 33}, {7, 50, 40}, {16, 130, 70}, {19, 49, 800}, {33, 31, 12}};
  for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
    size_t M = shapes[s][0], N = shapes[s][1], K = shapes[s][2];
    for (int form = 0; form < 8; form++) {
      int is_turned = form & 1, is_direct = form & 2, is_rounded = (form & 4) && !is_direct;
      void *packed = zeros(lockstep_packed_size(kernels, N, K)), *C = copy(W, M * N * size);
      if (!is_direct) kernels->pack(&(lockstep_packing){N, K, W, K, 1, packed, is_rounded});
      kernels->product(&(lockstep_product){
        .M = M, .N = N, .K = K, .A = A, .a_row = is_turned ? 1 : K, .a_column = is_turned ? M : 1, .B = is_direct ? W : packed,
        .b_row = is_direct ? N : 0, .is_rounded = is_rounded, .C = C, .c_row = N, .accumulate = form % 3 == 0});
      char name[80];
      snprintf(name, sizeof name, "product_%s_%zux%zux%zu_form%d", type, M, N, K, form);
      show(set, name, C, M * N * size);
      free(packed);
      free(C);
    }
  }
}

static void half(const char *set, const char *format, const lockstep_half_kernels *kernels, size_t n) {
  float *x = numbers(n, 21, 7e4f), *y = numbers(n, 22, 1e-6f);
  unsigned short *bits = calloc(n, 2), *other = calloc(n, 2);
  kernels->encode(n, x, bits);
  kernels->encode(n, y, other);
  kernels->add_encoded(n, bits, other);
  show(set, format, bits, 2 * n);
  kernels->add_rounded(n, x, y);
  kernels->round(n, x, x);
  show(set, format, x, 4 * n);
  kernels->decode(n, other, y);
  show(set, format, y, 4 * n);
}

static void single(const char *set, const lockstep_kernels *k) {
  enum { B = 19, H = 43, V = 37 };
  const size_t n = B * 4 * H;
  int targets[B], ids[B];
  for (int b = 0; b < B; b++) targets[b] = b % 5 == 4 ? -1 : b * 7 % V, ids[b] = b * 3 % B;
  float *z = numbers(n, 1, 4), *r = numbers(n, 2, 2), *scale = numbers(4 * H, 3, 2), *shift = numbers(4 * H, 4, 1);
  float *p = numbers(3 * H, 5, 1), *c0 = numbers(B * H, 6, 2), *gates = zeros(n), *c = zeros(n), *h = zeros(n), *da = zeros(n);
  float *dc = numbers(B * H, 7, 1), *above = numbers(B * H, 8, 1), *next = numbers(B * H, 9, 1), *dp = zeros(3 * H);
  k->lstm_forward(&(lockstep_lstm_step){
    B, H, {z, scale, r, scale, shift, shift}, p, p + H, p + 2 * H, c0, gates, c, h, H});
  show(set, "lstm_forward gates", gates, n * 4);
  show(set, "lstm_forward h", h, B * H * 4);
  k->lstm_backward(&(lockstep_lstm_derivative){
    B, H, gates, c, c0, above, H, next, NULL, dc, p, p + H, p + 2 * H, dp, dp + H, dp + 2 * H, da});
  show(set, "lstm_backward da", da, n * 4);
  show(set, "lstm_backward dc", dc, B * H * 4);
  show(set, "lstm_backward dp", dp, 3 * H * 4);
  k->lstm_output(&(lockstep_lstm_output_step){B, H, gates, c, scale, shift, h, H});
  show(set, "lstm_output", h, B * H * 4);
  float *through = zeros(B * H);
  k->lstm_output_backward(&(lockstep_lstm_output_derivative){B, H, gates, c, scale, shift, above, H, next, through, da});
  show(set, "lstm_output_backward", through, B * H * 4);
  k->lstm_backward(&(lockstep_lstm_derivative){
    B, H, gates, c, c0, NULL, 0, NULL, through, dc, p, p + H, p + 2 * H, dp, dp + H, dp + 2 * H, da});
  show(set, "lstm_backward through the cell", da, n * 4);
  k->gru_forward(&(lockstep_gru_step){B, H, {z, scale, r, scale, shift, shift}, c0, H, gates, h, H});
  show(set, "gru_forward", h, B * H * 4);
  k->gru_backward(&(lockstep_gru_derivative){B, H, gates, r, scale, shift, c0, H, above, H, next, through, da, c});
  show(set, "gru_backward", da, B * 3 * H * 4);
  k->standardize(&(lockstep_standardization){B, H, 1e-5, z, through, dp});
  show(set, "standardize", through, B * H * 4);
  k->standardize_backward(&(lockstep_standardization_derivative){B, H, above, through, dp, scale, da});
  show(set, "standardize_backward", da, B * H * 4);
  k->affine(&(lockstep_affine_map){B, H, through, scale, shift, da, H});
  show(set, "affine", da, B * H * 4);
  k->rnn_forward(&(lockstep_rnn_step){B, H, {z, NULL, r, NULL, NULL, shift}, h, H});
  show(set, "rnn_forward", h, B * H * 4);
  k->rnn_backward(&(lockstep_rnn_derivative){B, H, h, H, above, H, next, da});
  show(set, "rnn_backward", da, B * H * 4);

  float *mean = zeros(H), *m2 = zeros(H), *rstd = zeros(H), *sums = zeros(2 * H), *fold = zeros(2 * H);
  k->moments(B, H, z, mean, m2);
  k->merge_moments(H, B, mean, m2, 3, shift, p);
  show(set, "moments", m2, H * 4);
  k->normalization_fold(&(lockstep_normalization){H, B + 3, 1e-5, mean, m2, scale, shift, rstd, fold, fold + H});
  show(set, "normalization_fold", fold, 2 * H * 4);
  lockstep_normalization_derivative derivative = {B, H, B, above, z, mean, rstd, fold, sums, sums + H, da};
  k->normalization_sums(&derivative);
  show(set, "normalization_sums", sums, 2 * H * 4);
  k->normalization_backward(&derivative);
  show(set, "normalization_backward", da, B * H * 4);
  k->blend(H, 0.9, 0.1, mean, shift);
  k->column_sums(B, H, z, H, mean, 1);
  show(set, "column_sums", mean, H * 4);

  float *x = numbers(V * B, 11, 9), *frames = zeros(5 * B), *rows = zeros(V);
  int wrong[B] = {0};
  for (int b = 0; b < B; b++) frames[b] = -1.0f / 0;
  k->softmax_block(&(lockstep_softmax_block){
    V, B, 0, x, B, shift, targets, frames, frames + B, frames + 2 * B, frames + 3 * B, wrong});
  show(set, "softmax_block", x, V * B * 4);
  show(set, "softmax_block sums", frames, 4 * B * 4);
  show(set, "softmax_block errors", wrong, sizeof wrong);
  k->softmax_factors(B, targets, frames + 2 * B, frames, frames + B, 0.3, frames + 4 * B);
  k->softmax_gradient(&(lockstep_softmax_gradient){V, B, 0, x, frames + 4 * B, targets, 0.3, rows, 0});
  show(set, "softmax_gradient", x, V * B * 4);
  show(set, "softmax_gradient rows", rows, V * 4);
  k->log_softmax(B, H, z, shift);
  show(set, "log_softmax", z, B * H * 4);

  double squares[4] = {0};
  k->add(n, da, gates, r, squares);
  show(set, "add", da, n * 4);
  show(set, "squares", squares, 8);
  k->scale(n, da, 0.3);
  k->add_gathered_rows(B, H, r, ids, da);
  k->scatter_add_rows(B, H, da, ids, above);
  show(set, "rows", da, n * 4);
  k->dropout(&(lockstep_dropout){B, H, r, da, 0.4, 77, 5, 1, ids, 3});
  show(set, "dropout", da, B * H * 4);
  k->transpose(B, H, r, H, da, B);
  show(set, "transpose", da, B * H * 4);

  float *theta = numbers(n, 12, 1), *u = numbers(n, 13, 0.1f), *v = numbers(n, 14, 0.1f), *g = numbers(n, 15, 1);
  for (size_t i = 0; i < n; i++) v[i] = v[i] < 0 ? -v[i] : v[i];
  lockstep_update update = {n, theta, u, v, g, 0.7, 0.1, 0.9, 0.9, 0.95, 3, 20, 1e-4};
  k->sgd(&update);
  k->momentum(&update);
  k->adam(&update);
  k->rmsprop(&update);
  show(set, "updates", theta, n * 4);
  products(set, "f32", k, numbers(40000, 31, 1), numbers(200000, 32, 1), sizeof(float));
}

int main(void) {
  const lockstep_kernel_set *set;
  for (size_t i = 0; (set = lockstep_kernel_set_at(i)); i++) {
    single(set->name, set->f32);
    products(set->name, "f64", set->f64, doubles(40000, 33), doubles(200000, 34), sizeof(double));
    half(set->name, "float16", set->float16, 999);
    half(set->name, "bfloat16", set->bfloat16, 999);
  }
  return 0;
}
