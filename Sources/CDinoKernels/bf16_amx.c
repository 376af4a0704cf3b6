/* bf16 on AMX: products in tile registers, 16 × 16 sums of 32 pairs each to an instruction; everything around them on AVX-512 vectors. */
#include "dino_kernels.h"

#if defined(__x86_64__)
#define DK_LANES 16
#define DK_VECTORS 2
#define DK_NAME(x) x##__amx
#define DK_DEPTH 2
#define DK_TILE_DOT_LEVELS DK_TILE_DOT
#define DK_TILE_DOT_SIGNED DK_TILE_DOT
#define DK_TILE_DOT(c, a, b) _tile_dpbf16ps(c, a, b)
#define DK_TILE_START(c, start) _tile_zero(c)
#include "bf16_rounding.h"
#pragma clang attribute push(__attribute__((target("amx-tile,amx-bf16,avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,avx2,fma,f16c"))), apply_to = function)
#include "bf16_kernels.h"
#pragma clang attribute pop
#endif
