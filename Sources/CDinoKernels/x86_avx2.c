/* AVX2 with FMA: 8 lanes, tiles of 6 × 16 (12 accumulators, two of B, one of A in 16 registers). */
#include "dino_kernels.h"

#if defined(__x86_64__)
#define DK_LANES 8
#define DK_LOG2_LANES 3
#define DK_VECTORS 2
#define DK_ROWS 6
#define DK_EACH_ROW(X) X(1) X(2) X(3) X(4) X(5) X(6)
#define DK_NAME(x) x##__avx2
#define DK_FMA(a, b, c) __builtin_elementwise_fma(a, b, c)
#define DK_INTERLEAVE_LOW(a, b) __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11)
#define DK_INTERLEAVE_HIGH(a, b) __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15)
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)
#include "f32_kernels.h"
#pragma clang attribute pop

extern const dk_i8_kernels dk_i8__avx2, dk_i8__avxvnni;
extern const dk_bf16_kernels dk_bf16__avx2;
const dk_table dk_table__avx2 = {.name = "avx2", DK_F32_MEMBERS, .chain_rows = 56, .i8 = &dk_i8__avx2, .bf16 = &dk_bf16__avx2};
const dk_table dk_table__avx_vnni = {.name = "avx-vnni", DK_F32_MEMBERS, .chain_rows = 56, .i8 = &dk_i8__avxvnni, .bf16 = &dk_bf16__avx2};
#endif
