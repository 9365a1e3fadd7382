// What the compiler assumes of every processor of its kind. On aarch64 that is NEON: a tile of 6 × 16, whose 24 sums and 4 vectors of B
// leave 4 of 32 registers. On x86-64 it is SSE2 without fused multiply-add, which is emulated, so that bits are those of other sets.
#include "common.h"

#define VECTOR_BYTES 16
#define TILE_ROWS 6
#define STRIPS_TOGETHER 1
#define DEPTH_OF_STRIPS DEPTH
#if defined(__aarch64__)
#define SET_NAME "aarch64"
#define HAS_FMA 1
#define TILE_VECTORS 4
#define UNROLLED 2
#define STAYS_IN_REGISTER(x) __asm__ volatile("" : "+w"(x))
#else
#define SET_NAME "portable"
#define HAS_FMA 0
#define TILE_VECTORS 1
#define UNROLLED 1
#define STAYS_IN_REGISTER(x)
#endif
// Not measured: nothing is prefetched.
#define SET_PREFETCHES_PANEL 0
#define SET_PREFETCHES_ROWS 0
#define SET_PREFETCHES_SUMS 0
#define SET_PREFETCHES_SOON 0
#define PREFETCH_EVERY 1
#define PREFETCH_MOST_ROWS 0
#define PREFETCH_LEAST_BYTES SIZE_MAX
#define SET_TABLE lockstep_set_portable

#include "set_template.h"
