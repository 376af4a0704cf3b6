// Plain twins of foreign operators: layout. Elements keep their values; what changes is where they stand. Pad is in PadOperators.swift, tensors made from
// numbers (Range, ConstantOfShape, EyeLike) in FillOperators.swift.

import DinoGraph
import DinoTensor

extension OperatorCall {
  func layout(_ kind: LayoutKind) throws(GenericProblem) -> [Tensor] {
    if kind == .split { return try split() }
    let (dtype, shape) = try inferredShape()
    switch kind {
    case .shape:
      let x = try input(0)
      return [try integers(op.shapeRange(rank: x.shape.rank).map { x.shape.dims[$0] }, shape)]
    case .size: return [try integers([try input(0).count], [])]
    case .reshape, .squeeze, .unsqueeze, .flatten: return [try input(0).viewed(as: shape)]
    case .transpose:
      let x = try input(0)
      return [try x.transposed(try op.permutation(rank: x.shape.rank))]
    case .concat: return [try concat(dtype, shape)]
    case .slice: return [try slice(shape)]
    case .split: return []
    case .expand:
      let x = try input(0)
      return [x.shape == shape ? x : try x.strided(shape, steps: StridedLoop.broadcastSteps(x.shape, to: shape))]
    case .tile: return [try tile(shape)]
    case .pad: return [try pad(shape)]
    case .range: return [try range(dtype, shape)]
    case .constantOfShape: return [try constantOfShape(dtype, shape)]
    case .eyeLike: return [try eyeLike(dtype, shape)]
    case .depthToSpace: return [try depthToSpace(shape)]
    case .spaceToDepth: return [try spaceToDepth(shape)]
    case .trilu: return [try trilu(shape)]
    }
  }

  func integers(_ values: [Int], _ shape: Shape) throws(GenericProblem) -> Tensor {
    try Tensor.result(.i64, shape, of: Int64.self) { out in for (i, v) in values.enumerated() { out[i] = Int64(v) } }
  }

  private func concat(_ dtype: DType, _ shape: Shape) throws(GenericProblem) -> Tensor {
    let present = inputs.compactMap { $0 }
    if present.count == 1 { return present[0] }
    let given = op.int("axis") ?? 0, axis = given < 0 ? given + shape.rank : given
    guard dtype.bitWidth >= 8 else { throw .unsupported("\(dtype.rawValue) elements, narrower than a byte, are not moved here") }
    let result = try Tensor.result(dtype, shape)
    guard result.count > 0 else { return result }
    let rows = Shape(Array(shape.dims[..<axis])).count
    // Bytes of one row of the result, and of each input.
    let rowBytes = result.byteCount / rows
    var offset = 0
    for t in present where t.count > 0 {
      let bytes = t.byteCount / rows, from = t.storage.base + t.byteOffset
      for row in 0..<rows { (result.storage.base + (row &* rowBytes &+ offset)).copyMemory(from: from + row &* bytes, byteCount: bytes) }
      offset += bytes
    }
    return result
  }

  private func slice(_ shape: Shape) throws(GenericProblem) -> Tensor {
    let x = try input(0)
    guard let ranges = try op.sliceRanges(inputs.map { $0.map(ValueFact.init) }, of: x.shape) else { throw .unsupported("Slice: its ranges are not known") }
    if shape == x.shape, ranges.allSatisfy({ $0.step == 1 }) { return x }
    let strides = x.shape.strides
    var start = 0
    for (r, s) in zip(ranges, strides) { start = start &+ r.start &* s }
    return try x.strided(shape, start: start, steps: zip(ranges, strides).map { $0.step &* $1 })
  }

  private func split() throws(GenericProblem) -> [Tensor] {
    let x = try input(0), facts = try inferred(), given = op.int("axis") ?? 0, axis = given < 0 ? given + x.shape.rank : given
    let strides = x.shape.strides
    var at = 0, parts: [Tensor] = []
    for fact in facts {
      guard let shape = fact.shape else { throw .unsupported("Split: its sizes are not known") }
      parts.append(try x.strided(shape, start: shape.checkedCount == 0 ? 0 : at * strides[axis], steps: strides))
      at += shape.dims[axis]
    }
    return parts
  }

  private func tile(_ shape: Shape) throws(GenericProblem) -> Tensor {
    let x = try input(0)
    // Each axis as two: the repeats, which stand still in the source, and the extent.
    var dims: [Int] = [], steps: [Int] = []
    for (axis, n) in x.shape.dims.enumerated() {
      dims += [n == 0 ? 0 : shape.dims[axis] / n, n]
      steps += [0, x.shape.strides[axis]]
    }
    return try x.strided(Shape(dims), steps: steps).viewed(as: shape)
  }

  private func depthToSpace(_ shape: Shape) throws(GenericProblem) -> Tensor {
    let x = try input(0), b = op.int("blocksize") ?? 1, d = x.shape.dims, c = shape.dims[1]
    if (op.string("mode") ?? "DCR") == "DCR" { return try x.viewed(as: [d[0], b, b, c, d[2], d[3]]).transposed([0, 3, 4, 1, 5, 2]).viewed(as: shape) }
    return try x.viewed(as: [d[0], c, b, b, d[2], d[3]]).transposed([0, 1, 4, 2, 5, 3]).viewed(as: shape)
  }

  private func spaceToDepth(_ shape: Shape) throws(GenericProblem) -> Tensor {
    let x = try input(0), b = op.int("blocksize") ?? 1, d = x.shape.dims
    let blocks = try x.viewed(as: [d[0], d[1], d[2] / b, b, d[3] / b, b])
    if (op.string("mode") ?? "DCR") == "DCR" { return try blocks.transposed([0, 3, 5, 1, 2, 4]).viewed(as: shape) }
    return try blocks.transposed([0, 1, 3, 5, 2, 4]).viewed(as: shape)
  }

  private func trilu(_ shape: Shape) throws(GenericProblem) -> Tensor {
    let x = try input(0), upper = (op.int("upper") ?? 1) != 0
    let rows = shape.dims[shape.rank - 2], columns = shape.dims[shape.rank - 1], width = x.dtype.bitWidth / 8
    // Beyond the matrix on either side, all diagonals are alike; clamped, no sum overflows.
    let k = Swift.min(Swift.max(try optional(1)?.int64s().first ?? 0, -rows - 1), columns + 1)
    let result = try Tensor.result(x.dtype, shape)
    guard result.count > 0 else { return result }
    result.storage.base.copyMemory(from: x.storage.base + x.byteOffset, byteCount: x.byteCount)
    for row in 0..<result.count / columns {
      let diagonal = Swift.min(Swift.max(row % rows + k + (upper ? 0 : 1), 0), columns)
      let p = result.storage.base + row * columns * width
      // Before the diagonal is the lower part.
      if upper { p.initializeMemory(as: UInt8.self, repeating: 0, count: diagonal * width) } else {
        (p + diagonal * width).initializeMemory(as: UInt8.self, repeating: 0, count: (columns - diagonal) * width)
      }
    }
    return result
  }
}
