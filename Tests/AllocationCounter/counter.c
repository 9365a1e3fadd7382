// A library to be loaded before a program (LD_PRELOAD) that counts what each thread allocates. `lockstep benchmark` reports it.
#define _GNU_SOURCE
#include "include/AllocationCounter.h"

#include <stddef.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

// The C library's own functions, under the names that it keeps for those who replace them.
extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);

// Initial-exec: a thread's first access must not allocate.
static __attribute__((tls_model("initial-exec"))) _Thread_local uint64_t calls, bytes;

static void note(size_t size) {
  calls++;
  bytes += size;
}

void lockstep_allocations(uint64_t *count, uint64_t *size) {
  *count = calls;
  *size = bytes;
}

void *malloc(size_t size) {
  note(size);
  return __libc_malloc(size);
}

void *calloc(size_t count, size_t size) {
  note(count * size);
  return __libc_calloc(count, size);
}

void *realloc(void *block, size_t size) {
  note(size);
  return __libc_realloc(block, size);
}

void *aligned_alloc(size_t alignment, size_t size) {
  note(size);
  return __libc_memalign(alignment, size);
}

void *memalign(size_t alignment, size_t size) {
  note(size);
  return __libc_memalign(alignment, size);
}

int posix_memalign(void **block, size_t alignment, size_t size) {
  note(size);
  *block = __libc_memalign(alignment, size);
  return *block ? 0 : 12;
}

void *mmap(void *address, size_t length, int protection, int flags, int file, off_t offset) {
  note(length);
  return (void *)syscall(SYS_mmap, address, length, protection, flags, file, offset);
}
