/* bf16 on NEON with bfloat16 (Armv8.6): tiles of 5 × 16, two products of bfloat16 in each lane to an instruction, which keeps rounding of its own (to odd, without denormals). */
#include "dino_kernels.h"

#if defined(__aarch64__)
#include <arm_neon.h>
#define DK_LANES 4
#define DK_VECTORS 4
#define DK_ROWS 5
#define DK_EACH_ROW(X) X(1) X(2) X(3) X(4) X(5)
#define DK_NAME(x) x##__neon_bf16
#define DK_DEPTH 2
#define DK_DOT(acc, a, b) ((V)vbfdotq_f32((float32x4_t)(acc), (bfloat16x8_t)(a), (bfloat16x8_t)(b)))
#pragma clang attribute push(__attribute__((target("bf16"))), apply_to = function)
#include "bf16_kernels.h"
#pragma clang attribute pop
#endif
