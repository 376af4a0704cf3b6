// Operators that give what they are given: identities, casts to the same type, and reshapes, transposes, expansions and slices that change nothing.

internal import DinoGraph

struct DropNoOps: RecognitionRule {
  let name = "no-ops"

  func rewrite(_ node: Node, _ c: inout RewriteContext) -> Bool {
    guard case .generic(let op) = node.op, let x = node.inputs.first, x != .absent, c.dtype(x) == c.dtype(node.output), c.shape(x) != nil,
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
}
