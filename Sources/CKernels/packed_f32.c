#include <string.h>

#include "elementary_f32.h"
#include "include/CKernels.h"
#include "packed.h"

#define R float
#define KERNEL(name) lockstep_##name##_f32
#include "packed_template.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define TARGET_512 __attribute__((target("arch=x86-64-v4")))
#define TARGET_256 __attribute__((target("arch=x86-64-v3")))
#define UNROLL _Pragma("clang loop unroll(full)")

// ---- AVX-512: up to 8 rows × 48 columns, 24 sums in registers --------------------------------------------------------------

// `rows` is a constant in every instance. Columns past `width` are neither read from C nor written to it.
TARGET_512 INLINE void tile_512(int rows, size_t K, const float *A, size_t lda, const float *panel, float *C, size_t ldc,
                                size_t width, int accumulate) {
  __mmask16 masks[3];
  __m512 sums[8][3];
  UNROLL for (int v = 0; v < 3; v++) {
    size_t left = width > (size_t)v * 16 ? width - v * 16 : 0;
    masks[v] = left >= 16 ? 0xFFFF : (__mmask16)((1u << left) - 1);
  }
  UNROLL for (int r = 0; r < rows; r++)
    UNROLL for (int v = 0; v < 3; v++)
      sums[r][v] = accumulate ? _mm512_maskz_loadu_ps(masks[v], C + r * ldc + v * 16) : _mm512_setzero_ps();
  for (size_t k = 0; k < K; k++) {
    const float *row = panel + k * PANEL;
    // Weights larger than the cache come from memory: ask for them some steps ahead.
    _mm_prefetch((const char *)(row + 8 * PANEL), _MM_HINT_T0);
    _mm_prefetch((const char *)(row + 8 * PANEL + 16), _MM_HINT_T0);
    _mm_prefetch((const char *)(row + 8 * PANEL + 32), _MM_HINT_T0);
    __m512 w0 = _mm512_loadu_ps(row), w1 = _mm512_loadu_ps(row + 16), w2 = _mm512_loadu_ps(row + 32);
    UNROLL for (int r = 0; r < rows; r++) {
      __m512 a = _mm512_set1_ps(A[r * lda + k]);
      sums[r][0] = _mm512_fmadd_ps(a, w0, sums[r][0]);
      sums[r][1] = _mm512_fmadd_ps(a, w1, sums[r][1]);
      sums[r][2] = _mm512_fmadd_ps(a, w2, sums[r][2]);
    }
  }
  UNROLL for (int r = 0; r < rows; r++)
    UNROLL for (int v = 0; v < 3; v++) _mm512_mask_storeu_ps(C + r * ldc + v * 16, masks[v], sums[r][v]);
}

TARGET_512 static void product_512(size_t B, size_t N, size_t K, const float *A, size_t lda, const float *packed, float *C,
                                   size_t ldc, int accumulate) {
  for (size_t first = 0; first < N; first += PANEL) {
    size_t width = N - first < PANEL ? N - first : PANEL;
    const float *panel = packed + first * K;
    for (size_t b = 0; b < B; b += 8) {
      const float *a = A + b * lda;
      float *c = C + b * ldc + first;
#define TILE(rows) case rows: tile_512(rows, K, a, lda, panel, c, ldc, width, accumulate); break
      switch (B - b < 8 ? B - b : 8) {
        TILE(1); TILE(2); TILE(3); TILE(4); TILE(5); TILE(6); TILE(7); TILE(8);
      }
#undef TILE
    }
  }
}

// ---- AVX2: up to 6 rows × 16 columns, 12 sums in registers -----------------------------------------------------------------

TARGET_256 INLINE void tile_256(int rows, size_t K, const float *A, size_t lda, const float *panel, float *C, size_t ldc,
                                size_t width, int accumulate) {
  float edge[6][16] = {{0}};
  int isWhole = width >= 16;
  __m256 sums[6][2];
  if (accumulate && !isWhole)
    for (int r = 0; r < rows; r++) memcpy(edge[r], C + r * ldc, width * sizeof(float));
  UNROLL for (int r = 0; r < rows; r++)
    UNROLL for (int v = 0; v < 2; v++)
      sums[r][v] = !accumulate ? _mm256_setzero_ps() : _mm256_loadu_ps((isWhole ? C + r * ldc : edge[r]) + v * 8);
  for (size_t k = 0; k < K; k++) {
    const float *row = panel + k * PANEL;
    _mm_prefetch((const char *)(row + 8 * PANEL), _MM_HINT_T0);
    __m256 w0 = _mm256_loadu_ps(row), w1 = _mm256_loadu_ps(row + 8);
    UNROLL for (int r = 0; r < rows; r++) {
      __m256 a = _mm256_broadcast_ss(A + r * lda + k);
      sums[r][0] = _mm256_fmadd_ps(a, w0, sums[r][0]);
      sums[r][1] = _mm256_fmadd_ps(a, w1, sums[r][1]);
    }
  }
  UNROLL for (int r = 0; r < rows; r++)
    UNROLL for (int v = 0; v < 2; v++) _mm256_storeu_ps((isWhole ? C + r * ldc : edge[r]) + v * 8, sums[r][v]);
  if (!isWhole)
    for (int r = 0; r < rows; r++) memcpy(C + r * ldc, edge[r], width * sizeof(float));
}

TARGET_256 static void product_256(size_t B, size_t N, size_t K, const float *A, size_t lda, const float *packed, float *C,
                                   size_t ldc, int accumulate) {
  for (size_t first = 0; first < N; first += 16) {
    size_t width = N - first < 16 ? N - first : 16;
    const float *panel = packed + first / PANEL * PANEL * K + first % PANEL;
    for (size_t b = 0; b < B; b += 6) {
      const float *a = A + b * lda;
      float *c = C + b * ldc + first;
#define TILE(rows) case rows: tile_256(rows, K, a, lda, panel, c, ldc, width, accumulate); break
      switch (B - b < 6 ? B - b : 6) {
        TILE(1); TILE(2); TILE(3); TILE(4); TILE(5); TILE(6);
      }
#undef TILE
    }
  }
}
#endif

void lockstep_packed_product_f32(size_t B, size_t N, size_t K, const float *A, size_t lda, const float *packed, float *C,
                                 size_t ldc, int accumulate) {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("x86-64-v4")) return product_512(B, N, K, A, lda, packed, C, ldc, accumulate);
  if (__builtin_cpu_supports("x86-64-v3")) return product_256(B, N, K, A, lda, packed, C, ldc, accumulate);
#endif
  lockstep_packed_product_plain_f32(B, N, K, A, lda, packed, C, ldc, accumulate);
}
