// Shape rules of foreign operators: indexing. Whether indices are in range is known only to the twins, which hold the data.

internal import DinoTensor

extension GenericRule {
  func indexing(_ kind: IndexingKind) throws(GenericProblem) -> [ValueFact] {
    switch kind {
    case .gather: return [try gather()]
    case .gatherElements: return [try gatherElements()]
    case .gatherND: return [try gatherND()]
    case .scatterElements: return [try scatterElements()]
    case .scatterND: return [try scatterND()]
    case .where: return [try select()]
    case .oneHot: return [try oneHot()]
    case .nonZero: return [try nonZero()]
    case .compress: return [try compress()]
    case .reverseSequence: return [try reverseSequence()]
    case .topK: return try topK()
    case .argMax, .argMin: return [try extreme()]
    }
  }

  private func gather() throws(GenericProblem) -> ValueFact {
    try atMost(2)
    let data = try input(0), indices = try input(1, TypeSet.indices)
    guard let d = data.shape else { return ValueFact(dtype: data.dtype, shape: nil) }
    let a = try axis(op.int("axis") ?? 0, rank: d.rank)
    guard let i = indices.shape else { return ValueFact(dtype: data.dtype, shape: nil) }
    return ValueFact(dtype: data.dtype, shape: Shape(Array(d.dims[..<a]) + i.dims + Array(d.dims[(a + 1)...])))
  }

  private func gatherElements() throws(GenericProblem) -> ValueFact {
    try atMost(2)
    let data = try input(0), indices = try input(1, TypeSet.indices)
    if let d = data.shape, let i = indices.shape { try fits(indices: i, into: d) }
    return ValueFact(dtype: data.dtype, shape: indices.shape)
  }

  /// Checks that indices of the Elements operators have the data's rank and do not reach beyond it on the other axes.
  private func fits(indices: Shape, into data: Shape) throws(GenericProblem) {
    let a = try axis(op.int("axis") ?? 0, rank: data.rank)
    guard indices.rank == data.rank else { throw .invalid("\(op.kind.name) has indices of rank \(indices.rank) for data of rank \(data.rank)") }
    for (i, n) in indices.dims.enumerated() where i != a && n > data.dims[i] {
      throw .invalid("\(op.kind.name) has indices of shape \(indices), which is larger than the data's \(data)")
    }
  }

  private func gatherND() throws(GenericProblem) -> ValueFact {
    try atMost(2)
    let data = try input(0), indices = try input(1, [.i64])
    let batch = op.int("batch_dims") ?? 0
    guard let d = data.shape, let i = indices.shape else { return ValueFact(dtype: data.dtype, shape: nil) }
    guard d.rank >= 1, i.rank >= 1, batch >= 0, batch < Swift.min(d.rank, i.rank) else {
      throw .invalid("GatherND has batch_dims=\(batch) for data of shape \(d) and indices of shape \(i)")
    }
    let depth = i.dims[i.rank - 1]
    guard d.dims[..<batch] == i.dims[..<batch], depth >= 1, depth <= d.rank - batch else {
      throw .invalid("GatherND has indices of shape \(i) for data of shape \(d)")
    }
    return ValueFact(dtype: data.dtype, shape: Shape(Array(i.dims.dropLast()) + Array(d.dims[(batch + depth)...])))
  }

  private func reductionOfScatter() throws(GenericProblem) {
    let mode = op.string("reduction") ?? "none"
    let allowed = op.version >= 18 ? ["none", "add", "mul", "min", "max"] : op.version >= 16 ? ["none", "add", "mul"] : ["none"]
    guard allowed.contains(mode) else { throw .invalid("\(op.kind.name) has reduction=\(mode)") }
    if mode != "none" { _ = try input(0, TypeSet.numbers) }
  }

  private func scatterElements() throws(GenericProblem) -> ValueFact {
    try atMost(3)
    try reductionOfScatter()
    let data = try input(0), indices = try input(1, TypeSet.indices), updates = try input(2)
    try same(data, updates)
    if let d = data.shape, let i = indices.shape { try fits(indices: i, into: d) }
    if let i = indices.shape, let u = updates.shape, i != u { throw .invalid("ScatterElements has indices of shape \(i) and updates of shape \(u)") }
    return ValueFact(dtype: data.dtype, shape: data.shape)
  }

  private func scatterND() throws(GenericProblem) -> ValueFact {
    try atMost(3)
    try reductionOfScatter()
    let data = try input(0), indices = try input(1, [.i64]), updates = try input(2)
    try same(data, updates)
    if let d = data.shape, let i = indices.shape, let u = updates.shape {
      guard d.rank >= 1, i.rank >= 1, i.dims[i.rank - 1] <= d.rank,
            u.dims == Array(i.dims.dropLast()) + Array(d.dims[i.dims[i.rank - 1]...]) else {
        throw .invalid("ScatterND has indices of shape \(i) and updates of shape \(u) for data of shape \(d)")
      }
    }
    return ValueFact(dtype: data.dtype, shape: data.shape)
  }

  private func select() throws(GenericProblem) -> ValueFact {
    try atMost(3)
    let condition = try input(0, [.bool]), a = try input(1), b = try input(2)
    try same(a, b)
    return ValueFact(dtype: a.dtype, shape: try broadcast([condition.shape, a.shape, b.shape]))
  }

  private func oneHot() throws(GenericProblem) -> ValueFact {
    try atMost(3)
    let indices = try input(0, TypeSet.numbers), depth = try number(1, TypeSet.numbers), values = try input(2)
    if let v = values.shape, v.dims != [2] { throw .invalid("OneHot needs two values, not a tensor of shape \(v)") }
    guard let i = indices.shape else { return ValueFact(dtype: values.dtype, shape: nil) }
    let a = try axis(op.int("axis") ?? -1, rank: i.rank + 1)
    guard let depth else { return ValueFact(dtype: values.dtype, shape: nil) }
    guard let n = depth.truncated, n >= 0 else { throw .invalid("OneHot has the depth \(depth.double)") }
    var dims = i.dims
    dims.insert(n, at: a)
    return ValueFact(dtype: values.dtype, shape: Shape(dims))
  }

  private func nonZero() throws(GenericProblem) -> ValueFact {
    try atMost(1)
    let x = try input(0, TypeSet.plain)
    guard let shape = x.shape, let value = x.value else { return ValueFact(dtype: .i64, shape: nil) }
    // A scalar is seen as a list of one, as NumPy's nonzero did.
    return ValueFact(dtype: .i64, shape: [shape.isScalar ? 1 : shape.rank, value.nonZeroCount])
  }

  private func compress() throws(GenericProblem) -> ValueFact {
    try atMost(2)
    let x = try input(0), condition = try input(1, [.bool])
    if let c = condition.shape, c.rank != 1 { throw .invalid("Compress needs a condition of one axis, not \(c)") }
    guard let shape = x.shape, shape.rank >= 1 else { return ValueFact(dtype: x.dtype, shape: nil) }
    let a: Int? = if let given = op.int("axis") { try axis(given, rank: shape.rank) } else { nil }
    let extent = a.map { shape.dims[$0] } ?? (shape.checkedCount ?? 0)
    guard let c = condition.value else { return ValueFact(dtype: x.dtype, shape: nil) }
    guard c.count <= extent else { throw .invalid("Compress has \(c.count) conditions for \(extent) elements") }
    guard let a else { return ValueFact(dtype: x.dtype, shape: [c.nonZeroCount]) }
    var dims = shape.dims
    dims[a] = c.nonZeroCount
    return ValueFact(dtype: x.dtype, shape: Shape(dims))
  }

  private func reverseSequence() throws(GenericProblem) -> ValueFact {
    try atMost(2)
    let x = try input(0), lengths = try input(1, [.i64])
    let batch = op.int("batch_axis") ?? 1, time = op.int("time_axis") ?? 0
    guard (batch == 0 && time == 1) || (batch == 1 && time == 0) else { throw .invalid("ReverseSequence has batch_axis=\(batch) and time_axis=\(time)") }
    if let shape = x.shape {
      guard shape.rank >= 2 else { throw .invalid("ReverseSequence needs two axes or more, not \(shape)") }
      if let l = lengths.shape, l.dims != [shape.dims[batch]] { throw .invalid("ReverseSequence has lengths of shape \(l) for data of shape \(shape)") }
    }
    return ValueFact(dtype: x.dtype, shape: x.shape)
  }

  private func topK() throws(GenericProblem) -> [ValueFact] {
    let x = try input(0, TypeSet.numbers)
    let k: Int?
    if op.version >= 10 {
      try atMost(2)
      k = try number(1, [.i64])?.truncated
    } else {
      try atMost(1)
      guard let given = op.int("k") else { throw .invalid("TopK needs the attribute k") }
      k = given
    }
    guard let shape = x.shape else { return facts(x.dtype, nil) }
    let a = try axis(op.int("axis") ?? -1, rank: shape.rank)
    guard let k else { return facts(x.dtype, nil) }
    guard k >= 0, k <= shape.dims[a] else { throw .invalid("TopK asks for \(k) of \(shape.dims[a]) elements") }
    var dims = shape.dims
    dims[a] = k
    return facts(x.dtype, Shape(dims))

    func facts(_ dtype: DType, _ shape: Shape?) -> [ValueFact] { [ValueFact(dtype: dtype, shape: shape), ValueFact(dtype: .i64, shape: shape)] }
  }

  private func extreme() throws(GenericProblem) -> ValueFact {
    try atMost(1)
    let x = try input(0, TypeSet.numbers)
    guard let shape = x.shape else { return ValueFact(dtype: .i64, shape: nil) }
    let a = try axis(op.int("axis") ?? 0, rank: shape.rank)
    var dims = shape.dims
    guard dims[a] > 0 || shape.dims.enumerated().contains(where: { $0.offset != a && $0.element == 0 }) else {
      throw .invalid("\(op.kind.name) of no elements (shape \(shape), axis \(a))")
    }
    if (op.int("keepdims") ?? 1) != 0 { dims[a] = 1 } else { dims.remove(at: a) }
    return ValueFact(dtype: .i64, shape: Shape(dims))
  }
}

extension Tensor {
  /// How many elements of a plain type are not zero (NaN is not, -0 is).
  var nonZeroCount: Int {
    let width = dtype.bitWidth / 8
    let float = [DType.f16, .bf16, .f32, .f64].contains(dtype)
    return withBytes { bytes in
      var found = 0, at = 0
      while at < bytes.count {
        var any: UInt8 = 0
        for i in 0..<width { any |= float && i == width - 1 ? bytes[at + i] & 0x7F : bytes[at + i] }
        if any != 0 { found += 1 }
        at += width
      }
      return found
    }
  }
}
