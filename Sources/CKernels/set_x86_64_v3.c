// AVX2: a tile of 6 × 16, whose 12 sums and 2 vectors of B leave 2 of 16 registers.
#if defined(__x86_64__)
#include "common.h"

#define SET_NAME "x86-64-v3"
#define SET_TABLE lockstep_set_x86_64_v3
#define HAS_FMA 1
#define VECTOR_BYTES 32
#define TILE_VECTORS 2
#define TILE_ROWS 6
#define UNROLLED _Pragma("clang loop unroll_count(4)")
#define STAYS_IN_REGISTER(x) __asm__ volatile("" : "+x"(x))

#pragma clang attribute push(__attribute__((target("arch=x86-64-v3"))), apply_to = function)
#include "set_template.h"
#pragma clang attribute pop
#endif
