// The values of a constant as a tensor in memory. Bytes in `raw_data` and in external files stay where they are; typed fields, and types narrower
// than a byte, are converted.

public import DinoTensor

extension OnnxTensor {
  /// The shape; an error where it has a negative extent or too many elements.
  public func shape() throws(OnnxTensorProblem) -> Shape {
    var extents: [Int] = []
    for d in dims {
      guard d >= 0, let extent = Int(exactly: d) else { throw .invalidShape(dims: dims) }
      extents.append(extent)
    }
    let shape = Shape(extents)
    guard shape.checkedCount != nil else { throw .invalidShape(dims: dims) }
    return shape
  }

  /// The tensor in memory (its element type is `dataType.dtype`). For external data ask the file: `OnnxFile.tensor`.
  public func tensor() throws(OnnxTensorProblem) -> Tensor { try values(of: content) }

  /// The strings of a STRING tensor, as bytes, row-major.
  public func strings() throws(OnnxTensorProblem) -> [[UInt8]] {
    guard dataType == .string else { throw .unsupportedType(dataType) }
    let count = try shape().count
    switch content {
    case .strings(let strings):
      guard strings.count == count else { throw .valueCount(field: "string_data", expected: count, found: strings.count) }
      return strings
    case .none where count == 0: return []
    case .none, .external: throw .noData(elements: count)
    case .conflicting: throw .conflictingData
    case .raw: throw .wrongField(field: "raw_data", dataType)
    case .floats, .int32s, .int64s, .doubles, .uint64s: throw .wrongField(field: "a numeric field", dataType)
    }
  }

  /// Bytes that the tensor has in `raw_data` or an external file.
  func rawByteCount() throws(OnnxTensorProblem) -> Int {
    let shape = try shape()
    guard dataType.bitWidth != nil else { throw .unsupportedType(dataType) }
    guard let bytes = dataType.byteCount(of: shape.count) else { throw .invalidShape(dims: dims) }
    return bytes
  }

  /// The tensor of this type and shape with `content` as its data.
  func values(of content: Content) throws(OnnxTensorProblem) -> Tensor {
    guard let dtype = dataType.dtype else { throw .unsupportedType(dataType) }
    let shape = try shape()
    guard dtype.byteCount(of: shape.count) != nil else { throw .invalidShape(dims: dims) }
    switch content {
    case .raw(let bytes): return try fromRaw(bytes, dtype, shape)
    case .none, .external:
      guard shape.count == 0 else { throw .noData(elements: shape.count) }
      return try fromRaw(OnnxBytes([]), dtype, shape)
    case .conflicting: throw .conflictingData
    case .strings: throw .wrongField(field: "string_data", dataType)
    case .floats(let values):
      guard dataType == .float || dataType == .complex64 else { throw .wrongField(field: "float_data", dataType) }
      try check("float_data", values.count, shape.count * (dataType == .complex64 ? 2 : 1))
      return try copy(values, dtype, shape)
    case .doubles(let values):
      guard dataType == .double else { throw .wrongField(field: "double_data", dataType) }
      try check("double_data", values.count, shape.count)
      return try copy(values, dtype, shape)
    case .int64s(let values):
      guard dataType == .int64 else { throw .wrongField(field: "int64_data", dataType) }
      try check("int64_data", values.count, shape.count)
      return try copy(values, dtype, shape)
    case .uint64s(let values): return try fromUInt64s(values, dtype, shape)
    case .int32s(let values): return try fromInt32s(values, dtype, shape)
    }
  }

  // MARK: raw bytes

  private func fromRaw(_ bytes: OnnxBytes, _ dtype: DType, _ shape: Shape) throws(OnnxTensorProblem) -> Tensor {
    let expected = try rawByteCount()
    guard bytes.count == expected else { throw .byteCount(expected: expected, found: bytes.count) }
    if let width = dataType.bitWidth, width < 8 { return try unpack(bytes, width: width, dtype, shape) }
    guard let tensor = Tensor(dtype: dtype, shape: shape, storage: bytes.storage, byteOffset: bytes.offset) else {
      throw .byteCount(expected: expected, found: bytes.count)
    }
    return tensor
  }

  /// Elements of 2 or 4 bits, the first in the lowest bits, to one element a byte (or a float, for FLOAT4E2M1).
  private func unpack(_ bytes: OnnxBytes, width: Int, _ dtype: DType, _ shape: Shape) throws(OnnxTensorProblem) -> Tensor {
    let count = shape.count, perByte = 8 / width
    let mask = UInt8((1 << width) - 1)
    let elements: [UInt8] = bytes.withBytes { span in
      var elements: [UInt8] = []
      elements.reserveCapacity(count)
      for i in 0..<count { elements.append((span[i / perByte] >> UInt8(i % perByte * width)) & mask) }
      return elements
    }
    switch dataType {
    case .float4e2m1: return try copy(elements.map { OnnxTensor.float4Values[Int($0)] }, dtype, shape)
    case .int4, .int2:
      let up = Int8(8 - width)
      return try copy(elements.map { (Int8(bitPattern: $0) << up) >> up }, dtype, shape)
    default: return try copy(elements, dtype, shape)
    }
  }

  /// The values of FLOAT4E2M1: sign, two bits of exponent (bias 1), one of mantissa.
  private static let float4Values: [Float] = [0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6]

  // MARK: typed fields

  private func fromUInt64s(_ values: [UInt64], _ dtype: DType, _ shape: Shape) throws(OnnxTensorProblem) -> Tensor {
    switch dataType {
    case .uint64:
      try check("uint64_data", values.count, shape.count)
      return try copy(values, dtype, shape)
    case .uint32:
      try check("uint64_data", values.count, shape.count)
      return try copy(values.map { UInt32(truncatingIfNeeded: $0) }, dtype, shape)
    default: throw .wrongField(field: "uint64_data", dataType)
    }
  }

  private func fromInt32s(_ values: [Int32], _ dtype: DType, _ shape: Shape) throws(OnnxTensorProblem) -> Tensor {
    if let width = dataType.bitWidth, width < 8 {
      let expected = try rawByteCount()
      try check("int32_data", values.count, expected)
      return try unpack(OnnxBytes(try narrowed(values, bits: 8) { UInt8(truncatingIfNeeded: $0) }), width: width, dtype, shape)
    }
    try check("int32_data", values.count, shape.count)
    switch dataType {
    case .int32: return try copy(values, dtype, shape)
    case .int16, .uint16, .float16, .bfloat16: return try copy(narrowed(values, bits: 16) { UInt16(truncatingIfNeeded: $0) }, dtype, shape)
    case .int8, .uint8, .float8e4m3fn, .float8e4m3fnuz, .float8e5m2, .float8e5m2fnuz, .float8e8m0:
      return try copy(narrowed(values, bits: 8) { UInt8(truncatingIfNeeded: $0) }, dtype, shape)
    case .bool: return try copy(values.map { $0 == 0 ? UInt8(0) : 1 }, dtype, shape)
    default: throw .wrongField(field: "int32_data", dataType)
    }
  }

  /// The low bits of each number. Writers disagree on whether bit patterns are sign-extended, so both readings of the width are allowed.
  private func narrowed<T>(_ values: [Int32], bits: Int32, _ low: (Int32) -> T) throws(OnnxTensorProblem) -> [T] {
    let range = -(Int32(1) << (bits - 1))..<(Int32(1) << bits)
    var narrow: [T] = []
    narrow.reserveCapacity(values.count)
    for value in values {
      guard range.contains(value) else { throw .valueOutOfRange(value, dataType) }
      narrow.append(low(value))
    }
    return narrow
  }

  private func check(_ field: String, _ found: Int, _ expected: Int) throws(OnnxTensorProblem) {
    guard found == expected else { throw .valueCount(field: field, expected: expected, found: found) }
  }

  /// Values as a new tensor. Their count is that of the shape (twice that for complex numbers).
  private func copy<T: BitwiseCopyable>(_ values: [T], _ dtype: DType, _ shape: Shape) throws(OnnxTensorProblem) -> Tensor {
    do {
      return try unsafe Tensor(dtype: dtype, shape: shape) { out in unsafe values.withUnsafeBytes { unsafe out.copyMemory(from: $0) } }
    } catch {
      throw .outOfMemory(bytes: values.count * MemoryLayout<T>.stride)
    }
  }
}
