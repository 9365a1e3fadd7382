// Prints the rates of the products of a training step, in GFLOP/s of one core, medians over passes, for each set of kernels that the
// processor has tuned: lines `SET H PRODUCT RATE`, and `SET 0 peak RATE` for multiply-adds in registers. `Scripts/measure-kernels` compares builds of it.
//
// H cells as wide as the input, 16 sequences, T steps, 10,000 classes in blocks, as in the small, medium and large configurations.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "CKernels.h"

enum { SEQUENCES = 16, CLASSES = 10000 };

// Most passes of one product.
enum { PASSES = 4096 };

static int compare(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static double median(double *values, size_t count) {
  qsort(values, count, sizeof *values, compare);
  return values[count / 2];
}

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec + 1e-9 * time.tv_nsec;
}

static float *numbers(size_t n) {
  float *values = aligned_alloc(64, (n * sizeof *values + 4096) / 64 * 64);
  for (size_t i = 0; i < n; i++) values[i] = (float)(i % 97) * 0.01f - 0.5f;
  return values;
}

// One pass of the products of a kind, and its floating-point operations.
typedef struct {
  const lockstep_kernels *k;
  size_t H, T, block;
  float *x, *z, *weights, *logits, *gradient, *dWeights, *packed, *packedTransposed, *packedFrames;
  uint16_t *rounded;
} model;

static double recurrence(const model *m, int is_transposed, int is_rounded) {
  size_t G = 4 * m->H, N = is_transposed ? m->H : G, K = is_transposed ? G : m->H;
  for (size_t t = 0; t < m->T; t++)
    m->k->product(&(lockstep_product){
      .M = SEQUENCES, .N = N, .K = K, .A = (is_transposed ? m->z : m->x) + t * SEQUENCES * K, .a_row = K, .a_column = 1,
      .B = is_rounded ? (const void *)m->rounded : is_transposed ? m->packedTransposed : m->packed, .is_rounded = is_rounded,
      .C = m->gradient, .c_row = N});
  return 2.0 * SEQUENCES * m->T * N * K;
}

static double input(const model *m) {
  size_t frames = SEQUENCES * m->T, G = 4 * m->H;
  m->k->product(&(lockstep_product){
    .M = frames, .N = G, .K = m->H, .A = m->x, .a_row = m->H, .a_column = 1, .B = m->packed, .C = m->z, .c_row = G});
  return 2.0 * frames * G * m->H;
}

static double weightGradient(const model *m) {
  size_t frames = SEQUENCES * m->T, G = 4 * m->H;
  m->k->product(&(lockstep_product){
    .M = G, .N = m->H, .K = frames, .A = m->z, .a_row = 1, .a_column = G, .B = m->packedFrames, .C = m->dWeights, .c_row = m->H});
  return 2.0 * frames * G * m->H;
}

static double output(const model *m) {
  size_t frames = SEQUENCES * m->T, H = m->H;
  for (int pass = 0; pass < 2; pass++)
    for (size_t v = 0; v < CLASSES; v += m->block) {
      size_t n = CLASSES - v < m->block ? CLASSES - v : m->block;
      float *W = m->weights + v * H, *logits = m->logits + v * frames;
      if (pass == 0) {
        m->k->product(&(lockstep_product){
          .M = n, .N = frames, .K = H, .A = W, .a_row = H, .a_column = 1, .B = m->packed, .C = logits, .c_row = frames});
        continue;
      }
      m->k->product(&(lockstep_product){
        .M = n, .N = H, .K = frames, .A = logits, .a_row = frames, .a_column = 1, .B = m->packedFrames, .C = m->dWeights + v * H, .c_row = H});
      m->k->product(&(lockstep_product){
        .M = H, .N = frames, .K = n, .A = W, .a_row = 1, .a_column = H, .B = logits, .b_row = frames, .C = m->gradient, .c_row = frames,
        .accumulate = v > 0});
    }
  return 6.0 * CLASSES * frames * H;
}

static double pass(const model *m, int kind) {
  switch (kind) {
    case 0: return recurrence(m, 0, 0);
    case 1: return recurrence(m, 1, 0);
    case 2: return recurrence(m, 0, 1);
    case 3: return input(m);
    case 4: return weightGradient(m);
    default: return output(m);
  }
}

int main(void) {
  static const size_t sizes[][2] = {{200, 20}, {650, 35}, {1500, 35}};
  static const char *kinds[] = {"recurrence", "transposed", "bfloat16", "input", "gradient", "output"};
  const lockstep_kernel_set *set;
  for (size_t i = 0; (set = lockstep_kernel_set_at(i)) && set->f32->is_tuned; i++) {
    static double rates[PASSES];
    for (int round = 0; round < 200; round++) {
      float sum;
      double begin = now(), operations = set->multiply_add_chains(20000, 0.5f, 1, &sum);
      rates[round] = operations / (now() - begin) * 1e-9;
    }
    printf("%s 0 peak %.1f\n", set->name, median(rates, 200));
    for (size_t s = 0; s < 3; s++) {
      size_t H = sizes[s][0], T = sizes[s][1], frames = SEQUENCES * T, block = (320 << 10) / (H * 4) / 8 * 8;
      size_t wide = lockstep_packed_size(set->f32, 4 * H > frames ? 4 * H : frames, H > frames ? H : frames);
      model m = {
        set->f32, H, T, block > 240 ? 240 : block < 64 ? 64 : block, numbers(frames * H), numbers(frames * 4 * H), numbers(CLASSES * H),
        numbers(CLASSES * frames), numbers(frames * 4 * H), numbers(CLASSES * H), numbers(wide), numbers(wide), numbers(wide),
        malloc(wide * sizeof(uint16_t))};
      set->bfloat16->encode(wide, m.packed, m.rounded);
      for (int kind = 0; kind < 6; kind++) {
        double start = now();
        size_t count = 0;
        while (now() - start < 0.4 && count < PASSES) {
          double begin = now(), operations = pass(&m, kind);
          rates[count++] = operations / (now() - begin) * 1e-9;
        }
        printf("%s %zu %s %.1f\n", set->name, H, kinds[kind], median(rates, count));
      }
      float *all[] = {m.x, m.z, m.weights, m.logits, m.gradient, m.dWeights, m.packed, m.packedTransposed, m.packedFrames};
      for (int a = 0; a < 9; a++) free(all[a]);
      free(m.rounded);
    }
  }
  return 0;
}
