// Products of integers: a matrix that is scaled 8-bit integers in the file, times a value that is rounded to 8-bit steps first. Before the float products, which would take
// the same nodes.

internal import DinoGraph
internal import DinoTensor

/// MatMul or Gemm of round(x) and a dequantized matrix ⇒ linear of integers.
struct RecogniseIntegerProduct: RecognitionRule {
  let name = "integer-product"

  func rewrite(_ node: Node, _ c: inout RewriteContext) -> Bool {
    guard case .generic(let op) = node.op, op.kind == .product(.matMul) || op.kind == .product(.gemm), node.inputs.count >= 2, let (source, steps) = rounded(node.inputs[0], c),
      let x = c.shape(node.inputs[0])
    else { return false }
    var weight = node.inputs[1], flipped = false
    if let (kind, transpose, moved) = c.generic(weight), kind == .layout(.transpose), transpose.ints("perm") ?? [1, 0] == [1, 0] {
      weight = moved.inputs[0]
      flipped = true
    }
    switch op.kind {
    case .product(.matMul):
      guard x.rank >= 2 else { return false }
      return c.integerLinear(source, weight, input: .fixed(steps), bias: nil, transposed: !flipped, name: node.name, as: node.output)
    case .product(.gemm):
      guard op.int("transA") ?? 0 == 0, op.float("alpha") ?? 1 == 1, op.float("beta") ?? 1 == 1, let width = c.shape(node.output)?.dims.last else { return false }
      var bias: ValueID?
      if node.inputs.count > 2, node.inputs[2] != .absent {
        guard let column = c.columnConstant(node.inputs[2], count: width) else { return false }
        bias = column
      }
      let outIn = (op.int("transB") ?? 0 != 0) != flipped
      return c.integerLinear(source, weight, input: .fixed(steps), bias: bias, transposed: !outIn, name: node.name, as: node.output)
    default: return false
    }
  }

  /// What is rounded to give this value; the value itself where it was rounded and then only moved: rounding it again changes nothing.
  private func rounded(_ id: ValueID, _ c: RewriteContext) -> (ValueID, RoundingSteps)? {
    var at = id
    for _ in 0..<8 {
      guard let node = c.node(at) else { return nil }
      switch node.op {
      case .core(.round(let steps)): return (at == id ? node.inputs[0] : id, steps)
      case .generic(let op):
        switch op.kind {
        case .layout(.reshape), .layout(.transpose), .layout(.squeeze), .layout(.unsqueeze), .layout(.flatten), .layout(.slice), .layout(.split), .indexing(.gather): at = node.inputs[0]
        default: return nil
        }
      default: return nil
      }
    }
    return nil
  }
}

extension RewriteContext {
  /// A linear of integers, where the float constant `weight` was a matrix of 8-bit integers with one scale, or one for each out feature.
  /// - Parameter transposed: the matrix lies as [in, out].
  mutating func integerLinear(_ x: ValueID, _ weight: ValueID, input: IntegerInput, bias: ValueID?, transposed: Bool, name: String, as result: ValueID) -> Bool {
    let outAxis = transposed ? 1 : 0
    guard let source = integers[weight], source.scales.count == 1 || source.axis == outAxis else { return false }
    if case .fixed(let steps) = input, steps.upper - steps.lower != 255 { return false }
    let out = source.values.shape[outAxis], label = self.name(ofConstant: weight)
    func each(_ values: [Float]) -> Tensor { Tensor(values.count == 1 ? [Float](repeating: values[0], count: out) : values, shape: [out]) }
    let operands = [x, constant(label, source.values), constant(label + ".scale", each(source.scales)), constant(label + ".zero", each(source.zeros))]
    var epilogue = LinearEpilogue(bias: bias != nil, transposedWeight: transposed)
    epilogue.integers = input
    return core(.linear(epilogue), operands + (bias.map { [$0] } ?? []), name: name, as: result) != nil
  }
}
