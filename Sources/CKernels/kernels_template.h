// The kernels but for products, written once for a real type R; included with R, KERNEL and the elementary functions defined.
// `CKernels.h` says what each computes.

static void KERNEL(scale)(size_t n, void *values, double s) {
  R *a = values, factor = (R)s;
  ELEMENTWISE for (size_t i = 0; i < n; i++) a[i] *= factor;
}

typedef double KERNEL(eight_squares) __attribute__((vector_size(8 * sizeof(double))));
typedef R KERNEL(eight) __attribute__((vector_size(8 * sizeof(R)), aligned(sizeof(R)), may_alias));

// out = a + b, or a alone without `adds`, for at most a block, whose sum of squares is the result with `squares`. Products of two numbers in
// single precision are exact in double.
INLINE double KERNEL(add_block)(size_t n, R *out, const R *a, const R *b, int adds, int squares) {
  KERNEL(eight_squares) sums[2] = {{0}, {0}};
  size_t i = 0;
  for (; i + 16 <= n; i += 16) {
    _Pragma("clang loop unroll(full)") for (size_t half = 0; half < 2; half++) {
      KERNEL(eight) values = *(const KERNEL(eight) *)(a + i + 8 * half);
      if (adds) {
        values += *(const KERNEL(eight) *)(b + i + 8 * half);
        *(KERNEL(eight) *)(out + i + 8 * half) = values;
      }
      if (squares) {
        KERNEL(eight_squares) wide = __builtin_convertvector(values, KERNEL(eight_squares));
        sums[half] += wide * wide;
      }
    }
  }
  double lanes[LANES];
  memcpy(lanes, sums, sizeof lanes);
  for (int l = 0; i < n; i++, l++) {
    R value = a[i];
    if (adds) out[i] = value = value + b[i];
    if (squares) lanes[l] += (double)value * (double)value;
  }
  for (int half = LANES / 2; half > 0; half /= 2)
    for (int l = 0; l < half; l++) lanes[l] += lanes[l + half];
  return lanes[0];
}

static void KERNEL(add)(size_t n, void *sums, const void *left, const void *right, double *squares) {
  R *out = sums;
  const R *a = left, *b = right;
  if (!squares) {
    KERNEL(add_block)(n, out, a, b, 1, 0);
    return;
  }
  for (size_t i = 0; i < n; i += LOCKSTEP_SQUARES) {
    size_t count = n - i < LOCKSTEP_SQUARES ? n - i : LOCKSTEP_SQUARES;
    squares[i / LOCKSTEP_SQUARES] = KERNEL(add_block)(count, out + i, a + i, b + i, 1, 1);
  }
}

static void KERNEL(squares)(size_t n, const void *values, double *squares) {
  const R *a = values;
  for (size_t i = 0; i < n; i += LOCKSTEP_SQUARES) {
    size_t count = n - i < LOCKSTEP_SQUARES ? n - i : LOCKSTEP_SQUARES;
    squares[i / LOCKSTEP_SQUARES] = KERNEL(add_block)(count, NULL, a + i, NULL, 0, 1);
  }
}

static size_t KERNEL(first_not_finite)(size_t n, const void *values) {
  const R *a = values;
  for (size_t i = 0; i < n; i++)
    if (!isfinite(a[i])) return i;
  return n;
}

// Columns go in blocks whose sums stay in cache. Most rows fit one block and are read from end to end, which hardware prefetches best.
static void KERNEL(column_sums)(size_t B, size_t F, const void *matrix, size_t stride, void *totals, int accumulate) {
  const R *x = matrix;
  R *out = totals;
  if (!accumulate) memset(out, 0, F * sizeof(R));
  for (size_t first = 0; first < F; first += COLUMN_BLOCK) {
    size_t width = F - first < COLUMN_BLOCK ? F - first : COLUMN_BLOCK;
    R *sums = out + first;
    for (size_t b = 0; b < B; b++) {
      const R *row = x + b * stride + first;
      ELEMENTWISE for (size_t f = 0; f < width; f++) sums[f] += row[f];
    }
  }
}

// ---- Recurrent cells -------------------------------------------------------------------------------------------------------

// The preactivation of feature j; scaled, added and rescaled are constants in every instance, so the branches on them vanish.
INLINE R KERNEL(preactivation)(const lockstep_preactivation *p, const R *z, const R *r, size_t j, int scaled, int added, int rescaled) {
  const R *z_scale = p->z_scale, *r_scale = p->r_scale, *r_shift = p->r_shift, *shift = p->shift;
  R a = scaled ? z[j] * z_scale[j] + shift[j] : z[j] + shift[j];
  if (added) a = a + (rescaled ? r[j] * r_scale[j] + r_shift[j] : r[j]);
  return a;
}

// Calls INSTANCE(scaled, added, rescaled) for what is there.
#define FOR_PREACTIVATION(a, INSTANCE)                    \
  do {                                                    \
    if (!(a).z_scale && !(a).r) INSTANCE(0, 0, 0);        \
    else if (!(a).r) INSTANCE(1, 0, 0);                   \
    else if ((a).z_scale && !(a).r_scale) INSTANCE(1, 1, 0); \
    else if (!(a).r_scale) INSTANCE(0, 1, 0);             \
    else if ((a).z_scale) INSTANCE(1, 1, 1);              \
    else INSTANCE(0, 1, 1);                               \
  } while (0)

INLINE void KERNEL(lstm_forward_body)(const lockstep_lstm_step *s, int scaled, int added, int rescaled, int peephole_o,
                                      int peepholes_if, int emits) {
  size_t H = s->H;
  const lockstep_preactivation a = s->a;
  const R *p_i = s->p_i, *p_f = s->p_f, *p_o = s->p_o;
  for (size_t b = 0; b < s->B; b++) {
    const R *z = (const R *)a.z + b * 4 * H, *r = added ? (const R *)a.r + b * 4 * H : 0;
    const R *c_previous = (const R *)s->c_previous + b * H;
    R *gates = (R *)s->gates + b * 4 * H, *c = (R *)s->c + b * H, *h = emits ? (R *)s->h + b * s->h_stride : 0;
    ELEMENTWISE for (size_t j = 0; j < H; j++) {
      R a_i = KERNEL(preactivation)(&a, z, r, j, scaled, added, rescaled);
      R a_f = KERNEL(preactivation)(&a, z, r, H + j, scaled, added, rescaled);
      R a_g = KERNEL(preactivation)(&a, z, r, 2 * H + j, scaled, added, rescaled);
      R a_o = KERNEL(preactivation)(&a, z, r, 3 * H + j, scaled, added, rescaled);
      R before = c_previous[j];
      if (peepholes_if) {
        a_i += p_i[j] * before;
        a_f += p_f[j] * before;
      }
      R i = KERNEL(logistic)(a_i), f = KERNEL(logistic)(a_f), g = KERNEL(hyperbolic_tangent)(a_g);
      R cell = f * before + i * g;
      if (peephole_o) a_o += p_o[j] * cell;
      R o = KERNEL(logistic)(a_o);
      gates[j] = i;
      gates[H + j] = f;
      gates[2 * H + j] = g;
      gates[3 * H + j] = o;
      c[j] = cell;
      if (emits) h[j] = o * KERNEL(hyperbolic_tangent)(cell);
    }
  }
}

static void KERNEL(lstm_forward)(const lockstep_lstm_step *s) {
#define WITH_PEEPHOLES(scaled, added, rescaled, emits)                                   \
  do {                                                                                   \
    if (s->p_i) KERNEL(lstm_forward_body)(s, scaled, added, rescaled, 1, 1, emits);      \
    else if (s->p_o) KERNEL(lstm_forward_body)(s, scaled, added, rescaled, 1, 0, emits); \
    else KERNEL(lstm_forward_body)(s, scaled, added, rescaled, 0, 0, emits);             \
  } while (0)
#define FORWARD(scaled, added, rescaled) WITH_PEEPHOLES(scaled, added, rescaled, 1)
  if (s->h) FOR_PREACTIVATION(s->a, FORWARD);
  else WITH_PEEPHOLES(1, 1, 1, 0);
#undef FORWARD
#undef WITH_PEEPHOLES
}

static void KERNEL(lstm_output)(const lockstep_lstm_output_step *s) {
  size_t H = s->H;
  const R *scale = s->scale, *shift = s->shift;
  for (size_t b = 0; b < s->B; b++) {
    const R *o = (const R *)s->gates + (4 * b + 3) * H, *cell = (const R *)s->cell + b * H;
    R *h = (R *)s->h + b * s->h_stride;
    ELEMENTWISE for (size_t j = 0; j < H; j++) h[j] = o[j] * KERNEL(hyperbolic_tangent)(cell[j] * scale[j] + shift[j]);
  }
}

static void KERNEL(lstm_output_backward)(const lockstep_lstm_output_derivative *d) {
  size_t H = d->H;
  const R *scale = d->scale, *shift = d->shift;
  for (size_t b = 0; b < d->B; b++) {
    const R *gates = (const R *)d->gates + (4 * b + 3) * H, *cell = (const R *)d->cell + b * H;
    const R *above = (const R *)d->dh_above + b * d->dh_stride, *following = d->dh_next ? (const R *)d->dh_next + b * H : 0;
    R *normalized = (R *)d->d_normalized + b * H, *da_o = (R *)d->da + (4 * b + 3) * H;
    ELEMENTWISE for (size_t j = 0; j < H; j++) {
      R o = gates[j], t = KERNEL(hyperbolic_tangent)(cell[j] * scale[j] + shift[j]);
      R dh = following ? above[j] + following[j] : above[j];
      normalized[j] = dh * o * ((R)1 - t * t);
      da_o[j] = dh * t * (o * ((R)1 - o));
    }
  }
}

// `given`: the gradient of the cell and of the output gate's preactivation came from `lstm_output_backward`.
INLINE void KERNEL(lstm_backward_body)(const lockstep_lstm_derivative *d, int given, int next, int peephole_o, int peepholes_if) {
  size_t H = d->H;
  const R *p_i = d->p_i, *p_f = d->p_f, *p_o = d->p_o;
  R *dp_i = d->dp_i, *dp_f = d->dp_f, *dp_o = d->dp_o;
  for (size_t b = 0; b < d->B; b++) {
    const R *gates = (const R *)d->gates + b * 4 * H, *c = (const R *)d->c + b * H, *c_previous = (const R *)d->c_previous + b * H;
    const R *above = given ? 0 : (const R *)d->dh_above + b * d->dh_stride, *following = next ? (const R *)d->dh_next + b * H : 0;
    const R *through = given ? (const R *)d->dc_output + b * H : 0;
    R *dc = (R *)d->dc + b * H, *da = (R *)d->da + b * 4 * H;
    ELEMENTWISE for (size_t j = 0; j < H; j++) {
      R i = gates[j], f = gates[H + j], g = gates[2 * H + j];
      R before = c_previous[j], cell = c[j], da_o, dcell;
      if (given) {
        da_o = da[3 * H + j];
        dcell = through[j] + dc[j];
      } else {
        R o = gates[3 * H + j], t = KERNEL(hyperbolic_tangent)(cell);
        R dh = next ? above[j] + following[j] : above[j];
        da_o = dh * t * (o * ((R)1 - o));
        dcell = dh * o * ((R)1 - t * t) + dc[j];
      }
      if (peephole_o) dcell += da_o * p_o[j];
      R da_i = dcell * g * (i * ((R)1 - i));
      R da_f = dcell * before * (f * ((R)1 - f));
      R da_g = dcell * i * ((R)1 - g * g);
      R dbefore = dcell * f;
      if (peepholes_if) dbefore = dbefore + da_i * p_i[j] + da_f * p_f[j];
      da[j] = da_i;
      da[H + j] = da_f;
      da[2 * H + j] = da_g;
      da[3 * H + j] = da_o;
      dc[j] = dbefore;
      if (peephole_o) dp_o[j] += da_o * cell;
      if (peepholes_if) {
        dp_i[j] += da_i * before;
        dp_f[j] += da_f * before;
      }
    }
  }
}

static void KERNEL(lstm_backward)(const lockstep_lstm_derivative *d) {
#define BACKWARD(given, next)                                          \
  do {                                                                 \
    if (d->p_i) KERNEL(lstm_backward_body)(d, given, next, 1, 1);      \
    else if (d->p_o) KERNEL(lstm_backward_body)(d, given, next, 1, 0); \
    else KERNEL(lstm_backward_body)(d, given, next, 0, 0);             \
  } while (0)
  if (!d->dh_above) BACKWARD(1, 0);
  else if (d->dh_next) BACKWARD(0, 1);
  else BACKWARD(0, 0);
#undef BACKWARD
}

INLINE void KERNEL(rnn_forward_body)(const lockstep_rnn_step *s, int scaled, int added, int rescaled) {
  size_t H = s->H;
  const lockstep_preactivation a = s->a;
  for (size_t b = 0; b < s->B; b++) {
    const R *z = (const R *)a.z + b * H, *r = added ? (const R *)a.r + b * H : 0;
    R *h = (R *)s->h + b * s->h_stride;
    ELEMENTWISE for (size_t j = 0; j < H; j++)
      h[j] = KERNEL(hyperbolic_tangent)(KERNEL(preactivation)(&a, z, r, j, scaled, added, rescaled));
  }
}

static void KERNEL(rnn_forward)(const lockstep_rnn_step *s) {
#define FORWARD(scaled, added, rescaled) KERNEL(rnn_forward_body)(s, scaled, added, rescaled)
  FOR_PREACTIVATION(s->a, FORWARD);
#undef FORWARD
}

static void KERNEL(rnn_backward)(const lockstep_rnn_derivative *d) {
  size_t H = d->H;
  for (size_t b = 0; b < d->B; b++) {
    const R *h = (const R *)d->h + b * d->h_stride, *above = (const R *)d->dh_above + b * d->dh_stride;
    R *da = (R *)d->da + b * H;
    if (d->dh_next) {
      const R *following = (const R *)d->dh_next + b * H;
      ELEMENTWISE for (size_t j = 0; j < H; j++) da[j] = (above[j] + following[j]) * ((R)1 - h[j] * h[j]);
    } else {
      ELEMENTWISE for (size_t j = 0; j < H; j++) da[j] = above[j] * ((R)1 - h[j] * h[j]);
    }
  }
}

INLINE void KERNEL(gru_forward_body)(const lockstep_gru_step *s, int scaled, int rescaled) {
  size_t H = s->H;
  const lockstep_preactivation a = s->a;
  const R *z_scale = a.z_scale, *shift = a.shift, *r_scale = a.r_scale, *r_shift = a.r_shift;
  for (size_t b = 0; b < s->B; b++) {
    const R *z = (const R *)a.z + b * 3 * H, *r = (const R *)a.r + b * 3 * H, *before = (const R *)s->h_previous + b * s->h_previous_stride;
    R *gates = (R *)s->gates + b * 3 * H, *h = (R *)s->h + b * s->h_stride;
    ELEMENTWISE for (size_t j = 0; j < H; j++) {
      R u_r = scaled ? z[j] * z_scale[j] + shift[j] : z[j] + shift[j];
      R u_z = scaled ? z[H + j] * z_scale[H + j] + shift[H + j] : z[H + j] + shift[H + j];
      R u_n = scaled ? z[2 * H + j] * z_scale[2 * H + j] + shift[2 * H + j] : z[2 * H + j] + shift[2 * H + j];
      R v_r = rescaled ? r[j] * r_scale[j] + r_shift[j] : r[j] + r_shift[j];
      R v_z = rescaled ? r[H + j] * r_scale[H + j] + r_shift[H + j] : r[H + j] + r_shift[H + j];
      R v_n = rescaled ? r[2 * H + j] * r_scale[2 * H + j] + r_shift[2 * H + j] : r[2 * H + j] + r_shift[2 * H + j];
      R reset = KERNEL(logistic)(u_r + v_r), update = KERNEL(logistic)(u_z + v_z);
      R candidate = KERNEL(hyperbolic_tangent)(u_n + reset * v_n);
      R after = ((R)1 - update) * candidate + update * before[j];
      gates[j] = reset;
      gates[H + j] = update;
      gates[2 * H + j] = candidate;
      h[j] = after;
    }
  }
}

static void KERNEL(gru_forward)(const lockstep_gru_step *s) {
  if (s->a.z_scale && s->a.r_scale) KERNEL(gru_forward_body)(s, 1, 1);
  else if (s->a.z_scale) KERNEL(gru_forward_body)(s, 1, 0);
  else if (s->a.r_scale) KERNEL(gru_forward_body)(s, 0, 1);
  else KERNEL(gru_forward_body)(s, 0, 0);
}

INLINE void KERNEL(gru_backward_body)(const lockstep_gru_derivative *d, int next, int rescaled) {
  size_t H = d->H;
  const R *r_scale = d->r_scale, *r_shift = d->r_shift;
  for (size_t b = 0; b < d->B; b++) {
    const R *gates = (const R *)d->gates + b * 3 * H, *r = (const R *)d->r + b * 3 * H;
    const R *before = (const R *)d->h_previous + b * d->h_previous_stride;
    const R *above = (const R *)d->dh_above + b * d->dh_stride, *following = next ? (const R *)d->dh_next + b * H : 0;
    R *du = (R *)d->du + b * 3 * H, *dv = (R *)d->dv + b * 3 * H, *dh_previous = (R *)d->dh_previous + b * H;
    ELEMENTWISE for (size_t j = 0; j < H; j++) {
      R reset = gates[j], update = gates[H + j], candidate = gates[2 * H + j];
      R v_n = rescaled ? r[2 * H + j] * r_scale[2 * H + j] + r_shift[2 * H + j] : r[2 * H + j] + r_shift[2 * H + j];
      R dh = next ? above[j] + following[j] : above[j];
      R da_n = dh * ((R)1 - update) * ((R)1 - candidate * candidate);
      R da_z = dh * (before[j] - candidate) * (update * ((R)1 - update));
      R da_r = da_n * v_n * (reset * ((R)1 - reset));
      R dv_n = da_n * reset;
      du[j] = da_r;
      du[H + j] = da_z;
      du[2 * H + j] = da_n;
      dv[j] = da_r;
      dv[H + j] = da_z;
      dv[2 * H + j] = dv_n;
      dh_previous[j] = dh * update;
    }
  }
}

static void KERNEL(gru_backward)(const lockstep_gru_derivative *d) {
  if (d->dh_next && d->r_scale) KERNEL(gru_backward_body)(d, 1, 1);
  else if (d->dh_next) KERNEL(gru_backward_body)(d, 1, 0);
  else if (d->r_scale) KERNEL(gru_backward_body)(d, 0, 1);
  else KERNEL(gru_backward_body)(d, 0, 0);
}

// ---- Normalisation ---------------------------------------------------------------------------------------------------------

static void KERNEL(moments)(size_t B, size_t F, const void *matrix, void *means, void *squared) {
  const R *x = matrix;
  R *mean = means, *m2 = squared;
  R inverse = B ? (R)1 / (R)B : 0;
  for (size_t first = 0; first < F; first += COLUMN_BLOCK) {
    size_t width = F - first < COLUMN_BLOCK ? F - first : COLUMN_BLOCK;
    R *mu = mean + first, *squares = m2 + first;
    memset(mu, 0, width * sizeof(R));
    memset(squares, 0, width * sizeof(R));
    for (size_t b = 0; b < B; b++) {
      const R *row = x + b * F + first;
      ELEMENTWISE for (size_t f = 0; f < width; f++) mu[f] += row[f];
    }
    ELEMENTWISE for (size_t f = 0; f < width; f++) mu[f] *= inverse;
    for (size_t b = 0; b < B; b++) {
      const R *row = x + b * F + first;
      ELEMENTWISE for (size_t f = 0; f < width; f++) squares[f] += (row[f] - mu[f]) * (row[f] - mu[f]);
    }
  }
}

static void KERNEL(merge_moments)(size_t F, double count_a, void *means_a, void *squared_a, double count_b, const void *means_b,
                                  const void *squared_b) {
  R n_a = (R)count_a, n_b = (R)count_b, *mean_a = means_a, *m2_a = squared_a;
  const R *mean_b = means_b, *m2_b = squared_b;
  if (n_b == 0) return;
  if (n_a == 0) {
    memcpy(mean_a, mean_b, F * sizeof(R));
    memcpy(m2_a, m2_b, F * sizeof(R));
    return;
  }
  R share = n_b / (n_a + n_b), weight = n_a * share;
  ELEMENTWISE for (size_t f = 0; f < F; f++) {
    R delta = mean_b[f] - mean_a[f];
    mean_a[f] += delta * share;
    m2_a[f] += m2_b[f] + delta * delta * weight;
  }
}

static void KERNEL(normalization_fold)(const lockstep_normalization *p) {
  size_t F = p->F;
  R inverse = (R)1 / (R)p->n, epsilon = (R)p->epsilon, *rstd = p->rstd, *scale = p->scale, *shift = p->shift;
  const R *mean = p->mean, *m2 = p->m2, *gamma = p->gamma, *beta = p->beta;
  ELEMENTWISE for (size_t f = 0; f < F; f++) {
    R reciprocal = (R)1 / __builtin_elementwise_sqrt(m2[f] * inverse + epsilon);
    R s = gamma[f] * reciprocal;
    rstd[f] = reciprocal;
    scale[f] = s;
    shift[f] = -(s * mean[f]);
  }
  if (beta) {
    ELEMENTWISE for (size_t f = 0; f < F; f++) shift[f] += beta[f];
  }
}

static void KERNEL(normalization_sums)(const lockstep_normalization_derivative *d) {
  size_t B = d->B, F = d->F;
  const R *dy = d->dy, *x = d->x, *mean = d->mean, *rstd = d->rstd;
  R *sum_dy = d->sum_dy, *sum_dy_x = d->sum_dy_x;
  for (size_t first = 0; first < F; first += COLUMN_BLOCK) {
    size_t width = F - first < COLUMN_BLOCK ? F - first : COLUMN_BLOCK;
    const R *mu = mean + first, *reciprocal = rstd + first;
    R *sums = sum_dy + first, *products = sum_dy_x + first;
    memset(sums, 0, width * sizeof(R));
    memset(products, 0, width * sizeof(R));
    for (size_t b = 0; b < B; b++) {
      const R *dyb = dy + b * F + first, *xb = x + b * F + first;
      ELEMENTWISE for (size_t f = 0; f < width; f++) {
        sums[f] += dyb[f];
        products[f] += dyb[f] * (xb[f] - mu[f]);
      }
    }
    ELEMENTWISE for (size_t f = 0; f < width; f++) products[f] *= reciprocal[f];
  }
}

static void KERNEL(normalization_backward)(const lockstep_normalization_derivative *d) {
  size_t F = d->F;
  const R *mean = d->mean, *rstd = d->rstd, *scale = d->scale, *sum_dy = d->sum_dy, *sum_dy_x = d->sum_dy_x;
  R inverse = (R)1 / (R)d->n;
  for (size_t b = 0; b < d->B; b++) {
    const R *dyb = (const R *)d->dy + b * F, *xb = (const R *)d->x + b * F;
    R *dxb = (R *)d->dx + b * F;
    ELEMENTWISE for (size_t f = 0; f < F; f++) {
      R x_hat = (xb[f] - mean[f]) * rstd[f];
      dxb[f] = scale[f] * (dyb[f] - (sum_dy[f] + x_hat * sum_dy_x[f]) * inverse);
    }
  }
}

static void KERNEL(affine)(const lockstep_affine_map *m) {
  size_t F = m->F;
  const R *scale = m->scale, *shift = m->shift;
  for (size_t b = 0; b < m->B; b++) {
    const R *x = (const R *)m->x + b * F;
    R *out = (R *)m->out + b * m->out_stride;
    ELEMENTWISE for (size_t f = 0; f < F; f++) out[f] = x[f] * scale[f] + shift[f];
  }
}

// The sum of partial sums, in one order.
INLINE R KERNEL(sum_of_lanes)(R *lanes) {
  for (int half = LANES / 2; half > 0; half /= 2)
    for (int l = 0; l < half; l++) lanes[l] += lanes[l + half];
  return lanes[0];
}

static void KERNEL(standardize)(const lockstep_standardization *s) {
  size_t F = s->F;
  R inverse = (R)1 / (R)F, epsilon = (R)s->epsilon;
  for (size_t b = 0; b < s->B; b++) {
    const R *x = (const R *)s->x + b * F;
    R *x_hat = (R *)s->x_hat + b * F, lanes[LANES] = {0}, squares[LANES] = {0};
    size_t f = 0;
    for (; f + LANES <= F; f += LANES)
      for (int l = 0; l < LANES; l++) lanes[l] += x[f + l];
    for (int l = 0; f < F; f++, l++) lanes[l] += x[f];
    R mean = KERNEL(sum_of_lanes)(lanes) * inverse;
    for (f = 0; f + LANES <= F; f += LANES)
      for (int l = 0; l < LANES; l++) squares[l] += (x[f + l] - mean) * (x[f + l] - mean);
    for (int l = 0; f < F; f++, l++) squares[l] += (x[f] - mean) * (x[f] - mean);
    R reciprocal = (R)1 / __builtin_elementwise_sqrt(KERNEL(sum_of_lanes)(squares) * inverse + epsilon);
    ELEMENTWISE for (size_t i = 0; i < F; i++) x_hat[i] = (x[i] - mean) * reciprocal;
    if (s->rstd) ((R *)s->rstd)[b] = reciprocal;
  }
}

static void KERNEL(standardize_backward)(const lockstep_standardization_derivative *d) {
  size_t F = d->F;
  const R *gamma = d->gamma, *rstd = d->rstd;
  R inverse = (R)1 / (R)F;
  for (size_t b = 0; b < d->B; b++) {
    const R *dy = (const R *)d->dy + b * F, *x_hat = (const R *)d->x_hat + b * F;
    R *dx = (R *)d->dx + b * F, lanes[LANES] = {0}, products[LANES] = {0};
    size_t f = 0;
    for (; f + LANES <= F; f += LANES)
      for (int l = 0; l < LANES; l++) {
        R g = gamma[f + l] * dy[f + l];
        lanes[l] += g;
        products[l] += g * x_hat[f + l];
      }
    for (int l = 0; f < F; f++, l++) {
      R g = gamma[f] * dy[f];
      lanes[l] += g;
      products[l] += g * x_hat[f];
    }
    R mean = KERNEL(sum_of_lanes)(lanes) * inverse, share = KERNEL(sum_of_lanes)(products) * inverse, reciprocal = rstd[b];
    ELEMENTWISE for (size_t i = 0; i < F; i++) dx[i] = reciprocal * (gamma[i] * dy[i] - mean - x_hat[i] * share);
  }
}

static void KERNEL(blend)(size_t n, double keep, double weight, void *average, const void *values) {
  R k = (R)keep, w = (R)weight, *r = average;
  const R *s = values;
  ELEMENTWISE for (size_t i = 0; i < n; i++) r[i] = k * r[i] + w * s[i];
}

// ---- Softmax and loss ------------------------------------------------------------------------------------------------------

// Adds the bias and returns the largest logit.
INLINE R KERNEL(biased_maximum)(size_t V, R *x, const R *bias) {
  R lanes[LANES];
  for (int l = 0; l < LANES; l++) lanes[l] = -(R)INFINITY;
  size_t v = 0;
  for (; v + LANES <= V; v += LANES)
    for (int l = 0; l < LANES; l++) {
      R value = x[v + l] + bias[v + l];
      x[v + l] = value;
      lanes[l] = value > lanes[l] ? value : lanes[l];
    }
  for (int l = 0; v < V; v++, l++) {
    R value = x[v] + bias[v];
    x[v] = value;
    lanes[l] = value > lanes[l] ? value : lanes[l];
  }
  R maximum = lanes[0];
  for (int l = 1; l < LANES; l++) maximum = lanes[l] > maximum ? lanes[l] : maximum;
  return maximum;
}

// The sum of e^(x − maximum).
INLINE R KERNEL(exponential_sum)(size_t V, const R *x, R maximum) {
  R lanes[LANES] = {0}, sum = 0;
  size_t v = 0;
  for (; v + LANES <= V; v += LANES)
    for (int l = 0; l < LANES; l++) lanes[l] += KERNEL(exponential)(x[v + l] - maximum);
  for (int l = 0; v < V; v++, l++) lanes[l] += KERNEL(exponential)(x[v] - maximum);
  for (int l = 0; l < LANES; l++) sum += lanes[l];
  return sum;
}

static void KERNEL(log_softmax)(size_t B, size_t V, void *logits, const void *bias) {
  for (size_t b = 0; b < B; b++) {
    R *x = (R *)logits + b * V, maximum = KERNEL(biased_maximum)(V, x, bias);
    R shift = (R)(log((double)KERNEL(exponential_sum)(V, x, maximum)) + (double)maximum);
    ELEMENTWISE for (size_t v = 0; v < V; v++) x[v] -= shift;
  }
}

// Frames in columns: vectors run along frames, so that nothing is summed across a vector. Columns go in strips of STRIP frames.

INLINE void KERNEL(softmax_strip)(size_t V, size_t width, R *x, size_t stride, const R *bias, R *top, R *partial, const R *before,
                                  size_t first, const int32_t *targets, R *target_logit, int32_t *wrong) {
  for (size_t c = 0; c < width; c++) top[c] = before[c];
  for (size_t v = 0; v < V; v++) {
    R *row = x + v * stride, b = bias[v];
    ELEMENTWISE for (size_t c = 0; c < width; c++) {
      R value = row[c] + b;
      row[c] = value;
      top[c] = value > top[c] ? value : top[c];
    }
  }
  for (size_t c = 0; c < width; c++) {
    if (targets[c] < 0 || (size_t)targets[c] < first || (size_t)targets[c] >= first + V) continue;
    size_t place = (size_t)targets[c] - first;
    R logit = x[place * stride + c];
    target_logit[c] = logit;
    // The first of the largest is the arg max; what comes later is compared with the maximum of all.
    int later = !(before[c] < logit) || !(logit == top[c]);
    for (size_t v = 0; !later && v < place; v++) later = x[v * stride + c] == logit;
    wrong[c] = later;
  }
  for (size_t c = 0; c < width; c++) partial[c] = 0;
  for (size_t v = 0; v < V; v++) {
    R *row = x + v * stride;
    ELEMENTWISE for (size_t c = 0; c < width; c++) {
      R e = KERNEL(exponential)(row[c] - top[c]);
      row[c] = e;
      partial[c] += e;
    }
  }
}

static void KERNEL(softmax_block)(const lockstep_softmax_block *s) {
  R *maximum = s->maximum, *sum = s->sum, *block_maximum = s->block_maximum, *target_logit = s->target_logit;
  for (size_t start = 0; start < s->B; start += STRIP) {
    R top[STRIP], partial[STRIP], *x = (R *)s->x + start;
    size_t width = least(STRIP, s->B - start);
    // A constant width lets sums and maxima stay in registers.
    if (width == STRIP)
      KERNEL(softmax_strip)(s->V, STRIP, x, s->x_row, s->bias, top, partial, maximum + start, s->first, s->targets + start,
                            target_logit + start, s->wrong + start);
    else
      KERNEL(softmax_strip)(s->V, width, x, s->x_row, s->bias, top, partial, maximum + start, s->first, s->targets + start,
                            target_logit + start, s->wrong + start);
    ELEMENTWISE for (size_t c = 0; c < width; c++) {
      R shrunk = sum[start + c] * KERNEL(exponential)(maximum[start + c] - top[c]);
      sum[start + c] = shrunk + partial[c];
      maximum[start + c] = top[c];
      block_maximum[start + c] = top[c];
    }
  }
}

static void KERNEL(softmax_factors)(size_t B, const int32_t *targets, const void *block_maxima, const void *maxima, const void *totals,
                                    double gradient_scale, void *results) {
  const R *block_maximum = block_maxima, *maximum = maxima, *sum = totals;
  R scale = (R)gradient_scale, *factors = results;
  ELEMENTWISE for (size_t b = 0; b < B; b++) {
    R factor = scale / sum[b] * KERNEL(exponential)(block_maximum[b] - maximum[b]);
    factors[b] = targets[b] < 0 ? 0 : factor;
  }
}

// A value for each lane of a sum, in memory of any alignment. Arrays would not stay in registers.
typedef R KERNEL(lanes) __attribute__((vector_size(LANES * sizeof(R)), aligned(sizeof(R)), may_alias));

INLINE void KERNEL(softmax_gradient_rows)(int rows, size_t B, R *x, const R *factors, R *row_sums, int accumulate) {
  KERNEL(lanes) sums[SUMMED_ROWS] = {{0}};
  size_t b = 0;
  for (; b + LANES <= B; b += LANES) {
    KERNEL(lanes) factor = *(const KERNEL(lanes) *)(factors + b);
    _Pragma("clang loop unroll(full)") for (int r = 0; r < rows; r++) {
      KERNEL(lanes) *values = (KERNEL(lanes) *)(x + r * B + b), product = *values * factor;
      *values = product;
      sums[r] += product;
    }
  }
  _Pragma("clang loop unroll(full)") for (int r = 0; r < rows; r++) {
    R parts[LANES];
    memcpy(parts, &sums[r], sizeof parts);
    for (size_t rest = b; rest < B; rest++) {
      R value = x[r * B + rest] * factors[rest];
      x[r * B + rest] = value;
      parts[rest - b] += value;
    }
    for (int half = LANES / 2; half > 0; half /= 2)
      for (int l = 0; l < half; l++) parts[l] += parts[l + half];
    row_sums[r] = accumulate ? row_sums[r] + parts[0] : parts[0];
  }
}

static void KERNEL(softmax_gradient)(const lockstep_softmax_gradient *s) {
  size_t V = s->V, B = s->B, v = 0;
  const int32_t *targets = s->targets;
  R *x = s->x, *row_sums = s->row_sums, scale = (R)s->gradient_scale;
  for (size_t b = 0; b < B; b++) {
    // The frame may hold anything, NaN included, but its gradient is 0.
    if (targets[b] >= 0) continue;
    for (size_t row = 0; row < V; row++) x[row * B + b] = 0;
  }
  for (; v + SUMMED_ROWS <= V; v += SUMMED_ROWS)
    KERNEL(softmax_gradient_rows)(SUMMED_ROWS, B, x + v * B, s->factors, row_sums + v, s->accumulate);
  for (; v < V; v++) KERNEL(softmax_gradient_rows)(1, B, x + v * B, s->factors, row_sums + v, s->accumulate);
  for (size_t b = 0; b < B; b++) {
    if (targets[b] < 0 || (size_t)targets[b] < s->first || (size_t)targets[b] >= s->first + V) continue;
    size_t row = (size_t)targets[b] - s->first;
    x[row * B + b] -= scale;
    row_sums[row] -= scale;
  }
}

// ---- Embedding and dropout -------------------------------------------------------------------------------------------------

static void KERNEL(gather_rows)(size_t B, size_t E, const void *table, size_t table_stride, const int32_t *ids, void *out,
                                size_t out_stride) {
  for (size_t b = 0; b < B; b++)
    memcpy((R *)out + b * out_stride, (const R *)table + (size_t)ids[b] * table_stride, E * sizeof(R));
}

static void KERNEL(add_gathered_rows)(size_t B, size_t E, const void *table, const int32_t *ids, void *out) {
  for (size_t b = 0; b < B; b++) {
    const R *source = (const R *)table + (size_t)ids[b] * E;
    R *row = (R *)out + b * E;
    ELEMENTWISE for (size_t e = 0; e < E; e++) row[e] += source[e];
  }
}

static void KERNEL(scatter_add_rows)(size_t B, size_t E, void *table, const int32_t *slots, const void *x) {
  for (size_t b = 0; b < B; b++) {
    R *row = (R *)table + (size_t)slots[b] * E;
    const R *source = (const R *)x + b * E;
    ELEMENTWISE for (size_t e = 0; e < E; e++) row[e] += source[e];
  }
}

static void KERNEL(dropout)(const lockstep_dropout *d) {
  size_t F = d->F;
  philox4x32_key_t key = {{(uint32_t)d->seed, (uint32_t)(d->seed >> 32)}};
  uint32_t threshold = (uint32_t)(d->p * 0x1p32), draws[4][BLOCK_COUNTERS];
  R kept = (R)(1 / (1 - d->p));
  for (size_t b = 0; b < d->B; b++) {
    for (size_t first = 0; first < F; first += BLOCK_DRAWS) {
      const R *source = (const R *)d->x + b * F + first;
      R *target = (R *)d->out + b * F + first;
      philox_block(key, (uint32_t)(first / 4) | d->layer << 24, d->time, (uint32_t)d->examples[b], d->step, draws);
      if (F - first >= BLOCK_DRAWS) {
        for (size_t i = 0; i < BLOCK_COUNTERS; i++)
          for (size_t j = 0; j < 4; j++) target[4 * i + j] = draws[j][i] < threshold ? 0 : source[4 * i + j] * kept;
      } else {
        for (size_t f = 0; f < F - first; f++) target[f] = draws[f % 4][f / 4] < threshold ? 0 : source[f] * kept;
      }
    }
  }
}

// ---- Optimisers ------------------------------------------------------------------------------------------------------------

static void KERNEL(sgd)(const lockstep_update *p) {
  R *theta = p->theta, s = (R)p->gradient_scale, rate = (R)p->rate;
  const R *g = p->g;
  ELEMENTWISE for (size_t i = 0; i < p->n; i++) theta[i] -= rate * (s * g[i]);
}

static void KERNEL(momentum)(const lockstep_update *p) {
  R *theta = p->theta, *u = p->u, s = (R)p->gradient_scale, rate = (R)p->rate, momentum = (R)p->momentum;
  const R *g = p->g;
  ELEMENTWISE for (size_t i = 0; i < p->n; i++) {
    R velocity = momentum * u[i] + s * g[i];
    u[i] = velocity;
    theta[i] -= rate * velocity;
  }
}

static void KERNEL(adam)(const lockstep_update *p) {
  R *theta = p->theta, *m = p->u, *v = p->v, s = (R)p->gradient_scale, rate = (R)p->rate, epsilon = (R)p->epsilon;
  R correction1 = (R)p->correction1, correction2 = (R)p->correction2;
  // 1 − β is small: it is taken before it is rounded.
  R beta1 = (R)p->beta1, beta2 = (R)p->beta2, rest1 = (R)(1 - p->beta1), rest2 = (R)(1 - p->beta2);
  const R *g = p->g;
  ELEMENTWISE for (size_t i = 0; i < p->n; i++) {
    R gradient = s * g[i];
    R first = beta1 * m[i] + rest1 * gradient;
    R second = beta2 * v[i] + rest2 * (gradient * gradient);
    m[i] = first;
    v[i] = second;
    theta[i] -= rate * (first * correction1) / (__builtin_elementwise_sqrt(second * correction2) + epsilon);
  }
}

static void KERNEL(rmsprop)(const lockstep_update *p) {
  R *theta = p->theta, *v = p->v, *u = p->u, s = (R)p->gradient_scale, rate = (R)p->rate, momentum = (R)p->momentum;
  R epsilon = (R)p->epsilon, decay = (R)p->beta2, rest = (R)(1 - p->beta2);
  const R *g = p->g;
  ELEMENTWISE for (size_t i = 0; i < p->n; i++) {
    R gradient = s * g[i];
    R square = decay * v[i] + rest * (gradient * gradient);
    R step = momentum * u[i] - rate * gradient / __builtin_elementwise_sqrt(square + epsilon);
    v[i] = square;
    u[i] = step;
    theta[i] += step;
  }
}
