// Shape rules of foreign operators with windows over the spatial axes of [N, C, …].

internal import DinoTensor

extension GenericRule {
  func convolution(_ kind: ConvolutionKind) throws(GenericProblem) -> [ValueFact] {
    let x = try input(0)
    switch kind {
    case .conv, .fusedConv: return [ValueFact(dtype: x.dtype, shape: try convolved(x, try input(1)))]
    case .convInteger:
      guard [.u8, .i8].contains(x.dtype) else { throw .invalid("ConvInteger reads U8 and I8, not \(x.dtype.rawValue)") }
      return [ValueFact(dtype: .i32, shape: try convolved(x, try input(1)))]
    case .convTranspose: return [ValueFact(dtype: x.dtype, shape: try transposed(x, try input(1)))]
    case .maxPool, .averagePool, .lpPool:
      guard let shape = x.shape else { return pooled(x.dtype, nil) }
      guard shape.rank >= 3 else { throw .invalid("\(op.kind.name) needs [N, C, …], not \(shape)") }
      return pooled(x.dtype, Shape(shape.dims[..<2] + (try SpatialWindow(op, input: Array(shape.dims[2...]))).output))
    case .globalAveragePool, .globalMaxPool:
      guard let shape = x.shape else { return [ValueFact(dtype: x.dtype, shape: nil)] }
      guard shape.rank >= 2 else { throw .invalid("\(op.kind.name) needs [N, C, …], not \(shape)") }
      return [ValueFact(dtype: x.dtype, shape: Shape(shape.dims[..<2] + Array(repeating: 1, count: shape.rank - 2)))]
    }
  }

  private func pooled(_ dtype: DType, _ shape: Shape?) -> [ValueFact] {
    [ValueFact(dtype: dtype, shape: shape)] + (outputs > 1 ? [ValueFact(dtype: .i64, shape: shape)] : [])
  }

  /// Groups, checked against the channels of x and w.
  private func groups(_ x: Shape, _ w: Shape) throws(GenericProblem) -> Int {
    let g = op.int("group") ?? 1
    guard x.rank >= 3, w.rank == x.rank, g > 0, x[1] % g == 0 else { throw .invalid("\(op.kind.name) in \(g) groups does not fit an input \(x) and a weight \(w)") }
    return g
  }

  private func convolved(_ x: ValueFact, _ w: ValueFact) throws(GenericProblem) -> Shape? {
    guard let shape = x.shape, let weight = w.shape else { return nil }
    let g = try groups(shape, weight)
    guard weight[1] == shape[1] / g, weight[0] % g == 0 else { throw .invalid("\(op.kind.name) in \(g) groups does not fit an input \(shape) and a weight \(weight)") }
    return Shape([shape[0], weight[0]] + (try SpatialWindow(op, input: Array(shape.dims[2...]), kernel: Array(weight.dims[2...]))).output)
  }

  private func transposed(_ x: ValueFact, _ w: ValueFact) throws(GenericProblem) -> Shape? {
    guard let shape = x.shape, let weight = w.shape else { return nil }
    let g = try groups(shape, weight)
    guard weight[0] == shape[1] else { throw .invalid("ConvTranspose does not fit an input \(shape) and a weight \(weight)") }
    let (channels, overflow) = weight[1].multipliedReportingOverflow(by: g)
    guard !overflow else { throw .invalid("ConvTranspose has too many channels") }
    return Shape([shape[0], channels] + (try TransposedWindow(op, input: Array(shape.dims[2...]), kernel: Array(weight.dims[2...]))).output)
  }
}

/// The extents of a transposed convolution.
public struct TransposedWindow: Sendable, Equatable {
  public var kernel: [Int]
  public var strides: [Int]
  public var dilations: [Int]
  public var before: [Int]
  public var output: [Int]

  public init(_ op: Generic, input: [Int], kernel: [Int]) throws(GenericProblem) {
    let rank = input.count
    func list(_ key: String, _ fallback: Int, least: Int) throws(GenericProblem) -> [Int] {
      let values = op.ints(key) ?? Array(repeating: fallback, count: rank)
      guard values.count == rank, values.allSatisfy({ $0 >= least && $0 <= 1 << 31 }) else { throw .invalid("ConvTranspose: \(key) \(values) does not fit \(rank) spatial axes") }
      return values
    }
    self.kernel = kernel
    strides = try list("strides", 1, least: 1)
    dilations = try list("dilations", 1, least: 1)
    let extra = try list("output_padding", 0, least: 0)
    before = Array(repeating: 0, count: rank)
    output = before
    let auto = op.string("auto_pad") ?? "NOTSET"
    var pads = op.ints("pads") ?? Array(repeating: 0, count: 2 * rank)
    guard pads.count == 2 * rank, pads.allSatisfy({ $0 >= 0 && $0 <= 1 << 31 }), kernel.allSatisfy({ $0 > 0 }) else { throw .invalid("ConvTranspose: pads \(pads) do not fit \(rank) spatial axes") }
    if auto != "NOTSET" { pads = Array(repeating: 0, count: 2 * rank) }
    let wanted = op.ints("output_shape").map { Array($0.suffix(rank)) }
    if let wanted, wanted.count != rank || wanted.contains(where: { $0 < 1 }) { throw .invalid("ConvTranspose: output_shape \(wanted) does not fit \(rank) spatial axes") }
    for i in 0..<rank {
      let full = strides[i] * (input[i] - 1) + extra[i] + (kernel[i] - 1) * dilations[i] + 1
      if wanted != nil || auto.hasPrefix("SAME") {
        output[i] = wanted?[i] ?? input[i] * strides[i]
        let total = max(full - output[i], 0)
        before[i] = auto == "SAME_UPPER" ? total / 2 : total - total / 2
      } else {
        before[i] = pads[i]
        output[i] = full - pads[i] - pads[rank + i]
      }
      guard output[i] > 0 || input[i] == 0 else { throw .invalid("ConvTranspose leaves nothing of \(input[i]) elements") }
      output[i] = max(output[i], 0)
    }
  }
}
