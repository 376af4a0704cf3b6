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

#if DK_LANES == 16
/* table[index mod 16], by the permutation of AVX-512 */
#define DK_LOOK_UP(table, index) ((V)__builtin_ia32_permvarsf512(*(const V *)(table), index))
/* GELU where a vector is a table of 16: max(x, 0) - h(|x|), h(u) = u · (1 - Φ(u)), which is a polynomial on each piece of 3/8; no division. Coefficients of f = u / (3/8) - piece, the highest first
   (Tests/Reference/fit_functions.py). Absolute error below 3e-7, a tenth of that below 2 apart from x's own last bit. */
static const float DK_NAME(gelu_pieces)[6][16] __attribute__((aligned(64))) = {
  {-3.432853191e-05f, -1.404600625e-04f, -1.678450499e-04f, -8.347610128e-05f, 1.948651152e-05f, 6.551184924e-05f, 5.300914563e-05f, 2.144741666e-05f, 1.891512369e-07f, -6.192233741e-06f, -4.979635833e-06f, -2.484528068e-06f, -9.236866845e-07f, -2.718688563e-07f, -6.519923090e-08f, -1.295049490e-08f},
  {1.329813269e-03f, 9.240694344e-04f, 9.651934670e-05f, -5.617061397e-04f, -7.086070837e-04f, -4.668762849e-04f, -1.537400094e-04f, 3.221477527e-05f, 7.952750457e-05f, 5.961519855e-05f, 3.017655581e-05f, 1.170850010e-05f, 3.650416602e-06f, 9.362904621e-07f, 2.002944655e-07f, 3.605465437e-08f},
  {-2.658583526e-06f, 4.729815759e-03f, 6.823350675e-03f, 5.728410091e-03f, 2.988252323e-03f, 5.491786287e-04f, -6.668620044e-04f, -8.486040751e-04f, -5.843049148e-04f, -2.940246777e-04f, -1.169398020e-04f, -3.800343984e-05f, -1.027110829e-05f, -2.333236125e-06f, -4.486172998e-07f, -7.336383590e-08f},
  {-5.610109121e-02f, -4.861477390e-02f, -3.043746389e-02f, -1.094106305e-02f, 2.276201034e-03f, 7.330307737e-03f, 6.834734697e-03f, 4.375661258e-03f, 2.181376331e-03f, 8.855183260e-04f, 2.990371431e-04f, 8.502099809e-05f, 2.050438161e-05f, 4.215577519e-06f, 7.414591323e-07f, 1.118559254e-07f},
  {1.875000000e-01f, 8.039422333e-02f, 2.903627174e-04f, -4.052501544e-02f, -4.780095071e-02f, -3.696671873e-02f, -2.219615504e-02f, -1.090069767e-02f, -4.479616415e-03f, -1.558948657e-03f, -4.626811424e-04f, -1.176348087e-04f, -2.569850039e-05f, -4.834221272e-06f, -7.842837704e-07f, -1.098658018e-07f},
  {0.000000000e+00f, 1.326863319e-01f, 1.699705124e-01f, 1.465813369e-01f, 1.002108082e-01f, 5.699317902e-02f, 2.750506066e-02f, 1.137267426e-02f, 4.049693234e-03f, 1.245639636e-03f, 3.315650392e-04f, 7.646421727e-05f, 1.528961184e-05f, 2.652235253e-06f, 3.992684583e-07f, 5.217589916e-08f},
};
/* The same for its slope: p for x below 0, 1 - p above, p(u) = h'(u). Absolute error below 2e-7. */
static const float DK_NAME(gelu_slope_pieces)[6][16] __attribute__((aligned(64))) = {
  {-4.296634288e-04f, -2.537790569e-04f, 1.056616311e-04f, 2.968757180e-04f, 2.160003933e-04f, 3.085189746e-05f, -7.731639198e-05f, -7.744115283e-05f, -3.469822695e-05f, -3.188859409e-06f, 6.759958069e-06f, 5.678742127e-06f, 2.740662239e-06f, 9.634355820e-07f, 2.650045019e-07f, 5.894139932e-08f},
  {-1.063607851e-05f, -1.871806802e-03f, -2.236943459e-03f, -1.112908823e-03f, 2.593100362e-04f, 8.729646797e-04f, 7.066501421e-04f, 2.860653331e-04f, 2.647572728e-06f, -8.250027167e-05f, -6.638848572e-05f, -3.313582783e-05f, -1.232319391e-05f, -3.628280183e-06f, -8.704232073e-07f, -1.729526673e-07f},
  {1.402844116e-02f, 9.920136072e-03f, 1.003201935e-03f, -6.065711845e-03f, -7.612454239e-03f, -4.987694323e-03f, -1.620582072e-03f, 3.629781422e-04f, 8.569674101e-04f, 6.366897142e-04f, 3.201947839e-04f, 1.234712254e-04f, 3.825253225e-05f, 9.746157048e-06f, 2.070186156e-06f, 3.698362150e-07f},
  {-3.950657117e-07f, 3.783833981e-02f, 5.458661914e-02f, 4.582726210e-02f, 2.390611544e-02f, 4.393529147e-03f, -5.334870424e-03f, -6.788851228e-03f, -4.674463067e-03f, -2.352209529e-03f, -9.355196962e-04f, -3.040258598e-04f, -8.216749120e-05f, -1.866525963e-05f, -3.588732397e-06f, -5.868583344e-07f},
  {-2.992067039e-01f, -2.592817545e-01f, -1.623319089e-01f, -5.834886059e-02f, 1.214226708e-02f, 3.909533098e-02f, 3.645101562e-02f, 2.333595231e-02f, 1.163360104e-02f, 4.722727463e-03f, 1.594943809e-03f, 4.535118642e-04f, 1.093888277e-04f, 2.249438148e-05f, 3.957558874e-06f, 5.972570989e-07f},
  {5.000000000e-01f, 2.143846005e-01f, 7.743044989e-04f, -1.080667078e-01f, -1.274692118e-01f, -9.857791662e-02f, -5.918974802e-02f, -2.906852588e-02f, -1.194564346e-02f, -4.157196265e-03f, -1.233816380e-03f, -3.136928426e-04f, -6.852936349e-05f, -1.289126976e-05f, -2.091427632e-06f, -2.929765515e-07f},
};
DK_INLINE V v_pieces(const float table[6][16], V u) {
  union { V v; VI i; } shifted;
  u = v_min(v_set(15.49f * 0.375f), u);
  shifted.v = DK_FMA(u, v_set(8.0f / 3.0f), v_set(12582912.0f)); /* 1.5 · 2^23: rounds to the piece, which sits in the low bits */
  V f = DK_FMA(u, v_set(8.0f / 3.0f), v_set(12582912.0f) - shifted.v);
  V p = DK_LOOK_UP(table[0], shifted.i);
  DK_UNROLL for (int i = 1; i < 6; i++) p = DK_FMA(p, f, DK_LOOK_UP(table[i], shifted.i));
  return p;
}
DK_INLINE V v_size(V x) {
  union { V v; VI i; } bits = {x};
  bits.i &= 0x7fffffff;
  return bits.v;
}
DK_INLINE V v_gelu(V x) { return v_max(v_set(0.0f), x) - v_pieces(DK_NAME(gelu_pieces), v_size(x)); }
DK_INLINE V v_gelu_slope(V x) {
  V p = v_pieces(DK_NAME(gelu_slope_pieces), v_size(x));
  return x > v_set(0.0f) ? v_set(1.0f) - p : p;
}
#else
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
DK_INLINE V v_gelu(V x) { return x * v_set(0.5f) * (v_set(1.0f) + v_erf(x * v_set(0.70710678118654752f))); }
DK_INLINE V v_gelu_slope(V x) { /* Φ(x) + x φ(x) */
  V density = v_exp2_of_at_most_0(x * x * v_set(-0.5f * DK_LOG2E)) * v_set(0.39894228040143268f);
  return DK_FMA(x, density, v_set(0.5f) * (v_set(1.0f) + v_erf(x * v_set(0.70710678118654752f))));
}
#endif

DK_INLINE V v_activate(int32_t activation, V x) {
  switch (activation) {
  case DK_GELU: return v_gelu(x);
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
