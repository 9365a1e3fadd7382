// What the compiler assumes of every processor of its kind. On aarch64 that is NEON: a tile of 6 × 16, whose 24 sums and 4 vectors of B
// leave 4 of 32 registers. On x86-64 it is SSE2 without fused multiply-add, which is emulated, so that bits are those of other sets.
#include "common.h"

#define VECTOR_BYTES 16
#define TILE_ROWS 6
#if defined(__aarch64__)
#define SET_NAME "aarch64"
#define HAS_FMA 1
#define TILE_VECTORS 4
#define UNROLLED _Pragma("clang loop unroll_count(2)")
#define STAYS_IN_REGISTER(x) __asm__ volatile("" : "+w"(x))
#else
#define SET_NAME "portable"
#define HAS_FMA 0
#define TILE_VECTORS 1
#define UNROLLED
#define STAYS_IN_REGISTER(x)
#endif
#define SET_TABLE lockstep_set_portable

#include "set_template.h"
