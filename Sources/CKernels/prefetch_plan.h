// What a tile of a product prefetches while it multiplies, as each set of kernels defines it before this file is included:
//
// - SET_PREFETCHES_PANEL: the rows of its panel that are eight k ahead, from the second-level cache.
// - SET_PREFETCHES_SUMS: the next tile of C where sums are added.
// - PREFETCH_EVERY: every so many k, its share of the block of B that is used after the present one, from the third-level cache or from
//   memory, where `prefetches_blocks` says so. Only packed blocks are prefetched: their panels lie from end to end.
//
// `Scripts/measure-kernels` builds with and without each.
#pragma once
#include "product.h"

#ifndef PREFETCHES_PANEL
#define PREFETCHES_PANEL SET_PREFETCHES_PANEL
#endif
#ifndef PREFETCHES_SUMS
#define PREFETCHES_SUMS SET_PREFETCHES_SUMS
#endif
#ifndef PREFETCHES_BLOCK
#define PREFETCHES_BLOCK 1
#endif

// Whether a product of M rows prefetches blocks of a packed B of so many bytes.
INLINE int prefetches_blocks(size_t M, size_t bytes) {
  return PREFETCHES_BLOCK && M <= PREFETCH_MOST_ROWS && bytes > PREFETCH_LEAST_BYTES;
}

enum { LINE_BYTES = 64, MOST_LINES = TILE_VECTORS * VECTOR_BYTES > LINE_BYTES ? 2 : 1 };

// Each time the line at `line` is prefetched, and the one that ends at `line + step`, the next line. Nothing if `step` is 0.
typedef struct {
  const char *line;
  size_t step;
} prefetch;

// The share of row group `group` of `groups` in the panel part of `bytes` bytes at `part`, over `K` multiply-adds.
INLINE prefetch share_of_panel(const char *part, size_t bytes, size_t group, size_t groups, size_t K) {
  size_t lines = quotient_up(quotient_up(bytes, LINE_BYTES), groups), times = K / PREFETCH_EVERY;
  return (prefetch){part + group * lines * LINE_BYTES, lines > times ? MOST_LINES * LINE_BYTES : LINE_BYTES};
}
