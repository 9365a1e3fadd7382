// exp, σ and tanh in single precision without branches, so that loops over them become vector code.
// Within 3 units in the last place of the exact value (tested against double precision).
#pragma once
#include <float.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "clones.h"

// Iterations of an elementwise loop never depend on each other, also where output and input are the same array.
#define ELEMENTWISE _Pragma("clang loop vectorize(assume_safety) interleave(enable)")

#define FMA(a, b, c) __builtin_elementwise_fma(a, b, c)

// Adding 1.5 · 2^23 rounds to an integer, and leaves it in the low bits.
#define ROUNDER 12582912.0f

// 2^n for the integer n in the low bits of a sum with ROUNDER, −126 ≤ n ≤ 127.
INLINE float power_of_two(float rounded) {
  uint32_t bits;
  memcpy(&bits, &rounded, sizeof bits);
  bits = (bits << 23) + (127u << 23);
  float power;
  memcpy(&power, &bits, sizeof power);
  return power;
}

// e^x = 2^n e^r for −87.34 ≤ x ≤ 88, or NaN, with n = round(x / ln 2), |r| ≤ ln 2 / 2; e^r by 1 + r + r² P(r), P of degree 4 with a minimax
// error of 2^-28. Fused multiply-adds are one rounding on every processor, whatever computes them.
INLINE float power_of_e(float x) {
  float rounded = FMA(x, 1.44269504f, ROUNDER);
  float n = rounded - ROUNDER;
  float r = FMA(n, -0.693359375f, x);
  r = FMA(n, 2.12194440e-4f, r);
  float p = 1.38141775e-3f;
  p = FMA(p, r, 8.36891929e-3f);
  p = FMA(p, r, 4.16684078e-2f);
  p = FMA(p, r, 1.66665190e-1f);
  p = FMA(p, r, 4.99999933e-1f);
  p = FMA(p, r * r, r) + 1.0f;
  return p * power_of_two(rounded);
}

// e^x for x ≤ 88. Below −87.3 the result is the smallest normal number; NaN stays NaN.
INLINE float exponential(float x) { return power_of_e(x < -87.33654f ? -87.33654f : x); }

// 1 / (1 + e^-x), with e^-|x| ≤ 1 only.
INLINE float logistic(float x) {
  float e = exponential(-fabsf(x));
  float numerator = x < 0.0f ? e : 1.0f;
  // The true value is below the smallest normal number.
  numerator = x < -87.33654f ? 0.0f : numerator;
  return numerator / (1.0f + e);
}

// t / (t + 2) with t = e^{2|x|} − 1 and the sign of x. With n = round(2|x| / ln 2 − 1/4) and y = 2|x| − n ln 2, t = 2^n (e^y − 1) + 2^n − 1,
// which never is the small difference of larger numbers; e^y − 1 = y + y² P(y), P of degree 4 with a minimax error of 2^-26.
INLINE float hyperbolic_tangent(float x) {
  float magnitude = fabsf(x);
  magnitude = magnitude > 10.0f ? 10.0f : magnitude;
  float rounded = FMA(magnitude, 2.88539008f, -0.25f) + ROUNDER;
  float n = rounded - ROUNDER;
  float r = FMA(n, -0.3466796875f, magnitude);
  r = FMA(n, 1.06097220e-4f, r);
  float y = r + r;
  float p = 1.60271286e-3f;
  p = FMA(p, y, 8.28232174e-3f);
  p = FMA(p, y, 4.16616074e-2f);
  p = FMA(p, y, 1.66668407e-1f);
  p = FMA(p, y, 5.00000033e-1f);
  p = FMA(p, y * y, y);
  float power = power_of_two(rounded);
  float t = FMA(p, power, power - 1.0f);
  return copysignf(t / (t + 2.0f), x);
}
