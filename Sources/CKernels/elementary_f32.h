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

// e^x = 2^n e^r for −87.34 ≤ x ≤ 88, or NaN, with n = round(x / ln 2), |r| ≤ ln 2 / 2; e^r by its Taylor-like minimax polynomial of degree
// 6. Fused multiply-adds are one rounding on every processor, whatever computes them.
INLINE float power_of_e(float x) {
  // Adding 1.5 · 2^23 rounds to an integer and leaves it in the low bits.
  float shifted = FMA(x, 1.44269504f, 12582912.0f);
  float n = shifted - 12582912.0f;
  float r = FMA(n, -0.693359375f, x);
  r = FMA(n, 2.12194440e-4f, r);
  float p = 1.9875691500e-4f;
  p = FMA(p, r, 1.3981999507e-3f);
  p = FMA(p, r, 8.3334519073e-3f);
  p = FMA(p, r, 4.1665795894e-2f);
  p = FMA(p, r, 1.6666665459e-1f);
  p = FMA(p, r, 5.0000001201e-1f);
  p = FMA(p, r * r, r) + 1.0f;
  // Unsigned, because the exponent of a NaN is out of range.
  uint32_t bits;
  memcpy(&bits, &shifted, sizeof bits);
  uint32_t power = (bits - 0x4B400000u + 127u) << 23;
  float scale;
  memcpy(&scale, &power, sizeof scale);
  return p * scale;
}

// e^x for x ≤ 88. Below −87.3 the result is the smallest normal number; NaN stays NaN.
INLINE float exponential(float x) { return power_of_e(x < -87.33654f ? -87.33654f : x); }

INLINE float logistic(float x) {
  float value = 1.0f / (1.0f + exponential(x < -88.0f ? 88.0f : -x));
  // The true value is below the smallest normal number.
  return x < -88.0f ? 0.0f : value;
}

// |x| < 0.625: x + x³ P(x²); else 1 − 2 / (e^{2|x|} + 1) with the sign of x.
INLINE float hyperbolic_tangent(float x) {
  float magnitude = fabsf(x);
  float s = x * x;
  float p = -5.70498872745e-3f;
  p = FMA(p, s, 2.06390887954e-2f);
  p = FMA(p, s, -5.37397155531e-2f);
  p = FMA(p, s, 1.33314422036e-1f);
  p = FMA(p, s, -3.33332819422e-1f);
  float small = FMA(p * s, x, x);
  float doubled = magnitude + magnitude;
  float large = 1.0f - 2.0f / (power_of_e(doubled > 40.0f ? 40.0f : doubled) + 1.0f);
  large = copysignf(large, x);
  return magnitude < 0.625f ? small : large;
}
