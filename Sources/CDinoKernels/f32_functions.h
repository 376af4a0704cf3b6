/* Vectors of f32: loads, sums, exponentials, activations, and the end of a product's row, written once in clang's vector types. The including file defines DK_LANES, DK_VECTORS, DK_NAME and
   DK_FMA as f32_kernels.h says, and sets the target region. No loops over matrices here. */
#include <string.h>
#include <math.h>

typedef float V __attribute__((ext_vector_type(DK_LANES)));
typedef int32_t VI __attribute__((ext_vector_type(DK_LANES)));
typedef float VU __attribute__((ext_vector_type(DK_LANES), aligned(4)));
#define DK_NR (DK_LANES * DK_VECTORS)
#define DK_INLINE static inline __attribute__((always_inline))
#define DK_UNROLL _Pragma("clang loop unroll(full)")

DK_INLINE V v_load(const float *p) { return *(const VU *)p; }
DK_INLINE void v_store(float *p, V v) { *(VU *)p = v; }
DK_INLINE V v_set(float x) { return (V)(x); }
/* As x86's instructions: b where either is not a number, so what must stay NaN stands second. */
DK_INLINE V v_max(V a, V b) { return a > b ? a : b; }
DK_INLINE V v_min(V a, V b) { return a < b ? a : b; }

/* The first n (< DK_LANES) floats, zeros behind. */
DK_INLINE V v_load_part(const float *p, ptrdiff_t n) {
  float t[DK_LANES] = {0};
  memcpy(t, p, (size_t)n * sizeof(float));
  return v_load(t);
}
DK_INLINE void v_store_part(float *p, V v, ptrdiff_t n) {
  float t[DK_LANES];
  v_store(t, v);
  memcpy(p, t, (size_t)n * sizeof(float));
}

/* Sums in a fixed tree, halves folded onto each other. */
DK_INLINE float v_sum(V v) {
  float t[DK_LANES];
  v_store(t, v);
  for (int n = DK_LANES / 2; n >= 1; n /= 2)
    for (int i = 0; i < n; i++) t[i] += t[i + n];
  return t[0];
}
DK_INLINE float v_largest(V v) {
  float t[DK_LANES];
  v_store(t, v);
  for (int i = 1; i < DK_LANES; i++) t[0] = t[i] > t[0] ? t[i] : t[0];
  return t[0];
}

/* 2^x for x in [-126, 127] (below that, 2^-126; the first form does not look for what is above): x = n + f, f in [-1/2, 1/2]; a minimax polynomial for 2^f, n added to the exponent.
   Relative error below 1e-7. */
DK_INLINE V v_exp2_of_at_most_0(V x) {
  x = v_max(v_set(-126.0f), x);
  V shifted = x + v_set(12582912.0f); /* 1.5 · 2^23: rounds to an integer that sits in the low bits */
  V n = shifted - v_set(12582912.0f);
  V f = x - n;
  V p = v_set(1.535335909e-04f);
  p = DK_FMA(p, f, v_set(1.339887542e-03f));
  p = DK_FMA(p, f, v_set(9.618437377e-03f));
  p = DK_FMA(p, f, v_set(5.550332468e-02f));
  p = DK_FMA(p, f, v_set(2.402264791e-01f));
  p = DK_FMA(p, f, v_set(6.931472029e-01f));
  p = DK_FMA(p, f, v_set(1.0f));
  union { V v; VI i; } bits = {p}, exponent = {shifted};
  bits.i += exponent.i << 23;
  return bits.v + (f - f); /* NaN where x is: the sum of integers may make a number of it */
}
DK_INLINE V v_exp2(V x) { return v_exp2_of_at_most_0(v_min(v_set(127.0f), x)); }
#define DK_LOG2E 1.44269504088896340736f

/* erf as x · P(x²) / Q(x²) on [-3.92, 3.92], where it has reached 1 in f32. Coefficients fitted for this project, as those of 2^f are
   (Tests/Reference/fit_functions.py). Absolute error below 5e-7. */
DK_INLINE V v_erf(V x) {
  x = v_max(v_min(x, v_set(3.9192059f)), v_set(-3.9192059f));
  V t = x * x;
  V p = v_set(1.993343365e-08f);
  p = DK_FMA(p, t, v_set(-1.957979419e-06f));
  p = DK_FMA(p, t, v_set(1.417836330e-04f));
  p = DK_FMA(p, t, v_set(3.698158435e-03f));
  p = DK_FMA(p, t, v_set(5.056206180e-02f));
  p = DK_FMA(p, t, v_set(1.998390778e-01f));
  p = DK_FMA(p, t, v_set(1.128379110e+00f));
  V q = v_set(9.552547837e-04f);
  q = DK_FMA(q, t, v_set(1.434602127e-02f));
  q = DK_FMA(q, t, v_set(1.149631577e-01f));
  q = DK_FMA(q, t, v_set(5.104344343e-01f));
  q = DK_FMA(q, t, v_set(1.0f));
  return v_max(v_min(x * p / q, v_set(1.0f)), v_set(-1.0f));
}

DK_INLINE V v_activate(int32_t activation, V x) {
  switch (activation) {
  case DK_GELU: return x * v_set(0.5f) * (v_set(1.0f) + v_erf(x * v_set(0.70710678118654752f)));
  case DK_GELU_TANH: { /* 0.5 x (1 + tanh u) = x / (1 + exp(-2u)) */
    V u = x * DK_FMA(x * x, v_set(0.044715f * 0.79788456080286536f), v_set(0.79788456080286536f));
    return x / (v_set(1.0f) + v_exp2(u * v_set(-2.0f * DK_LOG2E)));
  }
  case DK_RELU: return v_max(v_set(0.0f), x);
  case DK_SILU: return x / (v_set(1.0f) + v_exp2(x * v_set(-DK_LOG2E)));
  default: return x;
  }
}

/* One vector of a product's row, from its sums in `tile`: row i of the block, n columns from j on. */
DK_INLINE void DK_NAME(epilogue_vector)(const dk_f32_gemm_block *g, const float *tile, ptrdiff_t i, ptrdiff_t j, ptrdiff_t n, const int32_t activation) {
  V x = v_load(tile + j);
  const int whole = n >= DK_LANES;
  if (g->bias) x += whole ? v_load(g->bias + j) : v_load_part(g->bias + j, n);
  x = v_activate(activation, x);
  if (g->scale) x *= whole ? v_load(g->scale + j) : v_load_part(g->scale + j, n);
  if (g->residual) {
    const float *r = g->residual + i * g->residual_row + j;
    x += whole ? v_load(r) : v_load_part(r, n);
  }
  float *c = g->c + i * g->c_row + j;
  if (whole) v_store(c, x); else v_store_part(c, x, n);
}
