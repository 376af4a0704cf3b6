/* What training in bfloat16 needs beside bf16_kernels.h, which includes it: weights that are packed in every step, and both sides of the product dyᵀ · x, whose depth are rows
   of activations. Rounding is that of bf16_kernels.h; values are numbers. */

/* Two rows' values, rounded, as words: a in the low halves. */
DK_INLINE EI DK_NAME(pairs)(E a, E b) {
#ifdef DK_ROUND_TWO
  return DK_ROUND_TWO(a, b);
#else
  union { E v; EI i; } x = {a}, y = {b};
  const EI low = x.i + (EI)(0x7FFF) + ((x.i >> 16) & (EI)(1)), high = y.i + (EI)(0x7FFF) + ((y.i >> 16) & (EI)(1));
  return ((low >> 16) & (EI)(0xFFFF)) | (high & (EI)((int32_t)0xFFFF0000u));
#endif
}

/* 16 × 16 words, turned. */
DK_INLINE void DK_NAME(turn_words)(EI w[16]) {
  union { EI i[16]; E v[16]; } both;
  DK_UNROLL for (int i = 0; i < 16; i++) both.i[i] = w[i];
  e_transpose(both.v);
  DK_UNROLL for (int i = 0; i < 16; i++) w[i] = both.i[i];
}

#if DK_DEPTH == 2
static void DK_NAME(dk_bf16_pack)(const float *w, ptrdiff_t w_row, ptrdiff_t columns, ptrdiff_t k, void *panel) {
  int32_t *b = panel;
  for (ptrdiff_t p = 0; p < DK_PANEL_WORDS(k); p += 16) {
    const ptrdiff_t words = DK_PANEL_WORDS(k) - p < 16 ? DK_PANEL_WORDS(k) - p : 16;
    for (ptrdiff_t j = 0; j < DK_NR; j += E_LANES) {
      EI t[16];
      for (int i = 0; i < 16; i++) {
        int32_t row[16] = {0};
        if (j + i < columns)
          for (ptrdiff_t v = 0; v < 32 && 2 * p + v < k; v += E_LANES) {
            const ptrdiff_t n = k - 2 * p - v;
            DK_NAME(store_values)(row, v, e_load_some(w + (j + i) * w_row + 2 * p + v, n), n);
          }
        memcpy(&t[i], row, sizeof row);
      }
      DK_NAME(turn_words)(t);
      for (ptrdiff_t i = 0; i < words; i++) *(EI_any *)(b + (p + i) * DK_NR + j) = t[i];
    }
  }
}

static void DK_NAME(dk_bf16_pack_rows)(const float *x, ptrdiff_t x_row, ptrdiff_t columns, ptrdiff_t k, void *panels, ptrdiff_t bytes) {
  for (ptrdiff_t p = 0; p < DK_PANEL_WORDS(k); p++, x += 2 * x_row) {
    const int first = 2 * p < k, second = 2 * p + 1 < k;
    int32_t *b = (int32_t *)panels + p * DK_NR;
    for (ptrdiff_t c = 0; c < columns; c += DK_NR, b += bytes / 4)
      DK_UNROLL for (ptrdiff_t j = 0; j < DK_NR; j += E_LANES) {
        const ptrdiff_t n = columns - c - j;
        *(EI_any *)(b + j) = DK_NAME(pairs)(first && n > 0 ? e_load_some(x + c + j, n) : e_set(0.0f), second && n > 0 ? e_load_some(x + x_row + c + j, n) : e_set(0.0f));
      }
  }
}

static void DK_NAME(dk_bf16_turn)(const float *x, ptrdiff_t x_row, int32_t *q, ptrdiff_t q_row, ptrdiff_t rows, ptrdiff_t columns) {
  for (ptrdiff_t r = 0; r < rows; r += 32) {
    const ptrdiff_t n = rows - r < 32 ? rows - r : 32;
    for (ptrdiff_t c = 0; c < columns; c += E_LANES) {
      const ptrdiff_t width = columns - c < E_LANES ? columns - c : E_LANES;
      EI w[16];
      for (int g = 0; g < 16; g++) {
        const float *at = x + (r + 2 * g) * x_row + c;
        w[g] = DK_NAME(pairs)(2 * g < n ? e_load_some(at, width) : e_set(0.0f), 2 * g + 1 < n ? e_load_some(at + x_row, width) : e_set(0.0f));
      }
      DK_NAME(turn_words)(w);
      for (ptrdiff_t i = 0; i < width; i++) {
        int32_t *to = q + (c + i) * q_row + r / 2;
        if (n == 32) *(EI_any *)to = w[i];
        else memcpy(to, &w[i], (size_t)((n + 1) / 2) * 4);
      }
    }
  }
}
#else
static void DK_NAME(dk_bf16_pack)(const float *w, ptrdiff_t w_row, ptrdiff_t columns, ptrdiff_t k, void *panel) {
  uint16_t *b = panel;
  for (ptrdiff_t p = 0; p < DK_PANEL_WORDS(k); p++)
    for (ptrdiff_t j = 0; j < DK_NR; j++) b[(p / 2 * DK_NR + j) * 2 + p % 2] = j < columns && p < k ? DK_NAME(rounded)(w[j * w_row + p]) : 0;
}

static void DK_NAME(dk_bf16_pack_rows)(const float *x, ptrdiff_t x_row, ptrdiff_t columns, ptrdiff_t k, void *panels, ptrdiff_t bytes) {
  for (ptrdiff_t p = 0; p < DK_PANEL_WORDS(k); p++, x += x_row) {
    uint16_t *b = (uint16_t *)panels + p / 2 * DK_NR * 2 + p % 2;
    for (ptrdiff_t c = 0; c < columns; c += DK_NR, b += bytes / 2)
      for (ptrdiff_t j = 0; j < DK_NR; j++) b[2 * j] = c + j < columns && p < k ? DK_NAME(rounded)(x[c + j]) : 0;
  }
}

static void DK_NAME(dk_bf16_turn)(const float *x, ptrdiff_t x_row, int32_t *q, ptrdiff_t q_row, ptrdiff_t rows, ptrdiff_t columns) {
  for (ptrdiff_t r = 0; r < rows; r += 16)
    for (ptrdiff_t c = 0; c < columns; c += E_LANES) {
      const ptrdiff_t n = rows - r < 16 ? rows - r : 16, width = columns - c < E_LANES ? columns - c : E_LANES;
      E w[16];
      for (int g = 0; g < 16; g++) w[g] = g < n ? e_load_some(x + (r + g) * x_row + c, width) : e_set(0.0f);
      e_transpose(w);
      for (ptrdiff_t i = 0; i < width; i++) e_store_some((float *)q + (c + i) * q_row + r, w[i], n);
    }
}
#endif
