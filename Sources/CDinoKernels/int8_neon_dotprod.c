/* int8 on NEON with the dot product of bytes (Armv8.2 and later): tiles of 5 × 16, four products of signed bytes in each lane to an instruction. */
#include "dino_kernels.h"

#if defined(__aarch64__)
#include <arm_neon.h>
#define DK_LANES 4
#define DK_VECTORS 4
#define DK_ROWS 5
#define DK_EACH_ROW(X) X(1) X(2) X(3) X(4) X(5)
#define DK_NAME(x) x##__neon_dotprod
#define DK_DEPTH 4
#define DK_ZERO 0
#define DK_KEY_ZERO DK_ZERO
#define DK_DOT(acc, a, b) ((W)vdotq_s32((int32x4_t)(acc), (int8x16_t)(a), (int8x16_t)(b)))
#define DK_DOT_LEVELS DK_DOT
#define DK_START(sum) (0 * (sum))
#define DK_WIDEN(p) (*(const W_any *)(p))
#define DK_ASM_REGISTER(x) "+w"(x)
#pragma clang attribute push(__attribute__((target("dotprod"))), apply_to = function)
#include "int8_kernels.h"
#pragma clang attribute pop
#endif
