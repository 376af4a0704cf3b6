/* Any CPU: 4 lanes as the compiler maps them, multiply then add (a fused one would be a library call), tiles of 4 × 8. */
#include "dino_kernels.h"

#if 1
#define DK_LANES 4
#define DK_LOG2_LANES 2
#define DK_VECTORS 2
#define DK_ROWS 4
#define DK_EACH_ROW(X) X(1) X(2) X(3) X(4)
#define DK_NAME(x) x##__portable
#define DK_FMA(a, b, c) ((a) * (b) + (c))
#define DK_INTERLEAVE_LOW(a, b) __builtin_shufflevector(a, b, 0, 4, 1, 5)
#define DK_INTERLEAVE_HIGH(a, b) __builtin_shufflevector(a, b, 2, 6, 3, 7)
#include "f32_kernels.h"

extern const dk_i8_kernels dk_i8__portable;
extern const dk_bf16_kernels dk_bf16__portable;
const dk_table dk_table__portable = {.name = "portable", DK_F32_MEMBERS, .chain_rows = 56, .i8 = &dk_i8__portable, .bf16 = &dk_bf16__portable};
#endif
