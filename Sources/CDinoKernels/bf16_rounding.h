/* Rounding to bfloat16 by the instructions of AVX-512 BF16: to nearest, ties to even, as elsewhere; what is below the least normal number becomes zero. */
#include <immintrin.h>
#define DK_ROUND(x) (EH)_mm512_cvtneps_pbh((__m512)(x))
/* a's values, then b's; then one of each in turn. */
#define DK_ROUND_TWO(a, b)                                                                                                                            \
  (EI)_mm512_permutexvar_epi16(_mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0), \
                               (__m512i)_mm512_cvtne2ps_pbh((__m512)(b), (__m512)(a)))
