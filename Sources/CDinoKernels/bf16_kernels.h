/* Linear layers with weights in bfloat16 and sums in f32, written once and compiled by each instruction set's file, which defines
     DK_LANES, DK_VECTORS, DK_ROWS, DK_EACH_ROW(X), DK_NAME(x)  as for int8_kernels.h
     DK_DEPTH           values in a word of 32 bits: 2 where the CPU multiplies bfloat16 (rows of A are rounded to it), 1 where not (rows of A stay f32)
     DK_DOT(acc, a, b)  acc + the products of the values of each lane's word; a W of A, b of B
     DK_ROUND(x), DK_ROUND_TWO(a, b)  16 values to bfloat16; two times 16 to words, a in the low halves: where the CPU has instructions for it
     DK_TILE_DOT, DK_TILE_START  where there are tile registers, for amx_tiles.h
   A panel of B: for each two rows of B a word of each of the NR columns, the first row's value in its low half. Norms and epilogues are those of exact.h; the products are not exact, and
   differ between tables by rounding. */
#include "exact.h"

#define DK_NR (DK_LANES * DK_VECTORS)
/* Rows whose epilogues are done side by side. */
#define DK_TOGETHER (DK_LANES == 16 ? 4 : 1)
_Static_assert(DK_NR % E_LANES == 0, "a panel is whole vectors of 16");
typedef float V __attribute__((ext_vector_type(DK_LANES)));
typedef float V_any __attribute__((ext_vector_type(DK_LANES), aligned(4)));
typedef int32_t W __attribute__((ext_vector_type(DK_LANES)));
typedef int32_t W_any __attribute__((ext_vector_type(DK_LANES), aligned(4)));
#define DK_WORDS(k) (((k) + DK_DEPTH - 1) / DK_DEPTH)
#ifdef DK_TILE_DOT
#include "amx_tiles.h"
#define DK_PANEL_WORDS(k) AMX_PANEL_WORDS(DK_WORDS(k))
#else
#define DK_PANEL_WORDS(k) (DK_DEPTH == 2 ? DK_WORDS(k) : ((k) + 1) / 2 * 2)

/* Where B's words of row kk are, and what of them is multiplied: all, or the half of an even or odd row as f32. */
#define DK_B_WORDS(b, kk) ((b) + (kk) * DK_DEPTH / 2 * DK_NR * 4)
DK_INLINE W DK_NAME(of_word)(W word, const int kk) { return DK_DEPTH == 2 ? word : kk % 2 ? word & (W)((int32_t)0xFFFF0000u) : word << 16; }

#define DK_TILE_ARGS const int32_t *a, ptrdiff_t row, const char *b, ptrdiff_t words, float *out, const char *prefetch
typedef void (*DK_NAME(tile_f))(DK_TILE_ARGS);

/* out[rows × NR] = A · B over `words` words of depth; rows of A are `row` words apart. */
DK_INLINE void DK_NAME(tile)(DK_TILE_ARGS, const int rows) {
  V acc[DK_ROWS][DK_VECTORS];
  DK_UNROLL for (int i = 0; i < rows; i++)
    DK_UNROLL for (int j = 0; j < DK_VECTORS; j++) acc[i][j] = (V)(0.0f);
  ptrdiff_t p = 0;
#define DK_STEP(kk)                                                                                                     \
  {                                                                                                                     \
    W bv[DK_VECTORS];                                                                                                   \
    DK_UNROLL for (int j = 0; j < DK_VECTORS; j++) bv[j] = DK_NAME(of_word)(*(const W_any *)(DK_B_WORDS(b, kk) + j * DK_LANES * 4), kk);   \
    DK_UNROLL for (int i = 0; i < rows; i++) {                                                                          \
      W av = (W)(a[i * row + (kk)]);                                                                                    \
      DK_UNROLL for (int j = 0; j < DK_VECTORS; j++) acc[i][j] = DK_DOT(acc[i][j], av, bv[j]);                          \
    }                                                                                                                   \
  }
  for (; p + 4 <= words; p += 4) {
    __builtin_prefetch(prefetch, 0, 2);
    __builtin_prefetch(prefetch + 64, 0, 2);
    prefetch += 128;
    DK_STEP(0) DK_STEP(1) DK_STEP(2) DK_STEP(3)
    a += 4;
    b += 8 * DK_NR * DK_DEPTH;
  }
  for (; p + 2 <= words; p += 2) {
    DK_STEP(0) DK_STEP(1)
    a += 2;
    b += 4 * DK_NR * DK_DEPTH;
  }
  if (p < words) DK_STEP(0)
#undef DK_STEP
  DK_UNROLL for (int i = 0; i < rows; i++)
    DK_UNROLL for (int j = 0; j < DK_VECTORS; j++) *(V_any *)(out + i * DK_NR + j * DK_LANES) = acc[i][j];
}

#define DK_TILE_INSTANCE(rows) static void DK_NAME(tile_##rows)(DK_TILE_ARGS) { DK_NAME(tile)(a, row, b, words, out, prefetch, rows); }
DK_EACH_ROW(DK_TILE_INSTANCE)
#define DK_ENTRY(rows) DK_NAME(tile_##rows),
static const DK_NAME(tile_f) DK_NAME(tiles)[DK_ROWS] = {DK_EACH_ROW(DK_ENTRY)};

DK_INLINE ptrdiff_t DK_NAME(next_rows)(ptrdiff_t left) {
  return left >= 2 * DK_ROWS || left == DK_ROWS ? DK_ROWS : left > DK_ROWS ? (left + 1) / 2 : left;
}
#endif

/* ---- Packing and rounding to bfloat16, to nearest, ties to even; not-a-numbers stay such ---- */
DK_INLINE uint16_t DK_NAME(rounded)(float x) {
  uint32_t u;
  memcpy(&u, &x, sizeof u);
  if ((u & 0x7FFFFFFF) > 0x7F800000) return (uint16_t)(u >> 16 | 64);
  return (uint16_t)((u + 0x7FFF + (u >> 16 & 1)) >> 16);
}

static ptrdiff_t DK_NAME(dk_bf16_panel_bytes)(ptrdiff_t k) { return DK_NR * DK_PANEL_WORDS(k) * DK_DEPTH * 2; }

/* 16 values at p of a row of words; `n` of them are stored, and zeros after them up to a whole word. Values are numbers. */
DK_INLINE void DK_NAME(store_values)(int32_t *row, ptrdiff_t p, E x, ptrdiff_t n) {
#if DK_DEPTH == 2
#ifdef DK_ROUND
  union { uint16_t b[16]; EH v; } t = {.v = DK_ROUND(x)};
#else
  union { E v; EI i; } bits = {x};
  EI word = bits.i + (EI)(0x7FFF) + ((bits.i >> 16) & (EI)(1));
  union { uint16_t b[16]; EH v; } t = {.v = __builtin_convertvector((word >> 16) & (EI)(0xFFFF), EH)};
#endif
  char *to = (char *)row + p * 2;
  if (n >= E_LANES) {
    memcpy(to, &t, sizeof t);
  } else {
    if (n % 2) t.b[n] = 0;
    memcpy(to, &t, (size_t)DK_WORDS(n) * 4);
  }
#else
  e_store_some((float *)row + p, x, n);
#endif
}

#include "bf16_training.h"

static void DK_NAME(dk_bf16_convert)(const float *x, ptrdiff_t x_row, int32_t *q, ptrdiff_t q_row, float *scales, ptrdiff_t rows, ptrdiff_t columns) {
  (void)scales;
  for (ptrdiff_t r = 0; r < rows; r++)
    for (ptrdiff_t i = 0; i < columns; i += E_LANES) DK_NAME(store_values)(q + r * q_row, i, e_load_some(x + r * x_row + i, columns - i), columns - i);
}

static void DK_NAME(dk_bf16_layer_norm)(const float *x, ptrdiff_t x_row, const float *weight, const float *bias, float epsilon, float *y, ptrdiff_t y_row,
                                        int32_t *q, ptrdiff_t q_row, float *scales, ptrdiff_t rows, ptrdiff_t columns) {
  (void)scales;
  float means[DK_TOGETHER], inverses[DK_TOGETHER];
  for (ptrdiff_t r = 0; r < rows; r++, x += x_row, y += y_row) {
    const ptrdiff_t at = r % DK_TOGETHER;
    if (at == 0 && rows - r >= DK_TOGETHER) e_moments(x, x_row, columns, epsilon, means, inverses, DK_TOGETHER);
    else if (rows - r + at < DK_TOGETHER) e_moments(x, x_row, columns, epsilon, means + at, inverses + at, 1);
    const float mean = means[at], inverse = inverses[at];
    for (ptrdiff_t i = 0; i < columns; i += E_LANES) {
      const ptrdiff_t n = columns - i;
      E v = e_fma((e_load_some(x + i, n) - e_set(mean)) * e_set(inverse), e_load_some(weight + i, n), e_load_some(bias + i, n));
      if (y_row) e_store_some(y + i, v, n);
      if (q) DK_NAME(store_values)(q + r * q_row, i, v, n);
    }
  }
}

/* ---- Matrix product with epilogue ---- */
/* What an epilogue needs of 16 columns: leaving out the bias is adding -0, leaving out the scale multiplying by 1. */
typedef struct { E bias, scale; } DK_NAME(columns);

DK_INLINE DK_NAME(columns) DK_NAME(columns_at)(const dk_words_gemm_block *g, ptrdiff_t j, const ptrdiff_t n) {
  DK_NAME(columns) c = {g->bias ? e_load_some(g->bias + j, n) : e_set(-0.0f), g->scale ? e_load_some(g->scale + j, n) : e_set(1.0f)};
  return c;
}

/* `vectors` times 16 columns (of the last, n are stored) of `rows` rows, at most 8 vectors in all. */
DK_INLINE void DK_NAME(epilogue_rows)(const dk_words_gemm_block *g, const DK_NAME(columns) *of, const float *tile, ptrdiff_t row, ptrdiff_t column, const int rows, const int vectors,
                                      const ptrdiff_t n, const int32_t activation, const int residuals) {
  const float *residual = residuals ? g->residual + row * g->residual_row + column : 0;
  const ptrdiff_t residual_row = g->residual_row;
  E x[8];
  DK_UNROLL for (int i = 0; i < rows; i++)
    DK_UNROLL for (int v = 0; v < vectors; v++) x[i * vectors + v] = e_load(tile + i * DK_NR + v * E_LANES) + of[v].bias;
  e_activate_all(activation, x, rows * vectors);
  DK_UNROLL for (int i = 0; i < rows; i++)
    DK_UNROLL for (int v = 0; v < vectors; v++)
      x[i * vectors + v] = residuals ? e_fma(x[i * vectors + v], of[v].scale, e_load_some(residual + i * residual_row + v * E_LANES, v + 1 < vectors ? E_LANES : n)) : x[i * vectors + v] * of[v].scale;
  if (g->words) {
    DK_UNROLL for (int i = 0; i < rows; i++)
      DK_UNROLL for (int v = 0; v < vectors; v++)
        DK_NAME(store_values)(g->words + (row + i) * g->words_row, column + v * E_LANES, x[i * vectors + v], v + 1 < vectors ? E_LANES : n);
  } else {
    float *c = g->c + row * g->c_row + column;
    DK_UNROLL for (int i = 0; i < rows; i++)
      DK_UNROLL for (int v = 0; v < vectors; v++) e_store_some(c + i * g->c_row + v * E_LANES, x[i * vectors + v], v + 1 < vectors ? E_LANES : n);
  }
}

/* A whole panel: almost always. */
DK_INLINE void DK_NAME(epilogue_whole)(const dk_words_gemm_block *g, const float *tile, ptrdiff_t first, ptrdiff_t rows, ptrdiff_t column, const int32_t activation, const int residuals) {
  enum { vectors = DK_NR / E_LANES };
  DK_NAME(columns) of[vectors];
  DK_UNROLL for (int v = 0; v < vectors; v++) of[v] = DK_NAME(columns_at)(g, column + v * E_LANES, E_LANES);
  ptrdiff_t i = 0;
  for (; i + DK_TOGETHER <= rows; i += DK_TOGETHER) DK_NAME(epilogue_rows)(g, of, tile + i * DK_NR, first + i, column, DK_TOGETHER, vectors, E_LANES, activation, residuals);
  for (; i < rows; i++) DK_NAME(epilogue_rows)(g, of, tile + i * DK_NR, first + i, column, 1, vectors, E_LANES, activation, residuals);
}

static void DK_NAME(epilogue_rest)(const dk_words_gemm_block *g, const float *tile, ptrdiff_t first, ptrdiff_t rows, ptrdiff_t column) {
  for (ptrdiff_t j = 0; j < DK_NR && column + j < g->columns; j += E_LANES) {
    const ptrdiff_t left = g->columns - column - j, n = left < E_LANES ? left : E_LANES;
    const DK_NAME(columns) of = DK_NAME(columns_at)(g, column + j, n);
    for (ptrdiff_t i = 0; i < rows; i++) {
      if (g->residual) DK_NAME(epilogue_rows)(g, &of, tile + i * DK_NR + j, first + i, column + j, 1, 1, n, g->activation, 1);
      else DK_NAME(epilogue_rows)(g, &of, tile + i * DK_NR + j, first + i, column + j, 1, 1, n, g->activation, 0);
    }
  }
}

DK_INLINE int DK_NAME(is_whole)(const dk_words_gemm_block *g, ptrdiff_t column) { return g->columns - column >= DK_NR; }

#define DK_SUM float
#define DK_B_OFFSET 0
#define DK_PRODUCT(rows, a, a_row, panel, words, out, ahead) DK_NAME(tiles)[(rows) - 1](a, a_row, panel, words, out, ahead)
#include "words_gemm.h"

#ifdef DK_TILE_DOT
#include "bf16_attention.h"
#include "bf16_attention_gradient.h"
#endif

const dk_bf16_kernels DK_NAME(dk_bf16) = {
  .nr = DK_NR,
  .depth = DK_DEPTH,
  .panel_bytes = DK_NAME(dk_bf16_panel_bytes),
  .pack = DK_NAME(dk_bf16_pack),
  .gemm = DK_NAME(words_gemm),
  .convert = DK_NAME(dk_bf16_convert),
  .layer_norm = DK_NAME(dk_bf16_layer_norm),
  .pack_rows = DK_NAME(dk_bf16_pack_rows),
  .turn = DK_NAME(dk_bf16_turn),
#ifdef DK_TILE_DOT
  .heads = DK_NAME(dk_bf16_heads),
  .attention = DK_NAME(dk_bf16_attention),
  .attention_scratch = DK_NAME(dk_bf16_attention_scratch),
  .attention_gradient = DK_NAME(dk_bf16_attention_gradient),
  .attention_gradient_scratch = DK_NAME(dk_bf16_attention_gradient_scratch),
#endif
};
