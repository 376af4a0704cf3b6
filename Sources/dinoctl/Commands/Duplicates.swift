// dinoctl duplicates: photographs that are copies of one another, and which of them to keep. It deletes nothing.

internal import ArgumentParser
internal import Dino
internal import DinoImaging
internal import DinoTasks
internal import Safetensors
#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

struct Duplicates: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Groups of photographs that are copies of one another.",
    discussion: """
      Copies under recompression, resizing, crops, text and changes of colour have features that are close: pairs of at least --threshold (a cosine) are joined to groups. \
      How close copies are depends on the model: try thresholds, and look. Of each group the image with the most pixels is the one to keep, of equal ones that of most bytes. \
      One line an image: the number of its group, keep or copy, score (its best in the group), width x height, path. Nothing is deleted.
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
    var width = 0, height = 0, bytes = 0
    /// Whether the file is still there to be measured.
    var isThere = false
  }

  func run() throws {
    var sources = try FeatureSources(model: model, preprocessing: preprocessing, reading: reading, tokens: tokens)
    let rows = try sources.load(source)
    var progress = ProgressBar(total: rows.rows.count, unit: "images compared")
    let found = DuplicateGroups(rows, threshold: threshold, neighbours: neighbours, threads: searchThreads(model.running)) { progress.advance(by: $0) }
    progress.finish()
    var best: [Int: Float] = [:]
    for pair in found.pairs { for row in [pair.first, pair.second] { best[row] = max(best[row] ?? -1, pair.score) } }
    let groups = found.groups.map { group in Self.ordered(group.map { Self.measured(rows.name($0), score: best[$0] ?? 0) }) }
    if model.running.json {
      try Terminal.output(JSONValue.object([
        .init("images", .integer(rows.rows.count)), .init("threshold", .number(Double(threshold))),
        .init("groups", .array(groups.map { group in
          .object([.init("keep", .string(group[0].path)), .init("copies", .array(group.dropFirst().map { .string($0.path) })),
                   .init("members", .array(group.map {
                     .object([.init("path", .string($0.path)), .init("score", .number(Double($0.score))), .init("width", .integer($0.width)), .init("height", .integer($0.height)), .init("bytes", .integer($0.bytes))])
                   }))])
        })),
      ]).text + "\n")
    } else {
      var text = ""
      for (g, group) in groups.enumerated() {
        for (i, member) in group.enumerated() {
          text += "\(g + 1)\t\(i == 0 ? "keep" : "copy")\t\(fixed(Double(member.score), 4))\t\(member.isThere ? "\(member.width)x\(member.height)" : "-")\t\(printable(member.path))\n"
        }
      }
      try Terminal.output(text)
      Terminal.note("\(groups.count) groups, \(groups.reduce(0) { $0 + $1.count - 1 }) copies among \(rows.rows.count) images at threshold \(threshold)")
    }
    try sources.skipped.conclude(of: sources.inputCount)
  }

  private static func measured(_ path: String, score: Float) -> Member {
    var member = Member(path: path, score: score)
    guard let image = try? ImageDecoder.decode(path: path) else { return member }
    member.width = image.width
    member.height = image.height
    member.bytes = (try? FileManager.default.attributesOfItem(atPath: path)[.size] as? Int) ?? 0
    member.isThere = true
    return member
  }

  /// The one to keep first, the others as they came.
  private static func ordered(_ group: [Member]) -> [Member] {
    func isBetter(_ a: Member, _ b: Member) -> Bool { (a.width * a.height, a.bytes) > (b.width * b.height, b.bytes) }
    guard var best = group.indices.first else { return group }
    for i in group.indices where isBetter(group[i], group[best]) { best = i }
    var rest = group
    let keep = rest.remove(at: best)
    return [keep] + rest
  }
}
