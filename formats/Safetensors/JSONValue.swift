// JSON as a tree, for the small records in a weight file's metadata and for shard indexes. Strict, with limits on size, depth, number of
// values and repeated keys. It is not a general JSON library: it maps to no types and reads no streams.

internal import DinoTensor

/// What a JSON text may be at most.
public struct JSONLimits: Sendable, Equatable {
  public var bytes: Int
  public var depth: Int
  public var values: Int

  public init(bytes: Int = 16 << 20, depth: Int = 64, values: Int = 1_000_000) {
    self.bytes = bytes
    self.depth = min(depth, 256)
    self.values = values
  }
}

/// A JSON value. Objects keep the order of their members.
public enum JSONValue: Sendable, Equatable {
  case null
  case bool(Bool)
  /// A number written as digits with at most a minus before them, that fits. `-0` is a double.
  case integer(Int)
  case number(Double)
  case string(String)
  case array([JSONValue])
  case object([Member])

  public struct Member: Sendable, Equatable {
    public let key: String
    public let value: JSONValue
    public init(_ key: String, _ value: JSONValue) {
      self.key = key
      self.value = value
    }
  }

  /// The member of an object; nil for a missing key and for anything that is no object. Linear in the number of members.
  public subscript(_ key: String) -> JSONValue? {
    guard case .object(let members) = self else { return nil }
    return members.first { $0.key == key }?.value
  }

  public var stringValue: String? { if case .string(let s) = self { s } else { nil } }
  public var integerValue: Int? { if case .integer(let i) = self { i } else { nil } }
  public var boolValue: Bool? { if case .bool(let b) = self { b } else { nil } }
  public var arrayValue: [JSONValue]? { if case .array(let a) = self { a } else { nil } }
  public var objectValue: [Member]? { if case .object(let o) = self { o } else { nil } }
  /// An integer or any other number.
  public var doubleValue: Double? {
    switch self {
    case .integer(let i): Double(i)
    case .number(let d): d
    default: nil
    }
  }

  /// Reads one value; whitespace may stand before and after it, nothing else.
  public static func parse(_ text: Span<UInt8>, limits: JSONLimits = JSONLimits()) throws(JSONError) -> JSONValue {
    guard text.count <= limits.bytes else { throw .tooLarge(bytes: text.count, limit: limits.bytes) }
    if let offset = firstInvalidUTF8(text) { throw .notUTF8(offset: offset) }
    var reader = JSONTreeReader(scanner: JSONScanner(0..<text.count), limits: limits)
    let value = try reader.value(text, depth: 1)
    reader.scanner.skipWhitespace(text)
    guard reader.scanner.position == text.count else { throw .syntax(offset: reader.scanner.position, expected: "the end of the text") }
    return value
  }

  public static func parse(_ text: String, limits: JSONLimits = JSONLimits()) throws(JSONError) -> JSONValue {
    try parse(Array(text.utf8).span, limits: limits)
  }
}

/// The offset of the first byte that is not UTF-8, or nil.
func firstInvalidUTF8(_ text: Span<UInt8>) -> Int? {
  do {
    _ = try UTF8Span(validating: text)
    return nil
  } catch {
    return error.byteOffsets.lowerBound
  }
}

/// Recursive descent; `limits.depth` bounds the recursion.
private struct JSONTreeReader {
  var scanner: JSONScanner
  let limits: JSONLimits
  var count = 0

  mutating func value(_ text: Span<UInt8>, depth: Int) throws(JSONError) -> JSONValue {
    scanner.skipWhitespace(text)
    guard depth <= limits.depth else { throw .tooDeep(offset: scanner.position, limit: limits.depth) }
    count += 1
    guard count <= limits.values else { throw .tooManyValues(limit: limits.values) }
    switch scanner.peek(text) {
    case UInt8(ascii: "{"): return try object(text, depth: depth)
    case UInt8(ascii: "["): return try array(text, depth: depth)
    case UInt8(ascii: "\""): 
      let string = try scanner.string(text)
      guard isStreamSafe(string) else { throw .tooManyMarks(offset: scanner.position, limit: SafetensorsHeader.Limits.marksInARow) }
      return .string(string)
    case UInt8(ascii: "t"):
      try scanner.word("true", text)
      return .bool(true)
    case UInt8(ascii: "f"):
      try scanner.word("false", text)
      return .bool(false)
    case UInt8(ascii: "n"):
      try scanner.word("null", text)
      return .null
    case .some(UInt8(ascii: "-")), .some(UInt8(ascii: "0")...UInt8(ascii: "9")): return try number(text)
    default: throw .syntax(offset: scanner.position, expected: "a value")
    }
  }

  private mutating func number(_ text: Span<UInt8>) throws(JSONError) -> JSONValue {
    let (range, _) = try scanner.number(text)
    var bytes: [UInt8] = []
    for i in range { bytes.append(text[i]) }
    let lexeme = String(decoding: bytes, as: UTF8.self)
    if lexeme != "-0", let integer = Int(lexeme) { return .integer(integer) }
    guard let double = Double(lexeme), double.isFinite else {
      throw .syntax(offset: range.lowerBound, expected: "a number in the range of a double")
    }
    return .number(double)
  }

  private mutating func array(_ text: Span<UInt8>, depth: Int) throws(JSONError) -> JSONValue {
    scanner.position += 1
    var elements: [JSONValue] = []
    if scanner.take(UInt8(ascii: "]"), text) { return .array(elements) }
    while true {
      elements.append(try value(text, depth: depth + 1))
      if scanner.take(UInt8(ascii: ","), text) { continue }
      try scanner.expect(UInt8(ascii: "]"), text, "',' or ']'")
      return .array(elements)
    }
  }

  private mutating func object(_ text: Span<UInt8>, depth: Int) throws(JSONError) -> JSONValue {
    scanner.position += 1
    var members: [JSONValue.Member] = []
    var keys: Set<String> = []
    if scanner.take(UInt8(ascii: "}"), text) { return .object(members) }
    while true {
      let key = try scanner.string(text, limit: SafetensorsHeader.Limits.nameBytes, "a key")
      guard isStreamSafe(key) else { throw .tooManyMarks(offset: scanner.position, limit: SafetensorsHeader.Limits.marksInARow) }
      guard keys.insert(key).inserted else { throw .duplicateKey(key) }
      try scanner.expect(UInt8(ascii: ":"), text, "':'")
      members.append(JSONValue.Member(key, try value(text, depth: depth + 1)))
      if scanner.take(UInt8(ascii: ","), text) { continue }
      try scanner.expect(UInt8(ascii: "}"), text, "',' or '}'")
      return .object(members)
    }
  }
}
