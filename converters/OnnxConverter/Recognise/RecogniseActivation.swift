// GELU with the error function in its three spellings, with tanh, and as one operator; SiLU; ReLU (ANCHORS 4.3).

internal import DinoGraph

struct RecogniseActivation: RecognitionRule {
  let name = "activation"

  func rewrite(_ node: Node, _ c: inout RewriteContext) -> Bool {
    guard case .generic(let op) = node.op else { return false }
    switch op.kind {
    case .unary(.gelu):
      switch op.string("approximate") ?? "none" {
      case "none": return write(.gelu, node.inputs[0], node, &c)
      case "tanh": return write(.geluTanh, node.inputs[0], node, &c)
      default: return false
      }
    case .unary(.microsoftGelu): return write(.gelu, node.inputs[0], node, &c)
    case .unary(.fastGelu): return node.inputs.count == 1 && write(.geluTanh, node.inputs[0], node, &c)
    case .unary(.relu): return write(.relu, node.inputs[0], node, &c)
    case .unary(.swish): return op.float("alpha") ?? 1 == 1 && write(.silu, node.inputs[0], node, &c)
    case .arithmetic(.mul): return product(node, &c)
    default: return false
    }
  }

  private func write(_ activation: Activation, _ x: ValueID, _ node: Node, _ c: inout RewriteContext) -> Bool {
    c.core(.activation(activation), [x], name: node.name, as: node.output) != nil
  }

  /// Products that are GELU or SiLU. The factors x, ½ and 1 + erf(x/√2) (or 1 + tanh(…)) come in any grouping.
  private func product(_ node: Node, _ c: inout RewriteContext) -> Bool {
    if let x = silu(node, c) { return write(.silu, x, node, &c) }
    var factors: [ValueID] = [], scale: Float = 1
    collect(node.output, node, c, &factors, &scale, depth: 0)
    guard factors.count == 2, abs(scale - 0.5) < 1e-6 else { return false }
    for (x, gate) in [(factors[0], factors[1]), (factors[1], factors[0])] {
      guard let (inner, one) = c.withScalar(gate, .add), one == 1, let (kind, _, function) = c.generic(inner) else { continue }
      if kind == .unary(.erf), scaled(function.inputs[0], by: 0.70710678, of: x, c) { return write(.gelu, x, node, &c) }
      if kind == .unary(.tanh), isTanhAngle(function.inputs[0], of: x, c) { return write(.geluTanh, x, node, &c) }
    }
    return false
  }

  /// The factors of a product of products and divisions by numbers; numbers are multiplied into `scale`.
  private func collect(_ id: ValueID, _ root: Node?, _ c: RewriteContext, _ factors: inout [ValueID], _ scale: inout Float, depth: Int) {
    let node: Node
    if let root { node = root } else {
      guard depth < 4, let (kind, _, found) = c.generic(id), kind == .arithmetic(.mul) || kind == .arithmetic(.div), c.useCount(id) == 1 else { return factors.append(id) }
      if kind == .arithmetic(.div) {
        guard let s = c.scalar(found.inputs[1]), s != 0 else { return factors.append(id) }
        scale /= s
        return collect(found.inputs[0], nil, c, &factors, &scale, depth: depth + 1)
      }
      node = found
    }
    for operand in node.inputs {
      if let s = c.scalar(operand) { scale *= s } else { collect(operand, nil, c, &factors, &scale, depth: depth + 1) }
    }
  }

  /// Whether a value is `factor` · x, written as a product or a division.
  private func scaled(_ id: ValueID, by factor: Float, of x: ValueID, _ c: RewriteContext) -> Bool {
    if let (value, s) = c.withScalar(id, .mul) { return value == x && abs(s - factor) < 1e-6 * factor }
    if let (kind, _, node) = c.generic(id), kind == .arithmetic(.div), let s = c.scalar(node.inputs[1]) { return node.inputs[0] == x && abs(1 / s - factor) < 1e-6 * factor }
    return false
  }

  /// √(2/π) · (x + 0.044715 · x³).
  private func isTanhAngle(_ id: ValueID, of x: ValueID, _ c: RewriteContext) -> Bool {
    guard let (sum, s) = c.withScalar(id, .mul), abs(s - 0.7978846) < 1e-6, let (kind, _, node) = c.generic(sum), kind == .arithmetic(.add) else { return false }
    for (a, cube) in [(node.inputs[0], node.inputs[1]), (node.inputs[1], node.inputs[0])] where a == x {
      if let (value, k) = c.withScalar(cube, .mul), abs(k - 0.044715) < 1e-7, isCube(value, of: x, c) { return true }
    }
    return false
  }

  private func isCube(_ id: ValueID, of x: ValueID, _ c: RewriteContext) -> Bool {
    guard let (kind, _, node) = c.generic(id), node.inputs.count == 2 else { return false }
    if kind == .arithmetic(.pow) { return node.inputs[0] == x && c.scalar(node.inputs[1]) == 3 }
    guard kind == .arithmetic(.mul) else { return false }
    for (a, square) in [(node.inputs[0], node.inputs[1]), (node.inputs[1], node.inputs[0])] where a == x {
      guard let (k, _, inner) = c.generic(square) else { continue }
      if k == .arithmetic(.mul), inner.inputs == [x, x] { return true }
      if k == .arithmetic(.pow), inner.inputs[0] == x, c.scalar(inner.inputs[1]) == 2 { return true }
    }
    return false
  }

  /// x of x · sigmoid(x).
  private func silu(_ node: Node, _ c: RewriteContext) -> ValueID? {
    guard node.inputs.count == 2 else { return nil }
    for (x, gate) in [(node.inputs[0], node.inputs[1]), (node.inputs[1], node.inputs[0])] {
      if let (kind, _, sigmoid) = c.generic(gate), kind == .unary(.sigmoid), sigmoid.inputs[0] == x { return x }
    }
    return nil
  }
}
