// The kernels, written once for a real type R; included with R, KERNEL and the elementary functions defined. Those named …_whole are for
// one thread; `divided_template.h` gives them to several.

CLONES void KERNEL(scale)(size_t n, R *a, R s) {
  ELEMENTWISE for (size_t i = 0; i < n; i++) a[i] *= s;
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

CLONES void KERNEL(add_whole)(size_t n, R *out, const R *a, const R *b, double *squares) {
  if (!squares) {
    KERNEL(add_block)(n, out, a, b, 1, 0);
    return;
  }
  for (size_t i = 0; i < n; i += LOCKSTEP_SQUARES) {
    size_t count = n - i < LOCKSTEP_SQUARES ? n - i : LOCKSTEP_SQUARES;
    squares[i / LOCKSTEP_SQUARES] = KERNEL(add_block)(count, out + i, a + i, b + i, 1, 1);
  }
}

CLONES void KERNEL(squares_whole)(size_t n, const R *a, double *squares) {
  for (size_t i = 0; i < n; i += LOCKSTEP_SQUARES) {
    size_t count = n - i < LOCKSTEP_SQUARES ? n - i : LOCKSTEP_SQUARES;
    squares[i / LOCKSTEP_SQUARES] = KERNEL(add_block)(count, NULL, a + i, NULL, 0, 1);
  }
}

CLONES size_t KERNEL(first_not_finite)(size_t n, const R *a) {
  for (size_t i = 0; i < n; i++)
    if (!isfinite(a[i])) return i;
  return n;
}

// Columns go in blocks whose sums stay near; most rows fit one, and are then read from end to end, as the processor fetches ahead best.
enum { COLUMN_BLOCK = 3072 };

CLONES void KERNEL(column_sums)(size_t B, size_t F, const R *x, size_t stride, R *out, int accumulate) {
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
INLINE void KERNEL(lstm_forward_body)(size_t B, size_t H, const R *z, const R *z_scale, const R *r, const R *r_scale,
                                      const R *shift, const R *p_i, const R *p_f, const R *p_o, const R *c_previous, R *gates,
                                      R *c, R *h, size_t h_stride, int scaled, int added, int rescaled, int peephole_o,
                                      int peepholes_if) {
  for (size_t b = 0; b < B; b++) {
    const R *zb = z + b * 4 * H, *rb = added ? r + b * 4 * H : 0, *cp = c_previous + b * H;
    R *gb = gates + b * 4 * H, *cb = c + b * H, *hb = h + b * h_stride;
    ELEMENTWISE for (size_t j = 0; j < H; j++) {
      R a_i = KERNEL(preactivation)(zb, z_scale, rb, r_scale, shift, j, scaled, added, rescaled);
      R a_f = KERNEL(preactivation)(zb, z_scale, rb, r_scale, shift, H + j, scaled, added, rescaled);
      R a_g = KERNEL(preactivation)(zb, z_scale, rb, r_scale, shift, 2 * H + j, scaled, added, rescaled);
      R a_o = KERNEL(preactivation)(zb, z_scale, rb, r_scale, shift, 3 * H + j, scaled, added, rescaled);
      R before = cp[j];
      if (peepholes_if) {
        a_i += p_i[j] * before;
        a_f += p_f[j] * before;
      }
      R i = logistic(a_i), f = logistic(a_f), g = hyperbolic_tangent(a_g);
      R cell = f * before + i * g;
      if (peephole_o) a_o += p_o[j] * cell;
      R o = logistic(a_o);
      gb[j] = i;
      gb[H + j] = f;
      gb[2 * H + j] = g;
      gb[3 * H + j] = o;
      cb[j] = cell;
      hb[j] = o * hyperbolic_tangent(cell);
    }
  }
}

CLONES void KERNEL(lstm_forward_whole)(size_t B, size_t H, const R *z, const R *z_scale, const R *r, const R *r_scale,
                                 const R *shift, const R *p_i, const R *p_f, const R *p_o, const R *c_previous, R *gates,
                                 R *c, R *h, size_t h_stride) {
#define FORWARD(scaled, added, rescaled, po, pif)                                                                              \
  KERNEL(lstm_forward_body)(B, H, z, z_scale, r, r_scale, shift, p_i, p_f, p_o, c_previous, gates, c, h, h_stride, scaled,     \
                            added, rescaled, po, pif)
#define FORWARD_PEEPHOLES(scaled, added, rescaled)                                                                             \
  do {                                                                                                                         \
    if (p_i) FORWARD(scaled, added, rescaled, 1, 1);                                                                           \
    else if (p_o) FORWARD(scaled, added, rescaled, 1, 0);                                                                      \
    else FORWARD(scaled, added, rescaled, 0, 0);                                                                               \
  } while (0)
  if (!z_scale && !r) FORWARD_PEEPHOLES(0, 0, 0);
  else if (!z_scale) FORWARD_PEEPHOLES(0, 1, 0);
  else if (!r) FORWARD_PEEPHOLES(1, 0, 0);
  else if (!r_scale) FORWARD_PEEPHOLES(1, 1, 0);
  else FORWARD_PEEPHOLES(1, 1, 1);
#undef FORWARD_PEEPHOLES
#undef FORWARD
}

INLINE void KERNEL(lstm_backward_body)(size_t B, size_t H, const R *gates, const R *c, const R *c_previous, const R *dh_above,
                                       size_t dh_stride, const R *dh_next, R *dc, const R *p_i, const R *p_f, const R *p_o,
                                       R *dp_i, R *dp_f, R *dp_o, R *da, int next, int peephole_o, int peepholes_if) {
  for (size_t b = 0; b < B; b++) {
    const R *gb = gates + b * 4 * H, *cb = c + b * H, *cp = c_previous + b * H, *above = dh_above + b * dh_stride;
    const R *following = next ? dh_next + b * H : 0;
    R *dcb = dc + b * H, *dab = da + b * 4 * H;
    ELEMENTWISE for (size_t j = 0; j < H; j++) {
      R i = gb[j], f = gb[H + j], g = gb[2 * H + j], o = gb[3 * H + j];
      R before = cp[j], cell = cb[j], t = hyperbolic_tangent(cell);
      R dh = next ? above[j] + following[j] : above[j];
      R da_o = dh * t * (o * ((R)1 - o));
      R dcell = dh * o * ((R)1 - t * t) + dcb[j];
      if (peephole_o) dcell += da_o * p_o[j];
      R da_i = dcell * g * (i * ((R)1 - i));
      R da_f = dcell * before * (f * ((R)1 - f));
      R da_g = dcell * i * ((R)1 - g * g);
      R dbefore = dcell * f;
      if (peepholes_if) dbefore = dbefore + da_i * p_i[j] + da_f * p_f[j];
      dab[j] = da_i;
      dab[H + j] = da_f;
      dab[2 * H + j] = da_g;
      dab[3 * H + j] = da_o;
      dcb[j] = dbefore;
      if (peephole_o) dp_o[j] += da_o * cell;
      if (peepholes_if) {
        dp_i[j] += da_i * before;
        dp_f[j] += da_f * before;
      }
    }
  }
}

CLONES void KERNEL(lstm_backward_whole)(size_t B, size_t H, const R *gates, const R *c, const R *c_previous, const R *dh_above,
                                  size_t dh_stride, const R *dh_next, R *dc, const R *p_i, const R *p_f, const R *p_o,
                                  R *dp_i, R *dp_f, R *dp_o, R *da) {
#define BACKWARD(next, po, pif)                                                                                                \
  KERNEL(lstm_backward_body)(B, H, gates, c, c_previous, dh_above, dh_stride, dh_next, dc, p_i, p_f, p_o, dp_i, dp_f, dp_o,    \
                             da, next, po, pif)
#define BACKWARD_PEEPHOLES(next)                                                                                               \
  do {                                                                                                                         \
    if (p_i) BACKWARD(next, 1, 1);                                                                                             \
    else if (p_o) BACKWARD(next, 1, 0);                                                                                        \
    else BACKWARD(next, 0, 0);                                                                                                 \
  } while (0)
  if (dh_next) BACKWARD_PEEPHOLES(1);
  else BACKWARD_PEEPHOLES(0);
#undef BACKWARD_PEEPHOLES
#undef BACKWARD
}

CLONES void KERNEL(rnn_forward)(size_t B, size_t H, const R *z, const R *z_scale, const R *r, const R *r_scale,
                                const R *shift, R *h, size_t h_stride) {
#define FORWARD(scaled, added, rescaled)                                                                                       \
  for (size_t b = 0; b < B; b++) {                                                                                             \
    const R *zb = z + b * H, *rb = added ? r + b * H : 0;                                                                      \
    R *hb = h + b * h_stride;                                                                                                  \
    ELEMENTWISE for (size_t j = 0; j < H; j++) hb[j] = hyperbolic_tangent(                                                     \
        KERNEL(preactivation)(zb, z_scale, rb, r_scale, shift, j, scaled, added, rescaled));                                   \
  }
  if (!z_scale && !r) FORWARD(0, 0, 0)
  else if (!z_scale) FORWARD(0, 1, 0)
  else if (!r) FORWARD(1, 0, 0)
  else if (!r_scale) FORWARD(1, 1, 0)
  else FORWARD(1, 1, 1)
#undef FORWARD
}

CLONES void KERNEL(rnn_backward)(size_t B, size_t H, const R *h, size_t h_stride, const R *dh_above, size_t dh_stride,
                                 const R *dh_next, R *da) {
  for (size_t b = 0; b < B; b++) {
    const R *hb = h + b * h_stride, *above = dh_above + b * dh_stride, *following = dh_next ? dh_next + b * H : 0;
    R *dab = da + b * H;
    if (following) {
      ELEMENTWISE for (size_t j = 0; j < H; j++) dab[j] = (above[j] + following[j]) * ((R)1 - hb[j] * hb[j]);
    } else {
      ELEMENTWISE for (size_t j = 0; j < H; j++) dab[j] = above[j] * ((R)1 - hb[j] * hb[j]);
    }
  }
}

// ---- Normalisation ---------------------------------------------------------------------------------------------------------

CLONES void KERNEL(moments)(size_t B, size_t F, const R *x, R *mean, R *m2) {
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

CLONES void KERNEL(merge_moments)(size_t F, R n_a, R *mean_a, R *m2_a, R n_b, const R *mean_b, const R *m2_b) {
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

CLONES void KERNEL(normalization_fold)(size_t F, R n, R epsilon, const R *mean, const R *m2, const R *gamma, const R *beta,
                                       R *rstd, R *scale, R *shift) {
  R inverse = (R)1 / n;
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

CLONES void KERNEL(normalization_sums)(size_t B, size_t F, const R *dy, const R *x, const R *mean, const R *rstd, R *sum_dy,
                                       R *sum_dy_x) {
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

CLONES void KERNEL(normalization_backward_whole)(size_t B, size_t F, R n, const R *dy, const R *x, const R *mean, const R *rstd,
                                           const R *scale, const R *sum_dy, const R *sum_dy_x, R *dx) {
  R inverse = (R)1 / n;
  for (size_t b = 0; b < B; b++) {
    const R *dyb = dy + b * F, *xb = x + b * F;
    R *dxb = dx + b * F;
    ELEMENTWISE for (size_t f = 0; f < F; f++) {
      R x_hat = (xb[f] - mean[f]) * rstd[f];
      dxb[f] = scale[f] * (dyb[f] - (sum_dy[f] + x_hat * sum_dy_x[f]) * inverse);
    }
  }
}

CLONES void KERNEL(blend)(size_t n, R keep, R weight, R *r, const R *s) {
  ELEMENTWISE for (size_t i = 0; i < n; i++) r[i] = keep * r[i] + weight * s[i];
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
    for (int l = 0; l < LANES; l++) lanes[l] += exponential(x[v + l] - maximum);
  for (int l = 0; v < V; v++, l++) lanes[l] += exponential(x[v] - maximum);
  for (int l = 0; l < LANES; l++) sum += lanes[l];
  return sum;
}

CLONES void KERNEL(log_softmax)(size_t B, size_t V, R *logits, const R *bias) {
  for (size_t b = 0; b < B; b++) {
    R *x = logits + b * V, maximum = KERNEL(biased_maximum)(V, x, bias);
    R shift = (R)(log((double)KERNEL(exponential_sum)(V, x, maximum)) + (double)maximum);
    ELEMENTWISE for (size_t v = 0; v < V; v++) x[v] -= shift;
  }
}

// Frames in columns: vectors run along frames, so that nothing is summed across a vector. Columns go in strips.
enum { STRIP = 64 };

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
      R e = exponential(row[c] - top[c]);
      row[c] = e;
      partial[c] += e;
    }
  }
}

CLONES void KERNEL(softmax_block_whole)(size_t V, size_t B, R *x, size_t stride, const R *bias, size_t first, const int32_t *targets,
                                        R *maximum, R *sum, R *block_maximum, R *target_logit, int32_t *wrong) {
  for (size_t start = 0; start < B; start += STRIP) {
    R top[STRIP], partial[STRIP];
    size_t width = B - start < STRIP ? B - start : STRIP;
    // A constant width lets sums and maxima stay in registers.
    if (width == STRIP)
      KERNEL(softmax_strip)(V, STRIP, x + start, stride, bias, top, partial, maximum + start, first, targets + start,
                            target_logit + start, wrong + start);
    else
      KERNEL(softmax_strip)(V, width, x + start, stride, bias, top, partial, maximum + start, first, targets + start,
                            target_logit + start, wrong + start);
    ELEMENTWISE for (size_t c = 0; c < width; c++) {
      R shrunk = sum[start + c] * exponential(maximum[start + c] - top[c]);
      sum[start + c] = shrunk + partial[c];
      maximum[start + c] = top[c];
      block_maximum[start + c] = top[c];
    }
  }
}

CLONES void KERNEL(softmax_factors)(size_t B, const int32_t *targets, const R *block_maximum, const R *maximum, const R *sum,
                                    R gradient_scale, R *factors) {
  ELEMENTWISE for (size_t b = 0; b < B; b++) {
    R factor = gradient_scale / sum[b] * exponential(block_maximum[b] - maximum[b]);
    factors[b] = targets[b] < 0 ? 0 : factor;
  }
}

// A value for each lane of a sum, in memory of any alignment. Arrays would not stay in registers.
typedef R KERNEL(lanes) __attribute__((vector_size(LANES * sizeof(R)), aligned(sizeof(R)), may_alias));

// Rows of logits whose sums are taken side by side: alone, each would wait for one addition after the other.
enum { SUMMED_ROWS = 4 };

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

CLONES void KERNEL(softmax_gradient_whole)(size_t V, size_t B, R *x, const R *factors, size_t first, const int32_t *targets,
                                     R gradient_scale, R *row_sums, int accumulate) {
  for (size_t b = 0; b < B; b++) {
    // What has no target counts for nothing, whatever it is.
    if (targets[b] >= 0) continue;
    for (size_t v = 0; v < V; v++) x[v * B + b] = 0;
  }
  size_t v = 0;
  for (; v + SUMMED_ROWS <= V; v += SUMMED_ROWS)
    KERNEL(softmax_gradient_rows)(SUMMED_ROWS, B, x + v * B, factors, row_sums + v, accumulate);
  for (; v < V; v++) KERNEL(softmax_gradient_rows)(1, B, x + v * B, factors, row_sums + v, accumulate);
  for (size_t b = 0; b < B; b++) {
    if (targets[b] < 0 || (size_t)targets[b] < first || (size_t)targets[b] >= first + V) continue;
    x[((size_t)targets[b] - first) * B + b] -= gradient_scale;
    row_sums[(size_t)targets[b] - first] -= gradient_scale;
  }
}

// ---- Embedding and dropout -------------------------------------------------------------------------------------------------

void KERNEL(gather_rows)(size_t B, size_t E, const R *table, size_t table_stride, const int32_t *ids, R *out, size_t out_stride) {
  for (size_t b = 0; b < B; b++) memcpy(out + b * out_stride, table + (size_t)ids[b] * table_stride, E * sizeof(R));
}

CLONES void KERNEL(add_gathered_rows)(size_t B, size_t E, const R *table, const int32_t *ids, R *out) {
  for (size_t b = 0; b < B; b++) {
    const R *source = table + (size_t)ids[b] * E;
    R *row = out + b * E;
    ELEMENTWISE for (size_t e = 0; e < E; e++) row[e] += source[e];
  }
}

CLONES void KERNEL(scatter_add_rows)(size_t B, size_t E, R *table, const int32_t *slots, const R *x) {
  for (size_t b = 0; b < B; b++) {
    R *row = table + (size_t)slots[b] * E;
    const R *source = x + b * E;
    ELEMENTWISE for (size_t e = 0; e < E; e++) row[e] += source[e];
  }
}

CLONES void KERNEL(dropout)(size_t B, size_t F, const R *x, R *out, double p, uint64_t seed, uint32_t step, uint32_t layer,
                            const int32_t *examples, uint32_t time) {
  philox4x32_key_t key = {{(uint32_t)seed, (uint32_t)(seed >> 32)}};
  uint32_t threshold = (uint32_t)(p * 0x1p32), draws[4][BLOCK_COUNTERS];
  R kept = (R)(1 / (1 - p));
  for (size_t b = 0; b < B; b++) {
    for (size_t first = 0; first < F; first += BLOCK_DRAWS) {
      const R *source = x + b * F + first;
      R *target = out + b * F + first;
      philox_block(key, (uint32_t)(first / 4) | layer << 24, time, (uint32_t)examples[b], step, draws);
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

CLONES void KERNEL(sgd_whole)(size_t n, R *theta, const R *g, R s, R rate) {
  ELEMENTWISE for (size_t i = 0; i < n; i++) theta[i] -= rate * (s * g[i]);
}

CLONES void KERNEL(momentum_whole)(size_t n, R *theta, R *u, const R *g, R s, R rate, R momentum) {
  ELEMENTWISE for (size_t i = 0; i < n; i++) {
    R velocity = momentum * u[i] + s * g[i];
    u[i] = velocity;
    theta[i] -= rate * velocity;
  }
}

CLONES void KERNEL(adam_whole)(size_t n, R *theta, R *m, R *v, const R *g, R s, R rate, double beta_1, double beta_2, R correction1,
                         R correction2, R epsilon) {
  // 1 − β is small: it is taken before it is rounded.
  R beta1 = (R)beta_1, beta2 = (R)beta_2, rest1 = (R)(1 - beta_1), rest2 = (R)(1 - beta_2);
  ELEMENTWISE for (size_t i = 0; i < n; i++) {
    R gradient = s * g[i];
    R first = beta1 * m[i] + rest1 * gradient;
    R second = beta2 * v[i] + rest2 * (gradient * gradient);
    m[i] = first;
    v[i] = second;
    theta[i] -= rate * (first * correction1) / (__builtin_elementwise_sqrt(second * correction2) + epsilon);
  }
}

CLONES void KERNEL(rmsprop_whole)(size_t n, R *theta, R *v, R *u, const R *g, R s, R rate, R momentum, double rho, R epsilon) {
  R decay = (R)rho, rest = (R)(1 - rho);
  ELEMENTWISE for (size_t i = 0; i < n; i++) {
    R gradient = s * g[i];
    R square = decay * v[i] + rest * (gradient * gradient);
    R step = momentum * u[i] - rate * gradient / __builtin_elementwise_sqrt(square + epsilon);
    v[i] = square;
    u[i] = step;
    theta[i] += step;
  }
}
