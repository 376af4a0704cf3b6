// Element types that tensors at rest and in memory may have. What a number means is known here only as far as its width.

/// An element type. Names are those of the safetensors format.
public enum DType: String, CaseIterable, Sendable, Hashable, Codable {
  case bool = "BOOL"
  case f4 = "F4"
  case f6e2m3 = "F6_E2M3"
  case f6e3m2 = "F6_E3M2"
  case u8 = "U8"
  case i8 = "I8"
  case f8e5m2 = "F8_E5M2"
  case f8e4m3 = "F8_E4M3"
  case f8e8m0 = "F8_E8M0"
  case f8e4m3fnuz = "F8_E4M3FNUZ"
  case f8e5m2fnuz = "F8_E5M2FNUZ"
  case i16 = "I16"
  case u16 = "U16"
  case f16 = "F16"
  case bf16 = "BF16"
  case i32 = "I32"
  case u32 = "U32"
  case f32 = "F32"
  case c64 = "C64"
  case f64 = "F64"
  case i64 = "I64"
  case u64 = "U64"

  /// Width of one element, in bits.
  public var bitWidth: Int {
    switch self {
    case .f4: 4
    case .f6e2m3, .f6e3m2: 6
    case .bool, .u8, .i8, .f8e5m2, .f8e4m3, .f8e8m0, .f8e4m3fnuz, .f8e5m2fnuz: 8
    case .i16, .u16, .f16, .bf16: 16
    case .i32, .u32, .f32: 32
    case .c64, .f64, .i64, .u64: 64
    }
  }

  /// Bytes of `count` elements, or nil where that overflows or does not end on a byte.
  public func byteCount(of count: Int) -> Int? {
    let (bits, overflow) = count.multipliedReportingOverflow(by: bitWidth)
    guard !overflow, bits >= 0, bits % 8 == 0 else { return nil }
    return bits / 8
  }

  /// Whether elements convert to 32-bit floats here: the types that weights are stored in.
  public var convertsToFloat: Bool {
    switch self {
    case .f16, .bf16, .f32, .f64, .i8, .u8, .i16, .u16, .i32, .u32, .i64, .u64, .bool: true
    default: false
    }
  }
}
