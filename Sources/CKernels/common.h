// What every set of kernels includes before it is compiled for its instruction set.
#pragma once
#include <Random123/philox.h>
#include <float.h>
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "include/CKernels.h"

// Fused multiply-adds are written out, the same on every instruction set, or ranks on different processors would drift apart.
#pragma STDC FP_CONTRACT OFF

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("clang loop unroll(full)")

// Partial sums of a reduction: the same number on every instruction set, so that the order of addition is one.
enum { LANES = 16 };
// Frames that softmax takes at a time.
enum { STRIP = 64 };
// Rows of logits whose sums are taken side by side: alone, each would wait for one addition after the other.
enum { SUMMED_ROWS = 4 };
// Columns whose sums stay in the first-level cache.
enum { COLUMN_BLOCK = 3072 };

INLINE size_t least(size_t a, size_t b) { return a < b ? a : b; }
INLINE size_t quotient_up(size_t a, size_t b) { return (a + b - 1) / b; }
