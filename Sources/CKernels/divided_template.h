// Kernels whose rows, columns or elements do not depend on each other, on the threads that there are: the kernel itself, KERNEL(…_whole),
// does each part. For a real type R; included with R and KERNEL defined. `work` is what an element costs, in operations of a product.

// Elements of a vector go in blocks, so that parts begin where lines of the cache do, and where blocks of squares do.
enum { ELEMENT_BLOCK = 2 * LOCKSTEP_SQUARES };

// The elements of the blocks `first ..< end`, as OFFSET and COUNT.
#define ELEMENTS(n) \
  size_t OFFSET = first * ELEMENT_BLOCK, COUNT = end * ELEMENT_BLOCK < (n) ? end * ELEMENT_BLOCK - OFFSET : (n) - OFFSET
#define DIVIDE_ELEMENTS(n, work, part, ...) \
  lockstep_divide(((n) + ELEMENT_BLOCK - 1) / ELEMENT_BLOCK, ELEMENT_BLOCK * (work), part, &(__VA_ARGS__))

typedef struct {
  size_t n;
  R *out;
  const R *a, *b;
  double *squares;
} KERNEL(addition);

static void KERNEL(add_part)(const void *context, size_t first, size_t end) {
  const KERNEL(addition) *c = context;
  ELEMENTS(c->n);
  KERNEL(add_whole)(COUNT, c->out + OFFSET, c->a + OFFSET, c->b + OFFSET, c->squares ? c->squares + OFFSET / LOCKSTEP_SQUARES : NULL);
}

void KERNEL(add)(size_t n, R *out, const R *a, const R *b, double *squares) {
  DIVIDE_ELEMENTS(n, 32, KERNEL(add_part), (KERNEL(addition)){n, out, a, b, squares});
}

static void KERNEL(squares_part)(const void *context, size_t first, size_t end) {
  const KERNEL(addition) *c = context;
  ELEMENTS(c->n);
  KERNEL(squares_whole)(COUNT, c->a + OFFSET, c->squares + OFFSET / LOCKSTEP_SQUARES);
}

void KERNEL(squares)(size_t n, const R *a, double *squares) {
  DIVIDE_ELEMENTS(n, 16, KERNEL(squares_part), (KERNEL(addition)){n, NULL, a, NULL, squares});
}

// ---- Recurrent cells: by rows ----------------------------------------------------------------------------------------------

typedef struct {
  size_t H;
  const R *z, *z_scale, *r, *r_scale, *shift, *p_i, *p_f, *p_o, *c_previous;
  R *gates, *c, *h;
  size_t h_stride;
} KERNEL(lstm_step);

static void KERNEL(lstm_forward_part)(const void *context, size_t first, size_t end) {
  const KERNEL(lstm_step) *s = context;
  size_t H = s->H, cells = first * H, features = 4 * cells;
  KERNEL(lstm_forward_whole)(end - first, H, s->z + features, s->z_scale, s->r ? s->r + features : 0, s->r_scale, s->shift, s->p_i,
                             s->p_f, s->p_o, s->c_previous + cells, s->gates + features, s->c + cells, s->h + first * s->h_stride,
                             s->h_stride);
}

void KERNEL(lstm_forward)(size_t B, size_t H, const R *z, const R *z_scale, const R *r, const R *r_scale, const R *shift, const R *p_i,
                          const R *p_f, const R *p_o, const R *c_previous, R *gates, R *c, R *h, size_t h_stride) {
  lockstep_divide(B, H * 128, KERNEL(lstm_forward_part),
                  &(KERNEL(lstm_step)){H, z, z_scale, r, r_scale, shift, p_i, p_f, p_o, c_previous, gates, c, h, h_stride});
}

typedef struct {
  size_t H;
  const R *gates, *c, *c_previous, *dh_above;
  size_t dh_stride;
  const R *dh_next;
  R *dc, *da;
} KERNEL(lstm_derivative);

static void KERNEL(lstm_backward_part)(const void *context, size_t first, size_t end) {
  const KERNEL(lstm_derivative) *d = context;
  size_t H = d->H, cells = first * H, features = 4 * cells;
  KERNEL(lstm_backward_whole)(end - first, H, d->gates + features, d->c + cells, d->c_previous + cells, d->dh_above + first * d->dh_stride,
                              d->dh_stride, d->dh_next ? d->dh_next + cells : 0, d->dc + cells, 0, 0, 0, 0, 0, 0, d->da + features);
}

void KERNEL(lstm_backward)(size_t B, size_t H, const R *gates, const R *c, const R *c_previous, const R *dh_above, size_t dh_stride,
                           const R *dh_next, R *dc, const R *p_i, const R *p_f, const R *p_o, R *dp_i, R *dp_f, R *dp_o, R *da) {
  // Gradients of peepholes are sums over rows.
  if (p_o)
    return KERNEL(lstm_backward_whole)(B, H, gates, c, c_previous, dh_above, dh_stride, dh_next, dc, p_i, p_f, p_o, dp_i, dp_f, dp_o, da);
  lockstep_divide(B, H * 128, KERNEL(lstm_backward_part),
                  &(KERNEL(lstm_derivative)){H, gates, c, c_previous, dh_above, dh_stride, dh_next, dc, da});
}

// ---- Normalisation: by rows ------------------------------------------------------------------------------------------------

typedef struct {
  size_t F;
  R n;
  const R *dy, *x, *mean, *rstd, *scale, *sum_dy, *sum_dy_x;
  R *dx;
} KERNEL(normalization_derivative);

static void KERNEL(normalization_backward_part)(const void *context, size_t first, size_t end) {
  const KERNEL(normalization_derivative) *d = context;
  size_t start = first * d->F;
  KERNEL(normalization_backward_whole)(end - first, d->F, d->n, d->dy + start, d->x + start, d->mean, d->rstd, d->scale, d->sum_dy,
                                       d->sum_dy_x, d->dx + start);
}

void KERNEL(normalization_backward)(size_t B, size_t F, R n, const R *dy, const R *x, const R *mean, const R *rstd, const R *scale,
                                    const R *sum_dy, const R *sum_dy_x, R *dx) {
  lockstep_divide(B, F * 32, KERNEL(normalization_backward_part),
                  &(KERNEL(normalization_derivative)){F, n, dy, x, mean, rstd, scale, sum_dy, sum_dy_x, dx});
}

// ---- Softmax: by frames, whose running sums are their own, and the gradient by classes, whose row sums are -----------------------

typedef struct {
  size_t V, B;
  R *x;
  const R *bias;
  size_t first;
  const int32_t *targets;
  R *maximum, *sum, *block_maximum, *target_logit;
  int32_t *wrong;
} KERNEL(softmax_frames);

// Some strips.
static void KERNEL(softmax_block_part)(const void *context, size_t first, size_t end) {
  const KERNEL(softmax_frames) *s = context;
  size_t b = first * STRIP, count = end * STRIP < s->B ? end * STRIP - b : s->B - b;
  KERNEL(softmax_block_whole)(s->V, count, s->x + b, s->B, s->bias, s->first, s->targets + b, s->maximum + b, s->sum + b,
                              s->block_maximum + b, s->target_logit + b, s->wrong + b);
}

void KERNEL(softmax_block)(size_t V, size_t B, R *x, const R *bias, size_t first, const int32_t *targets, R *maximum, R *sum,
                           R *block_maximum, R *target_logit, int32_t *wrong) {
  lockstep_divide((B + STRIP - 1) / STRIP, STRIP * V * 64, KERNEL(softmax_block_part),
                  &(KERNEL(softmax_frames)){V, B, x, bias, first, targets, maximum, sum, block_maximum, target_logit, wrong});
}

typedef struct {
  size_t B;
  R *x;
  const R *factors;
  size_t first;
  const int32_t *targets;
  R gradient_scale, *row_sums;
  int accumulate;
} KERNEL(softmax_classes);

static void KERNEL(softmax_gradient_part)(const void *context, size_t first, size_t end) {
  const KERNEL(softmax_classes) *s = context;
  KERNEL(softmax_gradient_whole)(end - first, s->B, s->x + first * s->B, s->factors, s->first + first, s->targets, s->gradient_scale,
                                 s->row_sums + first, s->accumulate);
}

void KERNEL(softmax_gradient)(size_t V, size_t B, R *x, const R *factors, size_t first, const int32_t *targets, R gradient_scale,
                              R *row_sums, int accumulate) {
  lockstep_divide(V, B * 16, KERNEL(softmax_gradient_part),
                  &(KERNEL(softmax_classes)){B, x, factors, first, targets, gradient_scale, row_sums, accumulate});
}

// ---- Optimisers: by elements -----------------------------------------------------------------------------------------------

typedef struct {
  size_t n;
  // Parameters, and up to two values that the rule remembers of each.
  R *theta, *u, *v;
  const R *g;
  R s, rate, momentum, correction1, correction2, epsilon;
  double beta1, beta2;
} KERNEL(update);

static void KERNEL(sgd_part)(const void *context, size_t first, size_t end) {
  const KERNEL(update) *c = context;
  ELEMENTS(c->n);
  KERNEL(sgd_whole)(COUNT, c->theta + OFFSET, c->g + OFFSET, c->s, c->rate);
}

void KERNEL(sgd)(size_t n, R *theta, const R *g, R s, R rate) {
  DIVIDE_ELEMENTS(n, 32, KERNEL(sgd_part), (KERNEL(update)){.n = n, .theta = theta, .g = g, .s = s, .rate = rate});
}

static void KERNEL(momentum_part)(const void *context, size_t first, size_t end) {
  const KERNEL(update) *c = context;
  ELEMENTS(c->n);
  KERNEL(momentum_whole)(COUNT, c->theta + OFFSET, c->u + OFFSET, c->g + OFFSET, c->s, c->rate, c->momentum);
}

void KERNEL(momentum)(size_t n, R *theta, R *u, const R *g, R s, R rate, R momentum) {
  DIVIDE_ELEMENTS(n, 48, KERNEL(momentum_part),
                  (KERNEL(update)){.n = n, .theta = theta, .u = u, .g = g, .s = s, .rate = rate, .momentum = momentum});
}

static void KERNEL(adam_part)(const void *context, size_t first, size_t end) {
  const KERNEL(update) *c = context;
  ELEMENTS(c->n);
  KERNEL(adam_whole)(COUNT, c->theta + OFFSET, c->u + OFFSET, c->v + OFFSET, c->g + OFFSET, c->s, c->rate, c->beta1, c->beta2,
                     c->correction1, c->correction2, c->epsilon);
}

void KERNEL(adam)(size_t n, R *theta, R *m, R *v, const R *g, R s, R rate, double beta1, double beta2, R correction1, R correction2,
                  R epsilon) {
  DIVIDE_ELEMENTS(n, 96, KERNEL(adam_part),
                  (KERNEL(update)){.n = n, .theta = theta, .u = m, .v = v, .g = g, .s = s, .rate = rate, .beta1 = beta1, .beta2 = beta2,
                                   .correction1 = correction1, .correction2 = correction2, .epsilon = epsilon});
}

static void KERNEL(rmsprop_part)(const void *context, size_t first, size_t end) {
  const KERNEL(update) *c = context;
  ELEMENTS(c->n);
  KERNEL(rmsprop_whole)(COUNT, c->theta + OFFSET, c->v + OFFSET, c->u + OFFSET, c->g + OFFSET, c->s, c->rate, c->momentum, c->beta1,
                        c->epsilon);
}

void KERNEL(rmsprop)(size_t n, R *theta, R *v, R *u, const R *g, R s, R rate, R momentum, double decay, R epsilon) {
  DIVIDE_ELEMENTS(n, 96, KERNEL(rmsprop_part),
                  (KERNEL(update)){.n = n, .theta = theta, .u = u, .v = v, .g = g, .s = s, .rate = rate, .momentum = momentum,
                                   .beta1 = decay, .epsilon = epsilon});
}
