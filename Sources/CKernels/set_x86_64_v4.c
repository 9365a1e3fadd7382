// AVX-512: a tile of 8 × 48, whose 24 sums and 3 vectors of B leave 5 of 32 registers.
#if defined(__x86_64__)
#include "common.h"

#define SET_NAME "x86-64-v4"
#define SET_TABLE lockstep_set_x86_64_v4
#define HAS_FMA 1
#define VECTOR_BYTES 64
#define TILE_VECTORS 3
#define TILE_ROWS 8
#define UNROLLED 4
// Weight gradients (column `gradient` of `Scripts/measure-kernels`) reach 0.93 to 0.94 of multiply-adds in registers with this, 0.82 to 0.91
// with 8 or 16 strips of 384 or 768 k (Zen 4, 200, 650 and 1500 cells, alone and beside another thread).
#define STRIPS_TOGETHER 1
#define DEPTH_OF_STRIPS DEPTH
#define SET_PREFETCHES_PANEL 1
#define SET_PREFETCHES_ROWS 1
#define SET_PREFETCHES_SUMS 1
// Of the products of a step of ptb-large 1.6 % on a Zen 5 core; of its steps 4 % (0.89 to 1.69 of the time) on two cores of an Emerald
// Rapids; nothing that could be measured for the small and medium models.
#define SET_PREFETCHES_SOON 1
#define PREFETCH_EVERY 1
#define PREFETCH_MOST_ROWS SIZE_MAX
#define PREFETCH_LEAST_BYTES lockstep_block_bytes()
#define STAYS_IN_REGISTER(x) __asm__ volatile("" : "+v"(x))

// Without the last word, the compiler vectorises gates, softmax and sums to half the width.
#pragma clang attribute push(__attribute__((target("arch=x86-64-v4,no-prefer-256-bit"))), apply_to = function)
#include "set_template.h"
#pragma clang attribute pop
#endif
