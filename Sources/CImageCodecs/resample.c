// The two passes of separable resampling on 8-bit samples, and normalisation. Weights are 22-bit fixed point; sums are 32-bit
// integers, so the AVX2 loops and the portable ones give the same bytes. Weights are computed elsewhere. No allocation here.

#include "image_codecs.h"
#include <string.h>

enum { PRECISION_BITS = 32 - 8 - 2, LOW_BITS = 15 };

static inline uint8_t clip8(int32_t sum) {
  int32_t v = sum >> PRECISION_BITS;
  return v < 0 ? 0 : v > 255 ? 255 : (uint8_t)v;
}

static void row_portable(const uint8_t *src, int channels, uint8_t *dst, const ic_filter *f) {
  for (int32_t o = 0; o < f->count; o++) {
    const int32_t *k = f->whole + (size_t)o * f->taps;
    const uint8_t *p = src + (size_t)f->first[o] * channels;
    int32_t used = f->used[o];
    int32_t a = 1 << (PRECISION_BITS - 1), b = a, c = a, d = a;
    if (channels == 3) {
      for (int32_t t = 0; t < used; t++, p += 3) {
        a += p[0] * k[t];
        b += p[1] * k[t];
        c += p[2] * k[t];
      }
      dst[0] = clip8(a);
      dst[1] = clip8(b);
      dst[2] = clip8(c);
    } else if (channels == 1) {
      for (int32_t t = 0; t < used; t++) a += p[t] * k[t];
      dst[0] = clip8(a);
    } else {
      for (int32_t t = 0; t < used; t++, p += 4) {
        a += p[0] * k[t];
        b += p[1] * k[t];
        c += p[2] * k[t];
        d += p[3] * k[t];
      }
      dst[0] = clip8(a);
      dst[1] = clip8(b);
      dst[2] = clip8(c);
      dst[3] = clip8(d);
    }
    dst += channels;
  }
}

enum { BLOCK = 64 };

static void column_portable(const uint8_t *src, size_t stride, size_t begin, size_t end, uint8_t *dst, const int32_t *k, int32_t used) {
  for (size_t x = begin; x < end; x += BLOCK) {
    int n = end - x < BLOCK ? (int)(end - x) : BLOCK;
    int32_t sum[BLOCK];
    for (int i = 0; i < n; i++) sum[i] = 1 << (PRECISION_BITS - 1);
    const uint8_t *p = src + x;
    for (int32_t t = 0; t < used; t++, p += stride)
      for (int i = 0; i < n; i++) sum[i] += p[i] * k[t];
    for (int i = 0; i < n; i++) dst[x + (size_t)i] = clip8(sum[i]);
  }
}

#if defined(__x86_64__)
#include <immintrin.h>
#define AVX2 __attribute__((target("avx2")))

int ic_has_avx2(void) { return __builtin_cpu_supports("avx2") != 0; }

// A weight w is low + high * 2^15 with low in 0...32767, both of 16 bits: pmaddwd multiplies two taps at once for each part, and
// (high sum << 15) + low sum is the exact 32-bit sum, whatever wraps on the way.

AVX2 static inline __m256i pair(const int16_t *k) {
  // taps k0 k1 k2 k3 -> (k0,k1) in four lanes, (k2,k3) in the other four
  __m256i q = _mm256_castsi128_si256(_mm_loadl_epi64((const __m128i *)k));
  return _mm256_permutevar8x32_epi32(q, _mm256_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1));
}

AVX2 static inline uint32_t finish(__m256i low, __m256i high) {
  __m256i s = _mm256_add_epi32(low, _mm256_slli_epi32(high, LOW_BITS));
  __m128i t = _mm_add_epi32(_mm256_castsi256_si128(s), _mm256_extracti128_si256(s, 1));
  t = _mm_srai_epi32(_mm_add_epi32(t, _mm_set1_epi32(1 << (PRECISION_BITS - 1))), PRECISION_BITS);
  t = _mm_packs_epi32(t, t);
  return (uint32_t)_mm_cvtsi128_si32(_mm_packus_epi16(t, t));
}

// Four RGB pixels (12 bytes, 16 are loaded) a step: two in each half, as (r0 r1)(g0 g1)(b0 b1)(0 0) of 16 bits.
AVX2 static void row_rgb_avx2(const uint8_t *src, uint8_t *dst, const ic_filter *f) {
  const __m256i spread = _mm256_setr_epi8(0, -1, 3, -1, 1, -1, 4, -1, 2, -1, 5, -1, -1, -1, -1, -1,
                                          6, -1, 9, -1, 7, -1, 10, -1, 8, -1, 11, -1, -1, -1, -1, -1);
  int32_t taps = f->taps;
  for (int32_t o = 0; o < f->count; o++, dst += 3) {
    const int16_t *kl = f->low + (size_t)o * taps, *kh = f->high + (size_t)o * taps;
    const uint8_t *p = src + (size_t)f->first[o] * 3;
    __m256i low = _mm256_setzero_si256(), high = low;
    for (int32_t t = 0; t < taps; t += 4, p += 12) {
      __m256i v = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)p)), spread);
      low = _mm256_add_epi32(low, _mm256_madd_epi16(v, pair(kl + t)));
      high = _mm256_add_epi32(high, _mm256_madd_epi16(v, pair(kh + t)));
    }
    uint32_t rgb = finish(low, high);
    memcpy(dst, &rgb, 3);
  }
}

// Thirty-two bytes of a row from two source rows a step.
AVX2 static size_t column_avx2(const uint8_t *src, size_t stride, size_t row_bytes, uint8_t *dst, const int16_t *kl, const int16_t *kh,
                               int32_t used) {
  if (row_bytes < 32) return 0;
  const __m256i zero = _mm256_setzero_si256();
  const __m256i half = _mm256_set1_epi32(1 << (PRECISION_BITS - 1));
  for (size_t x = 0;;) {
    __m256i l0 = half, l1 = half, l2 = half, l3 = half, h0 = zero, h1 = zero, h2 = zero, h3 = zero;
    const uint8_t *p = src + x;
    for (int32_t t = 0; t < used; t += 2, p += 2 * stride) {
      __m256i a = _mm256_loadu_si256((const __m256i *)p);
      // An odd last tap has no second row; its weight is zero, so any row will do.
      __m256i b = t + 1 < used ? _mm256_loadu_si256((const __m256i *)(p + stride)) : a;
      int32_t wl, wh;
      memcpy(&wl, kl + t, 4);
      memcpy(&wh, kh + t, 4);
      __m256i low = _mm256_set1_epi32(wl), high = _mm256_set1_epi32(wh);
      __m256i ab0 = _mm256_unpacklo_epi8(a, b), ab1 = _mm256_unpackhi_epi8(a, b);
      __m256i v0 = _mm256_unpacklo_epi8(ab0, zero), v1 = _mm256_unpackhi_epi8(ab0, zero);
      __m256i v2 = _mm256_unpacklo_epi8(ab1, zero), v3 = _mm256_unpackhi_epi8(ab1, zero);
      l0 = _mm256_add_epi32(l0, _mm256_madd_epi16(v0, low));
      l1 = _mm256_add_epi32(l1, _mm256_madd_epi16(v1, low));
      l2 = _mm256_add_epi32(l2, _mm256_madd_epi16(v2, low));
      l3 = _mm256_add_epi32(l3, _mm256_madd_epi16(v3, low));
      h0 = _mm256_add_epi32(h0, _mm256_madd_epi16(v0, high));
      h1 = _mm256_add_epi32(h1, _mm256_madd_epi16(v1, high));
      h2 = _mm256_add_epi32(h2, _mm256_madd_epi16(v2, high));
      h3 = _mm256_add_epi32(h3, _mm256_madd_epi16(v3, high));
    }
#define SUM(l, h) _mm256_srai_epi32(_mm256_add_epi32(l, _mm256_slli_epi32(h, LOW_BITS)), PRECISION_BITS)
    __m256i lower = _mm256_packs_epi32(SUM(l0, h0), SUM(l1, h1)), upper = _mm256_packs_epi32(SUM(l2, h2), SUM(l3, h3));
#undef SUM
    _mm256_storeu_si256((__m256i *)(dst + x), _mm256_packus_epi16(lower, upper));
    if (x + 32 == row_bytes) return row_bytes;
    x = x + 64 <= row_bytes ? x + 32 : row_bytes - 32;  // the last block overlaps the one before
  }
}
#else
int ic_has_avx2(void) { return 0; }
#endif

void ic_resample_rows(const uint8_t *src, size_t src_size, size_t src_stride, int rows, int channels, uint8_t *dst, size_t dst_stride,
                      const ic_filter *f, uint8_t *scratch, int use_avx2) {
#if defined(__x86_64__)
  if (use_avx2 && channels == 3 && f->count > 0) {
    // How far past a row's start the loop reads: padded taps and the four bytes that a load has too many.
    size_t reach = 0;
    for (int32_t o = 0; o < f->count; o++) {
      size_t end = (size_t)(f->first[o] + f->taps) * 3 + 4;
      if (end > reach) reach = end;
    }
    for (int y = 0; y < rows; y++) {
      const uint8_t *row = src + (size_t)y * src_stride;
      size_t left = src_size - (size_t)y * src_stride;
      if (reach <= left) {
        row_rgb_avx2(row, dst + (size_t)y * dst_stride, f);
      } else {
        // Too near the end of the memory: padded weights are zero, but loads must stay inside.
        memcpy(scratch, row, left < src_stride ? left : src_stride);
        row_rgb_avx2(scratch, dst + (size_t)y * dst_stride, f);
      }
    }
    return;
  }
#endif
  (void)src_size, (void)scratch, (void)use_avx2;
  for (int y = 0; y < rows; y++) row_portable(src + (size_t)y * src_stride, channels, dst + (size_t)y * dst_stride, f);
}

void ic_resample_columns(const uint8_t *src, size_t src_stride, size_t row_bytes, uint8_t *dst, size_t dst_stride,
                         const ic_filter *f, int use_avx2) {
  (void)use_avx2;
  for (int32_t o = 0; o < f->count; o++) {
    const uint8_t *first = src + (size_t)f->first[o] * src_stride;
    uint8_t *out = dst + (size_t)o * dst_stride;
    size_t done = 0;
#if defined(__x86_64__)
    if (use_avx2)
      done = column_avx2(first, src_stride, row_bytes, out, f->low + (size_t)o * f->taps, f->high + (size_t)o * f->taps, f->used[o]);
#endif
    column_portable(first, src_stride, done, row_bytes, out, f->whole + (size_t)o * f->taps, f->used[o]);
  }
}

void ic_normalize_rgb(const uint8_t *src, size_t src_stride, int width, int height, const float *table, float *planes,
                      size_t plane_stride, size_t row_stride) {
  const float *red = table, *green = table + 256, *blue = table + 512;
  for (int y = 0; y < height; y++) {
    const uint8_t *p = src + (size_t)y * src_stride;
    float *r = planes + (size_t)y * row_stride, *g = r + plane_stride, *b = g + plane_stride;
    for (int x = 0; x < width; x++, p += 3) {
      r[x] = red[p[0]];
      g[x] = green[p[1]];
      b[x] = blue[p[2]];
    }
  }
}
