// Shape rules of foreign operators: attention and rotary positions of ONNX's own domain, and com.microsoft's RotaryEmbedding. The other operators of
// com.microsoft: GenericShape+MicrosoftAttention.swift.

public import DinoTensor

/// The sizes of an attention: queries [batch, heads, queries, size], keys and values [batch, keyHeads, keys, size or valueSize].
public struct AttentionSizes: Sendable {
  public var batch: Int, heads: Int, keyHeads: Int, queries: Int
  /// Keys of the past come first; `keys` counts them too.
  public var past: Int, keys: Int
  public var size: Int, valueSize: Int
  /// Whether heads lie beside each other in the last axis, [batch, queries, heads · size].
  public var packed: Bool
}

extension GenericRule {
  func attention(_ kind: AttentionKind) throws(GenericProblem) -> [ValueFact] {
    switch kind {
    case .attention: return try attention()
    case .rotaryEmbedding, .microsoftRotary:
      let x = try rotary(kind)
      return [ValueFact(dtype: x.dtype, shape: x.shape)]
    case .microsoftAttention, .quantized: return try microsoftAttention(kind)
    case .multiHead: return try multiHeadAttention()
    }
  }

  /// The names that the results have: more than the node asks for are not promised.
  func asked(_ facts: [ValueFact]) -> [ValueFact] { Array(facts.prefix(Swift.max(outputs, 1))) }

  private func attention() throws(GenericProblem) -> [ValueFact] {
    guard op.version >= 23 else { throw .invalid("Attention is no operator of set \(op.version)") }
    try atMost(op.version < 24 ? 6 : 7)
    let q = try input(0, TypeSet.floats), k = try input(1, TypeSet.floats), v = try input(2, TypeSet.floats)
    try same(q, k)
    let mask = try optional(3, TypeSet.floats + [.bool])
    let pastKey = optional(4), pastValue = optional(5), lengths = try optional(6, [.i64])
    guard (pastKey == nil) == (pastValue == nil) else { throw .invalid("Attention has only one of past_key and past_value") }
    if let pastKey { try same(pastKey, k) }
    if let pastValue { try same(pastValue, v) }
    if lengths != nil, pastKey != nil { throw .invalid("Attention has nonpad_kv_seqlen beside a past") }
    guard (0...3).contains(op.int("qk_matmul_output_mode") ?? 0) else { throw .invalid("Attention has qk_matmul_output_mode=\(op.int("qk_matmul_output_mode") ?? 0)") }
    for name in ["left_window_size", "right_window_size"] {
      if op.version >= 25, let size = op.int(name), size < -1 { throw .invalid("Attention has \(name)=\(size)") }
    }
    guard let a = q.shape, let b = k.shape, let c = v.shape, pastKey == nil || (pastKey?.shape != nil && pastValue?.shape != nil) else {
      return asked([ValueFact(dtype: q.dtype, shape: nil), ValueFact(dtype: k.dtype, shape: nil), ValueFact(dtype: v.dtype, shape: nil),
                    ValueFact(dtype: q.dtype, shape: nil)])
    }
    let s = try op.attentionSizes(a, b, c, pastKey: pastKey?.shape, pastValue: pastValue?.shape)
    if let shape = mask?.shape { try checkMask(shape, s) }
    if let shape = lengths?.shape, shape != [s.batch] { throw .invalid("Attention has nonpad_kv_seqlen of shape \(shape) for a batch of \(s.batch)") }
    let y: Shape = s.packed ? [s.batch, s.queries, try times(s.heads, s.valueSize)] : [s.batch, s.heads, s.queries, s.valueSize]
    return asked([
      ValueFact(dtype: q.dtype, shape: y), ValueFact(dtype: k.dtype, shape: [s.batch, s.keyHeads, s.keys, s.size]),
      ValueFact(dtype: v.dtype, shape: [s.batch, s.keyHeads, s.keys, s.valueSize]), ValueFact(dtype: q.dtype, shape: [s.batch, s.heads, s.queries, s.keys]),
    ])
  }

  private func checkMask(_ mask: Shape, _ s: AttentionSizes) throws(GenericProblem) {
    let target = [s.batch, s.heads, s.queries, s.keys]
    guard mask.rank >= 1, mask.rank <= 4 else { throw .invalid("Attention has a mask of shape \(mask)") }
    for (i, n) in mask.dims.enumerated() {
      let axis = i + 4 - mask.rank
      if axis < 3 {
        guard n == 1 || n == target[axis] else { throw .invalid("Attention cannot broadcast its mask of shape \(mask) to \(Shape(target))") }
      } else {
        guard n <= s.keys else { throw .invalid("Attention has a mask of shape \(mask) for \(s.keys) keys") }
        // One column is spread by one reading of the definition and padded by another.
        if n == 1, s.keys > 1 { throw .unsupported("Attention with a mask of one column for \(s.keys) keys is ambiguous") }
      }
    }
  }

  private func rotary(_ kind: AttentionKind) throws(GenericProblem) -> ValueFact {
    if kind == .rotaryEmbedding, op.version < 23 { throw .invalid("RotaryEmbedding is no operator of set \(op.version)") }
    try atMost(4)
    let microsoft = kind == .microsoftRotary, x = try input(0, [.f32, .f16, .bf16])
    let cos = try input(microsoft ? 2 : 1), sin = try input(microsoft ? 3 : 2)
    try same(x, cos)
    try same(x, sin)
    let positions = microsoft ? try input(1, [.i64]) : try optional(3, [.i64])
    guard let shape = x.shape, let c = cos.shape, let s = sin.shape else { return x }
    guard c == s else { throw .invalid("\(op.kind.name) has caches of different shapes, \(c) and \(s)") }
    if let positions { if let p = positions.shape { _ = try op.rotarySizes(shape, cache: c, positions: p) } } else { _ = try op.rotarySizes(shape, cache: c, positions: nil) }
    return x
  }
}

/// The sizes of a rotary embedding.
public struct RotarySizes: Sendable {
  public var batch: Int, heads: Int, count: Int, size: Int
  /// How many of a head's elements turn.
  public var turning: Int
  public var packed: Bool
}

extension Generic {
  public func attentionSizes(_ q: Shape, _ k: Shape, _ v: Shape, pastKey: Shape?, pastValue: Shape?) throws(GenericProblem) -> AttentionSizes {
    let shapes = "\(q), \(k) and \(v)"
    var s: AttentionSizes
    guard q.rank == k.rank, k.rank == v.rank, q.rank == 3 || q.rank == 4, q.dims[0] == k.dims[0], k.dims[0] == v.dims[0] else {
      throw .invalid("Attention has queries, keys and values of shapes \(shapes)")
    }
    let keyExtent: Int, keySize: Int
    if q.rank == 3 {
      guard let heads = int("q_num_heads"), let keyHeads = int("kv_num_heads"), heads > 0, keyHeads > 0, q.dims[2] % heads == 0, k.dims[2] % keyHeads == 0,
            v.dims[2] % keyHeads == 0, k.dims[1] == v.dims[1] else {
        throw .invalid("Attention cannot divide \(shapes) into heads, q_num_heads=\(int("q_num_heads") ?? 0) and kv_num_heads=\(int("kv_num_heads") ?? 0)")
      }
      s = AttentionSizes(batch: q.dims[0], heads: heads, keyHeads: keyHeads, queries: q.dims[1], past: 0, keys: 0, size: q.dims[2] / heads,
                         valueSize: v.dims[2] / keyHeads, packed: true)
      (keyExtent, keySize) = (k.dims[1], k.dims[2] / keyHeads)
    } else {
      guard k.dims[1] == v.dims[1], k.dims[2] == v.dims[2] else { throw .invalid("Attention has queries, keys and values of shapes \(shapes)") }
      if let given = int("q_num_heads"), given != q.dims[1] { throw .invalid("Attention has q_num_heads=\(given) for queries of shape \(q)") }
      if let given = int("kv_num_heads"), given != k.dims[1] { throw .invalid("Attention has kv_num_heads=\(given) for keys of shape \(k)") }
      s = AttentionSizes(batch: q.dims[0], heads: q.dims[1], keyHeads: k.dims[1], queries: q.dims[2], past: 0, keys: 0, size: q.dims[3],
                         valueSize: v.dims[3], packed: false)
      (keyExtent, keySize) = (k.dims[2], k.dims[3])
    }
    guard keySize == s.size else { throw .invalid("Attention has heads of different sizes in queries and keys, \(shapes)") }
    guard s.heads == s.keyHeads || (s.keyHeads > 0 && s.heads % s.keyHeads == 0) else {
      throw .invalid("Attention cannot share \(s.keyHeads) heads of keys among \(s.heads) heads of queries")
    }
    if let pastKey, let pastValue {
      guard pastKey.rank == 4, pastValue.rank == 4, pastKey.dims[0] == s.batch, pastKey.dims[1] == s.keyHeads, pastKey.dims[3] == s.size,
            pastValue.dims[0] == s.batch, pastValue.dims[1] == s.keyHeads, pastValue.dims[3] == s.valueSize, pastKey.dims[2] == pastValue.dims[2] else {
        throw .invalid("Attention has a past of shapes \(pastKey) and \(pastValue) for \(shapes)")
      }
      s.past = pastKey.dims[2]
    }
    let (keys, overflow) = s.past.addingReportingOverflow(keyExtent)
    guard !overflow else { throw .invalid("Attention has impossibly many keys") }
    s.keys = keys
    return s
  }

  public func rotarySizes(_ x: Shape, cache: Shape, positions: Shape?) throws(GenericProblem) -> RotarySizes {
    let name = kind.name, microsoft = kind == .attention(.microsoftRotary)
    if microsoft {
      guard (int("is_packed_batching") ?? 0) == 0 else { throw .unsupported("\(name) with is_packed_batching is not computed here") }
      guard (float("scale") ?? 1) == 1 else { throw .unsupported("\(name) with a scale is not computed here") }
    }
    guard x.rank == 3 || x.rank == 4, cache.rank >= 1 else { throw .invalid("\(name) has data of shape \(x) and caches of shape \(cache)") }
    let given = int("rotary_embedding_dim") ?? 0, half = cache.dims[cache.rank - 1]
    var heads = int("num_heads") ?? 0
    if x.rank == 4 { heads = x.dims[1] } else if microsoft, heads == 0, given == 0, half > 0, half < 1 << 40 { heads = x.dims[2] / (2 * half) }
    guard x.rank == 4 || (heads > 0 && x.dims[2] % heads == 0) else { throw .invalid("\(name) cannot divide \(x) into \(heads) heads") }
    let size = x.rank == 4 ? x.dims[3] : x.dims[2] / heads, turning = given == 0 ? size : given
    guard turning >= 0, turning <= size, turning % 2 == 0, half == turning / 2 else {
      throw .invalid("\(name) turns \(turning) of the \(size) elements of a head by caches of shape \(cache)")
    }
    let s = RotarySizes(batch: x.dims[0], heads: heads, count: x.rank == 4 ? x.dims[2] : x.dims[1], size: size, turning: turning, packed: x.rank == 3)
    if let positions {
      guard cache.rank == 2 else { throw .invalid("\(name) has caches of shape \(cache) beside positions") }
      guard positions == [s.batch, s.count] || (microsoft && positions == [1]) else { throw .invalid("\(name) has positions of shape \(positions) for data of shape \(x)") }
    } else {
      guard cache.rank == 3, cache.dims[0] == s.batch, cache.dims[1] == s.count else { throw .invalid("\(name) has caches of shape \(cache) for data of shape \(x)") }
    }
    return s
  }
}
