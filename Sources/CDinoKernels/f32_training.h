/* The f32 kernels of the backward pass; included by f32_kernels.h once for each instruction set and built from the same register
   tiles. Sums over rows run in one order, first row first: results do not depend on how work was split among threads. */

/* ---- C = or += Aᵀ · B: k rows of A (its columns are rows of C) against one packed panel of k rows of B ---- */

static void DK_NAME(dk_f32_gemm_transposed)(const dk_f32_gemm_transposed_block *g) {
  float tile[DK_ROWS * DK_NR] __attribute__((aligned(64)));
  const int wide = g->columns > DK_NR / 2;
  const ptrdiff_t width = wide ? DK_NR : DK_NR / 2;
  const char *prefetch = g->prefetch, *prefetch_end = prefetch + g->prefetch_bytes;
  for (ptrdiff_t row = 0; row < g->rows; row += DK_ROWS) {
    const ptrdiff_t rows = g->rows - row < DK_ROWS ? g->rows - row : DK_ROWS;
    float *c = g->c + row * g->c_row;
    const char *ahead = prefetch < prefetch_end ? prefetch : (const char *)g->b;
    if (ahead == prefetch) prefetch += g->k / 4 * 64;
    if (g->columns == width) {
      DK_NAME(tiles)[rows - 1][wide + 2](g->a + row, g->a_row, g->b, g->k, c, g->c_row, g->accumulate, ahead, 0);
      continue;
    }
    for (ptrdiff_t i = 0; i < rows; i++)
      for (ptrdiff_t j = 0; j < width; j++) tile[i * DK_NR + j] = g->accumulate && j < g->columns ? c[i * g->c_row + j] : 0.0f;
    DK_NAME(tiles)[rows - 1][wide + 2](g->a + row, g->a_row, g->b, g->k, tile, DK_NR, 1, ahead, 0);
    for (ptrdiff_t i = 0; i < rows; i++) memcpy(c + i * g->c_row, tile + i * DK_NR, (size_t)g->columns * sizeof(float));
  }
}

/* ---- Attention, backward ----
   One head at a time, a block of NR queries at a time, scores transposed as in the forward kernel: keys down, queries across the lanes.
     P = softmax(S), dP = dO·Vᵀ, dS = P ∘ (dP - Σ P∘dP)     dV += Pᵀ·dO, dK += dSᵀ·Q·scale, dQ = dS·K·scale */

static ptrdiff_t DK_NAME(attention_gradient_scratch)(ptrdiff_t tokens, ptrdiff_t d) {
  const ptrdiff_t padded = (d + DK_NR - 1) / DK_NR * DK_NR, keys = (tokens + DK_ROWS - 1) / DK_ROWS * DK_ROWS;
  return DK_NR * 3 * padded + 2 * DK_NR * padded + 2 * keys * DK_NR + 2 * keys * padded;
}

/* panels[p · NR · NR + i · NR + j] = x[i, p · NR + j], zeros beyond d. */
DK_INLINE void DK_NAME(row_panels)(const float *x, ptrdiff_t x_row, ptrdiff_t rows, ptrdiff_t d, ptrdiff_t padded, float factor, float *panels) {
  for (ptrdiff_t p = 0; p < padded; p += DK_NR, panels += DK_NR * DK_NR)
    for (ptrdiff_t i = 0; i < rows; i++)
      for (ptrdiff_t j = 0; j < DK_NR; j += DK_LANES) {
        const ptrdiff_t n = d - p - j;
        const float *from = x + i * x_row + p + j;
        v_store(panels + i * DK_NR + j, (n >= DK_LANES ? v_load(from) : n > 0 ? v_load_part(from, n) : v_set(0.0f)) * v_set(factor));
      }
}

/* s[key, query] = keys · panel, for all keys. */
DK_INLINE void DK_NAME(scores)(const float *k, ptrdiff_t k_row, ptrdiff_t tokens, ptrdiff_t d, const float *panel, float *s, const int wide) {
  for (ptrdiff_t row = 0; row < tokens; row += DK_ROWS) {
    const ptrdiff_t rows = tokens - row < DK_ROWS ? tokens - row : DK_ROWS;
    DK_NAME(tiles)[rows - 1][wide](k + row * k_row, k_row, panel, d, s + row * DK_NR, DK_NR, 0, (const char *)panel, 0);
  }
}

static void DK_NAME(dk_f32_attention_gradient)(const dk_f32_attention_gradient_head *t) {
  const ptrdiff_t d = t->head_width, tokens = t->tokens;
  const ptrdiff_t padded = (d + DK_NR - 1) / DK_NR * DK_NR, keys = (tokens + DK_ROWS - 1) / DK_ROWS * DK_ROWS;
  float *q = t->scratch, *g = q + DK_NR * padded, *dq = g + DK_NR * padded, *qp = dq + DK_NR * padded, *gp = qp + DK_NR * padded;
  float *s = gp + DK_NR * padded, *ds = s + keys * DK_NR, *dk = ds + keys * DK_NR, *dv = dk + keys * padded;
  for (ptrdiff_t first = 0; first < t->queries; first += DK_NR) {
    const ptrdiff_t queries = t->queries - first < DK_NR ? t->queries - first : DK_NR;
    const int wide = queries > DK_NR / 2, vectors = wide ? DK_VECTORS : DK_VECTORS / 2;
    const float *qr = t->q + first * t->q_row, *gr = t->dy + first * t->dy_row;
    DK_NAME(transpose_in)(qr, t->q_row, queries, d, t->scale * DK_LOG2E, q, vectors);
    DK_NAME(transpose_in)(gr, t->dy_row, queries, d, 1.0f, g, vectors);
    DK_NAME(row_panels)(qr, t->q_row, queries, d, padded, t->scale, qp);
    DK_NAME(row_panels)(gr, t->dy_row, queries, d, padded, 1.0f, gp);
    DK_NAME(scores)(t->k, t->k_row, tokens, d, q, s, wide);
    DK_NAME(scores)(t->v, t->v_row, tokens, d, g, ds, wide);
    for (int j = 0; j < vectors; j++) {
      V top = v_set(-INFINITY), sum = v_set(0.0f), dot = v_set(0.0f);
      for (ptrdiff_t i = 0; i < tokens; i++) top = v_max(top, v_load(s + i * DK_NR + j * DK_LANES));
      for (ptrdiff_t i = 0; i < tokens; i++) {
        float *p = s + i * DK_NR + j * DK_LANES;
        V e = v_exp2_of_at_most_0(v_load(p) - top);
        sum += e;
        dot = DK_FMA(e, v_load(ds + i * DK_NR + j * DK_LANES), dot);
        v_store(p, e);
      }
      const V inverse = v_set(1.0f) / sum;
      dot *= inverse;
      for (ptrdiff_t i = 0; i < tokens; i++) {
        float *p = s + i * DK_NR + j * DK_LANES, *r = ds + i * DK_NR + j * DK_LANES;
        V e = v_load(p) * inverse;
        v_store(p, e);
        v_store(r, e * (v_load(r) - dot));
      }
    }
    for (ptrdiff_t row = 0; row < tokens; row += DK_ROWS) {
      const ptrdiff_t rows = tokens - row < DK_ROWS ? tokens - row : DK_ROWS;
      for (ptrdiff_t p = 0; p < padded; p += DK_NR) {
        DK_NAME(tiles)[rows - 1][1](s + row * DK_NR, DK_NR, gp + p * DK_NR, queries, dv + row * padded + p, padded, first > 0, (const char *)gp, 0);
        DK_NAME(tiles)[rows - 1][1](ds + row * DK_NR, DK_NR, qp + p * DK_NR, queries, dk + row * padded + p, padded, first > 0, (const char *)qp, 0);
      }
    }
    for (ptrdiff_t row = 0; row < d; row += DK_ROWS) {
      const ptrdiff_t rows = d - row < DK_ROWS ? d - row : DK_ROWS;
      DK_NAME(tiles)[rows - 1][wide + 2](t->k + row, t->k_row, ds, tokens, dq + row * DK_NR, DK_NR, 0, (const char *)ds, 0);
    }
    for (int j = 0; j < vectors; j++) DK_NAME(transpose_out)(dq, j, queries, d, v_set(t->scale), t->dq + first * t->out_row, t->out_row);
  }
  for (ptrdiff_t i = t->queries; i < tokens; i++) memset(t->dq + i * t->out_row, 0, (size_t)d * sizeof(float));
  for (ptrdiff_t i = 0; i < tokens; i++) {
    memcpy(t->dk + i * t->out_row, dk + i * padded, (size_t)d * sizeof(float));
    memcpy(t->dv + i * t->out_row, dv + i * padded, (size_t)d * sizeof(float));
  }
}

/* ---- Rows ---- */

DK_INLINE void DK_NAME(row_statistics)(const float *x, ptrdiff_t columns, float epsilon, float *mean, float *inverse) {
  const ptrdiff_t whole = columns / DK_LANES * DK_LANES;
  V sum = v_set(0.0f), squares = v_set(0.0f);
  for (ptrdiff_t i = 0; i < whole; i += DK_LANES) sum += v_load(x + i);
  float total = v_sum(sum);
  for (ptrdiff_t i = whole; i < columns; i++) total += x[i];
  const float m = total / (float)columns;
  for (ptrdiff_t i = 0; i < whole; i += DK_LANES) {
    V c = v_load(x + i) - v_set(m);
    squares = DK_FMA(c, c, squares);
  }
  float spread = v_sum(squares);
  for (ptrdiff_t i = whole; i < columns; i++) spread += (x[i] - m) * (x[i] - m);
  *mean = m;
  *inverse = 1.0f / __builtin_sqrtf(spread / (float)columns + epsilon);
}

/* dx = inverse · (h - mean(h) - n · mean(h ∘ n)), h = dy ∘ weight, n the normalised row. */
static void DK_NAME(dk_f32_layer_norm_gradient)(const float *dy, ptrdiff_t dy_row, const float *x, ptrdiff_t x_row, const float *weight, float epsilon,
                                                float *dx, ptrdiff_t dx_row, ptrdiff_t rows, ptrdiff_t columns) {
  const ptrdiff_t whole = columns / DK_LANES * DK_LANES;
  for (ptrdiff_t r = 0; r < rows; r++, dy += dy_row, x += x_row, dx += dx_row) {
    float mean, inverse;
    DK_NAME(row_statistics)(x, columns, epsilon, &mean, &inverse);
    V sum = v_set(0.0f), dot = v_set(0.0f);
    for (ptrdiff_t i = 0; i < whole; i += DK_LANES) {
      V h = v_load(dy + i) * v_load(weight + i);
      sum += h;
      dot = DK_FMA(h, (v_load(x + i) - v_set(mean)) * v_set(inverse), dot);
    }
    float a = v_sum(sum), b = v_sum(dot);
    for (ptrdiff_t i = whole; i < columns; i++) {
      const float h = dy[i] * weight[i];
      a += h;
      b += h * (x[i] - mean) * inverse;
    }
    a /= (float)columns;
    b /= (float)columns;
    for (ptrdiff_t i = 0; i < whole; i += DK_LANES) {
      V n = (v_load(x + i) - v_set(mean)) * v_set(inverse);
      v_store(dx + i, (v_load(dy + i) * v_load(weight + i) - v_set(a) - n * v_set(b)) * v_set(inverse));
    }
    for (ptrdiff_t i = whole; i < columns; i++) dx[i] = (dy[i] * weight[i] - a - (x[i] - mean) * inverse * b) * inverse;
  }
}

/* sums = Σ over rows of dy ∘ n. */
static void DK_NAME(dk_f32_layer_norm_sums)(const float *dy, ptrdiff_t dy_row, const float *x, ptrdiff_t x_row, float epsilon, float *sums, ptrdiff_t rows,
                                            ptrdiff_t columns) {
  for (ptrdiff_t i = 0; i < columns; i++) sums[i] = 0.0f;
  const ptrdiff_t whole = columns / DK_LANES * DK_LANES;
  for (ptrdiff_t r = 0; r < rows; r++, dy += dy_row, x += x_row) {
    float mean, inverse;
    DK_NAME(row_statistics)(x, columns, epsilon, &mean, &inverse);
    for (ptrdiff_t i = 0; i < whole; i += DK_LANES)
      v_store(sums + i, DK_FMA(v_load(dy + i), (v_load(x + i) - v_set(mean)) * v_set(inverse), v_load(sums + i)));
    for (ptrdiff_t i = whole; i < columns; i++) sums[i] += dy[i] * (x[i] - mean) * inverse;
  }
}

static void DK_NAME(dk_f32_sum_rows)(const float *x, ptrdiff_t x_row, float *sums, ptrdiff_t rows, ptrdiff_t columns) {
  for (ptrdiff_t i = 0; i < columns; i++) sums[i] = 0.0f;
  const ptrdiff_t whole = columns / DK_LANES * DK_LANES;
  for (ptrdiff_t r = 0; r < rows; r++, x += x_row) {
    for (ptrdiff_t i = 0; i < whole; i += DK_LANES) v_store(sums + i, v_load(sums + i) + v_load(x + i));
    for (ptrdiff_t i = whole; i < columns; i++) sums[i] += x[i];
  }
}

DK_INLINE V DK_NAME(slope)(int32_t activation, V x) {
  const V one = v_set(1.0f);
  switch (activation) {
  case DK_GELU: return v_gelu_slope(x);
  case DK_GELU_TANH: {
    V u = x * DK_FMA(x * x, v_set(0.044715f * 0.79788456080286536f), v_set(0.79788456080286536f));
    V s = one / (one + v_exp2(u * v_set(-2.0f * DK_LOG2E)));
    V du = DK_FMA(x * x, v_set(3.0f * 0.044715f * 0.79788456080286536f), v_set(0.79788456080286536f));
    return DK_FMA(v_set(2.0f) * x * du, s * (one - s), s);
  }
  case DK_RELU: { /* 1 above 0: max(x, 0) · huge, cut off at 1 */
    return v_min(v_max(v_set(0.0f), x) * v_set(1e38f) * v_set(1e38f), one);
  }
  case DK_SILU: {
    V s = one / (one + v_exp2(x * v_set(-DK_LOG2E)));
    return DK_FMA(x, s * (one - s), s);
  }
  default: return one;
  }
}

static void DK_NAME(dk_f32_activation_gradient)(int32_t activation, const float *dy, const float *x, float *dx, ptrdiff_t count) {
  ptrdiff_t i = 0;
  for (; i + DK_LANES <= count; i += DK_LANES) v_store(dx + i, v_load(dy + i) * DK_NAME(slope)(activation, v_load(x + i)));
  if (i < count)
    v_store_part(dx + i, v_load_part(dy + i, count - i) * DK_NAME(slope)(activation, v_load_part(x + i, count - i)), count - i);
}

static void DK_NAME(dk_f32_gate_gradient)(int32_t activation, const float *dy, const float *x, const float *value, float *dx, float *dvalue, ptrdiff_t count) {
  for (ptrdiff_t i = 0; i < count; i += DK_LANES) {
    const ptrdiff_t n = count - i;
    const int whole = n >= DK_LANES;
    const V d = whole ? v_load(dy + i) : v_load_part(dy + i, n), a = whole ? v_load(x + i) : v_load_part(x + i, n), b = whole ? v_load(value + i) : v_load_part(value + i, n);
    const V da = d * b * DK_NAME(slope)(activation, a), db = d * v_activate(activation, a);
    if (whole) { v_store(dx + i, da); v_store(dvalue + i, db); } else { v_store_part(dx + i, da, n); v_store_part(dvalue + i, db, n); }
  }
}

/* ---- Over parameters: dense runs of floats ---- */

/* sum of (a_factor · a + b_factor · b)²; b may be null. Runs are short enough (the caller's blocks) for single precision in lanes. */
static double DK_NAME(dk_f32_squares)(const float *a, float a_factor, const float *b, float b_factor, ptrdiff_t count) {
  V sum = v_set(0.0f);
  double rest = 0.0;
  ptrdiff_t i = 0;
  for (; i + DK_LANES <= count; i += DK_LANES) {
    V x = v_load(a + i) * v_set(a_factor);
    if (b) x += v_load(b + i) * v_set(b_factor);
    sum = DK_FMA(x, x, sum);
  }
  for (; i < count; i++) {
    const double x = (double)a[i] * a_factor + (b ? (double)b[i] * b_factor : 0.0);
    rest += x * x;
  }
  return (double)v_sum(sum) + rest;
}

/* torch's AdamW: p -= p · lr · decay; m and v follow factor · g; p -= lr / c1 · m / (√v / √c2 + epsilon), c1 and c2 the bias corrections. */
DK_INLINE void DK_NAME(adamw)(const dk_f32_adamw_run *t, V g, V *p, V *m, V *v) {
  g *= v_set(t->factor);
  *m += (g - *m) * v_set(t->one_minus_beta1);
  *v = *v * v_set(t->beta2) + g * g * v_set(t->one_minus_beta2);
  *p = *p * v_set(t->keep) - v_set(t->step) * *m / (__builtin_elementwise_sqrt(*v) * v_set(t->inverse_root) + v_set(t->epsilon));
}

static void DK_NAME(dk_f32_adamw)(const dk_f32_adamw_run *t) {
  ptrdiff_t i = 0;
  for (; i + DK_LANES <= t->count; i += DK_LANES) {
    V p = v_load(t->p + i), m = v_load(t->m + i), v = v_load(t->v + i);
    DK_NAME(adamw)(t, v_load(t->g + i), &p, &m, &v);
    v_store(t->p + i, p); v_store(t->m + i, m); v_store(t->v + i, v);
  }
  const ptrdiff_t n = t->count - i;
  if (n == 0) return;
  V p = v_load_part(t->p + i, n), m = v_load_part(t->m + i, n), v = v_load_part(t->v + i, n);
  DK_NAME(adamw)(t, v_load_part(t->g + i, n), &p, &m, &v);
  v_store_part(t->p + i, p, n); v_store_part(t->m + i, m, n); v_store_part(t->v + i, v, n);
}

/* m = momentum · m + factor · g + decay · p; p -= rate · m. */
static void DK_NAME(dk_f32_momentum)(float *p, const float *g, float *m, float factor, float decay, float momentum, float rate, ptrdiff_t count) {
  for (ptrdiff_t i = 0; i < count; i += DK_LANES) {
    const ptrdiff_t n = count - i;
    const int whole = n >= DK_LANES;
    V pv = whole ? v_load(p + i) : v_load_part(p + i, n), gv = whole ? v_load(g + i) : v_load_part(g + i, n), mv = whole ? v_load(m + i) : v_load_part(m + i, n);
    mv = mv * v_set(momentum) + (gv * v_set(factor) + pv * v_set(decay));
    pv -= mv * v_set(rate);
    if (whole) { v_store(p + i, pv); v_store(m + i, mv); } else { v_store_part(p + i, pv, n); v_store_part(m + i, mv, n); }
  }
}

/* y = keep · y + add · x. */
static void DK_NAME(dk_f32_blend)(float *y, const float *x, float keep, float add, ptrdiff_t count) {
  for (ptrdiff_t i = 0; i < count; i += DK_LANES) {
    const ptrdiff_t n = count - i;
    if (n >= DK_LANES) v_store(y + i, v_load(y + i) * v_set(keep) + v_load(x + i) * v_set(add));
    else v_store_part(y + i, v_load_part(y + i, n) * v_set(keep) + v_load_part(x + i, n) * v_set(add), n);
  }
}

#define DK_TRAINING_MEMBERS                                                      \
  .f32_gemm_transposed = DK_NAME(dk_f32_gemm_transposed),                        \
  .f32_attention_gradient_scratch = DK_NAME(attention_gradient_scratch),         \
  .f32_attention_gradient = DK_NAME(dk_f32_attention_gradient),                  \
  .f32_layer_norm_gradient = DK_NAME(dk_f32_layer_norm_gradient),                \
  .f32_layer_norm_sums = DK_NAME(dk_f32_layer_norm_sums),                        \
  .f32_sum_rows = DK_NAME(dk_f32_sum_rows),                                      \
  .f32_activation_gradient = DK_NAME(dk_f32_activation_gradient),                \
  .f32_gate_gradient = DK_NAME(dk_f32_gate_gradient),                            \
  .f32_squares = DK_NAME(dk_f32_squares),                                        \
  .f32_adamw = DK_NAME(dk_f32_adamw),                                            \
  .f32_momentum = DK_NAME(dk_f32_momentum),                                      \
  .f32_blend = DK_NAME(dk_f32_blend)
