#pragma once
// What of MPI's interface is a macro with a cast, and so does not import into Swift, as inline functions.
#include <errno.h>
#include <malloc.h>
#include <mpi.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/statvfs.h>
#include <unistd.h>

// Handles are pointers in Open MPI and numbers in MPICH and its relatives. With this word Swift sees a pointer that is never null, and so the same
// kind of value everywhere; calls that fill in a handle come as functions below, where it can be said of what they write.
#if defined(OPEN_MPI)
#define LOCKSTEP_HANDLE _Nonnull
#else
#define LOCKSTEP_HANDLE
#endif

// Whether this is Open MPI, whose settings and launcher have names of their own.
static inline int lockstep_mpi_is_open_mpi(void) {
#if defined(OPEN_MPI)
  return 1;
#else
  return 0;
#endif
}

static inline MPI_Comm LOCKSTEP_HANDLE lockstep_mpi_comm_world(void) { return MPI_COMM_WORLD; }
static inline MPI_Comm LOCKSTEP_HANDLE lockstep_mpi_comm_null(void) { return MPI_COMM_NULL; }
static inline MPI_Errhandler LOCKSTEP_HANDLE lockstep_mpi_errors_return(void) { return MPI_ERRORS_RETURN; }
static inline MPI_Request LOCKSTEP_HANDLE lockstep_mpi_request_null(void) { return MPI_REQUEST_NULL; }
static inline MPI_Win LOCKSTEP_HANDLE lockstep_mpi_win_null(void) { return MPI_WIN_NULL; }
static inline void *lockstep_mpi_in_place(void) { return MPI_IN_PLACE; }

static inline int lockstep_mpi_comm_dup(MPI_Comm LOCKSTEP_HANDLE all, MPI_Comm LOCKSTEP_HANDLE *copy) { return MPI_Comm_dup(all, copy); }
static inline int lockstep_mpi_comm_split(MPI_Comm LOCKSTEP_HANDLE all, int color, int key, MPI_Comm LOCKSTEP_HANDLE *part) {
  return MPI_Comm_split(all, color, key, part);
}
static inline int lockstep_mpi_split_by_memory(MPI_Comm LOCKSTEP_HANDLE all, int key, MPI_Comm LOCKSTEP_HANDLE *node) {
  return MPI_Comm_split_type(all, MPI_COMM_TYPE_SHARED, key, MPI_INFO_NULL, node);
}

static inline int lockstep_mpi_win_allocate_shared(MPI_Aint bytes, MPI_Comm LOCKSTEP_HANDLE node, void **base, MPI_Win LOCKSTEP_HANDLE *window) {
  return MPI_Win_allocate_shared(bytes, 1, MPI_INFO_NULL, node, base, window);
}
static inline int lockstep_mpi_win_shared_query(MPI_Win LOCKSTEP_HANDLE window, int rank, MPI_Aint *bytes, void **base) {
  int unit;
  return MPI_Win_shared_query(window, rank, bytes, &unit, base);
}
static inline int lockstep_mpi_win_free(MPI_Win LOCKSTEP_HANDLE *window) { return MPI_Win_free(window); }

static inline int lockstep_mpi_test(MPI_Request LOCKSTEP_HANDLE *request, int *done) { return MPI_Test(request, done, MPI_STATUS_IGNORE); }
static inline int lockstep_mpi_wait(MPI_Request LOCKSTEP_HANDLE *request) { return MPI_Wait(request, MPI_STATUS_IGNORE); }

static inline int lockstep_mpi_iallreduce(
    void *vector, int count, MPI_Datatype LOCKSTEP_HANDLE type, MPI_Op LOCKSTEP_HANDLE operation, MPI_Comm LOCKSTEP_HANDLE all,
    MPI_Request LOCKSTEP_HANDLE *request) {
  return MPI_Iallreduce(MPI_IN_PLACE, vector, count, type, operation, all, request);
}
static inline int lockstep_mpi_iallgather(
    const void *local, int count, void *gathered, MPI_Datatype LOCKSTEP_HANDLE type, MPI_Comm LOCKSTEP_HANDLE all,
    MPI_Request LOCKSTEP_HANDLE *request) {
  return MPI_Iallgather(local, count, type, gathered, count, type, all, request);
}
static inline int lockstep_mpi_iallgatherv(
    const void *local, int count, void *gathered, const int *counts, const int *displacements, MPI_Datatype LOCKSTEP_HANDLE type,
    MPI_Comm LOCKSTEP_HANDLE all, MPI_Request LOCKSTEP_HANDLE *request) {
  return MPI_Iallgatherv(local, count, type, gathered, counts, displacements, type, all, request);
}
static inline int lockstep_mpi_ialltoallv(
    const void *send, const int *send_counts, const int *send_displacements, void *receive, const int *receive_counts,
    const int *receive_displacements, MPI_Datatype LOCKSTEP_HANDLE type, MPI_Comm LOCKSTEP_HANDLE all, MPI_Request LOCKSTEP_HANDLE *request) {
  return MPI_Ialltoallv(send, send_counts, send_displacements, type, receive, receive_counts, receive_displacements, type, all, request);
}

static inline MPI_Op LOCKSTEP_HANDLE lockstep_mpi_sum(void) { return MPI_SUM; }
static inline MPI_Op LOCKSTEP_HANDLE lockstep_mpi_max(void) { return MPI_MAX; }

static inline MPI_Datatype LOCKSTEP_HANDLE lockstep_mpi_float(void) { return MPI_FLOAT; }
static inline MPI_Datatype LOCKSTEP_HANDLE lockstep_mpi_double(void) { return MPI_DOUBLE; }
static inline MPI_Datatype LOCKSTEP_HANDLE lockstep_mpi_int32(void) { return MPI_INT32_T; }
static inline MPI_Datatype LOCKSTEP_HANDLE lockstep_mpi_int64(void) { return MPI_INT64_T; }
static inline MPI_Datatype LOCKSTEP_HANDLE lockstep_mpi_uint64(void) { return MPI_UINT64_T; }
static inline MPI_Datatype LOCKSTEP_HANDLE lockstep_mpi_uint8(void) { return MPI_UINT8_T; }
static inline MPI_Datatype LOCKSTEP_HANDLE lockstep_mpi_uint16(void) { return MPI_UINT16_T; }

// Swift rejects `stdout` as shared mutable state; a null stream flushes all of them.
static inline void lockstep_flush_streams(void) { fflush(NULL); }

// Keeps freed memory in the process instead of mapping and clearing it anew at each large allocation (32 MB is the largest threshold that
// glibc takes); what the environment sets stays.
static inline void lockstep_keep_freed_memory(void) {
  if (!getenv("MALLOC_MMAP_THRESHOLD_")) mallopt(M_MMAP_THRESHOLD, 1 << 25);
  if (!getenv("MALLOC_TRIM_THRESHOLD_")) mallopt(M_TRIM_THRESHOLD, 0x7fffffff);
}

// What a rank wrote before it stored a value is seen by every rank that has loaded this value.
static inline uint64_t lockstep_load_acquire(const uint64_t *flag) { return __atomic_load_n(flag, __ATOMIC_ACQUIRE); }
static inline void lockstep_store_release(uint64_t *flag, uint64_t value) { __atomic_store_n(flag, value, __ATOMIC_RELEASE); }

// Bytes left where shared memory lies, 0 where there is none.
static inline uint64_t lockstep_shared_memory_room(void) {
  struct statvfs system;
  if (access("/dev/shm", W_OK) != 0 || statvfs("/dev/shm", &system) != 0) return 0;
  return (uint64_t)system.f_bavail * system.f_frsize;
}

// Takes the pages of [base, base + bytes) from the system now: false where there are not enough, which would else end the process with a
// signal when it first writes there. Systems that cannot tell say true.
static inline int lockstep_populate(void *base, size_t bytes) {
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif
  uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), start = (uintptr_t)base / page * page;
  if (bytes == 0 || madvise((void *)start, (uintptr_t)base + bytes - start, MADV_POPULATE_WRITE) == 0) return 1;
  return errno == EINVAL || errno == ENOSYS;
}
