// Plain twins of foreign operators: attention. Here ONNX's own Attention; the others are in RotaryOperators.swift and MicrosoftAttentionOperators.swift.
//
// F16 and BF16 are computed in F32 and rounded once, whatever softmax_precision asks: never less exact than it asks for.

import DinoGraph
import DinoTensor

extension OperatorCall {
  func attention(_ kind: AttentionKind) throws(GenericProblem) -> [Tensor] {
    switch kind {
    case .attention:
      let types = [try input(0).dtype, try input(2).dtype], double = types.contains(.f64)
      // ONNX's definition rounds to BF16 after each of its operators; one rounding at the end gives other numbers.
      if types.contains(.bf16) { throw .unsupported("Attention of BF16") }
      return double ? try attention(Double.self, .f64) : try attention(Float.self, .f32)
    case .rotaryEmbedding, .microsoftRotary: return [try rotary()]
    case .microsoftAttention, .quantized: return try microsoftAttention()
    case .multiHead: return try multiHeadAttention()
    }
  }

  private func attention<T: FloatElement>(_ type: T.Type, _ wide: DType) throws(GenericProblem) -> [Tensor] {
    let facts = try inferred()
    let givenK = try input(1), givenV = try input(2), givenQ = try input(0)
    let s = try op.attentionSizes(givenQ.shape, givenK.shape, givenV.shape, pastKey: optional(4)?.shape, pastValue: optional(5)?.shape)
    let present = try (s.packed ? givenK.splitHeads(s.keyHeads) : givenK).appended(to: optional(4), axis: 2, context)
    let presentValue = try (s.packed ? givenV.splitHeads(s.keyHeads) : givenV).appended(to: optional(5), axis: 2, context)
    let q = try (s.packed ? givenQ.splitHeads(s.heads) : givenQ).cast(to: wide).aligned()

    let mask = try AttentionMask<T>(optional(3), s, wide)
    let offsets = try frontier(s), causal = (op.int("is_causal") ?? 0) != 0, lengths = try optional(6)?.int64s()
    let left = op.version >= 25 ? op.int("left_window_size") ?? -1 : -1, right = op.version >= 25 ? op.int("right_window_size") ?? -1 : -1
    // Beyond the number of keys all windows are alike; so no sum overflows.
    let far = s.keys + s.queries
    let leftWindow = left > far ? -1 : left, rightWindow = right > far ? -1 : right

    var core = AttentionCore(sizes: s, scale: Double(op.float("scale") ?? Float(1 / Double(Swift.max(s.size, 1)).squareRoot())), softcap: Double(op.float("softcap") ?? 0))
    if outputs > 3 { core.scoresMode = op.int("qk_matmul_output_mode") ?? 0 }
    let (y, scores) = try core.run(T.self, q: q, k: try present.cast(to: wide), v: try presentValue.cast(to: wide), team: context.team) { b, h, i, row in
      mask?.add(b, h, i, row)
      let p = i + offsets[b]
      if causal, p + 1 < s.keys { hide(row, Swift.max(p + 1, 0)..<s.keys) }
      if leftWindow >= 0, p - leftWindow > 0 { hide(row, 0..<Swift.min(p - leftWindow, s.keys)) }
      if rightWindow >= 0, p + rightWindow + 1 < s.keys { hide(row, Swift.max(p + rightWindow + 1, 0)..<s.keys) }
      if let lengths, lengths[b] < s.keys { hide(row, Swift.max(lengths[b], 0)..<s.keys) }
    }
    var results = [try (s.packed ? y.joinedHeads() : y).cast(to: givenQ.dtype), present, presentValue]
    if let scores { results.append(try scores.cast(to: givenQ.dtype)) }
    return Array(results.prefix(facts.count))
  }

  /// How many keys come before the first query, for each member of the batch.
  private func frontier(_ s: AttentionSizes) throws(GenericProblem) -> [Int] {
    guard let lengths = try optional(6)?.int64s() else { return [Int](repeating: s.past, count: s.batch) }
    guard lengths.allSatisfy({ $0 >= 0 && $0 <= s.keys }) else { throw .invalid("Attention has nonpad_kv_seqlen beyond its \(s.keys) keys") }
    return lengths.map { $0 - s.queries }
  }
}

private func hide<T: FloatElement>(_ row: UnsafeMutablePointer<T>, _ range: Range<Int>) { for j in range { row[j] = -T.infinity } }

/// The mask that a node gives, read a row at a time.
private struct AttentionMask<T: FloatElement> {
  let values: [T]
  let steps: [Int]
  let columns: Int, keys: Int

  init?(_ mask: Tensor?, _ s: AttentionSizes, _ wide: DType) throws(GenericProblem) {
    guard let mask else { return nil }
    if mask.dtype == .bool {
      values = try mask.elements(UInt8.self).map { $0 != 0 ? 0 : -T.infinity }
    } else {
      values = try mask.cast(to: wide).elements(T.self)
    }
    let dims = [Int](repeating: 1, count: 4 - mask.shape.rank) + mask.shape.dims, strides = Shape(dims).strides
    steps = (0..<3).map { dims[$0] == 1 ? 0 : strides[$0] }
    columns = dims[3]
    keys = s.keys
  }

  /// Keys beyond the mask's last column are hidden.
  func add(_ b: Int, _ h: Int, _ i: Int, _ row: UnsafeMutablePointer<T>) {
    let start = b * steps[0] + h * steps[1] + i * steps[2]
    for j in 0..<columns { row[j] += values[start + j] }
    for j in columns..<keys { row[j] = -T.infinity }
  }
}
