#include <string.h>

#include "elementary_f32.h"
#include "include/CKernels.h"
#include "product.h"
#include "threads.h"

#define R float
#define KERNEL(name) lockstep_##name##_f32
#include "product_template.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define TARGET_512 __attribute__((target("arch=x86-64-v4")))
#define TARGET_256 __attribute__((target("arch=x86-64-v3")))
#define UNROLL _Pragma("clang loop unroll(full)")

// A line of what is needed soon, at each k.
TARGET_256 INLINE void fetch(ahead next, size_t k) {
  _mm_prefetch((const char *)(next.start + k % 8 * next.row + k / 8 * 8 * next.column), _MM_HINT_T1);
}

// ---- AVX-512: up to 8 rows × 48 columns, 24 sums in registers --------------------------------------------------------------

enum { ROWS_512 = 8 };

// `rows`, `vectors` and `a_column` are constants in every instance. A(r, k) is at r a_row + k a_column; the columns of the last vector that are
// not in `last` are neither read nor written. `next`: fetched meanwhile.
TARGET_512 INLINE void tile_512(int rows, int vectors, size_t K, const float *A, size_t a_row, size_t a_column, const float *B,
                                size_t b_row, float *C, size_t c_row, __mmask16 last, int accumulate, ahead next) {
  __m512 sums[ROWS_512][3];
  UNROLL for (int r = 0; r < rows; r++)
    UNROLL for (int v = 0; v < vectors; v++)
      sums[r][v] = accumulate ? _mm512_maskz_loadu_ps(v == vectors - 1 ? last : 0xFFFF, C + r * c_row + v * 16) : _mm512_setzero_ps();
  for (size_t k = 0; k < K; k++) {
    const float *row = B + k * b_row;
    __m512 w[3];
    UNROLL for (int v = 0; v < vectors; v++) {
      // What is larger than the cache comes from memory: ask for it some steps ahead.
      _mm_prefetch((const char *)(row + 8 * b_row + v * 16), _MM_HINT_T0);
      w[v] = v == vectors - 1 ? _mm512_maskz_loadu_ps(last, row + v * 16) : _mm512_loadu_ps(row + v * 16);
    }
    fetch(next, k);
    UNROLL for (int r = 0; r < rows; r++) {
      __m512 a = _mm512_set1_ps(A[r * a_row + k * a_column]);
      UNROLL for (int v = 0; v < vectors; v++) sums[r][v] = _mm512_fmadd_ps(a, w[v], sums[r][v]);
    }
  }
  UNROLL for (int r = 0; r < rows; r++)
    UNROLL for (int v = 0; v < vectors; v++)
      _mm512_mask_storeu_ps(C + r * c_row + v * 16, v == vectors - 1 ? last : 0xFFFF, sums[r][v]);
}

// One panel of at most 48 columns for a group of rows.
TARGET_512 INLINE void panel_512(int rows, size_t width, size_t K, const float *A, size_t a_row, size_t a_column, const float *B,
                                 size_t b_row, float *C, size_t c_row, int accumulate, ahead next) {
  __mmask16 last = width % 16 ? (__mmask16)((1u << width % 16) - 1) : 0xFFFF;
  if (width > 32) tile_512(rows, 3, K, A, a_row, a_column, B, b_row, C, c_row, last, accumulate, next);
  else if (width > 16) tile_512(rows, 2, K, A, a_row, a_column, B, b_row, C, c_row, last, accumulate, next);
  else tile_512(rows, 1, K, A, a_row, a_column, B, b_row, C, c_row, last, accumulate, next);
}

TARGET_512 static void group_512(size_t rows, size_t width, size_t K, const float *A, size_t a_row, const float *B, size_t b_row,
                                 float *C, size_t c_row, int accumulate, ahead next) {
#define GROUP(rows) case rows: panel_512(rows, width, K, A, a_row, 1, B, b_row, C, c_row, accumulate, next); break
  switch (rows) {
    GROUP(1); GROUP(2); GROUP(3); GROUP(4); GROUP(5); GROUP(6); GROUP(7); GROUP(8);
  }
#undef GROUP
}

// The same for a strip [K, ROWS_512] of rows that was copied together.
TARGET_512 static void strip_512(size_t rows, size_t width, size_t K, const float *A, const float *B, size_t b_row, float *C,
                                 size_t c_row, int accumulate, ahead next) {
#define GROUP(rows) case rows: panel_512(rows, width, K, A, 1, ROWS_512, B, b_row, C, c_row, accumulate, next); break
  switch (rows) {
    GROUP(1); GROUP(2); GROUP(3); GROUP(4); GROUP(5); GROUP(6); GROUP(7); GROUP(8);
  }
#undef GROUP
}

#define PRODUCT product_512
#define TARGET TARGET_512
#define ROWS ROWS_512
#define GROUP group_512
#define STRIP strip_512
#include "product_blocks.h"

// ---- AVX2: up to 6 rows × 16 columns, 12 sums in registers -----------------------------------------------------------------

enum { ROWS_256 = 6 };

TARGET_256 INLINE __m256i columns_256(size_t width) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(width < 8 ? (int)width : 8), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

TARGET_256 INLINE void tile_256(int rows, size_t width, size_t K, const float *A, size_t a_row, size_t a_column, const float *B,
                                size_t b_row, float *C, size_t c_row, int accumulate, ahead next) {
  int isWhole = width >= 16;
  __m256i masks[2] = {columns_256(width), columns_256(width > 8 ? width - 8 : 0)};
  __m256 sums[ROWS_256][2];
  UNROLL for (int r = 0; r < rows; r++)
    UNROLL for (int v = 0; v < 2; v++)
      sums[r][v] = accumulate ? _mm256_maskload_ps(C + r * c_row + v * 8, masks[v]) : _mm256_setzero_ps();
  for (size_t k = 0; k < K; k++) {
    const float *row = B + k * b_row;
    _mm_prefetch((const char *)(row + 8 * b_row), _MM_HINT_T0);
    fetch(next, k);
    __m256 w0 = isWhole ? _mm256_loadu_ps(row) : _mm256_maskload_ps(row, masks[0]);
    __m256 w1 = isWhole ? _mm256_loadu_ps(row + 8) : _mm256_maskload_ps(row + 8, masks[1]);
    UNROLL for (int r = 0; r < rows; r++) {
      __m256 a = _mm256_broadcast_ss(A + r * a_row + k * a_column);
      sums[r][0] = _mm256_fmadd_ps(a, w0, sums[r][0]);
      sums[r][1] = _mm256_fmadd_ps(a, w1, sums[r][1]);
    }
  }
  UNROLL for (int r = 0; r < rows; r++)
    UNROLL for (int v = 0; v < 2; v++) _mm256_maskstore_ps(C + r * c_row + v * 8, masks[v], sums[r][v]);
}

TARGET_256 INLINE void panel_256(int rows, size_t width, size_t K, const float *A, size_t a_row, size_t a_column, const float *B,
                                 size_t b_row, float *C, size_t c_row, int accumulate, ahead next) {
  for (size_t n = 0; n < width; n += 16)
    tile_256(rows, width - n, K, A, a_row, a_column, B + n, b_row, C + n, c_row, accumulate, next);
}

TARGET_256 static void group_256(size_t rows, size_t width, size_t K, const float *A, size_t a_row, const float *B, size_t b_row,
                                 float *C, size_t c_row, int accumulate, ahead next) {
#define GROUP(rows) case rows: panel_256(rows, width, K, A, a_row, 1, B, b_row, C, c_row, accumulate, next); break
  switch (rows) { GROUP(1); GROUP(2); GROUP(3); GROUP(4); GROUP(5); GROUP(6); }
#undef GROUP
}

TARGET_256 static void strip_256(size_t rows, size_t width, size_t K, const float *A, const float *B, size_t b_row, float *C,
                                 size_t c_row, int accumulate, ahead next) {
#define GROUP(rows) case rows: panel_256(rows, width, K, A, 1, ROWS_256, B, b_row, C, c_row, accumulate, next); break
  switch (rows) { GROUP(1); GROUP(2); GROUP(3); GROUP(4); GROUP(5); GROUP(6); }
#undef GROUP
}

#define PRODUCT product_256
#define TARGET TARGET_256
#define ROWS ROWS_256
#define GROUP group_256
#define STRIP strip_256
#include "product_blocks.h"

// ---- Packing ---------------------------------------------------------------------------------------------------------------

// Sixteen rows of sixteen become sixteen columns.
TARGET_512 INLINE void transpose_512(const float *source, size_t row, float *target) {
  __m512 a[16], b[16];
  UNROLL for (int i = 0; i < 16; i++) a[i] = _mm512_loadu_ps(source + i * row);
  UNROLL for (int i = 0; i < 16; i += 2) {
    b[i] = _mm512_unpacklo_ps(a[i], a[i + 1]);
    b[i + 1] = _mm512_unpackhi_ps(a[i], a[i + 1]);
  }
  UNROLL for (int i = 0; i < 16; i += 4) {
    UNROLL for (int j = 0; j < 2; j++) {
      a[i + 2 * j] = _mm512_castpd_ps(_mm512_unpacklo_pd(_mm512_castps_pd(b[i + j]), _mm512_castps_pd(b[i + j + 2])));
      a[i + 2 * j + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(_mm512_castps_pd(b[i + j]), _mm512_castps_pd(b[i + j + 2])));
    }
  }
  // a[4 q + c] holds column 4 p + c of rows 4 q … 4 q + 3 in its quarter p.
  UNROLL for (int c = 0; c < 4; c++) {
    __m512 low = _mm512_shuffle_f32x4(a[c], a[4 + c], 0x88), high = _mm512_shuffle_f32x4(a[c], a[4 + c], 0xDD);
    __m512 low2 = _mm512_shuffle_f32x4(a[8 + c], a[12 + c], 0x88), high2 = _mm512_shuffle_f32x4(a[8 + c], a[12 + c], 0xDD);
    _mm512_storeu_ps(target + c * PANEL, _mm512_shuffle_f32x4(low, low2, 0x88));
    _mm512_storeu_ps(target + (4 + c) * PANEL, _mm512_shuffle_f32x4(high, high2, 0x88));
    _mm512_storeu_ps(target + (8 + c) * PANEL, _mm512_shuffle_f32x4(low, low2, 0xDD));
    _mm512_storeu_ps(target + (12 + c) * PANEL, _mm512_shuffle_f32x4(high, high2, 0xDD));
  }
}

TARGET_512 static void pack_transposed_512(size_t N, size_t K, const float *W, size_t row, float *packed) {
  for (size_t first = 0; first < N; first += 16) {
    float *panel = packed + first / PANEL * PANEL * K + first % PANEL;
    size_t width = N - first < 16 ? N - first : 16, k = 0;
    if (width == 16)
      for (; k + 16 <= K; k += 16) transpose_512(W + first * row + k, row, panel + k * PANEL);
    for (; k < K; k++)
      for (size_t n = 0; n < 16; n++) panel[k * PANEL + n] = n < width ? W[(first + n) * row + k] : 0;
  }
  // The last panel is full of zeros past N.
  for (size_t first = (N + 15) / 16 * 16; first % PANEL; first += 16) {
    float *panel = packed + first / PANEL * PANEL * K + first % PANEL;
    for (size_t k = 0; k < K; k++) memset(panel + k * PANEL, 0, 16 * sizeof(float));
  }
}
#endif

typedef struct {
  size_t N, K, stride_n, stride_k;
  const float *W;
  float *packed;
} packing;

// Some panels.
static void pack_part(const void *context, size_t first, size_t end) {
  const packing *p = context;
  size_t n = first * PANEL, N = end * PANEL < p->N ? end * PANEL - n : p->N - n;
  const float *W = p->W + n * p->stride_n;
  float *packed = p->packed + n * p->K;
#if defined(__x86_64__)
  if (p->stride_k == 1 && __builtin_cpu_supports("x86-64-v4")) return pack_transposed_512(N, p->K, W, p->stride_n, packed);
#endif
  lockstep_pack_plain_f32(N, p->K, W, p->stride_n, p->stride_k, packed);
}

void lockstep_pack_f32(size_t N, size_t K, const float *W, size_t stride_n, size_t stride_k, float *packed) {
  // An element takes the time of about 32 operations in a product.
  lockstep_divide((N + PANEL - 1) / PANEL, K * PANEL * 32, pack_part, &(packing){N, K, stride_n, stride_k, W, packed});
}

static void product_plain(size_t M, size_t N, size_t K, const float *A, size_t a_row, size_t a_column, const float *B, size_t b_row,
                          float *C, size_t c_row, int accumulate, const lockstep_upcoming *upcoming, size_t later) {
  lockstep_product_plain_f32(M, N, K, A, a_row, a_column, B, b_row, C, c_row, accumulate);
}

void lockstep_product_f32(size_t M, size_t N, size_t K, const float *A, size_t a_row, size_t a_column, const float *B, size_t b_row,
                          float *C, size_t c_row, int accumulate, const lockstep_upcoming *upcoming) {
  multiplier multiply = product_plain;
  size_t rows = 1;
#if defined(__x86_64__)
  if (__builtin_cpu_supports("x86-64-v4")) multiply = product_512, rows = ROWS_512;
  else if (__builtin_cpu_supports("x86-64-v3")) multiply = product_256, rows = ROWS_256;
#endif
  lockstep_multiply(multiply, rows, M, N, K, A, a_row, a_column, B, b_row, C, c_row, accumulate, upcoming);
}

int lockstep_product_is_tuned_f32(void) {
#if defined(__x86_64__)
  return __builtin_cpu_supports("x86-64-v3") != 0;
#else
  return 0;
#endif
}

int lockstep_product_of_level_f32(int level, size_t M, size_t N, size_t K, const float *A, size_t a_row, size_t a_column, const float *B,
                                  size_t b_row, float *C, size_t c_row, int accumulate) {
#if defined(__x86_64__)
  if (level == 4 && __builtin_cpu_supports("x86-64-v4")) {
    lockstep_multiply(product_512, ROWS_512, M, N, K, A, a_row, a_column, B, b_row, C, c_row, accumulate, NULL);
    return 1;
  }
  if (level == 3 && __builtin_cpu_supports("x86-64-v3")) {
    lockstep_multiply(product_256, ROWS_256, M, N, K, A, a_row, a_column, B, b_row, C, c_row, accumulate, NULL);
    return 1;
  }
#endif
  return 0;
}
