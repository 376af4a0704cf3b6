/* bf16 on AVX-512 BF16: tiles of 14 × 32, two products of bfloat16 in each lane to an instruction. */
#include "dino_kernels.h"

#if defined(__x86_64__)
#define DK_LANES 16
#define DK_VECTORS 2
#define DK_ROWS 14
#define DK_EACH_ROW(X) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14)
#define DK_NAME(x) x##__avx512bf16
#define DK_DEPTH 2
/* In assembly to keep the order of the source, as in int8_vnni512.c. */
#define DK_DOT(acc, a, b) ({                                                             \
    V sum_ = (acc);                                                                      \
    __asm__ volatile("vdpbf16ps %2, %1, %0" : "+v"(sum_) : "v"(a), "v"(b));               \
    sum_;                                                                                \
  })
#include "bf16_rounding.h"
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,avx2,fma,f16c"))), apply_to = function)
#include "bf16_kernels.h"
#pragma clang attribute pop
#endif
