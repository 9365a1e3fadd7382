// Matrix products C = A B in which no factor need be packed anew at every call.
//
// B [K, N] is read as it is, row by row, or packed into panels of PANEL columns, K × PANEL elements each, padded with zeros, so that the
// innermost loop reads it from end to end: what a weight matrix that is used at every time step, or transposed, is worth. Every element of
// C is one sum over k in ascending order, whatever the sizes and the blocks are.
#pragma once
#include <stddef.h>

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
