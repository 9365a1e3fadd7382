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

// The preactivation of feature j: z_scale z + r_scale r + shift, with what is absent left out.
INLINE R KERNEL(preactivation)(const R *z, const R *z_scale, const R *r, const R *r_scale, const R *shift, size_t j,
                               int scaled, int added, int rescaled) {
  R a = scaled ? z[j] * z_scale[j] + shift[j] : z[j] + shift[j];
  if (added) a = a + (rescaled ? r[j] * r_scale[j] : r[j]);
  return a;
}

// scaled, added, rescaled and peepholes are constants in every instance, so the branches on them vanish.
INLINE void KERNEL(lstm_forward_body)(const lockstep_lstm_step *s, int scaled, int added, int rescaled, int peephole_o,
                                      int peepholes_if) {
  size_t H = s->H;
  const R *z_scale = s->z_scale, *r_scale = s->r_scale, *shift = s->shift, *p_i = s->p_i, *p_f = s->p_f, *p_o = s->p_o;
  for (size_t b = 0; b < s->B; b++) {
    const R *z = (const R *)s->z + b * 4 * H, *r = added ? (const R *)s->r + b * 4 * H : 0;
    const R *c_previous = (const R *)s->c_previous + b * H;
    R *gates = (R *)s->gates + b * 4 * H, *c = (R *)s->c + b * H, *h = (R *)s->h + b * s->h_stride;
    ELEMENTWISE for (size_t j = 0; j < H; j++) {
      R a_i = KERNEL(preactivation)(z, z_scale, r, r_scale, shift, j, scaled, added, rescaled);
      R a_f = KERNEL(preactivation)(z, z_scale, r, r_scale, shift, H + j, scaled, added, rescaled);
      R a_g = KERNEL(preactivation)(z, z_scale, r, r_scale, shift, 2 * H + j, scaled, added, rescaled);
      R a_o = KERNEL(preactivation)(z, z_scale, r, r_scale, shift, 3 * H + j, scaled, added, rescaled);
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
      h[j] = o * KERNEL(hyperbolic_tangent)(cell);
    }
  }
}

static void KERNEL(lstm_forward)(const lockstep_lstm_step *s) {
#define FORWARD(scaled, added, rescaled)                                            \
  do {                                                                              \
    if (s->p_i) KERNEL(lstm_forward_body)(s, scaled, added, rescaled, 1, 1);        \
    else if (s->p_o) KERNEL(lstm_forward_body)(s, scaled, added, rescaled, 1, 0);   \
    else KERNEL(lstm_forward_body)(s, scaled, added, rescaled, 0, 0);               \
  } while (0)
  if (!s->z_scale && !s->r) FORWARD(0, 0, 0);
  else if (!s->z_scale) FORWARD(0, 1, 0);
  else if (!s->r) FORWARD(1, 0, 0);
  else if (!s->r_scale) FORWARD(1, 1, 0);
  else FORWARD(1, 1, 1);
#undef FORWARD
}

INLINE void KERNEL(lstm_backward_body)(const lockstep_lstm_derivative *d, int next, int peephole_o, int peepholes_if) {
  size_t H = d->H;
  const R *p_i = d->p_i, *p_f = d->p_f, *p_o = d->p_o;
  R *dp_i = d->dp_i, *dp_f = d->dp_f, *dp_o = d->dp_o;
  for (size_t b = 0; b < d->B; b++) {
    const R *gates = (const R *)d->gates + b * 4 * H, *c = (const R *)d->c + b * H, *c_previous = (const R *)d->c_previous + b * H;
    const R *above = (const R *)d->dh_above + b * d->dh_stride, *following = next ? (const R *)d->dh_next + b * H : 0;
    R *dc = (R *)d->dc + b * H, *da = (R *)d->da + b * 4 * H;
    ELEMENTWISE for (size_t j = 0; j < H; j++) {
      R i = gates[j], f = gates[H + j], g = gates[2 * H + j], o = gates[3 * H + j];
      R before = c_previous[j], cell = c[j], t = KERNEL(hyperbolic_tangent)(cell);
      R dh = next ? above[j] + following[j] : above[j];
      R da_o = dh * t * (o * ((R)1 - o));
      R dcell = dh * o * ((R)1 - t * t) + dc[j];
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
#define BACKWARD(next)                                           \
  do {                                                           \
    if (d->p_i) KERNEL(lstm_backward_body)(d, next, 1, 1);       \
    else if (d->p_o) KERNEL(lstm_backward_body)(d, next, 1, 0);  \
    else KERNEL(lstm_backward_body)(d, next, 0, 0);              \
  } while (0)
  if (d->dh_next) BACKWARD(1);
  else BACKWARD(0);
#undef BACKWARD
}

INLINE void KERNEL(rnn_forward_body)(const lockstep_rnn_step *s, int scaled, int added, int rescaled) {
  size_t H = s->H;
  const R *z_scale = s->z_scale, *r_scale = s->r_scale, *shift = s->shift;
  for (size_t b = 0; b < s->B; b++) {
    const R *z = (const R *)s->z + b * H, *r = added ? (const R *)s->r + b * H : 0;
    R *h = (R *)s->h + b * s->h_stride;
    ELEMENTWISE for (size_t j = 0; j < H; j++)
      h[j] = KERNEL(hyperbolic_tangent)(KERNEL(preactivation)(z, z_scale, r, r_scale, shift, j, scaled, added, rescaled));
  }
}

static void KERNEL(rnn_forward)(const lockstep_rnn_step *s) {
  if (!s->z_scale && !s->r) KERNEL(rnn_forward_body)(s, 0, 0, 0);
  else if (!s->z_scale) KERNEL(rnn_forward_body)(s, 0, 1, 0);
  else if (!s->r) KERNEL(rnn_forward_body)(s, 1, 0, 0);
  else if (!s->r_scale) KERNEL(rnn_forward_body)(s, 1, 1, 0);
  else KERNEL(rnn_forward_body)(s, 1, 1, 1);
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
