// The name of an array's row as a line of STEM.paths.txt beside the array. A line is the name, but where the name has a line break, or what a break is spelt with: then breaks are
// spelt (\n, \r, \u{2028}) and backslashes doubled, so that two names are two lines, and each line one name.

public enum NameLine {
  /// `name` as one line.
  public static func line(of name: String) -> String {
    guard hasSpelling(name) || name.unicodeScalars.contains(where: isBreak) else { return name }
    return name.unicodeScalars.reduce(into: "") { $0 += $1 == "\\" ? "\\\\" : isBreak($1) ? $1.escaped(asASCII: true) : String($1) }
  }

  /// The name that `line` spells; nil where the line is the name.
  public static func name(speltIn line: String) -> String? {
    guard hasSpelling(line) else { return nil }
    var name = String.UnicodeScalarView(), rest = line.unicodeScalars[...]
    while let scalar = rest.popFirst() {
      guard scalar == "\\" else {
        name.append(scalar)
        continue
      }
      switch rest.popFirst() {
      case "\\": name.append("\\")
      case "n": name.append("\n")
      case "r": name.append("\r")
      case "u":
        guard rest.popFirst() == "{", let end = rest.firstIndex(of: "}"), let value = UInt32(String(rest[..<end]), radix: 16), let scalar = Unicode.Scalar(value) else { return nil }
        name.append(scalar)
        rest = rest[end...].dropFirst()
      default: return nil
      }
    }
    let spelt = String(name)
    // Other people's lines may have backslashes for other reasons.
    return Self.line(of: spelt).utf8.elementsEqual(line.utf8) ? spelt : nil
  }

  private static func isBreak(_ scalar: Unicode.Scalar) -> Bool { Character(scalar).isNewline }

  /// Whether a backslash is followed by n, r or u{.
  private static func hasSpelling(_ text: String) -> Bool {
    let backslash = UInt8(ascii: "\\")
    guard text.utf8.contains(backslash) else { return false }
    let bytes = Array(text.utf8)
    return bytes.indices.contains { at in
      guard bytes[at] == backslash else { return false }
      let after = bytes[(at + 1)...]
      return after.first == UInt8(ascii: "n") || after.first == UInt8(ascii: "r") || after.starts(with: "u{".utf8)
    }
  }
}
