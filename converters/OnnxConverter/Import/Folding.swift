// What follows from constants and shapes alone is computed once, here, by the operators' own twins. Large weights that are only transposed are left: recognition
// takes them as they lie in the file, without a copy.

internal import DinoGraph
internal import DinoOperators
internal import DinoTensor

enum Folding {
  /// Largest result that is computed ahead, in bytes: the weights of a large network's layer, dequantized.
  private static let resultLimit = 1 << 30
  /// Matrices above this many elements are not transposed ahead.
  private static let transposeLimit = 4096

  /// The results of a node, or nil where they are not known before running (or not worth it).
  static func evaluate(_ op: Generic, _ inputs: [ValueFact?], _ results: [ValueFact], outputs: Int, transposes: Bool = false) throws(GenericProblem) -> [Tensor]? {
    if case .layout(.shape) = op.kind { return try shape(op, inputs) }
    if case .layout(.size) = op.kind {
      guard let n = inputs.first??.shape?.checkedCount else { return nil }
      return [Tensor.copy([Int64(n)], dtype: .i64, shape: [])]
    }
    var values: [Tensor?] = []
    for input in inputs {
      guard let input else {
        values.append(nil)
        continue
      }
      guard let value = input.value else { return nil }
      values.append(value)
    }
    guard !transposes, case .layout(.transpose) = op.kind, let x = values.first ?? nil, x.shape.rank == 2, x.count > transposeLimit else {
      var bytes = 0
      for result in results {
        guard let count = result.shape?.checkedCount, let size = result.dtype.byteCount(of: count) else { continue }
        bytes = max(bytes, size)
      }
      guard bytes <= resultLimit else { return nil }
      return try op.evaluate(values, outputs: outputs)
    }
    return nil
  }

  /// Shape needs only its input's shape, not its value.
  private static func shape(_ op: Generic, _ inputs: [ValueFact?]) throws(GenericProblem) -> [Tensor]? {
    guard let dims = inputs.first??.shape?.dims else { return nil }
    func bound(_ name: String, _ fallback: Int) -> Int {
      let n = op.int(name) ?? fallback
      return min(max(n < 0 ? n + dims.count : n, 0), dims.count)
    }
    let start = bound("start", 0), end = bound("end", dims.count)
    let part = start < end ? dims[start..<end].map(Int64.init) : []
    return [Tensor.copy(part, dtype: .i64, shape: [part.count])]
  }
}
