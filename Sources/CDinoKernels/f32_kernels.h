/* The f32 kernels, written once in clang's vector types and compiled by each instruction set's file. The including file defines
     DK_LANES      floats in a vector register
     DK_LOG2_LANES its logarithm
     DK_VECTORS    registers side by side in a tile: NR = DK_LANES · DK_VECTORS
     DK_ROWS       MR, rows of a register tile
     DK_NAME(x)    the function's name with the instruction set's suffix
     DK_FMA(a,b,c) a·b + c on vectors
   and sets the target region. Accumulation over k is in one order, whatever the tile: a result does not depend on how work was split. */
#include "f32_functions.h"

/* ---- The register tile: out[rows × vectors] = or += A(i, k) · B[k], A(i, k) = a[i · a_row + k · a_column]. ---- */

/* What becomes of a tile's sums in registers before they are stored: bias and scale of the columns, a residual; each may be null. */
typedef struct { const float *bias, *scale, *residual; ptrdiff_t residual_row; } DK_NAME(finish);
#define DK_TILE_ARGS const float *a, ptrdiff_t stride, const float *b, ptrdiff_t k, float *out, ptrdiff_t out_row, int accumulate, const char *prefetch, const DK_NAME(finish) *finish
typedef void (*DK_NAME(tile_f))(DK_TILE_ARGS);

/* by_row: rows of A are `stride` apart and k is contiguous; otherwise k is `stride` apart and rows are contiguous. */
DK_INLINE void DK_NAME(tile)(DK_TILE_ARGS, const int rows, const int vectors, const int by_row) {
  V acc[DK_ROWS][DK_VECTORS];
  const ptrdiff_t row = by_row ? stride : 1, column = by_row ? 1 : stride, width = DK_NR;
  DK_UNROLL for (int i = 0; i < rows; i++)
    DK_UNROLL for (int j = 0; j < vectors; j++)
      acc[i][j] = accumulate ? v_load(out + i * out_row + j * DK_LANES) : v_set(0.0f);
  ptrdiff_t p = 0;
#define DK_STEP(kk)                                                                                      \
  {                                                                                                      \
    V bv[DK_VECTORS];                                                                                    \
    DK_UNROLL for (int j = 0; j < vectors; j++) bv[j] = v_load(b + (kk) * width + j * DK_LANES);         \
    DK_UNROLL for (int i = 0; i < rows; i++) {                                                           \
      V av = v_set(a[i * row + (kk) * column]);                                                          \
      DK_UNROLL for (int j = 0; j < vectors; j++) acc[i][j] = DK_FMA(av, bv[j], acc[i][j]);              \
    }                                                                                                    \
  }
  for (; p + 4 <= k; p += 4) {
    __builtin_prefetch(prefetch, 0, 2);
    prefetch += 64;
    DK_STEP(0) DK_STEP(1) DK_STEP(2) DK_STEP(3)
    a += 4 * column;
    b += 4 * width;
  }
  for (; p < k; p++) {
    DK_STEP(0)
    a += column;
    b += width;
  }
#undef DK_STEP
  if (finish && finish->bias)
    DK_UNROLL for (int j = 0; j < vectors; j++) {
      const V bias = v_load(finish->bias + j * DK_LANES);
      DK_UNROLL for (int i = 0; i < rows; i++) acc[i][j] += bias;
    }
  if (finish && finish->scale)
    DK_UNROLL for (int j = 0; j < vectors; j++) {
      const V scale = v_load(finish->scale + j * DK_LANES);
      DK_UNROLL for (int i = 0; i < rows; i++) acc[i][j] *= scale;
    }
  if (finish && finish->residual)
    DK_UNROLL for (int i = 0; i < rows; i++)
      DK_UNROLL for (int j = 0; j < vectors; j++) acc[i][j] += v_load(finish->residual + i * finish->residual_row + j * DK_LANES);
  DK_UNROLL for (int i = 0; i < rows; i++)
    DK_UNROLL for (int j = 0; j < vectors; j++)
      v_store(out + i * out_row + j * DK_LANES, acc[i][j]);
}

#define DK_TILE_INSTANCE(rows)                                                                                                                  \
  static void DK_NAME(tile_wide_##rows)(DK_TILE_ARGS) { DK_NAME(tile)(a, stride, b, k, out, out_row, accumulate, prefetch, finish, rows, DK_VECTORS, 1); } \
  static void DK_NAME(tile_half_##rows)(DK_TILE_ARGS) { DK_NAME(tile)(a, stride, b, k, out, out_row, accumulate, prefetch, finish, rows, DK_VECTORS / 2, 1); } \
  static void DK_NAME(tile_wide_column_##rows)(DK_TILE_ARGS) { DK_NAME(tile)(a, stride, b, k, out, out_row, accumulate, prefetch, finish, rows, DK_VECTORS, 0); } \
  static void DK_NAME(tile_half_column_##rows)(DK_TILE_ARGS) { DK_NAME(tile)(a, stride, b, k, out, out_row, accumulate, prefetch, finish, rows, DK_VECTORS / 2, 0); }

DK_EACH_ROW(DK_TILE_INSTANCE)

#define DK_ENTRY(rows) {DK_NAME(tile_half_##rows), DK_NAME(tile_wide_##rows), DK_NAME(tile_half_column_##rows), DK_NAME(tile_wide_column_##rows)},
/* [rows - 1][wide + 2 · by column] */
static const DK_NAME(tile_f) DK_NAME(tiles)[DK_ROWS][4] = {DK_EACH_ROW(DK_ENTRY)};

/* Rows of the next tile where `left` are left: whole tiles, then what is left, but not a tile so low that its sums wait for each other: 15 rows go as 8 and 7. (Tiles of equal
   height throughout were tried: clang spills the one of 13 rows, and 197 rows took a third longer.) */
DK_INLINE ptrdiff_t DK_NAME(tile_rows)(ptrdiff_t left) { return left <= DK_ROWS ? left : left < DK_ROWS + 4 ? (left + 1) / 2 : DK_ROWS; }

/* ---- Matrix product with epilogue ---- */

DK_INLINE void DK_NAME(activate)(int32_t activation, float *c, ptrdiff_t c_row, ptrdiff_t rows, ptrdiff_t columns) {
  for (ptrdiff_t i = 0; i < rows; i++, c += c_row)
    for (ptrdiff_t j = 0; j < columns; j += DK_LANES) v_store(c + j, v_activate(activation, v_load(c + j)));
}

static void DK_NAME(dk_f32_gemm)(const dk_f32_gemm_block *g) {
  float tile[DK_ROWS * DK_NR] __attribute__((aligned(64)));
  const int wide = g->columns > DK_NR / 2;
  /* Whole vectors are finished in registers and stored where they belong; an activation, which needs the registers, follows while the rows are near. */
  const int direct = (g->columns == DK_NR || g->columns == DK_NR / 2) && (g->activation == DK_NONE || !(g->scale || g->residual));
  const char *prefetch = g->prefetch, *prefetch_end = prefetch + g->prefetch_bytes;
  for (ptrdiff_t row = 0, rows; row < g->rows; row += rows) {
    rows = DK_NAME(tile_rows)(g->rows - row);
    float *c = g->c + row * g->c_row;
    const float *residual = g->residual ? g->residual + row * g->residual_row : 0;
    /* What the tile is written to, and what is added to it, is asked for before the sums: both have mostly left the caches. */
    for (ptrdiff_t i = 0; i < rows; i++) {
      __builtin_prefetch(c + i * g->c_row, 1, 2);
      if (DK_NR > 16) __builtin_prefetch(c + i * g->c_row + 16, 1, 2);
      if (residual) {
        __builtin_prefetch(residual + i * g->residual_row, 0, 2);
        if (DK_NR > 16) __builtin_prefetch(residual + i * g->residual_row + 16, 0, 2);
      }
    }
    const char *ahead = prefetch && prefetch < prefetch_end ? prefetch : (const char *)g->b;
    if (ahead == prefetch) prefetch += g->k / 4 * 64;
    if (direct) {
      const DK_NAME(finish) finish = {g->bias, g->scale, residual, g->residual_row};
      DK_NAME(tiles)[rows - 1][wide](g->a + row * g->a_row, g->a_row, g->b, g->k, c, g->c_row, 0, ahead, &finish);
      if (g->activation == DK_GELU) DK_NAME(activate)(DK_GELU, c, g->c_row, rows, g->columns);
      else if (g->activation != DK_NONE) DK_NAME(activate)(g->activation, c, g->c_row, rows, g->columns);
      continue;
    }
    DK_NAME(tiles)[rows - 1][wide](g->a + row * g->a_row, g->a_row, g->b, g->k, tile, DK_NR, 0, ahead, 0);
    for (ptrdiff_t i = 0; i < rows; i++)
      for (ptrdiff_t j = 0; j < g->columns; j += DK_LANES)
        DK_NAME(epilogue_vector)(g, tile + i * DK_NR, row + i, j, g->columns - j, g->activation);
  }
}

/* ---- Attention ----
   Scores are held transposed, keys down and queries across the lanes: the keys' rows are read as they lie (no packing of K or V), the
   softmax is vertical (no sums across lanes), and the probabilities are already the packed panel that the second product wants.
   Keys come in groups of DK_KEYS with a running maximum (as in online softmax, Milakov & Gimelshein 2018): never T × T in memory. */
#define DK_KEYS (128 / DK_ROWS * DK_ROWS)

static ptrdiff_t DK_NAME(attention_scratch)(ptrdiff_t d) {
  const ptrdiff_t padded = (d + DK_LANES - 1) / DK_LANES * DK_LANES;
  return DK_NR * (padded + DK_KEYS + padded);
}

/* In-register transpose of a square of DK_LANES vectors: log2(DK_LANES) rounds of interleaving row i with row i + DK_LANES/2. */
DK_INLINE void DK_NAME(transpose)(V r[DK_LANES]) {
  DK_UNROLL for (int round = 0; round < DK_LOG2_LANES; round++) {
    V t[DK_LANES];
    DK_UNROLL for (int i = 0; i < DK_LANES / 2; i++) {
      t[2 * i] = DK_INTERLEAVE_LOW(r[i], r[i + DK_LANES / 2]);
      t[2 * i + 1] = DK_INTERLEAVE_HIGH(r[i], r[i + DK_LANES / 2]);
    }
    DK_UNROLL for (int i = 0; i < DK_LANES; i++) r[i] = t[i];
  }
}

/* panel[c · NR + i] = factor · x[i, c] for i < rows, zeros for the other lanes; c < columns. */
DK_INLINE void DK_NAME(transpose_in)(const float *x, ptrdiff_t x_row, ptrdiff_t rows, ptrdiff_t columns, float factor, float *panel, const int vectors) {
  for (int j = 0; j < vectors; j++) {
    for (ptrdiff_t c = 0; c < columns; c += DK_LANES) {
      V r[DK_LANES];
      const ptrdiff_t n = columns - c < DK_LANES ? columns - c : DK_LANES;
      DK_UNROLL for (int i = 0; i < DK_LANES; i++) {
        const ptrdiff_t row = (ptrdiff_t)j * DK_LANES + i;
        r[i] = row >= rows ? v_set(0.0f) : n == DK_LANES ? v_load(x + row * x_row + c) : v_load_part(x + row * x_row + c, n);
      }
      DK_NAME(transpose)(r);
      DK_UNROLL for (int i = 0; i < DK_LANES; i++)
        if (i < n) v_store(panel + (c + i) * DK_NR + j * DK_LANES, r[i] * v_set(factor));
    }
  }
}

/* The way back for vector j of a panel of d rows, times `factor`, into the rows of `rows` that it has. */
DK_INLINE void DK_NAME(transpose_out)(const float *panel, int j, ptrdiff_t rows, ptrdiff_t d, V factor, float *out, ptrdiff_t out_row) {
  const ptrdiff_t first = (ptrdiff_t)j * DK_LANES;
  for (ptrdiff_t c = 0; c < d; c += DK_LANES) {
    V r[DK_LANES];
    const ptrdiff_t n = d - c < DK_LANES ? d - c : DK_LANES;
    DK_UNROLL for (int i = 0; i < DK_LANES; i++) r[i] = i < n ? v_load(panel + (c + i) * DK_NR + first) * factor : v_set(0.0f);
    DK_NAME(transpose)(r);
    DK_UNROLL for (int i = 0; i < DK_LANES; i++) {
      if (first + i >= rows) continue;
      float *y = out + (first + i) * out_row + c;
      if (n == DK_LANES) v_store(y, r[i]); else v_store_part(y, r[i], n);
    }
  }
}

DK_INLINE void DK_NAME(attention)(const dk_f32_attention_block *t, const int wide) {
  const int vectors = wide ? DK_VECTORS : DK_VECTORS / 2;
  const ptrdiff_t d = t->head_width, padded = (d + DK_LANES - 1) / DK_LANES * DK_LANES;
  float *q = t->scratch, *s = q + DK_NR * padded, *o = s + DK_NR * DK_KEYS;
  /* The rows that are written at the end are asked for now: in a long sequence they have left the caches. */
  for (ptrdiff_t i = 0; i < t->queries; i++)
    for (ptrdiff_t c = 0; c < d; c += 16) __builtin_prefetch(t->out + i * t->out_row + c, 1, 2);
  DK_NAME(transpose_in)(t->q, t->q_row, t->queries, d, t->scale * DK_LOG2E, q, vectors);

  V largest[DK_VECTORS], total[DK_VECTORS];
  DK_UNROLL for (int j = 0; j < vectors; j++) { largest[j] = v_set(-INFINITY); total[j] = v_set(0.0f); }
  for (ptrdiff_t key = 0; key < t->tokens; key += DK_KEYS) {
    const ptrdiff_t keys = t->tokens - key < DK_KEYS ? t->tokens - key : DK_KEYS;
    for (ptrdiff_t row = 0, rows; row < keys; row += rows) {
      rows = DK_NAME(tile_rows)(keys - row);
      const float *kp = t->k + (key + row) * t->k_row;
      DK_NAME(tiles)[rows - 1][wide](kp, t->k_row, q, d, s + row * DK_NR, DK_NR, 0, (const char *)q, 0);
    }
    V top[DK_VECTORS], sum[DK_VECTORS];
    DK_UNROLL for (int j = 0; j < vectors; j++) top[j] = largest[j];
    for (ptrdiff_t i = 0; i < keys; i++)
      DK_UNROLL for (int j = 0; j < vectors; j++) top[j] = v_max(top[j], v_load(s + i * DK_NR + j * DK_LANES));
    DK_UNROLL for (int j = 0; j < vectors; j++) sum[j] = v_set(0.0f);
    for (ptrdiff_t i = 0; i < keys; i++)
      DK_UNROLL for (int j = 0; j < vectors; j++) {
        float *p = s + i * DK_NR + j * DK_LANES;
        V e = v_exp2_of_at_most_0(v_load(p) - top[j]);
        sum[j] += e;
        v_store(p, e);
      }
    if (key > 0) {
      V shrink[DK_VECTORS];
      DK_UNROLL for (int j = 0; j < vectors; j++) {
        shrink[j] = v_exp2_of_at_most_0(largest[j] - top[j]);
        total[j] *= shrink[j];
      }
      for (ptrdiff_t i = 0; i < d; i++)
        DK_UNROLL for (int j = 0; j < vectors; j++) {
          float *p = o + i * DK_NR + j * DK_LANES;
          v_store(p, v_load(p) * shrink[j]);
        }
    }
    DK_UNROLL for (int j = 0; j < vectors; j++) { total[j] += sum[j]; largest[j] = top[j]; }
    for (ptrdiff_t row = 0; row < d; row += DK_ROWS) {
      const ptrdiff_t rows = d - row < DK_ROWS ? d - row : DK_ROWS;
      DK_NAME(tiles)[rows - 1][wide + 2](t->v + key * t->v_row + row, t->v_row, s, keys, o + row * DK_NR, DK_NR, key > 0, (const char *)s, 0);
    }
  }
  for (int j = 0; j < vectors; j++) DK_NAME(transpose_out)(o, j, t->queries, d, v_set(1.0f) / total[j], t->out, t->out_row);
}

static void DK_NAME(dk_f32_attention)(const dk_f32_attention_block *t) {
  if (t->queries > DK_NR / 2) DK_NAME(attention)(t, 1); else DK_NAME(attention)(t, 0);
}

/* ---- Rows ---- */

static void DK_NAME(dk_f32_softmax)(const float *x, ptrdiff_t x_row, float *y, ptrdiff_t y_row, ptrdiff_t rows, ptrdiff_t columns) {
  const ptrdiff_t whole = columns / DK_LANES * DK_LANES;
  for (ptrdiff_t r = 0; r < rows; r++, x += x_row, y += y_row) {
    V top = v_set(-INFINITY), sum = v_set(0.0f);
    for (ptrdiff_t i = 0; i < whole; i += DK_LANES) top = v_max(top, v_load(x + i));
    float most = v_largest(top), total;
    for (ptrdiff_t i = whole; i < columns; i++) most = x[i] > most ? x[i] : most;
    for (ptrdiff_t i = 0; i < whole; i += DK_LANES) {
      V e = v_exp2_of_at_most_0((v_load(x + i) - v_set(most)) * v_set(DK_LOG2E));
      sum += e;
      v_store(y + i, e);
    }
    total = v_sum(sum);
    if (whole < columns) {
      float t[DK_LANES];
      v_store(t, v_exp2_of_at_most_0((v_load_part(x + whole, columns - whole) - v_set(most)) * v_set(DK_LOG2E)));
      for (ptrdiff_t i = whole; i < columns; i++) total += (y[i] = t[i - whole]);
    }
    const float inverse = 1.0f / total;
    for (ptrdiff_t i = 0; i < columns; i++) y[i] *= inverse;
  }
}

static void DK_NAME(dk_f32_attention_row)(const float *q, const float *k, ptrdiff_t k_row, ptrdiff_t tokens, ptrdiff_t d, float scale, float *weights) {
  for (ptrdiff_t t = 0; t < tokens; t++) {
    const float *key = k + t * k_row;
    V acc = v_set(0.0f);
    ptrdiff_t i = 0;
    for (; i + DK_LANES <= d; i += DK_LANES) acc = DK_FMA(v_load(q + i), v_load(key + i), acc);
    float dot = v_sum(acc);
    for (; i < d; i++) dot += q[i] * key[i];
    weights[t] = dot * scale;
  }
  DK_NAME(dk_f32_softmax)(weights, 0, weights, 0, 1, tokens);
}

static void DK_NAME(dk_f32_layer_norm)(const float *x, ptrdiff_t x_row, const float *weight, const float *bias, float epsilon, float *y, ptrdiff_t y_row,
                                       ptrdiff_t rows, ptrdiff_t columns) {
  const ptrdiff_t whole = columns / DK_LANES * DK_LANES;
  for (ptrdiff_t r = 0; r < rows; r++, x += x_row, y += y_row) {
    V sum = v_set(0.0f), squares = v_set(0.0f);
    for (ptrdiff_t i = 0; i < whole; i += DK_LANES) sum += v_load(x + i);
    float total = v_sum(sum);
    for (ptrdiff_t i = whole; i < columns; i++) total += x[i];
    const float mean = total / (float)columns;
    for (ptrdiff_t i = 0; i < whole; i += DK_LANES) {
      V c = v_load(x + i) - v_set(mean);
      squares = DK_FMA(c, c, squares);
    }
    float spread = v_sum(squares);
    for (ptrdiff_t i = whole; i < columns; i++) spread += (x[i] - mean) * (x[i] - mean);
    const float inverse = 1.0f / __builtin_sqrtf(spread / (float)columns + epsilon);
    for (ptrdiff_t i = 0; i < whole; i += DK_LANES)
      v_store(y + i, DK_FMA((v_load(x + i) - v_set(mean)) * v_set(inverse), v_load(weight + i), v_load(bias + i)));
    for (ptrdiff_t i = whole; i < columns; i++) y[i] = (x[i] - mean) * inverse * weight[i] + bias[i];
  }
}

static void DK_NAME(dk_f32_activation)(int32_t activation, const float *x, float *y, ptrdiff_t count) {
  ptrdiff_t i = 0;
  for (; i + DK_LANES <= count; i += DK_LANES) v_store(y + i, v_activate(activation, v_load(x + i)));
  if (i < count) v_store_part(y + i, v_activate(activation, v_load_part(x + i, count - i)), count - i);
}

/* Two products and their sum, each rounded, on every instruction set: what quantizes the result gives the same bits everywhere. */
static void DK_NAME(dk_f32_rotary)(const float *x, ptrdiff_t x_row, float *y, ptrdiff_t y_row, const float *cos, const float *sin, ptrdiff_t rows, ptrdiff_t columns, ptrdiff_t head_width,
                                   int32_t transposed) {
#pragma clang fp contract(off)
  const ptrdiff_t half = head_width / 2;
  for (ptrdiff_t r = 0; r < rows; r++, x += x_row, y += y_row, cos += head_width, sin += head_width)
    for (ptrdiff_t i = 0; i < half; i += DK_LANES) {
      const ptrdiff_t n = half - i;
      if (n >= DK_LANES) {
        const V c_low = v_load(cos + i), c_high = v_load(cos + half + i), s_low = v_load(sin + i), s_high = v_load(sin + half + i);
        const V a = transposed ? -s_high : s_low, b = transposed ? -s_low : s_high;
        for (ptrdiff_t at = i; at < columns; at += head_width) {
          const V low = v_load(x + at), high = v_load(x + at + half);
          v_store(y + at, low * c_low - high * a);
          v_store(y + at + half, high * c_high + low * b);
        }
      } else {
        const V c_low = v_load_part(cos + i, n), c_high = v_load_part(cos + half + i, n), s_low = v_load_part(sin + i, n), s_high = v_load_part(sin + half + i, n);
        const V a = transposed ? -s_high : s_low, b = transposed ? -s_low : s_high;
        for (ptrdiff_t at = i; at < columns; at += head_width) {
          const V low = v_load_part(x + at, n), high = v_load_part(x + at + half, n);
          v_store_part(y + at, low * c_low - high * a, n);
          v_store_part(y + at + half, high * c_high + low * b, n);
        }
      }
    }
}

static void DK_NAME(dk_f32_gate)(int32_t activation, const float *x, const float *value, float *y, ptrdiff_t count) {
  ptrdiff_t i = 0;
  for (; i + DK_LANES <= count; i += DK_LANES) v_store(y + i, v_activate(activation, v_load(x + i)) * v_load(value + i));
  if (i < count) v_store_part(y + i, v_activate(activation, v_load_part(x + i, count - i)) * v_load_part(value + i, count - i), count - i);
}

/* ---- Packing and measuring ---- */

static void DK_NAME(dk_f32_pack)(const float *w, ptrdiff_t w_row, ptrdiff_t columns, ptrdiff_t k, float *panel) {
  DK_NAME(transpose_in)(w, w_row, columns, k, 1.0f, panel, DK_VECTORS);
}

static double DK_NAME(dk_f32_peak)(ptrdiff_t rounds, float *sink) {
  V acc[12];
  V a = v_load_part(sink, 4), b = v_load_part(sink + 4, 4);
  DK_UNROLL for (int i = 0; i < 12; i++) acc[i] = v_set((float)i);
  for (ptrdiff_t r = 0; r < rounds; r++)
    DK_UNROLL for (int u = 0; u < 4; u++)
      DK_UNROLL for (int i = 0; i < 12; i++) acc[i] = DK_FMA(acc[i], a, b);
  V all = acc[0];
  DK_UNROLL for (int i = 1; i < 12; i++) all += acc[i];
  sink[8] = v_sum(all);
  return 2.0 * 48.0 * DK_LANES * (double)rounds;
}

#include "search_kernels.h"
#include "f32_training.h"

/* The f32 members of a table; the including file adds the name and the other kinds of kernels. */
#define DK_F32_MEMBERS                                       \
  .mr = DK_ROWS, .nr = DK_NR,                                \
  .f32_gemm = DK_NAME(dk_f32_gemm),                          \
  .f32_attention = DK_NAME(dk_f32_attention),                \
  .f32_attention_scratch = DK_NAME(attention_scratch),       \
  .f32_attention_row = DK_NAME(dk_f32_attention_row),        \
  .f32_layer_norm = DK_NAME(dk_f32_layer_norm),              \
  .f32_softmax = DK_NAME(dk_f32_softmax),                    \
  .f32_activation = DK_NAME(dk_f32_activation),              \
  .f32_rotary = DK_NAME(dk_f32_rotary),                      \
  .f32_gate = DK_NAME(dk_f32_gate),                          \
  .f32_pack = DK_NAME(dk_f32_pack),                          \
  .f32_peak = DK_NAME(dk_f32_peak),                          \
  .f32_dots = DK_NAME(dk_f32_dots),                          \
  .f16_dots = DK_NAME(dk_f16_dots),                          \
  .i8_dots = DK_NAME(dk_i8_dots),                            \
  .sum_bytes = DK_NAME(dk_sum_bytes),                        \
  DK_TRAINING_MEMBERS
