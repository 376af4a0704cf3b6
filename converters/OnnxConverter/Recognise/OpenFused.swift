// Operators that stand for several become those several again, in the forms that the other rules know: what ONNX Runtime fused, and ONNX's own Attention.

internal import DinoGraph
internal import DinoTensor

/// SkipLayerNormalization ⇒ sum and norm; BiasGelu ⇒ sum and activation; FusedMatMul ⇒ transposes, product and factor; Attention ⇒ products, factor and softmax.
struct OpenFused: RecognitionRule {
  let name = "open-fused"

  func rewrite(_ node: Node, _ c: inout RewriteContext) -> Bool {
    guard case .generic(let op) = node.op else { return false }
    switch op.kind {
    case .normalization(.skipLayer): return skipLayerNorm(node, op, &c)
    case .unary(.biasGelu):
      guard node.inputs.count == 2, let sum = c.core(.add, node.inputs, name: node.name + ".bias") else { return false }
      return c.core(.activation(.gelu), [sum], name: node.name, as: node.output) != nil
    case .product(.fusedMatMul): return fusedMatMul(node, op, &c)
    case .attention(.attention): return attention(node, op, &c)
    default: return false
    }
  }

  /// alpha · a b, each transposed in its last two axes or not.
  private func fusedMatMul(_ node: Node, _ op: Generic, _ c: inout RewriteContext) -> Bool {
    guard node.inputs.count == 2, op.int("transBatchA") ?? 0 == 0, op.int("transBatchB") ?? 0 == 0 else { return false }
    var inputs: [ValueID] = []
    for (input, attribute) in zip(node.inputs, ["transA", "transB"]) {
      guard op.int(attribute) ?? 0 != 0, let rank = c.shape(input)?.rank, rank >= 2 else { inputs.append(input); continue }
      let permutation = Array(0..<rank - 2) + [rank - 1, rank - 2]
      guard let flipped = c.generic(Generic(.layout(.transpose), version: op.version, attributes: ["perm": .ints(permutation)]), [input], name: "\(node.name).\(attribute)") else { return false }
      inputs.append(flipped)
    }
    let alpha = op.float("alpha") ?? 1, product = Generic(.product(.matMul), version: op.version)
    guard alpha != 1 else {
      c.generic(product, inputs, name: node.name, as: node.output)
      return true
    }
    guard let unscaled = c.generic(product, inputs, name: node.name + ".product") else { return false }
    let factor = c.constant(node.name + ".alpha", Tensor([Float(alpha)], shape: []))
    c.generic(Generic(.arithmetic(.mul), version: op.version), [unscaled, factor], name: node.name, as: node.output)
    return true
  }

  /// softmax(q kᵀ · scale) v of heads [B, h, T, d], or of [B, T, h·d]; not where there is a mask, a past, a cap, or fewer heads of keys than of queries.
  private func attention(_ node: Node, _ op: Generic, _ c: inout RewriteContext) -> Bool {
    guard node.inputs.count >= 3, node.inputs.dropFirst(3).allSatisfy({ $0 == .absent }), node.outputs.dropFirst().allSatisfy({ $0 == .absent || c.useCount($0) == 0 }),
      op.int("is_causal") ?? 0 == 0, op.float("softcap") ?? 0 == 0, op.int("softmax_precision") ?? 1 == 1, node.inputs.prefix(3).allSatisfy({ c.isFloat($0) }), c.isFloat(node.output)
    else { return false }
    func plain(_ kind: GenericKind, _ attributes: [String: GenericAttribute] = [:]) -> Generic { Generic(kind, version: op.version, attributes: attributes) }
    func turned(_ x: ValueID, _ permutation: [Int], _ name: String, _ c: inout RewriteContext) -> ValueID? {
      c.generic(plain(.layout(.transpose), ["perm": .ints(permutation)]), [x], name: name)
    }
    var heads: [ValueID] = []
    for (input, name) in zip(node.inputs, ["q", "k", "v"]) {
      guard let shape = c.shape(input), shape.rank == 3 || shape.rank == 4 else { return false }
      if shape.rank == 4 { heads.append(input); continue }
      guard let count = op.int(name == "q" ? "q_num_heads" : "kv_num_heads"), count > 0, shape[2].isMultiple(of: count),
        let apart = reshaped(input, [shape[0], shape[1], count, shape[2] / count], "\(node.name).\(name).apart", op, &c), let turned = turned(apart, [0, 2, 1, 3], "\(node.name).\(name)", &c)
      else { return false }
      heads.append(turned)
    }
    guard let q = c.shape(heads[0]), let k = c.shape(heads[1]), let v = c.shape(heads[2]), q[1] == k[1], k[1] == v[1],
      let keys = turned(heads[1], [0, 1, 3, 2], "\(node.name).keys", &c), let scores = c.generic(plain(.product(.matMul)), [heads[0], keys], name: "\(node.name).scores")
    else { return false }
    let factor = c.constant("\(node.name).scale", Tensor([op.float("scale").map { Float($0) } ?? 1 / Float(q[3]).squareRoot()], shape: []))
    guard let scaled = c.generic(plain(.arithmetic(.mul)), [scores, factor], name: "\(node.name).scaled"),
      let weights = c.generic(plain(.normalization(.softmax), ["axis": .int(-1)]), [scaled], name: "\(node.name).weights")
    else { return false }
    guard c.shape(node.inputs[0])?.rank == 3 else {
      c.generic(plain(.product(.matMul)), [weights, heads[2]], name: node.name, as: node.output)
      return true
    }
    guard let mixed = c.generic(plain(.product(.matMul)), [weights, heads[2]], name: "\(node.name).mixed"), let back = turned(mixed, [0, 2, 1, 3], "\(node.name).back", &c) else { return false }
    c.generic(plain(.layout(.reshape)), [back, extents([q[0], q[2], q[1] * v[3]], "\(node.name).extents", &c)], name: node.name, as: node.output)
    return true
  }

  private func reshaped(_ x: ValueID, _ dims: [Int], _ name: String, _ op: Generic, _ c: inout RewriteContext) -> ValueID? {
    let extents = extents(dims, "\(name).extents", &c)
    return c.generic(Generic(.layout(.reshape), version: op.version), [x, extents], name: name)
  }

  private func extents(_ dims: [Int], _ name: String, _ c: inout RewriteContext) -> ValueID { c.constant(name, Tensor.copy(dims.map(Int64.init), dtype: .i64, shape: [dims.count])) }

  /// (x, skip, gamma, beta?, bias?) → (norm, _, _, x + skip + bias).
  private func skipLayerNorm(_ node: Node, _ op: Generic, _ c: inout RewriteContext) -> Bool {
    guard node.inputs.count >= 3, let width = c.shape(node.inputs[0])?.dims.last, c.isFloat(node.inputs[0]), c.isFloat(node.inputs[1]),
      c.shape(node.inputs[0]) == c.shape(node.inputs[1]), node.outputs.count < 2 || node.outputs[1...].prefix(2).allSatisfy({ c.useCount($0) == 0 })
    else { return false }
    func given(_ i: Int) -> ValueID? { i < node.inputs.count && node.inputs[i] != .absent ? node.inputs[i] : nil }
    guard let gamma = given(2), c.constant(gamma) != nil else { return false }
    var x = node.inputs[0]
    if let bias = given(4) {
      guard c.isFloat(bias), let sum = c.core(.add, [x, bias], name: node.name + ".bias") else { return false }
      x = sum
    }
    // ONNX Runtime adds the skip to the sum with the bias; the order of two operands changes nothing.
    guard let sum = c.core(.add, [x, node.inputs[1]], name: node.name + ".sum", as: node.outputs.count > 3 ? node.outputs[3] : nil) else { return false }
    let beta = given(3) ?? c.constant(node.name + ".beta", Tensor([Float](repeating: 0, count: width), shape: [width]))
    return c.core(.layerNorm(epsilon: Double(op.float("epsilon") ?? 1e-12)), [sum, gamma, beta], name: node.name, as: node.output) != nil
  }
}
