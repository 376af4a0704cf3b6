// The flags that were typed. Of an option with a default its value does not say whether it was given, and what a mode of a command would not read is refused, not ignored.

enum GivenFlags {
  /// In their order, without values, with dashes for underscores.
  static func all() -> [String] { CommandLine.arguments.dropFirst().filter { $0.hasPrefix("--") }.map(plain) }

  private static func plain(_ argument: String) -> String { String(argument.prefix { $0 != "=" }.map { $0 == "_" ? "-" : $0 }) }
}
