/* int8 on any CPU: tiles of 2 × 16, bytes widened to 16 bits. On x86-64 the pair product is part of the baseline; elsewhere it is written out. */
#include "dino_kernels.h"

/* The baseline of x86-64 has no fused multiply-add. */
#if defined(__x86_64__) && !defined(__FMA__)
#define DK_SOFT_FMA
#endif

#define DK_LANES 4
#define DK_VECTORS 4
#define DK_ROWS 2
#define DK_EACH_ROW(X) X(1) X(2)
#define DK_NAME(x) x##__portable
#define DK_DEPTH 2
#define DK_ZERO 0
#define DK_KEY_ZERO DK_ZERO
#if defined(__x86_64__)
#include <emmintrin.h>
#define DK_DOT(acc, a, b) ((acc) + (W)_mm_madd_epi16((__m128i)(a), (__m128i)(b)))
#define DK_ASM_REGISTER(x) "+x"(x)
#else
#define DK_DOT(acc, a, b) ((acc) + ((a) << 16 >> 16) * ((b) << 16 >> 16) + ((a) >> 16) * ((b) >> 16))
#define DK_ASM_REGISTER(x) "+m"(x)
#endif
typedef int8_t dk_bytes8 __attribute__((ext_vector_type(8), aligned(1)));
typedef int16_t dk_shorts8 __attribute__((ext_vector_type(8)));
#define DK_WIDEN(p) ((W)__builtin_convertvector(*(const dk_bytes8 *)(p), dk_shorts8))
#define DK_DOT_LEVELS DK_DOT
#define DK_START(sum) (0 * (sum))
#include "int8_kernels.h"
