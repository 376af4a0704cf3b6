/* Attention on bfloat16 queries, keys and values, on tile registers; part of bf16_kernels.h. As in int8_attention.h scores lie transposed, keys down and queries across the lanes:
   the softmax is vertical, and its probabilities, rounded to bfloat16, are the panel that the second product reads. Sums and scores are f32. */
#define DK_KEYS 128

static ptrdiff_t DK_NAME(dk_bf16_attention_scratch)(ptrdiff_t d) {
  return DK_NR * (DK_PANEL_WORDS(d) + DK_KEYS + DK_PANEL_WORDS(DK_KEYS) + 2 * ((d + 15) / 16 * 16));
}

static void DK_NAME(dk_bf16_heads)(const dk_heads_block *t) {
  const ptrdiff_t d = t->head_width, words = DK_WORDS(d);
  for (ptrdiff_t h = 0; h < t->heads; h++) {
    for (ptrdiff_t r = 0; r < t->rows; r++)
      for (ptrdiff_t i = 0; i < d; i += E_LANES) {
        DK_NAME(store_values)(t->q8 + r * t->row8 + h * words, i, e_load_some(t->q + r * t->q_row + h * d + i, d - i), d - i);
        DK_NAME(store_values)(t->k8 + r * t->row8 + h * words, i, e_load_some(t->k + r * t->k_row + h * d + i, d - i), d - i);
      }
    for (ptrdiff_t r = 0; r < t->rows; r += 32) {
      const ptrdiff_t n = t->rows - r < 32 ? t->rows - r : 32;
      const float *v = t->v + r * t->v_row + h * d;
      int32_t *to = t->v8 + r / 2 * t->v8_row + h * d * t->v8_column;
      for (ptrdiff_t c = 0; c < d; c += E_LANES, to += E_LANES * t->v8_column) {
        const ptrdiff_t width = d - c < E_LANES ? d - c : E_LANES;
        E w[16];
        DK_UNROLL for (int g = 0; g < 16; g++) {
          const E a = 2 * g < n ? e_load_some(v + 2 * g * t->v_row + c, width) : e_set(0.0f), b = 2 * g + 1 < n ? e_load_some(v + (2 * g + 1) * t->v_row + c, width) : e_set(0.0f);
          union { EI i; E v; } bits = {DK_NAME(pairs)(a, b)};
          w[g] = bits.v;
        }
        e_transpose(w);
        for (ptrdiff_t i = 0; i < width; i++) e_store_some((float *)(to + i * t->v8_column), w[i], (n + 1) / 2);
      }
    }
  }
}

/* The queries' words, across: panel[c][i] = word c of query i, zeros up to a whole step of depth. */
DK_INLINE void DK_NAME(query_panel)(const dk_attention_block *t, int32_t *panel, const int groups) {
  const ptrdiff_t words = DK_WORDS(t->head_width);
  for (int g = 0; g < groups; g++)
    for (ptrdiff_t c = 0; c < words; c += 16) {
      E r[16];
      DK_UNROLL for (int i = 0; i < 16; i++) {
        const ptrdiff_t query = g * 16 + i;
        r[i] = query < t->queries ? e_load_some((const float *)(t->q8 + query * t->row8) + c, words - c) : e_set(0.0f);
      }
      e_transpose(r);
      DK_UNROLL for (int i = 0; i < 16; i++) e_store((float *)(panel + (c + i) * DK_NR + g * 16), r[i]);
    }
}

DK_INLINE void DK_NAME(attention)(const dk_attention_block *t, const int groups) {
  const ptrdiff_t d = t->head_width, words = DK_WORDS(d), channels = (d + 15) / 16 * 16;
  int32_t *q = t->scratch, *s = q + DK_PANEL_WORDS(d) * DK_NR, *p = s + DK_KEYS * DK_NR, *sums = p + DK_PANEL_WORDS(DK_KEYS) * DK_NR;
  float *o = (float *)(sums + channels * DK_NR);
  DK_NAME(query_panel)(t, q, groups);
  const ptrdiff_t blocks = (t->tokens + DK_KEYS - 1) / DK_KEYS, size = ((t->tokens + blocks - 1) / blocks + 1) / 2 * 2;
  const E factor = e_set(t->scale * DK_LOG2E);
  E largest[2], total[2];
  DK_UNROLL for (int g = 0; g < groups; g++) largest[g] = e_set(-INFINITY), total[g] = e_set(0.0f);
  for (ptrdiff_t key = 0; key < t->tokens; key += size) {
    const ptrdiff_t keys = t->tokens - key < size ? t->tokens - key : size;
    amx_product(t->k8 + key * t->row8, t->row8, keys, (const char *)q, words, 0, s, groups, AMX_PLAIN, 0);
    E top[2], sum[2], shrink[2];
    DK_UNROLL for (int g = 0; g < groups; g++) top[g] = e_load((float *)s + g * 16), sum[g] = e_set(0.0f);
    for (ptrdiff_t i = 1; i < keys; i++)
      DK_UNROLL for (int g = 0; g < groups; g++) top[g] = e_max(e_load((float *)(s + i * DK_NR + g * 16)), top[g]);
    DK_UNROLL for (int g = 0; g < groups; g++) {
      top[g] = e_max(top[g] * factor, largest[g]);
      shrink[g] = key == 0 ? e_set(0.0f) : e_exp2_of_at_most_0(largest[g] - top[g]);
      largest[g] = top[g];
    }
    ptrdiff_t i = 0;
    for (; i + 4 <= keys; i += 4) {
      E e[8];
      DK_UNROLL for (int u = 0; u < 4; u++)
        DK_UNROLL for (int g = 0; g < groups; g++) e[u * groups + g] = e_fma(e_load((float *)(s + (i + u) * DK_NR + g * 16)), factor, -top[g]);
      e_exp2_all(e, 4 * groups);
      DK_UNROLL for (int g = 0; g < groups; g++) {
        sum[g] = sum[g] + ((e[g] + e[groups + g]) + (e[2 * groups + g] + e[3 * groups + g]));
        *(EI_any *)(p + i / 2 * DK_NR + g * 16) = DK_NAME(pairs)(e[g], e[groups + g]);
        *(EI_any *)(p + (i / 2 + 1) * DK_NR + g * 16) = DK_NAME(pairs)(e[2 * groups + g], e[3 * groups + g]);
      }
    }
    for (; i < keys; i += 2)
      DK_UNROLL for (int g = 0; g < groups; g++) {
        E e[2] = {e_fma(e_load((float *)(s + i * DK_NR + g * 16)), factor, -top[g]), e_set(0.0f)};
        if (i + 1 < keys) e[1] = e_fma(e_load((float *)(s + (i + 1) * DK_NR + g * 16)), factor, -top[g]);
        e_exp2_all(e, 2);
        if (i + 1 >= keys) e[1] = e_set(0.0f);
        sum[g] = sum[g] + (e[0] + e[1]);
        *(EI_any *)(p + i / 2 * DK_NR + g * 16) = DK_NAME(pairs)(e[0], e[1]);
      }
    for (ptrdiff_t w = (keys + 1) / 2; w % AMX_WORDS; w++) /* what follows is not a number perhaps, and zero times that is none */
      DK_UNROLL for (int g = 0; g < groups; g++) *(EI_any *)(p + w * DK_NR + g * 16) = (EI)(0);
    DK_UNROLL for (int g = 0; g < groups; g++) total[g] = e_fma(total[g], shrink[g], sum[g]);
    float *to = key == 0 ? o : (float *)sums;
    amx_product(t->v8 + key / 2 * t->v8_row, t->v8_column, d, (const char *)p, DK_WORDS(keys), 0, (int32_t *)to, groups, AMX_PLAIN, 0);
    if (key)
      for (ptrdiff_t c = 0; c < d; c++)
        DK_UNROLL for (int g = 0; g < groups; g++) {
          float *at = o + c * DK_NR + g * 16;
          e_store(at, e_fma(e_load(at), shrink[g], e_load((float *)sums + c * DK_NR + g * 16)));
        }
  }
  e_write_heads(t, o, total, DK_NR, groups);
}

static void DK_NAME(dk_bf16_attention)(const dk_attention_block *t) {
  amx_begin();
  for (ptrdiff_t head = 0; head < t->heads; head++)
    for (ptrdiff_t query = 0; query < t->queries; query += DK_NR) {
      const dk_attention_block part = e_attention_part(t, head, query, DK_NR, DK_WORDS(t->head_width));
      if (part.queries <= 16) DK_NAME(attention)(&part, 1); else DK_NAME(attention)(&part, 2);
    }
  amx_end();
}
