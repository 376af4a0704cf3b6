// Rotary positions written out, on q or k as heads: Concat(special tokens, patches · cos + rotate(patches) · sin), or the same without special tokens; and the operator
// of operator set 23 is left to run by itself. What is found: the value that is rotated, and the angles for every token.

internal import DinoGraph
internal import DinoTensor

struct RotaryPattern {
  /// [B, h, T, d], before the rotation.
  var source: ValueID
  /// [T, d]: 1 and 0 for tokens without a position.
  var cos: [Float]
  var sin: [Float]

  init?(_ id: ValueID, _ c: inout RewriteContext) {
    guard let shape = c.shape(id), shape.rank == 4, let d = shape.dims.last, d % 2 == 0 else { return nil }
    let t = shape[2]
    if let (kind, op, node) = c.generic(id), kind == .layout(.concat), op.int("axis") == 2 || op.int("axis") == -2, node.inputs.count == 2 {
      guard let head = c.view(node.inputs[0]), let rotated = Self.rotated(node.inputs[1], d, &c), let tail = c.view(rotated.x), head.root == tail.root,
        let special = c.shape(node.inputs[0])?[2], let source = Self.whole(node.inputs[0], rotated.x, special, t, c)
      else { return nil }
      self.source = source
      guard let cos = Self.rows(rotated.cos, t - special, d, c), let sin = Self.rows(rotated.sin, t - special, d, c) else { return nil }
      self.cos = [Float](repeating: 1, count: special * d) + cos
      self.sin = [Float](repeating: 0, count: special * d) + sin
    } else {
      guard let rotated = Self.rotated(id, d, &c), let cos = Self.rows(rotated.cos, t, d, c), let sin = Self.rows(rotated.sin, t, d, c) else { return nil }
      (source, self.cos, self.sin) = (rotated.x, cos, sin)
    }
  }

  /// The value of which one slice are the special tokens and another the rest.
  private static func whole(_ head: ValueID, _ tail: ValueID, _ special: Int, _ tokens: Int, _ c: RewriteContext) -> ValueID? {
    guard let (k, a, first) = c.generic(head), let (l, b, second) = c.generic(tail), k == .layout(.slice) || k == .layout(.split), k == l, first.inputs[0] == second.inputs[0],
      let dims = c.shape(first.inputs[0])?.dims, dims.count == 4, dims[2] == tokens
    else { return nil }
    let source = StridedView(whole: first.inputs[0], dims: dims)
    if k == .layout(.split) { return first.outputs == second.outputs && first.outputs == [head, tail] && [2, -2].contains(a.int("axis") ?? 0) && c.shape(head)?.dims[2] == special ? first.inputs[0] : nil }
    guard let x = c.slice(of: source, a, first), let y = c.slice(of: source, b, second), x == source.sliced(axis: 2, from: 0, count: special),
      y == source.sliced(axis: 2, from: special, count: tokens - special)
    else { return nil }
    return first.inputs[0]
  }

  /// x, cos, sin of x · cos + rotate(x) · sin.
  static func rotated(_ id: ValueID, _ d: Int, _ c: inout RewriteContext) -> (x: ValueID, cos: ValueID, sin: ValueID)? {
    guard let (kind, _, sum) = c.generic(id), kind == .arithmetic(.add) else { return nil }
    for (a, b) in [(sum.inputs[0], sum.inputs[1]), (sum.inputs[1], sum.inputs[0])] {
      guard let (along, cos) = constantFactor(a, c), let (turned, sin) = constantFactor(b, c), isTurn(turned, of: along, d, &c) else { continue }
      return (along, cos, sin)
    }
    return nil
  }

  private static func constantFactor(_ id: ValueID, _ c: RewriteContext) -> (ValueID, constant: ValueID)? {
    guard let (kind, _, node) = c.generic(id), kind == .arithmetic(.mul), node.inputs.count == 2 else { return nil }
    if c.constant(node.inputs[1]) != nil { return (node.inputs[0], node.inputs[1]) }
    if c.constant(node.inputs[0]) != nil { return (node.inputs[1], node.inputs[0]) }
    return nil
  }

  /// Whether a value is Concat(-second half, first half) of x, over the last axis.
  private static func isTurn(_ id: ValueID, of x: ValueID, _ d: Int, _ c: inout RewriteContext) -> Bool {
    guard let (kind, op, node) = c.generic(id), kind == .layout(.concat), node.inputs.count == 2, let rank = c.shape(id)?.rank,
      op.int("axis") == -1 || op.int("axis") == rank - 1, let (k, _, negated) = c.generic(node.inputs[0]), k == .unary(.neg),
      let whole = c.view(x), let second = c.view(negated.inputs[0]), let first = c.view(node.inputs[1])
    else { return false }
    return first == whole.sliced(axis: rank - 1, from: 0, count: d / 2) && second == whole.sliced(axis: rank - 1, from: d / 2, count: d / 2)
  }

  /// Angles as [tokens, d], from any shape that broadcasts over images and heads.
  private static func rows(_ id: ValueID, _ tokens: Int, _ d: Int, _ c: RewriteContext) -> [Float]? {
    guard let tensor = c.constant(id), tensor.dtype == .f32, tensor.count == tokens * d, Array(tensor.shape.dims.suffix(2)) == [tokens, d] else { return nil }
    return tensor.floats()
  }
}
