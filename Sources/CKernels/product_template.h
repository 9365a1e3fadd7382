// Packing, and the product in plain C, for a real type R; included with R and KERNEL defined.

size_t KERNEL(packed_size)(size_t N, size_t K) { return (N + PANEL - 1) / PANEL * PANEL * K; }

static void KERNEL(pack_plain)(size_t N, size_t K, const R *W, size_t stride_n, size_t stride_k, R *packed) {
  size_t whole = N / PANEL * PANEL;
  if (stride_n == 1) {
    // Row by row: what is read lies side by side, and so does, for every panel, what is written.
    for (size_t k = 0; k < K; k++) {
      const R *row = W + k * stride_k;
      for (size_t first = 0; first < whole; first += PANEL) memcpy(packed + first * K + k * PANEL, row + first, PANEL * sizeof(R));
      if (whole == N) continue;
      R *rest = packed + whole * K + k * PANEL;
      memcpy(rest, row + whole, (N - whole) * sizeof(R));
      memset(rest + (N - whole), 0, (PANEL - (N - whole)) * sizeof(R));
    }
    return;
  }
  for (size_t first = 0; first < N; first += PANEL) {
    size_t width = N - first < PANEL ? N - first : PANEL;
    const R *source = W + first * stride_n;
    R *panel = packed + first * K;
    // Rows of W are columns here: go through them in blocks that stay in the cache.
    for (size_t start = 0; start < K; start += 16) {
      size_t end = K - start < 16 ? K : start + 16;
      for (size_t n = 0; n < width; n++)
        for (size_t k = start; k < end; k++) panel[k * PANEL + n] = source[n * stride_n + k * stride_k];
      for (size_t n = width; n < PANEL; n++)
        for (size_t k = start; k < end; k++) panel[k * PANEL + n] = 0;
    }
  }
}

// In blocks of which what is read and what is written stays in the cache.
static void KERNEL(transpose_plain)(size_t rows, size_t columns, const R *x, size_t x_row, R *out, size_t out_row) {
  for (size_t r = 0; r < rows; r += 16)
    for (size_t c = 0; c < columns; c++)
      for (size_t i = r; i < least(rows, r + 16); i++) out[c * out_row + i] = x[i * x_row + c];
}

// An element of B.
static inline R KERNEL(right)(format type, const void *B, size_t index) {
  if (type != BFLOAT16) return ((const R *)B)[index];
  uint32_t bits = (uint32_t)((const uint16_t *)B)[index] << 16;
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

static inline void KERNEL(product_in_c)(format type, size_t M, size_t N, size_t K, const R *A, size_t a_row, size_t a_column,
                                        const void *B, size_t b_row, R *C, size_t c_row, int accumulate) {
  for (size_t first = 0; first < N; first += PANEL) {
    size_t width = N - first < PANEL ? N - first : PANEL, stride = b_row ? b_row : PANEL;
    size_t panel = b_row ? first : first * K;
    for (size_t m = 0; m < M; m++) {
      R sums[PANEL] = {0};
      R *target = C + m * c_row + first;
      for (size_t n = 0; accumulate && n < width; n++) sums[n] = target[n];
      for (size_t k = 0; k < K; k++) {
        R a = A[m * a_row + k * a_column];
        size_t row = panel + k * stride;
        ELEMENTWISE for (size_t n = 0; n < width; n++) sums[n] += a * KERNEL(right)(type, B, row + n);
      }
      memcpy(target, sums, width * sizeof(R));
    }
  }
}

static void KERNEL(product_plain)(size_t M, size_t N, size_t K, const R *A, size_t a_row, size_t a_column, const R *B, size_t b_row,
                                  R *C, size_t c_row, int accumulate) {
  KERNEL(product_in_c)(SINGLE, M, N, K, A, a_row, a_column, B, b_row, C, c_row, accumulate);
}

static void KERNEL(product_rounded_plain)(size_t M, size_t N, size_t K, const R *A, size_t a_row, size_t a_column,
                                          const uint16_t *packed, R *C, size_t c_row, int accumulate) {
  KERNEL(product_in_c)(BFLOAT16, M, N, K, A, a_row, a_column, packed, 0, C, c_row, accumulate);
}
