// A product in blocks, for one instruction set and type of B; included with PRODUCT (which makes names), TARGET, PANEL_KERNEL (one panel of
// up to MOST_ROWS rows), MOST_ROWS and TYPE defined, of which it undefines PRODUCT and TYPE.

#if MOST_ROWS > 6
#define CASES CASE(1); CASE(2); CASE(3); CASE(4); CASE(5); CASE(6); CASE(7); CASE(8);
#else
#define CASES CASE(1); CASE(2); CASE(3); CASE(4); CASE(5); CASE(6);
#endif

// Rows of A side by side in memory.
#define CASE(rows) case rows: PANEL_KERNEL(TYPE, rows, width, K, A, a_row, 1, NULL, B, b_row, C, c_row, accumulate, next); break
TARGET static void PRODUCT(group)(size_t rows, size_t width, size_t K, const float *A, size_t a_row, const void *B, size_t b_row,
                                  float *C, size_t c_row, int accumulate, soon next) {
  switch (rows) { CASES }
}
#undef CASE

// Columns of A side by side: they are copied to a strip [K, MOST_ROWS] on the way.
#define CASE(rows) case rows: PANEL_KERNEL(TYPE, rows, width, K, A, 1, a_column, strip, B, b_row, C, c_row, accumulate, next); break
TARGET static void PRODUCT(gather)(size_t rows, size_t width, size_t K, const float *A, size_t a_column, float strip[static 1],
                                   const void *B, size_t b_row, float *C, size_t c_row, int accumulate, soon next) {
  switch (rows) { CASES }
}
#undef CASE

// Such a strip.
#define CASE(rows) case rows: PANEL_KERNEL(TYPE, rows, width, K, A, 1, MOST_ROWS, NULL, B, b_row, C, c_row, accumulate, next); break
TARGET static void PRODUCT(strip)(size_t rows, size_t width, size_t K, const float *A, const void *B, size_t b_row, float *C,
                                  size_t c_row, int accumulate, soon next) {
  switch (rows) { CASES }
}
#undef CASE
#undef CASES

// The block of `columns` columns of B that begins at row k and column n, for so many tiles to fetch.
TARGET static block_ahead PRODUCT(block)(size_t N, size_t K, const void *B, size_t b_row, size_t k, size_t n, size_t columns,
                                         size_t tiles) {
  size_t size = size_of(TYPE), width = quotient_up(PANEL * size, 64);
  return (block_ahead){
      .panel = element(B, b_row ? k * b_row + n : n * K + k * PANEL, TYPE), .width = width, .row = (b_row ? b_row : PANEL) * size,
      .distance = (b_row ? PANEL : K * PANEL) * size, .count = quotient_up(least(columns, N - n), PANEL) * width, .tiles = tiles};
}

TARGET static void PRODUCT(product)(size_t M, size_t N, size_t K, const float *A, size_t a_row, size_t a_column, const void *B,
                                    size_t b_row, float *C, size_t c_row, int accumulate, const lockstep_hints *given, size_t later) {
  if (M == 0) return;
  float strip[DEPTH * MOST_ROWS];
  lockstep_hints hints = given ? *given : (lockstep_hints){0};
  size_t depth = depth_of(K), columns = columns_of(M, depth, size_of(TYPE)), blocks = quotient_up(N, columns);
  size_t left = tiles_of(M, N, K, MOST_ROWS) + later, groups = quotient_up(M, MOST_ROWS), height = quotient_up(M, groups);
  wanted regions = wanted_of(&hints, depth);
  for (size_t i = 0; i < blocks; i++) {
    size_t first = (hints.is_reversed ? blocks - 1 - i : i) * columns, end = least(N, first + columns);
    size_t tiles = quotient_up(end - first, PANEL) * groups;
    for (size_t k = 0; k < K; k += depth) {
      size_t kc = least(K - k, depth);
      int adds = accumulate || k > 0;
      block_ahead following = {0};
      if (k + depth < K) following = PRODUCT(block)(N, K, B, b_row, k + depth, first, columns, tiles);
      else if (i + 1 < blocks) following = PRODUCT(block)(N, K, B, b_row, 0, hints.is_reversed ? first - columns : end, columns, tiles);
      for (size_t m = 0; m < M; m += height) {
        size_t rows = least(M - m, height);
        const float *a = A + m * a_row + k * a_column;
        for (size_t n = first; n < end; n += PANEL) {
          size_t width = least(N - n, PANEL), stride = b_row ? b_row : PANEL;
          const void *b = element(B, b_row ? k * b_row + n : n * K + k * PANEL, TYPE);
          float *c = C + m * c_row + n;
          // Rows that come from memory would keep the first columns waiting: the group before fetches them.
          soon next = {.a = n == first && m + height < M ? a + height * a_row : a,
                       .a_row = a_column == 1 ? a_row : a_column, .a_column = 8 * a_column,
                       .b = b, .b_row = 0,
                       .c = !adds ? NULL : n + PANEL < end ? c + PANEL : m + height < M ? C + (m + height) * c_row + first : NULL};
          following.due += following.count;
          const float *column = next_column(&following);
          if (column) {
            next.b = column;
            next.b_row = following.row / sizeof(float);
            // Where few rows go through a panel, they are near, and each tile fetches more of the next.
            if (groups < 4 && (column = next_column(&following))) {
              next.a = column;
              next.a_row = next.b_row;
              next.a_column = 8 * next.b_row;
            }
          }
          fetch_wanted(&regions, --left, &next);
          if (a_column == 1) PRODUCT(group)(rows, width, kc, a, a_row, b, stride, c, c_row, adds, next);
          else if (n == first) PRODUCT(gather)(rows, width, kc, a, a_column, strip, b, stride, c, c_row, adds, next);
          else PRODUCT(strip)(rows, width, kc, strip, b, stride, c, c_row, adds, next);
        }
      }
    }
  }
}
#undef PRODUCT
#undef TYPE
