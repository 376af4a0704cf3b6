// The words that were typed: which flags, and numbers below 0 as the values that they are. Of an option with a default its value does not say whether it was given, and what a mode of a command
// would not read is refused, not ignored.

internal import ArgumentParser

enum GivenFlags {
  /// In their order, without values, with dashes for underscores.
  static func all() -> [String] { CommandLine.arguments.dropFirst().prefix { $0 != "--" }.filter { $0.hasPrefix("--") }.map(plain) }

  /// A flag as it was typed: with dashes or with underscores.
  static func typed(_ flag: String) -> String {
    let words = CommandLine.arguments.dropFirst().prefix { $0 != "--" }
    return words.first { $0.hasPrefix("--") && plain($0) == flag }.map { String($0.prefix { $0 != "=" }) } ?? flag
  }

  /// The words with `--flag=-1` for `--flag -1`, for the parser, to which all that begins with a dash is a flag.
  static func joiningNegativeNumbers(_ words: [String]) -> [String] {
    var result: [String] = []
    for (i, word) in words.enumerated() {
      if word == "--" { return result + words[i...] }
      if let flag = result.last, flag.hasPrefix("-"), flag != "-", !flag.contains("="), isNegative(word) { result[result.count - 1] = "\(flag)=\(word)" } else { result.append(word) }
    }
    return result
  }

  /// What to say of a number below 0 that is no option's; nil where there is none. The parser takes it for an option that is misspelled.
  static func strayNumber() -> Failure? {
    let words = joiningNegativeNumbers(Array(CommandLine.arguments.dropFirst())).prefix { $0 != "--" }
    guard let number = words.first(where: isNegative) else { return nil }
    return Failure(.usage, "'\(number)' is no option, and as a value it must be from 0 on", hint: "a number below 0 can only be directly behind an option that takes it")
  }

  /// A number, or several by comma, of which the first is below 0.
  private static func isNegative(_ word: String) -> Bool { word.hasPrefix("-") && word.split(separator: ",").allSatisfy { Double($0) != nil } }

  /// Refuses flags that are read only with something that was not given.
  static func refuse(_ flags: Set<String>, unless isRead: Bool, _ needed: String) throws {
    guard !isRead, let flag = all().first(where: flags.contains) else { return }
    throw ValidationError("\(flag) goes with \(needed)")
  }

  private static func plain(_ argument: String) -> String { String(argument.prefix { $0 != "=" }.map { $0 == "_" ? "-" : $0 }) }
}
