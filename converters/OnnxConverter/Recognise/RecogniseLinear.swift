// Linear layers: a product with a constant matrix, which is read as it lies in the file, whether transposed or not; and the constant that is added to it.

internal import DinoGraph
internal import DinoTensor

/// MatMul(x, W), MatMul(x, Transpose(W)) and Gemm ⇒ linear.
struct RecogniseLinear: RecognitionRule {
  let name = "linear"

  func rewrite(_ node: Node, _ c: inout RewriteContext) -> Bool {
    guard case .generic(let op) = node.op, node.inputs.count >= 2, c.isFloat(node.inputs[0]) else { return false }
    switch op.kind {
    case .product(.matMul):
      guard let x = c.shape(node.inputs[0]), x.rank >= 2, let (weight, flipped) = matrix(node.inputs[1], c) else { return false }
      return c.core(.linear(LinearEpilogue(bias: false, transposedWeight: !flipped)), [node.inputs[0], weight], name: node.name, as: node.output) != nil
    case .product(.gemm): return gemm(node, op, &c)
    default: return false
    }
  }

  /// A constant matrix of floats, and whether what is read is its transpose.
  private func matrix(_ id: ValueID, _ c: RewriteContext) -> (ValueID, flipped: Bool)? {
    if let tensor = c.constant(id) { return tensor.shape.rank == 2 && tensor.dtype == .f32 ? (id, false) : nil }
    guard let (kind, op, node) = c.generic(id), kind == .layout(.transpose), op.ints("perm") ?? [1, 0] == [1, 0], let tensor = c.constant(node.inputs[0]),
      tensor.shape.rank == 2, tensor.dtype == .f32
    else { return nil }
    return (node.inputs[0], true)
  }

  private func gemm(_ node: Node, _ op: Generic, _ c: inout RewriteContext) -> Bool {
    guard op.int("transA") ?? 0 == 0, op.float("alpha") ?? 1 == 1, op.float("beta") ?? 1 == 1, let (weight, flipped) = matrix(node.inputs[1], c),
      let shape = c.shape(weight)
    else { return false }
    let outIn = (op.int("transB") ?? 0 != 0) != flipped
    let width = shape[outIn ? 0 : 1]
    guard node.inputs.count > 2, node.inputs[2] != .absent else {
      return c.core(.linear(LinearEpilogue(bias: false, transposedWeight: !outIn)), [node.inputs[0], weight], name: node.name, as: node.output) != nil
    }
    guard let bias = c.columnConstant(node.inputs[2], count: width) else { return false }
    return c.core(.linear(LinearEpilogue(bias: true, transposedWeight: !outIn)), [node.inputs[0], weight, bias], name: node.name, as: node.output) != nil
  }
}

/// linear, then a constant for each column ⇒ linear with a bias.
struct RecogniseBias: RecognitionRule {
  let name = "bias"

  func rewrite(_ node: Node, _ c: inout RewriteContext) -> Bool {
    guard node.inputs.count == 2 else { return false }
    switch node.op {
    case .core(.add): break
    case .generic(let op) where op.kind == .arithmetic(.add): break
    default: return false
    }
    for (product, constant) in [(node.inputs[0], node.inputs[1]), (node.inputs[1], node.inputs[0])] {
      guard let linear = c.node(product), case .core(.linear(var epilogue)) = linear.op, epilogue.isPlain, c.useCount(product) == 1,
        let width = c.shape(product)?.dims.last, let bias = c.columnConstant(constant, count: width)
      else { continue }
      epilogue.bias = true
      if c.core(.linear(epilogue), linear.inputs + [bias], name: linear.name, as: node.output) != nil { return true }
    }
    return false
  }
}

extension LinearEpilogue {
  /// Only a product.
  var isPlain: Bool { !bias && activation == nil && !scale && !residual }
}

extension RewriteContext {
  /// A constant for each column, as [n]: the value itself, or a new constant over the same bytes.
  mutating func columnConstant(_ id: ValueID, count: Int) -> ValueID? {
    guard let tensor = vector(id, count: count) else { return nil }
    return tensor.shape.rank == 1 ? id : constant(name(ofConstant: id), tensor.reshaped([count]))
  }
}
