// What a tile prefetches while it multiplies: its share of the block of B that is used after the present one.
//
// Without it, the first group of rows of each block waits for memory. Only packed blocks are prefetched: their panels lie from end to end.
#pragma once
#include "product.h"

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
