/* A whole product of rows of words with packed panels, for int8 and bf16 alike: every panel, every block of rows, its epilogue. The including file defines
     DK_SUM the type of a sum, DK_B_OFFSET bytes from a panel's start to its values
     DK_PRODUCT(rows, a, a_row, panel, words, out, ahead)  one tile of sums (not where there are tile registers: amx_gemm.h)
   and has DK_NAME(is_whole), (epilogue_whole), (epilogue_rest). What it is given by name is undefined behind it. */
DK_INLINE void DK_NAME(gemm)(const dk_words_gemm_block *g, const int32_t activation, const int residuals) {
  const ptrdiff_t words = DK_WORDS(g->k);
#ifdef DK_TILE_DOT
#define DK_EPILOGUE_WHOLE(tile, first, rows, column) DK_NAME(epilogue_whole)(g, (const DK_SUM *)(tile), first, rows, column, activation, residuals)
#define DK_EPILOGUE_REST(tile, first, rows, column) DK_NAME(epilogue_rest)(g, (const DK_SUM *)(tile), first, rows, column)
#include "amx_gemm.h"
#else
  DK_SUM tile[DK_ROWS * DK_NR] __attribute__((aligned(64)));
  const char *panel = g->panel;
  for (ptrdiff_t column = 0; column < g->columns; column += DK_NR, panel += g->panel_bytes) {
    const int more = column + DK_NR < g->columns;
    const char *prefetch = more ? panel + g->panel_bytes : g->prefetch, *end = prefetch + (more ? g->panel_bytes : g->prefetch_bytes);
    for (ptrdiff_t row = 0, rows; row < g->rows; row += rows) {
      rows = DK_NAME(next_rows)(g->rows - row);
      const char *ahead = prefetch && prefetch < end ? prefetch : panel;
      DK_PRODUCT(rows, g->a + row * g->a_row, g->a_row, panel, words, tile, ahead);
      if (ahead == prefetch) prefetch += words / 4 * 128;
      if (DK_NAME(is_whole)(g, column)) DK_NAME(epilogue_whole)(g, tile, row, rows, column, activation, residuals);
      else DK_NAME(epilogue_rest)(g, tile, row, rows, column);
    }
  }
#endif
}

/* What layers of a transformer ask for is compiled apart. */
static void DK_NAME(words_gemm)(const dk_words_gemm_block *g) {
  if (g->activation == DK_GELU && !g->residual) DK_NAME(gemm)(g, DK_GELU, 0);
  else if (g->activation == DK_NONE && !g->residual) DK_NAME(gemm)(g, DK_NONE, 0);
  else if (g->activation == DK_NONE) DK_NAME(gemm)(g, DK_NONE, 1);
  else if (!g->residual) DK_NAME(gemm)(g, g->activation, 0);
  else DK_NAME(gemm)(g, g->activation, 1);
}
#undef DK_SUM
#undef DK_B_OFFSET
#undef DK_PRODUCT
