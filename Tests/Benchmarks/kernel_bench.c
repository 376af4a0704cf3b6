/* Times the f32 kernels on the shapes of ViT networks, one thread, and prints the share of the peak measured in the same run.
     clang -O2 -ISources/CDinoKernels/include Sources/CDinoKernels/?*.c Tests/Benchmarks/kernel_bench.c -lm -o "$TMPDIR/kernel_bench" && "$TMPDIR/kernel_bench" [table]
   Weights rotate through several copies, so that they come from beyond the second-level cache as they do in a network. */
#include "bench.h"

static void report(const char *name, double *seconds, int n, double flops, double peak) {
  qsort(seconds, (size_t)n, sizeof *seconds, compare);
  printf("%-28s median %8.3f ms  least %8.3f ms  %5.1f GFLOP/s  %3.0f %% of the peak (median %3.0f %%)\n", name, seconds[n / 2] * 1e3, seconds[0] * 1e3,
         flops / seconds[0] * 1e-9, 100 * flops / seconds[0] / peak, 100 * flops / seconds[n / 2] / peak);
}

int main(int argc, char **argv) {
  const dk_table *t = dk_table_at(0);
  for (ptrdiff_t i = 0; argc > 1 && i < dk_table_count(); i++)
    if (!strcmp(dk_table_at(i)->name, argv[1])) t = dk_table_at(i);
  float sink[16] = {1e-3f, 1e-3f, 1e-3f, 1e-3f, 1e-3f};
  double peak = 0;
  for (int i = 0; i < 9; i++) {
    const double start = now(), flops = t->f32_peak(500000, sink), rate = flops / (now() - start);
    if (rate > peak) peak = rate;
  }
  printf("table %s, peak %.1f GFLOP/s\n", t->name, peak * 1e-9);

  static const int shapes[][4] = {{197, 384, 1152, 0}, {197, 384, 384, 0}, {197, 384, 1536, 1}, {197, 1536, 384, 0}, {196, 768, 384, 0},
                                  {785, 384, 1152, 0}, {785, 384, 1536, 1}, {197, 768, 3072, 1}, {197, 3072, 768, 0}};
  enum { repeats = 40, copies = 8 };
  double seconds[repeats];
  for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
    const int m = shapes[s][0], k = shapes[s][1], n = shapes[s][2], nr = (int)t->nr, panels = (n + nr - 1) / nr;
    const int lda = (k / 16 | 1) * 16, ldc = (n / 16 | 1) * 16;
    float *a = floats((size_t)lda * m), *c = floats((size_t)ldc * m), *b = floats((size_t)panels * nr * k * copies), *bias = floats(n);
    for (int r = 0; r < repeats; r++) {
      const float *w = b + (size_t)(r % copies) * panels * nr * k;
      const double start = now();
      for (int p = 0; p < panels; p++) {
        dk_f32_gemm_block g = {.a = a, .a_row = lda, .b = w + (size_t)p * nr * k, .k = k, .c = c + p * nr, .c_row = ldc, .bias = bias + p * nr, .activation = shapes[s][3],
                               .rows = m, .columns = n - p * nr < nr ? n - p * nr : nr,
                               .prefetch = p + 1 < panels ? (const char *)(w + (size_t)(p + 1) * nr * k) : 0, .prefetch_bytes = 4l * nr * k};
        t->f32_gemm(&g);
      }
      seconds[r] = now() - start;
    }
    char name[64];
    snprintf(name, sizeof name, "gemm %d x %d x %d%s", m, k, n, shapes[s][3] ? " gelu" : "");
    report(name, seconds, repeats, 2.0 * m * k * n, peak);
    free(a), free(b), free(c), free(bias);
  }
  static const int tokens[] = {197, 785};
  for (int s = 0; s < 2; s++) {
    const int n = tokens[s], heads = 6, d = 64, row = 3 * heads * d + 16;
    float *x = floats((size_t)row * n), *out = floats((size_t)n * heads * d), *scratch = floats((size_t)t->f32_attention_scratch(d));
    for (int r = 0; r < repeats; r++) {
      const double start = now();
      for (int h = 0; h < heads; h++)
        for (int q = 0; q < n; q += (int)t->nr) {
          dk_f32_attention_block block = {x + h * d + (size_t)q * row, row, n - q < t->nr ? n - q : t->nr, x + heads * d + h * d, row, x + 2 * heads * d + h * d, row, n, d,
                                          0.125f, out + (size_t)q * heads * d + h * d, heads * d, scratch};
          t->f32_attention(&block);
        }
      seconds[r] = now() - start;
    }
    char name[64];
    snprintf(name, sizeof name, "attention %d tokens", n);
    report(name, seconds, repeats, 4.0 * n * n * d * heads, peak);
    free(x), free(out), free(scratch);
  }
  return 0;
}
