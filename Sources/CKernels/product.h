// How a product C = A B goes through the caches, the same for every number type and instruction set.
//
// Why not BLAS alone: every element of C is one chain of multiply-adds over ascending k, whatever the sizes, the number of threads and
// the instruction set are. No library promises that, and the program's promise of equal bits rests on it. And a weight matrix that
// every time step multiplies is packed once, where BLAS packs it at every call.
//
// B is read in panels of as many columns as a tile of C has. Packed, a panel is K × panel elements from end to end, padded with zeros.
#pragma once
#include "common.h"

// The most k of one pass over a block of C: rows of A of a tile stay in the first-level cache.
enum { DEPTH = 768 };
// Up to so many rows, there is nothing to gain from a block of several panels, and each panel is read once.
enum { FEW_ROWS = 16 };

// Bytes of B that stay in the second-level cache while rows of A go by, and the most of them: a copy of them is on the stack.
enum { MOST_BLOCK_BYTES = 600 << 10 };
size_t lockstep_block_bytes(void);

// The length of even parts of K, at most DEPTH, or `depth_of_strips` where A is transposed.
INLINE size_t depth_of(const lockstep_product *p, size_t depth_of_strips) {
  size_t parts = quotient_up(p->K, p->a_column == 1 ? DEPTH : depth_of_strips);
  return parts ? quotient_up(p->K, parts) : 1;
}

// Columns of B that are used together.
INLINE size_t block_columns(size_t M, size_t depth, size_t panel, size_t element_size) {
  size_t panels = lockstep_block_bytes() / (depth * panel * element_size);
  return (M <= FEW_ROWS || panels < 1 ? 1 : panels) * panel;
}

// The element of a packed B at which row k of the panel of column n begins.
INLINE size_t element_of_panel(const lockstep_product *p, size_t k, size_t n, size_t panel) {
  return n / panel * panel * p->K + k * panel;
}
