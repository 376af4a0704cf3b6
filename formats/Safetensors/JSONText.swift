// JSON out: compact, members in the order given, one spelling for each value, so that the same record is always the same bytes.

extension JSONValue: CustomStringConvertible {
  /// The value as compact JSON. A number that is not finite, which JSON has no word for, becomes `null`.
  public var text: String {
    var out = ""
    write(into: &out)
    return out
  }

  public var description: String { text }

  private func write(into out: inout String) {
    switch self {
    case .null: out += "null"
    case .bool(let b): out += b ? "true" : "false"
    case .integer(let i): out += String(i)
    case .number(let d): out += d.isFinite ? d.description : "null"
    case .string(let s): appendJSONString(s, to: &out)
    case .array(let elements):
      out += "["
      for (i, element) in elements.enumerated() {
        if i > 0 { out += "," }
        element.write(into: &out)
      }
      out += "]"
    case .object(let members):
      out += "{"
      for (i, member) in members.enumerated() {
        if i > 0 { out += "," }
        appendJSONString(member.key, to: &out)
        out += ":"
        member.value.write(into: &out)
      }
      out += "}"
    }
  }
}

/// Appends a string in quotes. Only what must be escaped is: quote, backslash, control characters (short forms where there are any).
func appendJSONString(_ string: String, to out: inout String) {
  out += "\""
  for scalar in string.unicodeScalars {
    switch scalar {
    case "\"": out += "\\\""
    case "\\": out += "\\\\"
    case "\u{08}": out += "\\b"
    case "\u{0C}": out += "\\f"
    case "\n": out += "\\n"
    case "\r": out += "\\r"
    case "\t": out += "\\t"
    case _ where scalar.value < 0x20:
      let hex = String(scalar.value, radix: 16)
      out += "\\u" + String(repeating: "0", count: 4 - hex.count) + hex
    default: out.unicodeScalars.append(scalar)
    }
  }
  out += "\""
}
