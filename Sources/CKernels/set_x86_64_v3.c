// AVX2: a tile of 6 × 16, whose 12 sums and 2 vectors of B leave 2 of 16 registers.
#if defined(__x86_64__)
#include "common.h"

#define SET_NAME "x86-64-v3"
#define SET_TABLE lockstep_set_x86_64_v3
#define HAS_FMA 1
#define VECTOR_BYTES 32
#define TILE_VECTORS 2
#define TILE_ROWS 6
#define UNROLLED 4
// A prefetch takes the place of one of 20 instructions, of which a core that runs another thread beside this one has three a cycle.
// On Zen 3, median rates rose by a fifth without any; but few rows and weights from memory are 1.3 times as fast with those of blocks
// (16 rows, 6000 x 1500), and at 6.7 MB, in the third-level cache, it makes no difference.
#define SET_PREFETCHES_PANEL 0
#define SET_PREFETCHES_SUMS 0
#define PREFETCH_EVERY 2
#define PREFETCH_MOST_ROWS FEW_ROWS
#define PREFETCH_LEAST_BYTES (8 << 20)
#define STAYS_IN_REGISTER(x) __asm__ volatile("" : "+x"(x))

#pragma clang attribute push(__attribute__((target("arch=x86-64-v3"))), apply_to = function)
#include "set_template.h"
#pragma clang attribute pop
#endif
