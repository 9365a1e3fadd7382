#include <string.h>

#include "elementary_f64.h"
#include "include/CKernels.h"
#include "packed.h"

#define R double
#define KERNEL(name) lockstep_##name##_f64
#include "packed_template.h"

void lockstep_packed_product_f64(size_t B, size_t N, size_t K, const double *A, size_t lda, const double *packed, double *C,
                                 size_t ldc, int accumulate) {
  lockstep_packed_product_plain_f64(B, N, K, A, lda, packed, C, ldc, accumulate);
}
