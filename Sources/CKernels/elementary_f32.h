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

// e^x = 2^n e^r with n = round(x / ln 2), |r| ≤ ln 2 / 2; e^r by its Taylor-like minimax polynomial of degree 6.
// Below −87.3 the result is the smallest normal number, above 88.7 infinity; NaN stays NaN.
INLINE float exponential(float x) {
  float clamped = x < -87.33654f ? -87.33654f : x;
  clamped = clamped > 88.72284f ? 88.72284f : clamped;
  // Adding 1.5 · 2^23 rounds to an integer and leaves it in the low bits.
  float shifted = clamped * 1.44269504f + 12582912.0f;
  float n = shifted - 12582912.0f;
  float r = clamped - n * 0.693359375f;
  r = r + n * 2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * (r * r) + r + 1.0f;
  // 2^n in two factors: n reaches 128.
  int32_t bits;
  memcpy(&bits, &shifted, sizeof bits);
  int32_t exponent = bits - 0x4B400000;
  int32_t half = exponent >> 1;
  // Unsigned, because the exponent of a NaN is out of range.
  uint32_t first = (uint32_t)(half + 127) << 23, second = (uint32_t)(exponent - half + 127) << 23;
  float a, b;
  memcpy(&a, &first, sizeof a);
  memcpy(&b, &second, sizeof b);
  float result = p * a * b;
  return x > 88.72284f ? INFINITY : result;
}

INLINE float logistic(float x) {
  // Beyond −87 the true value is below the smallest normal number.
  return 1.0f / (1.0f + exponential(-x));
}

// |x| < 0.625: x + x³ P(x²); else 1 − 2 / (e^{2|x|} + 1) with the sign of x.
INLINE float hyperbolic_tangent(float x) {
  float magnitude = fabsf(x);
  float s = x * x;
  float p = -5.70498872745e-3f;
  p = p * s + 2.06390887954e-2f;
  p = p * s - 5.37397155531e-2f;
  p = p * s + 1.33314422036e-1f;
  p = p * s - 3.33332819422e-1f;
  float small = p * s * x + x;
  float doubled = magnitude + magnitude;
  float large = 1.0f - 2.0f / (exponential(doubled > 40.0f ? 40.0f : doubled) + 1.0f);
  large = copysignf(large, x);
  return magnitude < 0.625f ? small : large;
}
