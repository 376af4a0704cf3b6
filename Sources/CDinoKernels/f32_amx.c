/* f32 products on AMX. A value is the sum of three bfloat16, 24 bits of fraction as f32 has, and of the nine products of two values those six are taken without which less than 2^-24 of
   the whole is missing; sums are f32. Six tile products take less time than f32's own multiply-adds, and their error is no larger (tests measure both).
   After Henry, Tang, Heinecke, "Leveraging the bfloat16 artificial intelligence datatype for higher-precision computations", 2019.
   A number times an infinity gives NaN here, not an infinity; numbers below 2^-110 lose bits.

   Rows of A are cut off after each 8 bits of fraction, which is exact and two instructions a part; weights are rounded, so that what is left out has either sign and does not add up.
   A word holds the values at depths p and p + 16 of a step of 32: halves of two registers, no shuffles. A split: for each 16 rows and step three tiles of 16 rows x 16 words, depth first.
   A panel: for each step three times two tiles of 16 words x 16 columns. */
#include "dino_kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>
#define DK_LANES 16
#define DK_VECTORS 2
#define DK_NAME(x) x##__amx_f32
#define DK_FMA(a, b, c) __builtin_elementwise_fma(a, b, c)
#pragma clang attribute push(__attribute__((target("amx-tile,amx-bf16,avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,avx2,fma,f16c"))), apply_to = function)
#include "f32_functions.h"

enum { DEPTH = 32, TILE = 16, PLANES = 3, TILE_BYTES = 1024 };
#define WHOLE(n, unit) (((n) + (unit) - 1) / (unit) * (unit))

static ptrdiff_t split_bytes(ptrdiff_t rows, ptrdiff_t k) { return WHOLE(rows, TILE) * WHOLE(k, DEPTH) * 2 * PLANES; }
static ptrdiff_t panel_bytes(ptrdiff_t k) { return DK_NR * WHOLE(k, DEPTH) * 2 * PLANES; }

DK_INLINE __m512 some(const float *x, ptrdiff_t n) { return n >= 16 ? _mm512_loadu_ps(x) : n <= 0 ? _mm512_setzero_ps() : _mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), x); }
DK_INLINE __m512 without_upper_half(__m512 x) { return _mm512_sub_ps(x, _mm512_castsi512_ps(_mm512_and_si512(_mm512_castps_si512(x), _mm512_set1_epi32((int)0xFFFF0000)))); }
/* Words of a's upper halves, shifted down, and b's. */
DK_INLINE __m512i pairs(__m512 a, __m512 b) { return _mm512_mask_blend_epi16(0xAAAAAAAA, _mm512_srli_epi32(_mm512_castps_si512(a), 16), _mm512_castps_si512(b)); }
/* x rounded to bfloat16, to even. */
DK_INLINE __m512 nearest(__m512 x) {
  const __m512i u = _mm512_castps_si512(x), even = _mm512_and_si512(_mm512_srli_epi32(u, 16), _mm512_set1_epi32(1));
  const __m512i r = _mm512_and_si512(_mm512_add_epi32(u, _mm512_add_epi32(even, _mm512_set1_epi32(0x7FFF))), _mm512_set1_epi32((int)0xFFFF0000));
  return _mm512_castsi512_ps(_mm512_mask_mov_epi32(r, _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q), _mm512_set1_epi32(0x7FC00000)));
}

static void split_rows(const float *x, ptrdiff_t x_row, ptrdiff_t rows, ptrdiff_t k, void *split) {
  const ptrdiff_t steps = (k + DEPTH - 1) / DEPTH;
  for (ptrdiff_t r = 0; r < WHOLE(rows, TILE); r++) {
    char *to = (char *)split + r / TILE * steps * PLANES * TILE_BYTES + r % TILE * 64;
    for (ptrdiff_t p = 0; p < steps; p++, to += PLANES * TILE_BYTES) {
      const ptrdiff_t n = r < rows ? k - p * DEPTH : 0;
      __m512 a = some(x + r * x_row + p * DEPTH, n), b = some(x + r * x_row + p * DEPTH + 16, n - 16);
      DK_UNROLL for (int plane = 0; plane < PLANES; plane++) {
        _mm512_store_si512(to + plane * TILE_BYTES, pairs(a, b));
        a = without_upper_half(a), b = without_upper_half(b);
      }
    }
  }
}

static void pack(const float *x, ptrdiff_t x_row, ptrdiff_t columns, ptrdiff_t k, void *panel) {
  for (ptrdiff_t w = 0; w < (k + DEPTH - 1) / DEPTH * TILE; w++) {
    char *to = (char *)panel + w / TILE * 2 * PLANES * TILE_BYTES + w % TILE * 64;
    const ptrdiff_t at = w / TILE * DEPTH + w % TILE;
    const float *from = x + at * x_row;
    for (int half = 0; half < 2; half++, to += TILE_BYTES) {
      const ptrdiff_t n = columns - half * 16;
      __m512 a = some(from + half * 16, at < k ? n : 0), b = some(from + 16 * x_row + half * 16, at + 16 < k ? n : 0);
      DK_UNROLL for (int plane = 0; plane < PLANES; plane++) {
        const __m512 a1 = nearest(a), b1 = nearest(b);
        _mm512_store_si512(to + plane * 2 * TILE_BYTES, pairs(a1, b1));
        a = _mm512_sub_ps(a, a1), b = _mm512_sub_ps(b, b1);
      }
    }
  }
}

/* ---- The product ---- */

/* Ends rows `from` to `to` of a block, whose first is row `row` of the result. */
DK_INLINE void finish_rows(const dk_f32_gemm_block *g, const float *sums, ptrdiff_t row, ptrdiff_t from, ptrdiff_t to, const int32_t activation) {
  for (ptrdiff_t i = from; i < to; i++)
    for (ptrdiff_t j = 0; j < g->columns; j += DK_LANES) DK_NAME(epilogue_vector)(g, sums + i * DK_NR, row + i, j, g->columns - j, activation);
}

/* A block whose products are made and whose epilogue is not: its columns, its first row, its rows, and how many are done. */
typedef struct {
  dk_f32_gemm_block g;
  const float *sums;
  ptrdiff_t row, rows, done;
} unfinished;

static void finish(unfinished *u, ptrdiff_t upto) {
  if (u->done >= upto) return;
  switch (u->g.activation) {
  case DK_NONE: finish_rows(&u->g, u->sums, u->row, u->done, upto, DK_NONE); break;
  case DK_GELU: finish_rows(&u->g, u->sums, u->row, u->done, upto, DK_GELU); break;
  default: finish_rows(&u->g, u->sums, u->row, u->done, upto, u->g.activation);
  }
  u->done = upto;
}

/* The six products of one step of depth, the small ones first: tiles 0 to 3 hold sums, 4 and 5 a part of A, 6 and 7 one of B. */
#define PART_OF_A(i) { _tile_loadd(4, a0 + (i) * TILE_BYTES, 64); if (two) _tile_loadd(5, a1 + (i) * TILE_BYTES, 64); }
#define PART_OF_B(i) { _tile_loadd(6, b + 2 * (i) * TILE_BYTES, 64); _tile_loadd(7, b + (2 * (i) + 1) * TILE_BYTES, 64); }
#define FOUR { _tile_dpbf16ps(0, 4, 6); if (two) _tile_dpbf16ps(2, 5, 6); _tile_dpbf16ps(1, 4, 7); if (two) _tile_dpbf16ps(3, 5, 7); }

/* 32 rows, or 16, x 32 columns into `sums`. Meanwhile the epilogue of the block before is done, and `lines` cache lines from `next` on are fetched a step. */
DK_INLINE void products(const char *a0, const char *a1, const char *b, ptrdiff_t steps, float *sums, unfinished *before, const char *next, ptrdiff_t lines, const int two) {
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  for (ptrdiff_t p = 0; p < steps; p++, a0 += PLANES * TILE_BYTES, a1 += PLANES * TILE_BYTES, b += 2 * PLANES * TILE_BYTES) {
    PART_OF_A(2) PART_OF_B(0) FOUR
    PART_OF_A(1) FOUR
    PART_OF_B(1) FOUR
    PART_OF_A(0) FOUR
    PART_OF_B(2) FOUR
    PART_OF_B(0) FOUR
    for (ptrdiff_t i = 0; i < lines; i++, next += 64) __builtin_prefetch(next, 0, 2);
    finish(before, (p + 1) * before->rows / steps);
  }
  _tile_stored(0, sums, 128);
  _tile_stored(1, sums + 16, 128);
  if (two) {
    _tile_stored(2, sums + 16 * DK_NR, 128);
    _tile_stored(3, sums + 16 * DK_NR + 16, 128);
  }
}

static void gemm(const dk_f32_split_block *s) {
  static const struct {
    uint8_t palette, start_row, reserved[14];
    uint16_t column_bytes[16];
    uint8_t rows[16];
  } whole __attribute__((aligned(64))) = {.palette = 1, .column_bytes = {64, 64, 64, 64, 64, 64, 64, 64}, .rows = {16, 16, 16, 16, 16, 16, 16, 16}};
  float sums[2][2 * TILE * DK_NR] __attribute__((aligned(64)));
  const dk_f32_gemm_block *g = &s->block;
  const ptrdiff_t tiles = (g->rows + TILE - 1) / TILE, panels = (g->columns + DK_NR - 1) / DK_NR, steps = (g->k + DEPTH - 1) / DEPTH, plane_row = steps * PLANES * TILE_BYTES;
  const ptrdiff_t lines = g->prefetch_bytes ? (s->panel_bytes / 64 + steps * ((tiles + 1) / 2) - 1) / (steps * ((tiles + 1) / 2)) : 0;
  unfinished last = {.rows = 0};
  int turn = 0;
  _tile_loadconfig(&whole);
  for (ptrdiff_t i = 0; i < panels; i++) {
    const char *panel = (const char *)g->b + i * s->panel_bytes;
    const char *next = (const char *)g->b + (i + 1) * s->panel_bytes;
    for (ptrdiff_t t = 0; t < tiles; t += 2, turn ^= 1) {
      const char *a0 = (const char *)s->split + t * plane_row;
      const int two = t + 1 < tiles;
      if (two) products(a0, a0 + plane_row, panel, steps, sums[turn], &last, next, lines, 1);
      else products(a0, a0, panel, steps, sums[turn], &last, next, lines, 0);
      next += lines * 64 * steps;
      const ptrdiff_t column = i * DK_NR, row = t * TILE;
      last = (unfinished){.g = *g, .sums = sums[turn], .row = row, .rows = g->rows - row < (two ? 2 : 1) * TILE ? g->rows - row : (two ? 2 : 1) * TILE};
      last.g.c += column;
      if (g->bias) last.g.bias += column;
      if (g->scale) last.g.scale += column;
      if (g->residual) last.g.residual += column;
      last.g.columns = g->columns - column < DK_NR ? g->columns - column : DK_NR;
    }
  }
  finish(&last, last.rows);
  _tile_release();
}
#pragma clang attribute pop

const dk_f32_split_kernels dk_f32_split__amx = {
  .split_bytes = split_bytes, .split_rows = split_rows, .panel_bytes = panel_bytes, .pack = pack, .gemm = gemm,
};
#endif
