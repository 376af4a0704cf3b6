/* AVX-512: 16 lanes, tiles of 14 × 32 (28 accumulators, two of B, one of A in 32 registers). */
#include "dino_kernels.h"

#if defined(__x86_64__)
#define DK_LANES 16
#define DK_LOG2_LANES 4
#define DK_VECTORS 2
#define DK_ROWS 14
#define DK_EACH_ROW(X) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14)
#define DK_NAME(x) x##__avx512
#define DK_FMA(a, b, c) __builtin_elementwise_fma(a, b, c)
#define DK_INTERLEAVE_LOW(a, b) __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23)
#define DK_INTERLEAVE_HIGH(a, b) __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31)
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma,f16c"))), apply_to = function)
#include "f32_kernels.h"
#pragma clang attribute pop

/* Without VNNI the 256-bit int8 kernels are as good. */
extern const dk_i8_kernels dk_i8__avx2, dk_i8__vnni512, dk_i8__amx;
extern const dk_bf16_kernels dk_bf16__avx512, dk_bf16__avx512bf16, dk_bf16__amx;
extern const dk_f32_split_kernels dk_f32_split__amx;
const dk_table dk_table__avx512 = {.name = "avx512", DK_F32_MEMBERS, .chain_rows = 56, .i8 = &dk_i8__avx2, .bf16 = &dk_bf16__avx512};
const dk_table dk_table__avx512_vnni = {.name = "avx512-vnni", DK_F32_MEMBERS, .chain_rows = 56, .i8 = &dk_i8__vnni512, .bf16 = &dk_bf16__avx512};
const dk_table dk_table__avx512_bf16 = {.name = "avx512-bf16", DK_F32_MEMBERS, .chain_rows = 56, .i8 = &dk_i8__vnni512, .bf16 = &dk_bf16__avx512bf16};
const dk_table dk_table__amx = {.name = "amx", DK_F32_MEMBERS, .chain_rows = 256, .i8 = &dk_i8__amx, .bf16 = &dk_bf16__amx, .split = &dk_f32_split__amx};
#endif
