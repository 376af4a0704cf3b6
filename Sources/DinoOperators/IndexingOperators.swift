// Plain twins of foreign operators: indexing. Elements are picked by what other tensors hold; every index is checked before it is used. What writes into a copy
// (Scatter) is in ScatterOperators.swift, what looks for extremes (TopK, ArgMax) in ExtremeOperators.swift.

import DinoGraph
import DinoTensor

extension OperatorCall {
  func indexing(_ kind: IndexingKind) throws(GenericProblem) -> [Tensor] {
    let facts = try inferred()
    guard let dtype = facts.first?.dtype, let shape = facts.first?.shape else { throw .unsupported("\(op.kind.name): the shape of its result could not be found") }
    switch kind {
    case .gather: return [try gather(shape)]
    case .gatherElements: return [try gatherElements(shape)]
    case .gatherND: return [try gatherND(shape)]
    case .scatterElements: return [try scatterElements()]
    case .scatterND: return [try scatterND()]
    case .where: return [try SelectWork(condition: input(0), a: input(1), b: input(2), shape: shape).dispatch(dtype)]
    case .oneHot: return [try oneHot(dtype, shape)]
    case .nonZero: return [try nonZero(shape)]
    case .compress: return [try compress(shape)]
    case .reverseSequence: return [try reverseSequence(shape)]
    case .topK: return try topK(shape)
    case .argMax: return [try extreme(shape, largest: true)]
    case .argMin: return [try extreme(shape, largest: false)]
    }
  }

  /// The attribute `axis`, counted from the front; the shape rule has checked it.
  func axis(_ otherwise: Int, rank: Int) -> Int {
    let given = op.int("axis") ?? otherwise
    return given < 0 ? given + rank : given
  }

  /// Indices of an input, counted from the front, each below `extent`.
  func indices(_ i: Int, below extent: Int) throws(GenericProblem) -> [Int] {
    var indices = try input(i).int64s()
    for k in indices.indices { indices[k] = try place(indices[k], extent) }
    return indices
  }

  @inline(__always)
  func place(_ index: Int, _ extent: Int) throws(GenericProblem) -> Int {
    guard index >= -extent, index < extent else { throw .invalid("\(op.kind.name) has the index \(index) for an axis of \(extent) elements") }
    return index < 0 ? index + extent : index
  }

  private func gather(_ shape: Shape) throws(GenericProblem) -> Tensor {
    let data = try input(0), axis = axis(0, rank: data.shape.rank)
    guard data.dtype.bitWidth >= 8 else { throw .unsupported("\(data.dtype.rawValue) elements, narrower than a byte, are not moved here") }
    let result = try Tensor.result(data.dtype, shape)
    guard result.count > 0 else { return result }
    let picked = try indices(1, below: data.shape.dims[axis])
    // Only its own extent can be 0 here, and then no index is in range.
    let outer = Shape(Array(data.shape.dims[..<axis])).count, inner = Shape(Array(data.shape.dims[(axis + 1)...])).count
    try GatherWork(data: try data.aligned(), picked: picked, outer: outer, inner: inner, extent: data.shape.dims[axis], result: result).dispatch(data.dtype)
    return result
  }

  private func gatherElements(_ shape: Shape) throws(GenericProblem) -> Tensor {
    let data = try input(0), axis = axis(0, rank: data.shape.rank)
    let result = try Tensor.result(data.dtype, shape)
    guard result.count > 0 else { return result }
    let picked = try indices(1, below: data.shape.dims[axis])
    // Where each element comes from: its own position, with the index in place of that along the axis.
    var steps = data.shape.strides
    let along = steps[axis]
    steps[axis] = 0
    let loop = StridedLoop(shape, steps: [steps]), n = loop.rowLength, step = loop.rowStep(0)
    var sources = picked
    loop.forEachRow { o, base in for j in 0..<n { sources[o + j] = base + j * step + picked[o + j] * along } }
    try PickWork(data: try data.aligned(), sources: sources, length: 1, result: result).dispatch(data.dtype)
    return result
  }

  private func gatherND(_ shape: Shape) throws(GenericProblem) -> Tensor {
    let data = try input(0), tuples = try input(1), batch = op.int("batch_dims") ?? 0
    let result = try Tensor.result(data.dtype, shape)
    guard result.count > 0 else { return result }
    let depth = tuples.shape.dims[tuples.shape.rank - 1], strides = data.shape.strides
    let flat = try tuples.int64s(), count = flat.count / depth
    let batches = Shape(Array(data.shape.dims[..<batch])).count, length = Shape(Array(data.shape.dims[(batch + depth)...])).count
    let ofBatch = data.count / batches, each = count / batches
    var sources = [Int](repeating: 0, count: count)
    for i in 0..<count {
      var at = (i / each) * ofBatch
      for d in 0..<depth { at += try place(flat[i * depth + d], data.shape.dims[batch + d]) * strides[batch + d] }
      sources[i] = at
    }
    try PickWork(data: try data.aligned(), sources: sources, length: length, result: result).dispatch(data.dtype)
    return result
  }

  private func oneHot(_ dtype: DType, _ shape: Shape) throws(GenericProblem) -> Tensor {
    let given = try input(0), values = try input(2)
    let axis = axis(-1, rank: given.shape.rank + 1), depth = shape.dims[axis], width = dtype.bitWidth / 8
    guard width > 0 else { throw .unsupported("\(dtype.rawValue) elements, narrower than a byte, are not moved here") }
    let result = try Tensor.result(dtype, shape)
    guard result.count > 0 else { return result }
    let picked = try given.cast(to: .i64).int64s()
    let inner = Shape(Array(shape.dims[(axis + 1)...])).count
    var off: UInt64 = 0
    withUnsafeMutableBytes(of: &off) { $0.baseAddress!.copyMemory(from: values.storage.base + values.byteOffset, byteCount: width) }
    try FillWork(result: result, bits: off).dispatch(dtype)
    for (i, index) in picked.enumerated() {
      guard index >= -depth, index < depth else { continue }
      let at = ((i / inner) * depth + (index < 0 ? index + depth : index)) * inner + i % inner
      (result.storage.base + at * width).copyMemory(from: values.storage.base + values.byteOffset + width, byteCount: width)
    }
    return result
  }

  private func nonZero(_ shape: Shape) throws(GenericProblem) -> Tensor {
    var x = try input(0)
    if x.dtype == .f16 || x.dtype == .bf16 { x = try x.float32() }
    let mask = try ArithmeticMask(x: x).dispatch(x.dtype), found = shape.dims[1]
    let dims = x.shape.isScalar ? [1] : x.shape.dims, strides = Shape(dims).strides
    return try Tensor.result(.i64, shape, of: Int64.self) { out in
      var k = 0
      for i in mask.indices where mask[i] && k < found {
        for (axis, stride) in strides.enumerated() { out[axis * found + k] = Int64(i / stride % dims[axis]) }
        k += 1
      }
    }
  }

  private func compress(_ shape: Shape) throws(GenericProblem) -> Tensor {
    let x = try input(0), condition = try input(1).elements(UInt8.self)
    let picked = condition.indices.filter { condition[$0] != 0 }
    let result = try Tensor.result(x.dtype, shape)
    guard result.count > 0 else { return result }
    var outer = 1, inner = 1, extent = x.count
    if op.int("axis") != nil {
      let axis = axis(0, rank: x.shape.rank)
      (outer, inner) = (Shape(Array(x.shape.dims[..<axis])).count, Shape(Array(x.shape.dims[(axis + 1)...])).count)
      extent = x.shape.dims[axis]
    }
    try GatherWork(data: try x.aligned(), picked: picked, outer: outer, inner: inner, extent: extent, result: result).dispatch(x.dtype)
    return result
  }

  private func reverseSequence(_ shape: Shape) throws(GenericProblem) -> Tensor {
    let x = try input(0), batchFirst = (op.int("batch_axis") ?? 1) == 0, lengths = try input(1).int64s()
    let result = try Tensor.result(x.dtype, shape)
    guard result.count > 0 else { return result }
    let batch = batchFirst ? shape.dims[0] : shape.dims[1], time = batchFirst ? shape.dims[1] : shape.dims[0]
    var sources: [Int] = []
    sources.reserveCapacity(batch * time)
    for a in 0..<shape.dims[0] {
      for b in 0..<shape.dims[1] {
        let (n, t) = batchFirst ? (a, b) : (b, a)
        guard lengths[n] >= 0, lengths[n] <= time else { throw .invalid("ReverseSequence has the length \(lengths[n]) for sequences of \(time)") }
        let from = t < lengths[n] ? lengths[n] - 1 - t : t
        sources.append(batchFirst ? n * time + from : from * batch + n)
      }
    }
    let inner = Shape(Array(shape.dims[2...])).count
    try PickWork(data: try x.aligned(), sources: sources.map { $0 * inner }, length: inner, result: result).dispatch(x.dtype)
    return result
  }
}

/// Rows of `inner` elements, picked along one axis; indices are in range.
private struct GatherWork: MoveWork {
  let data: Tensor
  let picked: [Int]
  let outer: Int, inner: Int, extent: Int
  let result: Tensor

  func run<T: FixedWidthInteger & UnsignedInteger & BitwiseCopyable>(_ type: T.Type) throws(GenericProblem) {
    let from = (data.storage.base + data.byteOffset).assumingMemoryBound(to: T.self), out = result.storage.base.assumingMemoryBound(to: T.self)
    let n = picked.count
    picked.withUnsafeBufferPointer { picked in
      for a in 0..<outer {
        let source = from + a &* extent &* inner, target = out + a &* n &* inner
        if inner == 1 {
          for i in 0..<n { target[i] = source[picked[i]] }
        } else {
          for i in 0..<n { (target + i &* inner).update(from: source + picked[i] &* inner, count: inner) }
        }
      }
    }
    withExtendedLifetime((data.storage, result.storage)) {}
  }
}

/// Stretches of `length` elements, each from its own place; places are in range.
private struct PickWork: MoveWork {
  let data: Tensor
  let sources: [Int]
  let length: Int
  let result: Tensor

  func run<T: FixedWidthInteger & UnsignedInteger & BitwiseCopyable>(_ type: T.Type) throws(GenericProblem) {
    let from = (data.storage.base + data.byteOffset).assumingMemoryBound(to: T.self), out = result.storage.base.assumingMemoryBound(to: T.self)
    sources.withUnsafeBufferPointer { sources in
      if length == 1 {
        for i in 0..<sources.count { out[i] = from[sources[i]] }
      } else {
        for i in 0..<sources.count { (out + i &* length).update(from: from + sources[i], count: length) }
      }
    }
    withExtendedLifetime((data.storage, result.storage)) {}
  }
}

private struct SelectWork: MoveWork {
  let condition: Tensor, a: Tensor, b: Tensor
  let shape: Shape

  func run<T: FixedWidthInteger & UnsignedInteger & BitwiseCopyable>(_ type: T.Type) throws(GenericProblem) -> Tensor {
    let loop = StridedLoop(broadcasting: [condition.shape, a.shape, b.shape], to: shape)
    let n = loop.rowLength, stepC = loop.rowStep(0), stepA = loop.rowStep(1), stepB = loop.rowStep(2)
    return try condition.read(UInt8.self) { c throws(GenericProblem) in
      try a.read(T.self) { x throws(GenericProblem) in
        try b.read(T.self) { y throws(GenericProblem) in
          try Tensor.result(a.dtype, shape, of: T.self) { out in
            loop.forEachRow { o, oc, oa, ob in
              let out = out + o, c = c + oc, x = x + oa, y = y + ob
              if stepC == 1, stepA == 1, stepB == 1 {
                for i in 0..<n { out[i] = c[i] != 0 ? x[i] : y[i] }
              } else {
                for i in 0..<n { out[i] = c[i &* stepC] != 0 ? x[i &* stepA] : y[i &* stepB] }
              }
            }
          }
        }
      }
    }
  }
}

/// Which elements are not zero.
private struct ArithmeticMask: ElementWork {
  let x: Tensor
  func run<T: NumericElement>(_ type: T.Type) throws(GenericProblem) -> [Bool] {
    let n = x.count
    return try x.read(T.self) { p in (0..<n).map { p[$0] != 0 } }
  }
}
