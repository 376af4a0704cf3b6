/* int8 on AMX: products in tile registers, 16 × 16 sums of 64 bytes each to an instruction; everything around them on AVX-512 vectors, as in int8_vnni512.c. */
#include "dino_kernels.h"

#if defined(__x86_64__)
#define DK_LANES 16
#define DK_VECTORS 2
#define DK_NAME(x) x##__amx
#define DK_DEPTH 4
#define DK_ZERO 128
#define DK_KEY_ZERO 0
#define DK_TILE_DOT(c, a, b) _tile_dpbusd(c, a, b)
#define DK_TILE_DOT_LEVELS(c, a, b) _tile_dpbsud(c, a, b)
#define DK_TILE_DOT_SIGNED(c, a, b) _tile_dpbssd(c, a, b)
#define DK_TILE_START(c, start) _tile_loadd(c, start, 0) /* the same line for each row */
#define DK_START(sum) (-128 * (sum))
#pragma clang attribute push(__attribute__((target("amx-tile,amx-int8,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma,f16c"))), apply_to = function)
#include "int8_kernels.h"
#pragma clang attribute pop
#endif
