// Products and packing, written once for a real type R and any length of vectors; included with R, KERNEL, FMA_OF_VECTORS,
// VECTOR_BYTES, TILE_VECTORS, TILE_ROWS, UNROLLED and STAYS_IN_REGISTER defined.
//
// A tile of C, TILE_ROWS × TILE_VECTORS vectors, stays in registers over all k. Each k takes a row of a panel of B and one element
// of each row of A.

enum { KERNEL(vector_lanes) = VECTOR_BYTES / sizeof(R), KERNEL(panel) = TILE_VECTORS * KERNEL(vector_lanes) };

typedef R KERNEL(vector) __attribute__((ext_vector_type(VECTOR_BYTES / sizeof(R))));
typedef uint16_t KERNEL(rounded_vector) __attribute__((ext_vector_type(VECTOR_BYTES / sizeof(R))));
typedef uint32_t KERNEL(bits_vector) __attribute__((ext_vector_type(VECTOR_BYTES / sizeof(R))));
typedef float KERNEL(single_vector) __attribute__((ext_vector_type(VECTOR_BYTES / sizeof(R))));

INLINE KERNEL(vector) KERNEL(load)(const R *values) {
  KERNEL(vector) result;
  memcpy(&result, values, sizeof result);
  return result;
}

INLINE void KERNEL(store)(R *values, KERNEL(vector) vector) { memcpy(values, &vector, sizeof vector); }

// The first `count` elements; the others are 0, and are not read.
INLINE KERNEL(vector) KERNEL(load_part)(const R *values, size_t count) {
  R part[KERNEL(vector_lanes)] = {0};
  memcpy(part, values, count * sizeof(R));
  return KERNEL(load)(part);
}

INLINE void KERNEL(store_part)(R *values, KERNEL(vector) vector, size_t count) {
  R part[KERNEL(vector_lanes)];
  KERNEL(store)(part, vector);
  memcpy(values, part, count * sizeof(R));
}

// A vector of B from element `index` on.
INLINE KERNEL(vector) KERNEL(load_right)(const void *B, size_t index, int is_rounded) {
  if (!is_rounded) return KERNEL(load)((const R *)B + index);
  KERNEL(rounded_vector) rounded;
  memcpy(&rounded, (const uint16_t *)B + index, sizeof rounded);
  KERNEL(bits_vector) bits = __builtin_convertvector(rounded, KERNEL(bits_vector)) << 16;
  KERNEL(single_vector) single;
  memcpy(&single, &bits, sizeof single);
  return __builtin_convertvector(single, KERNEL(vector));
}

// A tile of at most TILE_ROWS rows and `width` columns. A(r, k) is at r a_row + k a_column.
typedef struct {
  size_t K;
  const R *A;
  size_t a_row, a_column;
  const void *B;
  size_t b_row;
  R *C;
  size_t c_row, width;
  int accumulate;
  prefetch next;
  // The tile of C after this one, if sums are added to it.
  const R *next_C;
} KERNEL(tile);

// `rows`, `vectors`, `is_rounded` and one of the steps in A, 1, are constants in every instance.
INLINE void KERNEL(multiply_tile)(const KERNEL(tile) *t, int rows, int vectors, int is_rounded, size_t a_row, size_t a_column) {
  KERNEL(vector) sums[TILE_ROWS][TILE_VECTORS];
  const R *A = t->A;
  const void *B = t->B;
  size_t K = t->K, b_row = t->b_row, size = is_rounded ? sizeof(uint16_t) : sizeof(R), lanes = KERNEL(vector_lanes);
  size_t last = t->width - (size_t)(vectors - 1) * lanes;
  prefetch next = t->next;
  if (PREFETCHES_SUMS && t->next_C)
    UNROLL for (int r = 0; r < rows; r++)
      UNROLL for (int v = 0; v < vectors; v++)
        if (v * VECTOR_BYTES % LINE_BYTES == 0) __builtin_prefetch(t->next_C + r * t->c_row + v * lanes, 0, 3);
  UNROLL for (int r = 0; r < rows; r++)
    UNROLL for (int v = 0; v < vectors; v++) {
      const R *c = t->C + r * t->c_row + v * lanes;
      if (!t->accumulate) sums[r][v] = (KERNEL(vector))(0);
      else sums[r][v] = v < vectors - 1 || last == lanes ? KERNEL(load)(c) : KERNEL(load_part)(c, last);
    }
  UNROLLED for (size_t k = 0; k < K; k++) {
    KERNEL(vector) b[TILE_VECTORS];
    UNROLL for (int v = 0; v < vectors; v++) {
      b[v] = KERNEL(load_right)(B, k * b_row + v * lanes, is_rounded);
      // What is larger than the first-level cache: ask for it some steps ahead.
      if (PREFETCHES_PANEL && v * VECTOR_BYTES % LINE_BYTES == 0)
        __builtin_prefetch((const char *)B + ((k + 8) * b_row + v * lanes) * size, 0, 3);
    }
    if (PREFETCHES_BLOCK) __builtin_prefetch(next.line, 0, 2);
    if (PREFETCHES_BLOCK && TILE_VECTORS * VECTOR_BYTES > LINE_BYTES) __builtin_prefetch(next.line + next.step - LINE_BYTES, 0, 2);
    next.line += next.step;
    UNROLL for (int r = 0; r < rows; r++) {
      KERNEL(vector) a = (KERNEL(vector))(A[r * a_row + k * a_column]);
      UNROLL for (int v = 0; v < vectors; v++) {
        sums[r][v] = FMA_OF_VECTORS(a, b[v], sums[r][v]);
        // Row by row: were all broadcasts done first, as compilers like to, the sums would not stay in registers.
        STAYS_IN_REGISTER(sums[r][v]);
      }
    }
  }
  UNROLL for (int r = 0; r < rows; r++)
    UNROLL for (int v = 0; v < vectors; v++) {
      R *c = t->C + r * t->c_row + v * lanes;
      if (v < vectors - 1 || last == lanes) KERNEL(store)(c, sums[r][v]);
      else KERNEL(store_part)(c, sums[r][v], last);
    }
}

INLINE void KERNEL(multiply_rows)(const KERNEL(tile) *t, int rows, int is_rounded, size_t a_row, size_t a_column) {
  size_t vectors = quotient_up(t->width, KERNEL(vector_lanes));
  if (vectors == 1) KERNEL(multiply_tile)(t, rows, 1, is_rounded, a_row, a_column);
  else if (vectors == 2) KERNEL(multiply_tile)(t, rows, 2, is_rounded, a_row, a_column);
#if TILE_VECTORS > 2
  else if (vectors == 3) KERNEL(multiply_tile)(t, rows, 3, is_rounded, a_row, a_column);
#endif
#if TILE_VECTORS > 3
  else KERNEL(multiply_tile)(t, rows, 4, is_rounded, a_row, a_column);
#endif
}

#define ROWS(rows) case rows: KERNEL(multiply_rows)(t, rows, is_rounded, A_STEPS); break;
#if TILE_ROWS > 6
#define EACH_ROWS ROWS(1) ROWS(2) ROWS(3) ROWS(4) ROWS(5) ROWS(6) ROWS(7) ROWS(8)
#else
#define EACH_ROWS ROWS(1) ROWS(2) ROWS(3) ROWS(4) ROWS(5) ROWS(6)
#endif

// Rows of A that lie from end to end.
INLINE void KERNEL(multiply_with_rows)(const KERNEL(tile) *t, size_t rows, int is_rounded) {
#define A_STEPS t->a_row, 1
  switch (rows) { EACH_ROWS }
#undef A_STEPS
}

// Columns of A that lie from end to end, such as those of a strip.
INLINE void KERNEL(multiply_with_columns)(const KERNEL(tile) *t, size_t rows, int is_rounded) {
#define A_STEPS 1, t->a_column
  switch (rows) { EACH_ROWS }
#undef A_STEPS
}
#undef EACH_ROWS
#undef ROWS

static void KERNEL(multiply_exact)(const KERNEL(tile) *t, size_t rows) {
  if (t->a_column == 1) KERNEL(multiply_with_rows)(t, rows, 0);
  else KERNEL(multiply_with_columns)(t, rows, 0);
}

static void KERNEL(multiply_rounded)(const KERNEL(tile) *t, size_t rows) {
  if (t->a_column == 1) KERNEL(multiply_with_rows)(t, rows, 1);
  else KERNEL(multiply_with_columns)(t, rows, 1);
}

// Copies columns of A that lie from end to end to a strip [K, TILE_ROWS], which every panel of B then reads. Of `rows` rows, so many
// columns are within A.
INLINE void KERNEL(copy_strip)(size_t rows, size_t within, size_t K, const R *A, size_t a_column, R *strip) {
  for (size_t k = 0; k < K; k++) {
    // The rows are too far apart for the processor to prefetch them.
    __builtin_prefetch(A + (k + 16) * a_column, 0, 3);
    // A copy of constant length is a few instructions.
    if (within >= TILE_ROWS) memcpy(strip + k * TILE_ROWS, A + k * a_column, TILE_ROWS * sizeof(R));
    else memcpy(strip + k * TILE_ROWS, A + k * a_column, rows * sizeof(R));
  }
}

// Copies the panel of `width` columns at column n of rows k ..< k + depth of a B that is not packed, padded with zeros.
static void KERNEL(copy_panel)(const lockstep_product *p, size_t k, size_t n, size_t width, size_t depth, R *panel) {
  memset(panel, 0, depth * KERNEL(panel) * sizeof(R));
  for (size_t i = 0; i < depth; i++) memcpy(panel + i * KERNEL(panel), (const R *)p->B + (k + i) * p->b_row + n, width * sizeof(R));
}

static void KERNEL(product)(const lockstep_product *p) {
  enum { PANEL = KERNEL(panel) };
  if (p->M == 0) return;
  R strip[DEPTH * TILE_ROWS], edge[DEPTH * PANEL];
  const R *A = p->A;
  size_t M = p->M, N = p->N, size = p->is_rounded ? sizeof(uint16_t) : sizeof(R), depth = depth_of(p->K);
  size_t groups = quotient_up(M, TILE_ROWS);
  // A strip is worth a block of several panels even for few rows.
  int is_copied = p->a_column != 1;
  size_t columns = block_columns(is_copied ? SIZE_MAX : M, depth, PANEL, size);
  // A vector that ends past B's columns would read past its end: the last panel is then copied.
  size_t odd = p->b_row && N % KERNEL(vector_lanes) ? N % PANEL : 0;
  // For all columns before the next k, so that A's part stays in cache.
  for (size_t k = 0; k < p->K; k += depth) {
    size_t kc = least(p->K - k, depth);
    if (odd) KERNEL(copy_panel)(p, k, N - odd, odd, kc, edge);
    for (size_t first = 0; first < N; first += columns) {
      size_t end = least(N, first + columns);
      for (size_t group = 0; group < groups; group++) {
        size_t m = M * group / groups, rows = M * (group + 1) / groups - m;
        KERNEL(tile) tile = {
          .K = kc, .A = A + m * p->a_row + k * p->a_column, .a_row = p->a_row, .a_column = p->a_column, .c_row = p->c_row,
          .accumulate = p->accumulate || k > 0};
        if (is_copied) {
          KERNEL(copy_strip)(rows, M - m, kc, tile.A, p->a_column, strip);
          tile.A = strip;
          tile.a_column = TILE_ROWS;
        }
        for (size_t n = first; n < end; n += PANEL) {
          tile.width = least(N - n, PANEL);
          tile.B = (const char *)p->B + element_of_B(p, k, n, PANEL) * size;
          tile.b_row = p->b_row ? p->b_row : PANEL;
          if (odd && n + tile.width == N) {
            tile.B = edge;
            tile.b_row = PANEL;
          }
          tile.C = (R *)p->C + m * p->c_row + n;
          tile.next_C = !tile.accumulate ? NULL : n + PANEL < end ? tile.C + PANEL : (R *)p->C + least(m + rows, M - 1) * p->c_row + first;
          tile.next = (prefetch){tile.B, 0};
          if (!p->b_row) {
            // The panel as far on in the next block: that of the next columns, or of the next k.
            size_t later_n = n + columns, later_k = k;
            if (later_n >= N) {
              later_n = n - first;
              later_k += depth;
            }
            if (later_k < p->K)
              tile.next = share_of_panel((const char *)p->B + element_of_B(p, later_k, later_n, PANEL) * size,
                                         kc * PANEL * size, group, groups, kc);
          }
          if (p->is_rounded) KERNEL(multiply_rounded)(&tile, rows);
          else KERNEL(multiply_exact)(&tile, rows);
        }
      }
    }
  }
}

// ---- Transposing and packing -----------------------------------------------------------------------------------------------

INLINE KERNEL(vector) KERNEL(interleave)(KERNEL(vector) a, KERNEL(vector) b, int upper) {
#if VECTOR_BYTES / REAL_BYTES == 16
  return upper ? __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31)
               : __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
#elif VECTOR_BYTES / REAL_BYTES == 8
  return upper ? __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15) : __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11);
#elif VECTOR_BYTES / REAL_BYTES == 4
  return upper ? __builtin_shufflevector(a, b, 2, 6, 3, 7) : __builtin_shufflevector(a, b, 0, 4, 1, 5);
#else
  return upper ? __builtin_shufflevector(a, b, 1, 3) : __builtin_shufflevector(a, b, 0, 2);
#endif
}

// out[c, r] = x[r, c] for a square of as many rows as a vector has lanes L: log2 L times, row i and row i + L / 2 are interleaved.
INLINE void KERNEL(transpose_square)(const R *x, size_t x_row, R *out, size_t out_row) {
  enum { L = KERNEL(vector_lanes) };
  KERNEL(vector) rows[L], mixed[L];
  UNROLL for (int i = 0; i < L; i++) rows[i] = KERNEL(load)(x + i * x_row);
  UNROLL for (int half = L / 2; half > 0; half /= 2) {
    UNROLL for (int i = 0; i < L / 2; i++) {
      mixed[2 * i] = KERNEL(interleave)(rows[i], rows[i + L / 2], 0);
      mixed[2 * i + 1] = KERNEL(interleave)(rows[i], rows[i + L / 2], 1);
    }
    UNROLL for (int i = 0; i < L; i++) rows[i] = mixed[i];
  }
  UNROLL for (int i = 0; i < L; i++) KERNEL(store)(out + i * out_row, rows[i]);
}

static void KERNEL(transpose)(size_t rows, size_t columns, const void *matrix, size_t x_row, void *result, size_t out_row) {
  enum { L = KERNEL(vector_lanes) };
  for (size_t r = 0; r < rows; r += L)
    for (size_t c = 0; c < columns; c += L) {
      const R *x = (const R *)matrix + r * x_row + c;
      R *out = (R *)result + c * out_row + r;
      if (rows - r >= L && columns - c >= L) KERNEL(transpose_square)(x, x_row, out, out_row);
      else
        for (size_t j = 0; j < least(L, columns - c); j++)
          for (size_t i = 0; i < least(L, rows - r); i++) out[j * out_row + i] = x[i * x_row + j];
    }
}

// Packs `width` columns of B, k in a row of W if stride_k is 1, to a panel of K rows.
static void KERNEL(pack_panel)(const lockstep_packing *p, size_t first, size_t k, size_t depth, R *panel) {
  enum { PANEL = KERNEL(panel) };
  size_t width = least(p->N - first, PANEL);
  const R *W = (const R *)p->W + first * p->stride_n + k * p->stride_k;
  if (p->stride_k == 1) KERNEL(transpose)(width, depth, W, p->stride_n, panel, PANEL);
  else
    for (size_t i = 0; i < depth; i++) memcpy(panel + i * PANEL, W + i * p->stride_k, width * sizeof(R));
  if (width < PANEL)
    for (size_t i = 0; i < depth; i++) memset(panel + i * PANEL + width, 0, (PANEL - width) * sizeof(R));
}

static void KERNEL(pack)(const lockstep_packing *p) {
  // Parts of a panel whose source and copy stay in the first-level cache.
  enum { PANEL = KERNEL(panel), PART = 128 };
  R exact[PART * PANEL];
  for (size_t first = 0; first < p->N; first += PANEL)
    for (size_t k = 0; k < p->K; k += PART) {
      size_t depth = least(PART, p->K - k), place = first * p->K + k * PANEL;
      if (!p->is_rounded) {
        KERNEL(pack_panel)(p, first, k, depth, (R *)p->packed + place);
        continue;
      }
      KERNEL(pack_panel)(p, first, k, depth, exact);
      ELEMENTWISE for (size_t i = 0; i < depth * PANEL; i++)
        ((uint16_t *)p->packed)[place + i] = (uint16_t)encode_bfloat16((float)exact[i]);
    }
}
