/* int8 on any 64-bit Arm: tiles of 5 × 16, bytes widened to 16 bits, products of pairs. */
#include "dino_kernels.h"

#if defined(__aarch64__)
#include <arm_neon.h>
#define DK_LANES 4
#define DK_VECTORS 4
#define DK_ROWS 5
#define DK_EACH_ROW(X) X(1) X(2) X(3) X(4) X(5)
#define DK_NAME(x) x##__neon
#define DK_DEPTH 2
#define DK_ZERO 0
#define DK_KEY_ZERO DK_ZERO
#define DK_DOT(acc, a, b) ((acc) + (W)vpaddq_s32(vmull_s16(vget_low_s16((int16x8_t)(a)), vget_low_s16((int16x8_t)(b))), vmull_high_s16((int16x8_t)(a), (int16x8_t)(b))))
#define DK_DOT_LEVELS DK_DOT
#define DK_START(sum) (0 * (sum))
#define DK_WIDEN(p) ((W)vmovl_s8(vld1_s8((const int8_t *)(p))))
#define DK_ASM_REGISTER(x) "+w"(x)
#include "int8_kernels.h"
#endif
