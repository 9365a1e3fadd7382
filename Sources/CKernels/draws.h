// Random draws in blocks: Philox 4×32-10 of the Random123 library, inlined so that a block of counters becomes vector code.
#pragma once
#include "common.h"

// Counters of a block, and the draws of a block: four a counter.
enum { BLOCK_COUNTERS = 16, BLOCK_DRAWS = 4 * BLOCK_COUNTERS };

// The draws of the counters (word0 + i; word1; word2; word3), i < 16: draws[j][i] is word j of the result.
INLINE void philox_block(philox4x32_key_t key, uint32_t word0, uint32_t word1, uint32_t word2, uint32_t word3,
                         uint32_t draws[4][BLOCK_COUNTERS]) {
#pragma clang loop vectorize(assume_safety)
  for (uint32_t i = 0; i < BLOCK_COUNTERS; i++) {
    philox4x32_ctr_t counter = {{word0 + i, word1, word2, word3}};
    philox4x32_ctr_t bits = philox4x32_R(10, counter, key);
    draws[0][i] = bits.v[0];
    draws[1][i] = bits.v[1];
    draws[2][i] = bits.v[2];
    draws[3][i] = bits.v[3];
  }
}
