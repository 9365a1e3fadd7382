// Which sets of kernels there are, and which is in use.
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "include/CKernels.h"
#include "product.h"

extern const lockstep_kernel_set lockstep_set_x86_64_v4, lockstep_set_x86_64_v3, lockstep_set_portable;

const lockstep_kernel_set *lockstep_kernel_set_at(size_t i) {
  const lockstep_kernel_set *sets[3];
  size_t count = 0;
#if defined(__x86_64__)
  if (__builtin_cpu_supports("x86-64-v4")) sets[count++] = &lockstep_set_x86_64_v4;
  if (__builtin_cpu_supports("x86-64-v3")) sets[count++] = &lockstep_set_x86_64_v3;
#endif
  sets[count++] = &lockstep_set_portable;
  return i < count ? sets[i] : NULL;
}

static _Atomic(const lockstep_kernel_set *) in_use;

const lockstep_kernel_set *lockstep_kernel_set_named(const char *name) {
  const lockstep_kernel_set *set;
  for (size_t i = 0; (set = lockstep_kernel_set_at(i)); i++)
    if (!strcmp(set->name, name)) return set;
  return strcmp(name, "portable") ? NULL : &lockstep_set_portable;
}

static const lockstep_kernel_set *set_at_start(void) {
  const char *name = getenv("LOCKSTEP_KERNELS");
  const lockstep_kernel_set *set = name ? lockstep_kernel_set_named(name) : NULL;
  return set ? set : lockstep_kernel_set_at(0);
}

const lockstep_kernel_set *lockstep_kernel_set_in_use(void) {
  const lockstep_kernel_set *set = atomic_load_explicit(&in_use, memory_order_acquire);
  if (set) return set;
  // Threads that come here together find the same set.
  lockstep_use_kernel_set(set_at_start());
  return atomic_load_explicit(&in_use, memory_order_acquire);
}

void lockstep_use_kernel_set(const lockstep_kernel_set *set) { atomic_store_explicit(&in_use, set, memory_order_release); }

size_t lockstep_block_bytes(void) {
  static atomic_size_t known;
  size_t bytes = atomic_load_explicit(&known, memory_order_relaxed);
  if (bytes) return bytes;
  // Rows of A and of C go through the same cache.
  long cache = sysconf(_SC_LEVEL2_CACHE_SIZE);
  size_t half = cache > 0 ? (size_t)cache / 2 : 128 << 10;
  bytes = half < 128 << 10 ? 128 << 10 : half > MOST_BLOCK_BYTES ? MOST_BLOCK_BYTES : half;
  atomic_store_explicit(&known, bytes, memory_order_relaxed);
  return bytes;
}
