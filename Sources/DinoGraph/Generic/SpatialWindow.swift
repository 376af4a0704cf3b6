// A window that moves over the spatial axes of [N, C, …]: kernel, strides, dilations and borders from the attributes that convolutions and pools share, and how many
// places it takes. The borders of `auto_pad` and the last place of `ceil_mode` are worked out here, once.

public struct SpatialWindow: Sendable, Equatable {
  public var kernel: [Int]
  public var strides: [Int]
  public var dilations: [Int]
  /// Borders before and after each axis.
  public var before: [Int]
  public var after: [Int]
  public var input: [Int]
  /// Places along each axis.
  public var output: [Int]

  /// - Parameter kernel: extents of the weight, where there is one; else the attribute `kernel_shape` is needed.
  public init(_ op: Generic, input: [Int], kernel given: [Int]? = nil) throws(GenericProblem) {
    let rank = input.count, name = op.kind.name
    func list(_ key: String, _ fallback: Int, least: Int) throws(GenericProblem) -> [Int] {
      let values = op.ints(key) ?? Array(repeating: fallback, count: rank)
      guard values.count == rank, values.allSatisfy({ $0 >= least && $0 <= 1 << 31 }) else { throw .invalid("\(name): \(key) \(values) does not fit \(rank) spatial axes") }
      return values
    }
    guard rank > 0 else { throw .invalid("\(name) needs a tensor with spatial axes") }
    if let given { kernel = given } else {
      guard op.ints("kernel_shape") != nil else { throw .invalid("\(name) has no kernel_shape") }
      kernel = try list("kernel_shape", 1, least: 1)
    }
    if let stated = op.ints("kernel_shape"), stated != kernel { throw .invalid("\(name): kernel_shape \(stated) is not that of the weight, \(kernel)") }
    guard kernel.count == rank, kernel.allSatisfy({ $0 > 0 && $0 <= 1 << 31 }) else { throw .invalid("\(name): a kernel of \(kernel) does not fit \(rank) spatial axes") }
    strides = try list("strides", 1, least: 1)
    dilations = try list("dilations", 1, least: 1)
    self.input = input
    before = Array(repeating: 0, count: rank)
    after = before
    output = before
    let auto = op.string("auto_pad") ?? "NOTSET", ceiling = op.int("ceil_mode") ?? 0 != 0
    if auto == "NOTSET", let pads = op.ints("pads") {
      guard pads.count == 2 * rank, pads.allSatisfy({ $0 >= 0 && $0 <= 1 << 31 }) else { throw .invalid("\(name): pads \(pads) do not fit \(rank) spatial axes, or are negative") }
      before = Array(pads[..<rank])
      after = Array(pads[rank...])
    } else if !["NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"].contains(auto) {
      throw .invalid("\(name): auto_pad '\(auto.prefix(32))' is unknown")
    }
    for i in 0..<rank {
      let reach = (kernel[i] - 1) * dilations[i] + 1
      if auto.hasPrefix("SAME") {
        output[i] = (input[i] + strides[i] - 1) / strides[i]
        let total = max((output[i] - 1) * strides[i] + reach - input[i], 0)
        before[i] = auto == "SAME_LOWER" ? total - total / 2 : total / 2
        after[i] = total - before[i]
        continue
      }
      let room = input[i] + before[i] + after[i] - reach
      guard room >= 0 else { throw .invalid("\(name): a window of \(reach) does not fit \(input[i]) elements with borders of \(before[i]) and \(after[i])") }
      output[i] = (ceiling ? (room + strides[i] - 1) / strides[i] : room / strides[i]) + 1
      // A last place that would begin behind the data and the border before them holds nothing.
      if ceiling, (output[i] - 1) * strides[i] >= input[i] + before[i] { output[i] -= 1 }
    }
  }
}
