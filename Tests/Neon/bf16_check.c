/* The bf16 kernels of every table of the CPU it runs on, and a tile that multiplies pairs of bfloat16 with that instruction written out, against plain loops in double. */
#include "int8_check.h"
#include "dino_kernels.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

extern const dk_bf16_kernels dk_bf16__pairs_emulated;

static uint64_t state = 9;
/* Numbers that bfloat16 holds exactly: what is left is the rounding of f32 sums. */
static float exact(void) {
  state = state * 6364136223846793005ull + 1442695040888963407ull;
  return (float)((int)(state >> 40 & 255) - 128) / 128;
}

static double check(const dk_bf16_kernels *t) {
  static const int sizes[] = {1, 2, 3, 5, 6, 7, 13, 14, 15, 29};
  double worst = 0;
  for (int s = 0; s < 10; s++)
    for (int k = 1; k < 70; k += 3) {
      const int m = sizes[s], n = (k * 7 + s) % (int)t->nr + 1, row = (k + (int)t->depth - 1) / (int)t->depth;
      float *x = malloc(m * k * 4), *w = malloc(n * k * 4), *bias = malloc(n * 4), *c = malloc(m * n * 4), *weight = malloc(k * 4), *y = malloc(m * k * 4);
      int32_t *a = malloc(m * row * 4);
      char *panel = aligned_alloc(64, (t->panel_bytes(k) + 63) / 64 * 64);
      for (int i = 0; i < m * k; i++) x[i] = exact();
      for (int i = 0; i < n * k; i++) w[i] = exact();
      for (int i = 0; i < n; i++) bias[i] = exact();
      for (int i = 0; i < k; i++) weight[i] = 1;
      t->pack(w, k, n, k, panel);
      t->convert(x, k, a, row, 0, m, k);
      dk_words_gemm_block g = {.a = a, .a_row = row, .panel = panel, .k = k, .c = c, .c_row = n, .bias = bias, .rows = m, .columns = n};
      for (int norm = 0; norm < 2; norm++) {
        /* Behind a norm, rows are rounded to bfloat16 where the table multiplies it: half a unit of 2^-8 each. */
        if (norm) t->layer_norm(x, k, weight, weight, 1e-6f, y, k, a, row, 0, m, k);
        t->gemm(&g);
        for (int i = 0; i < m; i++)
          for (int j = 0; j < n; j++) {
            double sum = bias[j], room = 0;
            for (int p = 0; p < k; p++) {
              const double v = norm ? y[i * k + p] : x[i * k + p];
              sum += v * w[j * k + p];
              room += fabs(v * w[j * k + p]);
            }
            const double allowed = norm && t->depth == 2 ? room / 256 : 0, d = fabs(c[i * n + j] - sum) - allowed;
            if (!(d <= worst)) worst = d;
          }
      }
      free(x), free(w), free(bias), free(c), free(weight), free(y), free(a), free(panel);
    }
  return worst;
}

int bf16_check(void) {
  int failed = 0;
  for (ptrdiff_t i = 0; i <= dk_table_count(); i++) {
    const int emulated = i == dk_table_count();
    const double worst = check(emulated ? &dk_bf16__pairs_emulated : dk_table_at(i)->bf16);
    const int bad = !(worst < 2e-5);
    printf("%s %s: bf16 %.1e\n", bad ? "FAIL" : "ok", emulated ? "emulated pairs" : dk_table_at(i)->name, worst);
    failed |= bad;
  }
  return failed;
}
