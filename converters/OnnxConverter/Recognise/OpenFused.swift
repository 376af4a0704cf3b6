// Operators that ONNX Runtime made of several become those several again, in the forms that the other rules know.

internal import DinoGraph
internal import DinoTensor

/// SkipLayerNormalization ⇒ sum and norm; BiasGelu ⇒ sum and activation; FusedMatMul ⇒ transposes, product and factor.
struct OpenFused: RecognitionRule {
  let name = "open-fused"

  func rewrite(_ node: Node, _ c: inout RewriteContext) -> Bool {
    guard case .generic(let op) = node.op else { return false }
    switch op.kind {
    case .normalization(.skipLayer): return skipLayerNorm(node, op, &c)
    case .unary(.biasGelu):
      guard node.inputs.count == 2, let sum = c.core(.add, node.inputs, name: node.name + ".bias") else { return false }
      return c.core(.activation(.gelu), [sum], name: node.name, as: node.output) != nil
    case .product(.fusedMatMul): return fusedMatMul(node, op, &c)
    default: return false
    }
  }

  /// alpha · a b, each transposed in its last two axes or not.
  private func fusedMatMul(_ node: Node, _ op: Generic, _ c: inout RewriteContext) -> Bool {
    guard node.inputs.count == 2, op.int("transBatchA") ?? 0 == 0, op.int("transBatchB") ?? 0 == 0 else { return false }
    var inputs: [ValueID] = []
    for (input, attribute) in zip(node.inputs, ["transA", "transB"]) {
      guard op.int(attribute) ?? 0 != 0, let rank = c.shape(input)?.rank, rank >= 2 else { inputs.append(input); continue }
      let permutation = Array(0..<rank - 2) + [rank - 1, rank - 2]
      guard let flipped = c.generic(Generic(.layout(.transpose), version: op.version, attributes: ["perm": .ints(permutation)]), [input], name: "\(node.name).\(attribute)") else { return false }
      inputs.append(flipped)
    }
    let alpha = op.float("alpha") ?? 1, product = Generic(.product(.matMul), version: op.version)
    guard alpha != 1 else {
      c.generic(product, inputs, name: node.name, as: node.output)
      return true
    }
    guard let unscaled = c.generic(product, inputs, name: node.name + ".product") else { return false }
    let factor = c.constant(node.name + ".alpha", Tensor([Float(alpha)], shape: []))
    c.generic(Generic(.arithmetic(.mul), version: op.version), [unscaled, factor], name: node.name, as: node.output)
    return true
  }

  /// (x, skip, gamma, beta?, bias?) → (norm, _, _, x + skip + bias).
  private func skipLayerNorm(_ node: Node, _ op: Generic, _ c: inout RewriteContext) -> Bool {
    guard node.inputs.count >= 3, let width = c.shape(node.inputs[0])?.dims.last, c.isFloat(node.inputs[0]), c.isFloat(node.inputs[1]),
      c.shape(node.inputs[0]) == c.shape(node.inputs[1]), node.outputs.count < 2 || node.outputs[1...].prefix(2).allSatisfy({ c.useCount($0) == 0 })
    else { return false }
    func given(_ i: Int) -> ValueID? { i < node.inputs.count && node.inputs[i] != .absent ? node.inputs[i] : nil }
    guard let gamma = given(2), c.constant(gamma) != nil else { return false }
    var x = node.inputs[0]
    if let bias = given(4) {
      guard c.isFloat(bias), let sum = c.core(.add, [x, bias], name: node.name + ".bias") else { return false }
      x = sum
    }
    // ONNX Runtime adds the skip to the sum with the bias; the order of two operands changes nothing.
    guard let sum = c.core(.add, [x, node.inputs[1]], name: node.name + ".sum", as: node.outputs.count > 3 ? node.outputs[3] : nil) else { return false }
    let beta = given(3) ?? c.constant(node.name + ".beta", Tensor([Float](repeating: 0, count: width), shape: [width]))
    return c.core(.layerNorm(epsilon: Double(op.float("epsilon") ?? 1e-12)), [sum, gamma, beta], name: node.name, as: node.output) != nil
  }
}
