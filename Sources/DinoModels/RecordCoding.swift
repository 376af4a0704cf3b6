// JSON text of the metadata records, both ways: deterministic when written (sorted keys, slashes as they are), bounded and strict when read. What the
// records mean is in their own files.

#if canImport(FoundationEssentials)
internal import FoundationEssentials
#else
internal import Foundation
#endif

enum RecordCoding {
  /// No record is near this; a longer text is refused before it is parsed.
  static let byteLimit = 1 << 20
  /// Nesting beyond this is refused before it is parsed.
  static let depthLimit = 32

  static func encode(_ value: some Encodable, key: String) throws(ModelError) -> String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    do {
      return String(decoding: try encoder.encode(value), as: UTF8.self)
    } catch {
      throw .malformed(key: key, path: "", reason: "it holds a number that JSON cannot write")
    }
  }

  static func decode<T: Decodable>(_: T.Type, from text: String, key: String) throws(ModelError) -> T {
    try checkBounds(text, key: key)
    do {
      return try JSONDecoder().decode(T.self, from: Data(text.utf8))
    } catch let error as ModelError {
      throw error
    } catch let error as DecodingError {
      throw malformed(error, key: key)
    } catch {
      throw .malformed(key: key, path: "", reason: "it is not valid JSON")
    }
  }

  private static func checkBounds(_ text: String, key: String) throws(ModelError) {
    guard text.utf8.count <= byteLimit else {
      throw .malformed(key: key, path: "", reason: "it is \(text.utf8.count) bytes long and at most \(byteLimit) are read")
    }
    // Brackets inside strings count too: no record has that many.
    var depth = 0
    for byte in text.utf8 {
      if byte == UInt8(ascii: "{") || byte == UInt8(ascii: "[") { depth += 1 }
      if byte == UInt8(ascii: "}") || byte == UInt8(ascii: "]") { depth -= 1 }
      if depth > depthLimit { throw .malformed(key: key, path: "", reason: "it is nested deeper than \(depthLimit) levels") }
    }
  }

  private static func malformed(_ error: DecodingError, key: String) -> ModelError {
    switch error {
    case .keyNotFound(let missing, let context):
      .malformed(key: key, path: path(context.codingPath + [missing]), reason: "the key is missing")
    case .typeMismatch(let type, let context):
      .malformed(key: key, path: path(context.codingPath), reason: "\(kind(type)) is expected")
    case .valueNotFound(let type, let context):
      .malformed(key: key, path: path(context.codingPath), reason: "\(kind(type)) is expected, not null")
    case .dataCorrupted(let context):
      .malformed(key: key, path: path(context.codingPath), reason: context.codingPath.isEmpty ? "it is not valid JSON" : reason(context.debugDescription))
    @unknown default:
      .malformed(key: key, path: "", reason: "it is not valid JSON")
    }
  }

  private static func path(_ keys: [any CodingKey]) -> String {
    keys.map { $0.intValue.map(String.init) ?? $0.stringValue }.joined(separator: ".")
  }

  private static func kind(_ type: any Any.Type) -> String {
    if type == Int.self { return "an integer" }
    if type == Double.self || type == Float.self { return "a number" }
    if type == String.self { return "a string" }
    if type == Bool.self { return "true or false" }
    return "another kind of value"
  }

  /// The decoder's words, but for those about the program's own types.
  private static func reason(_ words: String) -> String {
    // "Cannot initialize TYPE from invalid String value VALUE"
    let parts = words.split(separator: " ", maxSplits: 7)
    guard words.hasPrefix("Cannot initialize "), parts.count == 8 else { return lowered(words) }
    return "'\(parts[7])' is not known"
  }

  private static func lowered(_ sentence: String) -> String {
    var text = sentence.hasSuffix(".") ? String(sentence.dropLast()) : sentence
    if let first = text.first { text = first.lowercased() + text.dropFirst() }
    return text
  }
}

extension KeyedDecodingContainer {
  /// A whole number. For one that does not fit, the decoder throws an error of its own that does not say where it is.
  func integer(_ key: Key) throws -> Int {
    do {
      return try decode(Int.self, forKey: key)
    } catch DecodingError.keyNotFound(let missing, let context) {
      throw DecodingError.keyNotFound(missing, context)
    } catch {
      throw DecodingError.typeMismatch(Int.self, DecodingError.Context(codingPath: codingPath + [key], debugDescription: "not an integer"))
    }
  }
}

/// Any JSON value: for the parts of a record that are kept without being understood.
public indirect enum RecordValue: Sendable, Hashable, Codable {
  case null
  case bool(Bool)
  case integer(Int)
  case number(Double)
  case string(String)
  case array([RecordValue])
  case object([String: RecordValue])

  public init(from decoder: any Decoder) throws {
    let c = try decoder.singleValueContainer()
    if c.decodeNil() {
      self = .null
    } else if let v = try? c.decode(Bool.self) {
      self = .bool(v)
    } else if let v = try? c.decode(Int.self) {
      self = .integer(v)
    } else if let v = try? c.decode(Double.self) {
      self = .number(v)
    } else if let v = try? c.decode(String.self) {
      self = .string(v)
    } else if let v = try? c.decode([RecordValue].self) {
      self = .array(v)
    } else {
      self = .object(try c.decode([String: RecordValue].self))
    }
  }

  public func encode(to encoder: any Encoder) throws {
    var c = encoder.singleValueContainer()
    switch self {
    case .null: try c.encodeNil()
    case .bool(let v): try c.encode(v)
    case .integer(let v): try c.encode(v)
    case .number(let v): try c.encode(v)
    case .string(let v): try c.encode(v)
    case .array(let v): try c.encode(v)
    case .object(let v): try c.encode(v)
    }
  }
}
