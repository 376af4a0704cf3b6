// LayerNorm over the last axis: the operator of operator set 17, and the nine operators that it is written with before (ANCHORS 4.2).

internal import DinoGraph
internal import DinoTensor

struct RecogniseLayerNorm: RecognitionRule {
  let name = "layer-norm"

  func rewrite(_ node: Node, _ c: inout RewriteContext) -> Bool {
    guard case .generic(let op) = node.op, let shape = c.shape(node.inputs.first ?? .absent), shape.rank >= 1 else { return false }
    switch op.kind {
    case .normalization(.layer):
      let axis = op.int("axis") ?? -1
      guard axis == -1 || axis == shape.rank - 1, node.outputs.dropFirst().allSatisfy({ c.useCount($0) == 0 }), c.constant(node.inputs[1]) != nil,
        c.shape(node.inputs[1]) == [shape[-1]]
      else { return false }
      let bias = node.inputs.count > 2 && node.inputs[2] != .absent ? node.inputs[2] : zeros(node.name, shape[-1], &c)
      guard c.constant(bias) != nil else { return false }
      return c.core(.layerNorm(epsilon: Double(op.float("epsilon") ?? 1e-5)), [node.inputs[0], node.inputs[1], bias], name: node.name, as: node.output) != nil
    case .arithmetic(.add): return decomposed(node, &c)
    default: return false
    }
  }

  private func zeros(_ name: String, _ n: Int, _ c: inout RewriteContext) -> ValueID {
    c.constant(name + ".zero", Tensor([Float](repeating: 0, count: n), shape: [n]))
  }

  /// ((x - mean) / sqrt(mean((x - mean)²) + ε)) · γ + β.
  private func decomposed(_ node: Node, _ c: inout RewriteContext) -> Bool {
    guard node.inputs.count == 2 else { return false }
    for (scaled, beta) in [(node.inputs[0], node.inputs[1]), (node.inputs[1], node.inputs[0])] {
      guard let (kind, _, product) = c.generic(scaled), kind == .arithmetic(.mul) else { continue }
      for (normal, gamma) in [(product.inputs[0], product.inputs[1]), (product.inputs[1], product.inputs[0])] {
        guard let (x, epsilon) = normalized(normal, c), let width = c.shape(x)?.dims.last, c.vector(gamma, count: width)?.shape.rank == 1,
          c.vector(beta, count: width)?.shape.rank == 1
        else { continue }
        return c.core(.layerNorm(epsilon: Double(epsilon)), [x, gamma, beta], name: node.name, as: node.output) != nil
      }
    }
    return false
  }

  /// (x - mean) / sqrt(variance + ε), or times its reciprocal.
  private func normalized(_ id: ValueID, _ c: RewriteContext) -> (ValueID, Float)? {
    guard let (kind, _, node) = c.generic(id), node.inputs.count == 2 else { return nil }
    let centred = node.inputs[0]
    var deviation = node.inputs[1]
    switch kind {
    case .arithmetic(.div): break
    case .arithmetic(.mul):
      guard let (k, _, reciprocal) = c.generic(deviation), k == .unary(.reciprocal) else { return nil }
      deviation = reciprocal.inputs[0]
    default: return nil
    }
    guard let (k, _, root) = c.generic(deviation), k == .unary(.sqrt), let (variance, epsilon) = c.withScalar(root.inputs[0], .add),
      let x = self.centred(centred, c), let square = meanOverLastAxis(variance, c), let base = squared(square, c), self.centred(base, c) == x
    else { return nil }
    return (x, epsilon)
  }

  /// x of x - mean(x).
  private func centred(_ id: ValueID, _ c: RewriteContext) -> ValueID? {
    guard let (kind, _, node) = c.generic(id), kind == .arithmetic(.sub), node.inputs.count == 2, meanOverLastAxis(node.inputs[1], c) == node.inputs[0] else { return nil }
    return node.inputs[0]
  }

  private func squared(_ id: ValueID, _ c: RewriteContext) -> ValueID? {
    guard let (kind, _, node) = c.generic(id), node.inputs.count == 2 else { return nil }
    switch kind {
    case .arithmetic(.pow): return c.constant(node.inputs[1]).flatMap { $0.count == 1 && $0.dtype.convertsToFloat && $0.floats()[0] == 2 ? node.inputs[0] : nil }
    case .arithmetic(.mul): return node.inputs[0] == node.inputs[1] ? node.inputs[0] : nil
    default: return nil
    }
  }

  /// What a ReduceMean over the last axis, kept, reads.
  private func meanOverLastAxis(_ id: ValueID, _ c: RewriteContext) -> ValueID? {
    guard let (kind, op, node) = c.generic(id), kind == .reduction(.mean), op.int("keepdims") ?? 1 == 1, let rank = c.shape(node.inputs[0])?.rank else { return nil }
    let axes = op.ints("axes") ?? (node.inputs.count > 1 ? c.constant(node.inputs[1])?.integers() : nil)
    return axes == [-1] || axes == [rank - 1] ? node.inputs[0] : nil
  }
}
