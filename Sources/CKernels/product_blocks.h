// The blocks of a product, for one instruction set; included with PRODUCT, TARGET, ROWS, GROUP and STRIP defined, which it undefines.

TARGET static void PRODUCT(size_t M, size_t N, size_t K, const float *A, size_t a_row, size_t a_column, const float *B, size_t b_row,
                           float *C, size_t c_row, int accumulate, const lockstep_upcoming *upcoming, size_t later) {
  float strip[DEPTH * ROWS];
  size_t depth = depth_of(K), columns = columns_of(M, depth, sizeof(float));
  size_t tiles = tiles_of(M, N, K, ROWS) + later;
  for (size_t k = 0; k < K; k += depth) {
    size_t kc = K - k < depth ? K - k : depth;
    int adds = accumulate || k > 0;
    for (size_t first = 0; first < N; first += columns) {
      size_t end = N - first < columns ? N : first + columns;
      for (size_t m = 0; m < M; m += ROWS) {
        size_t rows = M - m < ROWS ? M - m : ROWS;
        const float *a = A + m * a_row + k * a_column;
        if (a_column != 1) {
          if (rows == ROWS)
            for (size_t i = 0; i < kc; i++) memcpy(strip + i * ROWS, a + i * a_column, ROWS * sizeof(float));
          else
            for (size_t i = 0; i < kc; i++)
              for (size_t r = 0; r < rows; r++) strip[i * ROWS + r] = a[i * a_column + r];
        }
        for (size_t n = first; n < end; n += PANEL) {
          size_t width = N - n < PANEL ? N - n : PANEL, stride = b_row ? b_row : PANEL;
          const float *b = b_row ? B + k * b_row + n : B + n * K + k * PANEL;
          float *c = C + m * c_row + n;
          // Rows that come from memory would keep the first columns waiting: the group before fetches them.
          ahead next = {n == first && m + ROWS < M ? a + ROWS * a_row : a, a_column == 1 ? a_row : a_column, a_column};
          fetch_upcoming(upcoming, --tiles, depth, &next);
          if (a_column != 1) STRIP(rows, width, kc, strip, b, stride, c, c_row, adds, next);
          else GROUP(rows, width, kc, a, a_row, b, stride, c, c_row, adds, next);
        }
      }
    }
  }
}
#undef PRODUCT
#undef TARGET
#undef ROWS
#undef GROUP
#undef STRIP
