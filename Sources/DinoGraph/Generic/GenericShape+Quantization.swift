// Shape rules of foreign operators: quantization. Here QuantizeLinear, DequantizeLinear and DynamicQuantizeLinear; operators on scaled integers:
// GenericShape+QuantizedOperators.swift. Float8 and elements narrower than a byte are refused.

public import DinoTensor

extension TypeSet {
  static let quantized: [DType] = [.u8, .i8, .u16, .i16]
  static let bytes: [DType] = [.u8, .i8]
  static let scales: [DType] = [.f32, .f16, .bf16]
}

extension GenericRule {
  func quantization(_ kind: QuantizationKind) throws(GenericProblem) -> [ValueFact] {
    switch kind {
    case .quantize, .microsoftQuantize: return [try quantizeLinear()]
    case .dequantize, .microsoftDequantize: return [try dequantizeLinear()]
    case .dynamicQuantize:
      try atMost(1)
      let x = try input(0, [.f32])
      return [ValueFact(dtype: .u8, shape: x.shape), ValueFact(dtype: .f32, shape: []), ValueFact(dtype: .u8, shape: [])]
    case .linearMatMul: return [try quantizedMatMul()]
    case .linearConv: return [try quantizedConv()]
    case .gemm: return [try quantizedGemm()]
    case .linearAdd, .linearMul: return [try quantizedBinary()]
    case .linearSigmoid, .linearLeakyRelu, .linearSoftmax: return [try quantizedUnary(kind)]
    case .linearConcat: return [try quantizedConcat()]
    case .linearAveragePool: return [try quantizedAveragePool()]
    case .linearGlobalAveragePool: return [try quantizedGlobalPool()]
    case .linearReduceMean: return [try quantizedReduceMean()]
    case .linearWhere: return [try quantizedWhere()]
    }
  }

  private func quantizeLinear() throws(GenericProblem) -> ValueFact {
    try atMost(3)
    let x = try input(0, TypeSet.scales + [.i32]), scale = try input(1)
    guard TypeSet.scales.contains(scale.dtype) else { throw .unsupported("\(op.kind.name) has scales of \(scale.dtype.rawValue) elements") }
    if op.version < 23, x.dtype != .i32 { try same(x, scale) }
    var target: DType?
    if let number = op.int("output_dtype"), number != 0 {
      guard let type = DType(onnxNumber: number), TypeSet.quantized.contains(type) else {
        throw .unsupported("\(op.kind.name) to the element type number \(number) is not computed here")
      }
      target = type
    }
    if let zero = try optional(2, TypeSet.quantized) {
      guard target == nil || target == zero.dtype else { throw .invalid("\(op.kind.name): output_dtype contradicts the zero point, \(zero.dtype.rawValue)") }
      target = zero.dtype
    }
    _ = try op.quantizePrecision(scale: scale.dtype)
    try checkGroups(x, scale, optional(2))
    return ValueFact(dtype: target ?? .u8, shape: x.shape)
  }

  private func dequantizeLinear() throws(GenericProblem) -> ValueFact {
    try atMost(3)
    let x = try input(0, TypeSet.quantized + [.i32]), scale = try input(1)
    guard TypeSet.scales.contains(scale.dtype) else { throw .unsupported("\(op.kind.name) has scales of \(scale.dtype.rawValue) elements") }
    if let zero = optional(2) { try same(x, zero) }
    try checkGroups(x, scale, optional(2))
    var target = scale.dtype
    if let number = op.int("output_dtype"), number != 0 {
      guard let type = DType(onnxNumber: number), TypeSet.scales.contains(type) else {
        throw .invalid("\(op.kind.name) cannot give the element type number \(number)")
      }
      target = type
    }
    return ValueFact(dtype: target, shape: x.shape)
  }

  /// Scales and zero points have one shape, and it fits the tensor.
  private func checkGroups(_ x: ValueFact, _ scale: ValueFact, _ zero: ValueFact?) throws(GenericProblem) {
    guard let shape = scale.shape else { return }
    // Per-tensor parameters are scalars or lists of one, whichever.
    if let zeros = zero?.shape, zeros != shape, !(zeros.rank <= 1 && shape.rank <= 1 && zeros.checkedCount == 1 && shape.checkedCount == 1) {
      throw .invalid("\(op.kind.name) has scales of shape \(shape) but zero points of shape \(zeros)")
    }
    if let x = x.shape { _ = try op.scaleGroups(x, scale: shape) }
  }
}

extension Generic {
  /// The type in which QuantizeLinear divides: that of the scales, unless an attribute says otherwise.
  public func quantizePrecision(scale: DType) throws(GenericProblem) -> DType {
    guard let number = int("precision"), number != 0 else { return scale }
    guard let type = DType(onnxNumber: number), TypeSet.scales.contains(type) else {
      throw .unsupported("\(kind.name) with precision=\(number) is not computed here")
    }
    return type
  }
}
