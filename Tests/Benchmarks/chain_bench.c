/* Times the int8 and bf16 kernels of one block of ViT-S/16 on a block of rows, one thread, operation by operation, as a chain runs them.
     clang -O2 -ISources/CDinoKernels/include Sources/CDinoKernels/?*.c Tests/Benchmarks/chain_bench.c -lm -o "$TMPDIR/chain_bench" && "$TMPDIR/chain_bench" [table [rows [tokens [copies of the weights, at most 12]]]]
   Medians.
   Weights rotate through twelve copies, if not told otherwise, so that they come from where a network's do. */
#include "bench.h"

enum { layers = 12, width = 384, hidden = 1536, heads = 6, head = 64, parts = 10 };
static const char *const names[parts] = {"norm1", "qkv", "heads", "attention", "proj words", "proj", "norm2", "fc1 gelu", "fc2 words", "fc2"};
enum { rounds = 200 };
static double times[parts][rounds];
typedef struct { char *data; ptrdiff_t bytes; float *scales; } packed;

static packed pack(const dk_table *t, int bf16, ptrdiff_t n, ptrdiff_t k) {
  const ptrdiff_t nr = bf16 ? t->bf16->nr : t->i8->nr, bytes = bf16 ? t->bf16->panel_bytes(k) : t->i8->panel_bytes(k), panels = (n + nr - 1) / nr;
  packed p = {huge((size_t)(panels * bytes)), bytes, floats((size_t)n)};
  float *w = floats((size_t)(n * k));
  int8_t *q = huge((size_t)(n * k));
  for (ptrdiff_t j = 0; j < n && !bf16; j++) p.scales[j] = t->i8->quantize_weights(w + j * k, k, q + j * k);
  for (ptrdiff_t i = 0; i < panels; i++) {
    const ptrdiff_t c = n - i * nr < nr ? n - i * nr : nr;
    if (bf16) t->bf16->pack(w + i * nr * k, k, c, k, p.data + i * bytes);
    else t->i8->pack(q + i * nr * k, k, 1, c, k, p.data + i * bytes);
  }
  free(w), free(q);
  return p;
}

int main(int argc, char **argv) {
  const dk_table *t = dk_table_at(0);
  for (ptrdiff_t i = 0; argc > 1 && i < dk_table_count(); i++)
    if (!strcmp(dk_table_at(i)->name, argv[1])) t = dk_table_at(i);
  const ptrdiff_t rows = argc > 2 ? atoi(argv[2]) : 101, tokens = argc > 3 ? atoi(argv[3]) : 197;
  const int copies = argc > 4 ? atoi(argv[4]) : layers;
  const ptrdiff_t groups = (tokens + 3) / 2, by_channel = t->i8->values_by_channel;
  for (int bf16 = 0; bf16 < 2; bf16++) {
    packed w[layers][4];
    for (int l = 0; l < layers; l++) {
      w[l][0] = pack(t, bf16, 3 * width, width), w[l][1] = pack(t, bf16, width, width);
      w[l][2] = pack(t, bf16, hidden, width), w[l][3] = pack(t, bf16, width, hidden);
    }
    const ptrdiff_t depth = bf16 ? t->bf16->depth : t->i8->depth, ws = (width / depth / 16 | 1) * 16, hs = (hidden / depth / 16 | 1) * 16, xs = width + 16, qs = 3 * width + 16, fs = hidden + 16;
    float *x = floats((size_t)(tokens * xs)), *y = floats((size_t)(rows * xs)), *qkv = floats((size_t)(tokens * qs)), *f = floats((size_t)(rows * fs));
    float *ones = floats(hidden * 3), *scales = floats((size_t)(2 * rows)), *all = floats((size_t)(3 * heads * tokens));
    int32_t *words = huge((size_t)(rows * hs * 4 + 64)), *q8 = huge((size_t)tokens * width * 2), *k8 = huge((size_t)tokens * width * 2), *v8 = huge((size_t)(groups + 16) * width * 8);
    int32_t *scratch = huge((size_t)(t->i8->attention_scratch(head) + t->f32_attention_scratch(head)) * 8);
    const dk_i8_kernels *i8 = t->i8;
    const dk_bf16_kernels *b16 = t->bf16;
    if (!bf16 || b16->heads) { /* the other rows' queries, keys and values */
      dk_heads_block b = {qkv, qs, qkv + width, qs, qkv + 2 * width, qs, tokens, heads, head, q8, k8, width / depth, v8, by_channel ? 1 : width, by_channel ? groups : 1, all, all + heads * tokens,
                             all + 2 * heads * tokens, tokens};
      if (bf16) b16->heads(&b); else i8->quantize_heads(&b);
    }
    for (int r = 0; r < rounds; r++) {
      const packed *p = w[r % copies];
      double clock = now();
      int part = 0;
#define MARK { const double n_ = now(); times[part++][r] = n_ - clock; clock = n_; }
#define GEMM(in, stride, kk, out, out_row, act, res) { dk_words_gemm_block g = {.a = in, .a_row = stride, .a_scale = scales, .panel = m.data, .k = kk, .b_scale = m.scales, .c = out, .c_row = out_row, \
  .bias = ones, .residual = res, .residual_row = out_row, .activation = act, .rows = rows, .columns = columns, .panel_bytes = m.bytes}; if (bf16) b16->gemm(&g); else i8->gemm(&g); }
      if (bf16) b16->layer_norm(x, xs, ones, ones, 1e-6f, y, 0, words, ws, scales, rows, width); else i8->layer_norm(x, xs, ones, ones, 1e-6f, y, 0, words, ws, scales, rows, width);
      MARK
      packed m = p[0];
      ptrdiff_t columns = 3 * width;
      GEMM(words, ws, width, qkv, qs, 0, 0)
      MARK
      if (!bf16 || b16->heads) {
        dk_heads_block b = {qkv, qs, qkv + width, qs, qkv + 2 * width, qs, rows, heads, head, q8, k8, width / depth, v8, by_channel ? 1 : width, by_channel ? groups : 1, all, all + heads * tokens,
                               all + 2 * heads * tokens, tokens};
        if (bf16) b16->heads(&b); else i8->quantize_heads(&b);
      }
      MARK
      if (bf16 && !b16->attention) {
        for (ptrdiff_t h = 0; h < heads; h++)
          for (ptrdiff_t i = 0; i < rows; i += t->nr) {
            dk_f32_attention_block b = {qkv + h * head + i * qs, qs, rows - i < t->nr ? rows - i : t->nr, qkv + width + h * head, qs, qkv + 2 * width + h * head, qs, tokens, head, 0.125f,
                                        y + i * xs + h * head, xs, (float *)scratch};
            t->f32_attention(&b);
          }
      } else {
        dk_attention_block b = {q8, k8, width / depth, v8, by_channel ? 1 : width, by_channel ? groups : 1, all, all + heads * tokens, all + 2 * heads * tokens, tokens, rows, tokens, heads, head,
                                0.125f, y, xs, scratch};
        if (bf16) b16->attention(&b); else i8->attention(&b);
      }
      MARK
      if (bf16) b16->convert(y, xs, words, ws, scales, rows, width); else i8->quantize(y, xs, words, ws, scales, rows, width);
      MARK
      m = p[1], columns = width;
      GEMM(words, ws, width, y, xs, 0, x)
      MARK
      if (bf16) b16->layer_norm(y, xs, ones, ones, 1e-6f, f, 0, words, ws, scales, rows, width); else i8->layer_norm(y, xs, ones, ones, 1e-6f, f, 0, words, ws, scales, rows, width);
      MARK
      m = p[2], columns = hidden;
      GEMM(words, ws, width, f, fs, DK_GELU, 0)
      MARK
      if (bf16) b16->convert(f, fs, words, hs, scales, rows, hidden); else i8->quantize(f, fs, words, hs, scales, rows, hidden);
      MARK
      m = p[3], columns = width;
      GEMM(words, hs, hidden, y, xs, 0, x)
      MARK
    }
    double total = 0;
    printf("%s %s, %td rows of %td tokens: microseconds\n", t->name, bf16 ? "bf16" : "int8", rows, tokens);
    for (int i = 0; i < parts; i++) {
      qsort(times[i], rounds, sizeof(double), compare);
      printf("  %-12s %8.1f  least %8.1f\n", names[i], times[i][rounds / 2] * 1e6, times[i][0] * 1e6);
      total += times[i][rounds / 2];
    }
    printf("  %-12s %8.1f, an image on two threads (12 blocks) %.2f ms\n", "all", total * 1e6, total * 1e3 * layers * (double)tokens / (double)rows / 2);
  }
  return 0;
}
