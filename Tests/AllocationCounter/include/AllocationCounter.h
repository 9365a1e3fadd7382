#pragma once
#include <stdint.h>

/* How often the calling thread has allocated so far, and how many bytes in all. */
void lockstep_allocations(uint64_t *count, uint64_t *size);
