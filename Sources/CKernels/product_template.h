// Products and packing, written once for a real type R and any length of vectors; included with R, KERNEL, FMA_OF_VECTORS,
// VECTOR_BYTES, TILE_VECTORS, TILE_ROWS, STRIPS_TOGETHER, DEPTH_OF_STRIPS, UNROLLED and STAYS_IN_REGISTER defined, and
// `prefetch_plan.h` included.
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

// Copies fewer elements than a vector has. Each copy has a constant length: it is an instruction or two.
INLINE void KERNEL(copy_part)(R *out, const R *values, size_t count) {
  UNROLL for (size_t length = KERNEL(vector_lanes) / 2; length > 0; length /= 2)
    if (count & length) {
      memcpy(out, values, length * sizeof(R));
      out += length;
      values += length;
    }
}

// The first `count` elements; the others are 0, and are not read.
INLINE KERNEL(vector) KERNEL(load_part)(const R *values, size_t count) {
  R part[KERNEL(vector_lanes)] = {0};
  KERNEL(copy_part)(part, values, count);
  return KERNEL(load)(part);
}

INLINE void KERNEL(store_part)(R *values, KERNEL(vector) vector, size_t count) {
  R part[KERNEL(vector_lanes)];
  KERNEL(store)(part, vector);
  KERNEL(copy_part)(values, part, count);
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

// A tile of at most TILE_ROWS rows and `width` columns. A(r, k) is at r a_row + k a_column; B is part of a panel.
typedef struct {
  size_t K;
  const R *A;
  size_t a_row, a_column;
  const void *B;
  R *C;
  size_t c_row, width;
  int accumulate;
  prefetch next;
  // The tile of C after this one, if sums are added to it.
  const R *next_C;
  // Receives a transposed A as a strip [K, TILE_ROWS], or NULL.
  R *strip;
  // Receives a panel of B whose rows are b_row apart, or NULL.
  R *panel;
  size_t b_row;
} KERNEL(tile);

// sums += A[:, 0] B[0, :]. `rows`, `vectors`, `is_rounded` and one of the steps in A are constants in every instance.
INLINE void KERNEL(multiply_add)(const R *A, size_t a_row, const void *B, KERNEL(vector) sums[TILE_ROWS][TILE_VECTORS], int rows,
                                 int vectors, int is_rounded) {
  KERNEL(vector) b[TILE_VECTORS];
  size_t size = is_rounded ? sizeof(uint16_t) : sizeof(R);
  UNROLL for (int v = 0; v < vectors; v++) {
    b[v] = KERNEL(load_right)(B, v * KERNEL(vector_lanes), is_rounded);
    // What is larger than the first-level cache: ask for it some steps ahead.
    if (PREFETCHES_PANEL && v * VECTOR_BYTES % LINE_BYTES == 0)
      __builtin_prefetch((const char *)B + (8 * KERNEL(panel) + v * KERNEL(vector_lanes)) * size, 0, 3);
  }
  UNROLL for (int r = 0; r < rows; r++) {
    KERNEL(vector) a = (KERNEL(vector))(A[r * a_row]);
    UNROLL for (int v = 0; v < vectors; v++) {
      sums[r][v] = FMA_OF_VECTORS(a, b[v], sums[r][v]);
      // Row by row: were all broadcasts done first, as compilers like to, the sums would not stay in registers.
      STAYS_IN_REGISTER(sums[r][v]);
    }
  }
}

INLINE void KERNEL(multiply_tile)(const KERNEL(tile) *t, int rows, int vectors, int is_rounded, int prefetches, int copies_A,
                                  int copies_B, size_t a_row, size_t a_column) {
  KERNEL(vector) sums[TILE_ROWS][TILE_VECTORS];
  // Copies: a prefetch may change memory, as far as the compiler knows.
  const R *A = t->A;
  const char *B = t->B;
  size_t K = t->K, lanes = KERNEL(vector_lanes), k = 0;
  size_t b_row = copies_B ? t->b_row * sizeof(R) : KERNEL(panel) * (is_rounded ? sizeof(uint16_t) : sizeof(R));
  size_t last = t->width - (size_t)(vectors - 1) * lanes;
  prefetch next = t->next;
  R *strip = t->strip, *panel = t->panel;
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
  for (; k + UNROLLED <= K; k += UNROLLED)
    UNROLL for (int i = 0; i < UNROLLED; i++) {
      if (prefetches && i % PREFETCH_EVERY == 0) {
        UNROLL for (int j = 0; j < MOST_LINES; j++) {
          __builtin_prefetch(next.line[j], 0, 3);
          next.line[j] += next.step[j];
        }
      }
      if (copies_A) memcpy(strip + (k + i) * TILE_ROWS, A + (k + i) * a_column, rows * sizeof(R));
      if (copies_B) memcpy(panel + (k + i) * KERNEL(panel), B + (k + i) * b_row, KERNEL(panel) * sizeof(R));
      KERNEL(multiply_add)(A + (k + i) * a_column, a_row, B + (k + i) * b_row, sums, rows, vectors, is_rounded);
    }
  for (; k < K; k++) {
    if (copies_A) memcpy(strip + k * TILE_ROWS, A + k * a_column, rows * sizeof(R));
    if (copies_B) memcpy(panel + k * KERNEL(panel), B + k * b_row, KERNEL(panel) * sizeof(R));
    KERNEL(multiply_add)(A + k * a_column, a_row, B + k * b_row, sums, rows, vectors, is_rounded);
  }
  UNROLL for (int r = 0; r < rows; r++)
    UNROLL for (int v = 0; v < vectors; v++) {
      R *c = t->C + r * t->c_row + v * lanes;
      if (v < vectors - 1 || last == lanes) KERNEL(store)(c, sums[r][v]);
      else KERNEL(store_part)(c, sums[r][v], last);
    }
}

// What is prefetched is much larger than a tile: the narrow last panel does without. Of a B that is not packed it is copied before.
INLINE void KERNEL(multiply_rows)(const KERNEL(tile) *t, int rows, int is_rounded, int prefetches, int copies_A, int copies_B,
                                 size_t a_row, size_t a_column) {
  size_t vectors = quotient_up(t->width, KERNEL(vector_lanes));
  if (copies_B || vectors == TILE_VECTORS)
    KERNEL(multiply_tile)(t, rows, TILE_VECTORS, is_rounded, prefetches, copies_A, copies_B, a_row, a_column);
#if TILE_VECTORS > 1
  else if (vectors == 1) KERNEL(multiply_tile)(t, rows, 1, is_rounded, 0, copies_A, 0, a_row, a_column);
#endif
#if TILE_VECTORS > 2
  else if (vectors == 2) KERNEL(multiply_tile)(t, rows, 2, is_rounded, 0, copies_A, 0, a_row, a_column);
#endif
#if TILE_VECTORS > 3
  else KERNEL(multiply_tile)(t, rows, 3, is_rounded, 0, copies_A, 0, a_row, a_column);
#endif
}

#define ROWS(rows) \
  case rows: KERNEL(multiply_rows)(t, rows, is_rounded, prefetches, COPIES_A, copies_B, A_STEPS); break;
#if TILE_ROWS > 6
#define EACH_ROWS ROWS(1) ROWS(2) ROWS(3) ROWS(4) ROWS(5) ROWS(6) ROWS(7) ROWS(8)
#else
#define EACH_ROWS ROWS(1) ROWS(2) ROWS(3) ROWS(4) ROWS(5) ROWS(6)
#endif

// Rows of A that lie from end to end.
INLINE void KERNEL(multiply_with_rows)(const KERNEL(tile) *t, size_t rows, int is_rounded, int prefetches, int copies_B) {
#define COPIES_A 0
#define A_STEPS t->a_row, 1
  switch (rows) { EACH_ROWS }
#undef A_STEPS
}

// A strip.
INLINE void KERNEL(multiply_with_strip)(const KERNEL(tile) *t, size_t rows, int is_rounded, int prefetches, int copies_B) {
#define A_STEPS 1, TILE_ROWS
  switch (rows) { EACH_ROWS }
#undef A_STEPS
}
#undef COPIES_A

// Columns of A that lie from end to end, copied to a strip on the way.
INLINE void KERNEL(multiply_with_columns)(const KERNEL(tile) *t, size_t rows, int is_rounded, int prefetches, int copies_B) {
#define COPIES_A 1
#define A_STEPS 1, t->a_column
  switch (rows) { EACH_ROWS }
#undef A_STEPS
#undef COPIES_A
}
#undef EACH_ROWS
#undef ROWS

// Tiles that copy B, of one group of rows, do without prefetches: they would double the instances.
#define MULTIPLY(factor, is_rounded)                                                     \
  if (t->next.line[0]) KERNEL(multiply_with_##factor)(t, rows, is_rounded, 1, 0);         \
  else KERNEL(multiply_with_##factor)(t, rows, is_rounded, 0, 0)

static void KERNEL(multiply_exact)(const KERNEL(tile) *t, size_t rows) {
  if (t->panel && t->strip) KERNEL(multiply_with_columns)(t, rows, 0, 0, 1);
  else if (t->panel && t->a_column == 1) KERNEL(multiply_with_rows)(t, rows, 0, 0, 1);
  else if (t->panel) KERNEL(multiply_with_strip)(t, rows, 0, 0, 1);
  else if (t->strip) { MULTIPLY(columns, 0); }
  else if (t->a_column == 1) { MULTIPLY(rows, 0); }
  else { MULTIPLY(strip, 0); }
}

static void KERNEL(multiply_rounded)(const KERNEL(tile) *t, size_t rows) {
  if (t->strip) KERNEL(multiply_with_columns)(t, rows, 1, 0, 0);
  else if (t->a_column == 1) { MULTIPLY(rows, 1); }
  else KERNEL(multiply_with_strip)(t, rows, 1, 0, 0);
}
#undef MULTIPLY

// Copies `width` columns of B, fewer than a panel has, to a panel of `depth` rows, padded with zeros.
static void KERNEL(copy_narrow_panel)(const R *B, size_t b_row, size_t width, size_t depth, R *panel) {
  memset(panel, 0, depth * KERNEL(panel) * sizeof(R));
  for (size_t k = 0; k < depth; k++) memcpy(panel + k * KERNEL(panel), B + k * b_row, width * sizeof(R));
}

// What one pass multiplies: columns n ..< n + width and k ..< k + depth. `strip` has room for STRIPS_TOGETHER groups of rows of A, and
// `copy` for the block, if B is not packed.
typedef struct {
  size_t n, width, k, depth;
  R *strip, *copy;
  region *soon;
} KERNEL(block);

// Copies groups of rows of a transposed A, STRIPS_TOGETHER from `first` on, to strips [depth, TILE_ROWS] one after another: the rows of a
// group are less than a line of memory, and the next line lies in another page.
static void KERNEL(copy_strips)(const lockstep_product *p, const KERNEL(block) *b, size_t first, size_t groups) {
  size_t count = least(groups - first, STRIPS_TOGETHER), start[STRIPS_TOGETHER + 1];
  for (size_t g = 0; g <= count; g++) start[g] = p->M * (first + g) / groups;
  // Whole tiles of rows, of which a narrow group does not read the last, unless A ends before.
  size_t whole = count;
  while (whole > 0 && start[whole - 1] + TILE_ROWS > p->M) whole--;
  for (size_t k = 0; k < b->depth; k++) {
    const R *A = (const R *)p->A + (b->k + k) * p->a_column;
    R *strip = b->strip + k * TILE_ROWS;
    for (size_t g = 0; g < whole; g++) memcpy(strip + g * b->depth * TILE_ROWS, A + start[g], TILE_ROWS * sizeof(R));
    for (size_t g = whole; g < count; g++)
      for (size_t m = start[g]; m < start[g + 1]; m++) strip[g * b->depth * TILE_ROWS + m - start[g]] = A[m];
  }
}

// Groups of rows go by while the panels stay in the second-level cache; a group stays in the first-level cache over all panels. A
// transposed group is copied to a strip, together with the next ones or, if STRIPS_TOGETHER is 1, by the tile of the first panel.
// A B that is not packed is copied to panels by the tiles of the first group: its rows lie far apart and fall into few sets of the first-level cache.
static void KERNEL(multiply_block)(const lockstep_product *p, const KERNEL(block) *b) {
  enum { PANEL = KERNEL(panel) };
  size_t size = p->is_rounded ? sizeof(uint16_t) : sizeof(R), end = b->n + b->width, groups = quotient_up(p->M, TILE_ROWS);
  // The block that is used next: that of the next columns, or the first of the next k.
  size_t later_n = end < p->N ? end : 0, later_k = end < p->N ? b->k : b->k + b->depth;
  int is_packed = p->b_row == 0, prefetches = is_packed && later_k < p->K && prefetches_blocks(p->M, p->N * p->K * size);
  for (size_t group = 0; group < groups; group++) {
    size_t m = p->M * group / groups, rows = p->M * (group + 1) / groups - m;
    KERNEL(tile) tile = {
      .K = b->depth, .A = (const R *)p->A + m * p->a_row + b->k * p->a_column, .a_row = p->a_row, .a_column = p->a_column,
      .b_row = p->b_row, .c_row = p->c_row, .accumulate = p->accumulate || b->k > 0, .strip = p->a_column == 1 ? NULL : b->strip};
    if (STRIPS_TOGETHER > 1 && tile.strip) {
      size_t index = group % STRIPS_TOGETHER;
      if (index == 0) KERNEL(copy_strips)(p, b, group, groups);
      tile.A = b->strip + index * b->depth * TILE_ROWS, tile.a_row = 1, tile.a_column = TILE_ROWS, tile.strip = NULL;
    }
    for (size_t n = b->n; n < end; n += PANEL) {
      tile.width = least(end - n, PANEL);
      R *panel = b->copy + (n - b->n) * b->depth;
      tile.B = is_packed ? (const char *)p->B + element_of_panel(p, b->k, n, PANEL) * size : (const char *)panel;
      tile.panel = NULL;
      if (!is_packed && group == 0) {
        const R *B = (const R *)p->B + b->k * p->b_row + n;
        if (tile.width < PANEL) KERNEL(copy_narrow_panel)(B, p->b_row, tile.width, b->depth, panel);
        else tile.B = B, tile.panel = panel;
      }
      tile.C = (R *)p->C + m * p->c_row + n;
      if (tile.accumulate) tile.next_C = n + PANEL < end ? tile.C + PANEL : (R *)p->C + least(m + rows, p->M - 1) * p->c_row + b->n;
      tile.next = (prefetch){0};
      if (prefetches)
        tile.next = share_of_panel((const char *)p->B + element_of_panel(p, later_k, least(later_n + n - b->n, p->N - 1), PANEL) * size,
                                   b->depth * PANEL * size, group, groups, b->depth);
      // Rows that come from memory would keep the first panel waiting.
      if (PREFETCHES_ROWS && n == b->n && m + rows < p->M && (tile.strip || tile.a_column == 1))
        add_lines(&tile.next, (const char *)(tile.A + rows * tile.a_row), tile.strip ? tile.a_column * sizeof(R) : LINE_BYTES);
      else if (!tile.panel && tile.width == PANEL) add_region(&tile.next, b->soon, b->depth);
      if (p->is_rounded) KERNEL(multiply_rounded)(&tile, rows);
      else KERNEL(multiply_exact)(&tile, rows);
      if (tile.strip) tile.A = tile.strip, tile.a_column = TILE_ROWS, tile.strip = NULL;
    }
  }
}

static void KERNEL(product)(const lockstep_product *p) {
  enum { PANEL = KERNEL(panel) };
  enum { STRIP = STRIPS_TOGETHER * DEPTH_OF_STRIPS > DEPTH ? STRIPS_TOGETHER * DEPTH_OF_STRIPS : DEPTH };
  R strip[STRIP * TILE_ROWS], copy[MOST_BLOCK_BYTES / sizeof(R)];
  size_t depth = depth_of(p, DEPTH_OF_STRIPS), size = p->is_rounded ? sizeof(uint16_t) : sizeof(R);
  size_t wide = block_columns(p->M, depth, PANEL, size);
  region soon = {p->soon, PREFETCHES_SOON ? p->soon_bytes : 0};
  KERNEL(block) block = {.strip = strip, .copy = copy, .soon = &soon};
  for (block.k = 0; block.k < p->K; block.k += depth) {
    block.depth = least(p->K - block.k, depth);
    for (block.n = 0; block.n < p->N; block.n += wide) {
      block.width = least(p->N - block.n, wide);
      KERNEL(multiply_block)(p, &block);
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
