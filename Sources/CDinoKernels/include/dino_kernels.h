/* The inner loops of the runtime, one table of functions for each instruction set, picked at run time. What a table does not do: allocate,
   start threads, read files, keep state. Every function has a plain Swift twin in DinoKernels/Reference, the oracle of its tests.

   Grammar of names: dk_<dtype>_<operation>__<instruction set>.
   Letters: M rows, K depth, N columns, T tokens, d width of a head, NR columns of a packed panel, MR rows of a register tile.
   All strides are in elements. "Rows" are contiguous along their columns. */
#ifndef DINO_KERNELS_H
#define DINO_KERNELS_H
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { DK_NONE = 0, DK_GELU = 1, DK_GELU_TANH = 2, DK_RELU = 3, DK_SILU = 4 };

/* One block of C = epilogue(A · B): `rows` rows against one packed panel of B, K × NR, of which `columns` are stored.
   Epilogue, in this order: + bias, activation, · scale, + residual. Pointers to bias, scale, residual may be null; they are those of the block's first column. */
typedef struct {
  const float *a;
  ptrdiff_t a_row;
  const float *b;
  ptrdiff_t k;
  float *c;
  ptrdiff_t c_row;
  const float *bias;
  const float *scale;
  const float *residual;
  ptrdiff_t residual_row;
  int32_t activation;
  ptrdiff_t rows;
  ptrdiff_t columns;
  /* What will be read next (another panel) is fetched into the cache meanwhile: `prefetch_bytes` bytes from here; may be null. */
  const char *prefetch;
  ptrdiff_t prefetch_bytes;
} dk_f32_gemm_block;

/* softmax(scale · q kᵀ) v for `queries` rows of one head (at most NR of the table), over all `tokens` keys. Pointers are at the head's first column. */
typedef struct {
  const float *q;
  ptrdiff_t q_row;
  ptrdiff_t queries;
  const float *k;
  ptrdiff_t k_row;
  const float *v;
  ptrdiff_t v_row;
  ptrdiff_t tokens;
  ptrdiff_t head_width;
  float scale;
  float *out;
  ptrdiff_t out_row;
  /* dk_table.attention_scratch(head_width) floats, 64-byte aligned. */
  float *scratch;
} dk_f32_attention_block;

typedef struct dk_table {
  const char *name;
  ptrdiff_t mr;
  ptrdiff_t nr;
  void (*f32_gemm)(const dk_f32_gemm_block *block);
  void (*f32_attention)(const dk_f32_attention_block *block);
  ptrdiff_t (*f32_attention_scratch)(ptrdiff_t head_width);
  /* weights[t] = softmax over t of scale · q · k_t, for one query: the row that the class token attends with. */
  void (*f32_attention_row)(const float *q, const float *k, ptrdiff_t k_row, ptrdiff_t tokens, ptrdiff_t head_width, float scale, float *weights);
  /* y = (x - mean) / sqrt(variance + epsilon) · weight + bias for each row of `columns`. */
  void (*f32_layer_norm)(const float *x, ptrdiff_t x_row, const float *weight, const float *bias, float epsilon, float *y, ptrdiff_t y_row,
                         ptrdiff_t rows, ptrdiff_t columns);
  void (*f32_softmax)(const float *x, ptrdiff_t x_row, float *y, ptrdiff_t y_row, ptrdiff_t rows, ptrdiff_t columns);
  void (*f32_activation)(int32_t activation, const float *x, float *y, ptrdiff_t count);
  /* Packs `columns` rows of W [columns, K] (row stride w_row) as one panel: panel[k · NR + j] = W[j, k], zero beyond `columns`. */
  void (*f32_pack)(const float *w, ptrdiff_t w_row, ptrdiff_t columns, ptrdiff_t k, float *panel);
  /* Independent multiply-adds in registers, `rounds` times; the number of floating-point operations done. For measuring the peak. */
  double (*f32_peak)(ptrdiff_t rounds, float *sink);
  /* out[i] = rows[i] · query for `count` stored rows of f32, f16 (IEEE half, as bits) or i8; the query is f32. */
  void (*f32_dots)(const float *rows, ptrdiff_t row, ptrdiff_t count, const float *query, ptrdiff_t columns, float *out);
  void (*f16_dots)(const uint16_t *rows, ptrdiff_t row, ptrdiff_t count, const float *query, ptrdiff_t columns, float *out);
  void (*i8_dots)(const int8_t *rows, ptrdiff_t row, ptrdiff_t count, const float *query, ptrdiff_t columns, float *out);
  /* Reads `count` bytes and gives a number that depends on all of them: how fast memory can be read. */
  uint64_t (*sum_bytes)(const void *bytes, ptrdiff_t count);
} dk_table;

/* The tables that this build contains and this CPU and operating system support, best first; the last is always the portable one. */
ptrdiff_t dk_table_count(void);
const dk_table *dk_table_at(ptrdiff_t index);
/* Features found, for people: "avx512f avx512vnni ...". */
const char *dk_cpu_features(void);

/* A hint to the core that this thread is spinning. */
static inline void dk_pause(void) {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

#ifdef __cplusplus
}
#endif
#endif
