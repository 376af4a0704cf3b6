// The grammar of a safetensors header: { name: { dtype, shape, data_offsets }, ..., "__metadata__": { key: text } }. Three fixed levels,
// so it needs no recursion and takes nothing that the format does not name. How tensors lie together is checked in SafetensorsHeader.swift.

internal import DinoTensor

/// Either kind of thing that stops the parser.
enum HeaderParserError: Error {
  case json(JSONError)
  case problem(SafetensorsProblem)
}

struct HeaderParser {
  /// Offsets count from the start of the data.
  var entries: [SafetensorsEntry] = []
  var metadata: [String: String] = [:]
  private var scanner: JSONScanner
  private var names: Set<String> = []
  private var sawMetadata = false

  init(length: Int) { scanner = JSONScanner(0..<length) }

  mutating func parse(_ text: Span<UInt8>) throws(HeaderParserError) {
    try expect(UInt8(ascii: "{"), text, "'{'")
    try members(text) { (parser, text) throws(HeaderParserError) in
      let name = try parser.name(text)
      if name == "__metadata__" {
        try parser.metadataObject(text)
      } else {
        try parser.tensor(named: name, text)
      }
    }
    scanner.skipWhitespace(text)
    guard let rest = scanner.peek(text) else { return }
    let offset = 8 + scanner.position
    throw .problem(rest == 0 ? .headerPaddedWithNUL(offset: offset) : .bytesAfterHeader(offset: offset))
  }

  /// The members of an object whose brace was taken: `member` reads a key and what follows its colon's place.
  private mutating func members(
    _ text: Span<UInt8>, _ member: (inout HeaderParser, Span<UInt8>) throws(HeaderParserError) -> Void
  ) throws(HeaderParserError) {
    if scanner.take(UInt8(ascii: "}"), text) { return }
    while true {
      try member(&self, text)
      if scanner.take(UInt8(ascii: ","), text) { continue }
      try expect(UInt8(ascii: "}"), text, "',' or '}'")
      return
    }
  }

  /// A key and its colon.
  private mutating func name(_ text: Span<UInt8>) throws(HeaderParserError) -> String {
    let limit = SafetensorsHeader.Limits.nameBytes
    let name: String
    do {
      name = try scanner.string(text, limit: limit, "a name in quotes")
    } catch .stringTooLong(let offset, _) {
      throw .problem(.nameTooLong(start: scanner.excerpt(text, from: offset), limit: limit))
    } catch {
      throw .json(error)
    }
    guard isStreamSafe(name) else { throw .problem(.tooManyMarks(start: name, limit: SafetensorsHeader.Limits.marksInARow)) }
    try expect(UInt8(ascii: ":"), text, "':'")
    return name
  }

  private mutating func metadataObject(_ text: Span<UInt8>) throws(HeaderParserError) {
    guard !sawMetadata else { throw .problem(.duplicateMetadata) }
    sawMetadata = true
    guard scanner.take(UInt8(ascii: "{"), text) else { throw .problem(.metadataNotAnObject) }
    try members(text) { (parser, text) throws(HeaderParserError) in
      let key = try parser.name(text)
      guard parser.metadata[key] == nil else { throw .problem(.duplicateMetadataKey(key)) }
      guard parser.metadata.count < SafetensorsHeader.Limits.metadataEntries else {
        throw .problem(.tooManyMetadataEntries(limit: SafetensorsHeader.Limits.metadataEntries))
      }
      parser.scanner.skipWhitespace(text)
      guard parser.scanner.peek(text) == UInt8(ascii: "\"") else { throw .problem(.metadataValueNotAString(key: key)) }
      parser.metadata[key] = try parser.string(text)
    }
  }

  private mutating func tensor(named name: String, _ text: Span<UInt8>) throws(HeaderParserError) {
    guard names.insert(name).inserted else { throw .problem(.duplicateTensor(name)) }
    guard entries.count < SafetensorsHeader.Limits.tensors else { throw .problem(.tooManyTensors(limit: SafetensorsHeader.Limits.tensors)) }
    guard scanner.take(UInt8(ascii: "{"), text) else { throw .problem(.tensorNotAnObject(name)) }
    var dtype: DType?, shape: Shape?, offsets: (Int, Int)?
    try members(text) { (parser, text) throws(HeaderParserError) in
      let field = try parser.name(text)
      switch field {
      case "dtype":
        guard dtype == nil else { throw .problem(.duplicateField(tensor: name, field: field)) }
        dtype = try parser.dtype(of: name, text)
      case "shape":
        guard shape == nil else { throw .problem(.duplicateField(tensor: name, field: field)) }
        shape = try parser.shape(of: name, text)
      case "data_offsets":
        guard offsets == nil else { throw .problem(.duplicateField(tensor: name, field: field)) }
        offsets = try parser.offsets(of: name, text)
      default: throw .problem(.unknownField(tensor: name, field: field))
      }
    }
    guard let dtype else { throw .problem(.missingField(tensor: name, field: "dtype")) }
    guard let shape else { throw .problem(.missingField(tensor: name, field: "shape")) }
    guard let offsets else { throw .problem(.missingField(tensor: name, field: "data_offsets")) }
    let range = try HeaderParser.checkedRange(name, dtype, shape, offsets)
    entries.append(SafetensorsEntry(name: name, dtype: dtype, shape: shape, byteRange: range))
  }

  /// The offsets as a range, where they agree with the type and the shape.
  private static func checkedRange(_ name: String, _ dtype: DType, _ shape: Shape, _ offsets: (Int, Int)) throws(HeaderParserError) -> Range<Int> {
    guard offsets.0 <= offsets.1 else { throw .problem(.offsetsReversed(tensor: name, begin: offsets.0, end: offsets.1)) }
    guard let count = shape.checkedCount, !count.multipliedReportingOverflow(by: dtype.bitWidth).overflow else {
      throw .problem(.sizeOverflows(tensor: name, dtype: dtype, shape: shape))
    }
    guard let bytes = dtype.byteCount(of: count) else { throw .problem(.subByteMisaligned(tensor: name, dtype: dtype, shape: shape)) }
    let found = offsets.1 - offsets.0
    guard bytes == found else { throw .problem(.sizeMismatch(tensor: name, dtype: dtype, shape: shape, expected: bytes, found: found)) }
    return offsets.0..<offsets.1
  }

  private mutating func dtype(of tensor: String, _ text: Span<UInt8>) throws(HeaderParserError) -> DType {
    scanner.skipWhitespace(text)
    guard scanner.peek(text) == UInt8(ascii: "\"") else { throw .problem(.dtypeNotAString(tensor: tensor)) }
    let found = try string(text)
    guard let dtype = DType(rawValue: found) else { throw .problem(.unknownDType(tensor: tensor, found: found)) }
    return dtype
  }

  private mutating func shape(of tensor: String, _ text: Span<UInt8>) throws(HeaderParserError) -> Shape {
    guard scanner.take(UInt8(ascii: "["), text) else { throw .problem(.shapeNotAnArray(tensor: tensor)) }
    var dims: [Int] = []
    if scanner.take(UInt8(ascii: "]"), text) { return Shape(dims) }
    while true {
      guard dims.count < SafetensorsHeader.Limits.rank else {
        throw .problem(.rankTooLarge(tensor: tensor, limit: SafetensorsHeader.Limits.rank))
      }
      dims.append(try integer(of: tensor, "shape", text))
      if scanner.take(UInt8(ascii: ","), text) { continue }
      try expect(UInt8(ascii: "]"), text, "',' or ']'")
      return Shape(dims)
    }
  }

  private mutating func offsets(of tensor: String, _ text: Span<UInt8>) throws(HeaderParserError) -> (Int, Int) {
    guard scanner.take(UInt8(ascii: "["), text) else { throw .problem(.offsetsNotAPair(tensor: tensor)) }
    if scanner.take(UInt8(ascii: "]"), text) { throw .problem(.offsetsNotAPair(tensor: tensor)) }
    let begin = try integer(of: tensor, "data_offsets", text)
    guard scanner.take(UInt8(ascii: ","), text) else { throw .problem(.offsetsNotAPair(tensor: tensor)) }
    let end = try integer(of: tensor, "data_offsets", text)
    guard scanner.take(UInt8(ascii: "]"), text) else { throw .problem(.offsetsNotAPair(tensor: tensor)) }
    return (begin, end)
  }

  /// An integer of digits only: what JSON allows beyond that (`-0`, `1.0`, `1e3`) readers understand differently.
  private mutating func integer(of tensor: String, _ field: String, _ text: Span<UInt8>) throws(HeaderParserError) -> Int {
    scanner.skipWhitespace(text)
    let start = scanner.position
    func found() -> String { scanner.excerpt(text, from: start) }
    guard let first = scanner.peek(text), first == UInt8(ascii: "-") || UInt8(ascii: "0")...UInt8(ascii: "9") ~= first else {
      throw .problem(.notAnUnsignedInteger(tensor: tensor, field: field, found: found()))
    }
    let number: (range: Range<Int>, digitsOnly: Bool)
    do { number = try scanner.number(text) } catch { throw .json(error) }
    guard number.digitsOnly else { throw .problem(.notAnUnsignedInteger(tensor: tensor, field: field, found: found())) }
    var value = 0
    for i in number.range {
      let (product, overflow) = value.multipliedReportingOverflow(by: 10)
      let (sum, carry) = product.addingReportingOverflow(Int(text[i] - UInt8(ascii: "0")))
      guard !overflow, !carry else { throw .problem(.integerTooLarge(tensor: tensor, field: field, found: found())) }
      value = sum
    }
    return value
  }

  private mutating func expect(_ byte: UInt8, _ text: Span<UInt8>, _ expected: String) throws(HeaderParserError) {
    do { try scanner.expect(byte, text, expected) } catch { throw .json(error) }
  }

  private mutating func string(_ text: Span<UInt8>) throws(HeaderParserError) -> String {
    do { return try scanner.string(text) } catch { throw .json(error) }
  }
}
