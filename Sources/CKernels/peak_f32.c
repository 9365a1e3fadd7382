// Multiplications and additions on registers alone: the most that the arithmetic of a core for each thread can do.
#include <string.h>

#include "clones.h"
#include "include/CKernels.h"
#include "threads.h"

// Independent chains: as many as hide the latency of a fused multiply-add on any processor of the last ten years (5 cycles, 2 a cycle), and
// as leave room for the two operands in 16 registers.
enum { CHAINS = 12 };

#define UNROLL _Pragma("clang loop unroll(full)")

#if defined(__x86_64__)
#include <immintrin.h>

__attribute__((target("arch=x86-64-v4"))) static double chains_512(size_t rounds, float factor, float addend, float *out) {
  __m512 a = _mm512_set1_ps(factor), b = _mm512_set1_ps(addend), x[CHAINS];
  UNROLL for (int c = 0; c < CHAINS; c++) x[c] = _mm512_set1_ps((float)c);
  for (size_t i = 0; i < rounds; i++) {
    UNROLL for (int c = 0; c < CHAINS; c++) x[c] = _mm512_fmadd_ps(x[c], a, b);
  }
  float sum = 0;
  UNROLL for (int c = 0; c < CHAINS; c++) sum += _mm512_reduce_add_ps(x[c]);
  *out = sum;
  return 2.0 * 16 * CHAINS * (double)rounds;
}

__attribute__((target("arch=x86-64-v3"))) static double chains_256(size_t rounds, float factor, float addend, float *out) {
  __m256 a = _mm256_set1_ps(factor), b = _mm256_set1_ps(addend), x[CHAINS];
  UNROLL for (int c = 0; c < CHAINS; c++) x[c] = _mm256_set1_ps((float)c);
  for (size_t i = 0; i < rounds; i++) {
    UNROLL for (int c = 0; c < CHAINS; c++) x[c] = _mm256_fmadd_ps(x[c], a, b);
  }
  float sum = 0, lanes[8];
  UNROLL for (int c = 0; c < CHAINS; c++) {
    _mm256_storeu_ps(lanes, x[c]);
    for (int l = 0; l < 8; l++) sum += lanes[l];
  }
  *out = sum;
  return 2.0 * 8 * CHAINS * (double)rounds;
}
#endif

// Vectors of four, which every processor that matters has; fused where the baseline has fused operations.
static double chains_plain(size_t rounds, float factor, float addend, float *out) {
  typedef float vector __attribute__((vector_size(16)));
  vector a = {factor, factor, factor, factor}, b = {addend, addend, addend, addend}, x[CHAINS];
  UNROLL for (int c = 0; c < CHAINS; c++) x[c] = a * (float)c;
  for (size_t i = 0; i < rounds; i++) {
    UNROLL for (int c = 0; c < CHAINS; c++) {
#if defined(__FP_FAST_FMAF)
      x[c] = __builtin_elementwise_fma(x[c], a, b);
#else
      x[c] = x[c] * a + b;
#endif
    }
  }
  float sum = 0;
  UNROLL for (int c = 0; c < CHAINS; c++) sum += x[c][0] + x[c][1] + x[c][2] + x[c][3];
  *out = sum;
  return 2.0 * 4 * CHAINS * (double)rounds;
}

static double chains(size_t rounds, float factor, float addend, float *out) {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("x86-64-v4")) return chains_512(rounds, factor, addend, out);
  if (__builtin_cpu_supports("x86-64-v3")) return chains_256(rounds, factor, addend, out);
#endif
  return chains_plain(rounds, factor, addend, out);
}

typedef struct {
  size_t rounds;
  float factor, addend, *sums;
  double *operations;
} work;

static void chains_part(const void *context, size_t first, size_t end) {
  const work *w = context;
  for (size_t i = first; i < end; i++) w->operations[i] = chains(w->rounds, w->factor, w->addend, w->sums + i);
}

double lockstep_multiply_add_chains_f32(size_t rounds, float factor, float addend, float *out) {
  size_t threads = lockstep_threads();
  float sums[threads];
  double operations[threads], all = 0;
  lockstep_run(threads, 1, threads, SIZE_MAX, chains_part, &(work){rounds, factor, addend, sums, operations});
  *out = 0;
  for (size_t i = 0; i < threads; i++) {
    *out += sums[i];
    all += operations[i];
  }
  return all;
}
