// The header of an .npy file, both ways: magic, version, length, and a dictionary in Python's notation of which exactly three keys are read.
// It is no Python parser: what numpy writes for plain arrays and nothing more. Byte for byte what numpy.save writes, in the other direction.

internal import DinoTensor

/// What an .npy header says.
struct NPYHeader: Equatable {
  var dtype: DType
  /// The bytes of an element are in the other order than this machine's.
  var byteSwapped: Bool
  var fortranOrder: Bool
  var shape: Shape
  /// Bytes before the data.
  var length: Int

  static let magic: [UInt8] = [0x93, 0x4E, 0x55, 0x4D, 0x50, 0x59]
  /// Longer headers belong to structured types, which are not read.
  static let longest = 65_536
  /// As many dimensions as NumPy 2 has.
  static let rankLimit = 64

  /// Bytes of all elements.
  var dataSize: Int { dtype.byteCount(of: shape.count) ?? 0 }

  /// Reads a header from the start of `bytes`. `path` is for sentences.
  static func parse(_ bytes: Span<UInt8>, path: String) throws(NumPyError) -> NPYHeader {
    guard bytes.count >= 8 else { throw .notAnArrayFile(path: path) }
    for i in 0..<6 where bytes[i] != magic[i] { throw .notAnArrayFile(path: path) }
    let major = bytes[6], minor = bytes[7]
    guard (1...3).contains(major), minor == 0 else { throw .unknownVersion(path: path, major: major, minor: minor) }
    let lengthBytes = major == 1 ? 2 : 4
    guard bytes.count >= 8 + lengthBytes else {
      throw .headerBeyondFile(path: path, bytes: lengthBytes, available: bytes.count - 8)
    }
    var length = 0
    for i in 0..<lengthBytes { length |= Int(bytes[8 + i]) << (8 * i) }
    let start = 8 + lengthBytes
    guard length <= longest else { throw .headerTooLong(path: path, bytes: length, limit: longest) }
    guard length <= bytes.count - start else { throw .headerBeyondFile(path: path, bytes: length, available: bytes.count - start) }
    var parser = NPYDictionary(position: start, end: start + length, path: path)
    return try parser.header(bytes)
  }

  /// The header numpy.save writes for a C-ordered array: version 1.0, room for the first extent to grow to 21 digits, data aligned to 64.
  static func bytes(dtype: DType, shape: Shape) -> [UInt8]? {
    guard let descr = descriptor(dtype) else { return nil }
    var text = "{'descr': '\(descr)', 'fortran_order': False, 'shape': \(tuple(shape)), }"
    if let first = shape.dims.first { text += String(repeating: " ", count: max(0, 21 - String(first).utf8.count)) }
    // As in numpy, a header that ends on the boundary gets 64 more.
    let padding = 64 - (10 + text.utf8.count + 1) % 64
    text += String(repeating: " ", count: padding) + "\n"
    let count = text.utf8.count
    return magic + [1, 0, UInt8(truncatingIfNeeded: count), UInt8(truncatingIfNeeded: count >> 8)] + Array(text.utf8)
  }

  private static func tuple(_ shape: Shape) -> String {
    let dims = shape.dims.map(String.init)
    return dims.count == 1 ? "(\(dims[0]),)" : "(\(dims.joined(separator: ", ")))"
  }

  /// NumPy's name of a type, nil where it has none.
  static func descriptor(_ dtype: DType) -> String? {
    switch dtype {
    case .bool: "|b1"
    case .u8: "|u1"
    case .i8: "|i1"
    case .u16: "<u2"
    case .i16: "<i2"
    case .u32: "<u4"
    case .i32: "<i4"
    case .u64: "<u8"
    case .i64: "<i8"
    case .f16: "<f2"
    case .f32: "<f4"
    case .f64: "<f8"
    case .c64: "<c8"
    case .bf16, .f4, .f6e2m3, .f6e3m2, .f8e5m2, .f8e4m3, .f8e8m0, .f8e4m3fnuz, .f8e5m2fnuz: nil
    }
  }

  /// The type of a descriptor such as `<f4`, and whether its bytes must be swapped.
  static func type(_ descriptor: String) -> (DType, swapped: Bool)? {
    let characters = Array(descriptor.utf8)
    guard let order = characters.first, characters.count == 3 else { return nil }
    guard let dtype = types[String(descriptor.dropFirst())] else { return nil }
    switch order {
    case UInt8(ascii: "<"), UInt8(ascii: "="): return (dtype, false)
    case UInt8(ascii: ">"): return (dtype, dtype.bitWidth > 8)
    case UInt8(ascii: "|"): return dtype.bitWidth == 8 ? (dtype, false) : nil
    default: return nil
    }
  }

  private static let types: [String: DType] = [
    "b1": .bool, "u1": .u8, "i1": .i8, "u2": .u16, "i2": .i16, "u4": .u32, "i4": .i32, "u8": .u64, "i8": .i64,
    "f2": .f16, "f4": .f32, "f8": .f64, "c8": .c64,
  ]
}

/// `{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }` and spaces.
private struct NPYDictionary {
  var position: Int
  let end: Int
  let path: String

  mutating func header(_ bytes: Span<UInt8>) throws(NumPyError) -> NPYHeader {
    var descriptor: String?, fortran: Bool?, shape: Shape?
    try expect("{", bytes)
    while !take("}", bytes) {
      let key = try quotedString(bytes)
      try expect(":", bytes)
      switch key {
      case "descr" where descriptor == nil: descriptor = try typeName(bytes)
      case "fortran_order" where fortran == nil: fortran = try bool(bytes)
      case "shape" where shape == nil: shape = try tuple(bytes)
      default: throw .headerKey(path: path, key: key)
      }
      if take(",", bytes) { continue }
      try expect("}", bytes)
      break
    }
    skipSpace(bytes)
    guard position == end else { throw malformed("nothing but spaces after the closing brace") }
    guard let descriptor else { throw .headerKey(path: path, key: "descr") }
    guard let fortran else { throw .headerKey(path: path, key: "fortran_order") }
    guard let shape else { throw .headerKey(path: path, key: "shape") }
    guard let (dtype, swapped) = NPYHeader.type(descriptor) else { throw .unsupportedType(path: path, found: "'\(descriptor)'") }
    guard let count = shape.checkedCount, dtype.byteCount(of: count) != nil else { throw .sizeOverflows(path: path, dtype: dtype, shape: shape) }
    return NPYHeader(dtype: dtype, byteSwapped: swapped, fortranOrder: fortran, shape: shape, length: end)
  }

  private func malformed(_ expected: String) -> NumPyError { .headerMalformed(path: path, offset: position, expected: expected) }

  private mutating func skipSpace(_ bytes: Span<UInt8>) {
    while position < end, bytes[position] == 0x20 || 0x09...0x0D ~= bytes[position] { position += 1 }
  }

  private mutating func take(_ character: Unicode.Scalar, _ bytes: Span<UInt8>) -> Bool {
    skipSpace(bytes)
    guard position < end, bytes[position] == UInt8(ascii: character) else { return false }
    position += 1
    return true
  }

  private mutating func expect(_ character: Unicode.Scalar, _ bytes: Span<UInt8>) throws(NumPyError) {
    guard take(character, bytes) else { throw malformed("'\(character)'") }
  }

  /// A short ASCII string in single or double quotes, without escapes.
  private mutating func quotedString(_ bytes: Span<UInt8>) throws(NumPyError) -> String {
    let quote: UInt8
    if take("'", bytes) { quote = UInt8(ascii: "'") } else if take("\"", bytes) { quote = UInt8(ascii: "\"") } else { throw malformed("a string in quotes") }
    var text: [UInt8] = []
    while position < end, bytes[position] != quote {
      guard 0x20..<0x7F ~= bytes[position], bytes[position] != UInt8(ascii: "\\"), text.count < 64 else { throw malformed("a short plain string") }
      text.append(bytes[position])
      position += 1
    }
    guard position < end else { throw malformed("a closing quote") }
    position += 1
    return String(decoding: text, as: UTF8.self)
  }

  /// The name of the type. A list or a tuple there describes a structured type.
  private mutating func typeName(_ bytes: Span<UInt8>) throws(NumPyError) -> String {
    skipSpace(bytes)
    if position < end, bytes[position] == UInt8(ascii: "[") || bytes[position] == UInt8(ascii: "(") {
      throw .unsupportedType(path: path, found: "a structure")
    }
    return try quotedString(bytes)
  }

  private mutating func bool(_ bytes: Span<UInt8>) throws(NumPyError) -> Bool {
    skipSpace(bytes)
    if word("True", bytes) { return true }
    if word("False", bytes) { return false }
    throw malformed("True or False")
  }

  private mutating func word(_ word: String, _ bytes: Span<UInt8>) -> Bool {
    guard end - position >= word.utf8.count else { return false }
    for (i, byte) in word.utf8.enumerated() where bytes[position + i] != byte { return false }
    position += word.utf8.count
    return true
  }

  private mutating func tuple(_ bytes: Span<UInt8>) throws(NumPyError) -> Shape {
    try expect("(", bytes)
    var dims: [Int] = []
    while !take(")", bytes) {
      guard dims.count < NPYHeader.rankLimit else { throw .rankTooLarge(path: path, limit: NPYHeader.rankLimit) }
      dims.append(try integer(bytes))
      if take(",", bytes) { continue }
      // `(3)` is a number in Python, not a tuple.
      guard dims.count > 1 else { throw malformed("','") }
      try expect(")", bytes)
      break
    }
    return Shape(dims)
  }

  private mutating func integer(_ bytes: Span<UInt8>) throws(NumPyError) -> Int {
    skipSpace(bytes)
    let start = position
    var value = 0
    while position < end, UInt8(ascii: "0")...UInt8(ascii: "9") ~= bytes[position] {
      let (product, overflow) = value.multipliedReportingOverflow(by: 10)
      let (sum, carry) = product.addingReportingOverflow(Int(bytes[position] - UInt8(ascii: "0")))
      guard !overflow, !carry else { throw malformed("an extent that fits into 63 bits") }
      value = sum
      position += 1
    }
    guard position > start, value == 0 ? position == start + 1 : bytes[start] != UInt8(ascii: "0") else { throw malformed("an extent") }
    // Python 2 wrote long integers with an L.
    if position < end, bytes[position] == UInt8(ascii: "L") { position += 1 }
    return value
  }
}
