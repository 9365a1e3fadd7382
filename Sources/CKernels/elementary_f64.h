// exp, σ and tanh in double precision: those of the C library. Double serves derivative checks, where speed does not count.
#pragma once
#include "common.h"

// Calls of the C library's functions do not vectorise.
#define ELEMENTWISE
// Two roundings: not every processor has fused multiply-add.
#define FMA_OF_VECTORS(a, b, c) ((a) * (b) + (c))

INLINE double exponential_f64(double x) { return exp(x); }
INLINE double logistic_f64(double x) { return 1.0 / (1.0 + exp(-x)); }
INLINE double hyperbolic_tangent_f64(double x) { return tanh(x); }
