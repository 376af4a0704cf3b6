// The flags that were typed. Of an option with a default its value does not say whether it was given, and what a mode of a command would not read is refused, not ignored.

internal import ArgumentParser

enum GivenFlags {
  /// In their order, without values, with dashes for underscores.
  static func all() -> [String] { CommandLine.arguments.dropFirst().filter { $0.hasPrefix("--") }.map(plain) }

  /// Refuses flags that are read only with something that was not given.
  static func refuse(_ flags: Set<String>, unless isRead: Bool, _ needed: String) throws {
    guard !isRead, let flag = all().first(where: flags.contains) else { return }
    throw ValidationError("\(flag) goes with \(needed)")
  }

  private static func plain(_ argument: String) -> String { String(argument.prefix { $0 != "=" }.map { $0 == "_" ? "-" : $0 }) }
}
