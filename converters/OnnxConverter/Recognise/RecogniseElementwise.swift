// Sums, products and softmax over the last axis that belong to nothing larger. Last of the rules: the others look for the foreign forms.

internal import DinoGraph
internal import DinoTensor

struct RecogniseElementwise: RecognitionRule {
  let name = "elementwise"

  func rewrite(_ node: Node, _ c: inout RewriteContext) -> Bool {
    guard case .generic(let op) = node.op, let shape = c.shape(node.output), shape.rank >= 1 else { return false }
    switch op.kind {
    case .arithmetic(.add) where node.inputs.count == 2: return c.core(.add, node.inputs, name: node.name, as: node.output) != nil
    case .arithmetic(.mul) where node.inputs.count == 2: return c.core(.multiply, node.inputs, name: node.name, as: node.output) != nil
    case .normalization(.softmax):
      let axis = op.int("axis") ?? (op.version >= 13 ? -1 : 1)
      guard axis == -1 || axis == shape.rank - 1 else { return false }
      return c.core(.softmax, node.inputs, name: node.name, as: node.output) != nil
    default: return false
    }
  }
}
