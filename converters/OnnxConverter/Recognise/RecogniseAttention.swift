// Multi-head self-attention written out: softmax(q kᵀ · scale) v, with q, k and v cut out of one value or of three, in whatever way, and the scale on the scores,
// on q, or divided between q and k (ANCHORS 4.5). How the cutting is spelled does not matter: only where the elements lie.

internal import DinoGraph
internal import DinoTensor

struct RecogniseAttention: RecognitionRule {
  let name = "attention"

  func rewrite(_ node: Node, _ c: inout RewriteContext) -> Bool {
    guard case .generic(let op) = node.op, case .layout = op.kind, let out = c.shape(node.output), out.rank == 3, let joined = c.moved(node.output, by: node),
      let (kind, _, product) = c.generic(joined.root), kind == .product(.matMul), let mixed = c.shape(joined.root), let d = mixed.dims.last
    else { return false }
    // [B, T, h, d] as it lies in the product, [B, h, T, d] or [B·h, T, d].
    let b = out[0], t = out[1], h = out[2] / max(d, 1)
    guard h > 0, out[2] == h * d, let apart = joined.reshaped([b, t, h, d]), apart.offset == 0, apart.matches([h * t * d, d, t * d, 1]),
      let softmax = AttentionScores.softmax(product.inputs[0], c), let scores = AttentionScores(softmax, batch: b, &c), scores.dims == [b, h, t, d],
      let v = scores.values(product.inputs[1], &c), let inputs = scores.operands(v, node.name, &c)
    else { return false }
    return c.core(.attention(heads: h, scale: Double(scores.scale)), inputs, name: node.name, as: node.output) != nil
  }
}

/// The softmax itself, where somebody reads it ⇒ attention weights.
struct RecogniseAttentionWeights: RecognitionRule {
  let name = "attention-weights"

  func rewrite(_ node: Node, _ c: inout RewriteContext) -> Bool {
    guard case .generic(let op) = node.op, AttentionScores.isOverLastAxis(op, rank: c.shape(node.output)?.rank), c.shape(node.output)?.rank == 4,
      let batch = c.shape(node.output)?[0], let scores = AttentionScores(node.inputs[0], batch: batch, &c), let inputs = scores.operands(nil, node.name, &c)
    else { return false }
    return c.core(.attentionWeights(heads: scores.dims[1], scale: Double(scores.scale), firstRowOnly: false), inputs, name: node.name, as: node.output) != nil
  }
}

/// q kᵀ · scale of all heads.
private struct AttentionScores {
  /// B, h, T, d.
  var dims: [Int]
  var scale: Float
  var q: Part
  var k: Part

  /// Where one of q, k, v lies: columns [column, column + h·d) of a value [B, T, W].
  struct Part {
    var root: ValueID
    var width: Int
    var column: Int
    /// Rotary positions on it.
    var rotary: RotaryPattern?
  }

  static func isOverLastAxis(_ op: Generic, rank: Int?) -> Bool {
    guard op.kind == .normalization(.softmax), let rank else { return false }
    let axis = op.int("axis") ?? (op.version >= 13 ? -1 : 1)
    return axis == -1 || axis == rank - 1
  }

  /// What a softmax over the last axis reads.
  static func softmax(_ id: ValueID, _ c: RewriteContext) -> ValueID? {
    guard let (_, op, node) = c.generic(id), isOverLastAxis(op, rank: c.shape(id)?.rank) else { return nil }
    return node.inputs[0]
  }

  /// - Parameter scores: what the softmax reads, [B, h, T, T] or [B·h, T, T].
  init?(_ scores: ValueID, batch b: Int, _ c: inout RewriteContext) {
    var scale: Float = 1
    let bare = Self.withoutScale(scores, c, &scale)
    guard let (kind, _, product) = c.generic(bare), kind == .product(.matMul), let shape = c.shape(bare), shape.rank == 4 || shape.rank == 3, shape[-1] == shape[-2],
      shape[-1] > 0, b > 0, let d = c.shape(product.inputs[0])?.dims.last, d > 0
    else { return nil }
    let t = shape[-1], h = shape.count / (b * t * t)
    guard shape.count == b * h * t * t, shape.rank == 3 || shape[0] == b else { return nil }
    dims = [b, h, t, d]
    guard let q = Self.part(product.inputs[0], dims: [b, h, t, d], keysAlong: false, &c, &scale),
      let k = Self.part(product.inputs[1], dims: [b, h, d, t], keysAlong: true, &c, &scale)
    else { return nil }
    self.scale = scale
    self.q = q
    self.k = k
  }

  func values(_ id: ValueID, _ c: inout RewriteContext) -> Part? {
    var scale: Float = 1
    guard let part = Self.part(id, dims: dims, keysAlong: false, &c, &scale), scale == 1, part.rotary == nil else { return nil }
    return part
  }

  /// The inputs of an attention operator: one value that holds q, k, v side by side, or one for each.
  func operands(_ v: Part?, _ name: String, _ c: inout RewriteContext) -> [ValueID]? {
    let width = dims[1] * dims[3]
    let parts = [q, k] + (v.map { [$0] } ?? [])
    if parts.allSatisfy({ $0.root == q.root && $0.width == 3 * width }), q.column == 0, k.column == width, v.map({ $0.column == 2 * width }) ?? true {
      guard q.rotary?.cos == k.rotary?.cos, q.rotary?.sin == k.rotary?.sin else { return nil }
      return rotated(q.root, q.rotary, columns: 2 * width, name + ".rotary", &c).map { [$0] }
    }
    guard parts.allSatisfy({ $0.width == width && $0.column == 0 }), let q = rotated(q.root, q.rotary, columns: width, name + ".q.rotary", &c),
      let k = rotated(k.root, k.rotary, columns: width, name + ".k.rotary", &c)
    else { return nil }
    return [q, k, v?.root ?? k]
  }

  /// A value with rotary positions on its first columns, or as it is.
  private func rotated(_ x: ValueID, _ rotary: RotaryPattern?, columns: Int, _ name: String, _ c: inout RewriteContext) -> ValueID? {
    guard let rotary else { return x }
    let shape: Shape = [dims[2], dims[3]]
    let cos = c.constant(name + ".cos", Tensor(rotary.cos, shape: shape)), sin = c.constant(name + ".sin", Tensor(rotary.sin, shape: shape))
    return c.core(.rotary(columns: columns), [x, cos, sin], name: name)
  }

  /// Factors on a value, taken off.
  private static func withoutScale(_ id: ValueID, _ c: RewriteContext, _ scale: inout Float) -> ValueID {
    var id = id
    while true {
      if let (value, s) = c.withScalar(id, .mul) {
        scale *= s
        id = value
      } else if let (kind, _, node) = c.generic(id), kind == .arithmetic(.div), let s = c.scalar(node.inputs[1]), s != 0 {
        scale /= s
        id = node.inputs[0]
      } else {
        return id
      }
    }
  }

  /// Where a value of these extents ([B, h, T, d], or [B, h, d, T]) lies, factors taken off.
  private static func part(_ id: ValueID, dims: [Int], keysAlong: Bool, _ c: inout RewriteContext, _ scale: inout Float) -> Part? {
    guard var view = c.view(withoutScale(id, c, &scale))?.reshaped(dims) else { return nil }
    // A factor below the cutting: on the heads as they are, [B, h, T, d], which are cut out of something else again; or on the whole value that q is cut out of.
    let order = keysAlong ? [0, 1, 3, 2] : [0, 1, 2, 3], heads = order.map { dims[$0] }
    let bare = withoutScale(view.root, c, &scale)
    if bare != view.root, view == StridedView(whole: view.root, dims: heads).transposed(order) {
      return part(bare, dims: heads, keysAlong: false, &c, &scale)
    }
    view.root = bare
    if let rotary = RotaryPattern(view.root, &c) {
      // The rotation, too, is on heads as they are.
      guard view == StridedView(whole: view.root, dims: heads).transposed(order), var part = part(rotary.source, dims: heads, keysAlong: false, &c, &scale),
        part.rotary == nil
      else { return nil }
      part.rotary = rotary
      return part
    }
    let b = dims[0], t = dims[keysAlong ? 3 : 2], d = dims[keysAlong ? 2 : 3]
    guard let root = c.shape(view.root), root.rank == 3, root[0] == b, root[1] == t, c.isFloat(view.root) else { return nil }
    let w = root[2]
    guard view.offset + dims[1] * d <= w, view.matches(keysAlong ? [t * w, d, 1, w] : [t * w, d, w, 1]) else { return nil }
    return Part(root: view.root, width: w, column: view.offset)
  }
}
