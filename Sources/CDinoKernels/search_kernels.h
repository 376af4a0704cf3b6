/* Scores of stored rows against one query, written once in clang's vector types and compiled by each instruction set's file, after
   f32_kernels.h, whose vector types it uses. Four rows share each load of the query; a row's sum has one order however rows are grouped.
   Several queries at once are a matrix product: f32_gemm. */

DK_INLINE V DK_NAME(load_f32)(const float *p) { return v_load(p); }
DK_INLINE float DK_NAME(one_f32)(const float *p) { return *p; }

/* IEEE half to float: the exponent's bias is moved by a product, which makes subnormals normal too; infinities are put back. Without the CPU's
   own conversion, which not every table may use; reading memory takes longer than this. */
typedef uint16_t DK_NAME(half_vector) __attribute__((ext_vector_type(DK_LANES), aligned(2)));
DK_INLINE V DK_NAME(load_f16)(const uint16_t *p) {
  const VI bits = __builtin_convertvector(*(const DK_NAME(half_vector) *)p, VI);
  union { V v; VI i; } magnitude, result;
  magnitude.i = (bits & 0x7FFF) << 13;
  result.v = magnitude.v * v_set(0x1p112f);
  result.i |= ((bits & 0x8000) << 16) | ((magnitude.i >= 0x0F800000) & 0x7F800000);
  return result.v;
}
DK_INLINE float DK_NAME(one_f16)(const uint16_t *p) {
  union { float f; uint32_t i; } magnitude = {.i = (uint32_t)(*p & 0x7FFF) << 13}, result;
  result.f = magnitude.f * 0x1p112f;
  result.i |= (uint32_t)(*p & 0x8000) << 16 | (magnitude.i >= 0x0F800000u ? 0x7F800000u : 0u);
  return result.f;
}

typedef int8_t DK_NAME(byte_vector) __attribute__((ext_vector_type(DK_LANES), aligned(1)));
DK_INLINE V DK_NAME(load_i8)(const int8_t *p) {
  return __builtin_convertvector(__builtin_convertvector(*(const DK_NAME(byte_vector) *)p, VI), V);
}
DK_INLINE float DK_NAME(one_i8)(const int8_t *p) { return (float)*p; }

/* What lies so many bytes ahead is asked for, into all caches: a hint that it is read once (NTA) halves the rate of some cores. */
#define DK_BYTES_AHEAD 8192

#define DK_DOTS(kind, type)                                                                                                       \
  DK_INLINE void DK_NAME(dots_##kind)(const type *r, ptrdiff_t row, const float *query, ptrdiff_t columns, float *out, const int n) { \
    V acc[4];                                                                                                                     \
    DK_UNROLL for (int j = 0; j < n; j++) acc[j] = v_set(0.0f);                                                                   \
    ptrdiff_t c = 0;                                                                                                              \
    for (; c + DK_LANES <= columns; c += DK_LANES) {                                                                              \
      const V q = v_load(query + c);                                                                                              \
      DK_UNROLL for (int j = 0; j < n; j++) {                                                                                     \
        __builtin_prefetch((const char *)(r + j * row + c) + DK_BYTES_AHEAD, 0, 3);                                               \
        acc[j] = DK_FMA(DK_NAME(load_##kind)(r + j * row + c), q, acc[j]);                                                        \
      }                                                                                                                           \
    }                                                                                                                             \
    DK_UNROLL for (int j = 0; j < n; j++) {                                                                                       \
      float sum = v_sum(acc[j]);                                                                                                  \
      for (ptrdiff_t t = c; t < columns; t++) sum += DK_NAME(one_##kind)(r + j * row + t) * query[t];                             \
      out[j] = sum;                                                                                                               \
    }                                                                                                                             \
  }                                                                                                                               \
  static void DK_NAME(dk_##kind##_dots)(const type *rows, ptrdiff_t row, ptrdiff_t count, const float *query, ptrdiff_t columns, float *out) { \
    ptrdiff_t i = 0;                                                                                                              \
    for (; i + 4 <= count; i += 4) DK_NAME(dots_##kind)(rows + i * row, row, query, columns, out + i, 4);                         \
    for (; i < count; i++) DK_NAME(dots_##kind)(rows + i * row, row, query, columns, out + i, 1);                                 \
  }

DK_DOTS(f32, float)
DK_DOTS(f16, uint16_t)
DK_DOTS(i8, int8_t)

/* Reads memory as fast as it comes: eight sums of whole vectors side by side. */
static uint64_t DK_NAME(dk_sum_bytes)(const void *bytes, ptrdiff_t count) {
  const char *p = bytes;
  VI acc[8];
  DK_UNROLL for (int j = 0; j < 8; j++) acc[j] = (VI)(0);
  ptrdiff_t i = 0;
  const ptrdiff_t step = 8 * (ptrdiff_t)sizeof(VI);
  for (; i + step <= count; i += step)
    DK_UNROLL for (int j = 0; j < 8; j++) {
      VI v;
      __builtin_prefetch(p + i + j * (ptrdiff_t)sizeof(VI) + DK_BYTES_AHEAD / 2, 0, 3);
      memcpy(&v, p + i + j * (ptrdiff_t)sizeof(VI), sizeof(VI));
      acc[j] ^= v;
    }
  VI all = acc[0];
  DK_UNROLL for (int j = 1; j < 8; j++) all ^= acc[j];
  uint64_t sum = 0;
  for (int j = 0; j < DK_LANES; j++) sum += (uint32_t)all[j];
  for (; i < count; i++) sum += (unsigned char)p[i];
  return sum;
}
