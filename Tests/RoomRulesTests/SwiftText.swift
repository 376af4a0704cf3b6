// Swift source with comments and the text of string literals blanked out, so that a search finds code only. Not a parser: it knows
// comments (nested), strings (raw, multi-line, with interpolations, whose code is kept) and nothing else.

/// Blanks comments and string contents; line breaks stay, so that line numbers do.
func codeOnly(_ source: String) -> String {
  var scanner = SourceScanner(source)
  return scanner.run()
}

private struct SourceScanner {
  private let characters: [Character]
  private var position = 0
  private var out = ""

  init(_ source: String) { characters = Array(source) }

  mutating func run() -> String {
    scanCode(untilClosingParenthesis: false)
    return out
  }

  private func peek(_ offset: Int = 0) -> Character? {
    let i = position + offset
    return i < characters.count ? characters[i] : nil
  }

  private func at(_ text: String) -> Bool {
    var i = position
    for c in text {
      guard i < characters.count, characters[i] == c else { return false }
      i += 1
    }
    return true
  }

  private mutating func blank(_ count: Int = 1) {
    for _ in 0..<count where position < characters.count {
      out.append(characters[position].isNewline ? "\n" : " ")
      position += 1
    }
  }

  private mutating func scanCode(untilClosingParenthesis: Bool) {
    var depth = 0
    while let c = peek() {
      if at("//") {
        while let d = peek(), !d.isNewline { blank() }
      } else if at("/*") {
        scanBlockComment()
      } else if c == "\"" {
        scanString(hashes: 0)
      } else if c == "#", let hashes = rawStringHashes() {
        blank(hashes)
        scanString(hashes: hashes)
      } else {
        if c == "(" { depth += 1 }
        if c == ")" {
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
    while peek(n) == "#" { n += 1 }
    return peek(n) == "\"" ? n : nil
  }

  private mutating func scanString(hashes: Int) {
    let quote = at("\"\"\"") ? "\"\"\"" : "\""
    let end = quote + String(repeating: "#", count: hashes)
    let escape = "\\" + String(repeating: "#", count: hashes)
    out += quote
    position += quote.count
    while let c = peek() {
      if at(end) {
        out += quote
        position += end.count
        return
      }
      if quote.count == 1 && c.isNewline { return }  // unterminated: not our business
      if at(escape + "(") {
        blank(escape.count)
        out.append("(")
        position += 1
        scanCode(untilClosingParenthesis: true)
      } else if at(escape) {
        blank(escape.count + 1)
      } else {
        blank()
      }
    }
  }
}
