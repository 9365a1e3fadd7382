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
// Weight gradients of ptb-medium (Zen 3, two shared cores, medians of rates in multiply-adds in registers): 0.68 with these, 0.60 with 32
// strips, 0.58 with 8, 0.59 with 16 of 768 k, and 0.45 where tiles copy strips of 768 k on their way. With 200 cells there is no difference.
// Column `gradient` of `Scripts/measure-kernels` is that product.
#define STRIPS_TOGETHER 16
#define DEPTH_OF_STRIPS 384
// Each k takes 20 instructions for 6 cycles of multiply-adds: a prefetch more is felt where another thread shares the core. On such a
// machine (Zen 3, medians) products are 1.2 times as fast without any. Few rows and weights from memory (16 rows, 6000 x 1500) are
// 1.3 times as fast with prefetched blocks; where the weights have 6.7 MB, in the third-level cache, it makes no difference.
#define SET_PREFETCHES_PANEL 0
#define SET_PREFETCHES_ROWS 0
#define SET_PREFETCHES_SUMS 0
#define SET_PREFETCHES_SOON 0
#define PREFETCH_EVERY 2
#define PREFETCH_MOST_ROWS FEW_ROWS
#define PREFETCH_LEAST_BYTES (8 << 20)
#define STAYS_IN_REGISTER(x) __asm__ volatile("" : "+x"(x))

#pragma clang attribute push(__attribute__((target("arch=x86-64-v3"))), apply_to = function)
#include "set_template.h"
#pragma clang attribute pop
#endif
