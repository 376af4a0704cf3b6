/* bf16 on AVX2: bfloat16 weights are widened as they are loaded, rows of activations stay f32, products are those of f32. Half the memory of f32. */
#include "dino_kernels.h"

#if defined(__x86_64__)
#define DK_LANES 8
#define DK_VECTORS 2
#define DK_ROWS 6
#define DK_EACH_ROW(X) X(1) X(2) X(3) X(4) X(5) X(6)
#define DK_NAME(x) x##__avx2
#define DK_DEPTH 1
/* In assembly to keep the order of the source, as in int8_vnni512.c. */
#define DK_DOT(acc, a, b) ({                                                             \
    V sum_ = (acc);                                                                      \
    __asm__ volatile("vfmadd231ps %2, %1, %0" : "+x"(sum_) : "x"(a), "x"(b));             \
    sum_;                                                                                \
  })
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)
#include "bf16_kernels.h"
#pragma clang attribute pop
#endif
