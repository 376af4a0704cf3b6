// Operators that ONNX Runtime made of several become those several again, in the forms that the other rules know.

internal import DinoGraph
internal import DinoTensor

/// SkipLayerNormalization ⇒ sum and norm; BiasGelu ⇒ sum and activation; Gelu of com.microsoft ⇒ activation.
struct OpenFused: RecognitionRule {
  let name = "open-fused"

  func rewrite(_ node: Node, _ c: inout RewriteContext) -> Bool {
    guard case .generic(let op) = node.op else { return false }
    switch op.kind {
    case .normalization(.skipLayer): return skipLayerNorm(node, op, &c)
    case .unary(.biasGelu):
      guard node.inputs.count == 2, let sum = c.core(.add, node.inputs, name: node.name + ".bias") else { return false }
      return c.core(.activation(.gelu), [sum], name: node.name, as: node.output) != nil
    default: return false
    }
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
