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
      Nothing is deleted: the command lists groups of copies, and which image of each group to keep.
        dinoctl duplicates --model M photos/
        dinoctl duplicates --threshold 0.95 BANK

      Copies that were recompressed, resized, cropped, written on or changed in colour have features close to each other's. Pairs whose features have a cosine of at least --threshold are joined to groups. \
      How close copies are depends on the model. With a vision transformer trained on photographs like ImageNet's, a picture at half its size scores 0.98 to 1.00, one that lost 10 % on each side \
      0.90 to 0.95, and one darkened to 70 % 0.7 to 0.94. So the default of 0.9 finds recompression, resizing and light crops; lower thresholds find more of the rest, and more pairs that are no copies. Try some, and look.

      Each line is one image: number of its group, role, score (its best in the group), width x height and path, by tabs.
        keep  the image of the group to keep: the one with the most pixels, of equal
              ones the one with the most bytes
        copy  an image that is like it
        same  another name of the file that is listed above it (a link, or a path
              that was given twice). It is no copy: deleting it by this name may
              delete the image to keep. With --json: "same" of its member
        -     nothing can be said: the image is not there any more
      """)

  @Argument(help: ArgumentHelp("A folder, an archive, a list or a bank.", valueName: "dir-or-bank"), completion: .file())
  var source: String

  @Option(help: ArgumentHelp("The least cosine of two copies.", valueName: "score"))
  var threshold: Float = 0.9

  @Option(help: "Which tokens. Default: cls, or what the bank was made of.")
  var tokens: BankTokens?

  @Option(help: ArgumentHelp("How many of an image's nearest are looked at first, at least 32. It changes no group: where an image has more copies than that, the search takes longer.", valueName: "n"))
  var neighbours = 32

  @OptionGroup var model: OptionalModelOptions<BankHelp>
  @OptionGroup var preprocessing: PreprocessingOptions
  @OptionGroup var reading: ReadingOptions
  @OptionGroup var running: RunningOptions<BankHelp>

  func validate() throws {
    if !(threshold > -1 && threshold <= 1) { throw ValidationError("--threshold must be above -1 and at most 1, not \(threshold)") }
    if neighbours < 1 || neighbours > 10_000 { throw ValidationError("--neighbours must be from 1 to 10000, not \(neighbours)") }
  }

  /// What an image is known by: its file, whatever path leads to it, or its name where that is no file, or none any more.
  private enum Identity: Hashable {
    case file(Originals.Place)
    case name([UInt8])

    init(_ name: String) {
      if let place = Originals.Place(existing: name) { self = .file(place) } else { self = .name(Array(name.utf8)) }
    }
  }

  /// An image of a group.
  private struct Member {
    var path: String
    /// Other names of the same file.
    var same: [String]
    var score: Float
    /// Nil where the image cannot be looked at any more.
    var size: (width: Int, height: Int, bytes: Int)?
  }

  func run() throws {
    var sources = try FeatureSources(model: model, preprocessing: preprocessing, reading: reading, running: running.settings, tokens: tokens, paths: [source])
    let rows = try sources.load(source)
    var progress = ProgressBar(total: rows.rows.count, unit: "images compared")
    let found = DuplicateGroups(rows, threshold: threshold, neighbours: neighbours, threads: searchThreads(running.threads),
                                again: { progress = ProgressBar(total: $0, unit: "images compared again") }, progress: { progress.advance(by: $0) })
    progress.finish()
    let identities = Dictionary(uniqueKeysWithValues: found.groups.joined().map { ($0, Identity(rows.name($0))) })
    var best: [Identity: Float] = [:]
    for pair in found.pairs {
      guard let first = identities[pair.first], let second = identities[pair.second], first != second else { continue }
      for image in [first, second] { best[image] = max(best[image] ?? -1, pair.score) }
    }
    var images = NamedImages(), groups: [[Member]] = []
    for group in found.groups {
      let names = Self.names(group.map { (row: $0, name: rows.name($0)) }, identities)
      // A file is no copy of itself.
      guard names.count > 1 else { continue }
      groups.append(Self.ordered(names.map { Self.measured($0.names, score: best[$0.identity] ?? 0, &images) }) { images.input($0)?.picture() != nil })
    }
    if running.json {
      try Terminal.output(JSONValue.object([
        .init("images", .integer(rows.rows.count)), .init("threshold", .number(Double(threshold))),
        .init("groups", .array(groups.map(Self.json))),
      ]).text + "\n")
    } else {
      var text = ""
      for (g, group) in groups.enumerated() {
        for (i, member) in group.enumerated() {
          let (role, size) = member.size.map { (i == 0 ? "keep" : "copy", "\($0.width)x\($0.height)") } ?? ("-", "-")
          let score = fixed(Double(member.score), 4)
          text += "\(g + 1)\t\(role)\t\(score)\t\(size)\t\(printable(member.path))\n"
          for name in member.same { text += "\(g + 1)\tsame\t\(score)\t\(size)\t\(printable(name))\n" }
        }
      }
      try Terminal.output(text)
      let known = groups.map { group in group.count { $0.size != nil } }
      Terminal.note("\(groups.count) groups, \(known.reduce(0) { $0 + max(0, $1 - 1) }) copies among \(rows.rows.count) images at threshold \(threshold)")
      let unreadable = groups.reduce(0) { $0 + $1.count } - known.reduce(0, +)
      if unreadable > 0 { Terminal.note("\(unreadable) images of these groups (-) are not there or cannot be read, and none is called a copy for them") }
    }
    try sources.skipped.conclude(of: sources.inputCount)
  }

  /// The group for --json: one to keep only where a size is known, and as copies of it those whose size is known too.
  private static func json(_ group: [Member]) -> JSONValue {
    let known = group.filter { $0.size != nil }
    let members = group.map { member -> JSONValue in
      let size = member.size ?? (0, 0, 0)
      return .object([.init("path", .string(member.path)), .init("score", .number(Double(member.score))), .init("width", .integer(size.width)), .init("height", .integer(size.height)),
                      .init("bytes", .integer(size.bytes)), .init("same", .array(member.same.map { .string($0) }))])
    }
    return .object([.init("keep", known.first.map { .string($0.path) } ?? .null), .init("copies", .array(known.dropFirst().map { .string($0.path) })), .init("members", .array(members))])
  }

  /// The images of a group in their order, each with its names, one that is no link first.
  private static func names(_ group: [(row: Int, name: String)], _ identities: [Int: Identity]) -> [(identity: Identity, names: [String])] {
    var places: [Identity: Int] = [:], images: [(identity: Identity, names: [String])] = []
    for (row, name) in group {
      guard let identity = identities[row] else { continue }
      if let at = places[identity] {
        images[at].names.append(name)
      } else {
        places[identity] = images.count
        images.append((identity: identity, names: [name]))
      }
    }
    return images.map { image in
      guard image.names.count > 1, let first = image.names.firstIndex(where: { !Originals.Place.isLink($0) }) else { return image }
      var others = image.names
      let name = others.remove(at: first)
      return (identity: image.identity, names: [name] + others)
    }
  }

  /// - Parameter names: of one image, at least one.
  private static func measured(_ names: [String], score: Float, _ images: inout NamedImages) -> Member {
    var member = Member(path: names[0], same: Array(names.dropFirst()), score: score)
    guard let input = images.input(names[0]), let size = input.pictureSize else { return member }
    member.size = (size.width, size.height, input.byteCount)
    return member
  }

  /// The one to keep first, the others as they came. Sizes are those of the files' headers: what is to be kept must be a picture to its end, or it counts for no more than what has none.
  private static func ordered(_ group: [Member], isWhole: (String) -> Bool) -> [Member] {
    func worth(_ member: Member) -> (Int, Int) { member.size.map { ($0.width * $0.height, $0.bytes) } ?? (-1, -1) }
    var rest = group
    while var best = rest.indices.first {
      for i in rest.indices where worth(rest[i]) > worth(rest[best]) { best = i }
      if rest[best].size != nil, !isWhole(rest[best].path) {
        rest[best].size = nil
        continue
      }
      let keep = rest.remove(at: best)
      return [keep] + rest
    }
    return rest
  }
}
