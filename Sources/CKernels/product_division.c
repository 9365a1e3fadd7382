// A product on several threads.
#include "product.h"
#include "threads.h"

// A product cut into pieces of C, numbered down each block of columns, one block after the other.
typedef struct {
  multiplier multiply;
  format type;
  size_t M, N, K;
  const float *A;
  size_t a_row, a_column;
  const void *B;
  size_t b_row;
  float *C;
  size_t c_row;
  int accumulate;
  const lockstep_hints *hints;

  // Rows of a tile.
  size_t tile;
  // Of a piece, and how many pieces are below each other.
  size_t rows, columns, groups;
  size_t pieces, threads;
} division;

// What of a region of so many bytes belongs to one thread: the gates that follow are cut alike.
static const void *share(const void *region, size_t *bytes, size_t thread, size_t threads) {
  size_t first = *bytes / 64 * thread / threads * 64;
  size_t end = thread + 1 == threads ? *bytes : *bytes / 64 * (thread + 1) / threads * 64;
  *bytes = end - first;
  return (const char *)region + first;
}

static void multiply_piece(const void *context, size_t first, size_t end) {
  const division *d = context;
  for (size_t i = first; i < end; i++) {
    size_t m = i % d->groups * d->rows, n = i / d->groups * d->columns;
    size_t M = least(d->rows, d->M - m), N = least(d->columns, d->N - n);
    // The thread that this piece is meant for, and how much that thread does after it.
    size_t thread = ((i + 1) * d->threads - 1) / d->pieces, later = d->pieces * (thread + 1) / d->threads - 1 - i;
    lockstep_hints hints = d->hints ? *d->hints : (lockstep_hints){0};
    hints.first = share(hints.first, &hints.first_bytes, thread, d->threads);
    hints.second = share(hints.second, &hints.second_bytes, thread, d->threads);
    d->multiply(M, N, d->K, d->A + m * d->a_row, d->a_row, d->a_column,
                element(d->B, d->b_row ? n : n * d->K, d->type), d->b_row, d->C + m * d->c_row + n, d->c_row, d->accumulate,
                d->hints ? &hints : NULL, later * tiles_of(M, N, d->K, d->tile));
  }
}

// Chooses the pieces: about four for each thread, so that a thread that is held up does not hold up all, if they are worth it.
static void cut(division *d) {
  size_t panels = quotient_up(d->N, PANEL), most = d->M / d->tile ? d->M / d->tile : 1;
  size_t wanted = least(4 * d->threads, 2 * d->M * d->N * d->K / lockstep_least_work());
  size_t width = columns_of(d->M, depth_of(d->K), size_of(d->type)) / PANEL, blocks = quotient_up(panels, width);
  if (quotient_up(wanted, blocks) > most || d->M <= 64) {
    // Few rows: each thread reads columns of B that are its own.
    width = panels > wanted ? panels / wanted : 1;
    blocks = quotient_up(panels, width);
  } else {
    // Many: blocks of B stay in the cache, and are as even as can be.
    width = quotient_up(panels, blocks);
    blocks = quotient_up(panels, width);
  }
  size_t groups = wanted > blocks ? least(most, quotient_up(wanted, blocks)) : 1;
  d->columns = width * PANEL;
  d->rows = quotient_up(quotient_up(d->M, groups), d->tile) * d->tile;
  d->groups = quotient_up(d->M, d->rows);
  d->pieces = d->groups * blocks;
  d->threads = least(d->threads, d->pieces);
}

void lockstep_multiply(multiplier multiply, size_t rows, format type, size_t M, size_t N, size_t K, const float *A, size_t a_row,
                       size_t a_column, const void *B, size_t b_row, float *C, size_t c_row, int accumulate,
                       const lockstep_hints *hints) {
  size_t threads = lockstep_threads();
  if (threads > 1 && 2 * M * N * K >= 2 * lockstep_least_work()) {
    division d = {multiply, type, M, N, K, A, a_row, a_column, B, b_row, C, c_row, accumulate, hints, .tile = rows, .threads = threads};
    cut(&d);
    if (d.pieces > 1) return lockstep_run(d.pieces, 1, d.threads, 2 * M * N * K, multiply_piece, &d);
  }
  multiply(M, N, K, A, a_row, a_column, B, b_row, C, c_row, accumulate, hints, 0);
}
