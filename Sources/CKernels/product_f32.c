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

// A line of what is needed soon.
TARGET_256 INLINE void fetch(const float *line) { _mm_prefetch((const char *)line, _MM_HINT_T1); }

// ---- AVX-512: up to 8 rows × 48 columns, 24 sums in registers --------------------------------------------------------------

#define ROWS_512 8

// Sixteen columns of a row of B, from `index` on: those in `mask`, or all of a packed row, which ends in zeros.
TARGET_512 INLINE __m512 columns_of_row_512(format type, const void *B, size_t index, __mmask16 mask) {
  const void *row = element(B, index, type);
  if (type == BFLOAT16) return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256(row)), 16));
  return _mm512_maskz_loadu_ps(mask, row);
}

// `type`, `rows`, `vectors`, whether there is a `copy`, and, unless there is, `a_column` are constants in every instance. A(r, k) is at r a_row
// + k a_column; the columns of the last vector that are not in `last` are neither read nor written. `copy`: receives A as a strip, of which
// a_row is 1, or NULL. `next`: fetched meanwhile.
TARGET_512 INLINE void tile_512(format type, int rows, int vectors, size_t K, const float *A, size_t a_row, size_t a_column,
                                float *copy, const void *B, size_t b_row, float *C, size_t c_row, __mmask16 last, int accumulate, soon next) {
  __m512 sums[ROWS_512][3];
  if (next.c)
    UNROLL for (int r = 0; r < rows; r++)
      UNROLL for (int v = 0; v < vectors; v++) _mm_prefetch((const char *)(next.c + r * c_row + v * 16), _MM_HINT_T0);
  UNROLL for (int r = 0; r < rows; r++)
    UNROLL for (int v = 0; v < vectors; v++)
      sums[r][v] = accumulate ? _mm512_maskz_loadu_ps(v == vectors - 1 ? last : 0xFFFF, C + r * c_row + v * 16) : _mm512_setzero_ps();
  for (size_t start = 0; start < K; start += 8, next.a += next.a_column) {
    size_t end = K - start < 8 ? K : start + 8;
    const float *line = next.a;
    for (size_t k = start; k < end; k++, line += next.a_row, next.b += next.b_row) {
      __m512 w[3];
      UNROLL for (int v = 0; v < vectors; v++) {
        // What is larger than the cache comes from memory: ask for it some steps ahead.
        _mm_prefetch(element(B, (k + 8) * b_row + v * 16, type), _MM_HINT_T0);
        w[v] = columns_of_row_512(type, B, k * b_row + v * 16, v == vectors - 1 ? last : 0xFFFF);
      }
      fetch(line);
      fetch(next.b);
      if (copy) _mm256_storeu_ps(copy + k * ROWS_512, _mm256_maskz_loadu_ps((__mmask8)((1 << rows) - 1), A + k * a_column));
      UNROLL for (int r = 0; r < rows; r++) {
        __m512 a = _mm512_set1_ps(A[r * a_row + k * a_column]);
        UNROLL for (int v = 0; v < vectors; v++) {
          sums[r][v] = _mm512_fmadd_ps(a, w[v], sums[r][v]);
          // Row by row: were all broadcasts done first, as compilers like to, the sums would not stay in registers.
          __asm__ volatile("" : "+v"(sums[r][v]));
        }
      }
    }
  }
  UNROLL for (int r = 0; r < rows; r++)
    UNROLL for (int v = 0; v < vectors; v++)
      _mm512_mask_storeu_ps(C + r * c_row + v * 16, v == vectors - 1 ? last : 0xFFFF, sums[r][v]);
}

// One panel of at most 48 columns for a group of rows.
TARGET_512 INLINE void panel_512(format type, int rows, size_t width, size_t K, const float *A, size_t a_row, size_t a_column,
                                 float *copy, const void *B, size_t b_row, float *C, size_t c_row, int accumulate, soon next) {
  __mmask16 last = width % 16 ? (__mmask16)((1u << width % 16) - 1) : 0xFFFF;
  if (width > 32) tile_512(type, rows, 3, K, A, a_row, a_column, copy, B, b_row, C, c_row, last, accumulate, next);
  else if (width > 16) tile_512(type, rows, 2, K, A, a_row, a_column, copy, B, b_row, C, c_row, last, accumulate, next);
  else tile_512(type, rows, 1, K, A, a_row, a_column, copy, B, b_row, C, c_row, last, accumulate, next);
}

#define PRODUCT(name) name##_512
#define TARGET TARGET_512
#define PANEL_KERNEL panel_512
#define MOST_ROWS ROWS_512
#define TYPE SINGLE
#include "product_blocks.h"
#define PRODUCT(name) name##_512_bfloat16
#define TYPE BFLOAT16
#include "product_blocks.h"
#undef TARGET
#undef PANEL_KERNEL
#undef MOST_ROWS

// ---- AVX2: up to 6 rows × 16 columns, 12 sums in registers -----------------------------------------------------------------

#define ROWS_256 6

TARGET_256 INLINE __m256i columns_256(size_t width) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(width < 8 ? (int)width : 8), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

// Eight columns of a row of B, from `index` on: those in `mask`, or all of a packed row, which ends in zeros.
TARGET_256 INLINE __m256 columns_of_row_256(format type, const void *B, size_t index, __m256i mask, int isWhole) {
  const void *row = element(B, index, type);
  if (type == BFLOAT16) return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128(row)), 16));
  return isWhole ? _mm256_loadu_ps(row) : _mm256_maskload_ps(row, mask);
}

TARGET_256 INLINE void tile_256(format type, int rows, size_t width, size_t K, const float *A, size_t a_row, size_t a_column,
                                float *copy, const void *B, size_t b_row, float *C, size_t c_row, int accumulate, soon next) {
  int isWhole = width >= 16;
  __m256i masks[2] = {columns_256(width), columns_256(width > 8 ? width - 8 : 0)};
  __m256 sums[ROWS_256][2];
  UNROLL for (int r = 0; r < rows; r++)
    UNROLL for (int v = 0; v < 2; v++)
      sums[r][v] = accumulate ? _mm256_maskload_ps(C + r * c_row + v * 8, masks[v]) : _mm256_setzero_ps();
  for (size_t start = 0; start < K; start += 8, next.a += next.a_column) {
    size_t end = K - start < 8 ? K : start + 8;
    const float *line = next.a;
    for (size_t k = start; k < end; k++, line += next.a_row, next.b += next.b_row) {
      _mm_prefetch(element(B, (k + 8) * b_row, type), _MM_HINT_T0);
      fetch(line);
      fetch(next.b);
      if (copy) UNROLL for (int r = 0; r < rows; r++) copy[k * ROWS_256 + r] = A[r * a_row + k * a_column];
      __m256 w[2];
      UNROLL for (int v = 0; v < 2; v++) w[v] = columns_of_row_256(type, B, k * b_row + v * 8, masks[v], isWhole);
      UNROLL for (int r = 0; r < rows; r++) {
        __m256 a = _mm256_broadcast_ss(A + r * a_row + k * a_column);
        UNROLL for (int v = 0; v < 2; v++) sums[r][v] = _mm256_fmadd_ps(a, w[v], sums[r][v]);
      }
    }
  }
  UNROLL for (int r = 0; r < rows; r++)
    UNROLL for (int v = 0; v < 2; v++) _mm256_maskstore_ps(C + r * c_row + v * 8, masks[v], sums[r][v]);
}

// One panel of at most 48 columns for a group of rows.
TARGET_256 INLINE void panel_256(format type, int rows, size_t width, size_t K, const float *A, size_t a_row, size_t a_column,
                                 float *copy, const void *B, size_t b_row, float *C, size_t c_row, int accumulate, soon next) {
  if (copy) {
    tile_256(type, rows, width, K, A, a_row, a_column, copy, B, b_row, C, c_row, accumulate, next);
    A = copy;
    a_column = ROWS_256;
  }
  for (size_t n = copy ? 16 : 0; n < width; n += 16)
    tile_256(type, rows, width - n, K, A, a_row, a_column, NULL, element(B, n, type), b_row, C + n, c_row, accumulate, next);
}

#define PRODUCT(name) name##_256
#define TARGET TARGET_256
#define PANEL_KERNEL panel_256
#define MOST_ROWS ROWS_256
#define TYPE SINGLE
#include "product_blocks.h"
#define PRODUCT(name) name##_256_bfloat16
#define TYPE BFLOAT16
#include "product_blocks.h"
#undef TARGET
#undef PANEL_KERNEL
#undef MOST_ROWS

// ---- Packing ---------------------------------------------------------------------------------------------------------------

// Sixteen rows of sixteen become sixteen columns.
TARGET_512 INLINE void transpose_512(const float *source, size_t row, float *target, size_t target_row) {
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
    _mm512_storeu_ps(target + c * target_row, _mm512_shuffle_f32x4(low, low2, 0x88));
    _mm512_storeu_ps(target + (4 + c) * target_row, _mm512_shuffle_f32x4(high, high2, 0x88));
    _mm512_storeu_ps(target + (8 + c) * target_row, _mm512_shuffle_f32x4(low, low2, 0xDD));
    _mm512_storeu_ps(target + (12 + c) * target_row, _mm512_shuffle_f32x4(high, high2, 0xDD));
  }
}

TARGET_512 static void pack_transposed_512(size_t N, size_t K, const float *W, size_t row, float *packed) {
  for (size_t first = 0; first < N; first += 16) {
    float *panel = packed + first / PANEL * PANEL * K + first % PANEL;
    size_t width = N - first < 16 ? N - first : 16, k = 0;
    if (width == 16)
      for (; k + 16 <= K; k += 16) transpose_512(W + first * row + k, row, panel + k * PANEL, PANEL);
    for (; k < K; k++)
      for (size_t n = 0; n < 16; n++) panel[k * PANEL + n] = n < width ? W[(first + n) * row + k] : 0;
  }
  // The last panel is full of zeros past N.
  for (size_t first = (N + 15) / 16 * 16; first % PANEL; first += 16) {
    float *panel = packed + first / PANEL * PANEL * K + first % PANEL;
    for (size_t k = 0; k < K; k++) memset(panel + k * PANEL, 0, 16 * sizeof(float));
  }
}

TARGET_512 static void transpose_all_512(size_t rows, size_t columns, const float *x, size_t x_row, float *out, size_t out_row) {
  for (size_t r = 0; r < rows; r += 16)
    for (size_t c = 0; c < columns; c += 16) {
      const float *source = x + r * x_row + c;
      float *target = out + c * out_row + r;
      if (rows - r >= 16 && columns - c >= 16) transpose_512(source, x_row, target, out_row);
      else lockstep_transpose_plain_f32(least(16, rows - r), least(16, columns - c), source, x_row, target, out_row);
    }
}
#endif

void lockstep_transpose_f32(size_t rows, size_t columns, const float *x, size_t x_row, float *out, size_t out_row) {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("x86-64-v4")) return transpose_all_512(rows, columns, x, x_row, out, out_row);
#endif
  lockstep_transpose_plain_f32(rows, columns, x, x_row, out, out_row);
}

typedef struct {
  format type;
  size_t N, K, stride_n, stride_k;
  const float *W;
  void *packed;
} packing;

static void pack_panels(size_t N, size_t K, const float *W, size_t stride_n, size_t stride_k, float *packed) {
#if defined(__x86_64__)
  if (stride_k == 1 && __builtin_cpu_supports("x86-64-v4")) return pack_transposed_512(N, K, W, stride_n, packed);
#endif
  lockstep_pack_plain_f32(N, K, W, stride_n, stride_k, packed);
}

// One panel, packed in single precision piece by piece.
static void pack_rounded(size_t N, size_t K, const float *W, size_t stride_n, size_t stride_k, uint16_t *packed) {
  enum { PIECE = 128 };
  float piece[PIECE * PANEL];
  for (size_t k = 0; k < K; k += PIECE) {
    size_t count = K - k < PIECE ? K - k : PIECE;
    pack_panels(N, count, W + k * stride_k, stride_n, stride_k, piece);
    lockstep_encode_bfloat16(count * PANEL, piece, packed + k * PANEL);
  }
}

// Some panels.
static void pack_part(const void *context, size_t first, size_t end) {
  const packing *p = context;
  if (p->type == SINGLE) {
    size_t n = first * PANEL, N = end * PANEL < p->N ? end * PANEL - n : p->N - n;
    return pack_panels(N, p->K, p->W + n * p->stride_n, p->stride_n, p->stride_k, (float *)p->packed + n * p->K);
  }
  for (size_t n = first * PANEL; n < end * PANEL; n += PANEL) {
    size_t N = p->N - n < PANEL ? p->N - n : PANEL;
    pack_rounded(N, p->K, p->W + n * p->stride_n, p->stride_n, p->stride_k, (uint16_t *)p->packed + n * p->K);
  }
}

static void pack(format type, size_t N, size_t K, const float *W, size_t stride_n, size_t stride_k, void *packed) {
  // An element takes the time of about 32 operations in a product.
  lockstep_divide((N + PANEL - 1) / PANEL, K * PANEL * 32, pack_part, &(packing){type, N, K, stride_n, stride_k, W, packed});
}

void lockstep_pack_f32(size_t N, size_t K, const float *W, size_t stride_n, size_t stride_k, float *packed) {
  pack(SINGLE, N, K, W, stride_n, stride_k, packed);
}

void lockstep_pack_rounded_f32(size_t N, size_t K, const float *W, size_t stride_n, size_t stride_k, uint16_t *packed) {
  pack(BFLOAT16, N, K, W, stride_n, stride_k, packed);
}

// ---- Products --------------------------------------------------------------------------------------------------------------

static void product_plain(size_t M, size_t N, size_t K, const float *A, size_t a_row, size_t a_column, const void *B, size_t b_row,
                          float *C, size_t c_row, int accumulate, const lockstep_hints *hints, size_t later) {
  lockstep_product_plain_f32(M, N, K, A, a_row, a_column, B, b_row, C, c_row, accumulate);
}

static void product_plain_bfloat16(size_t M, size_t N, size_t K, const float *A, size_t a_row, size_t a_column, const void *B,
                                   size_t b_row, float *C, size_t c_row, int accumulate, const lockstep_hints *hints,
                                   size_t later) {
  lockstep_product_rounded_plain_f32(M, N, K, A, a_row, a_column, B, C, c_row, accumulate);
}

// The product of a level of instructions, 3 or 4 for x86-64-v3 or v4 and 0 for plain C, and its rows of a tile; NULL where the processor
// has it not.
static multiplier product_of_level(int level, format type, size_t *rows) {
#if defined(__x86_64__)
  if (level == 4) {
    *rows = ROWS_512;
    return !__builtin_cpu_supports("x86-64-v4") ? NULL : type == BFLOAT16 ? product_512_bfloat16 : product_512;
  }
  if (level == 3) {
    *rows = ROWS_256;
    return !__builtin_cpu_supports("x86-64-v3") ? NULL : type == BFLOAT16 ? product_256_bfloat16 : product_256;
  }
#endif
  *rows = 1;
  return level != 0 ? NULL : type == BFLOAT16 ? product_plain_bfloat16 : product_plain;
}

static multiplier best_product(format type, size_t *rows) {
  for (int level = 4; level > 0; level--) {
    multiplier multiply = product_of_level(level, type, rows);
    if (multiply) return multiply;
  }
  return product_of_level(0, type, rows);
}

void lockstep_product_f32(size_t M, size_t N, size_t K, const float *A, size_t a_row, size_t a_column, const float *B, size_t b_row,
                          float *C, size_t c_row, int accumulate, const lockstep_hints *hints) {
  size_t rows;
  multiplier multiply = best_product(SINGLE, &rows);
  lockstep_multiply(multiply, rows, SINGLE, M, N, K, A, a_row, a_column, B, b_row, C, c_row, accumulate, hints);
}

void lockstep_product_rounded_f32(size_t M, size_t N, size_t K, const float *A, size_t a_row, size_t a_column, const uint16_t *packed,
                                  float *C, size_t c_row, int accumulate, const lockstep_hints *hints) {
  size_t rows;
  multiplier multiply = best_product(BFLOAT16, &rows);
  lockstep_multiply(multiply, rows, BFLOAT16, M, N, K, A, a_row, a_column, packed, 0, C, c_row, accumulate, hints);
}

int lockstep_product_is_tuned_f32(void) {
  size_t rows;
  return product_of_level(3, SINGLE, &rows) != NULL;
}

int lockstep_product_of_level_f32(int level, size_t M, size_t N, size_t K, const float *A, size_t a_row, size_t a_column, const void *B,
                                  size_t b_row, int is_rounded, float *C, size_t c_row, int accumulate) {
  format type = is_rounded ? BFLOAT16 : SINGLE;
  size_t rows;
  multiplier multiply = product_of_level(level, type, &rows);
  if (multiply) lockstep_multiply(multiply, rows, type, M, N, K, A, a_row, a_column, B, b_row, C, c_row, accumulate, NULL);
  return multiply != NULL;
}
