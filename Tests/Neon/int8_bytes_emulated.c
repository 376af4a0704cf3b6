/* The tile of AVX-512 VNNI (14 × 32, unsigned bytes with zero point 128 against signed ones) with its instruction written out, so that its layout and its
   zero point are checked also where the instruction is not there. */
#include "dino_kernels.h"

#define DK_LANES 16
#define DK_VECTORS 2
#define DK_ROWS 14
#define DK_EACH_ROW(X) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14)
#define DK_NAME(x) x##__bytes_emulated
#define DK_DEPTH 4
#define DK_ZERO 128
#define DK_KEY_ZERO DK_ZERO
#define DK_UNSIGNED(w, n) ((w) >> (8 * (n)) & 255)
#define DK_SIGNED(w, n) ((w) << (24 - 8 * (n)) >> 24)
#define DK_DOT(acc, a, b) ((acc) + DK_UNSIGNED(a, 0) * DK_SIGNED(b, 0) + DK_UNSIGNED(a, 1) * DK_SIGNED(b, 1) \
                           + DK_UNSIGNED(a, 2) * DK_SIGNED(b, 2) + DK_UNSIGNED(a, 3) * DK_SIGNED(b, 3))
#define DK_DOT_LEVELS(acc, a, b) DK_DOT(acc, b, a)
#define DK_START(sum) (-128 * (sum))
#define DK_WIDEN(p) (*(const W_any *)(p))
#define DK_ASM_REGISTER(x) "+m"(x)
#include "../../Sources/CDinoKernels/int8_kernels.h"
