// The threads among which a kernel divides its work: a pool that belongs to the process, none until it is asked for.
//
// Work comes in pieces that do not depend on each other. Each thread has a run of consecutive pieces of its own, the same ones whenever
// the shape is the same, so that what it read before is still in its cache; who is ready takes from the others. A thread that is slow to
// wake up is therefore never waited for, only a piece that it has begun. Which thread computes a piece must not matter to its result.
#pragma once
#include <stddef.h>

#include "include/CKernels.h"

// The least work that is worth a piece of its own, in floating-point operations of a product, or what takes as long as they.
size_t lockstep_least_work(void);

// Does `count` pieces, `size` consecutive ones at a time, on up to `threads` threads. On the calling thread alone where another caller
// has the pool, which is so too inside of a part, and where the others sleep and `work`, all of it, is not worth waking them.
void lockstep_run(size_t count, size_t size, size_t threads, size_t work, lockstep_part part, const void *context);

// Does `count` items of `work` each, in so many pieces as are worth it.
static inline void lockstep_divide(size_t count, size_t work, lockstep_part part, const void *context) {
  size_t threads = lockstep_threads();
  if (threads < 2) return part(context, 0, count);
  size_t pieces = count * work / lockstep_least_work(), most = 4 * threads;
  if (pieces > count) pieces = count;
  // As many for each thread.
  pieces = pieces > most ? most : pieces > threads ? pieces / threads * threads : pieces;
  if (pieces < 2) return part(context, 0, count);
  lockstep_run(count, (count + pieces - 1) / pieces, threads, count * work, part, context);
}
