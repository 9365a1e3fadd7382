#pragma once
// What of MPI's interface is a macro with a cast, and so does not import into Swift, as inline functions.
#include <malloc.h>
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>

static inline MPI_Comm lockstep_mpi_comm_world(void) { return MPI_COMM_WORLD; }
static inline MPI_Comm lockstep_mpi_comm_null(void) { return MPI_COMM_NULL; }
static inline MPI_Errhandler lockstep_mpi_errors_return(void) { return MPI_ERRORS_RETURN; }
static inline MPI_Request lockstep_mpi_request_null(void) { return MPI_REQUEST_NULL; }
static inline MPI_Status *lockstep_mpi_status_ignore(void) { return MPI_STATUS_IGNORE; }
static inline void *lockstep_mpi_in_place(void) { return MPI_IN_PLACE; }

static inline MPI_Op lockstep_mpi_sum(void) { return MPI_SUM; }
static inline MPI_Op lockstep_mpi_max(void) { return MPI_MAX; }

static inline MPI_Datatype lockstep_mpi_float(void) { return MPI_FLOAT; }
static inline MPI_Datatype lockstep_mpi_double(void) { return MPI_DOUBLE; }
static inline MPI_Datatype lockstep_mpi_int32(void) { return MPI_INT32_T; }
static inline MPI_Datatype lockstep_mpi_int64(void) { return MPI_INT64_T; }
static inline MPI_Datatype lockstep_mpi_uint64(void) { return MPI_UINT64_T; }
static inline MPI_Datatype lockstep_mpi_uint8(void) { return MPI_UINT8_T; }

// Swift rejects `stdout` as shared mutable state; a null stream flushes all of them.
static inline void lockstep_flush_streams(void) { fflush(NULL); }

// Keeps freed memory in the process instead of mapping and clearing it anew at each large allocation (32 MB is the largest threshold that
// glibc takes); what the environment sets stays.
static inline void lockstep_keep_freed_memory(void) {
  if (!getenv("MALLOC_MMAP_THRESHOLD_")) mallopt(M_MMAP_THRESHOLD, 1 << 25);
  if (!getenv("MALLOC_TRIM_THRESHOLD_")) mallopt(M_TRIM_THRESHOLD, 0x7fffffff);
}
