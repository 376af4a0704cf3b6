/* Float arithmetic that gives the same bits on every instruction set, for what surrounds the integer products (`int8-exact`). The rules:
     16 lanes always, whatever the registers hold: the compiler splits them. Sums in these lanes, then one fixed tree of halves.
     Fused multiply-add exactly where e_fma is written (contraction is off); a CPU without it computes it out of doubles. Division and square root are IEEE's; no estimates.
     Our own exp2 and GELU, polynomials without table or library call.
   Included inside a target region; it defines static functions only. */
#ifndef DK_EXACT_H
#define DK_EXACT_H
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <math.h>
#pragma clang diagnostic ignored "-Wpsabi" /* every function that takes vectors is inlined */
#pragma STDC FP_CONTRACT OFF

#ifndef DK_INLINE
#define DK_INLINE static inline __attribute__((always_inline))
#define DK_UNROLL _Pragma("clang loop unroll(full)")
#endif

#define E_LANES 16
typedef float E __attribute__((ext_vector_type(16)));
typedef int32_t EI __attribute__((ext_vector_type(16)));
typedef uint8_t EB __attribute__((ext_vector_type(16)));
typedef int8_t EC __attribute__((ext_vector_type(16)));
typedef uint16_t EH __attribute__((ext_vector_type(16)));
typedef int16_t ES __attribute__((ext_vector_type(16)));
typedef float E_any __attribute__((ext_vector_type(16), aligned(4)));
typedef int32_t EI_any __attribute__((ext_vector_type(16), aligned(4)));
typedef uint8_t EB_any __attribute__((ext_vector_type(16), aligned(1)));
typedef uint16_t EH_any __attribute__((ext_vector_type(16), aligned(2)));

DK_INLINE E e_load(const float *p) { return *(const E_any *)p; }
DK_INLINE void e_store(float *p, E v) { *(E_any *)p = v; }
DK_INLINE E e_set(float x) { return (E)(x); }
/* As x86's instructions: b where either is not a number, and where both are zero. What must stay NaN stands second, and so do extremes that a NaN must not touch. */
DK_INLINE E e_max(E a, E b) { return a > b ? a : b; }
DK_INLINE E e_min(E a, E b) { return a < b ? a : b; }
DK_INLINE E e_abs(E a) { return __builtin_elementwise_abs(a); }

/* a · b + c, rounded once. */
#ifndef DK_SOFT_FMA
DK_INLINE E e_fma(E a, E b, E c) { return __builtin_elementwise_fma(a, b, c); }
#else
/* Without the instruction: the product is exact in double; its sum with c is rounded to odd (what the sum lost sets the last bit), and so the rounding to float is the only one
   (Boldo & Melquiond, Emulation of FMA and correctly rounded sums, 2008). */
typedef double E_double __attribute__((ext_vector_type(16)));
typedef int64_t E_long __attribute__((ext_vector_type(16)));
DK_INLINE E e_fma(E a, E b, E c) {
  const E_double p = __builtin_convertvector(a, E_double) * __builtin_convertvector(b, E_double), d = __builtin_convertvector(c, E_double);
  union { E_double v; E_long i; } s = {p + d};
  const E_double part = s.v - p, lost = (p - (s.v - part)) + (d - part);
  const E_long inexact = (lost < 0.0) | (lost > 0.0), away = (lost > 0.0) ^ (s.v < 0.0), even = (s.i & 1) - 1;
  s.i += inexact & even & (1 | ~away); /* away from zero by one, or towards it */
  return __builtin_convertvector(s.v, E);
}
#endif

/* The first n (< 16) floats, zeros behind. */
DK_INLINE E e_load_part(const float *p, ptrdiff_t n) {
  float t[E_LANES] = {0};
  memcpy(t, p, (size_t)n * sizeof(float));
  return e_load(t);
}
DK_INLINE E e_load_some(const float *p, ptrdiff_t n) { return n >= E_LANES ? e_load(p) : e_load_part(p, n); }
DK_INLINE void e_store_some(float *p, E v, ptrdiff_t n) {
  if (n >= E_LANES) {
    e_store(p, v);
  } else {
    float t[E_LANES];
    e_store(t, v);
    memcpy(p, t, (size_t)n * sizeof(float));
  }
}

/* The fixed tree: halves folded onto each other. */
typedef float E8 __attribute__((ext_vector_type(8)));
typedef float E4 __attribute__((ext_vector_type(4)));
typedef float E2 __attribute__((ext_vector_type(2)));
DK_INLINE float e_sum(E v) {
  const E8 a = v.lo + v.hi;
  const E4 b = a.lo + a.hi;
  const E2 c = b.lo + b.hi;
  return c.x + c.y;
}
DK_INLINE float e_largest(E v) {
  const E8 a = __builtin_elementwise_max(v.lo, v.hi);
  const E4 b = __builtin_elementwise_max(a.lo, a.hi);
  const E2 c = __builtin_elementwise_max(b.lo, b.hi);
  return c.x > c.y ? c.x : c.y;
}

/* The nearest integer, ties to even, for |x| < 2^22: 1.5 · 2^23 leaves it in the low bits. */
#define E_MAGIC 12582912.0f
#define E_MAGIC_BITS 0x4B400000
typedef union { E v; EI i; } e_bits;
DK_INLINE EI e_round(E x) {
  e_bits bits = {x + e_set(E_MAGIC)};
  return bits.i - (EI)(E_MAGIC_BITS);
}
/* The nearest integer to a · b, and `more` (below 2^16 both), in the low 16 bits; what is above them is the same for all. */
DK_INLINE EI e_round_low(E a, E b, int32_t more) {
  e_bits bits = {e_fma(a, b, e_set(E_MAGIC + (float)more))};
  return bits.i;
}

/* 2^x for x ≤ 0, 2^-126 below that, NaN where x is, of n (at most 8) vectors side by side: one alone would wait for each step of its polynomial. Minimax of degree 4, relative error below 3e-6. */
static const float e_exp2_terms[] = {9.570101529e-03f, 5.591786029e-02f, 2.402474484e-01f, 6.931218147e-01f, 9.999992614e-01f};
DK_INLINE void e_exp2_all(E *x, const int n) {
  e_bits shifted[8], p[8];
  DK_UNROLL for (int i = 0; i < n; i++) x[i] = e_max(e_set(-126.0f), x[i]);
  DK_UNROLL for (int i = 0; i < n; i++) shifted[i].v = x[i] + e_set(E_MAGIC);
  DK_UNROLL for (int i = 0; i < n; i++) x[i] = x[i] - (shifted[i].v - e_set(E_MAGIC));
  DK_UNROLL for (int i = 0; i < n; i++) p[i].v = e_set(e_exp2_terms[0]);
  DK_UNROLL for (int k = 1; k < 5; k++)
    DK_UNROLL for (int i = 0; i < n; i++) p[i].v = e_fma(p[i].v, x[i], e_set(e_exp2_terms[k]));
  DK_UNROLL for (int i = 0; i < n; i++) {
    p[i].i += shifted[i].i << 23;
    x[i] = p[i].v;
  }
}
DK_INLINE E e_exp2_of_at_most_0(E x) {
  e_exp2_all(&x, 1);
  return x;
}

/* x · Φ(x) as x · (1/2 + t · P(t²)), t = x held within ±4.2, where Φ has almost reached 0 and 1. Absolute error below 1e-4 (the next thing
   that happens to it is a rounding to 8 bits), no division. Coefficients fitted for this project (Tests/Reference/fit_functions.py). */
static const float e_gelu_terms[] = {-9.017534034e-10f, 7.941340770e-08f, -3.037931958e-06f, 6.689070110e-05f, -9.506575392e-04f, 9.298229409e-03f, -6.552820205e-02f, 3.984658730e-01f};
/* Of n vectors side by side: one alone would wait for each step of its polynomial. */
DK_INLINE void e_gelu(E *x, const int n) {
  E t[8], u[8], p[8];
  DK_UNROLL for (int i = 0; i < n; i++) t[i] = e_max(e_min(x[i], e_set(4.2f)), e_set(-4.2f));
  DK_UNROLL for (int i = 0; i < n; i++) u[i] = t[i] * t[i];
  DK_UNROLL for (int i = 0; i < n; i++) p[i] = e_set(e_gelu_terms[0]);
  DK_UNROLL for (int k = 1; k < 8; k++)
    DK_UNROLL for (int i = 0; i < n; i++) p[i] = e_fma(p[i], u[i], e_set(e_gelu_terms[k]));
  DK_UNROLL for (int i = 0; i < n; i++) p[i] = e_fma(t[i], p[i], e_set(0.5f));
  DK_UNROLL for (int i = 0; i < n; i++) x[i] = x[i] * p[i];
}

#define DK_LOG2E 1.44269504088896340736f
/* 1 / (1 + 2^-x); one branch of 2^x for either sign. */
DK_INLINE E e_logistic2(E x) {
  E e = e_exp2_of_at_most_0(-e_abs(x));
  E small = e / (e_set(1.0f) + e);
  return x < e_set(0.0f) ? small : e_set(1.0f) - small;
}

DK_INLINE E e_activate(int32_t activation, E x) {
  switch (activation) {
  case DK_GELU: e_gelu(&x, 1); return x;
  case DK_GELU_TANH: { /* 0.5 x (1 + tanh u) = x / (1 + exp(-2u)) */
    E u = x * (e_set(0.79788456080286536f) + x * x * e_set(0.044715f * 0.79788456080286536f));
    return x * e_logistic2(u * e_set(2.0f * DK_LOG2E));
  }
  case DK_RELU: return x < e_set(0.0f) ? e_set(0.0f) : x;
  case DK_SILU: return x * e_logistic2(x * e_set(DK_LOG2E));
  default: return x;
  }
}

/* The same of n vectors, at most 8. */
DK_INLINE void e_activate_all(int32_t activation, E *x, const int n) {
  if (activation == DK_GELU) e_gelu(x, n);
  else if (activation != DK_NONE)
    DK_UNROLL for (int i = 0; i < n; i++) x[i] = e_activate(activation, x[i]);
}

/* 16 × 16: four rounds of interleaving row i with row i + 8. */
DK_INLINE void e_transpose(E r[16]) {
  DK_UNROLL for (int round = 0; round < 4; round++) {
    E t[16];
    DK_UNROLL for (int i = 0; i < 8; i++) {
      t[2 * i] = __builtin_shufflevector(r[i], r[i + 8], 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
      t[2 * i + 1] = __builtin_shufflevector(r[i], r[i + 8], 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
    }
    DK_UNROLL for (int i = 0; i < 16; i++) r[i] = t[i];
  }
}

/* Up to `most` queries of one head, from `query` on. */
DK_INLINE dk_attention_block e_attention_part(const dk_attention_block *t, ptrdiff_t head, ptrdiff_t query, ptrdiff_t most, ptrdiff_t head_words) {
  dk_attention_block part = *t;
  part.q8 += query * t->row8 + head * head_words;
  part.k8 += head * head_words;
  part.v8 += head * t->head_width * t->v8_column;
  part.q_scale += head * t->scale_head + query;
  part.k_scale += head * t->scale_head;
  part.v_scale += head * t->scale_head;
  part.out += query * t->out_row + head * t->head_width;
  part.queries = t->queries - query < most ? t->queries - query : most;
  return part;
}

/* The end of attention: sums o[channel][query], divided by what their probabilities add up to, as rows of queries; 16 queries in each of `groups`, `nr` numbers from channel to channel. */
DK_INLINE void e_write_heads(const dk_attention_block *t, const float *o, const E *total, const ptrdiff_t nr, const int groups) {
  const ptrdiff_t d = t->head_width;
  DK_UNROLL for (int g = 0; g < groups; g++) {
    const E inverse = e_set(1.0f) / total[g];
    for (ptrdiff_t c = 0; c < d; c += 16) {
      const ptrdiff_t n = d - c < 16 ? d - c : 16;
      E r[16];
      DK_UNROLL for (int i = 0; i < 16; i++) r[i] = i < n ? e_load(o + (c + i) * nr + g * 16) * inverse : e_set(0.0f);
      e_transpose(r);
      DK_UNROLL for (int i = 0; i < 16; i++)
        if (g * 16 + i < t->queries) e_store_some(t->out + (g * 16 + i) * t->out_row + c, r[i], n);
    }
  }
}

/* Mean and 1 / sqrt(variance + epsilon) of each of n rows (at most 4), side by side: a sum alone would wait for each of its additions. */
DK_INLINE void e_moments(const float *x, ptrdiff_t x_row, ptrdiff_t columns, float epsilon, float *mean, float *inverse, const int n) {
  const ptrdiff_t whole = columns / E_LANES * E_LANES, rest = columns - whole;
  E sum[4], squares[4];
  DK_UNROLL for (int r = 0; r < n; r++) sum[r] = squares[r] = e_set(0.0f);
  for (ptrdiff_t i = 0; i < whole; i += E_LANES)
    DK_UNROLL for (int r = 0; r < n; r++) sum[r] = sum[r] + e_load(x + r * x_row + i);
  DK_UNROLL for (int r = 0; r < n; r++) {
    if (rest) sum[r] = sum[r] + e_load_part(x + r * x_row + whole, rest);
    mean[r] = e_sum(sum[r]) / (float)columns;
  }
  for (ptrdiff_t i = 0; i < whole; i += E_LANES)
    DK_UNROLL for (int r = 0; r < n; r++) {
      const E c = e_load(x + r * x_row + i) - e_set(mean[r]);
      squares[r] = e_fma(c, c, squares[r]);
    }
  DK_UNROLL for (int r = 0; r < n; r++) {
    if (rest) {
      float t[E_LANES] = {0};
      for (ptrdiff_t i = 0; i < rest; i++) t[i] = x[r * x_row + whole + i] - mean[r];
      const E c = e_load(t);
      squares[r] = e_fma(c, c, squares[r]);
    }
    inverse[r] = 1.0f / __builtin_sqrtf(e_sum(squares[r]) / (float)columns + epsilon);
  }
}
#endif
