// Commands and options that there are not, and the nearest that there are. The argument parser takes a word in a command's place for an argument too many, tells of what is missing or
// does not go together before it tells of an option that it does not know, and takes a far one for the nearest.

internal import ArgumentParser

enum Spelling {
  /// The command that the words name, and these words, each with a space behind it. Refuses a word in a command's place that is none.
  static func command(of arguments: [String]) throws -> (command: any ParsableCommand.Type, path: String) {
    var command: any ParsableCommand.Type = Dinoctl.self, path = "", words = arguments[...]
    if words.first == "help" { words = words.dropFirst() }
    // The parser's own command, which is not among ours, has a help too.
    if words.elementsEqual(["help"]) { words = [] }
    while let word = words.first, !word.hasPrefix("-") {
      let known = command.configuration.subcommands
      if known.isEmpty { break }
      guard let next = known.first(where: { $0._commandName == word }) else {
        let near = nearest(to: word, among: known.map { $0._commandName })
        throw Failure(.usage, "there is no command '\(path)\(word)'", hint: near.map { "did you mean '\(path)\($0)'?" } ?? "dinoctl \(path)--help lists those there are")
      }
      (command, path, words) = (next, path + word + " ", words.dropFirst())
    }
    return (command, path)
  }

  private static let several = "mpirun -n R starts several processes, which find each other"

  /// Why a command lacks an option that others have.
  private static let lacking = [
    "quantize --precision": "quantize computes in f32; --weights says what weights become",
    "quantize --batch-size": "quantize runs one photograph at a time",
    "inspect --batch-size": "inspect runs one image at a time",
    "convert --precision": "convert stores weights as --dtype says; quantize makes int8 files",
    "convert --threads": "convert runs no network but for its short self-test; DINO_THREADS in the environment holds for that",
    "convert --batch-size": "convert runs no images",
    "train --dist-url": several,
    "train --local-rank": several,
    "distill --dist-url": several,
    "distill --local-rank": several,
    "export --precision": "--dtype says what weights are stored as, --quantized makes int8 files",
  ]

  /// What to say of the first option that was typed and that the command does not have; nil where it has all.
  static func unknownOption(of command: any ParsableCommand.Type, path: String) -> Failure? {
    // The parser does not list a command's options but in its help.
    let help = Dinoctl.helpMessage(for: command, includeHidden: true)
    let known = Set(help.split(separator: "\n").flatMap(names) + ["--generate-completion-script"])
    guard let unknown = GivenFlags.all().first(where: { !known.contains($0) }) else { return nil }
    return Failure(.usage, "dinoctl \(path)has no option '\(GivenFlags.typed(unknown))'", hint: lacking[path + unknown] ?? nearest(to: unknown, among: Array(known)).map { "did you mean '\($0)'?" })
  }

  /// The long names, with dashes for underscores, that a line of help lists as one option; what else help says may name options of other commands.
  private static func names(_ line: Substring) -> [String] {
    guard line.hasPrefix("  -") else { return [] }
    var names: [String] = []
    for word in line.split(separator: " ") {
      names += word.split(whereSeparator: { $0 == "," || $0 == "/" }).filter { $0.hasPrefix("--") }.map { String($0.map { $0 == "_" ? "-" : $0 }) }
      if !word.hasSuffix(",") { break }
    }
    return names
  }

  /// The name that a word was most likely meant to be; nil where none is near.
  private static func nearest(to word: String, among names: [String]) -> String? {
    let most = max(1, min(3, word.utf8.count / 3))
    var best: (name: String, letters: Int)?
    for name in names.sorted() where abs(name.utf8.count - word.utf8.count) <= most {
      let letters = distance(word, name)
      if letters <= most, letters < best?.letters ?? Int.max { best = (name, letters) }
    }
    return best?.name
  }

  /// How many letters are to be put in, left out, changed or swapped with the next to make one word of the other.
  private static func distance(_ a: String, _ b: String) -> Int {
    let a = Array(a.utf8), b = Array(b.utf8)
    var rows = [Array(0...b.count)]
    for i in a.indices {
      var row = [i + 1]
      for j in b.indices {
        var least = min(row[j], rows[i][j + 1]) + 1
        least = min(least, rows[i][j] + (a[i] == b[j] ? 0 : 1))
        if i > 0, j > 0, a[i] == b[j - 1], a[i - 1] == b[j] { least = min(least, rows[i - 1][j - 1] + 1) }
        row.append(least)
      }
      rows.append(row)
    }
    return rows[a.count][b.count]
  }
}
