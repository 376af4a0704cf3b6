/* Products on the tile registers of AMX, for words of 32 bits that hold 4 bytes or 2 bfloat16: blocks of up to 32 × 32 of the result, two tiles of A by two of B.
   The including file says which instruction multiplies, DK_TILE_DOT(c, a, b), and where a tile of the result begins, DK_TILE_START(c, start).
   Panels are those of the vector kernels, 32 columns, with depth filled up to 16 words by zeros. Tiles 0 to 3 hold the result, 4 and 5 A, 6 and 7 B.
   Nothing here asks the system for the tile registers: cpu.c does, once, before it lists the table. */
#include <immintrin.h>

enum { AMX_ROWS = 32, AMX_WORDS = 16 };
#define AMX_PANEL_WORDS(words) (((words) + AMX_WORDS - 1) / AMX_WORDS * AMX_WORDS)

DK_INLINE void amx_begin(void) {
  static const struct {
    uint8_t palette, start_row, reserved[14];
    uint16_t column_bytes[16];
    uint8_t rows[16];
  } whole __attribute__((aligned(64))) = {.palette = 1, .column_bytes = {64, 64, 64, 64, 64, 64, 64, 64}, .rows = {16, 16, 16, 16, 16, 16, 16, 16}};
  _tile_loadconfig(&whole);
}
DK_INLINE void amx_end(void) { _tile_release(); }

/* Which rows a block covers: two tiles of 16 that may overlap, so that the last ones are whole too. */
typedef struct {
  ptrdiff_t first[2]; /* where the tiles begin */
  ptrdiff_t skip; /* rows of the last tile that an earlier one has done */
  ptrdiff_t valid; /* rows of a tile, below 16 only where there are no more at all */
  int tiles;
} amx_rows;

DK_INLINE amx_rows amx_rows_at(ptrdiff_t row, ptrdiff_t rows) {
  const ptrdiff_t left = rows - row, last = rows < 16 ? 0 : rows - 16;
  amx_rows r = {.first = {row, row + 16}, .skip = 0, .valid = rows < 16 ? rows : 16, .tiles = left > 16 ? 2 : 1};
  if (r.first[r.tiles - 1] > last) {
    r.skip = r.first[r.tiles - 1] - last;
    r.first[r.tiles - 1] = last;
  }
  return r;
}

/* A copy of up to 16 × 16 words with zeros around it. */
DK_INLINE void amx_pad(int32_t *to, const int32_t *a, ptrdiff_t a_row, ptrdiff_t rows, ptrdiff_t words) {
  const __mmask16 mask = (__mmask16)((1u << words) - 1);
  for (ptrdiff_t i = 0; i < 16; i++) _mm512_store_si512(to + 16 * i, i < rows ? _mm512_maskz_loadu_epi32(mask, a + i * a_row) : _mm512_setzero_si512());
}

/* How bytes are taken: rows of A as the panels want them, or signed with levels of B, or both signed. */
enum { AMX_PLAIN, AMX_LEVELS, AMX_SIGNED };
#define AMX_DOT(c, a, b) { if (kind == AMX_PLAIN) DK_TILE_DOT(c, a, b); else if (kind == AMX_LEVELS) DK_TILE_DOT_LEVELS(c, a, b); else DK_TILE_DOT_SIGNED(c, a, b); }
#define AMX_PRODUCTS(halves)                    \
  {                                             \
    _tile_loadd(6, b, 128);                     \
    AMX_DOT(0, 4, 6)                            \
    if (two) AMX_DOT(2, 5, 6)                   \
    if (halves == 2) {                          \
      _tile_loadd(7, b + 64, 128);              \
      AMX_DOT(1, 4, 7)                          \
      if (two) AMX_DOT(3, 5, 7)                 \
    }                                           \
  }

/* The results begin; `two` tiles of rows, `halves` of columns. */
DK_INLINE void amx_start(const int32_t *start, const int two, const int halves) {
  (void)start;
  DK_TILE_START(0, start);
  if (two) DK_TILE_START(2, start);
  if (halves == 2) {
    DK_TILE_START(1, start + 16);
    if (two) DK_TILE_START(3, start + 16);
  }
}

/* Adds the products of 16 words of depth, at p of A's rows. */
DK_INLINE void amx_whole_step(const int32_t *a0, const int32_t *a1, ptrdiff_t a_row, const char *b, const int two, const int halves, const int kind) {
  _tile_loadd(4, a0, a_row * 4);
  if (two) _tile_loadd(5, a1, a_row * 4);
  AMX_PRODUCTS(halves)
}
/* Of fewer words, or where A has fewer than 16 rows: what is missing counts as zero. */
DK_INLINE void amx_part_step(const int32_t *a0, const int32_t *a1, ptrdiff_t a_row, ptrdiff_t valid, ptrdiff_t n, const char *b, const int two, const int halves, const int kind) {
  int32_t pad[2][16 * 16] __attribute__((aligned(64)));
  amx_pad(pad[0], a0, a_row, valid, n);
  _tile_loadd(4, pad[0], 64);
  if (two) {
    amx_pad(pad[1], a1, a_row, valid, n);
    _tile_loadd(5, pad[1], 64);
  }
  AMX_PRODUCTS(halves)
}

/* Leaves start + A · B in tiles 0 to 3. */
DK_INLINE void amx_block(const int32_t *a, ptrdiff_t a_row, amx_rows r, const char *b, ptrdiff_t words, const int32_t *start, const int two, const int halves, const int kind) {
  const int32_t *a0 = a + r.first[0] * a_row, *a1 = a + r.first[1] * a_row;
  amx_start(start, two, halves);
  ptrdiff_t p = 0;
  if (r.valid == 16)
    for (; p + AMX_WORDS <= words; p += AMX_WORDS, b += 128 * AMX_WORDS) amx_whole_step(a0 + p, a1 + p, a_row, b, two, halves, kind);
  for (; p < words; p += AMX_WORDS, b += 128 * AMX_WORDS)
    amx_part_step(a0 + p, a1 + p, a_row, r.valid, words - p < AMX_WORDS ? words - p : AMX_WORDS, b, two, halves, kind);
}

/* out[rows × 32] = start + A · B, for tiles that are read as they are. `whole`: depth may be read up to a whole step, because B has zeros there. */
DK_INLINE void amx_product(const int32_t *a, ptrdiff_t a_row, ptrdiff_t rows, const char *b, ptrdiff_t words, const int32_t *start, int32_t *out, const int halves, const int kind, const int whole) {
  if (whole) words = AMX_PANEL_WORDS(words);
  for (ptrdiff_t row = 0; row < rows; row += AMX_ROWS) {
    const amx_rows r = amx_rows_at(row, rows);
    int32_t few[16 * 32] __attribute__((aligned(64)));
    if (r.tiles == 2) {
      amx_block(a, a_row, r, b, words, start, 1, halves, kind);
      /* The last tile writes rows again that hold the same already. */
      _tile_stored(0, out + r.first[0] * 32, 128);
      _tile_stored(2, out + r.first[1] * 32, 128);
      if (halves == 2) {
        _tile_stored(1, out + r.first[0] * 32 + 16, 128);
        _tile_stored(3, out + r.first[1] * 32 + 16, 128);
      }
    } else {
      amx_block(a, a_row, r, b, words, start, 0, halves, kind);
      int32_t *to = r.valid == 16 ? out + r.first[0] * 32 : few;
      _tile_stored(0, to, 128);
      if (halves == 2) _tile_stored(1, to + 16, 128);
      if (to == few) memcpy(out, few, (size_t)rows * 128);
    }
  }
}

/* out[rows × 32] = A · B for one step of depth: B stays in its tiles, and a tile of A is under way while the sums of the one before are stored. At least 16 rows. */
#define AMX_ONE_STEP(c, d, a, at)                           \
  {                                                         \
    _tile_loadd(a, from + (at) * a_row, a_row * 4);         \
    _tile_zero(c);                                          \
    DK_TILE_DOT_SIGNED(c, a, 6);                            \
    if (halves == 2) {                                      \
      _tile_zero(d);                                        \
      DK_TILE_DOT_SIGNED(d, a, 7);                          \
    }                                                       \
  }
#define AMX_STORE(c, d, at)                                             \
  {                                                                     \
    _tile_stored(c, out + (at) * 32, 128);                              \
    if (halves == 2) _tile_stored(d, out + (at) * 32 + 16, 128);        \
  }
DK_INLINE void amx_one_step(const int32_t *from, ptrdiff_t a_row, ptrdiff_t rows, const char *b, int32_t *out, const int halves) {
  const ptrdiff_t last = rows - 16;
  _tile_loadd(6, b, 128);
  if (halves == 2) _tile_loadd(7, b + 64, 128);
  ptrdiff_t at = 0;
  AMX_ONE_STEP(0, 1, 4, 0)
  for (; at < last;) {
    const ptrdiff_t second = at + 16 < last ? at + 16 : last, third = second + 16 < last ? second + 16 : last;
    AMX_ONE_STEP(2, 3, 5, second)
    AMX_STORE(0, 1, at)
    at = third;
    if (third != second) AMX_ONE_STEP(0, 1, 4, third)
    AMX_STORE(2, 3, second)
    if (third == second) return;
  }
  AMX_STORE(0, 1, at)
}
