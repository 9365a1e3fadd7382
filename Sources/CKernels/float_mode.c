#include "include/CKernels.h"

#if defined(__x86_64__)
#include <immintrin.h>

// Results below the least normal number become zero (bit 15), and so do such operands (bit 6).
static const unsigned flush = 1u << 15 | 1u << 6;

int lockstep_flush_subnormals(int is_on) {
  const unsigned before = _mm_getcsr();
  _mm_setcsr(is_on ? before | flush : before & ~flush);
  return (before & flush) == flush;
}

#elif defined(__aarch64__)
// Operands and results alike.
static const unsigned long flush = 1ul << 24;

int lockstep_flush_subnormals(int is_on) {
  unsigned long before;
  __asm__ volatile("mrs %0, fpcr" : "=r"(before));
  __asm__ volatile("msr fpcr, %0" : : "r"(is_on ? before | flush : before & ~flush));
  return (before & flush) != 0;
}

#else

int lockstep_flush_subnormals(int is_on) {
  (void)is_on;
  return 0;
}

#endif
