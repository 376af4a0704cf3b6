/* Checks every kernel of every table of the CPU it runs on against plain loops. Built for another CPU (Tests/neon.sh) it is run by an emulator;
   built for this one it is a second, Swift-free check. Prints a line for each table; exit code 1 where a difference is too large. */
#include "dino_kernels.h"
#include "int8_check.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t state = 1;
static float random_float(void) {
  state = state * 6364136223846793005ull + 1442695040888963407ull;
  return (float)(state >> 40) / (float)(1 << 24) * 2 - 1;
}
static float *floats(size_t n) {
  float *p = aligned_alloc(64, (n * sizeof(float) + 127) / 64 * 64);
  for (size_t i = 0; i < n; i++) p[i] = random_float();
  return p;
}
static double activate(int code, double x) {
  switch (code) {
  case DK_GELU: return 0.5 * x * (1 + erf(x * sqrt(0.5)));
  case DK_GELU_TANH: return 0.5 * x * (1 + tanh(sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
  case DK_RELU: return x > 0 ? x : 0;
  case DK_SILU: return x / (1 + exp(-x));
  default: return x;
  }
}
static void note(double *worst, double a, double b) {
  const double d = fabs(a - b);
  if (!(d <= *worst)) *worst = d;
}

static double check_gemm(const dk_table *t) {
  static const int sizes[] = {1, 2, 3, 4, 5, 6, 7, 8, 13, 14, 15, 17, 31, 33};
  double worst = 0;
  for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
    for (int k = 1; k < 40; k += 6)
      for (int columns = 1; columns <= t->nr; columns += 3) {
        const int m = sizes[s], code = (m + k) % 5;
        float *a = floats(m * k), *w = floats(columns * k), *c = floats(m * columns), *bias = floats(columns), *scale = floats(columns), *add = floats(m * columns), *panel = floats(k * t->nr);
        t->f32_pack(w, k, columns, k, panel);
        dk_f32_gemm_block g = {.a = a, .a_row = k, .b = panel, .k = k, .c = c, .c_row = columns, .bias = bias, .scale = k % 2 ? scale : 0, .residual = m % 2 ? add : 0,
                               .residual_row = columns, .activation = code, .rows = m, .columns = columns};
        t->f32_gemm(&g);
        for (int i = 0; i < m; i++)
          for (int j = 0; j < columns; j++) {
            double x = bias[j];
            for (int p = 0; p < k; p++) x += (double)a[i * k + p] * w[j * k + p];
            x = activate(code, x);
            if (k % 2) x *= scale[j];
            if (m % 2) x += add[i * columns + j];
            note(&worst, c[i * columns + j], x);
          }
        free(a); free(w); free(c); free(bias); free(scale); free(add); free(panel);
      }
  return worst;
}

static double check_attention(const dk_table *t) {
  static const int cases[][2] = {{1, 1}, {2, 20}, {17, 16}, {46, 20}, {129, 64}, {197, 64}, {257, 5}};
  double worst = 0;
  for (int n = 0; n < 7; n++) {
    const int tokens = cases[n][0], d = cases[n][1], row = 3 * d;
    float *x = floats(tokens * row), *out = floats(tokens * d), *scratch = floats(t->f32_attention_scratch(d)), *weights = floats(tokens);
    for (int q = 0; q < tokens; q += (int)t->nr) {
      dk_f32_attention_block b = {x + q * row, row, tokens - q < t->nr ? tokens - q : t->nr, x + d, row, x + 2 * d, row, tokens, d, 0.5f, out + q * d, d, scratch};
      t->f32_attention(&b);
    }
    t->f32_attention_row(x, x + d, row, tokens, d, 0.5f, weights);
    for (int q = 0; q < tokens; q++) {
      double *p = malloc(tokens * sizeof *p), total = 0;
      for (int k = 0; k < tokens; k++) {
        double s = 0;
        for (int i = 0; i < d; i++) s += (double)x[q * row + i] * x[k * row + d + i];
        total += p[k] = exp(0.5 * s);
      }
      for (int i = 0; i < d; i++) {
        double y = 0;
        for (int k = 0; k < tokens; k++) y += p[k] / total * x[k * row + 2 * d + i];
        note(&worst, out[q * d + i], y);
      }
      if (q == 0) for (int k = 0; k < tokens; k++) note(&worst, weights[k], p[k] / total);
      free(p);
    }
    free(x); free(out); free(scratch); free(weights);
  }
  return worst;
}

static double check_rows(const dk_table *t) {
  double worst = 0;
  for (int columns = 1; columns < 70; columns++) {
    float *x = floats(3 * columns), *w = floats(columns), *b = floats(columns), *y = floats(3 * columns), *z = floats(3 * columns);
    t->f32_layer_norm(x, columns, w, b, 1e-6f, y, columns, 3, columns);
    t->f32_softmax(x, columns, z, columns, 3, columns);
    for (int r = 0; r < 3; r++) {
      double mean = 0, variance = 0, total = 0;
      for (int i = 0; i < columns; i++) mean += x[r * columns + i] / (double)columns, total += exp(x[r * columns + i]);
      for (int i = 0; i < columns; i++) variance += (x[r * columns + i] - mean) * (x[r * columns + i] - mean) / columns;
      for (int i = 0; i < columns; i++) {
        if (columns > 1) note(&worst, y[r * columns + i], (x[r * columns + i] - mean) / sqrt(variance + 1e-6) * w[i] + b[i]);
        note(&worst, z[r * columns + i], exp(x[r * columns + i]) / total);
      }
    }
    free(x); free(w); free(b); free(y); free(z);
  }
  for (int code = 1; code <= 4; code++)
    for (int i = -400; i <= 400; i++) {
      float x = (float)i / 40, y;
      t->f32_activation(code, &x, &y, 1);
      note(&worst, y, activate(code, x));
    }
  return worst;
}

int main(void) {
  int failed = 0;
  for (ptrdiff_t i = 0; i < dk_table_count(); i++) {
    const dk_table *t = dk_table_at(i);
    const double gemm = check_gemm(t), attention = check_attention(t), rows = check_rows(t);
    const int bad = !(gemm < 2e-5) || !(attention < 1e-5) || !(rows < 1e-4);
    printf("%s %s: gemm %.1e, attention %.1e, rows %.1e\n", bad ? "FAIL" : "ok", t->name, gemm, attention, rows);
    failed |= bad;
  }
  return failed | int8_check() | bf16_check();
}
