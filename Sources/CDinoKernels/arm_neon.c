/* NEON: 4 lanes, tiles of 6 × 16 (24 accumulators, four of B in 32 registers). */
#include "dino_kernels.h"

#if defined(__aarch64__)
#define DK_LANES 4
#define DK_LOG2_LANES 2
#define DK_VECTORS 4
#define DK_ROWS 6
#define DK_EACH_ROW(X) X(1) X(2) X(3) X(4) X(5) X(6)
#define DK_NAME(x) x##__neon
#define DK_FMA(a, b, c) __builtin_elementwise_fma(a, b, c)
#define DK_INTERLEAVE_LOW(a, b) __builtin_shufflevector(a, b, 0, 4, 1, 5)
#define DK_INTERLEAVE_HIGH(a, b) __builtin_shufflevector(a, b, 2, 6, 3, 7)
#include "f32_kernels.h"

extern const dk_i8_kernels dk_i8__neon, dk_i8__neon_dotprod;
extern const dk_bf16_kernels dk_bf16__neon, dk_bf16__neon_bf16;
const dk_table dk_table__neon = {.name = "neon", DK_F32_MEMBERS, .chain_rows = 56, .i8 = &dk_i8__neon, .bf16 = &dk_bf16__neon};
const dk_table dk_table__neon_dotprod = {.name = "neon-dotprod", DK_F32_MEMBERS, .chain_rows = 56, .i8 = &dk_i8__neon_dotprod, .bf16 = &dk_bf16__neon};
const dk_table dk_table__neon_bf16 = {.name = "neon-bf16", DK_F32_MEMBERS, .chain_rows = 56, .i8 = &dk_i8__neon_dotprod, .bf16 = &dk_bf16__neon_bf16};
#endif
