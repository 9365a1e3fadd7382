// Matrix products C = A B in which no factor need be packed anew at every call.
//
// B [K, N] is read as it is, row by row, or packed into panels of PANEL columns, K × PANEL elements each, padded with zeros, so that the
// innermost loop reads it from end to end: what a weight matrix that is used at every time step, or transposed, is worth. Every element of
// C is one sum over k in ascending order, whatever the sizes and the blocks are.
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "include/CKernels.h"

// How elements of B are stored: as they are, or in the upper half of single precision.
typedef enum { SINGLE, BFLOAT16 } format;

static inline size_t size_of(format type) { return type == BFLOAT16 ? sizeof(uint16_t) : sizeof(float); }

// The element of B so many elements on.
static inline const void *element(const void *B, size_t index, format type) { return (const char *)B + index * size_of(type); }

// Columns of a panel: three vectors of AVX-512, two of which feed each row's broadcast.
enum { PANEL = 48 };
// The most k of one pass over a block of C.
enum { DEPTH = 512 };
// Bytes of B that stay in the second-level cache while rows of A go by.
enum { BLOCK_BYTES = 400 << 10 };

// Even parts of K, at most DEPTH long.
static inline size_t depth_of(size_t K) {
  size_t parts = (K + DEPTH - 1) / DEPTH;
  return parts ? (K + parts - 1) / parts : 1;
}

// Columns of B that are used together: few rows leave nothing to gain from a block, and then each panel is read once.
static inline size_t columns_of(size_t M, size_t depth, size_t size) {
  size_t panels = BLOCK_BYTES / (depth * PANEL * size);
  return (M <= 16 || panels < 1 ? 1 : panels) * PANEL;
}

// Tiles of a product, `rows` rows each.
static inline size_t tiles_of(size_t M, size_t N, size_t K, size_t rows) {
  size_t depth = depth_of(K);
  return (M + rows - 1) / rows * ((N + PANEL - 1) / PANEL) * ((K + depth - 1) / depth);
}

// What a tile fetches into the second-level cache while it multiplies: at k, the line at start + k mod 8 × row + (k − k mod 8) × column. So
// eight rows of a row-major factor (a_row, 1), a line each in eight k; or what lies side by side, a line at each k (16, 16).
typedef struct {
  const float *start;
  size_t row, column;
} ahead;

// Sets what one of the last tiles fetches, `left` tiles before the end of depth k each: first the one region, then the other.
static inline void fetch_upcoming(const lockstep_upcoming *upcoming, size_t left, size_t depth, ahead *next) {
  enum { LINE = 16 };
  if (!upcoming) return;
  size_t count = (upcoming->bytes / sizeof(float) + LINE - 1) / LINE, tiles = (count + depth - 1) / depth;
  const float *region = left < tiles ? upcoming->second : left < 2 * tiles ? upcoming->first : NULL;
  if (region) *next = (ahead){region + (tiles - 1 - left % tiles) * depth * LINE, LINE, LINE};
}

// A product, or its rows and columns of an output: as `lockstep_product`, where the same thread goes on with so many tiles of it.
typedef void (*multiplier)(size_t M, size_t N, size_t K, const float *A, size_t a_row, size_t a_column, const void *B, size_t b_row,
                           float *C, size_t c_row, int accumulate, const lockstep_upcoming *upcoming, size_t later);

// Does a product by `multiply`, in tiles of `rows` rows and with a B of that type, on the threads that there are. It is cut by rows and
// columns of C, never along k.
void lockstep_multiply(multiplier multiply, size_t rows, format type, size_t M, size_t N, size_t K, const float *A, size_t a_row,
                       size_t a_column, const void *B, size_t b_row, float *C, size_t c_row, int accumulate,
                       const lockstep_upcoming *upcoming);
