// exp, σ and tanh in single precision without branches, so that loops over them become vector code.
// Within 3 units in the last place of the exact value (tested against double precision).
#pragma once
#include "common.h"

// Iterations of an elementwise loop never depend on each other, also where output and input are the same array.
#define ELEMENTWISE _Pragma("clang loop vectorize(assume_safety) interleave(enable)")

// a b + c with one rounding.
#if HAS_FMA
#define FMA(a, b, c) __builtin_elementwise_fma(a, b, c)
#define FMA_OF_VECTORS(a, b, c) FMA(a, b, c)
#else
// The product of two numbers in single precision is exact in double. The sum is rounded to odd (Boldo & Melquiond 2008), so that
// rounding it once more to single precision is one rounding in effect.
INLINE float fused(float a, float b, float c) {
  double product = (double)a * (double)b, addend = c, sum = product + addend;
  double part = sum - product, error = (product - (sum - part)) + (addend - part);
  uint64_t bits;
  memcpy(&bits, &sum, sizeof bits);
  uint64_t is_inexact = (error < 0) | (error > 0), is_smaller = (error < 0) != (sum < 0);
  bits = is_inexact ? (bits - is_smaller) | 1 : bits;
  memcpy(&sum, &bits, sizeof sum);
  return (float)sum;
}
#define FMA(a, b, c) fused(a, b, c)

// The same of four.
typedef float four_singles __attribute__((ext_vector_type(4)));
typedef double four_doubles __attribute__((ext_vector_type(4)));
typedef int64_t four_integers __attribute__((ext_vector_type(4)));

INLINE four_singles fused_four(four_singles a, four_singles b, four_singles c) {
  four_doubles product = __builtin_convertvector(a, four_doubles) * __builtin_convertvector(b, four_doubles);
  four_doubles addend = __builtin_convertvector(c, four_doubles), sum = product + addend;
  four_doubles part = sum - product, error = (product - (sum - part)) + (addend - part), zero = 0;
  // Comparisons give −1 where they hold.
  four_integers is_inexact = (error < zero) | (error > zero), is_smaller = (error < zero) ^ (sum < zero), bits;
  memcpy(&bits, &sum, sizeof bits);
  bits = (((bits + is_smaller) | 1) & is_inexact) | (bits & ~is_inexact);
  memcpy(&sum, &bits, sizeof sum);
  return __builtin_convertvector(sum, four_singles);
}
#define FMA_OF_VECTORS(a, b, c) fused_four(a, b, c)
#endif

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
INLINE float exponential_f32(float x) { return power_of_e(x < -87.33654f ? -87.33654f : x); }

// 1 / (1 + e^-x), with e^-|x| ≤ 1 only.
INLINE float logistic_f32(float x) {
  float e = exponential_f32(-fabsf(x));
  float numerator = x < 0.0f ? e : 1.0f;
  // The true value is below the smallest normal number.
  numerator = x < -87.33654f ? 0.0f : numerator;
  return numerator / (1.0f + e);
}

// t / (t + 2) with t = e^{2|x|} − 1 and the sign of x. With n = round(2|x| / ln 2 − 1/4) and y = 2|x| − n ln 2, t = 2^n (e^y − 1) + 2^n − 1,
// which never is the small difference of larger numbers; e^y − 1 = y + y² P(y), P of degree 4 with a minimax error of 2^-26.
INLINE float hyperbolic_tangent_f32(float x) {
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
