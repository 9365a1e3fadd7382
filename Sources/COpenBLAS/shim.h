#pragma once
#include <cblas.h>

/* LAPACK's QR factorisation, which Debian's OpenBLAS contains but cblas.h does not declare. */
void dgeqrf_(const int *m, const int *n, double *a, const int *lda, double *tau, double *work,
             const int *lwork, int *info);
void dorgqr_(const int *m, const int *n, const int *k, double *a, const int *lda, const double *tau,
             double *work, const int *lwork, int *info);
