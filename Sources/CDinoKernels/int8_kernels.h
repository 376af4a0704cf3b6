/* The int8 kernels, written once and compiled by each instruction set's file. Integers are exact, and the floats around them follow exact.h:
   every table gives the same bits. The including file defines
     DK_LANES    32-bit lanes of a register
     DK_VECTORS  registers side by side in a tile: NR = DK_LANES · DK_VECTORS, a multiple of 16
     DK_ROWS     rows of a register tile, and DK_EACH_ROW(X) that lists 1 to DK_ROWS
     DK_NAME(x)  the function's name with the instruction set's suffix
     DK_DEPTH    values in a word of 32 bits: 4 bytes, or 2 numbers of 16 bits
     DK_ZERO     what stands for 0 in a word of A: 128 where the instruction wants unsigned bytes, else 0
     DK_DOT(acc, a, b)  acc + the products of the values of each lane's word; a is of A, b signed
     DK_DOT_LEVELS(acc, a, b)  the same where a is signed and b is 0 to 127
     DK_KEY_ZERO        what DK_ZERO is for keys
     DK_START(sum)      what an accumulator starts from, given the sum of its column of b: what DK_ZERO adds is taken off here
     DK_WIDEN(p)        a register of words from the bytes of a packed matrix at p (of DK_DEPTH · DK_LANES bytes)
     DK_TILE_DOT, DK_TILE_DOT_LEVELS, DK_TILE_DOT_SIGNED, DK_TILE_START  where there are tile registers, for amx_tiles.h

   A row of A is words of DK_DEPTH values. A packed matrix is panels of NR columns: NR start values (int32), the NR columns' sums (float), then for each DK_DEPTH rows of B the NR columns'
   bytes. Depth is filled up to whole words with zeros. A panel of words (attention makes them) is the same with words in place of bytes. */
#include "exact.h"

#define DK_NR (DK_LANES * DK_VECTORS)
/* Rows whose epilogues are done side by side. */
#define DK_TOGETHER (DK_LANES == 16 ? 4 : 1)
_Static_assert(DK_NR % E_LANES == 0, "a panel is whole vectors of 16");
typedef int32_t W __attribute__((ext_vector_type(DK_LANES)));
typedef int32_t W_any __attribute__((ext_vector_type(DK_LANES), aligned(4)));
#define DK_WORDS(k) (((k) + DK_DEPTH - 1) / DK_DEPTH)
#ifdef DK_TILE_DOT
#include "amx_tiles.h"
#define DK_PANEL_WORDS(k) AMX_PANEL_WORDS(DK_WORDS(k))
#define DK_BY_CHANNEL 1
#else
#define DK_PANEL_WORDS(k) DK_WORDS(k)
#define DK_BY_CHANNEL 0
#endif

#ifndef DK_TILE_DOT
/* ---- The register tile: out[rows × NR] = start + A · B over `words` words of depth. ----
   by_row: A's rows are `stride` words apart and its depth is contiguous; otherwise depth is `stride` apart and rows are contiguous.
   wide: B is words; otherwise bytes. */
#define DK_TILE_ARGS const int32_t *a, ptrdiff_t stride, const void *panel, ptrdiff_t words, const int32_t *start, int32_t *out, const char *prefetch
typedef void (*DK_NAME(tile_f))(DK_TILE_ARGS);

DK_INLINE void DK_NAME(tile)(DK_TILE_ARGS, const int rows, const int vectors, const int by_row, const int wide) {
  W acc[DK_ROWS][DK_VECTORS];
  const char *b = panel;
  const ptrdiff_t row = by_row ? stride : 1, column = by_row ? 1 : stride, unit = wide ? 4 : DK_DEPTH;
  DK_UNROLL for (int i = 0; i < rows; i++)
    DK_UNROLL for (int j = 0; j < vectors; j++) acc[i][j] = *(const W_any *)(start + j * DK_LANES);
  ptrdiff_t p = 0;
#define DK_STEP(kk)                                                                                        \
  {                                                                                                        \
    W bv[DK_VECTORS];                                                                                      \
    DK_UNROLL for (int j = 0; j < vectors; j++) {                                                          \
      const char *at = b + ((kk) * DK_NR + j * DK_LANES) * unit;                                           \
      bv[j] = wide ? *(const W_any *)at : DK_WIDEN(at);                                                    \
    }                                                                                                      \
    DK_UNROLL for (int i = 0; i < rows; i++) {                                                             \
      W av = (W)(a[i * row + (kk) * column]);                                                              \
      DK_UNROLL for (int j = 0; j < vectors; j++) acc[i][j] = by_row ? DK_DOT(acc[i][j], av, bv[j]) : DK_DOT_LEVELS(acc[i][j], av, bv[j]); \
    }                                                                                                      \
  }
  for (; p + 4 <= words; p += 4) {
    __builtin_prefetch(prefetch, 0, 2);
    __builtin_prefetch(prefetch + 64, 0, 2);
    prefetch += 128;
    DK_STEP(0) DK_STEP(1) DK_STEP(2) DK_STEP(3)
    a += 4 * column;
    b += 4 * DK_NR * unit;
  }
  for (; p < words; p++) {
    DK_STEP(0)
    a += column;
    b += DK_NR * unit;
  }
#undef DK_STEP
  DK_UNROLL for (int i = 0; i < rows; i++)
    DK_UNROLL for (int j = 0; j < vectors; j++) *(W_any *)(out + i * DK_NR + j * DK_LANES) = acc[i][j];
}

#define DK_TILE_CALL(rows, vectors, by_row, wide) DK_NAME(tile)(a, stride, panel, words, start, out, prefetch, rows, vectors, by_row, wide)
#define DK_TILE_INSTANCE(rows)                                                                             \
  static void DK_NAME(tile_matrix_##rows)(DK_TILE_ARGS) { DK_TILE_CALL(rows, DK_VECTORS, 1, 0); }          \
  static void DK_NAME(tile_row_##rows)(DK_TILE_ARGS) { DK_TILE_CALL(rows, DK_VECTORS, 1, 1); }             \
  static void DK_NAME(tile_column_##rows)(DK_TILE_ARGS) { DK_TILE_CALL(rows, DK_VECTORS, 0, 1); }          \
  static void DK_NAME(tile_half_row_##rows)(DK_TILE_ARGS) { DK_TILE_CALL(rows, DK_VECTORS / 2, 1, 1); }    \
  static void DK_NAME(tile_half_column_##rows)(DK_TILE_ARGS) { DK_TILE_CALL(rows, DK_VECTORS / 2, 0, 1); }
DK_EACH_ROW(DK_TILE_INSTANCE)

#define DK_ENTRY(rows) {DK_NAME(tile_matrix_##rows), DK_NAME(tile_row_##rows), DK_NAME(tile_column_##rows), DK_NAME(tile_half_row_##rows), DK_NAME(tile_half_column_##rows)},
enum { TILE_MATRIX = 0, TILE_ROW = 1, TILE_COLUMN = 2, TILE_HALF_ROW = 3, TILE_HALF_COLUMN = 4 };
static const DK_NAME(tile_f) DK_NAME(tiles)[DK_ROWS][5] = {DK_EACH_ROW(DK_ENTRY)};

/* Rows of the next tile: whole tiles, and the last two of nearly equal height, because a very low tile waits for its own sums. */
DK_INLINE ptrdiff_t DK_NAME(next_rows)(ptrdiff_t left) {
  return left >= 2 * DK_ROWS || left == DK_ROWS ? DK_ROWS : left > DK_ROWS ? (left + 1) / 2 : left;
}
#endif

/* ---- Packing ---- */
static ptrdiff_t DK_NAME(dk_i8_panel_bytes)(ptrdiff_t k) { return DK_NR * (8 + DK_PANEL_WORDS(k) * DK_DEPTH); }

static void DK_NAME(dk_i8_pack)(const int8_t *w, ptrdiff_t w_row, ptrdiff_t w_column, ptrdiff_t columns, ptrdiff_t k, void *panel) {
  int32_t *start = panel;
  float *sums = (float *)(start + DK_NR);
  int8_t *b = (int8_t *)(sums + DK_NR);
  for (ptrdiff_t j = 0; j < DK_NR; j++) {
    int32_t sum = 0;
    for (ptrdiff_t p = 0; p < DK_PANEL_WORDS(k) * DK_DEPTH; p++) {
      const int8_t value = j < columns && p < k ? w[j * w_row + p * w_column] : 0;
      b[(p / DK_DEPTH * DK_NR + j) * DK_DEPTH + p % DK_DEPTH] = value;
      sum += value;
    }
    start[j] = DK_START(sum);
    sums[j] = (float)sum;
  }
}

/* The low bits of 16 values at p of a row of words; `n` of them are stored, and `zero` after them up to a whole word. */
DK_INLINE void DK_NAME(store_low)(int32_t *row, ptrdiff_t p, EI values, ptrdiff_t n, const int32_t zero) {
#if DK_DEPTH == 4
  union { uint8_t b[16]; EB v; } t = {.v = __builtin_convertvector(values, EB)};
#else
  union { int16_t b[16]; ES v; } t = {.v = __builtin_convertvector(values, ES)};
#endif
  char *to = (char *)row + p * (4 / DK_DEPTH);
  if (n >= E_LANES) {
    memcpy(to, &t, sizeof t);
  } else {
    for (ptrdiff_t i = n; i % DK_DEPTH; i++) t.b[i] = zero;
    memcpy(to, &t, (size_t)DK_WORDS(n) * 4);
  }
}

static void DK_NAME(dk_i8_words)(const uint8_t *a, ptrdiff_t count, int32_t *words) {
  for (ptrdiff_t i = 0; i < count; i += E_LANES) {
    const ptrdiff_t n = count - i;
    EB t = (EB)(128);
    memcpy(&t, a + i, (size_t)(n < E_LANES ? n : E_LANES));
    DK_NAME(store_low)(words, i, __builtin_convertvector(t, EI) + (EI)(DK_ZERO - 128), n, DK_ZERO);
  }
}

/* ---- Matrix product with epilogue ---- */
/* What an epilogue needs of 16 columns, in registers: leaving out the bias is adding -0, leaving out the scale multiplying by 1, both without a trace. */
typedef struct { E sum, column_scale, bias, scale, zero; } DK_NAME(columns);

DK_INLINE DK_NAME(columns) DK_NAME(columns_at)(const dk_words_gemm_block *g, const float *sums, ptrdiff_t j, const ptrdiff_t n) {
  DK_NAME(columns) c = {e_load(sums), e_load_some(g->b_scale + j, n), g->bias ? e_load_some(g->bias + j, n) : e_set(-0.0f), g->scale ? e_load_some(g->scale + j, n) : e_set(1.0f),
                        g->b_zero ? e_load_some(g->b_zero + j, n) : e_set(0.0f)};
  return c;
}

/* `vectors` times 16 columns (of the last, n are stored) of `rows` rows, at most 8 vectors in all. */
DK_INLINE void DK_NAME(epilogue_rows)(const dk_words_gemm_block *g, const DK_NAME(columns) *of, const int32_t *tile, ptrdiff_t row, ptrdiff_t column, const int rows, const int vectors,
                                      const ptrdiff_t n, const int32_t activation, const int residuals, const int zeros) {
  const float *scales = g->a_scale + 2 * row, *residual = residuals ? g->residual + row * g->residual_row + column : 0, *totals = zeros ? g->a_total + row : 0;
  const ptrdiff_t c_row = g->c_row, residual_row = g->residual_row;
  float *c = g->c + row * c_row + column;
  E x[8];
  DK_UNROLL for (int i = 0; i < rows; i++)
    DK_UNROLL for (int v = 0; v < vectors; v++) {
      E y = e_fma(__builtin_convertvector(*(const EI_any *)(tile + i * DK_NR + v * E_LANES), E), e_set(scales[2 * i]), e_set(scales[2 * i + 1]) * of[v].sum);
      if (zeros) y = y - e_set(totals[i]) * of[v].zero;
      x[i * vectors + v] = e_fma(y, of[v].column_scale, of[v].bias);
    }
  e_activate_all(activation, x, rows * vectors);
  DK_UNROLL for (int i = 0; i < rows; i++)
    DK_UNROLL for (int v = 0; v < vectors; v++) {
      const ptrdiff_t stored = v + 1 < vectors ? E_LANES : n;
      const E y = residuals ? e_fma(x[i * vectors + v], of[v].scale, e_load_some(residual + i * residual_row + v * E_LANES, stored)) : x[i * vectors + v] * of[v].scale;
      e_store_some(c + i * c_row + v * E_LANES, y, stored);
    }
}

DK_INLINE const float *DK_NAME(column_sums)(const dk_words_gemm_block *g, ptrdiff_t column) {
  return (const float *)((const char *)g->panel + column / DK_NR * g->panel_bytes) + DK_NR;
}

/* A whole panel, no zero points: almost always. */
DK_INLINE void DK_NAME(epilogue_whole)(const dk_words_gemm_block *g, const int32_t *tile, ptrdiff_t first, ptrdiff_t rows, ptrdiff_t column, const int32_t activation, const int residuals) {
  enum { vectors = DK_NR / E_LANES };
  DK_NAME(columns) of[vectors];
  DK_UNROLL for (int v = 0; v < vectors; v++) of[v] = DK_NAME(columns_at)(g, DK_NAME(column_sums)(g, column) + v * E_LANES, column + v * E_LANES, E_LANES);
  ptrdiff_t i = 0;
  for (; i + DK_TOGETHER <= rows; i += DK_TOGETHER) DK_NAME(epilogue_rows)(g, of, tile + i * DK_NR, first + i, column, DK_TOGETHER, vectors, E_LANES, activation, residuals, 0);
  for (; i < rows; i++) DK_NAME(epilogue_rows)(g, of, tile + i * DK_NR, first + i, column, 1, vectors, E_LANES, activation, residuals, 0);
}

static void DK_NAME(epilogue_rest)(const dk_words_gemm_block *g, const int32_t *tile, ptrdiff_t first, ptrdiff_t rows, ptrdiff_t column) {
  const float *sums = DK_NAME(column_sums)(g, column);
  for (ptrdiff_t j = 0; j < DK_NR && column + j < g->columns; j += E_LANES) {
    const ptrdiff_t left = g->columns - column - j, n = left < E_LANES ? left : E_LANES;
    const DK_NAME(columns) of = DK_NAME(columns_at)(g, sums + j, column + j, n);
    for (ptrdiff_t i = 0; i < rows; i++) {
      const int32_t *t = tile + i * DK_NR + j;
      if (g->residual) {
        if (g->b_zero) DK_NAME(epilogue_rows)(g, &of, t, first + i, column + j, 1, 1, n, g->activation, 1, 1);
        else DK_NAME(epilogue_rows)(g, &of, t, first + i, column + j, 1, 1, n, g->activation, 1, 0);
      } else {
        if (g->b_zero) DK_NAME(epilogue_rows)(g, &of, t, first + i, column + j, 1, 1, n, g->activation, 0, 1);
        else DK_NAME(epilogue_rows)(g, &of, t, first + i, column + j, 1, 1, n, g->activation, 0, 0);
      }
    }
  }
}

DK_INLINE int DK_NAME(is_whole)(const dk_words_gemm_block *g, ptrdiff_t column) { return g->columns - column >= DK_NR && !g->b_zero; }

#define DK_SUM int32_t
#define DK_B_OFFSET (8 * DK_NR)
#define DK_PRODUCT(rows, a, a_row, panel, words, out, ahead) \
  DK_NAME(tiles)[(rows) - 1][TILE_MATRIX](a, a_row, (panel) + DK_B_OFFSET, words, (const int32_t *)(panel), out, ahead)
#include "words_gemm.h"

#ifdef DK_TILE_DOT
static void DK_NAME(dk_i8_products)(const int32_t *a, ptrdiff_t a_row, const void *panel, ptrdiff_t k, int32_t *c, ptrdiff_t c_row, ptrdiff_t rows, ptrdiff_t columns) {
  int32_t tile[AMX_ROWS * DK_NR] __attribute__((aligned(64)));
  amx_begin();
  for (ptrdiff_t row = 0; row < rows; row += AMX_ROWS) {
    const ptrdiff_t n = rows - row < AMX_ROWS ? rows - row : AMX_ROWS;
    amx_product(a + row * a_row, a_row, n, (const char *)panel + 8 * DK_NR, DK_WORDS(k), panel, tile, 2, AMX_PLAIN, 0);
    for (ptrdiff_t i = 0; i < n; i++) memcpy(c + (row + i) * c_row, tile + i * DK_NR, (size_t)columns * sizeof *c);
  }
  amx_end();
}
#else
static void DK_NAME(dk_i8_products)(const int32_t *a, ptrdiff_t a_row, const void *panel, ptrdiff_t k, int32_t *c, ptrdiff_t c_row, ptrdiff_t rows, ptrdiff_t columns) {
  int32_t tile[DK_ROWS * DK_NR] __attribute__((aligned(64)));
  const int32_t *start = panel;
  for (ptrdiff_t row = 0, n; row < rows; row += n) {
    n = DK_NAME(next_rows)(rows - row);
    DK_NAME(tiles)[n - 1][TILE_MATRIX](a + row * a_row, a_row, start + 2 * DK_NR, DK_WORDS(k), start, tile, panel);
    for (ptrdiff_t i = 0; i < n; i++) memcpy(c + (row + i) * c_row, tile + i * DK_NR, (size_t)columns * sizeof *c);
  }
}
#endif

/* ---- Quantization of rows: q = round((x - middle) · 127 / half the range), x ≈ q · scale + middle; the range includes 0. ----
   Around the middle and not around 0: what GELU leaves is almost all on one side. */
DK_INLINE void DK_NAME(quantize_row)(const float *x, ptrdiff_t columns, E low, E high, int32_t *q, float *scale_and_middle) {
  const float least = -e_largest(-low), most = e_largest(high), middle = (least + most) * 0.5f, half = (most - least) * 0.5f;
  const E factor = e_set(half > 0.0f ? 127.0f / half : 0.0f), shift = e_set(middle);
  scale_and_middle[0] = half / 127.0f;
  scale_and_middle[1] = middle;
  ptrdiff_t i = 0;
  for (; i + E_LANES <= columns; i += E_LANES) DK_NAME(store_low)(q, i, e_round_low(e_load(x + i) - shift, factor, DK_ZERO), E_LANES, DK_ZERO);
  if (i < columns) DK_NAME(store_low)(q, i, e_round_low(e_load_part(x + i, columns - i) - shift, factor, DK_ZERO), columns - i, DK_ZERO);
}

static void DK_NAME(dk_i8_quantize)(const float *x, ptrdiff_t x_row, int32_t *q, ptrdiff_t q_row, float *scales, ptrdiff_t rows, ptrdiff_t columns) {
  for (ptrdiff_t r = 0; r < rows; r++, x += x_row, q += q_row) {
    E low[4], high[4]; /* one alone would wait for each comparison */
    DK_UNROLL for (int u = 0; u < 4; u++) low[u] = high[u] = e_set(0.0f);
    ptrdiff_t i = 0;
    for (; i + 4 * E_LANES <= columns; i += 4 * E_LANES)
      DK_UNROLL for (int u = 0; u < 4; u++) {
        const E v = e_load(x + i + u * E_LANES);
        low[u] = e_min(v, low[u]);
        high[u] = e_max(v, high[u]);
      }
    for (; i < columns; i += E_LANES) {
      const E v = e_load_some(x + i, columns - i);
      low[0] = e_min(v, low[0]);
      high[0] = e_max(v, high[0]);
    }
    DK_NAME(quantize_row)(x, columns, e_min(e_min(low[0], low[1]), e_min(low[2], low[3])), e_max(e_max(high[0], high[1]), e_max(high[2], high[3])), q, scales + 2 * r);
  }
}

/* ---- Steps that are given, as ONNX rounds: a true division, NaN to the lowest. ---- */
DK_INLINE EI e_steps(E x, E scale, E low, E high) {
  const E v = x / scale;
  return e_round(e_min(e_max(v == v ? v : low, low), high));
}

static void DK_NAME(dk_i8_quantize_steps)(const float *x, ptrdiff_t x_row, int32_t *q, ptrdiff_t q_row, float *totals, float scale, float low, float high, int32_t offset,
                                          ptrdiff_t rows, ptrdiff_t columns) {
  const E divisor = e_set(scale), least = e_set(low), most = e_set(high);
  for (ptrdiff_t r = 0; r < rows; r++, x += x_row, q += q_row) {
    EI sum = (EI)(0);
    ptrdiff_t i = 0;
    for (; i + E_LANES <= columns; i += E_LANES) {
      const EI v = e_steps(e_load(x + i), divisor, least, most);
      sum += v;
      DK_NAME(store_low)(q, i, v + (EI)(offset + DK_ZERO), E_LANES, DK_ZERO);
    }
    int32_t rest = 0;
    if (i < columns) {
      const EI v = e_steps(e_load_part(x + i, columns - i), divisor, least, most);
      for (ptrdiff_t j = 0; j < columns - i; j++) rest += v[j];
      DK_NAME(store_low)(q, i, v + (EI)(offset + DK_ZERO), columns - i, DK_ZERO);
    }
    if (totals) totals[r] = (float)(__builtin_reduce_add(sum) + rest) * scale;
  }
}

static void DK_NAME(dk_i8_round)(const float *x, float *y, float scale, float low, float high, ptrdiff_t count) {
  const E divisor = e_set(scale), least = e_set(low), most = e_set(high);
  for (ptrdiff_t i = 0; i < count; i += E_LANES) {
    const E v = __builtin_convertvector(e_steps(e_load_some(x + i, count - i), divisor, least, most), E) * divisor;
    e_store_some(y + i, v, count - i);
  }
}

static void DK_NAME(dk_i8_gate)(int32_t activation, const float *x, const float *value, float *y, ptrdiff_t count) {
  ptrdiff_t i = 0;
  for (; i + 4 * E_LANES <= count; i += 4 * E_LANES) {
    E v[4];
    DK_UNROLL for (int k = 0; k < 4; k++) v[k] = e_load(x + i + k * E_LANES);
    e_activate_all(activation, v, 4);
    DK_UNROLL for (int k = 0; k < 4; k++) e_store(y + i + k * E_LANES, v[k] * e_load(value + i + k * E_LANES));
  }
  for (; i < count; i += E_LANES) e_store_some(y + i, e_activate(activation, e_load_some(x + i, count - i)) * e_load_some(value + i, count - i), count - i);
}

static void DK_NAME(dk_i8_range)(const float *x, ptrdiff_t count, float *least_and_most) {
  /* What is no number, or endless, leaves a NaN in `odd`. */
  E low = e_set(least_and_most[0]), high = e_set(least_and_most[1]), odd = e_set(0.0f);
  for (ptrdiff_t i = 0; i < count; i += E_LANES) {
    const E v = e_load_some(x + i, count - i);
    low = e_min(v, low);
    high = e_max(v, high);
    odd += v - v;
  }
  const float left = e_sum(odd);
  least_and_most[0] = -e_largest(-low) + left;
  least_and_most[1] = e_largest(high) + left;
}

static void DK_NAME(dk_i8_layer_norm)(const float *x, ptrdiff_t x_row, const float *weight, const float *bias, float epsilon, float *y, ptrdiff_t y_row,
                                      int32_t *q, ptrdiff_t q_row, float *scales, ptrdiff_t rows, ptrdiff_t columns) {
  float means[DK_TOGETHER], inverses[DK_TOGETHER];
  for (ptrdiff_t r = 0; r < rows; r++, x += x_row, y += y_row) {
    const ptrdiff_t at = r % DK_TOGETHER;
    if (at == 0 && rows - r >= DK_TOGETHER) e_moments(x, x_row, columns, epsilon, means, inverses, DK_TOGETHER);
    else if (rows - r + at < DK_TOGETHER) e_moments(x, x_row, columns, epsilon, means + at, inverses + at, 1);
    const float mean = means[at], inverse = inverses[at];
    E low = e_set(0.0f), high = e_set(0.0f);
    for (ptrdiff_t i = 0; i < columns; i += E_LANES) {
      const ptrdiff_t n = columns - i;
      /* Behind the row's end weight and bias are zero. */
      E v = e_fma((e_load_some(x + i, n) - e_set(mean)) * e_set(inverse), e_load_some(weight + i, n), e_load_some(bias + i, n));
      e_store_some(y + i, v, n);
      low = e_min(v, low);
      high = e_max(v, high);
    }
    if (q) DK_NAME(quantize_row)(y, columns, low, high, q + r * q_row, scales + 2 * r);
  }
}

DK_INLINE float DK_NAME(row_largest)(const float *x, ptrdiff_t columns) {
  E largest = e_set(0.0f);
  for (ptrdiff_t i = 0; i < columns; i += E_LANES) largest = e_max(e_abs(e_load_some(x + i, columns - i)), largest);
  return e_largest(largest);
}

static float DK_NAME(dk_i8_quantize_weights)(const float *w, ptrdiff_t k, int8_t *q) {
  const float largest = DK_NAME(row_largest)(w, k);
  float scale = largest / 127.0f, least = INFINITY;
  for (int step = 0; step < 12 && largest > 0.0f; step++) {
    const float s = largest * (1.0f - 0.04f * (float)step) / 127.0f, factor = 1.0f / s;
    E error = e_set(0.0f);
    for (ptrdiff_t i = 0; i < k; i += E_LANES) {
      E x = e_load_some(w + i, k - i), r = e_max(e_min(x * e_set(factor), e_set(127.0f)), e_set(-127.0f));
      E d = x - __builtin_convertvector(e_round(r), E) * e_set(s);
      error = error + d * d;
    }
    const float sum = e_sum(error);
    if (sum < least) least = sum, scale = s;
  }
  const float factor = scale > 0.0f ? 1.0f / scale : 0.0f;
  for (ptrdiff_t i = 0; i < k; i += E_LANES) {
    E x = e_max(e_min(e_load_some(w + i, k - i) * e_set(factor), e_set(127.0f)), e_set(-127.0f));
    EC bytes = __builtin_convertvector(e_round(x), EC);
    memcpy(q + i, &bytes, (size_t)(k - i < E_LANES ? k - i : E_LANES));
  }
  return scale;
}

#include "int8_attention.h"

#ifdef DK_TILE_DOT
static double DK_NAME(dk_i8_peak)(ptrdiff_t rounds, int32_t *sink) {
  int32_t out[16 * 16] __attribute__((aligned(64)));
  amx_begin();
  for (ptrdiff_t r = 0; r < rounds; r++) {
    DK_TILE_DOT(0, 4, 6);
    DK_TILE_DOT(1, 4, 7);
    DK_TILE_DOT(2, 5, 6);
    DK_TILE_DOT(3, 5, 7);
  }
  _tile_stored(0, out, 64);
  amx_end();
  sink[2] = out[0];
  return 2.0 * 4.0 * 16.0 * 16.0 * 64.0 * (double)rounds;
}
#else
static double DK_NAME(dk_i8_peak)(ptrdiff_t rounds, int32_t *sink) {
  W acc[12];
  W a = (W)(sink[0]), b = (W)(sink[1]);
  DK_UNROLL for (int i = 0; i < 12; i++) acc[i] = (W)(i);
  for (ptrdiff_t r = 0; r < rounds; r++)
    DK_UNROLL for (int u = 0; u < 4; u++)
      DK_UNROLL for (int i = 0; i < 12; i++) {
        __asm__ volatile("" : DK_ASM_REGISTER(b)); /* or the products would be taken out of the loop */
        acc[i] = DK_DOT(acc[i], a, b);
      }
  W all = acc[0];
  DK_UNROLL for (int i = 1; i < 12; i++) all += acc[i];
  sink[2] = all[0];
  return 2.0 * DK_DEPTH * 48.0 * DK_LANES * (double)rounds;
}

#endif

const dk_i8_kernels DK_NAME(dk_i8) = {
  .nr = DK_NR,
  .depth = DK_DEPTH,
  .values_by_channel = DK_BY_CHANNEL,
  .panel_bytes = DK_NAME(dk_i8_panel_bytes),
  .pack = DK_NAME(dk_i8_pack),
  .quantize_weights = DK_NAME(dk_i8_quantize_weights),
  .words = DK_NAME(dk_i8_words),
  .gemm = DK_NAME(words_gemm),
  .products = DK_NAME(dk_i8_products),
  .quantize = DK_NAME(dk_i8_quantize),
  .quantize_steps = DK_NAME(dk_i8_quantize_steps),
  .round = DK_NAME(dk_i8_round),
  .gate = DK_NAME(dk_i8_gate),
  .range = DK_NAME(dk_i8_range),
  .layer_norm = DK_NAME(dk_i8_layer_norm),
  .quantize_heads = DK_NAME(dk_i8_quantize_heads),
  .attention = DK_NAME(dk_i8_attention),
  .attention_scratch = DK_NAME(dk_i8_attention_scratch),
  .peak = DK_NAME(dk_i8_peak),
};
