// What a tile of a product prefetches while it multiplies, as each set of kernels defines it before this file is included:
//
// - SET_PREFETCHES_PANEL: the rows of its panel that are eight k ahead, from the second-level cache.
// - SET_PREFETCHES_ROWS: with the first panel of a block, the rows of A that come next.
// - SET_PREFETCHES_SUMS: the next tile of C where sums are added.
// - SET_PREFETCHES_SOON: what the caller says is read after the product.
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
#ifndef PREFETCHES_ROWS
#define PREFETCHES_ROWS SET_PREFETCHES_ROWS
#endif
#ifndef PREFETCHES_SOON
#define PREFETCHES_SOON SET_PREFETCHES_SOON
#endif
#ifndef PREFETCHES_BLOCK
#define PREFETCHES_BLOCK 1
#endif

// Whether a product of M rows prefetches blocks of a packed B of so many bytes.
INLINE int prefetches_blocks(size_t M, size_t bytes) {
  return PREFETCHES_BLOCK && M <= PREFETCH_MOST_ROWS && bytes > PREFETCH_LEAST_BYTES;
}

enum { LINE_BYTES = 64, MOST_LINES = TILE_VECTORS * VECTOR_BYTES > LINE_BYTES ? 2 : 1 };

// What each time is prefetched, before `line` moves on by `step` bytes: nothing if `line[0]` is NULL.
typedef struct {
  const char *line[MOST_LINES];
  size_t step[MOST_LINES];
} prefetch;

// Lines that are `step` bytes apart, if `next` has room for them. Returns whether it has.
INLINE int add_lines(prefetch *next, const char *first, size_t step) {
  int is_empty = !next->line[0];
  if (!is_empty && (MOST_LINES == 1 || next->line[0] != next->line[MOST_LINES - 1])) return 0;
  for (int j = is_empty ? 0 : 1; j < MOST_LINES; j++) {
    next->line[j] = first;
    next->step[j] = step;
  }
  return 1;
}

// Memory from end to end that is still to be prefetched.
typedef struct {
  const char *start;
  size_t bytes;
} region;

// As much of the region as goes into K multiply-adds, if `next` has room for it.
INLINE void add_region(prefetch *next, region *soon, size_t K) {
  if (soon->bytes == 0 || !add_lines(next, soon->start, LINE_BYTES)) return;
  size_t bytes = least(soon->bytes, K / PREFETCH_EVERY * LINE_BYTES);
  soon->start += bytes;
  soon->bytes -= bytes;
}

// The share of row group `group` of `groups` in the panel part of `bytes` bytes at `part`, over `K` multiply-adds.
INLINE prefetch share_of_panel(const char *part, size_t bytes, size_t group, size_t groups, size_t K) {
  size_t lines = quotient_up(quotient_up(bytes, LINE_BYTES), groups), times = K / PREFETCH_EVERY;
  size_t together = lines > times ? MOST_LINES : 1;
  prefetch next;
  for (int j = 0; j < MOST_LINES; j++) {
    next.line[j] = part + (group * lines + (together > 1 ? j : 0)) * LINE_BYTES;
    next.step[j] = together * LINE_BYTES;
  }
  return next;
}
