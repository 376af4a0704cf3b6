// Plain twins of foreign operators: ScatterElements and ScatterND, which write into a copy of their data, in the order of the updates.

import DinoGraph
import DinoTensor

extension OperatorCall {
  func scatterElements() throws(GenericProblem) -> Tensor {
    let data = try input(0), updates = try input(2), shape = updates.shape, axis = axis(0, rank: data.shape.rank)
    guard updates.count > 0 else { return data }
    let picked = try indices(1, below: data.shape.dims[axis])
    var steps = data.shape.strides
    let along = steps[axis]
    steps[axis] = 0
    let loop = StridedLoop(shape, steps: [steps]), n = loop.rowLength, step = loop.rowStep(0)
    var targets = picked
    loop.forEachRow { o, base in for j in 0..<n { targets[o + j] = base + j * step + picked[o + j] * along } }
    return try scatter(data, updates, targets, length: 1)
  }

  func scatterND() throws(GenericProblem) -> Tensor {
    let data = try input(0), tuples = try input(1), updates = try input(2)
    guard updates.count > 0 else { return data }
    let depth = tuples.shape.dims[tuples.shape.rank - 1], strides = data.shape.strides
    let flat = try tuples.int64s(), length = Shape(Array(data.shape.dims[depth...])).count
    var targets = [Int](repeating: 0, count: updates.count / length)
    for i in targets.indices {
      for d in 0..<depth { targets[i] += try place(flat[i * depth + d], data.shape.dims[d]) * strides[d] }
    }
    return try scatter(data, updates, targets, length: length)
  }

  /// Writes stretches of `length` elements of `updates` to their targets in a copy of `data`; targets are in range.
  private func scatter(_ data: Tensor, _ updates: Tensor, _ targets: [Int], length: Int) throws(GenericProblem) -> Tensor {
    let mode = op.string("reduction") ?? "none"
    let half = data.dtype == .f16 || data.dtype == .bf16
    if mode != "none", half {
      // Rounded after each step, as arithmetic in the type itself would be.
      let round: (Float) -> Float = data.dtype == .f16 ? { floatFromHalf(halfFromFloat($0)) } : { Float(bitPattern: UInt32(bfloat16FromFloat($0)) << 16) }
      let result = try data.float32().copied(), source = try updates.float32()
      try ScatterWork(mode: mode, result: result, updates: source, targets: targets, length: length).run(Float.self, after: round)
      return try result.rounded(to: data.dtype)
    }
    let result = try data.copied()
    if mode == "none" {
      try PlaceWork(result: result, updates: try updates.aligned(), targets: targets, length: length).dispatch(data.dtype)
    } else {
      try ScatterWork(mode: mode, result: result, updates: try updates.aligned(), targets: targets, length: length).dispatch(data.dtype)
    }
    return result
  }
}

extension Tensor {
  /// New memory with the same elements, to write into.
  fileprivate func copied() throws(GenericProblem) -> Tensor {
    let copy = try Tensor.result(dtype, shape)
    copy.storage.base.copyMemory(from: storage.base + byteOffset, byteCount: byteCount)
    return copy
  }
}

private struct PlaceWork: MoveWork {
  let result: Tensor, updates: Tensor
  let targets: [Int]
  let length: Int

  func run<T: FixedWidthInteger & UnsignedInteger & BitwiseCopyable>(_ type: T.Type) throws(GenericProblem) {
    let out = result.storage.base.assumingMemoryBound(to: T.self), from = (updates.storage.base + updates.byteOffset).assumingMemoryBound(to: T.self)
    for (i, target) in targets.enumerated() { (out + target).update(from: from + i * length, count: length) }
    withExtendedLifetime((result.storage, updates.storage)) {}
  }
}

private struct ScatterWork: ElementWork {
  let mode: String
  let result: Tensor, updates: Tensor
  let targets: [Int]
  let length: Int

  func run<T: NumericElement>(_ type: T.Type) throws(GenericProblem) { try run(type) { $0 } }

  @inline(__always)
  func run<T: NumericElement>(_ type: T.Type, after round: (T) -> T) throws(GenericProblem) {
    switch mode {
    case "add": each(T.self) { round(T.add($0, $1)) }
    case "mul": each(T.self) { round(T.mul($0, $1)) }
    case "min": each(T.self) { $0 < $1 || $0.isNotANumber ? $0 : $1 }
    case "max": each(T.self) { $0 > $1 || $0.isNotANumber ? $0 : $1 }
    default: throw .invalid("a reduction by \(mode) does not exist")
    }
  }

  @inline(__always)
  private func each<T: NumericElement>(_ type: T.Type, _ f: (T, T) -> T) {
    let out = result.storage.base.assumingMemoryBound(to: T.self), from = (updates.storage.base + updates.byteOffset).assumingMemoryBound(to: T.self)
    for (i, target) in targets.enumerated() {
      for j in 0..<length { out[target + j] = f(out[target + j], from[i * length + j]) }
    }
    withExtendedLifetime((result.storage, updates.storage)) {}
  }
}
