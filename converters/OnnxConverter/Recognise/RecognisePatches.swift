// A convolution whose windows are patches side by side, its result laid out as tokens ⇒ patch embedding.

internal import DinoGraph
internal import DinoTensor

struct RecognisePatches: RecognitionRule {
  let name = "patch-embedding"

  func rewrite(_ node: Node, _ c: inout RewriteContext) -> Bool {
    guard case .generic(let op) = node.op, case .layout = op.kind, let tokens = c.shape(node.output), tokens.rank == 3, let view = c.moved(node.output, by: node),
      let (kind, conv, convolution) = c.generic(view.root), kind == .convolution(.conv), let map = c.shape(view.root), map.rank == 4
    else { return false }
    let n = map[2] * map[3]
    guard tokens.dims == [map[0], n, map[1]], view.offset == 0, view.matches([map[1] * n, 1, n]), let patch = patchSize(convolution, conv, c) else { return false }
    let bias: ValueID
    if convolution.inputs.count > 2, convolution.inputs[2] != .absent { bias = convolution.inputs[2] } else {
      bias = c.constant(convolution.name + ".zero", Tensor([Float](repeating: 0, count: map[1]), shape: [map[1]]))
    }
    guard c.constant(bias) != nil else { return false }
    return c.core(.patchEmbedding(patch: patch), [convolution.inputs[0], convolution.inputs[1], bias], name: convolution.name, as: node.output) != nil
  }

  /// The side of the windows, where they are square, side by side and without borders.
  private func patchSize(_ node: Node, _ op: Generic, _ c: RewriteContext) -> Int? {
    guard let weight = c.constant(node.inputs[1]), weight.dtype == .f32, weight.shape.rank == 4, let image = c.shape(node.inputs[0]), image.rank == 4 else { return nil }
    let p = weight.shape[2]
    let auto = op.string("auto_pad") ?? "NOTSET"
    guard p > 0, weight.shape[3] == p, weight.shape[1] == image[1], op.int("group") ?? 1 == 1, op.ints("strides") ?? [1, 1] == [p, p],
      op.ints("dilations") ?? [1, 1] == [1, 1], op.ints("pads") ?? [0, 0, 0, 0] == [0, 0, 0, 0], auto == "NOTSET" || auto == "VALID"
    else { return nil }
    return p
  }
}

/// A convolution, then a constant for each channel ⇒ a convolution with a bias.
struct RecogniseConvolutionBias: RecognitionRule {
  let name = "convolution-bias"

  func rewrite(_ node: Node, _ c: inout RewriteContext) -> Bool {
    guard case .generic(let add) = node.op, add.kind == .arithmetic(.add), node.inputs.count == 2, let out = c.shape(node.output), out.rank >= 3 else { return false }
    for (product, constant) in [(node.inputs[0], node.inputs[1]), (node.inputs[1], node.inputs[0])] {
      guard let (kind, op, convolution) = c.generic(product), kind == .convolution(.conv), c.useCount(product) == 1, c.shape(product) == out,
        convolution.inputs.count == 2 || convolution.inputs[2] == .absent, let bias = c.constant(constant), bias.dtype == .f32, bias.count == out[1],
        Array(bias.shape.dims.suffix(out.rank - 1)) == [out[1]] + [Int](repeating: 1, count: out.rank - 2)
      else { continue }
      let vector = c.constant(c.name(ofConstant: constant), bias.reshaped([out[1]]))
      c.generic(op, Array(convolution.inputs.prefix(2)) + [vector], name: convolution.name, as: node.output)
      return true
    }
    return false
  }
}
