#define _GNU_SOURCE
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "threads.h"

// Nanoseconds that a thread without work waits awake: longer than what lies between two products of a time step.
enum { AWAKE = 100000 };
// Nanoseconds that a caller waits awake for pieces that others have begun: if one takes longer, its thread may want this one's core.
enum { PATIENCE = 50000 };
enum { LINE = 64, STACK = 2 << 20 };

// The pieces of one thread that nobody has taken.
typedef struct {
  _Alignas(LINE) atomic_size_t next;
  size_t end;
} run;

// Invariant: whoever set `busy` alone writes everything here but `state`, `sleepers` and the runs' `next`; and what describes the work only
// while `state` is 0, when no worker reads it.
static struct {
  atomic_flag busy;
  atomic_size_t threads, least;
  pthread_t *workers;
  run *runs;

  size_t count, size;
  lockstep_part part;
  const void *context;

  // How many threads may take part << 16 | workers that do; 0 where there is nothing to do.
  _Alignas(LINE) atomic_uint state;
  atomic_uint caller_sleeps;
  // One more with all that is new: work, or the end.
  _Alignas(LINE) atomic_uint news;
  atomic_uint sleepers, ends;
} pool = {.busy = ATOMIC_FLAG_INIT, .threads = 1};

// What takes 1 to 3 µs: several times what it costs to hand it to a thread that waits awake. To wake one costs the caller 5 µs and more,
// so all of the work must be so many times as much.
enum { LEAST_WORK = 1 << 18, WORTH_WAKING = 20 };

size_t lockstep_threads(void) { return atomic_load_explicit(&pool.threads, memory_order_relaxed); }
size_t lockstep_least_work(void) { return atomic_load_explicit(&pool.least, memory_order_relaxed); }

static long nanoseconds(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * 1000000000L + time.tv_nsec;
}

static inline void pause_briefly(void) {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

// Returns when the value is another, or after some time.
static void wait_awake(atomic_uint *word, unsigned value, long limit) {
  long start = nanoseconds();
  do {
    for (int i = 0; i < 64; i++) {
      if (atomic_load_explicit(word, memory_order_acquire) != value) return;
      pause_briefly();
    }
  } while (nanoseconds() - start < limit);
}

// Sleeps until it is woken, if the value is still this one; it may wake for no reason.
static void sleep_on(atomic_uint *word, unsigned value) { syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0); }
static void wake(atomic_uint *word) { syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0); }

// Does what is left, first of the own run and then of the others'.
static void take_pieces(size_t self, size_t threads) {
  for (size_t i = 0; i < threads; i++) {
    run *from = &pool.runs[(self + i) % threads];
    while (atomic_load_explicit(&from->next, memory_order_relaxed) < from->end) {
      size_t piece = atomic_fetch_add_explicit(&from->next, 1, memory_order_relaxed);
      if (piece >= from->end) break;
      size_t first = piece * pool.size, end = pool.count - first < pool.size ? pool.count : first + pool.size;
      pool.part(pool.context, first, end);
    }
  }
}

// Enters the work under way, if this thread has a run in it.
static size_t enter(size_t self) {
  unsigned state = atomic_load(&pool.state);
  while (state >> 16 > self)
    if (atomic_compare_exchange_weak(&pool.state, &state, state + 1)) return state >> 16;
  return 0;
}

static void *work(void *argument) {
  size_t self = (size_t)argument;
  char name[16];
  snprintf(name, sizeof name, "lockstep-%u", (unsigned)self);
  pthread_setname_np(pthread_self(), name);
  for (;;) {
    unsigned seen = atomic_load(&pool.news);
    if (atomic_load(&pool.ends)) return NULL;
    size_t threads = enter(self);
    if (threads) {
      take_pieces(self, threads);
      if (atomic_fetch_sub(&pool.state, 1) == 1 && atomic_load(&pool.caller_sleeps)) wake(&pool.state);
    }
    wait_awake(&pool.news, seen, AWAKE);
    if (atomic_load(&pool.news) != seen) continue;
    atomic_fetch_add(&pool.sleepers, 1);
    while (atomic_load(&pool.news) == seen) sleep_on(&pool.news, seen);
    atomic_fetch_sub(&pool.sleepers, 1);
  }
}

static void announce(int wakes) {
  atomic_fetch_add(&pool.news, 1);
  if (wakes && atomic_load(&pool.sleepers)) wake(&pool.news);
}

void lockstep_run(size_t count, size_t size, size_t threads, size_t work, lockstep_part part, const void *context) {
  size_t pieces = (count + size - 1) / size;
  int wakes = work / WORTH_WAKING >= lockstep_least_work();
  if (threads > pieces) threads = pieces;
  if (!wakes && atomic_load_explicit(&pool.sleepers, memory_order_relaxed) + 1 >= lockstep_threads()) threads = 1;
  if (threads < 2 || atomic_flag_test_and_set(&pool.busy)) return part(context, 0, count);
  if (threads > lockstep_threads()) threads = lockstep_threads();
  pool.count = count;
  pool.size = size;
  pool.part = part;
  pool.context = context;
  for (size_t i = 0; i < threads && threads > 1; i++) {
    atomic_store_explicit(&pool.runs[i].next, pieces * i / threads, memory_order_relaxed);
    pool.runs[i].end = pieces * (i + 1) / threads;
  }
  if (threads < 2) {
    // Another caller has just ended the pool.
    part(context, 0, count);
  } else {
    atomic_store(&pool.state, (unsigned)threads << 16);
    announce(wakes);
    take_pieces(0, threads);
    // Nobody enters any more; who is inside has a piece.
    unsigned state = atomic_fetch_and(&pool.state, 0xFFFF) & 0xFFFF;
    long start = state ? nanoseconds() : 0;
    while (state) {
      wait_awake(&pool.state, state, PATIENCE - (nanoseconds() - start));
      state = atomic_load(&pool.state);
      if (!state || nanoseconds() - start < PATIENCE) continue;
      atomic_store(&pool.caller_sleeps, 1);
      while ((state = atomic_load(&pool.state))) sleep_on(&pool.state, state);
      atomic_store(&pool.caller_sleeps, 0);
    }
  }
  atomic_flag_clear(&pool.busy);
}

static void end_workers(void) {
  size_t threads = lockstep_threads();
  if (threads > 1) {
    atomic_store(&pool.ends, 1);
    announce(1);
    for (size_t i = 1; i < threads; i++) pthread_join(pool.workers[i], NULL);
    atomic_store(&pool.ends, 0);
    atomic_store(&pool.threads, 1);
  }
  free(pool.workers);
  free(pool.runs);
  pool.workers = NULL;
  pool.runs = NULL;
}

/* Starts a thread that blocks all signals but those of its own faults: the others are for the main thread. Returns 0 or an error number. */
static int start_thread(pthread_t *thread, void *(*body)(void *), void *context) {
  pthread_attr_t attributes;
  int error = pthread_attr_init(&attributes);
  if (error) return error;
  pthread_attr_setstacksize(&attributes, STACK);
  sigset_t all, before;
  sigfillset(&all);
  const int faults[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGABRT};
  for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) sigdelset(&all, faults[i]);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  error = pthread_create(thread, &attributes, body, context);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  pthread_attr_destroy(&attributes);
  return error;
}

int lockstep_start_thread(void *(*body)(void *), void *context) {
  pthread_t thread;
  int error = start_thread(&thread, body, context);
  if (!error) pthread_detach(thread);
  return error;
}

static int begin_workers(size_t count) {
  pool.workers = calloc(count, sizeof(pthread_t));
  pool.runs = aligned_alloc(LINE, count * sizeof(run));
  if (!pool.workers || !pool.runs) return ENOMEM;
  int error = 0;
  size_t threads = 1;
  while (threads < count && !(error = start_thread(&pool.workers[threads], work, (void *)threads))) threads++;
  atomic_store(&pool.threads, threads);
  return error;
}

static void take_pool(void) {
  while (atomic_flag_test_and_set(&pool.busy)) sched_yield();
}

static void end_pool(void) {
  take_pool();
  end_workers();
  atomic_flag_clear(&pool.busy);
}

int lockstep_set_threads(size_t count, size_t least_work) {
  static int ends_at_exit = 0;
  take_pool();
  end_workers();
  atomic_store(&pool.least, least_work ? least_work : LEAST_WORK);
  int error = 0;
  if (count > 1) {
    if (!ends_at_exit) ends_at_exit = !atexit(end_pool);
    error = begin_workers(count);
    if (error) end_workers();
  }
  atomic_flag_clear(&pool.busy);
  return error;
}

size_t lockstep_usable_processors(size_t bytes, unsigned char *mask) {
  long count = syscall(SYS_sched_getaffinity, 0, bytes, mask);
  return count < 0 ? 0 : (size_t)count;
}
