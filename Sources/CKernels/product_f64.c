#include <string.h>

#include "elementary_f64.h"
#include "include/CKernels.h"
#include "product.h"

#define R double
#define KERNEL(name) lockstep_##name##_f64
#include "product_template.h"

void lockstep_transpose_f64(size_t rows, size_t columns, const double *x, size_t x_row, double *out, size_t out_row) {
  lockstep_transpose_plain_f64(rows, columns, x, x_row, out, out_row);
}

void lockstep_pack_f64(size_t N, size_t K, const double *W, size_t stride_n, size_t stride_k, double *packed) {
  lockstep_pack_plain_f64(N, K, W, stride_n, stride_k, packed);
}

void lockstep_product_f64(size_t M, size_t N, size_t K, const double *A, size_t a_row, size_t a_column, const double *B, size_t b_row,
                          double *C, size_t c_row, int accumulate, const lockstep_hints *hints) {
  lockstep_product_plain_f64(M, N, K, A, a_row, a_column, B, b_row, C, c_row, accumulate);
}

void lockstep_pack_rounded_f64(size_t N, size_t K, const double *W, size_t stride_n, size_t stride_k, uint16_t *packed) {
  for (size_t n = 0; n < (N + PANEL - 1) / PANEL * PANEL; n++)
    for (size_t k = 0; k < K; k++) {
      float value = n < N ? (float)W[n * stride_n + k * stride_k] : 0;
      lockstep_encode_bfloat16(1, &value, packed + n / PANEL * PANEL * K + k * PANEL + n % PANEL);
    }
}

void lockstep_product_rounded_f64(size_t M, size_t N, size_t K, const double *A, size_t a_row, size_t a_column, const uint16_t *packed,
                                  double *C, size_t c_row, int accumulate, const lockstep_hints *hints) {
  lockstep_product_rounded_plain_f64(M, N, K, A, a_row, a_column, packed, C, c_row, accumulate);
}

int lockstep_product_is_tuned_f64(void) { return 0; }
