// All kernels for one instruction set; included in a region that is compiled for it, with SET_NAME, SET_TABLE and what
// `product_template.h` wants defined, and HAS_FMA: whether it has fused multiply-add in single precision.

#include "draws.h"
#include "elementary_f32.h"
#include "half.h"
#include "prefetch_plan.h"

#define FORMAT(name) name##_float16
#include "half_template.h"
#undef FORMAT
#define FORMAT(name) name##_bfloat16
#include "half_template.h"
#undef FORMAT

#define TABLE                                                                                                                  \
  {.element_size = sizeof(R), .panel = KERNEL(panel), .tile_rows = TILE_ROWS, .depth_of_strips = DEPTH_OF_STRIPS,              \
   .is_tuned = HAS_FMA, .scale = KERNEL(scale),                                                                                \
   .add = KERNEL(add), .squares = KERNEL(squares), .first_not_finite = KERNEL(first_not_finite),                               \
   .column_sums = KERNEL(column_sums), .transpose = KERNEL(transpose), .lstm_forward = KERNEL(lstm_forward),                   \
   .lstm_backward = KERNEL(lstm_backward), .lstm_output = KERNEL(lstm_output),                                                 \
   .lstm_output_backward = KERNEL(lstm_output_backward), .rnn_forward = KERNEL(rnn_forward),                                   \
   .rnn_backward = KERNEL(rnn_backward), .gru_forward = KERNEL(gru_forward), .gru_backward = KERNEL(gru_backward),             \
   .moments = KERNEL(moments), .merge_moments = KERNEL(merge_moments), .normalization_fold = KERNEL(normalization_fold),       \
   .normalization_sums = KERNEL(normalization_sums), .normalization_backward = KERNEL(normalization_backward),                 \
   .affine = KERNEL(affine), .standardize = KERNEL(standardize), .standardize_backward = KERNEL(standardize_backward),         \
   .blend = KERNEL(blend), .log_softmax = KERNEL(log_softmax), .softmax_block = KERNEL(softmax_block),                         \
   .softmax_factors = KERNEL(softmax_factors), .softmax_gradient = KERNEL(softmax_gradient),                                   \
   .gather_rows = KERNEL(gather_rows), .add_gathered_rows = KERNEL(add_gathered_rows),                                         \
   .scatter_add_rows = KERNEL(scatter_add_rows), .dropout = KERNEL(dropout), .sgd = KERNEL(sgd),                               \
   .momentum = KERNEL(momentum), .adam = KERNEL(adam), .rmsprop = KERNEL(rmsprop), .product = KERNEL(product),                 \
   .pack = KERNEL(pack)}

#define R float
#define REAL_BYTES 4
#define KERNEL(name) name##_f32
#include "kernels_template.h"
#include "product_template.h"
static const lockstep_kernels table_f32 = TABLE;

// Multiplications and additions on registers alone: the most that the arithmetic of a core can do. As many independent chains as hide
// the latency of a fused multiply-add on any processor of the last ten years (5 cycles, 2 a cycle), and as leave room for the two
// operands in 16 registers.
static double multiply_add_chains(size_t rounds, float factor, float addend, float *out) {
  enum { CHAINS = 12 };
  vector_f32 a = (vector_f32)(factor), b = (vector_f32)(addend), x[CHAINS];
  UNROLL for (int c = 0; c < CHAINS; c++) x[c] = (vector_f32)((float)c);
  for (size_t i = 0; i < rounds; i++) {
    UNROLL for (int c = 0; c < CHAINS; c++) {
#if HAS_FMA
      x[c] = FMA(x[c], a, b);
#else
      x[c] = x[c] * a + b;
#endif
    }
  }
  float sum = 0, lanes[vector_lanes_f32];
  UNROLL for (int c = 0; c < CHAINS; c++) {
    store_f32(lanes, x[c]);
    for (int l = 0; l < vector_lanes_f32; l++) sum += lanes[l];
  }
  *out = sum;
  return 2.0 * vector_lanes_f32 * CHAINS * (double)rounds;
}

#undef R
#undef REAL_BYTES
#undef KERNEL
#undef ELEMENTWISE
#undef FMA
#undef FMA_OF_VECTORS
// Double precision serves derivative checks and initial values: its tile is not unrolled.
#undef UNROLLED
#define UNROLLED 1
#include "elementary_f64.h"
#define R double
#define REAL_BYTES 8
#define KERNEL(name) name##_f64
#include "kernels_template.h"
#include "product_template.h"
static const lockstep_kernels table_f64 = TABLE;

const lockstep_kernel_set SET_TABLE = {
  .name = SET_NAME, .f32 = &table_f32, .f64 = &table_f64, .float16 = &half_kernels_float16, .bfloat16 = &half_kernels_bfloat16,
  .multiply_add_chains = multiply_add_chains,
};
