// What a node of a graph may do. Two closed sets: Core (families build it, passes match it, fast kernels exist for it) and Generic (foreign operators,
// Generic/). Nothing here computes; each meaning is written once, in the doc comment of its case.
//
// Adding an operator: a case here; then the compiler lists the rest (arity, ShapeInference, GraphPrinter, the reference twin in
// DinoKernels/Reference, the runtime's Compiler), and a row in Tests/DinoGraphTests and Tests/DinoRuntimeTests.
//
// Shape letters: B batch, C channels, H W image rows and columns, P patch, N patches = (H/P)·(W/P) (integer division), T tokens,
// S special tokens (class, registers), D width, h heads, d = D/h, K out features.

/// Activation functions.
public enum Activation: String, Sendable, Hashable, Codable {
  /// x·Φ(x) with the exact error function.
  case gelu
  /// The tanh approximation of it.
  case geluTanh = "gelu_tanh"
  case relu
  case silu
}

/// How learned positions are resampled to another grid (ANCHORS 2.3). Data, so that a file can say which one it needs.
public struct PositionResize: Sendable, Hashable, Codable {
  public enum Kernel: String, Sendable, Hashable, Codable { case bicubic, bilinear, nearest }
  public var kernel: Kernel
  /// The cubic kernel's a: -0.75 (torch, OpenCV) or -0.5 (Pillow, antialiased torch). Unused by the other kernels.
  public var cubicA: Double
  public var antialias: Bool
  /// Added to the number of patches before dividing by the native grid, and passed on as the scale (0.1 in the original DINO); nil
  /// where the scale is output size / input size.
  public var offset: Double?
  public init(kernel: Kernel, cubicA: Double, antialias: Bool, offset: Double?) {
    self.kernel = kernel
    self.cubicA = cubicA
    self.antialias = antialias
    self.offset = offset
  }
  /// A: facebookresearch/dino, and dinov2 without registers.
  public static let officialOffset = PositionResize(kernel: .bicubic, cubicA: -0.75, antialias: false, offset: 0.1)
  /// B and D: dinov2 with registers, timm.
  public static let antialiased = PositionResize(kernel: .bicubic, cubicA: -0.5, antialias: true, offset: nil)
  /// C: transformers.
  public static let sized = PositionResize(kernel: .bicubic, cubicA: -0.75, antialias: false, offset: nil)
}

/// Steps that a value is rounded to, as QuantizeLinear and DequantizeLinear do it one after the other: q = round half to even(x / scale) + zero within
/// `lower...upper`, then (q - zero)·scale. NaN becomes the lowest.
public struct RoundingSteps: Sendable, Hashable {
  public var scale: Float
  public var zero: Int
  public var lower: Int
  public var upper: Int
  public init(scale: Float, zero: Int, lower: Int, upper: Int) {
    self.scale = scale
    self.zero = zero
    self.lower = lower
    self.upper = upper
  }
}

/// How the input of a product of integers becomes integers.
public enum IntegerInput: Sendable, Hashable {
  /// 8-bit steps that are known.
  case fixed(RoundingSteps)
  /// The 256 steps of the range of the whole tensor with 0 in it, as DynamicQuantizeLinear makes them.
  case dynamic
}

/// How a `linear` reads its weight, and what it does with its product before it stores it, in this order: + bias, activation, · scale, + residual.
/// Canonical graphs (from a family, an importer, or for export) have at most the bias; passes add the others.
public struct LinearEpilogue: Sendable, Hashable {
  public var bias: Bool
  public var activation: Activation?
  public var scale: Bool
  public var residual: Bool
  /// The weight lies as [I, K], the order of a matrix product x · weight, and is read as it lies.
  public var transposedWeight: Bool
  /// The product is one of 8-bit integers: x is rounded first, the weight is I8 or U8, and two operands follow it: its scale and its zero point (a whole number as a
  /// float) for each out feature. The weight means (weight - zero)·scale. Only imported graphs have it.
  public var integers: IntegerInput?
  public init(bias: Bool, activation: Activation? = nil, scale: Bool = false, residual: Bool = false, transposedWeight: Bool = false) {
    self.bias = bias
    self.activation = activation
    self.scale = scale
    self.residual = residual
    self.transposedWeight = transposedWeight
  }

  /// Axes of the weight: which counts out features, which in features.
  public var outAxis: Int { transposedWeight ? 1 : 0 }
  public var inAxis: Int { transposedWeight ? 0 : 1 }
}

/// The operators that families build, passes match and fast kernels exist for.
public enum Core: Sendable, Hashable {
  /// (image [B,C,H,W], weight [D,C,P,P], bias [D]) → [B,N,D]: a convolution of stride P, patches row by row. Rows and columns of the image
  /// that do not fill a patch are left out.
  case patchEmbedding(patch: Int)
  /// (positions [1,S+M,D], image [B,C,H,W]) → [1,S+N,D]: the first S kept, the M = rows·columns of the native grid resampled to the image's grid. Returned
  /// untouched where the grids are the same (variant A: where N = M and H = W).
  case positionEmbedding(patch: Int, special: Int, nativeRows: Int, nativeColumns: Int, resize: PositionResize)
  /// (special [1,S,D], x [B,N,D]) → [B,S+N,D]: the same special tokens before each image's tokens.
  case prependTokens
  /// (a, b) → a + b, with NumPy broadcasting.
  case add
  /// (a, b) → a · b elementwise, with NumPy broadcasting (layer scale: b is [D]).
  case multiply
  /// (x [...,D], weight [D], bias [D]) → [...,D]: (x - mean)/sqrt(variance + epsilon)·weight + bias over the last axis, biased variance.
  case layerNorm(epsilon: Double)
  /// (x [...,I], weight [K,I] (or [I,K], see the epilogue), then by the epilogue: scale and zero of integers [K], bias [K], scale [K], residual [...,K]) → [...,K]: x·weightᵀ, then the epilogue.
  case linear(LinearEpilogue)
  /// x → f(x), elementwise.
  case activation(Activation)
  /// (x [...,2·H]) → [...,H]: f(first half) · second half, as gated feed-forward parts have it (SwiGLU with silu).
  case gate(Activation)
  /// x → x rounded to steps, elementwise.
  case round(RoundingSteps)
  /// (qkv [B,T,3·D]) or (q [B,T,D], k, v) → [B,T,D]: softmax(scale·q·kᵀ)·v for each head; heads are consecutive groups of d columns; in qkv: q of all
  /// heads, then k, then v. Where only the first `queries` tokens ask, [B,queries,D]; nil for all.
  case attention(heads: Int, scale: Double, queries: Int? = nil)
  /// The same inputs without v's use → the softmax: [B,h,T,T], or the first token's row only, [B,h,T].
  case attentionWeights(heads: Int, scale: Double, firstRowOnly: Bool)
  /// (x [B,T,W], cos [T,d], sin [T,d]) → [B,T,W]: rotary positions on the first `columns` columns, groups of d for each head: x·cos + rotate(x)·sin, where
  /// rotate puts the negated second half of a group before its first half. The other columns stay. Tokens without a position have cos 1 and sin 0.
  /// Transposed, each token's part is multiplied by the transpose of that matrix, as the backward part needs: where both halves have one angle, a turn back by it.
  case rotary(columns: Int, transposed: Bool = false)
  /// (periods [d/4], image [B,C,H,W]) → [S+N,d]: the cosines, or sines, of the angles that `rotary` turns by: 1, or 0, for the first S tokens, then for each patch 2π·y/period
  /// for every period, 2π·x/period for every period, and both again, where y and x are its centre in -1...1 down and across the image's whole patches (DINOv3).
  case rotaryAngles(patch: Int, special: Int, sine: Bool)
  /// (x [B,T,D]) → [B,D]: one token. 
  case selectToken(index: Int)
  /// (x [B,T,D]) → [B,count,D]: consecutive tokens from `start`; to the end where count is nil.
  case sliceTokens(start: Int, count: Int?)
  /// (x [B,T,D]) → [B,D]: the mean over tokens.
  case meanTokens
  /// (x [...,D]) → x / max(‖x‖₂, epsilon) over the last axis.
  case l2Normalize(epsilon: Double)
  /// (v [K,I], g [K,1]) → [K,I]: g·v/‖v‖ for each row (torch.nn.utils.weight_norm, dim 0).
  case weightNorm
  /// (x [...,D]) → softmax over the last axis.
  case softmax
  /// The loss and backward operators, which only training needs: TrainingOperator.swift.
  case training(TrainingOperator)
}

/// What a node does.
public enum Operator: Sendable, Hashable {
  case core(Core)
  case generic(Generic)
}
