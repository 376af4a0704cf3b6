// What is done with tokens [B, T, D]: constant tokens put before them, one or some taken out, their mean.

internal import DinoGraph
internal import DinoTensor

struct RecogniseTokens: RecognitionRule {
  let name = "tokens"

  func rewrite(_ node: Node, _ c: inout RewriteContext) -> Bool {
    guard case .generic(let op) = node.op else { return false }
    switch op.kind {
    case .layout(.concat): return prepend(node, op, &c)
    case .indexing(.gather):
      guard let x = c.shape(node.inputs[0]), x.rank == 3, op.int("axis") ?? 0 == 1, let index = c.constant(node.inputs[1]), index.shape.rank == 0,
        let i = index.integers()?.first
      else { return false }
      return c.core(.selectToken(index: i < 0 ? i + x[1] : i), [node.inputs[0]], name: node.name, as: node.output) != nil
    case .layout(.slice): return slice(node, op, &c)
    case .reduction(.mean):
      let axes = op.ints("axes") ?? (node.inputs.count > 1 ? c.constant(node.inputs[1])?.integers() : nil)
      guard c.shape(node.inputs[0])?.rank == 3, axes == [1] || axes == [-2], op.int("keepdims") ?? 1 == 0 else { return false }
      return c.core(.meanTokens, [node.inputs[0]], name: node.name, as: node.output) != nil
    default: return false
    }
  }

  /// Concat of constants that are the same for each image, then tokens.
  private func prepend(_ node: Node, _ op: Generic, _ c: inout RewriteContext) -> Bool {
    guard let out = c.shape(node.output), out.rank == 3, let axis = op.int("axis"), axis == 1 || axis == -2, node.inputs.count >= 2, let x = node.inputs.last,
      c.constant(x) == nil
    else { return false }
    var special: [Float] = [], count = 0, name = ""
    for id in node.inputs.dropLast() {
      guard let tokens = c.constant(id), let (values, n) = Self.sharedTokens(tokens, width: out[2]) else { return false }
      special += values
      count += n
      if name.isEmpty { name = c.name(ofConstant: id) }
    }
    let id = c.constant(name, Tensor(special, shape: [1, count, out[2]]))
    return c.core(.prependTokens, [id, x], name: node.name, as: node.output) != nil
  }

  /// Constant tokens [B, S, D] that are the same for all B.
  static func sharedTokens(_ tensor: Tensor, width: Int) -> ([Float], count: Int)? {
    guard tensor.dtype == .f32, tensor.shape.rank == 3, tensor.shape[2] == width, tensor.count > 0 else { return nil }
    let values = tensor.floats(), size = tensor.shape[1] * width
    let first = Array(values[..<size])
    for b in 1..<max(tensor.shape[0], 1) where values[b * size..<(b + 1) * size].map(\.bitPattern) != first.map(\.bitPattern) { return nil }
    return (first, tensor.shape[1])
  }

  /// A range of tokens: one axis, step one.
  private func slice(_ node: Node, _ op: Generic, _ c: inout RewriteContext) -> Bool {
    guard let x = c.shape(node.inputs[0]), let out = c.shape(node.output), x.rank == 3, out.rank == 3, x[0] == out[0], x[2] == out[2], out[1] > 0,
      let part = c.slice(of: StridedView(whole: node.inputs[0], dims: x.dims), op, node), part.matches([x[1] * x[2], x[2], 1])
    else { return false }
    return c.core(.sliceTokens(start: part.offset / x[2], count: out[1]), [node.inputs[0]], name: node.name, as: node.output) != nil
  }
}

/// Concat(first S tokens of y, constant R, the rest of y) with y = prependTokens(C, x) + P ⇒ prependTokens([C + P first, R], x + P rest): registers that are
/// put in after the positions were added, as DINOv2 does.
struct RecogniseRegisters: RecognitionRule {
  let name = "registers"

  func rewrite(_ node: Node, _ c: inout RewriteContext) -> Bool {
    guard case .generic(let op) = node.op, op.kind == .layout(.concat), op.int("axis") == 1 || op.int("axis") == -2, node.inputs.count == 3,
      let registers = c.constant(node.inputs[1]), registers.dtype == .f32, let out = c.shape(node.output), out.rank == 3,
      let head = c.node(node.inputs[0]), let tail = c.node(node.inputs[2]), case .core(.sliceTokens(0, let special?)) = head.op,
      case .core(.sliceTokens(special, _)) = tail.op, head.inputs == tail.inputs, let sum = c.node(head.inputs[0]), sum.isAdd, sum.inputs.count == 2,
      let whole = c.shape(head.inputs[0])
    else { return false }
    for (tokens, added) in [(sum.inputs[0], sum.inputs[1]), (sum.inputs[1], sum.inputs[0])] {
      guard let prepended = c.node(tokens), case .core(.prependTokens) = prepended.op, let first = c.constant(prepended.inputs[0]), first.shape == [1, special, out[2]],
        let positions = c.constant(added), positions.dtype == .f32, positions.shape == [1, whole[1], out[2]], registers.shape.rank == 3
      else { continue }
      let width = out[2], cut = special * width, p = positions.floats(), r = registers.floats(), n = registers.shape[1] * width
      for b in 1..<max(registers.shape[0], 1) where r[b * n..<(b + 1) * n].map(\.bitPattern) != r[..<n].map(\.bitPattern) { return false }
      let lead = zip(first.floats(), p[..<cut]).map(+) + r[..<n]
      let leadID = c.constant(c.name(ofConstant: prepended.inputs[0]), Tensor(lead, shape: [1, special + registers.shape[1], width]))
      let restID = c.constant(c.name(ofConstant: added), Tensor(Array(p[cut...]), shape: [1, whole[1] - special, width]))
      guard let moved = c.core(.add, [prepended.inputs[1], restID], name: sum.name) else { return false }
      return c.core(.prependTokens, [leadID, moved], name: node.name, as: node.output) != nil
    }
    return false
  }
}

extension Node {
  /// A sum, foreign or Core.
  var isAdd: Bool {
    switch op {
    case .core(.add): true
    case .generic(let op): op.kind == .arithmetic(.add)
    default: false
    }
  }
}
