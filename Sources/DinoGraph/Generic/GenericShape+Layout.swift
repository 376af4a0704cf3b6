// Shape rules of foreign operators: layout, where the shape follows from the shapes of the inputs. Those that read extents from an input or an attribute
// list are in GenericShape+Extents.swift.

internal import DinoTensor

extension GenericRule {
  func layout(_ kind: LayoutKind) throws(GenericProblem) -> [ValueFact] {
    switch kind {
    case .shape: return [try shapeOf()]
    case .size:
      try atMost(1)
      _ = try input(0)
      return [ValueFact(dtype: .i64, shape: [])]
    case .reshape: return [try reshape()]
    case .transpose: return [try transpose()]
    case .concat: return [try concat()]
    case .slice: return [try slice()]
    case .split: return try split()
    case .squeeze: return [try squeeze()]
    case .unsqueeze: return [try unsqueeze()]
    case .flatten: return [try flatten()]
    case .expand: return [try expand()]
    case .tile: return [try tile()]
    case .pad: return [try pad()]
    case .range: return [try range()]
    case .constantOfShape: return [try constantOfShape()]
    case .eyeLike: return [try eyeLike()]
    case .depthToSpace: return [try depthToSpace()]
    case .spaceToDepth: return [try spaceToDepth()]
    case .trilu: return [try trilu()]
    }
  }

  private func shapeOf() throws(GenericProblem) -> ValueFact {
    try atMost(1)
    guard let shape = try input(0).shape else { return ValueFact(dtype: .i64, shape: nil) }
    return ValueFact(dtype: .i64, shape: [op.shapeRange(rank: shape.rank).count])
  }

  private func transpose() throws(GenericProblem) -> ValueFact {
    try atMost(1)
    let x = try input(0)
    guard let shape = x.shape else { return ValueFact(dtype: x.dtype, shape: nil) }
    let order = try op.permutation(rank: shape.rank)
    return ValueFact(dtype: x.dtype, shape: Shape(order.map { shape.dims[$0] }))
  }

  private func concat() throws(GenericProblem) -> ValueFact {
    let first = try input(0)
    guard let given = op.int("axis") else { throw .invalid("Concat needs the attribute axis") }
    var known: [Shape] = [], unknown = false
    for i in inputs.indices {
      let next = try input(i)
      try same(first, next)
      if let shape = next.shape { known.append(shape) } else { unknown = true }
    }
    guard let model = known.first else { return ValueFact(dtype: first.dtype, shape: nil) }
    let a = try axis(given, rank: model.rank)
    var dims = model.dims
    dims[a] = 0
    for shape in known {
      guard shape.rank == model.rank, shape.dims.indices.allSatisfy({ $0 == a || shape.dims[$0] == model.dims[$0] }) else {
        throw .invalid("Concat cannot join the shapes \(known.map(\.description).joined(separator: " and ")) along axis \(a)")
      }
      let (sum, overflow) = dims[a].addingReportingOverflow(shape.dims[a])
      guard !overflow else { throw .invalid("Concat of too many elements") }
      dims[a] = sum
    }
    return ValueFact(dtype: first.dtype, shape: unknown ? nil : Shape(dims))
  }

  private func flatten() throws(GenericProblem) -> ValueFact {
    try atMost(1)
    let x = try input(0)
    guard let shape = x.shape else { return ValueFact(dtype: x.dtype, shape: nil) }
    let given = op.int("axis") ?? 1
    guard given >= -shape.rank, given <= shape.rank else { throw .invalid("Flatten names axis \(given) of a tensor of rank \(shape.rank)") }
    let a = given < 0 ? given + shape.rank : given
    guard let rows = Shape(Array(shape.dims[..<a])).checkedCount, let columns = Shape(Array(shape.dims[a...])).checkedCount else {
      throw .invalid("Flatten of the impossible shape \(shape)")
    }
    return ValueFact(dtype: x.dtype, shape: [rows, columns])
  }

  private func eyeLike() throws(GenericProblem) -> ValueFact {
    try atMost(1)
    let x = try input(0)
    var dtype = x.dtype
    if let number = op.int("dtype") {
      guard let given = DType(onnxNumber: number) else { throw .unsupported("EyeLike of ONNX's element type \(number) is not computed here") }
      dtype = given
    }
    guard TypeSet.plain.contains(dtype) else { throw .unsupported("EyeLike of \(dtype.rawValue) is not computed here") }
    if let shape = x.shape, shape.rank != 2 { throw .invalid("EyeLike needs a matrix, not \(shape)") }
    return ValueFact(dtype: dtype, shape: x.shape)
  }

  private func blockSize(_ x: Shape) throws(GenericProblem) -> Int {
    guard let b = op.int("blocksize"), b >= 1, b < 1 << 20 else { throw .invalid("\(op.kind.name) needs a blocksize of at least 1") }
    guard x.rank == 4 else { throw .invalid("\(op.kind.name) needs four axes, not \(x)") }
    return b
  }

  private func blockMode(since version: Int) throws(GenericProblem) {
    let mode = op.string("mode") ?? "DCR"
    guard mode == "DCR" || (mode == "CRD" && op.version >= version) else { throw .invalid("\(op.kind.name) has mode=\(mode)") }
  }

  private func depthToSpace() throws(GenericProblem) -> ValueFact {
    try atMost(1)
    try blockMode(since: 11)
    let x = try input(0)
    guard let shape = x.shape else { return ValueFact(dtype: x.dtype, shape: nil) }
    let b = try blockSize(shape)
    guard shape.dims[1] % (b * b) == 0 else { throw .invalid("DepthToSpace cannot share \(shape.dims[1]) channels among blocks of \(b)×\(b)") }
    return ValueFact(dtype: x.dtype, shape: [shape.dims[0], shape.dims[1] / (b * b), try times(shape.dims[2], b), try times(shape.dims[3], b)])
  }

  private func spaceToDepth() throws(GenericProblem) -> ValueFact {
    try atMost(1)
    try blockMode(since: 28)
    let x = try input(0)
    guard let shape = x.shape else { return ValueFact(dtype: x.dtype, shape: nil) }
    let b = try blockSize(shape)
    guard shape.dims[2] % b == 0, shape.dims[3] % b == 0 else { throw .invalid("SpaceToDepth cannot cut \(shape) into blocks of \(b)×\(b)") }
    return ValueFact(dtype: x.dtype, shape: [shape.dims[0], try times(shape.dims[1], b * b), shape.dims[2] / b, shape.dims[3] / b])
  }

  private func trilu() throws(GenericProblem) -> ValueFact {
    try atMost(2)
    let x = try input(0, TypeSet.plain)
    if let shape = x.shape, shape.rank < 2 { throw .invalid("Trilu needs two axes or more, not \(shape)") }
    if optional(1) != nil { _ = try number(1, [.i64]) }
    return ValueFact(dtype: x.dtype, shape: x.shape)
  }

  /// A product of extents, refused where it overflows.
  func times(_ a: Int, _ b: Int) throws(GenericProblem) -> Int {
    let (product, overflow) = a.multipliedReportingOverflow(by: b)
    guard !overflow else { throw .invalid("\(op.kind.name) gives an impossible extent") }
    return product
  }
}

extension Generic {
  /// Which axes Shape reports.
  public func shapeRange(rank: Int) -> Range<Int> {
    func bound(_ name: String, _ otherwise: Int) -> Int {
      guard version >= 15, let v = int(name) else { return otherwise }
      // Clamped before and after counting from the end, so that no sum overflows.
      let near = Swift.min(Swift.max(v, -rank), rank)
      return near < 0 ? near + rank : near
    }
    let start = bound("start", 0), end = bound("end", rank)
    return start..<Swift.max(start, end)
  }

  /// The order in which Transpose takes the axes.
  public func permutation(rank: Int) throws(GenericProblem) -> [Int] {
    guard let given = ints("perm") else { return Array((0..<rank).reversed()) }
    guard given.sorted() == Array(0..<rank) else { throw .invalid("Transpose has perm=\(given) for a tensor of rank \(rank)") }
    return given
  }
}
