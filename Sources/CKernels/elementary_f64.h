// exp, σ and tanh in double precision: those of the C library. Double serves derivative checks, where speed does not count.
#pragma once
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "clones.h"

// Calls of the C library's functions do not vectorise.
#define ELEMENTWISE

INLINE double exponential(double x) { return exp(x); }
INLINE double logistic(double x) { return 1.0 / (1.0 + exp(-x)); }
INLINE double hyperbolic_tangent(double x) { return tanh(x); }
