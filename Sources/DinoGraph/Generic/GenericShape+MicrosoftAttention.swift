// Shape rules of foreign operators: com.microsoft's Attention, QAttention and MultiHeadAttention. Refused: rotary positions inside, shared buffers of past
// and present, the index form of masks with 3 · batch + 2 numbers, masks of rank 4, beam search.

public import DinoTensor

extension GenericRule {
  func microsoftAttention(_ kind: AttentionKind) throws(GenericProblem) -> [ValueFact] {
    let quantized = kind == .quantized
    try atMost(quantized ? 9 : 7)
    for name in ["do_rotary", "past_present_share_buffer"] {
      guard (op.int(name) ?? 0) == 0 else { throw .unsupported("\(op.kind.name) with \(name) is not computed here") }
    }
    let x = try input(0, quantized ? TypeSet.bytes : TypeSet.scales), w = try input(1, quantized ? TypeSet.bytes : TypeSet.scales)
    let target: DType = quantized ? .f32 : x.dtype
    if quantized {
      for i in [3, 4] { _ = try input(i, [.f32]) }
      if let zero = optional(6) { try same(x, zero) }
      if let zero = optional(7) { try same(w, zero) }
      if let shape = optional(6)?.shape, shape.checkedCount != 1 { throw .invalid("QAttention has zero points of shape \(shape)") }
      if let shape = optional(3)?.shape, shape.checkedCount != 1 { throw .invalid("QAttention has input scales of shape \(shape)") }
    } else {
      try same(x, w)
      if optional(6) != nil { throw .unsupported("\(op.kind.name) with past_sequence_length is not computed here") }
    }
    let bias = quantized ? try input(2, [target]) : try optional(2, [target])
    let mask = try optional(quantized ? 5 : 3, [.i32]), past = try optional(quantized ? 8 : 4, [target]), extra = quantized ? nil : try optional(5, [target])
    guard let a = x.shape, let b = w.shape, past == nil || past?.shape != nil else {
      return asked([ValueFact(dtype: target, shape: nil), ValueFact(dtype: target, shape: nil)])
    }
    let s = try op.microsoftSizes(a, b, past: past?.shape)
    if let shape = bias?.shape, shape != [b.dims[1]] { throw .invalid("\(op.kind.name) has a bias of shape \(shape) for weights of shape \(b)") }
    if quantized {
      for i in [4, 7] {
        if let shape = optional(i)?.shape, shape.checkedCount != 1, shape != [b.dims[1]] { throw .invalid("QAttention has scales or zero points of shape \(shape)") }
      }
    }
    if let shape = mask?.shape { try checkMicrosoftMask(shape, s) }
    if let shape = extra?.shape { try checkBias(shape, s) }
    guard outputs < 2 || s.size == s.valueSize else { throw .invalid("\(op.kind.name) has no one present for keys and values of different sizes") }
    return asked([ValueFact(dtype: target, shape: [s.batch, s.queries, s.heads * s.valueSize]),
                  ValueFact(dtype: target, shape: [2, s.batch, s.heads, s.keys, s.size])])
  }

  func multiHeadAttention() throws(GenericProblem) -> [ValueFact] {
    try atMost(8)
    guard outputs <= 3 else { throw .unsupported("\(op.kind.name) that gives its scores is not computed here") }
    let q = try input(0, TypeSet.scales)
    for i in [1, 2, 3, 5, 6, 7] { if let fact = optional(i) { try same(fact, q) } }
    let mask = try optional(4, [.i32])
    guard (optional(6) == nil) == (optional(7) == nil) else { throw .invalid("\(op.kind.name) has only one of past_key and past_value") }
    for i in [0, 1, 2, 6, 7] {
      if let fact = optional(i), fact.shape == nil { return asked([ValueFact](repeating: ValueFact(dtype: q.dtype, shape: nil), count: 3)) }
    }
    let s = try op.multiHeadSizes(inputs.map { $0?.shape })
    if let shape = optional(3)?.shape {
      guard q.shape?.rank == 3, let k = optional(1)?.shape, k.rank == 3 else { throw .unsupported("\(op.kind.name) with a bias for packed inputs is not computed here") }
      guard shape == [s.heads * (2 * s.size + s.valueSize)] else { throw .invalid("\(op.kind.name) has a bias of shape \(shape)") }
    }
    if let shape = mask?.shape { try checkMicrosoftMask(shape, s) }
    if let shape = optional(5)?.shape { try checkBias(shape, s) }
    return asked([ValueFact(dtype: q.dtype, shape: [s.batch, s.queries, s.heads * s.valueSize]),
                  ValueFact(dtype: q.dtype, shape: [s.batch, s.heads, s.keys, s.size]), ValueFact(dtype: q.dtype, shape: [s.batch, s.heads, s.keys, s.valueSize])])
  }

  private func checkMicrosoftMask(_ mask: Shape, _ s: AttentionSizes) throws(GenericProblem) {
    if mask == [s.batch] || mask == [s.batch, s.keys] || mask == [s.batch, s.queries, s.keys] { return }
    if mask == [2 * s.batch], op.kind != .attention(.multiHead) { return }
    let known = mask.rank == 4 || mask == [3 * s.batch + 2]
    throw GenericProblem(known ? .unsupported : .invalid, "\(op.kind.name) with a mask of shape \(mask) is not computed here")
  }

  private func checkBias(_ bias: Shape, _ s: AttentionSizes) throws(GenericProblem) {
    guard bias.rank == 4, [1, s.batch].contains(bias.dims[0]), [1, s.heads].contains(bias.dims[1]), bias.dims[2] == s.queries, bias.dims[3] == s.keys else {
      throw .invalid("\(op.kind.name) has an attention bias of shape \(bias)")
    }
  }
}

extension Generic {
  /// Sizes of com.microsoft's Attention and QAttention.
  public func microsoftSizes(_ x: Shape, _ w: Shape, past: Shape?) throws(GenericProblem) -> AttentionSizes {
    let name = kind.name, heads = int("num_heads") ?? 0
    guard x.rank == 3, w.rank == 2, x.dims[2] == w.dims[0], heads > 0 else { throw .invalid("\(name) has data of shape \(x), weights of shape \(w) and \(heads) heads") }
    let given = ints("qkv_hidden_sizes") ?? [], hidden = given.isEmpty ? [Int](repeating: w.dims[1] / 3, count: 3) : given
    guard hidden.count == 3, hidden.allSatisfy({ $0 >= 0 && $0 <= w.dims[1] && $0 % heads == 0 }), hidden[0] == hidden[1], hidden.reduce(0, +) == w.dims[1] else {
      throw .invalid("\(name) cannot divide weights of shape \(w) into queries, keys and values of \(heads) heads")
    }
    var s = AttentionSizes(batch: x.dims[0], heads: heads, keyHeads: heads, queries: x.dims[1], past: 0, keys: x.dims[1], size: hidden[0] / heads,
                           valueSize: hidden[2] / heads, packed: true)
    if let past {
      guard past.rank == 5, past.dims[0] == 2, past.dims[1] == s.batch, past.dims[2] == heads, past.dims[4] == s.size, s.size == s.valueSize, past.dims[3] < 1 << 40 else {
        throw .invalid("\(name) has a past of shape \(past)")
      }
      s.past = past.dims[3]
      s.keys += s.past
    }
    return s
  }

  /// Sizes of MultiHeadAttention from the shapes of its inputs, all known.
  public func multiHeadSizes(_ shapes: [Shape?]) throws(GenericProblem) -> AttentionSizes {
    func shape(_ i: Int) -> Shape? { i < shapes.count ? shapes[i] : nil }
    let name = kind.name, heads = int("num_heads") ?? 0, k = shape(1), v = shape(2)
    guard let q = shape(0), heads > 0, q.rank == 3 || q.rank == 5 else { throw .invalid("\(name) needs queries of three or five axes, and heads") }
    let problem = GenericProblem.invalid("\(name) has inputs of shapes that do not fit: \(shapes.map { $0?.description ?? "none" }.joined(separator: ", "))")
    var s = AttentionSizes(batch: q.dims[0], heads: heads, keyHeads: heads, queries: q.dims[1], past: 0, keys: 0, size: 0, valueSize: 0, packed: true)
    if q.rank == 5 {
      guard k == nil, v == nil, q.dims[2] == heads, q.dims[3] == 3 else { throw problem }
      (s.keys, s.size, s.valueSize) = (q.dims[1], q.dims[4], q.dims[4])
    } else {
      guard q.dims[2] % heads == 0, let k, k.rank >= 3, k.dims[0] == s.batch else { throw problem }
      s.size = q.dims[2] / heads
      switch (k.rank, v?.rank) {
      case (5, nil):
        guard k.dims[2] == heads, k.dims[3] == 2, k.dims[4] == s.size else { throw problem }
        (s.keys, s.valueSize) = (k.dims[1], s.size)
      case (3, 3):
        guard let v, v.dims[0] == s.batch, v.dims[1] == k.dims[1], k.dims[2] == q.dims[2], v.dims[2] % heads == 0 else { throw problem }
        (s.keys, s.valueSize) = (k.dims[1], v.dims[2] / heads)
      case (4, 4):
        guard let v, k.dims[1] == heads, k.dims[3] == s.size, v.dims[0] == s.batch, v.dims[1] == heads, v.dims[2] == k.dims[2] else { throw problem }
        (s.keys, s.valueSize) = (k.dims[2], v.dims[3])
      default: throw problem
      }
    }
    if let pastKey = shape(6), let pastValue = shape(7) {
      guard pastKey.rank == 4, pastValue.rank == 4, pastKey.dims[0] == s.batch, pastKey.dims[1] == heads, pastKey.dims[3] == s.size, pastValue.dims[0] == s.batch,
            pastValue.dims[1] == heads, pastValue.dims[3] == s.valueSize, pastKey.dims[2] == pastValue.dims[2], pastKey.dims[2] < 1 << 40, s.keys < 1 << 40 else { throw problem }
      s.past = pastKey.dims[2]
      s.keys += s.past
    }
    return s
  }
}
