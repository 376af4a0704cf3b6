/* Attention on int8 queries, keys and values, each token of each head with its own scale; part of int8_kernels.h.
   Scores are held transposed, keys down and queries across the lanes, so that the softmax is vertical and the probabilities are already the panel that
   the second product reads (see f32_kernels.h). exp(score) · v_scale, the largest of a key block's value scales taken out, is rounded to 14 bits: the tail of
   many small probabilities is not lost. Where words hold bytes it goes in as two planes of 7 bits.
   Blocks of keys depend on the number of tokens alone: the same bits everywhere. */

#define DK_KEYS 256
#define DK_LEVELS 16256.0f /* 127 · 128 */
#define DK_GROUPS (DK_NR / E_LANES)

static ptrdiff_t DK_NAME(dk_i8_attention_scratch)(ptrdiff_t d) {
  return DK_NR * (1 + DK_PANEL_WORDS(d) + DK_KEYS + 2 * DK_PANEL_WORDS(DK_KEYS) + (d + 15) / 16 * 16);
}

#define DK_BITS (32 / DK_DEPTH)
#define DK_MASK ((1 << DK_BITS) - 1)

/* ---- Quantization of heads ---- */
DK_INLINE float DK_NAME(head_factor)(const float *x, ptrdiff_t d, float *scale) {
  const float largest = DK_NAME(row_largest)(x, d);
  *scale = largest / 127.0f;
  return largest > 0.0f ? 127.0f / largest : 0.0f;
}

/* How many words of values are made at once: as many as are transposed, where they lie by channel. */
#if DK_BY_CHANNEL
#define DK_VALUE_GROUPS 16
#else
#define DK_VALUE_GROUPS 1
#endif

static void DK_NAME(dk_i8_quantize_heads)(const dk_heads_block *t) {
  const ptrdiff_t d = t->head_width, words = DK_WORDS(d);
  for (ptrdiff_t h = 0; h < t->heads; h++) {
    for (ptrdiff_t r = 0; r < t->rows; r++) {
      const float *q = t->q + r * t->q_row + h * d, *k = t->k + r * t->k_row + h * d;
      const float fq = DK_NAME(head_factor)(q, d, t->q_scale + h * t->scale_head + r), fk = DK_NAME(head_factor)(k, d, t->k_scale + h * t->scale_head + r);
      for (ptrdiff_t i = 0; i < d; i += E_LANES) {
        DK_NAME(store_low)(t->k8 + r * t->row8 + h * words, i, e_round_low(e_load_some(k + i, d - i), e_set(fk), DK_KEY_ZERO), d - i, DK_KEY_ZERO);
        DK_NAME(store_low)(t->q8 + r * t->row8 + h * words, i, e_round_low(e_load_some(q + i, d - i), e_set(fq), 0), d - i, 0);
      }
    }
    for (ptrdiff_t r = 0; r < t->rows; r += DK_VALUE_GROUPS * DK_DEPTH) {
      float factor[DK_VALUE_GROUPS * DK_DEPTH] = {0}; /* 0 beyond the last row */
      const ptrdiff_t n = t->rows - r < DK_VALUE_GROUPS * DK_DEPTH ? t->rows - r : DK_VALUE_GROUPS * DK_DEPTH, groups = DK_WORDS(n);
      const float *v = t->v + r * t->v_row + h * d;
      int32_t *to = t->v8 + r / DK_DEPTH * t->v8_row + h * d * t->v8_column;
      for (ptrdiff_t i = 0; i < n; i++) factor[i] = DK_NAME(head_factor)(v + i * t->v_row, d, t->v_scale + h * t->scale_head + r + i);
      for (ptrdiff_t c = 0; c < d; c += E_LANES, to += E_LANES * t->v8_column) {
        E words[DK_VALUE_GROUPS];
        for (ptrdiff_t g = 0; g < groups; g++) {
          EI word = (EI)(0);
          for (int i = 0; i < DK_DEPTH; i++) {
            const ptrdiff_t row = g * DK_DEPTH + i;
            const EI value = e_round_low(e_load_some(v + (row < n ? row : 0) * t->v_row + c, d - c), e_set(factor[row]), 0);
            word |= (value & (EI)(DK_MASK)) << (EI)(DK_BITS * i);
          }
          union { EI i; E v; } bits = {word};
          words[g] = bits.v;
        }
        const ptrdiff_t width = d - c < E_LANES ? d - c : E_LANES;
#if DK_BY_CHANNEL
        for (ptrdiff_t g = groups; g < DK_VALUE_GROUPS; g++) words[g] = e_set(0.0f);
        e_transpose(words);
        for (ptrdiff_t i = 0; i < width; i++) e_store_some((float *)(to + i * t->v8_column), words[i], groups);
#else
        memcpy(to, words, (size_t)width * sizeof *to);
#endif
      }
    }
  }
}

/* The queries' words, across: panel[c][i] = word c of query i; and what the accumulators start from. */
DK_INLINE void DK_NAME(query_panel)(const dk_attention_block *t, int32_t *start, int32_t *panel, const int groups) {
  const ptrdiff_t words = DK_WORDS(t->head_width);
  for (int g = 0; g < groups; g++) {
    EI sum = (EI)(0);
    for (ptrdiff_t c = 0; c < words; c += 16) {
      const ptrdiff_t n = words - c < 16 ? words - c : 16;
      E r[16];
      DK_UNROLL for (int i = 0; i < 16; i++) {
        const ptrdiff_t query = g * 16 + i;
        r[i] = query < t->queries ? e_load_some((const float *)(t->q8 + query * t->row8) + c, n) : e_set(0.0f);
      }
      e_transpose(r);
      DK_UNROLL for (int i = 0; i < 16; i++) {
        if (i >= n) continue;
        union { E v; EI w; } bits = {r[i]};
        *(EI_any *)(panel + (c + i) * DK_NR + g * 16) = bits.w;
        if (DK_KEY_ZERO) sum += (bits.w << 24 >> 24) + (bits.w << 16 >> 24) + (bits.w << 8 >> 24) + (bits.w >> 24);
      }
    }
    *(EI_any *)(start + g * 16) = DK_START(sum);
  }
}

/* DK_DEPTH keys' probabilities, their 14 bits below others, as words: one of levels, or two, of the upper and of the lower 7 bits. */
DK_INLINE void DK_NAME(probability_words)(const EI *p, const int step, int32_t *high, int32_t *low) {
#if DK_DEPTH == 4
  /* Keys 0 and 2, 1 and 3 side by side; then the upper and the lower bits of all four. */
  const EI half = (EI)(0xFFFF), mask = (EI)(0x007F007F), even = (p[0] & half) | p[2 * step] << 16, odd = (p[step] & half) | p[3 * step] << 16;
  *(EI_any *)low = (even & mask) | ((odd & mask) << 8);
  *(EI_any *)high = ((even >> 7) & mask) | ((odd << 1) & (mask << 8));
#else
  (void)low;
  *(EI_any *)high = (p[0] & (EI)(0xFFFF)) | p[step] << 16;
#endif
}

/* s[rows × NR] = start + A · B, B words of a panel: the rows of A `stride` apart, or, for values, its depth. */
DK_INLINE void DK_NAME(keys_product)(const int32_t *a, ptrdiff_t stride, ptrdiff_t rows, const int32_t *b, ptrdiff_t words, const int32_t *start, int32_t *out, const int half) {
#ifdef DK_TILE_DOT
  if (words == AMX_WORDS && rows >= 16) {
    if (half) amx_one_step(a, stride, rows, (const char *)b, out, 1); else amx_one_step(a, stride, rows, (const char *)b, out, 2);
  } else {
    amx_product(a, stride, rows, (const char *)b, words, start, out, 2, AMX_SIGNED, 0);
  }
#else
  for (ptrdiff_t row = 0, n; row < rows; row += n) {
    n = DK_NAME(next_rows)(rows - row);
    DK_NAME(tiles)[n - 1][half ? TILE_HALF_ROW : TILE_ROW](a + row * stride, stride, b, words, start, out + row * DK_NR, (const char *)b);
  }
#endif
}
DK_INLINE void DK_NAME(values_product)(const int32_t *a, ptrdiff_t row_words, ptrdiff_t column_words, ptrdiff_t rows, const int32_t *b, ptrdiff_t words, const int32_t *start, int32_t *out,
                                       const int half) {
#ifdef DK_TILE_DOT
  (void)row_words;
  if (half) amx_product(a, column_words, rows, (const char *)b, words, start, out, 1, AMX_LEVELS, 1); else amx_product(a, column_words, rows, (const char *)b, words, start, out, 2, AMX_LEVELS, 1);
#else
  (void)column_words;
  DK_NAME(tiles)[rows - 1][half ? TILE_HALF_COLUMN : TILE_COLUMN](a, row_words, b, words, start, out, (const char *)b);
#endif
}
#ifdef DK_TILE_DOT
enum { DK_NAME(VALUE_ROWS) = AMX_ROWS };
#define DK_NEXT_VALUES(left) ((left) < AMX_ROWS ? (left) : AMX_ROWS)
#else
enum { DK_NAME(VALUE_ROWS) = DK_ROWS };
#define DK_NEXT_VALUES(left) DK_NAME(next_rows)(left)
#endif

DK_INLINE void DK_NAME(attention)(const dk_attention_block *t, const int groups) {
  const ptrdiff_t d = t->head_width, words = DK_WORDS(d);
  const int half = groups < DK_GROUPS;
  const int32_t none[DK_NR] __attribute__((aligned(64))) = {0};
  int32_t *start = t->scratch, *q = start + DK_NR, *s = q + DK_PANEL_WORDS(d) * DK_NR, *high = s + DK_KEYS * DK_NR, *low = high + DK_PANEL_WORDS(DK_KEYS) * DK_NR;
  float *o = (float *)(low + DK_PANEL_WORDS(DK_KEYS) * DK_NR);
  DK_NAME(query_panel)(t, start, q, groups);

  const ptrdiff_t blocks = (t->tokens + DK_KEYS - 1) / DK_KEYS, size = ((t->tokens + blocks - 1) / blocks + 3) / 4 * 4;
  E largest[DK_GROUPS], total[DK_GROUPS], q_scale[DK_GROUPS];
  DK_UNROLL for (int g = 0; g < groups; g++) {
    largest[g] = e_set(-INFINITY);
    total[g] = e_set(0.0f);
    q_scale[g] = t->queries > g * 16 ? e_load_some(t->q_scale + g * 16, t->queries - g * 16) : e_set(0.0f);
    q_scale[g] = q_scale[g] * e_set(t->scale * DK_LOG2E);
  }
  for (ptrdiff_t key = 0; key < t->tokens; key += size) {
    const ptrdiff_t keys = t->tokens - key < size ? t->tokens - key : size;
    const float *k_scale = t->k_scale + key, *v_scale = t->v_scale + key;
    DK_NAME(keys_product)(t->k8 + key * t->row8, t->row8, keys, q, words, start, s, half);
    E top[DK_GROUPS], sum[DK_GROUPS], shift[DK_GROUPS], shrink[DK_GROUPS];
    DK_UNROLL for (int g = 0; g < groups; g++) top[g] = e_set(-INFINITY), sum[g] = e_set(0.0f);
    for (ptrdiff_t i = 0; i < keys; i++)
      DK_UNROLL for (int g = 0; g < groups; g++) {
        int32_t *p = s + i * DK_NR + g * 16;
        const E x = __builtin_convertvector(*(const EI_any *)p, E) * e_set(k_scale[i]);
        top[g] = e_max(x, top[g]);
        e_store((float *)p, x);
      }
    DK_UNROLL for (int g = 0; g < groups; g++) {
      top[g] = e_max(top[g] * q_scale[g], largest[g]);
      shift[g] = -top[g];
      shrink[g] = key == 0 ? e_set(0.0f) : e_exp2_of_at_most_0(largest[g] - top[g]);
      largest[g] = top[g];
    }
    E values = e_set(0.0f);
    for (ptrdiff_t i = 0; i < keys; i += 16) values = e_max(e_load_some(v_scale + i, keys - i), values);
    const float v_largest = e_largest(values), levels = v_largest > 0.0f ? DK_LEVELS / v_largest : 0.0f;
    for (ptrdiff_t i = 0; i < keys; i += DK_DEPTH) {
      EI p[DK_DEPTH * DK_GROUPS];
/* Of n keys from the u-th of their word on.. */
#define DK_PROBABILITIES(u, n)                                                                                                                           \
  {                                                                                                                                                      \
    E e[DK_DEPTH * DK_GROUPS];                                                                                                                           \
    DK_UNROLL for (int w = 0; w < (n); w++)                                                                                                              \
      DK_UNROLL for (int g = 0; g < groups; g++)                                                                                                         \
        e[w * groups + g] = e_fma(e_load((float *)(s + (i + (u) + w) * DK_NR + g * 16)), q_scale[g], shift[g]);                                           \
    e_exp2_all(e, (n) * groups);                                                                                                                         \
    DK_UNROLL for (int w = 0; w < (n); w++) {                                                                                                            \
      const E factor = e_set(v_scale[i + (u) + w] * levels);                                                                                             \
      DK_UNROLL for (int g = 0; g < groups; g++) {                                                                                                       \
        sum[g] = sum[g] + e[w * groups + g];                                                                                                             \
        p[((u) + w) * groups + g] = e_round_low(e[w * groups + g], factor, 0);                                                                           \
      }                                                                                                                                                  \
    }                                                                                                                                                    \
  }
      if (keys - i >= DK_DEPTH) DK_PROBABILITIES(0, DK_DEPTH)
      else {
        DK_UNROLL for (int u = 0; u < DK_DEPTH * groups; u++) p[u] = (EI)(0);
        for (int u = 0; u < keys - i; u++) DK_PROBABILITIES(u, 1)
      }
#undef DK_PROBABILITIES
      DK_UNROLL for (int g = 0; g < groups; g++) {
        const ptrdiff_t at = i / DK_DEPTH * DK_NR + g * 16;
        DK_NAME(probability_words)(p + g, groups, high + at, low + at);
      }
    }
#ifdef DK_TILE_DOT
    for (ptrdiff_t w = DK_WORDS(keys); w < DK_PANEL_WORDS(keys); w++) /* the other side of the product is not cut off at its end */
      DK_UNROLL for (int g = 0; g < groups; g++) *(EI_any *)(high + w * DK_NR + g * 16) = *(EI_any *)(low + w * DK_NR + g * 16) = (EI)(0);
#endif
    DK_UNROLL for (int g = 0; g < groups; g++) total[g] = e_fma(total[g], shrink[g], sum[g]);
    const int32_t *v = t->v8 + key / DK_DEPTH * t->v8_row;
    const E unit = e_set(v_largest / DK_LEVELS);
    for (ptrdiff_t row = 0, n; row < d; row += n) {
      int32_t a[DK_NAME(VALUE_ROWS) * DK_NR] __attribute__((aligned(64))), b[DK_NAME(VALUE_ROWS) * DK_NR] __attribute__((aligned(64)));
      n = DK_NEXT_VALUES(d - row);
      const int32_t *channels = v + row * t->v8_column;
      DK_NAME(values_product)(channels, t->v8_row, t->v8_column, n, high, DK_WORDS(keys), none, a, half);
      if (DK_DEPTH == 4) DK_NAME(values_product)(channels, t->v8_row, t->v8_column, n, low, DK_WORDS(keys), none, b, half);
      for (ptrdiff_t i = 0; i < n; i++)
        DK_UNROLL for (int g = 0; g < groups; g++) {
          float *to = o + (row + i) * DK_NR + g * 16;
          EI both = *(const EI_any *)(a + i * DK_NR + g * 16);
          if (DK_DEPTH == 4) both = (both << 7) + *(const EI_any *)(b + i * DK_NR + g * 16);
          const E x = __builtin_convertvector(both, E) * unit;
          e_store(to, key == 0 ? x : e_fma(e_load(to), shrink[g], x));
        }
    }
  }
  e_write_heads(t, o, total, DK_NR, groups);
}

static void DK_NAME(dk_i8_attention)(const dk_attention_block *t) {
#ifdef DK_TILE_DOT
  amx_begin();
#endif
  for (ptrdiff_t head = 0; head < t->heads; head++)
    for (ptrdiff_t query = 0; query < t->queries; query += DK_NR) {
      const dk_attention_block part = e_attention_part(t, head, query, DK_NR, DK_WORDS(t->head_width));
#if DK_LANES == 16
      if (part.queries <= 16) DK_NAME(attention)(&part, 1); else DK_NAME(attention)(&part, DK_GROUPS);
#else
      DK_NAME(attention)(&part, DK_GROUPS);
#endif
    }
#ifdef DK_TILE_DOT
  amx_end();
#endif
}
