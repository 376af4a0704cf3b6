/* The gradients of attention for one head, products on tile registers; part of bf16_kernels.h. Scores lie transposed as in bf16_attention.h, a block of 32 queries at a time:
     P = softmax(S), dP = dO·Vᵀ, dS = P ∘ (dP - Σ P∘dP) · scale     dQ = dS·K for the block; dV = Pᵀ·dO and dK = dSᵀ·Q for all queries at once
   Operands of products are rounded to bfloat16; scores, softmax and sums are f32. */

/* Words from row to row of P and dS, keys down and queries across: an odd number of lines. */
DK_INLINE ptrdiff_t DK_NAME(gradient_row)(ptrdiff_t tokens) { return (((tokens + 31) / 32) | 1) * 16; }

static ptrdiff_t DK_NAME(dk_bf16_attention_gradient_scratch)(ptrdiff_t tokens, ptrdiff_t d) {
  const ptrdiff_t depth = DK_PANEL_WORDS(d), queries = DK_PANEL_WORDS(tokens), panels = (d + DK_NR - 1) / DK_NR, channels = (d + 15) / 16 * 16;
  return 2 * tokens * depth + channels * queries + 2 * panels * queries * DK_NR + 2 * depth * DK_NR + 2 * tokens * DK_NR + queries * DK_NR + 2 * tokens * DK_NAME(gradient_row)(tokens)
       + channels * DK_NR;
}

/* Rows of [tokens × 32] sums to columns of a gradient. */
DK_INLINE void DK_NAME(gradient_out)(const float *sums, ptrdiff_t tokens, ptrdiff_t columns, float *to, ptrdiff_t to_row) {
  for (ptrdiff_t i = 0; i < tokens; i++)
    for (ptrdiff_t c = 0; c < columns; c += E_LANES) e_store_some(to + i * to_row + c, e_load(sums + i * DK_NR + c), columns - c);
}

static void DK_NAME(dk_bf16_attention_gradient)(const dk_f32_attention_gradient_head *t) {
  const ptrdiff_t d = t->head_width, tokens = t->tokens, row = DK_NAME(gradient_row)(tokens);
  const ptrdiff_t depth = DK_PANEL_WORDS(d), keys = DK_PANEL_WORDS(tokens), queries = DK_PANEL_WORDS(t->queries), panels = (d + DK_NR - 1) / DK_NR, channels = (d + 15) / 16 * 16;
  int32_t *k = (int32_t *)t->scratch, *v = k + tokens * depth, *kt = v + tokens * depth, *qp = kt + channels * keys, *gp = qp + panels * queries * DK_NR;
  int32_t *q = gp + panels * queries * DK_NR, *g = q + depth * DK_NR, *s = g + depth * DK_NR, *r = s + tokens * DK_NR, *pairs = r + tokens * DK_NR;
  int32_t *p = pairs + keys * DK_NR, *ds = p + tokens * row, *dq = ds + tokens * row;
  /* Words that no value fills count as zeros, also times what is not a number. */
  memset(k, 0, (size_t)(2 * tokens * depth + channels * keys) * 4);
  memset(pairs, 0, (size_t)(keys * DK_NR) * 4);
  DK_NAME(dk_bf16_convert)(t->k, t->k_row, k, depth, 0, tokens, d);
  DK_NAME(dk_bf16_convert)(t->v, t->v_row, v, depth, 0, tokens, d);
  DK_NAME(dk_bf16_turn)(t->k, t->k_row, kt, keys, tokens, d);
  DK_NAME(dk_bf16_pack_rows)(t->q, t->q_row, d, t->queries, qp, queries * DK_NR * 4);
  DK_NAME(dk_bf16_pack_rows)(t->dy, t->dy_row, d, t->queries, gp, queries * DK_NR * 4);
  const E factor = e_set(t->scale * DK_LOG2E), scale = e_set(t->scale);
  amx_begin();
  for (ptrdiff_t first = 0; first < t->queries; first += DK_NR) {
    const ptrdiff_t count = t->queries - first < DK_NR ? t->queries - first : DK_NR;
    DK_NAME(dk_bf16_pack)(t->q + first * t->q_row, t->q_row, count, d, q);
    DK_NAME(dk_bf16_pack)(t->dy + first * t->dy_row, t->dy_row, count, d, g);
    amx_product(k, depth, tokens, (const char *)q, depth, 0, s, 2, AMX_PLAIN, 0);
    amx_product(v, depth, tokens, (const char *)g, depth, 0, r, 2, AMX_PLAIN, 0);
    E top[2], sum[2], dot[2];
    DK_UNROLL for (int j = 0; j < 2; j++) top[j] = e_load((float *)s + j * 16), sum[j] = dot[j] = e_set(0.0f);
    for (ptrdiff_t i = 1; i < tokens; i++)
      DK_UNROLL for (int j = 0; j < 2; j++) top[j] = e_max(e_load((float *)s + i * DK_NR + j * 16), top[j]);
    DK_UNROLL for (int j = 0; j < 2; j++) top[j] = top[j] * factor;
    for (ptrdiff_t i = 0; i < tokens; i += 4) {
      /* Beyond the last key the last ones once more, which are not added. */
      const ptrdiff_t n = tokens - i < 4 ? tokens - i : 4;
      E e[8];
      DK_UNROLL for (int u = 0; u < 4; u++)
        DK_UNROLL for (int j = 0; j < 2; j++) e[2 * u + j] = e_fma(e_load((float *)s + (i + (u < n ? u : n - 1)) * DK_NR + j * 16), factor, -top[j]);
      e_exp2_all(e, 8);
      DK_UNROLL for (int u = 0; u < 4; u++)
        if (u < n)
          DK_UNROLL for (int j = 0; j < 2; j++) {
            sum[j] = sum[j] + e[2 * u + j];
            dot[j] = __builtin_elementwise_fma(e[2 * u + j], e_load((float *)r + (i + u) * DK_NR + j * 16), dot[j]);
            e_store((float *)s + (i + u) * DK_NR + j * 16, e[2 * u + j]);
          }
    }
    E inverse[2];
    DK_UNROLL for (int j = 0; j < 2; j++) inverse[j] = e_set(1.0f) / sum[j], dot[j] = dot[j] * inverse[j];
    for (ptrdiff_t i = 0; i < tokens; i += 2) {
      E change[2][2];
      DK_UNROLL for (int u = 0; u < 2; u++)
        DK_UNROLL for (int j = 0; j < 2; j++) {
          change[u][j] = e_set(0.0f);
          if (i + u >= tokens) continue;
          const E e = e_load((float *)s + (i + u) * DK_NR + j * 16) * inverse[j];
          change[u][j] = e * (e_load((float *)r + (i + u) * DK_NR + j * 16) - dot[j]) * scale;
          DK_NAME(store_values)(p + (i + u) * row, first + j * 16, e, 16);
          DK_NAME(store_values)(ds + (i + u) * row, first + j * 16, change[u][j], 16);
        }
      DK_UNROLL for (int j = 0; j < 2; j++) *(EI_any *)(pairs + i / 2 * DK_NR + j * 16) = DK_NAME(pairs)(change[0][j], change[1][j]);
    }
    amx_product(kt, keys, d, (const char *)pairs, keys, 0, dq, 2, AMX_PLAIN, 0);
    for (ptrdiff_t c = 0; c < d; c += 16)
      for (ptrdiff_t j = 0; j < count; j += 16) {
        E w[16];
        DK_UNROLL for (int i = 0; i < 16; i++) w[i] = e_load((float *)dq + (c + i) * DK_NR + j);
        e_transpose(w);
        for (ptrdiff_t i = 0; i < 16 && j + i < count; i++) e_store_some(t->dq + (first + j + i) * t->out_row + c, w[i], d - c);
      }
  }
  for (ptrdiff_t i = t->queries; i < tokens; i++) memset(t->dq + i * t->out_row, 0, (size_t)d * sizeof(float));
  for (ptrdiff_t i = 0; i < panels; i++) {
    const ptrdiff_t columns = d - i * DK_NR < DK_NR ? d - i * DK_NR : DK_NR;
    amx_product(p, row, tokens, (const char *)(gp + i * queries * DK_NR), queries, 0, s, 2, AMX_PLAIN, 0);
    DK_NAME(gradient_out)((float *)s, tokens, columns, t->dv + i * DK_NR, t->out_row);
    amx_product(ds, row, tokens, (const char *)(qp + i * queries * DK_NR), queries, 0, s, 2, AMX_PLAIN, 0);
    DK_NAME(gradient_out)((float *)s, tokens, columns, t->dk + i * DK_NR, t->out_row);
  }
  amx_end();
}
