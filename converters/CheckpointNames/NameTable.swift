// What one library calls the tensors of a model, as rows of templates, and the lookup in both directions. The rows themselves are in Tables/.

/// One row: an official name, and the names of another library whose tensors, joined along axis 0, are that tensor.
public struct NameRule: Sendable, Hashable {
  public let official: NameTemplate
  /// One name, or several whose tensors are concatenated along axis 0, in this order.
  public let sources: [NameTemplate]
  /// Whether the tensor there is [1, T - 1, D] of an official [1, T, D]: what belongs to the class token is part of that token, and comes as zeros.
  public let leavesOutClassToken: Bool
  /// Whether the two tensors there are the queries' and the values' part of an official [3·D]: the keys' is zeros.
  public let leavesOutKeys: Bool
  /// A tensor beside it that it is multiplied by, where a file has one.
  public let mask: NameTemplate?
  public init(_ official: NameTemplate, _ sources: [NameTemplate], leavesOutClassToken: Bool = false, leavesOutKeys: Bool = false, mask: NameTemplate? = nil) {
    self.official = official
    self.sources = sources
    self.leavesOutClassToken = leavesOutClassToken
    self.leavesOutKeys = leavesOutKeys
    self.mask = mask
  }
}

/// A name that a library's files have and that is not used, and why.
public struct IgnoreRule: Sendable, Hashable {
  public enum Match: Sendable, Hashable {
    case exact(String)
    /// The name starts with this.
    case prefix(String)
    /// The name ends with this.
    case suffix(String)
  }
  public let match: Match
  public let reason: String
  public init(_ match: Match, _ reason: String) {
    self.match = match
    self.reason = reason
  }
  func applies(to name: String) -> Bool {
    switch match {
    case .exact(let text): name == text
    case .prefix(let text): name.hasPrefix(text)
    case .suffix(let text): name.hasSuffix(text)
    }
  }
}

/// The names of one library.
public struct NameTable: Sendable, Hashable {
  /// "official", "transformers ViT".
  public let name: String
  public let rules: [NameRule]
  public let ignored: [IgnoreRule]
  /// Whether networks with these names have rotary positions, of which the library's files hold nothing.
  public let isRotary: Bool
  public init(name: String, rules: [NameRule], ignored: [IgnoreRule], isRotary: Bool = false) {
    self.isRotary = isRotary
    self.name = name
    self.rules = rules
    self.ignored = ignored
  }

  /// The official name that a source name belongs to, and which of the joined parts it is.
  public func official(of source: String) -> (name: String, part: Int, of: Int)? {
    let words = source.split(separator: ".", omittingEmptySubsequences: false)
    for rule in rules {
      for (part, template) in rule.sources.enumerated() {
        if let captures = template.match(words) { return (rule.official.name(captures), part, rule.sources.count) }
      }
    }
    return nil
  }

  /// The official name of the tensor that a source name is a mask of.
  func masked(by source: String) -> String? {
    let words = source.split(separator: ".", omittingEmptySubsequences: false)
    for rule in rules { if let captures = rule.mask?.match(words) { return rule.official.name(captures) } }
    return nil
  }

  /// Whether an official tensor is there without what belongs to the class token.
  func leavesOutClassToken(_ official: String) -> Bool { rules.contains { $0.leavesOutClassToken && $0.official.text == official } }

  /// Whether an official tensor is there without the keys' part.
  func leavesOutKeys(_ official: String) -> Bool {
    let words = official.split(separator: ".", omittingEmptySubsequences: false)
    return rules.contains { $0.leavesOutKeys && $0.official.match(words) != nil }
  }

  /// The source names of an official name, to be split (or joined) along axis 0; nil where the library has no such tensor. The first row counts.
  public func sources(of official: String) -> [String]? {
    let words = official.split(separator: ".", omittingEmptySubsequences: false)
    for rule in rules {
      if let captures = rule.official.match(words) { return rule.sources.map { $0.name(captures) } }
    }
    return nil
  }
}
