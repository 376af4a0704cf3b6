// Operators that give what they are given: identities, casts to the same type, and reshapes, transposes, expansions and slices that change nothing;
// and what torch.export puts around a softmax that has no mask: a mask of zeros and a guard.

internal import DinoGraph
internal import DinoTensor

struct DropNoOps: RecognitionRule {
  let name = "no-ops"

  func rewrite(_ node: Node, _ c: inout RewriteContext) -> Bool {
    guard case .generic(let op) = node.op else { return false }
    if op.kind == .indexing(.where) { return guardedSoftmax(node, &c) }
    if op.kind == .arithmetic(.add) { return sumWithZeros(node, &c) }
    guard let x = node.inputs.first, x != .absent, c.dtype(x) == c.dtype(node.output), c.shape(x) != nil,
      c.shape(x) == c.shape(node.output), node.outputs.dropFirst().allSatisfy({ c.useCount($0) == 0 })
    else { return false }
    switch op.kind {
    case .unary(.identity), .unary(.cast), .unary(.dropout): break
    case .layout(.reshape), .layout(.expand), .layout(.squeeze), .layout(.unsqueeze), .layout(.flatten): break
    case .layout(.transpose), .layout(.slice):
      guard let view = c.moved(node.output, by: node), view == c.view(x) else { return false }
    default: return false
    }
    c.forward(node.output, to: x)
    return true
  }

  /// Scores + 0, with a constant of zeros that does not make them larger. Only of products of two values that are computed: the zeros behind a constant matrix or a norm
  /// are its bias, which belongs into a checkpoint.
  private func sumWithZeros(_ node: Node, _ c: inout RewriteContext) -> Bool {
    guard node.inputs.count == 2 else { return false }
    for (x, zeros) in [(node.inputs[0], node.inputs[1]), (node.inputs[1], node.inputs[0])] {
      guard isScores(x, c), c.isFloat(x), c.shape(x) == c.shape(node.output), let tensor = c.constant(zeros), tensor.dtype == .f32,
        tensor.floats().allSatisfy({ $0 == 0 })
      else { continue }
      c.forward(node.output, to: x)
      return true
    }
    return false
  }

  /// A product of two values that are both computed, scaled or not.
  private func isScores(_ id: ValueID, _ c: RewriteContext) -> Bool {
    var id = id
    while let (value, _) = c.withScalar(id, .mul) ?? c.withScalar(id, .div) { id = value }
    guard let (kind, _, product) = c.generic(id), kind == .product(.matMul) else { return false }
    return product.inputs.allSatisfy { c.constant($0) == nil }
  }

  /// Where(IsNaN(s), 0, s) of a softmax s: for rows whose scores are all -infinity, as a mask makes them. Without a mask no row is; scores that are no numbers at all
  /// come from a network whose other outputs are none either.
  private func guardedSoftmax(_ node: Node, _ c: inout RewriteContext) -> Bool {
    guard node.inputs.count == 3, c.scalar(node.inputs[1]) == 0, let (test, _, isNaN) = c.generic(node.inputs[0]), test == .unary(.isNaN), isNaN.inputs[0] == node.inputs[2],
      let (kind, _, softmax) = c.generic(node.inputs[2]), kind == .normalization(.softmax), isScores(softmax.inputs[0], c), c.shape(node.inputs[2]) == c.shape(node.output)
    else { return false }
    c.forward(node.output, to: node.inputs[2])
    return true
  }
}
