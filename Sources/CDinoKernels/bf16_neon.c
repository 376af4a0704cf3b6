/* bf16 on NEON: bfloat16 weights are widened as they are loaded, rows of activations stay f32, products are those of f32. Half the memory of f32. */
#include "dino_kernels.h"

#if defined(__aarch64__)
#define DK_LANES 4
#define DK_VECTORS 4
#define DK_ROWS 5
#define DK_EACH_ROW(X) X(1) X(2) X(3) X(4) X(5)
#define DK_NAME(x) x##__neon
#define DK_DEPTH 1
#define DK_DOT(acc, a, b) __builtin_elementwise_fma((V)(a), (V)(b), acc)
#include "bf16_kernels.h"
#endif
