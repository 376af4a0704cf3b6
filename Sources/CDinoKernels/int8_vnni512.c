/* int8 on AVX-512 VNNI: tiles of 14 × 32 (28 accumulators, two of B, one of A in 32 registers), four products of bytes in each lane to an instruction.
   The instruction takes u8 × s8, so A has zero point 128, which is taken off by what the accumulators start from. */
#include "dino_kernels.h"

#if defined(__x86_64__)
#define DK_LANES 16
#define DK_VECTORS 2
#define DK_ROWS 14
#define DK_EACH_ROW(X) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14)
#define DK_NAME(x) x##__vnni512
#define DK_DEPTH 4
#define DK_ZERO 128
#define DK_KEY_ZERO DK_ZERO
/* In assembly to keep the order of the source: left to itself the compiler reorders some heights of the tile until they spill. */
#define DK_DOT(acc, a, b) ({                                                             \
    W sum_ = (acc);                                                                      \
    __asm__ volatile("vpdpbusd %2, %1, %0" : "+v"(sum_) : "v"(a), "v"(b));                \
    sum_;                                                                                \
  })
#define DK_DOT_LEVELS(acc, a, b) DK_DOT(acc, b, a)
#define DK_START(sum) (-128 * (sum))
#define DK_WIDEN(p) (*(const W_any *)(p))
#define DK_ASM_REGISTER(x) "+v"(x)
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma,f16c"))), apply_to = function)
#include "int8_kernels.h"
#pragma clang attribute pop
#endif
