// How kernels are compiled: one clone an instruction set, chosen when the program is loaded.
#pragma once

// A clone with fused multiply-add must give the bits of one without, or ranks on different processors drift apart.
#pragma STDC FP_CONTRACT OFF

// A build for one instruction set alone, to compare its bits with another's, defines CLONES as nothing.
#if defined(CLONES)
#elif defined(__x86_64__)
#define CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define CLONES
#endif

#define INLINE static inline __attribute__((always_inline))

// Partial sums of a reduction: the same number on every instruction set, so that the order of addition is one.
enum { LANES = 16 };
