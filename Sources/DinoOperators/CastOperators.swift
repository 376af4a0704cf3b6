// Conversion between element types as Cast defines it: floats to integers truncate, integers to narrower ones wrap, floats round to nearest even. No float8.

import DinoGraph
import DinoTensor

extension Tensor {
  /// The values in another plain type; itself where the type is the same.
  func cast(to target: DType) throws(GenericProblem) -> Tensor {
    if target == dtype { return self }
    guard target.convertsToFloat, dtype.convertsToFloat else { throw .unsupported("Cast from \(dtype.rawValue) to \(target.rawValue) is not computed here") }
    // The pairs that networks have much of.
    switch (dtype, target) {
    case (_, .f32) where dtype != .f64: return try float32()
    case (.f32, .f16), (.f32, .bf16), (.f32, .f64): return try rounded(to: target)
    default: break
    }
    // All others in blocks, through the widest type of the source's kind: 64-bit integers hold every integer, doubles every float.
    let fromFloats = [.f32, .f64, .f16, .bf16].contains(dtype)
    let source = try aligned(), n = count, result = try Tensor.result(target, shape)
    var at = 0
    var integers = [Int64](repeating: 0, count: fromFloats ? 0 : Self.block), reals = [Double](repeating: 0, count: fromFloats ? Self.block : 0)
    while at < n {
      let size = Swift.min(Self.block, n - at)
      if fromFloats {
        try source.widen(at, size, &reals)
        if target == .bool {
          for i in 0..<size { result.write(UInt8(reals[i] != 0 ? 1 : 0), at + i) }
        } else {
          try RealWriter(result: result, at: at, size: size, values: reals).dispatchAny(target)
        }
      } else {
        try IntegerReader(source: source, at: at, size: size).read(into: &integers)
        // U64 above Int64 keeps its bits as an integer, and its value as a float.
        try IntegerWriter(result: result, at: at, size: size, values: integers, unsigned: dtype == .u64).write(target)
      }
      at += size
    }
    return result
  }

  private static let block = 1024

  @inline(__always)
  fileprivate func write<T: BitwiseCopyable>(_ value: T, _ i: Int) { storage.base.assumingMemoryBound(to: T.self)[i] = value }

  private func widen(_ at: Int, _ size: Int, _ out: inout [Double]) throws(GenericProblem) {
    let from = storage.base + byteOffset
    switch dtype {
    case .f64:
      let p = from.assumingMemoryBound(to: Double.self) + at
      for i in 0..<size { out[i] = p[i] }
    case .f32:
      let p = from.assumingMemoryBound(to: Float.self) + at
      for i in 0..<size { out[i] = Double(p[i]) }
    case .f16:
      let p = from.assumingMemoryBound(to: UInt16.self) + at
      for i in 0..<size { out[i] = Double(floatFromHalf(p[i])) }
    case .bf16:
      let p = from.assumingMemoryBound(to: UInt16.self) + at
      for i in 0..<size { out[i] = Double(Float(bitPattern: UInt32(p[i]) << 16)) }
    default: throw .unsupported("\(dtype.rawValue) is no float type")
    }
  }
}

/// Doubles into any type but BOOL.
private struct RealWriter: ElementWork {
  let result: Tensor
  let at: Int, size: Int
  let values: [Double]

  func dispatchAny(_ target: DType) throws(GenericProblem) {
    switch target {
    case .f16: for i in 0..<size { result.write(halfFromDouble(values[i]), at + i) }
    case .bf16: for i in 0..<size { result.write(bfloat16FromDouble(values[i]), at + i) }
    default: try dispatch(target)
    }
  }

  func run<T: NumericElement>(_ type: T.Type) throws(GenericProblem) {
    let out = result.storage.base.assumingMemoryBound(to: T.self) + at
    for i in 0..<size { out[i] = T(wrapping: values[i]) }
  }
}

private struct IntegerReader: IntegerWork {
  let source: Tensor
  let at: Int, size: Int

  func read(into out: inout [Int64]) throws(GenericProblem) { out = try dispatch(source.dtype) }

  func run<T: NumericElement & FixedWidthInteger>(_ type: T.Type) throws(GenericProblem) -> [Int64] {
    let p = (source.storage.base + source.byteOffset).assumingMemoryBound(to: T.self) + at
    return [Int64](unsafeUninitializedCapacity: size) { out, count in
      for i in 0..<size { out[i] = Int64(truncatingIfNeeded: p[i]) }
      count = size
    }
  }
}

/// 64-bit integers into any type.
private struct IntegerWriter: IntegerWork {
  let result: Tensor
  let at: Int, size: Int
  let values: [Int64]
  let unsigned: Bool

  func write(_ target: DType) throws(GenericProblem) {
    switch target {
    case .bool: for i in 0..<size { result.write(UInt8(values[i] != 0 ? 1 : 0), at + i) }
    case .f64: for i in 0..<size { result.write(unsigned ? Double(UInt64(bitPattern: values[i])) : Double(values[i]), at + i) }
    case .f16, .bf16:
      for i in 0..<size {
        let real = unsigned ? Double(UInt64(bitPattern: values[i])) : Double(values[i])
        result.write(target == .f16 ? halfFromDouble(real) : bfloat16FromDouble(real), at + i)
      }
    default: try dispatch(target)
    }
  }

  func run<T: NumericElement & FixedWidthInteger>(_ type: T.Type) throws(GenericProblem) {
    let out = result.storage.base.assumingMemoryBound(to: T.self) + at
    for i in 0..<size { out[i] = T(truncatingIfNeeded: values[i]) }
  }
}
