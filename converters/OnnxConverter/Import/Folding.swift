// What follows from constants and shapes alone is computed once, here, by the operators' own twins. Large weights that are only transposed are left: recognition
// takes them as they lie in the file, without a copy.

internal import DinoGraph
internal import DinoOperators
internal import DinoTensor

struct Folding {
  /// Matrices above this many elements are not transposed ahead.
  private static let transposeLimit = 4096
  /// Most multiplications that one node is computed ahead with.
  private static let workLimit = 4e9
  /// Bytes that results may still take: in proportion to the file, so that a small file cannot ask for much. Dequantized weights take four times theirs.
  private var budget: Int

  /// - Parameter fileBytes: what the file and its external data hold.
  init(fileBytes: Int) { budget = (64 << 20) + 8 * min(fileBytes, 1 << 40) }

  /// The results of a node, or nil where they are not known before running (or not worth it).
  mutating func evaluate(_ op: Generic, _ inputs: [ValueFact?], _ results: [ValueFact], outputs: Int) throws(GenericProblem) -> [Tensor]? {
    if case .layout(.shape) = op.kind { return try Self.shape(op, inputs) }
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
    if case .layout(.transpose) = op.kind, let x = values.first ?? nil, x.shape.rank == 2, x.count > Self.transposeLimit { return nil }
    var bytes = 0
    for result in results {
      // A shape that depends on data is that of few elements, by the operators that have one (NonZero, Compress).
      guard let count = result.shape?.checkedCount, let size = result.dtype.byteCount(of: count) else { continue }
      bytes = bytes.addingReportingOverflow(size).overflow ? .max : bytes + size
    }
    guard bytes <= budget, Self.work(op, values, results) <= Self.workLimit else { return nil }
    budget -= bytes
    return try op.evaluate(values, outputs: outputs)
  }

  /// Multiplications that a node takes at most, roughly.
  private static func work(_ op: Generic, _ values: [Tensor?], _ results: [ValueFact]) -> Double {
    let result = Double(results.first?.shape?.checkedCount ?? 0), largest = Double(values.compactMap { $0?.count }.max() ?? 0)
    switch op.kind {
    case .product(.matMul), .product(.matMulInteger), .product(.fusedMatMul): return result * Double(values.first??.shape.dims.last ?? 1)
    case .product, .convolution, .attention, .resampling(.gridSample), .quantization(.linearConv), .quantization(.linearMatMul), .quantization(.gemm): return result * largest
    case .resampling: return result * 1000
    default: return result + largest
    }
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
