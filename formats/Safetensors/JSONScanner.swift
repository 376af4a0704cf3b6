// A cursor over JSON text (RFC 8259): whitespace, punctuation, strings, numbers. It builds no tree, so it can neither recurse nor
// allocate more than the string it returns. The tree is JSONValue.swift; the header of a weight file is read without one.

/// Why a text is not the JSON that was asked for. Offsets count bytes from the start of the text.
public enum JSONError: Error, Sendable, Equatable, CustomStringConvertible {
  case syntax(offset: Int, expected: String)
  case notUTF8(offset: Int)
  case tooLarge(bytes: Int, limit: Int)
  case tooDeep(offset: Int, limit: Int)
  case tooManyValues(limit: Int)
  case stringTooLong(offset: Int, limit: Int)
  case duplicateKey(String)
  case tooManyMarks(offset: Int, limit: Int)

  public var description: String {
    switch self {
    case .syntax(let offset, let expected): "the JSON is malformed at byte \(offset): expected \(expected)"
    case .notUTF8(let offset): "the JSON is not valid UTF-8 at byte \(offset)"
    case .tooLarge(let bytes, let limit): "the JSON has \(bytes) bytes, more than the limit of \(limit)"
    case .tooDeep(let offset, let limit): "the JSON is nested deeper than \(limit) levels at byte \(offset)"
    case .tooManyValues(let limit): "the JSON has more than \(limit) values"
    case .stringTooLong(let offset, let limit): "the JSON string at byte \(offset) is longer than \(limit) bytes"
    case .tooManyMarks(let offset, let limit): "the JSON text before byte \(offset) has more than \(limit) combining marks in a row"
    case .duplicateKey(let key): "the JSON object has the key \(quoted(key)) twice"
    }
  }
}

/// The position in a text. Each function gets the text anew: a span cannot be stored.
struct JSONScanner {
  var position: Int
  let end: Int

  /// Longest number that is read, in characters. No double needs more to be exact.
  static let longestNumber = 1_024

  init(_ range: Range<Int>) {
    position = range.lowerBound
    end = range.upperBound
  }

  func peek(_ text: Span<UInt8>) -> UInt8? { position < end ? text[position] : nil }

  mutating func skipWhitespace(_ text: Span<UInt8>) {
    while position < end {
      switch text[position] {
      case 0x20, 0x09, 0x0A, 0x0D: position += 1
      default: return
      }
    }
  }

  /// Skips whitespace, then takes `byte` where it stands there.
  mutating func take(_ byte: UInt8, _ text: Span<UInt8>) -> Bool {
    skipWhitespace(text)
    guard position < end, text[position] == byte else { return false }
    position += 1
    return true
  }

  mutating func expect(_ byte: UInt8, _ text: Span<UInt8>, _ expected: String) throws(JSONError) {
    guard take(byte, text) else { throw .syntax(offset: position, expected: expected) }
  }

  /// Takes a word such as `true`.
  mutating func word(_ word: StaticString, _ text: Span<UInt8>) throws(JSONError) {
    for byte in word.description.utf8 {
      guard position < end, text[position] == byte else { throw .syntax(offset: position, expected: "'\(word)'") }
      position += 1
    }
  }

  /// Takes a string, of at most `limit` bytes of UTF-8 after its escapes are resolved. The text must be valid UTF-8.
  mutating func string(_ text: Span<UInt8>, limit: Int = .max, _ expected: String = "a string") throws(JSONError) -> String {
    try expect(UInt8(ascii: "\""), text, expected)
    let start = position
    while position < end {
      let byte = text[position]
      if byte == UInt8(ascii: "\"") {
        defer { position += 1 }
        guard position - start <= limit else { throw .stringTooLong(offset: start, limit: limit) }
        return try JSONScanner.copy(text, start..<position)
      }
      if byte == UInt8(ascii: "\\") { return try escapedString(text, from: start, limit: limit) }
      guard byte >= 0x20 else { throw .syntax(offset: position, expected: "no bare control character in a string") }
      position += 1
    }
    throw .syntax(offset: position, expected: "the closing quote of the string that starts at byte \(start - 1)")
  }

  private static func copy(_ text: Span<UInt8>, _ range: Range<Int>) throws(JSONError) -> String {
    do {
      return String(copying: try UTF8Span(validating: text.extracting(range)))
    } catch {
      throw .notUTF8(offset: range.lowerBound)
    }
  }

  /// The rest of a string in which a backslash was found: copied byte by byte.
  private mutating func escapedString(_ text: Span<UInt8>, from start: Int, limit: Int) throws(JSONError) -> String {
    var bytes: [UInt8] = []
    for i in start..<position { bytes.append(text[i]) }
    while position < end {
      let byte = text[position]
      position += 1
      switch byte {
      case UInt8(ascii: "\""):
        guard bytes.count <= limit else { throw .stringTooLong(offset: start, limit: limit) }
        return try JSONScanner.copy(bytes.span, 0..<bytes.count)
      case UInt8(ascii: "\\"): try escape(text, into: &bytes)
      case 0..<0x20: throw .syntax(offset: position - 1, expected: "no bare control character in a string")
      default: bytes.append(byte)
      }
    }
    throw .syntax(offset: position, expected: "the closing quote of the string that starts at byte \(start - 1)")
  }

  private mutating func escape(_ text: Span<UInt8>, into bytes: inout [UInt8]) throws(JSONError) {
    guard let byte = peek(text) else { throw .syntax(offset: position, expected: "an escaped character") }
    position += 1
    switch byte {
    case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): bytes.append(byte)
    case UInt8(ascii: "b"): bytes.append(0x08)
    case UInt8(ascii: "f"): bytes.append(0x0C)
    case UInt8(ascii: "n"): bytes.append(0x0A)
    case UInt8(ascii: "r"): bytes.append(0x0D)
    case UInt8(ascii: "t"): bytes.append(0x09)
    case UInt8(ascii: "u"): try unicodeEscape(text, into: &bytes)
    default: throw .syntax(offset: position - 1, expected: "one of \" \\ / b f n r t u after a backslash")
    }
  }

  /// `XXXX` after `\u`, and the second half where the first is a leading surrogate. A lone surrogate is no character.
  private mutating func unicodeEscape(_ text: Span<UInt8>, into bytes: inout [UInt8]) throws(JSONError) {
    let start = position
    var scalar = try hex4(text)
    if 0xD800..<0xDC00 ~= scalar, position + 1 < end, text[position] == UInt8(ascii: "\\"), text[position + 1] == UInt8(ascii: "u") {
      position += 2
      let low = try hex4(text)
      guard 0xDC00..<0xE000 ~= low else { throw .syntax(offset: start, expected: "a pair of surrogates") }
      scalar = 0x10000 + (scalar - 0xD800) << 10 + (low - 0xDC00)
    }
    guard let character = Unicode.Scalar(scalar) else { throw .syntax(offset: start, expected: "a pair of surrogates") }
    bytes.append(contentsOf: String(character).utf8)
  }

  private mutating func hex4(_ text: Span<UInt8>) throws(JSONError) -> UInt32 {
    var value: UInt32 = 0
    for _ in 0..<4 {
      guard let byte = peek(text), let digit = hexDigit(byte) else { throw .syntax(offset: position, expected: "four hexadecimal digits") }
      value = value << 4 | digit
      position += 1
    }
    return value
  }

  private func hexDigit(_ byte: UInt8) -> UInt32? {
    switch byte {
    case UInt8(ascii: "0")...UInt8(ascii: "9"): UInt32(byte - UInt8(ascii: "0"))
    case UInt8(ascii: "a")...UInt8(ascii: "f"): UInt32(byte - UInt8(ascii: "a") + 10)
    case UInt8(ascii: "A")...UInt8(ascii: "F"): UInt32(byte - UInt8(ascii: "A") + 10)
    default: nil
    }
  }

  /// Takes a number and says where it stands and whether it is digits only, without sign, point or exponent.
  mutating func number(_ text: Span<UInt8>) throws(JSONError) -> (range: Range<Int>, digitsOnly: Bool) {
    let start = position
    var digitsOnly = true
    if peek(text) == UInt8(ascii: "-") {
      position += 1
      digitsOnly = false
    }
    let first = position
    try digits(text)
    if text[first] == UInt8(ascii: "0"), position - first > 1 { throw .syntax(offset: first, expected: "a number without leading zeros") }
    if peek(text) == UInt8(ascii: ".") {
      position += 1
      digitsOnly = false
      try digits(text)
    }
    if let e = peek(text), e | 0x20 == UInt8(ascii: "e") {
      position += 1
      digitsOnly = false
      if let sign = peek(text), sign == UInt8(ascii: "+") || sign == UInt8(ascii: "-") { position += 1 }
      try digits(text)
    }
    guard position - start <= JSONScanner.longestNumber else {
      throw .syntax(offset: start, expected: "a number of at most \(JSONScanner.longestNumber) characters")
    }
    return (start..<position, digitsOnly)
  }

  private mutating func digits(_ text: Span<UInt8>) throws(JSONError) {
    let start = position
    while position < end, UInt8(ascii: "0")...UInt8(ascii: "9") ~= text[position] { position += 1 }
    guard position > start else { throw .syntax(offset: position, expected: "a digit") }
  }

  /// Up to 40 characters of the text from `start` on, for an error's sentence. Bytes that are no printable ASCII become `?`.
  func excerpt(_ text: Span<UInt8>, from start: Int) -> String {
    var bytes: [UInt8] = []
    var i = start
    while i < end, bytes.count < 40 {
      let byte = text[i]
      if i > start, byte == UInt8(ascii: ",") || byte == UInt8(ascii: "]") || byte == UInt8(ascii: "}") { break }
      bytes.append(0x20..<0x7F ~= byte ? byte : UInt8(ascii: "?"))
      i += 1
    }
    return String(decoding: bytes, as: UTF8.self)
  }
}

/// A name from a file as it may stand in a sentence: in quotes, control characters escaped, cut after 80 characters.
func quoted(_ name: String) -> String {
  var out = "'"
  for (i, scalar) in name.unicodeScalars.enumerated() {
    if i == 80 { return out + "…'" }
    if scalar.value < 0x20 || 0x7F..<0xA0 ~= scalar.value || 0x200B..<0x2070 ~= scalar.value {
      out += "\\u{" + String(scalar.value, radix: 16) + "}"
    } else {
      out.unicodeScalars.append(scalar)
    }
  }
  return out + "'"
}
