/* bf16 on any CPU: bfloat16 weights are widened as they are loaded, rows of activations stay f32, products are those of f32. Half the memory of f32. */
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
#define DK_DEPTH 1
#define DK_DOT(acc, a, b) ((acc) + (V)(a) * (V)(b))
#include "bf16_kernels.h"
