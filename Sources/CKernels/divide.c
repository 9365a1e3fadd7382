// Kernels whose rows, columns or elements do not depend on each other, shared among the threads that there are. `work` is what an
// element costs, in operations of a product.
#include "common.h"
#include "product.h"
#include "threads.h"

static const void *offset(const lockstep_kernels *kernels, const void *values, size_t elements) {
  return values ? (const char *)values + elements * kernels->element_size : NULL;
}

static void *moved(const lockstep_kernels *kernels, void *values, size_t elements) {
  return values ? (char *)values + elements * kernels->element_size : NULL;
}

// ---- Vectors: by blocks of elements ----------------------------------------------------------------------------------------

// Parts begin where lines of the cache do, and where blocks of squares do.
enum { ELEMENT_BLOCK = 2 * LOCKSTEP_SQUARES };

// The elements of the blocks first ..< end of n.
typedef struct {
  size_t start, count;
} elements;

static elements elements_of(size_t n, size_t first, size_t end) {
  size_t start = first * ELEMENT_BLOCK;
  return (elements){start, least(n, end * ELEMENT_BLOCK) - start};
}

static void divide_elements(size_t n, size_t work, lockstep_part part, const void *context) {
  lockstep_divide(quotient_up(n, ELEMENT_BLOCK), ELEMENT_BLOCK * work, part, context);
}

typedef struct {
  const lockstep_kernels *kernels;
  size_t n;
  void *out;
  const void *a, *b;
  double *squares;
} addition;

static void add_part(const void *context, size_t first, size_t end) {
  const addition *c = context;
  const lockstep_kernels *kernels = c->kernels;
  elements e = elements_of(c->n, first, end);
  kernels->add(e.count, moved(kernels, c->out, e.start), offset(kernels, c->a, e.start), offset(kernels, c->b, e.start),
               c->squares ? c->squares + e.start / LOCKSTEP_SQUARES : NULL);
}

void lockstep_add(const lockstep_kernels *kernels, size_t n, void *out, const void *a, const void *b, double *squares) {
  divide_elements(n, 32, add_part, &(addition){kernels, n, out, a, b, squares});
}

static void squares_part(const void *context, size_t first, size_t end) {
  const addition *c = context;
  elements e = elements_of(c->n, first, end);
  c->kernels->squares(e.count, offset(c->kernels, c->a, e.start), c->squares + e.start / LOCKSTEP_SQUARES);
}

void lockstep_squares(const lockstep_kernels *kernels, size_t n, const void *a, double *squares) {
  divide_elements(n, 16, squares_part, &(addition){kernels, n, NULL, a, NULL, squares});
}

typedef struct {
  const lockstep_kernels *kernels;
  void (*rule)(const lockstep_update *);
  const lockstep_update *all;
} updating;

static void update_part(const void *context, size_t first, size_t end) {
  const updating *c = context;
  lockstep_update part = *c->all;
  elements e = elements_of(part.n, first, end);
  part.n = e.count;
  part.theta = moved(c->kernels, part.theta, e.start);
  part.u = moved(c->kernels, part.u, e.start);
  part.v = moved(c->kernels, part.v, e.start);
  part.g = offset(c->kernels, part.g, e.start);
  c->rule(&part);
}

static void update(const lockstep_kernels *kernels, void (*rule)(const lockstep_update *), const lockstep_update *all, size_t work) {
  divide_elements(all->n, work, update_part, &(updating){kernels, rule, all});
}

void lockstep_sgd(const lockstep_kernels *kernels, const lockstep_update *u) { update(kernels, kernels->sgd, u, 32); }
void lockstep_momentum(const lockstep_kernels *kernels, const lockstep_update *u) { update(kernels, kernels->momentum, u, 48); }
void lockstep_adam(const lockstep_kernels *kernels, const lockstep_update *u) { update(kernels, kernels->adam, u, 96); }
void lockstep_rmsprop(const lockstep_kernels *kernels, const lockstep_update *u) { update(kernels, kernels->rmsprop, u, 96); }

// ---- Recurrent cells and normalisation: by rows ----------------------------------------------------------------------------

typedef struct {
  const lockstep_kernels *kernels;
  const void *all;
} rows_of;

static void lstm_forward_part(const void *context, size_t first, size_t end) {
  const rows_of *c = context;
  const lockstep_kernels *kernels = c->kernels;
  lockstep_lstm_step part = *(const lockstep_lstm_step *)c->all;
  size_t cells = first * part.H, features = 4 * cells;
  part.B = end - first;
  part.a.z = offset(kernels, part.a.z, features);
  part.a.r = offset(kernels, part.a.r, features);
  part.c_previous = offset(kernels, part.c_previous, cells);
  part.gates = moved(kernels, part.gates, features);
  part.c = moved(kernels, part.c, cells);
  part.h = moved(kernels, part.h, first * part.h_stride);
  kernels->lstm_forward(&part);
}

void lockstep_lstm_forward(const lockstep_kernels *kernels, const lockstep_lstm_step *step) {
  lockstep_divide(step->B, step->H * 128, lstm_forward_part, &(rows_of){kernels, step});
}

static void lstm_backward_part(const void *context, size_t first, size_t end) {
  const rows_of *c = context;
  const lockstep_kernels *kernels = c->kernels;
  lockstep_lstm_derivative part = *(const lockstep_lstm_derivative *)c->all;
  size_t cells = first * part.H, features = 4 * cells;
  part.B = end - first;
  part.gates = offset(kernels, part.gates, features);
  part.c = offset(kernels, part.c, cells);
  part.c_previous = offset(kernels, part.c_previous, cells);
  part.dh_above = offset(kernels, part.dh_above, first * part.dh_stride);
  part.dh_next = offset(kernels, part.dh_next, cells);
  part.dc_output = offset(kernels, part.dc_output, cells);
  part.dc = moved(kernels, part.dc, cells);
  part.da = moved(kernels, part.da, features);
  kernels->lstm_backward(&part);
}

void lockstep_lstm_backward(const lockstep_kernels *kernels, const lockstep_lstm_derivative *d) {
  // Gradients of peepholes are sums over rows.
  if (d->p_o) kernels->lstm_backward(d);
  else lockstep_divide(d->B, d->H * 128, lstm_backward_part, &(rows_of){kernels, d});
}

static void gru_forward_part(const void *context, size_t first, size_t end) {
  const rows_of *c = context;
  const lockstep_kernels *kernels = c->kernels;
  lockstep_gru_step part = *(const lockstep_gru_step *)c->all;
  size_t features = 3 * first * part.H;
  part.B = end - first;
  part.a.z = offset(kernels, part.a.z, features);
  part.a.r = offset(kernels, part.a.r, features);
  part.h_previous = offset(kernels, part.h_previous, first * part.h_previous_stride);
  part.gates = moved(kernels, part.gates, features);
  part.h = moved(kernels, part.h, first * part.h_stride);
  kernels->gru_forward(&part);
}

void lockstep_gru_forward(const lockstep_kernels *kernels, const lockstep_gru_step *step) {
  lockstep_divide(step->B, step->H * 96, gru_forward_part, &(rows_of){kernels, step});
}

static void gru_backward_part(const void *context, size_t first, size_t end) {
  const rows_of *c = context;
  const lockstep_kernels *kernels = c->kernels;
  lockstep_gru_derivative part = *(const lockstep_gru_derivative *)c->all;
  size_t cells = first * part.H, features = 3 * cells;
  part.B = end - first;
  part.gates = offset(kernels, part.gates, features);
  part.r = offset(kernels, part.r, features);
  part.h_previous = offset(kernels, part.h_previous, first * part.h_previous_stride);
  part.dh_above = offset(kernels, part.dh_above, first * part.dh_stride);
  part.dh_next = offset(kernels, part.dh_next, cells);
  part.dh_previous = moved(kernels, part.dh_previous, cells);
  part.du = moved(kernels, part.du, features);
  part.dv = moved(kernels, part.dv, features);
  kernels->gru_backward(&part);
}

void lockstep_gru_backward(const lockstep_kernels *kernels, const lockstep_gru_derivative *d) {
  lockstep_divide(d->B, d->H * 64, gru_backward_part, &(rows_of){kernels, d});
}

static void standardize_part(const void *context, size_t first, size_t end) {
  const rows_of *c = context;
  const lockstep_kernels *kernels = c->kernels;
  lockstep_standardization part = *(const lockstep_standardization *)c->all;
  part.B = end - first;
  part.x = offset(kernels, part.x, first * part.F);
  part.x_hat = moved(kernels, part.x_hat, first * part.F);
  part.rstd = moved(kernels, part.rstd, first);
  kernels->standardize(&part);
}

void lockstep_standardize(const lockstep_kernels *kernels, const lockstep_standardization *s) {
  lockstep_divide(s->B, s->F * 16, standardize_part, &(rows_of){kernels, s});
}

static void standardize_backward_part(const void *context, size_t first, size_t end) {
  const rows_of *c = context;
  const lockstep_kernels *kernels = c->kernels;
  lockstep_standardization_derivative part = *(const lockstep_standardization_derivative *)c->all;
  part.B = end - first;
  part.dy = offset(kernels, part.dy, first * part.F);
  part.x_hat = offset(kernels, part.x_hat, first * part.F);
  part.rstd = offset(kernels, part.rstd, first);
  part.dx = moved(kernels, part.dx, first * part.F);
  kernels->standardize_backward(&part);
}

void lockstep_standardize_backward(const lockstep_kernels *kernels, const lockstep_standardization_derivative *d) {
  lockstep_divide(d->B, d->F * 16, standardize_backward_part, &(rows_of){kernels, d});
}

static void normalization_backward_part(const void *context, size_t first, size_t end) {
  const rows_of *c = context;
  lockstep_normalization_derivative part = *(const lockstep_normalization_derivative *)c->all;
  size_t start = first * part.F;
  part.B = end - first;
  part.dy = offset(c->kernels, part.dy, start);
  part.x = offset(c->kernels, part.x, start);
  part.dx = moved(c->kernels, part.dx, start);
  c->kernels->normalization_backward(&part);
}

void lockstep_normalization_backward(const lockstep_kernels *kernels, const lockstep_normalization_derivative *d) {
  lockstep_divide(d->B, d->F * 32, normalization_backward_part, &(rows_of){kernels, d});
}

// ---- Softmax: by frames, whose running sums are their own, and the gradient by classes, whose row sums are -----------------

// Some strips.
static void softmax_block_part(const void *context, size_t first, size_t end) {
  const rows_of *c = context;
  const lockstep_kernels *kernels = c->kernels;
  lockstep_softmax_block part = *(const lockstep_softmax_block *)c->all;
  size_t b = first * STRIP;
  part.B = least(part.B, end * STRIP) - b;
  part.x = moved(kernels, part.x, b);
  part.targets += b;
  part.maximum = moved(kernels, part.maximum, b);
  part.sum = moved(kernels, part.sum, b);
  part.block_maximum = moved(kernels, part.block_maximum, b);
  part.target_logit = moved(kernels, part.target_logit, b);
  part.wrong += b;
  kernels->softmax_block(&part);
}

void lockstep_add_softmax_block(const lockstep_kernels *kernels, const lockstep_softmax_block *s) {
  lockstep_divide(quotient_up(s->B, STRIP), STRIP * s->V * 64, softmax_block_part, &(rows_of){kernels, s});
}

static void softmax_gradient_part(const void *context, size_t first, size_t end) {
  const rows_of *c = context;
  lockstep_softmax_gradient part = *(const lockstep_softmax_gradient *)c->all;
  part.V = end - first;
  part.first += first;
  part.x = moved(c->kernels, part.x, first * part.B);
  part.row_sums = moved(c->kernels, part.row_sums, first);
  c->kernels->softmax_gradient(&part);
}

void lockstep_differentiate_softmax_block(const lockstep_kernels *kernels, const lockstep_softmax_gradient *s) {
  lockstep_divide(s->V, s->B * 16, softmax_gradient_part, &(rows_of){kernels, s});
}

// ---- Packing: by panels ----------------------------------------------------------------------------------------------------

static void pack_part(const void *context, size_t first, size_t end) {
  const rows_of *c = context;
  const lockstep_kernels *kernels = c->kernels;
  lockstep_packing part = *(const lockstep_packing *)c->all;
  size_t n = first * kernels->panel, size = part.is_rounded ? sizeof(uint16_t) : kernels->element_size;
  part.N = least(part.N, end * kernels->panel) - n;
  part.W = offset(kernels, part.W, n * part.stride_n);
  part.packed = (char *)part.packed + n * part.K * size;
  kernels->pack(&part);
}

void lockstep_pack(const lockstep_kernels *kernels, const lockstep_packing *p) {
  // An element takes the time of about 32 operations in a product.
  lockstep_divide(quotient_up(p->N, kernels->panel), p->K * kernels->panel * 32, pack_part, &(rows_of){kernels, p});
}

// ---- Products: by rows and columns of C, never along k ---------------------------------------------------------------------

// A product cut into pieces of C, numbered down each block of columns, one block after the other.
typedef struct {
  const lockstep_kernels *kernels;
  const lockstep_product *all;
  // Rows and columns of a piece, how many pieces are below each other, and how many there are.
  size_t rows, columns, groups, pieces;
} division;

static void multiply_piece(const void *context, size_t first, size_t end) {
  const division *d = context;
  for (size_t i = first; i < end; i++) {
    lockstep_product piece = *d->all;
    size_t m = i % d->groups * d->rows, n = i / d->groups * d->columns, size = piece.is_rounded ? sizeof(uint16_t) : d->kernels->element_size;
    piece.M = least(d->rows, piece.M - m);
    piece.N = least(d->columns, piece.N - n);
    piece.A = offset(d->kernels, piece.A, m * piece.a_row);
    piece.B = (const char *)piece.B + (piece.b_row ? n : element_of_panel(&piece, 0, n, d->kernels->panel)) * size;
    size_t share = piece.soon_bytes / d->pieces;
    piece.soon = (const char *)piece.soon + i * share;
    piece.soon_bytes = share;
    piece.C = moved(d->kernels, piece.C, m * piece.c_row + n);
    d->kernels->product(&piece);
  }
}

// Chooses the pieces: about four for each thread, so that a thread that is held up does not hold up all, if they are worth it.
static void cut(division *d, size_t threads) {
  const lockstep_product *p = d->all;
  size_t panel = d->kernels->panel, tile = d->kernels->tile_rows;
  size_t panels = quotient_up(p->N, panel), most = p->M / tile ? p->M / tile : 1;
  size_t wanted = least(4 * threads, 2 * p->M * p->N * p->K / lockstep_least_work());
  size_t size = p->is_rounded ? sizeof(uint16_t) : d->kernels->element_size;
  size_t width = block_columns(p->M, depth_of(p, d->kernels->depth_of_strips), panel, size) / panel, blocks = quotient_up(panels, width);
  if (quotient_up(wanted, blocks) > most || p->M <= 64) {
    // Few rows: each thread reads columns of B that are its own.
    width = panels > wanted ? panels / wanted : 1;
    blocks = quotient_up(panels, width);
  } else {
    // Many: blocks of B stay in the cache, and are as even as can be.
    width = quotient_up(panels, blocks);
    blocks = quotient_up(panels, width);
  }
  size_t groups = wanted > blocks ? least(most, quotient_up(wanted, blocks)) : 1;
  d->columns = width * panel;
  d->rows = quotient_up(quotient_up(p->M, groups), tile) * tile;
  d->groups = quotient_up(p->M, d->rows);
  d->pieces = d->groups * blocks;
}

void lockstep_multiply(const lockstep_kernels *kernels, const lockstep_product *p) {
  size_t threads = lockstep_threads(), work = 2 * p->M * p->N * p->K;
  if (threads > 1 && work >= 2 * lockstep_least_work()) {
    division d = {.kernels = kernels, .all = p};
    cut(&d, threads);
    if (d.pieces > 1) return lockstep_run(d.pieces, 1, least(threads, d.pieces), work, multiply_piece, &d);
  }
  kernels->product(p);
}

void lockstep_for_each(size_t count, size_t work, lockstep_part part, const void *context) {
  lockstep_run(count, 1, lockstep_threads(), work, part, context);
}

// ---- The peak --------------------------------------------------------------------------------------------------------------

typedef struct {
  size_t rounds;
  float factor, addend, *sums;
  double *operations;
} chains;

static void chains_part(const void *context, size_t first, size_t end) {
  const chains *c = context;
  for (size_t i = first; i < end; i++)
    c->operations[i] = lockstep_kernel_set_in_use()->multiply_add_chains(c->rounds, c->factor, c->addend, c->sums + i);
}

double lockstep_multiply_adds(size_t rounds, float factor, float addend, float *out) {
  size_t threads = lockstep_threads();
  float sums[threads];
  double operations[threads], all = 0;
  lockstep_run(threads, 1, threads, SIZE_MAX, chains_part, &(chains){rounds, factor, addend, sums, operations});
  *out = 0;
  for (size_t i = 0; i < threads; i++) {
    *out += sums[i];
    all += operations[i];
  }
  return all;
}
