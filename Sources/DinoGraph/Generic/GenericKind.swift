// The foreign operators that a graph may hold, by name: ONNX's own (domain `ai.onnx`) and ONNX Runtime's (`com.microsoft`). Only names and groups
// here: the meaning of each is ONNX's (github.com/onnx/onnx, docs/Operators.md; com.microsoft: onnxruntime, docs/ContribOperators.md) at the version that
// the node carries. Shapes: GenericShape*.swift; values: the room DinoOperators.
//
// Adding an operator: a case in the group it belongs to; then the compiler lists the shape rule here and the twin in DinoOperators.

/// A closed set of foreign operators, in groups that share a file of rules.
public enum GenericKind: Sendable, Hashable {
  case arithmetic(ArithmeticKind)
  case unary(UnaryKind)
  case comparison(ComparisonKind)
  case layout(LayoutKind)
  case indexing(IndexingKind)
  case reduction(ReductionKind)
  case product(ProductKind)
  case convolution(ConvolutionKind)
  case normalization(NormalizationKind)
  case resampling(ResamplingKind)
  case attention(AttentionKind)
  case quantization(QuantizationKind)
}

/// Two or more tensors, elementwise with broadcasting; the result has their element type.
public enum ArithmeticKind: String, Sendable, CaseIterable {
  case add = "Add", sub = "Sub", mul = "Mul", div = "Div", pow = "Pow", mod = "Mod", min = "Min", max = "Max", mean = "Mean", sum = "Sum"
  case prelu = "PRelu", bitShift = "BitShift", bitwiseAnd = "BitwiseAnd", bitwiseOr = "BitwiseOr", bitwiseXor = "BitwiseXor"
}

/// One tensor, elementwise.
public enum UnaryKind: String, Sendable, CaseIterable {
  case abs = "Abs", neg = "Neg", sqrt = "Sqrt", exp = "Exp", log = "Log", erf = "Erf", floor = "Floor", ceil = "Ceil", round = "Round", sign = "Sign"
  case reciprocal = "Reciprocal", sin = "Sin", cos = "Cos", tan = "Tan", asin = "Asin", acos = "Acos", atan = "Atan", sinh = "Sinh", cosh = "Cosh"
  case asinh = "Asinh", acosh = "Acosh", atanh = "Atanh", tanh = "Tanh", sigmoid = "Sigmoid", relu = "Relu", leakyRelu = "LeakyRelu", elu = "Elu", selu = "Selu"
  case celu = "Celu", hardSigmoid = "HardSigmoid", hardSwish = "HardSwish", softplus = "Softplus", softsign = "Softsign", thresholdedRelu = "ThresholdedRelu"
  case mish = "Mish", gelu = "Gelu", swish = "Swish", shrink = "Shrink", clip = "Clip", not = "Not", bitwiseNot = "BitwiseNot", isNaN = "IsNaN", isInf = "IsInf"
  case cast = "Cast", castLike = "CastLike", identity = "Identity", dropout = "Dropout"
  case microsoftGelu = "com.microsoft.Gelu", fastGelu = "com.microsoft.FastGelu", quickGelu = "com.microsoft.QuickGelu", biasGelu = "com.microsoft.BiasGelu"
}

/// Two tensors, elementwise with broadcasting; the result is BOOL.
public enum ComparisonKind: String, Sendable, CaseIterable {
  case equal = "Equal", greater = "Greater", less = "Less", greaterOrEqual = "GreaterOrEqual", lessOrEqual = "LessOrEqual", and = "And", or = "Or", xor = "Xor"
}

/// Elements keep their values and order of axes, or move in regular ways.
public enum LayoutKind: String, Sendable, CaseIterable {
  case shape = "Shape", size = "Size", reshape = "Reshape", transpose = "Transpose", concat = "Concat", slice = "Slice", split = "Split"
  case squeeze = "Squeeze", unsqueeze = "Unsqueeze", flatten = "Flatten", expand = "Expand", tile = "Tile", pad = "Pad", range = "Range"
  case constantOfShape = "ConstantOfShape", eyeLike = "EyeLike", depthToSpace = "DepthToSpace", spaceToDepth = "SpaceToDepth", trilu = "Trilu"
}

/// Elements are picked, placed or counted by what other tensors hold.
public enum IndexingKind: String, Sendable, CaseIterable {
  case gather = "Gather", gatherElements = "GatherElements", gatherND = "GatherND", scatterElements = "ScatterElements", scatterND = "ScatterND"
  case `where` = "Where", oneHot = "OneHot", nonZero = "NonZero", compress = "Compress", reverseSequence = "ReverseSequence", topK = "TopK"
  case argMax = "ArgMax", argMin = "ArgMin"
}

/// Sums and the like over axes.
public enum ReductionKind: String, Sendable, CaseIterable {
  case mean = "ReduceMean", sum = "ReduceSum", max = "ReduceMax", min = "ReduceMin", prod = "ReduceProd", l1 = "ReduceL1", l2 = "ReduceL2"
  case logSum = "ReduceLogSum", logSumExp = "ReduceLogSumExp", sumSquare = "ReduceSumSquare", cumSum = "CumSum"
}

/// Sums of products.
public enum ProductKind: String, Sendable, CaseIterable {
  case matMul = "MatMul", gemm = "Gemm", einsum = "Einsum", matMulInteger = "MatMulInteger"
  case fusedMatMul = "com.microsoft.FusedMatMul", matMulNBits = "com.microsoft.MatMulNBits", dynamicQuantizeMatMul = "com.microsoft.DynamicQuantizeMatMul"
  case matMulIntegerToFloat = "com.microsoft.MatMulIntegerToFloat", fusedGemm = "com.microsoft.FusedGemm"
}

/// Windows over the spatial axes of [N, C, ...].
public enum ConvolutionKind: String, Sendable, CaseIterable {
  case conv = "Conv", convTranspose = "ConvTranspose", convInteger = "ConvInteger", maxPool = "MaxPool", averagePool = "AveragePool", lpPool = "LpPool"
  case globalAveragePool = "GlobalAveragePool", globalMaxPool = "GlobalMaxPool", fusedConv = "com.microsoft.FusedConv"
}

/// Rescaling by statistics of the tensor itself or of training.
public enum NormalizationKind: String, Sendable, CaseIterable {
  case batch = "BatchNormalization", instance = "InstanceNormalization", group = "GroupNormalization", layer = "LayerNormalization", rms = "RMSNormalization"
  case lp = "LpNormalization", meanVariance = "MeanVarianceNormalization", lrn = "LRN", softmax = "Softmax", logSoftmax = "LogSoftmax", hardmax = "Hardmax"
  case simplifiedLayer = "SimplifiedLayerNormalization", skipLayer = "com.microsoft.SkipLayerNormalization"
  case skipSimplifiedLayer = "com.microsoft.SkipSimplifiedLayerNormalization"
}

/// Other sampling grids.
public enum ResamplingKind: String, Sendable, CaseIterable {
  case resize = "Resize", upsample = "Upsample", gridSample = "GridSample"
}

/// Attention and what belongs to it.
public enum AttentionKind: String, Sendable, CaseIterable {
  case attention = "Attention", rotaryEmbedding = "RotaryEmbedding"
  case microsoftAttention = "com.microsoft.Attention", multiHead = "com.microsoft.MultiHeadAttention", quantized = "com.microsoft.QAttention"
  case microsoftRotary = "com.microsoft.RotaryEmbedding"
}

/// Between floats and scaled integers, and operators on scaled integers.
public enum QuantizationKind: String, Sendable, CaseIterable {
  case quantize = "QuantizeLinear", dequantize = "DequantizeLinear", dynamicQuantize = "DynamicQuantizeLinear"
  case microsoftQuantize = "com.microsoft.QuantizeLinear", microsoftDequantize = "com.microsoft.DequantizeLinear"
  case linearMatMul = "QLinearMatMul", linearConv = "QLinearConv", gemm = "com.microsoft.QGemm", linearAdd = "com.microsoft.QLinearAdd"
  case linearMul = "com.microsoft.QLinearMul", linearSigmoid = "com.microsoft.QLinearSigmoid", linearLeakyRelu = "com.microsoft.QLinearLeakyRelu"
  case linearSoftmax = "com.microsoft.QLinearSoftmax", linearConcat = "com.microsoft.QLinearConcat", linearAveragePool = "com.microsoft.QLinearAveragePool"
  case linearGlobalAveragePool = "com.microsoft.QLinearGlobalAveragePool", linearReduceMean = "com.microsoft.QLinearReduceMean"
  case linearWhere = "com.microsoft.QLinearWhere"
}

extension GenericKind {
  /// The operator's name, with its domain before it where that is not ONNX's own: "Resize", "com.microsoft.BiasGelu".
  public var name: String {
    switch self {
    case .arithmetic(let k): k.rawValue
    case .unary(let k): k.rawValue
    case .comparison(let k): k.rawValue
    case .layout(let k): k.rawValue
    case .indexing(let k): k.rawValue
    case .reduction(let k): k.rawValue
    case .product(let k): k.rawValue
    case .convolution(let k): k.rawValue
    case .normalization(let k): k.rawValue
    case .resampling(let k): k.rawValue
    case .attention(let k): k.rawValue
    case .quantization(let k): k.rawValue
    }
  }

  /// Every operator.
  public static let all: [GenericKind] =
    ArithmeticKind.allCases.map(GenericKind.arithmetic) + UnaryKind.allCases.map(GenericKind.unary) + ComparisonKind.allCases.map(GenericKind.comparison)
    + LayoutKind.allCases.map(GenericKind.layout) + IndexingKind.allCases.map(GenericKind.indexing) + ReductionKind.allCases.map(GenericKind.reduction)
    + ProductKind.allCases.map(GenericKind.product) + ConvolutionKind.allCases.map(GenericKind.convolution)
    + NormalizationKind.allCases.map(GenericKind.normalization) + ResamplingKind.allCases.map(GenericKind.resampling)
    + AttentionKind.allCases.map(GenericKind.attention) + QuantizationKind.allCases.map(GenericKind.quantization)

  private static let byName = Dictionary(uniqueKeysWithValues: all.map { ($0.name, $0) })

  /// The operator of that name; nil where there is none here.
  public init?(name: String) {
    guard let kind = Self.byName[name] else { return nil }
    self = kind
  }
}
