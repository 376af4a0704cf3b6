/* int8 on AVX-VNNI (256 bits, no AVX-512: small and recent Intel and AMD cores): tiles of 6 × 16 (12 accumulators, two of B, one of A in 16 registers), four products of
   bytes in each lane to an instruction. Zero point as in int8_vnni512.c. */
#include "dino_kernels.h"
#if defined(__x86_64__)
#define DK_LANES 8
#define DK_VECTORS 2
#define DK_ROWS 6
#define DK_EACH_ROW(X) X(1) X(2) X(3) X(4) X(5) X(6)
#define DK_NAME(x) x##__avxvnni
#define DK_DEPTH 4
#define DK_ZERO 128
#define DK_KEY_ZERO DK_ZERO
/* In assembly to keep the order of the source, as in int8_vnni512.c. */
#define DK_DOT(acc, a, b) ({                                                             \
    W sum_ = (acc);                                                                      \
    __asm__ volatile("%{vex%} vpdpbusd %2, %1, %0" : "+x"(sum_) : "x"(a), "x"(b));          \
    sum_;                                                                                \
  })
#define DK_DOT_LEVELS(acc, a, b) DK_DOT(acc, b, a)
#define DK_START(sum) (-128 * (sum))
#define DK_WIDEN(p) (*(const W_any *)(p))
#define DK_ASM_REGISTER(x) "+x"(x)
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c,avxvnni"))), apply_to = function)
#include "int8_kernels.h"
#pragma clang attribute pop
#endif
