// Conversion of elements to and from 32-bit floats. Plain integer arithmetic that the compiler vectorises: no per-element calls.

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

extension Tensor {
  /// All elements as floats. Only for types with `dtype.convertsToFloat`; f64 and wide integers are rounded to nearest.
  public func floats() -> [Float] {
    [Float](unsafeUninitializedCapacity: count) { buffer, n in
      convert(range: 0..<count, into: buffer.baseAddress!)
      n = count
    }
  }

  /// Writes elements `range` as floats to `out`. Any alignment of the source.
  public func convert(range: Range<Int>, into out: UnsafeMutablePointer<Float>) {
    precondition(range.lowerBound >= 0 && range.upperBound <= count)
    let n = range.count
    guard n > 0 else { return }
    storage.reading { convert($0 + byteOffset + range.lowerBound * (dtype.bitWidth / 8), n, into: out) }
  }

  private func convert(_ src: UnsafeRawPointer, _ n: Int, into out: UnsafeMutablePointer<Float>) {
    switch dtype {
    case .f32: memcpy(out, src, n * 4)
    case .f16: for i in 0..<n { out[i] = floatFromHalf((src + i &* 2).loadUnaligned(as: UInt16.self)) }
    case .bf16: for i in 0..<n { out[i] = Float(bitPattern: UInt32((src + i &* 2).loadUnaligned(as: UInt16.self)) << 16) }
    case .f64: for i in 0..<n { out[i] = Float((src + i &* 8).loadUnaligned(as: Double.self)) }
    case .i8: for i in 0..<n { out[i] = Float((src + i).loadUnaligned(as: Int8.self)) }
    case .u8, .bool: for i in 0..<n { out[i] = Float((src + i).loadUnaligned(as: UInt8.self)) }
    case .i16: for i in 0..<n { out[i] = Float((src + i &* 2).loadUnaligned(as: Int16.self)) }
    case .u16: for i in 0..<n { out[i] = Float((src + i &* 2).loadUnaligned(as: UInt16.self)) }
    case .i32: for i in 0..<n { out[i] = Float((src + i &* 4).loadUnaligned(as: Int32.self)) }
    case .u32: for i in 0..<n { out[i] = Float((src + i &* 4).loadUnaligned(as: UInt32.self)) }
    case .i64: for i in 0..<n { out[i] = Float((src + i &* 8).loadUnaligned(as: Int64.self)) }
    case .u64: for i in 0..<n { out[i] = Float((src + i &* 8).loadUnaligned(as: UInt64.self)) }
    case .f4, .f6e2m3, .f6e3m2, .f8e5m2, .f8e4m3, .f8e8m0, .f8e4m3fnuz, .f8e5m2fnuz, .c64:
      preconditionFailure("\(dtype.rawValue) does not convert to F32; ask convertsToFloat first")
    }
  }

  /// In f32: the elements of each index of the first axis times that one of `factors`.
  public func multipliedRows(by factors: Tensor) -> Tensor {
    let f = factors.floats(), rows = f.count
    precondition(rows > 0 && count % rows == 0)
    let columns = count / rows
    let values = [Float](unsafeUninitializedCapacity: count) { buffer, n in
      convert(range: 0..<count, into: buffer.baseAddress!)
      for r in 0..<rows {
        let row = buffer.baseAddress! + r * columns
        for c in 0..<columns { row[c] *= f[r] }
      }
      n = count
    }
    return Tensor(values, shape: shape)
  }

  /// The tensor with elements of another float type (f32, f16, bf16), rounded to nearest even. Itself where the type is the same.
  public func converted(to target: DType) throws -> Tensor {
    if target == dtype { return self }
    precondition(dtype.convertsToFloat && [.f32, .f16, .bf16].contains(target))
    let values = floats()
    switch target {
    case .f16: return Tensor.copy(values.map(halfFromFloat), dtype: .f16, shape: shape)
    case .bf16: return Tensor.copy(values.map(bfloat16FromFloat), dtype: .bf16, shape: shape)
    default: return Tensor.copy(values, dtype: .f32, shape: shape)
    }
  }
}

/// IEEE binary16 bits to float, exactly.
@inline(__always)
public func floatFromHalf(_ h: UInt16) -> Float {
  let magnitude = UInt32(h & 0x7FFF) << 13
  // Scaling by 2^112 moves the exponent's bias and makes subnormals normal in one product.
  let scaled = (Float(bitPattern: magnitude) * Float(bitPattern: 0x7780_0000)).bitPattern
  let special: UInt32 = magnitude >= 0x0F80_0000 ? 0x7F80_0000 : 0
  return Float(bitPattern: (UInt32(h & 0x8000) << 16) | scaled | special)
}

/// Float to IEEE binary16 bits, nearest even; NaN stays NaN, too large becomes infinity.
public func halfFromFloat(_ f: Float) -> UInt16 {
  let bits = f.bitPattern
  let sign = UInt16(truncatingIfNeeded: (bits >> 16) & 0x8000)
  let m = bits & 0x7FFF_FFFF
  if m > 0x7F80_0000 { return sign | 0x7E00 }
  if m >= 0x477F_F000 { return sign | 0x7C00 }
  if m < 0x3880_0000 {
    // Subnormal: adding 0.5 leaves the rounded value in the low bits of the mantissa.
    let shifted = (Float(bitPattern: m) + 0.5).bitPattern &- Float(0.5).bitPattern
    return sign | UInt16(truncatingIfNeeded: shifted)
  }
  let rounded = m &+ 0xFFF &+ ((m >> 13) & 1)
  return sign | UInt16(truncatingIfNeeded: (rounded &- 0x3800_0000) >> 13)
}

/// Float to bfloat16 bits, nearest even; NaN stays NaN.
public func bfloat16FromFloat(_ f: Float) -> UInt16 {
  let bits = f.bitPattern
  if bits & 0x7FFF_FFFF > 0x7F80_0000 { return UInt16(truncatingIfNeeded: bits >> 16) | 0x40 }
  return UInt16(truncatingIfNeeded: (bits &+ 0x7FFF &+ ((bits >> 16) & 1)) >> 16)
}
