// Shape rules of foreign operators: operators on scaled 8-bit integers (QLinear..., QGemm). Where such an operator is a plain operator between
// DequantizeLinear and QuantizeLinear, the plain operator's rule gives the shape.

public import DinoTensor

extension GenericRule {
  // MARK: - Scales and zero points

  /// Checks a scale that is one number.
  private func oneScale(_ i: Int) throws(GenericProblem) {
    let fact = try input(i, [.f32])
    if let shape = fact.shape, shape.checkedCount != 1 { throw .invalid("\(op.kind.name) needs one scale as its input \(i), not a tensor of shape \(shape)") }
  }

  /// Checks a zero point that is one number of that type, and may be left out.
  private func oneZero(_ i: Int, _ type: DType) throws(GenericProblem) {
    guard let fact = try optional(i, TypeSet.bytes) else { return }
    guard fact.dtype == type else { throw .invalid("\(op.kind.name) has a \(fact.dtype.rawValue) zero point, input \(i), for \(type.rawValue) elements") }
    if let shape = fact.shape, shape.checkedCount != 1 {
      throw .invalid("\(op.kind.name) needs one zero point as its input \(i), not a tensor of shape \(shape)")
    }
  }

  // MARK: - Products

  func quantizedMatMul() throws(GenericProblem) -> ValueFact {
    try atMost(8)
    let a = try input(0, TypeSet.bytes), b = try input(3, TypeSet.bytes), zero = try input(7, TypeSet.bytes)
    for i in [1, 4, 6] { _ = try input(i, TypeSet.scales) }
    try same(a, try input(2, TypeSet.bytes))
    try same(b, try input(5, TypeSet.bytes))
    guard let left = a.shape, let right = b.shape else { return ValueFact(dtype: zero.dtype, shape: nil) }
    let product = try op.quantizedMatMul(left, right)
    for i in [1, 2] { try product.check(try input(i).shape, count: product.rows, ofRows: true, op) }
    for i in [4, 5] { try product.check(try input(i).shape, count: product.columns, ofRows: false, op) }
    for i in [6, 7] {
      if let shape = try input(i).shape, shape.checkedCount != 1 { throw .unsupported("QLinearMatMul with results of more than one scale is not computed here") }
    }
    return ValueFact(dtype: zero.dtype, shape: product.shape)
  }

  func quantizedGemm() throws(GenericProblem) -> ValueFact {
    try atMost(9)
    let a = try input(0, TypeSet.bytes), b = try input(3, TypeSet.bytes)
    try oneScale(1)
    try oneZero(2, a.dtype)
    let scale = try input(4, [.f32])
    if let zero = optional(5) { try same(b, zero) }
    let bias = try optional(6, [.i32])
    if optional(7) != nil { try oneScale(7) }
    let target: DType = optional(7) == nil ? .f32 : (try optional(8, TypeSet.bytes)?.dtype ?? a.dtype)
    if target != .f32 { try oneZero(8, target) }
    guard let left = a.shape, let right = b.shape else { return ValueFact(dtype: target, shape: nil) }
    let sizes = try op.quantizedGemm(left, right)
    for shape in [scale.shape, optional(5)?.shape] {
      guard let shape else { continue }
      guard shape.checkedCount == 1 || shape == [sizes.columns] else { throw .invalid("QGemm has scales or zero points of shape \(shape) for \(sizes.columns) columns") }
    }
    let result: Shape = [sizes.rows, sizes.columns]
    if let shape = bias?.shape, try broadcast([shape, result]) != result { throw .invalid("QGemm cannot broadcast its bias of shape \(shape) to \(result)") }
    return ValueFact(dtype: target, shape: [sizes.rows, sizes.columns])
  }

  func quantizedConv() throws(GenericProblem) -> ValueFact {
    try atMost(9)
    let x = try input(0, TypeSet.bytes), w = try input(3, TypeSet.bytes), zero = try input(7, TypeSet.bytes)
    for i in [1, 6] { try oneScale(i) }
    try same(x, try input(2, TypeSet.bytes))
    try same(w, try input(5, TypeSet.bytes))
    try oneZero(2, x.dtype)
    try oneZero(7, zero.dtype)
    let bias = try optional(8, [.i32])
    guard let kernel = w.shape else { return ValueFact(dtype: zero.dtype, shape: nil) }
    guard kernel.rank >= 3 else { throw .invalid("QLinearConv has weights of shape \(kernel)") }
    for shape in [try input(4, [.f32]).shape, try input(5).shape] {
      guard let shape else { continue }
      guard shape.checkedCount == 1 || shape == [kernel.dims[0]] else {
        throw .invalid("QLinearConv has scales or zero points of shape \(shape) for \(kernel.dims[0]) channels")
      }
    }
    if let shape = bias?.shape, shape != [kernel.dims[0]] { throw .invalid("QLinearConv has a bias of shape \(shape) for \(kernel.dims[0]) channels") }
    guard let shape = x.shape else { return ValueFact(dtype: zero.dtype, shape: nil) }
    let window = try op.quantizedWindow(shape, kernel: kernel)
    return ValueFact(dtype: zero.dtype, shape: Shape([shape.dims[0], kernel.dims[0]] + window.output))
  }

  // MARK: - Elementwise and the rest

  func quantizedBinary() throws(GenericProblem) -> ValueFact {
    try atMost(8)
    let a = try input(0, TypeSet.bytes), b = try input(3, TypeSet.bytes)
    try same(a, b)
    for i in [1, 4, 6] { try oneScale(i) }
    for i in [2, 5, 7] { try oneZero(i, a.dtype) }
    return ValueFact(dtype: a.dtype, shape: try broadcast([a.shape, b.shape]))
  }

  func quantizedWhere() throws(GenericProblem) -> ValueFact {
    try atMost(9)
    let condition = try input(0, [.bool]), x = try input(1, TypeSet.bytes), y = try input(4, TypeSet.bytes)
    try same(x, y)
    for i in [2, 5, 7] { try oneScale(i) }
    for i in [3, 6, 8] { try oneZero(i, x.dtype) }
    return ValueFact(dtype: x.dtype, shape: try broadcast([condition.shape, x.shape, y.shape]))
  }

  /// One tensor and its scale and zero point, then those of the result.
  private func scaledInput() throws(GenericProblem) -> ValueFact {
    try atMost(5)
    let x = try input(0, TypeSet.bytes)
    for i in [1, 3] { try oneScale(i) }
    for i in [2, 4] { try oneZero(i, x.dtype) }
    return x
  }

  func quantizedUnary(_ kind: QuantizationKind) throws(GenericProblem) -> ValueFact {
    let x = try scaledInput()
    if kind == .linearSoftmax, let shape = x.shape { return try plain(op.plainSoftmax(), x.dtype, shape) }
    return ValueFact(dtype: x.dtype, shape: x.shape)
  }

  func quantizedAveragePool() throws(GenericProblem) -> ValueFact {
    let x = try scaledInput()
    return try plain(try op.plainPool(.averagePool), x.dtype, x.shape)
  }

  func quantizedGlobalPool() throws(GenericProblem) -> ValueFact {
    let x = try scaledInput()
    return try plain(try op.plainPool(.globalAveragePool), x.dtype, x.shape)
  }

  func quantizedReduceMean() throws(GenericProblem) -> ValueFact {
    let x = try scaledInput()
    return try plain(op.plainMean(), x.dtype, x.shape)
  }

  /// The shape that the plain operator gives, in the type of the scaled integers.
  private func plain(_ plain: Generic, _ type: DType, _ shape: Shape?) throws(GenericProblem) -> ValueFact {
    ValueFact(dtype: type, shape: try plain.infer([ValueFact(dtype: .f32, shape: shape)], outputs: 1)[0].shape)
  }

  func quantizedConcat() throws(GenericProblem) -> ValueFact {
    try oneScale(0)
    let zero = try input(1, TypeSet.bytes)
    try oneZero(1, zero.dtype)
    guard inputs.count >= 5, (inputs.count - 2) % 3 == 0 else { throw .invalid("QLinearConcat has \(inputs.count) inputs") }
    var facts: [ValueFact?] = []
    for i in stride(from: 2, to: inputs.count, by: 3) {
      let x = try input(i, TypeSet.bytes)
      try oneScale(i + 1)
      try oneZero(i + 2, x.dtype)
      try same(x, zero)
      facts.append(ValueFact(dtype: x.dtype, shape: x.shape))
    }
    return ValueFact(dtype: zero.dtype, shape: try Generic(.layout(.concat), version: 13, attributes: op.attributes).infer(facts, outputs: 1)[0].shape)
  }
}

// MARK: - What rules and twins share

extension Generic {
  /// The operators that some scaled operators are, between DequantizeLinear and QuantizeLinear.
  public func plainSoftmax() -> Generic {
    Generic(.normalization(.softmax), version: int("opset") ?? version, attributes: ["axis": .int(int("axis") ?? -1)])
  }
  public func plainMean() -> Generic { Generic(.reduction(.mean), version: 13, attributes: attributes) }
  public func plainPool(_ kind: ConvolutionKind) throws(GenericProblem) -> Generic {
    guard (int("channels_last") ?? 0) == 0 else { throw .unsupported("\(self.kind.name) with channels_last=1 is not computed here") }
    var attributes = attributes
    attributes["channels_last"] = nil
    return Generic(.convolution(kind), version: 19, attributes: attributes)
  }

  public struct QuantizedProduct: Sendable {
    public let rows: Int, depth: Int, columns: Int
    /// Extents of the axes before the matrices', of each side and of the result.
    public let leftBatch: [Int], rightBatch: [Int], batch: [Int]
    public let shape: Shape

    /// Scales and zero points are one, or one for each row of the left matrix or each column of the right one.
    func check(_ parameter: Shape?, count: Int, ofRows: Bool, _ op: Generic) throws(GenericProblem) {
      guard let parameter, parameter.checkedCount != 1 else { return }
      let last = parameter.dims.last ?? 1, before = parameter.rank >= 2 ? parameter.dims[parameter.rank - 2] : 1
      guard parameter.checkedCount == count, parameter.rank == 1 || (ofRows ? before == count && last == 1 : last == count) else {
        throw .unsupported("\(op.kind.name) with scales or zero points of shape \(parameter) is not computed here")
      }
    }
  }

  /// Sizes of QLinearMatMul, by NumPy's matmul.
  public func quantizedMatMul(_ a: Shape, _ b: Shape) throws(GenericProblem) -> QuantizedProduct {
    guard a.rank >= 1, b.rank >= 1 else { throw .invalid("\(kind.name) multiplies no scalars") }
    let left = a.rank == 1 ? [1] + a.dims : a.dims, right = b.rank == 1 ? b.dims + [1] : b.dims
    let m = left[left.count - 2], k = left[left.count - 1], n = right[right.count - 1]
    guard right[right.count - 2] == k else { throw .invalid("\(kind.name) cannot multiply \(a) by \(b)") }
    let leftBatch = Array(left.dropLast(2)), rightBatch = Array(right.dropLast(2))
    let rule = GenericRule(op: self, inputs: [], outputs: 1)
    let batch = try rule.broadcast([Shape(leftBatch), Shape(rightBatch)])?.dims ?? []
    let shape = batch + (a.rank == 1 ? [] : [m]) + (b.rank == 1 ? [] : [n])
    return QuantizedProduct(rows: m, depth: k, columns: n, leftBatch: leftBatch, rightBatch: rightBatch, batch: batch, shape: Shape(shape))
  }

  /// Sizes of QGemm.
  public func quantizedGemm(_ a: Shape, _ b: Shape) throws(GenericProblem) -> (rows: Int, depth: Int, columns: Int) {
    guard a.rank == 2, b.rank == 2 else { throw .invalid("QGemm multiplies matrices, not \(a) and \(b)") }
    let turnA = (int("transA") ?? 0) != 0, turnB = (int("transB") ?? 0) != 0
    let (m, k) = turnA ? (a.dims[1], a.dims[0]) : (a.dims[0], a.dims[1])
    let (l, n) = turnB ? (b.dims[1], b.dims[0]) : (b.dims[0], b.dims[1])
    guard k == l else { throw .invalid("QGemm cannot multiply \(a) by \(b)") }
    return (m, k, n)
  }

  /// Windows of QLinearConv along each spatial axis.
  public struct QuantizedWindow: Sendable {
    public let groups: Int
    public let kernel: [Int], strides: [Int], dilations: [Int], begin: [Int], output: [Int]
  }

  public func quantizedWindow(_ x: Shape, kernel w: Shape) throws(GenericProblem) -> QuantizedWindow {
    guard x.rank == w.rank, x.rank >= 3 else { throw .invalid("\(kind.name) has data of shape \(x) and weights of shape \(w)") }
    let axes = x.rank - 2, groups = int("group") ?? 1, limit = 1 << 30
    guard groups >= 1, w.dims[0] % groups == 0, x.dims[1] % groups == 0, x.dims[1] / groups == w.dims[1] else {
      throw .invalid("\(kind.name) has data of shape \(x) and weights of shape \(w) in \(groups) groups")
    }
    let kernel = Array(w.dims[2...])
    if let given = ints("kernel_shape"), given != kernel { throw .invalid("\(kind.name) has kernel_shape=\(given) but weights of shape \(w)") }
    func list(_ name: String, _ count: Int, _ otherwise: Int, from least: Int) throws(GenericProblem) -> [Int] {
      guard let given = ints(name), !given.isEmpty else { return [Int](repeating: otherwise, count: count) }
      guard given.count == count, given.allSatisfy({ $0 >= least && $0 <= limit }) else { throw .invalid("\(kind.name) has \(name)=\(given)") }
      return given
    }
    let strides = try list("strides", axes, 1, from: 1), dilations = try list("dilations", axes, 1, from: 1), pads = try list("pads", 2 * axes, 0, from: 0)
    let mode = string("auto_pad") ?? "NOTSET"
    guard ["NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"].contains(mode) else { throw .invalid("\(kind.name) has auto_pad=\(mode)") }
    var begin: [Int] = [], output: [Int] = []
    for axis in 0..<axes {
      let extent = x.dims[axis + 2], size = kernel[axis], step = strides[axis]
      guard size >= 1, size <= limit, extent <= limit else { throw .invalid("\(kind.name) has data of shape \(x) and weights of shape \(w)") }
      let span = (size - 1) * dilations[axis] + 1
      switch mode {
      case "SAME_UPPER", "SAME_LOWER":
        let count = (extent + step - 1) / step, total = Swift.max((count - 1) * step + span - extent, 0)
        begin.append(mode == "SAME_UPPER" ? total / 2 : total - total / 2)
        output.append(count)
      default:
        let before = mode == "VALID" ? 0 : pads[axis], after = mode == "VALID" ? 0 : pads[axis + axes], room = extent + before + after - span
        guard room >= 0 else { throw .invalid("\(kind.name) has a kernel larger than its padded input: \(w) on \(x)") }
        begin.append(before)
        output.append(room / step + 1)
      }
    }
    return QuantizedWindow(groups: groups, kernel: kernel, strides: strides, dilations: dilations, begin: begin, output: output)
  }
}
