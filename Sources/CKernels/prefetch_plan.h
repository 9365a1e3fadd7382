// What a tile prefetches while it multiplies: its share of the block of B that is used after the present one.
//
// Without it, the first group of rows of each block waits for memory. Only packed blocks are prefetched: their panels lie from end to end.
#pragma once
#include "product.h"

// What is prefetched: the next rows of a panel, the next block of B, the next tile of C where sums are added. `Scripts/measure-kernels`
// builds without each.
#ifndef PREFETCHES_PANEL
#define PREFETCHES_PANEL 1
#endif
#ifndef PREFETCHES_BLOCK
#define PREFETCHES_BLOCK 1
#endif
#ifndef PREFETCHES_SUMS
#define PREFETCHES_SUMS 1
#endif

// At each k a tile prefetches the line at `line + k step`, and the one after it where `step` is two lines.
typedef struct {
  const char *line;
  size_t step;
} prefetch;

enum { LINE_BYTES = 64 };

// The share of row group `group` of `groups` in the panel part of `bytes` bytes at `part`, over `K` multiply-adds.
INLINE prefetch share_of_panel(const char *part, size_t bytes, size_t group, size_t groups, size_t K) {
  size_t lines = quotient_up(quotient_up(bytes, LINE_BYTES), groups);
  return (prefetch){part + group * lines * LINE_BYTES, lines > K ? 2 * LINE_BYTES : LINE_BYTES};
}
