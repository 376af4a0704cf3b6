// Swift source with comments and the text of string literals blanked out, so that a search finds code only. Not a parser: it knows
// comments (nested), strings (raw, multi-line, with interpolations, whose code is kept) and nothing else.

/// Blanks comments and string contents; line breaks stay, so that line numbers do.
func codeOnly(_ source: String) -> String {
  var scanner = SourceScanner(source)
  return scanner.run()
}

private struct SourceScanner {
  /// UTF-8: everything that is looked for is ASCII.
  private let bytes: [UInt8]
  private var position = 0
  private var out: [UInt8] = []

  init(_ source: String) { bytes = Array(source.utf8) }

  mutating func run() -> String {
    scanCode(untilClosingParenthesis: false)
    return String(decoding: out, as: UTF8.self)
  }

  private func peek(_ offset: Int = 0) -> UInt8? { position + offset < bytes.count ? bytes[position + offset] : nil }

  private func at(_ text: String) -> Bool {
    var i = position
    for c in text.utf8 {
      guard i < bytes.count, bytes[i] == c else { return false }
      i += 1
    }
    return true
  }

  private mutating func blank(_ count: Int = 1) {
    for _ in 0..<count where position < bytes.count {
      out.append(bytes[position] == newline ? newline : UInt8(ascii: " "))
      position += 1
    }
  }

  private mutating func scanCode(untilClosingParenthesis: Bool) {
    var depth = 0
    while let c = peek() {
      if c == UInt8(ascii: "/") && at("//") {
        while let d = peek(), d != newline { blank() }
      } else if c == UInt8(ascii: "/") && at("/*") {
        scanBlockComment()
      } else if c == quote {
        scanString(hashes: 0)
      } else if c == UInt8(ascii: "#"), let hashes = rawStringHashes() {
        blank(hashes)
        scanString(hashes: hashes)
      } else {
        if c == UInt8(ascii: "(") { depth += 1 }
        if c == UInt8(ascii: ")") {
          if untilClosingParenthesis && depth == 0 { return }
          depth -= 1
        }
        out.append(c)
        position += 1
      }
    }
  }

  private mutating func scanBlockComment() {
    var depth = 0
    repeat {
      if at("/*") { depth += 1; blank(2) } else if at("*/") { depth -= 1; blank(2) } else { blank() }
    } while depth > 0 && peek() != nil
  }

  /// The number of `#` before a quote here, or nil where this is no raw string.
  private func rawStringHashes() -> Int? {
    var n = 0
    while peek(n) == UInt8(ascii: "#") { n += 1 }
    return peek(n) == quote ? n : nil
  }

  private mutating func scanString(hashes: Int) {
    let mark = at("\"\"\"") ? "\"\"\"" : "\""
    let end = mark + String(repeating: "#", count: hashes)
    let escape = "\\" + String(repeating: "#", count: hashes)
    out += mark.utf8
    position += mark.utf8.count
    while let c = peek() {
      if c == quote && at(end) {
        out += mark.utf8
        position += end.utf8.count
        return
      }
      if mark.utf8.count == 1 && c == newline { return }  // unterminated: not our business
      if c == UInt8(ascii: "\\") && at(escape) {
        let isInterpolation = peek(escape.utf8.count) == UInt8(ascii: "(")
        blank(escape.utf8.count)
        if isInterpolation {
          out.append(UInt8(ascii: "("))
          position += 1
          scanCode(untilClosingParenthesis: true)
        } else {
          blank()
        }
      } else {
        blank()
      }
    }
  }
}

private let newline = UInt8(ascii: "\n")
private let quote = UInt8(ascii: "\"")
