#include "common.h"

void lockstep_uniform(size_t n, double *out, uint64_t seed, uint32_t stream, uint64_t first) {
  philox4x32_key_t key = {{(uint32_t)seed, (uint32_t)(seed >> 32)}};
  for (size_t i = 0; i < n; i += 2) {
    uint64_t block = (first + i) / 2;
    philox4x32_ctr_t counter = {{(uint32_t)block, (uint32_t)(block >> 32), stream, UINT32_MAX}};
    philox4x32_ctr_t bits = philox4x32(counter, key);
    for (size_t j = 0; j < 2 && i + j < n; j++) {
      uint64_t word = (uint64_t)bits.v[2 * j] << 32 | bits.v[2 * j + 1];
      out[i + j] = (double)(word >> 11) * 0x1p-53;
    }
  }
}
