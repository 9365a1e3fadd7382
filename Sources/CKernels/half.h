// Conversion between single precision and formats of 16 bits, rounded to nearest, ties to even, without branches. No instructions for
// such formats are used: which of them a processor has must not show in the bits.
#pragma once
#include "common.h"

INLINE uint32_t bits_of(float x) {
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  return bits;
}

INLINE float float_of(uint32_t bits) {
  float x;
  memcpy(&x, &bits, sizeof x);
  return x;
}

// IEEE 754 binary16: 5 bits of exponent with bias 15, 10 of fraction.
INLINE uint32_t encode_float16(float x) {
  uint32_t bits = bits_of(x), sign = bits >> 16 & 0x8000, size = bits & 0x7FFFFFFF;
  // Half of what is dropped, less one where the last bit that stays is even; then the bias goes from 127 to 15.
  uint32_t normal = (size + 0xFFF + (size >> 13 & 1) - (112u << 23)) >> 13;
  // Below 2^-14 units are 2^-24, as they are in single precision from 0.5 on: the sum rounds.
  uint32_t subnormal = bits_of(float_of(size) + 0.5f) - bits_of(0.5f);
  uint32_t finite = size < 113u << 23 ? subnormal : normal;
  // From 65520 on the nearest number would be 65536, which there is not.
  uint32_t number = size >= 0x477FF000 ? 0x7C00 : finite;
  // What is kept of a NaN's fraction may be 0, so it is made a quiet one.
  uint32_t nan = 0x7E00 | (size >> 13 & 0x3FF);
  return sign | (size > 0x7F800000 ? nan : number);
}

INLINE float decode_float16(uint32_t half) {
  uint32_t sign = (half & 0x8000) << 16, size = half & 0x7FFF;
  uint32_t normal = (size << 13) + (112u << 23), subnormal = bits_of((float)(int32_t)size * 0x1p-24f);
  uint32_t finite = size < 0x400 ? subnormal : normal;
  return float_of(sign | (size >= 0x7C00 ? size << 13 | 0x7F800000 : finite));
}

// The upper half of single precision: 8 bits of exponent, 7 of fraction.
INLINE uint32_t encode_bfloat16(float x) {
  uint32_t bits = bits_of(x);
  // A carry out of the largest exponent is infinity.
  uint32_t number = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16;
  return (bits & 0x7FFFFFFF) > 0x7F800000 ? bits >> 16 | 0x40 : number;
}

INLINE float decode_bfloat16(uint32_t half) { return float_of(half << 16); }
