/* int8 on AVX2: tiles of 6 × 16 (12 accumulators, two of B, one of A, one product in 16 registers). Bytes of B are widened to 16 bits as they are loaded, rows of A
   are kept so: a product of pairs is exact for all values. (The byte instruction adds its pairs into 16 bits that saturate; made exact with a turned sign it takes as
   many multiplications and more of everything else.) */
#include "dino_kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>
#define DK_LANES 8
#define DK_VECTORS 2
#define DK_ROWS 6
#define DK_EACH_ROW(X) X(1) X(2) X(3) X(4) X(5) X(6)
#define DK_NAME(x) x##__avx2
#define DK_DEPTH 2
#define DK_ZERO 0
#define DK_KEY_ZERO DK_ZERO
/* Both instructions in one, and in this order: left to itself the compiler interleaves rows and spills accumulators (a third slower). */
#define DK_DOT(acc, a, b) ({                                                                                             \
    W sum_ = (acc), product_;                                                                                            \
    __asm__ volatile("vpmaddwd %3, %2, %1\n\tvpaddd %1, %0, %0" : "+x"(sum_), "=&x"(product_) : "x"(a), "x"(b));         \
    sum_;                                                                                                                \
  })
#define DK_DOT_LEVELS DK_DOT
#define DK_START(sum) (0 * (sum))
#define DK_WIDEN(p) ((W)_mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(p))))
#define DK_ASM_REGISTER(x) "+x"(x)
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)
#include "int8_kernels.h"
#pragma clang attribute pop
#endif
