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
enum { DEPTH = 768 };
// Bytes of B that stay in the second-level cache while rows of A go by.
enum { BLOCK_BYTES = 600 << 10 };

static inline size_t least(size_t a, size_t b) { return a < b ? a : b; }
static inline size_t quotient_up(size_t a, size_t b) { return (a + b - 1) / b; }

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

// What a tile fetches into the second-level cache while it multiplies, at each k a line from each of two places, and at once, where sums are
// added to C, the tile of C after it (NULL: none).
typedef struct {
  // At k: a + k mod 8 × a_row + ⌊k / 8⌋ × a_column. So eight rows of a row-major factor (its stride, 8), a line each in eight k, or what lies
  // side by side (16, 128).
  const float *a;
  size_t a_row, a_column;
  // b + k × b_row.
  const float *b;
  size_t b_row;
  const float *c;
} soon;

// B of the block after the one that is multiplied: panel by panel, each in columns of lines, which the tiles of this block fetch in turn.
typedef struct {
  // The panel that is fetched, and its next column of lines.
  const char *panel;
  size_t column;
  // Columns of a panel; bytes from one row to the next, and from one panel to the next.
  size_t width, row, distance;
  // Columns in all, tiles of this block, and both multiplied: by what is due and by what was fetched.
  size_t count, tiles, due, fetched;
} block_ahead;

// The next column of lines, if a tile has to fetch it to be in time; or NULL.
static inline const float *next_column(block_ahead *block) {
  if (block->fetched >= block->due) return NULL;
  block->fetched += block->tiles;
  const char *start = block->panel + block->column * 64;
  if (++block->column == block->width) {
    block->column = 0;
    block->panel += block->distance;
  }
  return (const float *)start;
}

// What the caller wants soon: two regions, which the last tiles fetch, a line at each k.
typedef struct {
  const float *first, *second;
  // Floats that a tile fetches, and tiles that each region takes.
  size_t step, of_first, of_second;
} wanted;

static inline wanted wanted_of(const lockstep_hints *hints, size_t depth) {
  enum { LINE = 16 };
  return (wanted){hints->first, hints->second, depth * LINE, quotient_up(quotient_up(hints->first_bytes, 64), depth),
                  quotient_up(quotient_up(hints->second_bytes, 64), depth)};
}

// Sets what a tile fetches, `left` tiles before the end: first of the one region, then of the other.
static inline void fetch_wanted(const wanted *regions, size_t left, soon *next) {
  enum { LINE = 16 };
  if (left >= regions->of_first + regions->of_second) return;
  next->a = left >= regions->of_second ? regions->first + (regions->of_first + regions->of_second - 1 - left) * regions->step
                                       : regions->second + (regions->of_second - 1 - left) * regions->step;
  next->a_row = LINE;
  next->a_column = 8 * LINE;
}

// A product, or its rows and columns of an output: as `lockstep_product`, where the same thread goes on with so many tiles of it.
typedef void (*multiplier)(size_t M, size_t N, size_t K, const float *A, size_t a_row, size_t a_column, const void *B, size_t b_row,
                           float *C, size_t c_row, int accumulate, const lockstep_hints *hints, size_t later);

// Does a product by `multiply`, in tiles of `rows` rows and with a B of that type, on the threads that there are. It is cut by rows and
// columns of C, never along k.
void lockstep_multiply(multiplier multiply, size_t rows, format type, size_t M, size_t N, size_t K, const float *A, size_t a_row,
                       size_t a_column, const void *B, size_t b_row, float *C, size_t c_row, int accumulate,
                       const lockstep_hints *hints);
