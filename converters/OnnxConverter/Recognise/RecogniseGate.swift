// The gate of a feed-forward part: a product of an activated first half of a value and its second half. Where the halves come from two linear layers there is nothing to recognise.

internal import DinoGraph
internal import DinoTensor

struct RecogniseGate: RecognitionRule {
  let name = "gate"

  func rewrite(_ node: Node, _ c: inout RewriteContext) -> Bool {
    guard case .generic(let op) = node.op, op.kind == .arithmetic(.mul), node.inputs.count == 2 else { return false }
    for (first, second) in [(node.inputs[0], node.inputs[1]), (node.inputs[1], node.inputs[0])] {
      guard let activated = c.node(first), case .core(.activation(let f)) = activated.op, let a = c.view(activated.inputs[0]), let b = c.view(second), a.root == b.root,
        let dims = c.shape(a.root)?.dims, let width = dims.last, width > 0, width % 2 == 0
      else { continue }
      let whole = StridedView(whole: a.root, dims: dims), half = width / 2
      guard a == whole.sliced(axis: dims.count - 1, from: 0, count: half), b == whole.sliced(axis: dims.count - 1, from: half, count: half) else { continue }
      return c.core(.gate(f), [a.root], name: node.name, as: node.output) != nil
    }
    return false
  }
}
