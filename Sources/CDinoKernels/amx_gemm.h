/* The body of a matrix product on tile registers: every panel, every block of rows. The epilogue of a block is done in pieces between the products of the next one, so that the
   tile unit and the vector units work side by side; so is fetching the panel after this one.
   Included inside a function that has `g`, `words` (depth of A's rows), DK_B_OFFSET (bytes from a panel's start to its values), and
     DK_EPILOGUE_WHOLE(tile, row, rows, column), DK_EPILOGUE_REST(tile, row, rows, column)  finish rows of a whole panel, or of any. */
int32_t tile[AMX_ROWS * 32] __attribute__((aligned(64)));
const ptrdiff_t panels = (g->columns + 31) / 32, blocks = (g->rows + AMX_ROWS - 1) / AMX_ROWS, steps = (words + AMX_WORDS - 1) / AMX_WORDS;
const ptrdiff_t lines = (AMX_PANEL_WORDS(words) * 2 + steps * blocks - 1) / (steps * blocks);
/* The block whose epilogue is not done: its new rows, from `done` on, begin at `row`, and with what is skipped of overlapping tiles in `tile`. */
struct { amx_rows at; ptrdiff_t row, column, count, done; int whole; } last = {.count = 0};
#define AMX_FINISH(upto)                                                                                                                                   \
  for (; last.done < (upto); ) {                                                                                                                           \
    const ptrdiff_t left_ = last.count - last.done, rows_ = left_ < 4 ? left_ : 4;                                                                         \
    const int32_t *from_ = tile + (last.done + (last.at.tiles == 1 || last.done >= 16 ? last.at.skip : 0)) * 32;                                           \
    if (last.whole) DK_EPILOGUE_WHOLE(from_, last.row + last.done, rows_, last.column); else DK_EPILOGUE_REST(from_, last.row + last.done, rows_, last.column); \
    last.done += rows_;                                                                                                                                    \
  }
#define AMX_STEPS(two)                                                                                                        \
  for (ptrdiff_t s = 0; s < steps; s++, b += 128 * AMX_WORDS) {                                                               \
    const ptrdiff_t p = s * AMX_WORDS, n = words - p < AMX_WORDS ? words - p : AMX_WORDS;                                     \
    if (r.valid == 16 && n == AMX_WORDS) amx_whole_step(a0 + p, a1 + p, g->a_row, b, two, 2, AMX_PLAIN);                                 \
    else amx_part_step(a0 + p, a1 + p, g->a_row, r.valid, n, b, two, 2, AMX_PLAIN);                                                      \
    for (ptrdiff_t i = 0; i < lines; i++, next += 64) __builtin_prefetch(next, 0, 2);                                         \
    AMX_FINISH((s + 1) * last.count / steps)                                                                                  \
  }
amx_begin();
for (ptrdiff_t i = 0; i < panels; i++) {
  const char *panel = (const char *)g->panel + i * g->panel_bytes;
  const char *next = i + 1 < panels ? panel + g->panel_bytes : g->prefetch ? g->prefetch : panel;
  for (ptrdiff_t row = 0; row < g->rows; row += AMX_ROWS) {
    const amx_rows r = amx_rows_at(row, g->rows);
    const int32_t *a0 = g->a + r.first[0] * g->a_row, *a1 = g->a + r.first[1] * g->a_row;
    const char *b = panel + DK_B_OFFSET;
    if (r.tiles == 2) {
      amx_start((const int32_t *)panel, 1, 2);
      AMX_STEPS(1)
    } else {
      amx_start((const int32_t *)panel, 0, 2);
      AMX_STEPS(0)
    }
    AMX_FINISH(last.count)
    _tile_stored(0, tile, 128);
    _tile_stored(1, tile + 16, 128);
    if (r.tiles == 2) {
      _tile_stored(2, tile + 16 * 32, 128);
      _tile_stored(3, tile + 16 * 32 + 16, 128);
    }
    last.at = r, last.row = row, last.column = 32 * i, last.done = 0, last.whole = DK_NAME(is_whole)(g, 32 * i);
    last.count = g->rows - row < AMX_ROWS ? g->rows - row : AMX_ROWS;
  }
}
AMX_FINISH(last.count)
amx_end();
#undef AMX_STEPS
#undef AMX_FINISH
#undef DK_EPILOGUE_WHOLE
#undef DK_EPILOGUE_REST
