/* The tile of AVX-512 BF16 (14 × 32, pairs of bfloat16) with its instruction written out, so that its layout is checked also where the instruction is not there. */
#include "dino_kernels.h"

#define DK_LANES 16
#define DK_VECTORS 2
#define DK_ROWS 14
#define DK_EACH_ROW(X) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14)
#define DK_NAME(x) x##__pairs_emulated
#define DK_DEPTH 2
#define DK_DOT(acc, a, b) ((acc) + (V)((a) << 16) * (V)((b) << 16) + (V)((a) & (W)(-65536)) * (V)((b) & (W)(-65536)))
#define DK_WIDEN(p) (*(const W_any *)(p))
#include "../../Sources/CDinoKernels/bf16_kernels.h"
