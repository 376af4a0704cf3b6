// The element types of ONNX (TensorProto.DataType), by number: files from later versions hold numbers that are not named here. It says how
// wide an element is and which DType holds it; the conversion of bytes is OnnxTensor+Values.swift.

public import DinoTensor

/// An element type, as the number in the file.
public struct OnnxDataType: RawRepresentable, Hashable, Sendable, CustomStringConvertible {
  public let rawValue: Int32
  public init(rawValue: Int32) { self.rawValue = rawValue }

  public static let undefined = OnnxDataType(rawValue: 0)
  public static let float = OnnxDataType(rawValue: 1)
  public static let uint8 = OnnxDataType(rawValue: 2)
  public static let int8 = OnnxDataType(rawValue: 3)
  public static let uint16 = OnnxDataType(rawValue: 4)
  public static let int16 = OnnxDataType(rawValue: 5)
  public static let int32 = OnnxDataType(rawValue: 6)
  public static let int64 = OnnxDataType(rawValue: 7)
  public static let string = OnnxDataType(rawValue: 8)
  public static let bool = OnnxDataType(rawValue: 9)
  public static let float16 = OnnxDataType(rawValue: 10)
  public static let double = OnnxDataType(rawValue: 11)
  public static let uint32 = OnnxDataType(rawValue: 12)
  public static let uint64 = OnnxDataType(rawValue: 13)
  public static let complex64 = OnnxDataType(rawValue: 14)
  public static let complex128 = OnnxDataType(rawValue: 15)
  public static let bfloat16 = OnnxDataType(rawValue: 16)
  public static let float8e4m3fn = OnnxDataType(rawValue: 17)
  public static let float8e4m3fnuz = OnnxDataType(rawValue: 18)
  public static let float8e5m2 = OnnxDataType(rawValue: 19)
  public static let float8e5m2fnuz = OnnxDataType(rawValue: 20)
  public static let uint4 = OnnxDataType(rawValue: 21)
  public static let int4 = OnnxDataType(rawValue: 22)
  public static let float4e2m1 = OnnxDataType(rawValue: 23)
  public static let float8e8m0 = OnnxDataType(rawValue: 24)
  public static let uint2 = OnnxDataType(rawValue: 25)
  public static let int2 = OnnxDataType(rawValue: 26)
  public static let float6e2m3 = OnnxDataType(rawValue: 27)
  public static let float6e3m2 = OnnxDataType(rawValue: 28)

  /// Names of `TensorProto.DataType`, by number.
  private static let names = [
    "UNDEFINED", "FLOAT", "UINT8", "INT8", "UINT16", "INT16", "INT32", "INT64", "STRING", "BOOL", "FLOAT16", "DOUBLE", "UINT32", "UINT64",
    "COMPLEX64", "COMPLEX128", "BFLOAT16", "FLOAT8E4M3FN", "FLOAT8E4M3FNUZ", "FLOAT8E5M2", "FLOAT8E5M2FNUZ", "UINT4", "INT4", "FLOAT4E2M1",
    "FLOAT8E8M0", "UINT2", "INT2", "FLOAT6E2M3", "FLOAT6E3M2",
  ]

  /// The name in ONNX's own documents, or "data type N" for a number that this version does not know.
  public var description: String {
    OnnxDataType.names.indices.contains(Int(rawValue)) ? OnnxDataType.names[Int(rawValue)] : "data type \(rawValue)"
  }

  /// The type of a tensor in memory that holds this one. Types narrower than a byte are widened: integers of 4 and 2 bits to I8 or U8,
  /// FLOAT4E2M1 to F32, which holds its values exactly. Nil for STRING, COMPLEX128, the 6-bit floats and unknown numbers.
  public var dtype: DType? {
    switch self {
    case .float, .float4e2m1: .f32
    case .uint8, .uint4, .uint2: .u8
    case .int8, .int4, .int2: .i8
    case .uint16: .u16
    case .int16: .i16
    case .int32: .i32
    case .int64: .i64
    case .bool: .bool
    case .float16: .f16
    case .double: .f64
    case .uint32: .u32
    case .uint64: .u64
    case .complex64: .c64
    case .bfloat16: .bf16
    case .float8e4m3fn: .f8e4m3
    case .float8e4m3fnuz: .f8e4m3fnuz
    case .float8e5m2: .f8e5m2
    case .float8e5m2fnuz: .f8e5m2fnuz
    case .float8e8m0: .f8e8m0
    default: nil
    }
  }

  /// The ONNX type that holds a tensor's elements as they are; nil for the 4- and 6-bit floats, which ONNX packs otherwise.
  public init?(_ dtype: DType) {
    switch dtype {
    case .f32: self = .float
    case .u8: self = .uint8
    case .i8: self = .int8
    case .u16: self = .uint16
    case .i16: self = .int16
    case .i32: self = .int32
    case .i64: self = .int64
    case .bool: self = .bool
    case .f16: self = .float16
    case .f64: self = .double
    case .u32: self = .uint32
    case .u64: self = .uint64
    case .c64: self = .complex64
    case .bf16: self = .bfloat16
    case .f8e4m3: self = .float8e4m3fn
    case .f8e4m3fnuz: self = .float8e4m3fnuz
    case .f8e5m2: self = .float8e5m2
    case .f8e5m2fnuz: self = .float8e5m2fnuz
    case .f8e8m0: self = .float8e8m0
    case .f4, .f6e2m3, .f6e3m2: return nil
    }
  }

  /// Bits of one element in `raw_data`; nil for STRING, the 6-bit floats (whose packing no file has shown yet) and unknown numbers.
  public var bitWidth: Int? {
    switch self {
    case .uint4, .int4, .float4e2m1: 4
    case .uint2, .int2: 2
    case .complex128: 128
    default: dtype?.bitWidth
    }
  }

  /// Bytes of `count` elements in `raw_data`, the last byte filled up; nil where that overflows or the width is not known.
  public func byteCount(of count: Int) -> Int? {
    guard let bitWidth, count >= 0 else { return nil }
    let (bits, overflow) = count.multipliedReportingOverflow(by: bitWidth)
    guard !overflow, bits <= Int.max - 7 else { return nil }
    return (bits + 7) / 8
  }
}
