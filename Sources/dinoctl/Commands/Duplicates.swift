// dinoctl duplicates: photographs that are copies of one another, and which of them to keep. It deletes nothing.

internal import ArgumentParser
internal import Dino
internal import DinoImaging
internal import DinoTasks
internal import Safetensors

struct Duplicates: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Groups of photographs that are copies of one another.",
    discussion: """
      Copies under recompression, resizing, crops, text and changes of colour have features that are close: pairs of at least --threshold (a cosine) are joined to groups. \
      How close copies are depends on the model: try thresholds, and look. Of each group the image with the most pixels is the one to keep, of equal ones that of most bytes. \
      One line an image: the number of its group, keep or copy, score (its best in the group), width x height, path; - stands for what cannot be said of an image that is \
      not there any more. Nothing is deleted.
      """)

  @OptionGroup var model: OptionalModelOptions
  @OptionGroup var preprocessing: PreprocessingOptions
  @OptionGroup var reading: ReadingOptions

  @Argument(help: ArgumentHelp("A folder, an archive, a list or a bank.", valueName: "dir-or-bank"))
  var source: String

  @Option(help: ArgumentHelp("The least cosine of two copies.", valueName: "score"))
  var threshold: Float = 0.9

  @Option(help: "Which tokens: cls, mean or cls+mean. Default: cls, or what the bank was made of.")
  var tokens: BankTokens?

  @Option(help: "How many of an image's nearest are looked at; larger groups still come together through one another.")
  var neighbours = 32

  func validate() throws {
    if !(threshold > -1 && threshold <= 1) { throw ValidationError("--threshold must be above -1 and at most 1, not \(threshold)") }
    if neighbours < 1 || neighbours > 10_000 { throw ValidationError("--neighbours must be from 1 to 10000, not \(neighbours)") }
  }

  /// An image of a group.
  private struct Member {
    var path: String
    var score: Float
    /// Nil where the image cannot be looked at any more.
    var size: (width: Int, height: Int, bytes: Int)?
  }

  func run() throws {
    var sources = try FeatureSources(model: model, preprocessing: preprocessing, reading: reading, tokens: tokens)
    let rows = try sources.load(source)
    var progress = ProgressBar(total: rows.rows.count, unit: "images compared")
    let found = DuplicateGroups(rows, threshold: threshold, neighbours: neighbours, threads: searchThreads(model.running)) { progress.advance(by: $0) }
    progress.finish()
    var best: [Int: Float] = [:]
    for pair in found.pairs { for row in [pair.first, pair.second] { best[row] = max(best[row] ?? -1, pair.score) } }
    var images = NamedImages()
    let groups = found.groups.map { group in Self.ordered(group.map { Self.measured(rows.name($0), score: best[$0] ?? 0, &images) }) }
    if model.running.json {
      try Terminal.output(JSONValue.object([
        .init("images", .integer(rows.rows.count)), .init("threshold", .number(Double(threshold))),
        .init("groups", .array(groups.map(Self.json))),
      ]).text + "\n")
    } else {
      var text = ""
      for (g, group) in groups.enumerated() {
        for (i, member) in group.enumerated() {
          let (role, size) = member.size.map { (i == 0 ? "keep" : "copy", "\($0.width)x\($0.height)") } ?? ("-", "-")
          text += "\(g + 1)\t\(role)\t\(fixed(Double(member.score), 4))\t\(size)\t\(printable(member.path))\n"
        }
      }
      try Terminal.output(text)
      Terminal.note("\(groups.count) groups, \(groups.reduce(0) { $0 + $1.count - 1 }) copies among \(rows.rows.count) images at threshold \(threshold)")
    }
    try sources.skipped.conclude(of: sources.inputCount)
  }

  /// The group for --json: one to keep only where a size is known, and as copies of it those whose size is known too.
  private static func json(_ group: [Member]) -> JSONValue {
    let known = group.filter { $0.size != nil }
    let members = group.map { member -> JSONValue in
      let size = member.size ?? (0, 0, 0)
      return .object([.init("path", .string(member.path)), .init("score", .number(Double(member.score))), .init("width", .integer(size.width)), .init("height", .integer(size.height)),
                      .init("bytes", .integer(size.bytes))])
    }
    return .object([.init("keep", known.first.map { .string($0.path) } ?? .null), .init("copies", .array(known.dropFirst().map { .string($0.path) })), .init("members", .array(members))])
  }

  private static func measured(_ path: String, score: Float, _ images: inout NamedImages) -> Member {
    var member = Member(path: path, score: score)
    guard let input = images.input(path), let image = input.picture else { return member }
    member.size = (image.width, image.height, input.byteCount)
    return member
  }

  /// The one to keep first, the others as they came.
  private static func ordered(_ group: [Member]) -> [Member] {
    func worth(_ member: Member) -> (Int, Int) { member.size.map { ($0.width * $0.height, $0.bytes) } ?? (-1, -1) }
    func isBetter(_ a: Member, _ b: Member) -> Bool { worth(a) > worth(b) }
    guard var best = group.indices.first else { return group }
    for i in group.indices where isBetter(group[i], group[best]) { best = i }
    var rest = group
    let keep = rest.remove(at: best)
    return [keep] + rest
  }
}
