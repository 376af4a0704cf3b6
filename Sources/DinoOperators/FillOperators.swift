// Plain twins of foreign operators: tensors made from a few numbers: Range, ConstantOfShape, EyeLike.

import DinoGraph
import DinoTensor

extension OperatorCall {
  func range(_ dtype: DType, _ shape: Shape) throws(GenericProblem) -> Tensor {
    let first = try input(0), step = try input(2), count = shape.dims[0]
    switch dtype {
    case .f32, .f16, .bf16, .f64:
      let start = try first.doubles()[0], delta = try step.doubles()[0]
      let values = try Tensor.result(.f64, shape, of: Double.self) { out in for i in 0..<count { out[i] = start + Double(i) * delta } }
      return try values.cast(to: dtype)
    default:
      let start = try first.int64s()[0], delta = try step.int64s()[0]
      let values = try Tensor.result(.i64, shape, of: Int64.self) { out in for i in 0..<count { out[i] = Int64(start &+ i &* delta) } }
      return try values.cast(to: dtype)
    }
  }

  func constantOfShape(_ dtype: DType, _ shape: Shape) throws(GenericProblem) -> Tensor {
    var bits: UInt64 = 0
    if case .element(_, let given)? = op.attributes["value"] { bits = given }
    let result = try Tensor.result(dtype, shape)
    try FillWork(result: result, bits: bits).dispatch(dtype)
    return result
  }

  func eyeLike(_ dtype: DType, _ shape: Shape) throws(GenericProblem) -> Tensor {
    let rows = shape.dims[0], columns = shape.dims[1], k = op.int("k") ?? 0
    let one = try Tensor.result(.bool, [], of: UInt8.self) { $0[0] = 1 }.cast(to: dtype)
    let result = try Tensor.result(dtype, shape), width = dtype.bitWidth / 8
    result.storage.base.initializeMemory(as: UInt8.self, repeating: 0, count: result.byteCount)
    guard k > -rows, k < columns else { return result }
    for row in Swift.max(0, -k)..<Swift.max(Swift.min(rows, columns - k), Swift.max(0, -k)) {
      (result.storage.base + (row * columns + row + k) * width).copyMemory(from: one.storage.base + one.byteOffset, byteCount: width)
    }
    return result
  }
}

/// The same bits everywhere.
struct FillWork: MoveWork {
  let result: Tensor
  let bits: UInt64

  func run<T: FixedWidthInteger & UnsignedInteger & BitwiseCopyable>(_ type: T.Type) throws(GenericProblem) {
    result.storage.base.assumingMemoryBound(to: T.self).update(repeating: T(truncatingIfNeeded: bits), count: result.count)
  }
}
