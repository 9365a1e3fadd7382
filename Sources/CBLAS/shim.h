// The two products that the program takes from a BLAS library, by the interface that OpenBLAS, BLIS, MKL and AOCL share, and what a
// library says of itself, by its own functions where it has them.
#pragma once
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum { lockstep_cblas_row_major = 101, lockstep_cblas_as_is = 111, lockstep_cblas_transposed = 112 };

void cblas_sgemm(int order, int transpose_a, int transpose_b, int m, int n, int k, float alpha, const float *a, int lda,
                 const float *b, int ldb, float beta, float *c, int ldc);
void cblas_dgemm(int order, int transpose_a, int transpose_b, int m, int n, int k, double alpha, const double *a, int lda,
                 const double *b, int ldb, double beta, double *c, int ldc);

/* The function of that name, or NULL. Another library than the one that the program is linked with may have been loaded before it, and
   then computes: so OpenBLAS, the default, is asked last. */
static inline void *lockstep_blas_function(const char *name) { return dlsym(RTLD_DEFAULT, name); }

/* Makes the library compute each product on the calling thread. */
static inline void lockstep_blas_use_one_thread(void) {
  void (*set)(int);
  if ((set = (void (*)(int))lockstep_blas_function("openblas_set_num_threads"))) set(1);
  if ((set = (void (*)(int))lockstep_blas_function("MKL_Set_Num_Threads"))) set(1);
  void (*set_blis)(ptrdiff_t) = (void (*)(ptrdiff_t))lockstep_blas_function("bli_thread_set_num_threads");
  if (set_blis) set_blis(1);
}

/* The library with its version and options, or NULL where it does not say. */
static inline const char *lockstep_blas_version(void) {
  const char *(*text)(void);
  if ((text = (const char *(*)(void))lockstep_blas_function("bli_info_get_version_str"))) {
    static char blis[80];
    snprintf(blis, sizeof blis, "BLIS %s", text());
    return blis;
  }
  void (*mkl)(char *, int) = (void (*)(char *, int))lockstep_blas_function("MKL_Get_Version_String");
  static char version[200];
  if (mkl) {
    mkl(version, sizeof version - 1);
    return version;
  }
  if ((text = (const char *(*)(void))lockstep_blas_function("openblas_get_config"))) return text();
  return NULL;
}

/* The processor type that the library's kernels are for, or NULL where it does not say. */
static inline const char *lockstep_blas_core(void) {
  int (*arch)(void) = (int (*)(void))lockstep_blas_function("bli_arch_query_id");
  const char *(*name)(int) = (const char *(*)(int))lockstep_blas_function("bli_arch_string");
  if (arch && name) return name(arch());
  const char *(*text)(void) = (const char *(*)(void))lockstep_blas_function("openblas_get_corename");
  return text ? text() : NULL;
}

/* Replaces a symmetric matrix a [n, n] by its eigenvectors, a row each, and writes the eigenvalues, ascending, to w. `work` has room for
   1 + 6n + 2n² numbers, `integers` for 3 + 5n: what LAPACK asks of the caller. Returns 0; −1 where the library has no LAPACK; or LAPACK's
   error. */
static inline int lockstep_symmetric_eigen(int n, double *a, double *w, double *work, int *integers) {
  typedef void (*solver)(const char *, const char *, const int *, double *, const int *, double *, double *, const int *, int *,
                         const int *, int *, size_t, size_t);
  solver solve = (solver)lockstep_blas_function("dsyevd_");
  if (!solve) return -1;
  int numbers = 1 + 6 * n + 2 * n * n, count = 3 + 5 * n, info = 0;
  solve("V", "U", &n, a, &n, w, work, &numbers, integers, &count, &info, 1, 1);
  return info;
}
