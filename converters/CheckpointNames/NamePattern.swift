// Templates of tensor names: "blocks.{i}.norm1.{p}". `{i}` stands for a block number, `{p}` for weight or bias. Nothing else is a pattern.

/// What the placeholders of a template stand for in one name.
public struct NameCaptures: Sendable, Hashable {
  /// `{i}`: 0 to 9999, written without leading zeros.
  public var index: Int?
  /// `{p}`: "weight" or "bias".
  public var part: String?
}

/// One template.
public struct NameTemplate: Sendable, Hashable, ExpressibleByStringLiteral {
  public let text: String
  let components: [String]

  public init(_ text: String) {
    self.text = text
    components = text.split(separator: ".", omittingEmptySubsequences: false).map(String.init)
  }
  public init(stringLiteral value: String) { self.init(value) }

  /// The captures where the name is of this form.
  public func match(_ name: [Substring]) -> NameCaptures? {
    guard name.count == components.count else { return nil }
    var captures = NameCaptures()
    for (component, word) in zip(components, name) {
      switch component {
      case "{i}":
        guard let index = Self.blockNumber(word), captures.index == nil || captures.index == index else { return nil }
        captures.index = index
      case "{p}":
        guard word == "weight" || word == "bias" else { return nil }
        captures.part = String(word)
      default:
        guard word == component else { return nil }
      }
    }
    return captures
  }

  /// The name with the placeholders filled in.
  public func name(_ captures: NameCaptures) -> String {
    components.map { component in
      switch component {
      case "{i}": captures.index.map(String.init) ?? component
      case "{p}": captures.part ?? component
      default: component
      }
    }.joined(separator: ".")
  }

  static func blockNumber(_ word: Substring) -> Int? {
    let digits = word.utf8
    guard (1...4).contains(digits.count), digits.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }) else { return nil }
    guard digits.count == 1 || digits.first != UInt8(ascii: "0") else { return nil }
    return Int(word)
  }
}
