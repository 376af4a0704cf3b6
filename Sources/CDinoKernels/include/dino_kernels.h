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

/* C = Aᵀ · B, added to C where `accumulate`: k rows of A, of which `rows` columns from `a` on are rows of C, against one panel of k rows of B. */
typedef struct {
  const float *a;
  ptrdiff_t a_row;
  const float *b;
  ptrdiff_t k;
  float *c;
  ptrdiff_t c_row;
  ptrdiff_t rows;
  ptrdiff_t columns;
  int32_t accumulate;
  /* Fetched while the sums run: what a later call will read. May be null. */
  const char *prefetch;
  ptrdiff_t prefetch_bytes;
} dk_f32_gemm_transposed_block;

/* The gradients of attention for one head: dq, dk, dv from dy and q, k, v. Pointers are at the head's first column. Of the tokens the first `queries` have asked and have
   rows of dy; dq of the others becomes zero. */
typedef struct {
  const float *q;
  ptrdiff_t q_row;
  const float *k;
  ptrdiff_t k_row;
  const float *v;
  ptrdiff_t v_row;
  const float *dy;
  ptrdiff_t dy_row;
  ptrdiff_t tokens;
  ptrdiff_t queries;
  ptrdiff_t head_width;
  float scale;
  float *dq;
  float *dk;
  float *dv;
  ptrdiff_t out_row;
  /* f32_attention_gradient_scratch(tokens, head_width) floats, 64-byte aligned. */
  float *scratch;
} dk_f32_attention_gradient_head;

/* One step of AdamW over a run of parameters: g is multiplied by `factor` first; keep = 1 - rate · decay, step = rate / (1 - beta1^t),
   inverse_root = 1 / sqrt(1 - beta2^t). */
typedef struct {
  float *p;
  const float *g;
  float *m;
  float *v;
  ptrdiff_t count;
  float factor;
  float keep;
  float step;
  float inverse_root;
  float one_minus_beta1;
  float beta2;
  float one_minus_beta2;
  float epsilon;
} dk_f32_adamw_run;

/* One block of C = epilogue(A · B), A = a · scale + middle of its row, B = b · b_scale of its column: rows of words, as a table's own functions make them, against packed
   panels. Scales are null for bf16. */
typedef struct {
  const int32_t *a;
  ptrdiff_t a_row;
  const float *a_scale; /* scale and middle of each row */
  const void *panel;
  ptrdiff_t k;
  const float *b_scale; /* one for each column */
  float *c;
  ptrdiff_t c_row;
  const float *bias;
  const float *scale;
  const float *residual;
  ptrdiff_t residual_row;
  int32_t activation;
  ptrdiff_t rows;
  ptrdiff_t columns;
  const char *prefetch;
  ptrdiff_t prefetch_bytes;
  /* Where b has zero points other than 0: those of its columns, and the sum of each row of a as reals. Int8 only; null where there are none. */
  const float *b_zero;
  const float *a_total;
  /* From panel to panel, where there are more columns than one has. */
  ptrdiff_t panel_bytes;
  /* Bf16 only: where not null, the result goes there, rounded to the words of rows, and not to c. All columns at once, or from an even one on. */
  int32_t *words;
  ptrdiff_t words_row;
} dk_words_gemm_block;

/* Rows of q, k, v in f32, head beside head, to 8 bits with a scale for each row and head, or to bfloat16 without. q and k stay rows (each head whole words); v becomes words of
   `depth` tokens each. All pointers are at the block's first row, which is a multiple of `depth` tokens. Strides in words. */
typedef struct {
  const float *q;
  ptrdiff_t q_row;
  const float *k;
  ptrdiff_t k_row;
  const float *v;
  ptrdiff_t v_row;
  ptrdiff_t rows;
  ptrdiff_t heads;
  ptrdiff_t head_width;
  int32_t *q8;
  int32_t *k8;
  ptrdiff_t row8; /* from row to row of q8 and k8 */
  int32_t *v8;
  ptrdiff_t v8_row; /* from `depth` tokens to the next */
  ptrdiff_t v8_column; /* from channel to channel */
  float *q_scale;
  float *k_scale;
  float *v_scale;
  ptrdiff_t scale_head; /* floats from head to head */
} dk_heads_block;

/* softmax(scale · q kᵀ) v for a block of queries, every head, on what quantize_heads (bf16: heads) made. Pointers are at the first head. Values that lie by channel are read up to
   whole steps of tiles: 64 bytes behind the last must be there. */
typedef struct {
  const int32_t *q8;
  const int32_t *k8;
  ptrdiff_t row8;
  const int32_t *v8;
  ptrdiff_t v8_row;
  ptrdiff_t v8_column;
  const float *q_scale;
  const float *k_scale;
  const float *v_scale;
  ptrdiff_t scale_head; /* floats from head to head */
  ptrdiff_t queries;
  ptrdiff_t tokens;
  ptrdiff_t heads;
  ptrdiff_t head_width;
  float scale;
  float *out; /* heads side by side */
  ptrdiff_t out_row;
  int32_t *scratch; /* attention_scratch(head_width) words, 64-byte aligned */
} dk_attention_block;

/* Integer products and what surrounds them. Every table's give the same bits (see exact.h). Quantized rows are words of 32 bits that only the same table reads. */
typedef struct {
  ptrdiff_t nr; /* columns of a panel */
  ptrdiff_t depth; /* values in a word, 2 or 4: a row of k has (k + depth - 1) / depth words */
  int32_t values_by_channel; /* attention wants the words of values channel by channel (v8_row 1), not token by token (v8_column 1) */
  ptrdiff_t (*panel_bytes)(ptrdiff_t k);
  /* Packs columns B[:, j] = w[j · w_row + p · w_column], p < k, as one panel; zeros beyond `columns`. */
  void (*pack)(const int8_t *w, ptrdiff_t w_row, ptrdiff_t w_column, ptrdiff_t columns, ptrdiff_t k, void *panel);
  /* Bytes with zero point 128 as the words of a row. */
  void (*words)(const uint8_t *a, ptrdiff_t count, int32_t *words);
  /* One output channel's weights to -127...127; the scale, searched for the least squared error, is returned. */
  float (*quantize_weights)(const float *w, ptrdiff_t k, int8_t *q);
  void (*gemm)(const dk_words_gemm_block *block);
  /* c = A · B exactly, for any bytes, modulo 2^32. a_row in words. */
  void (*products)(const int32_t *a, ptrdiff_t a_row, const void *panel, ptrdiff_t k, int32_t *c, ptrdiff_t c_row, ptrdiff_t rows, ptrdiff_t columns);
  /* q = round((x - middle) · 127 / half), where [middle - half, middle + half] is the row's range with 0 in it; scales: half / 127 and middle, row by row. */
  void (*quantize)(const float *x, ptrdiff_t x_row, int32_t *q, ptrdiff_t q_row, float *scales, ptrdiff_t rows, ptrdiff_t columns);
  /* Layer norm to y, and y quantized to q where q is not null. y may be one row for all (y_row 0). */
  void (*layer_norm)(const float *x, ptrdiff_t x_row, const float *weight, const float *bias, float epsilon, float *y, ptrdiff_t y_row, int32_t *q, ptrdiff_t q_row,
                     float *scales, ptrdiff_t rows, ptrdiff_t columns);
  /* Steps that are given: q = round(x / scale) within low...high (NaN: low), plus offset, which must fit 8 bits. totals: Σ (q - offset)·scale of each row, or null. */
  void (*quantize_steps)(const float *x, ptrdiff_t x_row, int32_t *q, ptrdiff_t q_row, float *totals, float scale, float low, float high, int32_t offset, ptrdiff_t rows,
                         ptrdiff_t columns);
  /* y = round(x / scale) within low...high, times scale. */
  void (*round)(const float *x, float *y, float scale, float low, float high, ptrdiff_t count);
  /* As f32_gate, the same bits on every table. */
  void (*gate)(int32_t activation, const float *x, const float *value, float *y, ptrdiff_t count);
  /* The least and the most of what is there already, x and 0; NaN where x holds what is not finite. */
  void (*range)(const float *x, ptrdiff_t count, float *least_and_most);
  void (*quantize_heads)(const dk_heads_block *block);
  void (*attention)(const dk_attention_block *block);
  ptrdiff_t (*attention_scratch)(ptrdiff_t head_width);
  /* Integer operations done, a multiply-add counting two. sink: 4 numbers. */
  double (*peak)(ptrdiff_t rounds, int32_t *sink);
} dk_i8_kernels;

/* Products with weights in bfloat16, sums in f32. Rows are words that only the same table reads; `scales` is not used. */
typedef struct {
  ptrdiff_t nr;
  ptrdiff_t depth;
  ptrdiff_t (*panel_bytes)(ptrdiff_t k);
  /* Packs `columns` rows of W [columns, K] as one panel, rounded. */
  void (*pack)(const float *w, ptrdiff_t w_row, ptrdiff_t columns, ptrdiff_t k, void *panel);
  void (*gemm)(const dk_words_gemm_block *block);
  void (*convert)(const float *x, ptrdiff_t x_row, int32_t *q, ptrdiff_t q_row, float *scales, ptrdiff_t rows, ptrdiff_t columns);
  /* Layer norm to y where y_row is not 0, and to q where q is not null. */
  void (*layer_norm)(const float *x, ptrdiff_t x_row, const float *weight, const float *bias, float epsilon, float *y, ptrdiff_t y_row, int32_t *q, ptrdiff_t q_row,
                     float *scales, ptrdiff_t rows, ptrdiff_t columns);
  /* Attention on bfloat16, values by channel; null where it is not faster than that on f32. */
  void (*heads)(const dk_heads_block *block);
  void (*attention)(const dk_attention_block *block);
  ptrdiff_t (*attention_scratch)(ptrdiff_t head_width);
  /* Training. As pack, of the transpose: `columns` columns of X [K, columns] as panels, `bytes` from panel to panel. */
  void (*pack_rows)(const float *x, ptrdiff_t x_row, ptrdiff_t columns, ptrdiff_t k, void *panels, ptrdiff_t bytes);
  /* As convert, of the transpose: column c of X becomes row c of words. */
  void (*turn)(const float *x, ptrdiff_t x_row, int32_t *q, ptrdiff_t q_row, ptrdiff_t rows, ptrdiff_t columns);
  /* As f32_attention_gradient, on operands in bfloat16; null where that is not faster. */
  void (*attention_gradient)(const dk_f32_attention_gradient_head *head);
  ptrdiff_t (*attention_gradient_scratch)(ptrdiff_t tokens, ptrdiff_t head_width);
} dk_bf16_kernels;

/* C = epilogue(A · B) for rows that split_rows made against panels that `pack` made (`block.b`, `panel_bytes` from one to the next), of as many columns as there are. `block.a` is not read.
   Where prefetch_bytes is not 0 each panel fetches the next one. */
typedef struct {
  dk_f32_gemm_block block;
  const void *split;
  ptrdiff_t panel_bytes;
} dk_f32_split_block;

/* Products of f32 for many rows where something else than f32's own multiply-adds makes them faster and as good: see f32_amx.c. */
typedef struct {
  ptrdiff_t (*split_bytes)(ptrdiff_t rows, ptrdiff_t k);
  /* Rows of A [rows, K]; 64-byte aligned. */
  void (*split_rows)(const float *x, ptrdiff_t x_row, ptrdiff_t rows, ptrdiff_t k, void *split);
  ptrdiff_t (*panel_bytes)(ptrdiff_t k);
  /* `columns` (at most NR) of B [K, columns] as a panel; 64-byte aligned. */
  void (*pack)(const float *x, ptrdiff_t x_row, ptrdiff_t columns, ptrdiff_t k, void *panel);
  void (*gemm)(const dk_f32_split_block *block);
} dk_f32_split_kernels;

typedef struct dk_table {
  const char *name;
  ptrdiff_t mr;
  ptrdiff_t nr;
  ptrdiff_t chain_rows; /* about how many rows of int8 and bf16 layers a thread takes at once */
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
  /* Rotary positions on `columns` columns, groups of head_width, of consecutive tokens, cos and sin [rows, head_width]: with i in the first half of a group and j = i + head_width / 2,
     y_i = x_i cos_i - x_j sin_i, y_j = x_j cos_j + x_i sin_j; transposed, what the transpose of that matrix does. y may be x. Every table's give the same bits. */
  void (*f32_rotary)(const float *x, ptrdiff_t x_row, float *y, ptrdiff_t y_row, const float *cos, const float *sin, ptrdiff_t rows, ptrdiff_t columns, ptrdiff_t head_width,
                     int32_t transposed);
  /* y = f(x) · value; y may be x. */
  void (*f32_gate)(int32_t activation, const float *x, const float *value, float *y, ptrdiff_t count);
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
  const dk_i8_kernels *i8;
  const dk_bf16_kernels *bf16;
  /* Null where nothing is faster than f32_gemm. */
  const dk_f32_split_kernels *split;
  /* Training: see f32_training.h. */
  void (*f32_gemm_transposed)(const dk_f32_gemm_transposed_block *block);
  ptrdiff_t (*f32_attention_gradient_scratch)(ptrdiff_t tokens, ptrdiff_t head_width);
  void (*f32_attention_gradient)(const dk_f32_attention_gradient_head *head);
  void (*f32_layer_norm_gradient)(const float *dy, ptrdiff_t dy_row, const float *x, ptrdiff_t x_row, const float *weight, float epsilon, float *dx,
                                  ptrdiff_t dx_row, ptrdiff_t rows, ptrdiff_t columns);
  void (*f32_layer_norm_sums)(const float *dy, ptrdiff_t dy_row, const float *x, ptrdiff_t x_row, float epsilon, float *sums, ptrdiff_t rows,
                              ptrdiff_t columns);
  void (*f32_sum_rows)(const float *x, ptrdiff_t x_row, float *sums, ptrdiff_t rows, ptrdiff_t columns);
  void (*f32_activation_gradient)(int32_t activation, const float *dy, const float *x, float *dx, ptrdiff_t count);
  /* Of f32_gate: dx = dy · value · f'(x), dvalue = dy · f(x). */
  void (*f32_gate_gradient)(int32_t activation, const float *dy, const float *x, const float *value, float *dx, float *dvalue, ptrdiff_t count);
  double (*f32_squares)(const float *a, float a_factor, const float *b, float b_factor, ptrdiff_t count);
  void (*f32_adamw)(const dk_f32_adamw_run *run);
  void (*f32_momentum)(float *p, const float *g, float *m, float factor, float decay, float momentum, float rate, ptrdiff_t count);
  void (*f32_blend)(float *y, const float *x, float keep, float add, ptrdiff_t count);
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
