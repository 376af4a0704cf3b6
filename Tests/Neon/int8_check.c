/* The int8 kernels of every table of the CPU it runs on: integers against plain loops, and a digest of the bits of everything that is float. The digests of
   all tables must be one, and the same on every kind of CPU: Tests/neon.sh compares what this prints natively and under the emulator. */
#include "int8_check.h"
#include "dino_kernels.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

extern const dk_i8_kernels dk_i8__bytes_emulated;

static uint64_t state, digest;
static uint32_t next(void) {
  state = state * 6364136223846793005ull + 1442695040888963407ull;
  return (uint32_t)(state >> 33);
}
static void *room(size_t bytes) { return memset(aligned_alloc(64, (bytes + 127) / 64 * 64), 0xAA, bytes); }
static float *floats(size_t n, float spread) {
  float *p = room(n * sizeof *p);
  for (size_t i = 0; i < n; i++) p[i] = ((float)(next() & 0xFFFFFF) / (float)(1 << 23) - 1) * spread;
  return p;
}
static void add(const float *p, size_t n) {
  for (size_t i = 0; i < n; i++) {
    uint32_t u;
    memcpy(&u, p + i, sizeof u);
    digest = (digest ^ u) * 1099511628211ull;
  }
}

/* Exact products of all bytes, and the epilogues. Returns the number of wrong integers. */
static int gemm(const dk_i8_kernels *t, ptrdiff_t m, ptrdiff_t k, ptrdiff_t n, int activation) {
  const ptrdiff_t row = (k + t->depth - 1) / t->depth, panels = (n + t->nr - 1) / t->nr, bytes = t->panel_bytes(k);
  uint8_t *a = room(m * k);
  int8_t *w = room(n * k);
  int32_t *words = room(m * row * 4), *c = room(m * n * 4);
  char *packed = room(panels * bytes);
  for (ptrdiff_t i = 0; i < m * k; i++) a[i] = (uint8_t)next();
  for (ptrdiff_t i = 0; i < n * k; i++) w[i] = (int8_t)next();
  for (ptrdiff_t i = 0; i < m; i++) t->words(a + i * k, k, words + i * row);
  float *scales = floats(2 * m, 0.01f), *b_scale = floats(n, 0.01f), *bias = floats(n, 1), *scale = floats(n, 1), *residual = floats(m * n, 1), *out = room(m * n * 4);
  for (ptrdiff_t p = 0; p < panels; p++) {
    const ptrdiff_t j = p * t->nr, columns = n - j < t->nr ? n - j : t->nr;
    t->pack(w + j * k, k, 1, columns, k, packed + p * bytes);
    t->products(words, row, packed + p * bytes, k, c + j, n, m, columns);
    dk_words_gemm_block g = {.a = words, .a_row = row, .a_scale = scales, .panel = packed + p * bytes, .k = k, .b_scale = b_scale + j, .c = out + j, .c_row = n, .bias = bias + j,
                          .scale = k % 2 ? scale + j : 0, .residual = m % 2 ? residual + j : 0, .residual_row = n, .activation = activation, .rows = m, .columns = columns};
    t->gemm(&g);
  }
  int wrong = 0;
  for (ptrdiff_t i = 0; i < m; i++)
    for (ptrdiff_t j = 0; j < n; j++) {
      int32_t sum = 0;
      for (ptrdiff_t p = 0; p < k; p++) sum += ((int32_t)a[i * k + p] - 128) * w[j * k + p];
      wrong += sum != c[i * n + j];
    }
  add(out, m * n);
  free(a), free(w), free(words), free(c), free(packed), free(scales), free(b_scale), free(bias), free(scale), free(residual), free(out);
  return wrong;
}

static void rows(const dk_i8_kernels *t, ptrdiff_t m, ptrdiff_t k) {
  const ptrdiff_t row = (k + t->depth - 1) / t->depth;
  float *x = floats(m * k, 3), *weight = floats(k, 1), *bias = floats(k, 1), *y = room(m * k * 4), *scales = room(m * 8);
  int32_t *q = room(m * row * 4), *c = room(m * 4);
  char *ones = room(t->panel_bytes(k));
  int8_t *one = room(k);
  memset(one, 1, k);
  for (ptrdiff_t i = 0; i < k; i += 3) one[i] = -2;
  t->pack(one, k, 1, 1, k, ones);
  for (int norm = 0; norm < 2; norm++) {
    if (norm) t->layer_norm(x, k, weight, bias, 1e-6f, y, k, q, row, scales, m, k); else t->quantize(x, k, q, row, scales, m, k);
    if (norm) add(y, m * k);
    add(scales, 2 * m);
    t->products(q, row, ones, k, c, 1, m, 1); /* the quantized values through a product: words are private to a table */
    add((const float *)c, m);
  }
  for (ptrdiff_t r = 0; r < m; r++) {
    const float scale = t->quantize_weights(x + r * k, k, one);
    add(&scale, 1);
    for (ptrdiff_t i = 0; i < k; i++) y[i] = one[i];
    add(y, k);
  }
  free(x), free(weight), free(bias), free(y), free(scales), free(q), free(c), free(ones), free(one);
}

static void attention(const dk_i8_kernels *t, ptrdiff_t tokens, ptrdiff_t d) {
  const ptrdiff_t heads = 2, width = heads * d, row = heads * ((d + t->depth - 1) / t->depth), groups = (tokens + t->depth - 1) / t->depth;
  const ptrdiff_t group = t->values_by_channel ? 1 : width, channel = t->values_by_channel ? groups : 1;
  float *x = floats(tokens * 3 * width, 3), *scales = room(3 * heads * tokens * 4), *out = room(tokens * width * 4);
  int32_t *q = room(tokens * row * 4), *k = room(tokens * row * 4), *v = room(groups * width * 4 + 64), *scratch = room(t->attention_scratch(d) * 4);
  dk_heads_block b = {x, 3 * width, x + width, 3 * width, x + 2 * width, 3 * width, tokens, heads, d, q, k, row, v, group, channel, scales, scales + heads * tokens, scales + 2 * heads * tokens, tokens};
  t->quantize_heads(&b);
  dk_attention_block s = {q, k, row, v, group, channel, scales, scales + heads * tokens, scales + 2 * heads * tokens, tokens, tokens, tokens, heads, d, 0.3f, out, width, scratch};
  t->attention(&s);
  add(out, tokens * width);
  free(x), free(scales), free(out), free(q), free(k), free(v), free(scratch);
}

int int8_check(void) {
  static const int sizes[] = {1, 2, 3, 5, 6, 7, 13, 14, 15, 17, 29, 31};
  int failed = 0;
  uint64_t first = 0;
  for (ptrdiff_t i = 0; i <= dk_table_count(); i++) {
    const int emulated = i == dk_table_count();
    const dk_i8_kernels *t = emulated ? &dk_i8__bytes_emulated : dk_table_at(i)->i8;
    int wrong = 0;
    state = 42, digest = 14695981039346656037ull;
    for (int s = 0; s < 12; s++)
      for (int k = 1; k < 70; k += 5) wrong += gemm(t, sizes[s], k, sizes[s] * k % 67 + 1, (s + k) % 5);
    for (int k = 1; k < 70; k++) rows(t, 3, k);
    static const int shapes[][2] = {{1, 1}, {2, 20}, {17, 16}, {46, 20}, {129, 64}, {197, 64}, {257, 5}, {513, 33}};
    for (int s = 0; s < 8; s++) attention(t, shapes[s][0], shapes[s][1]);
    if (i == 0) first = digest;
    const int bad = wrong || digest != first;
    printf("%s %s: int8 %d wrong integers, bits %016llx\n", bad ? "FAIL" : "ok", emulated ? "emulated bytes" : dk_table_at(i)->name, wrong, (unsigned long long)digest);
    failed |= bad;
  }
  printf("int8 bits: %016llx\n", (unsigned long long)first);
  return failed;
}
