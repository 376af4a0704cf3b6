// Attention in plain operators: heads are split, scores, softmax, mixing. Two spellings: a joint qkv is cut by Gather, as the original's own export does
// it; separate queries, keys and values come in the form that ONNX Runtime's optimizer replaces by one Attention node.

internal import DinoGraph

extension GraphExport {
  /// The tokens [B, T, D] that attention gives.
  mutating func mixed(_ node: Node, _ heads: Int, _ scale: Double) throws(OnnxExportError) -> String {
    let name = node.name, width = headWidth(node, heads)
    let (weights, v) = try probabilities(node, heads, scale)
    let joined = w.transpose(w.call("MatMul", [weights, v], name + ".mixed"), [0, 2, 1, 3], name + ".joined")
    return w.reshape(joined, [0, 0, width.map { $0 * heads } ?? -1], name)
  }

  /// The softmax [B, h, T, T] and v as [B, h, T, d]. One for attention and its weights.
  mutating func probabilities(_ node: Node, _ heads: Int, _ scale: Double) throws(OnnxExportError) -> (weights: String, v: String) {
    let inputs = try operands(node), key = "\(inputs) \(heads) \(scale)"
    if let known = softmaxes[key] { return known }
    let name = node.name, width = headWidth(node, heads) ?? -1
    let scores: String, v: String
    if inputs.count == 1 {
      let five = w.transpose(w.reshape(inputs[0], [0, 0, 3, heads, width], name + ".heads"), [2, 0, 3, 1, 4], name + ".qkv")
      let parts = [".q", ".k", ".v"].enumerated().map { w.call("Gather", [five, w.ints([$0.offset], scalar: true)], name + $0.element, [.axis(0)]) }
      let q = w.call("Mul", [parts[0], w.scalar(Float(scale))], name + ".q.scaled")
      scores = w.call("MatMul", [q, w.transpose(parts[1], [0, 1, 3, 2], name + ".k.transposed")], name + ".scores")
      v = parts[2]
    } else {
      func part(_ x: String, _ order: [Int], _ label: String) -> String { w.transpose(w.reshape(x, [0, 0, heads, width], name + label + ".heads"), order, name + label) }
      let q = part(inputs[0], [0, 2, 1, 3], ".q"), k = part(inputs[1], [0, 2, 3, 1], ".k")
      v = part(inputs[2], [0, 2, 1, 3], ".v")
      scores = w.call("Div", [w.call("MatMul", [q, k], name + ".product"), w.scalar(Float(1 / scale))], name + ".scores")
    }
    let result = (weights: w.call("Softmax", [scores], name + ".softmax", [.axis(-1)]), v: v)
    softmaxes[key] = result
    return result
  }

  /// Columns of one head, where the layer before says how wide its result is.
  private func headWidth(_ node: Node, _ heads: Int) -> Int? {
    widths[node.inputs[0]].map { $0 / heads / (node.inputs.count == 1 ? 3 : 1) }
  }
}
