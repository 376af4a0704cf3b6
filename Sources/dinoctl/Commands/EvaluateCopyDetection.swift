// dinoctl evaluate copy-detection: the Copydays protocol of eval_copy_detection.py, on any originals and their copies.

internal import ArgumentParser
internal import Dino
internal import DinoKernels
internal import DinoModels
internal import DinoTasks
internal import Safetensors

struct EvaluateCopyDetection: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "copy-detection",
    abstract: "Copy detection: mAP of finding the original of altered photographs, as on Copydays.",
    discussion: """
      A copy belongs to the originals whose file name (without ending) is its own, or begins with the same --prefix characters: 4 on Copydays. Photographs are resized to \
      --image-size in both directions; the feature is the class token and the generalised mean (power 4) of the patch tokens. --whiten learns PCA whitening from other images, \
      as the official code does; --distractors are searched along with the originals. The 20 best answers count; average precision is by trapezoids. Copies of originals that \
      cannot be read are left out.
      """)

  @Option(help: ArgumentHelp("The originals.", valueName: "dir"), completion: .file())
  var originals: String

  @Option(help: ArgumentHelp("Altered copies of them. May be repeated: each folder gets its own figure.", valueName: "dir"), completion: .file())
  var copies: [String]

  @Option(help: "How many characters of a name must agree; 0 for the whole name without its ending.")
  var prefix = 0

  @Option(help: ArgumentHelp("Images that are no copy's original, to be searched along with the originals.", valueName: "dir"), completion: .file())
  var distractors: String?

  @Option(help: ArgumentHelp("Whiten with the features of these images.", valueName: "dir"), completion: .file())
  var whiten: String?

  @Option(help: "Side of the square that photographs are resized to.")
  var imageSize = 320

  @OptionGroup var model: ModelOptions<FeatureHelp>
  @OptionGroup var preprocessing: StatisticsOptions
  @OptionGroup var reading: ReadingOptions
  @OptionGroup var running: RunningOptions<FeatureHelp>

  private static let answers = 20

  func validate() throws {
    if copies.isEmpty { throw ValidationError("--copies is needed: a folder of altered photographs") }
    if imageSize < 1 || imageSize > 65_536 { throw ValidationError("--image-size must be from 1 to 65536, not \(imageSize)") }
    if prefix < 0 { throw ValidationError("--prefix must be at least 0, not \(prefix)") }
  }

  /// Features of a folder and the names that decide what belongs together.
  private struct Block {
    var keys: [String]
    var features: [[Float]]
    /// Names of which no photograph could be read.
    var unread: Set<String>
  }

  func run() throws {
    let dino = try model.load(running.settings, manyImages: true)
    var changes = preprocessing.changes()
    changes.size = .exact(height: imageSize, width: imageSize)
    let preparer = try Preparing.preparer(dino, changes, exifOrientation: reading.exifOrientation)
    let maker = try FeatureMaker(model: dino, preparer: preparer, running: running.settings, width: 2 * dino.config.embedDim, tokens: "cls+gem") { try dino.copyFeatures($0) }
    var skipped = SkippedInputs(), total = 0
    var database = try block(originals, maker, &skipped, &total)
    let originalCount = database.features.count, unread = database.unread
    if let distractors { database.features += try block(distractors, maker, &skipped, &total).features }
    var blocks = try copies.map { try block($0, maker, &skipped, &total) }
    if let whiten {
      let whitening = try Whitening.learnt(try block(whiten, maker, &skipped, &total).features, of: whiten)
      database.features = database.features.map { whitening.apply($0) }
      for b in blocks.indices { blocks[b].features = blocks[b].features.map { whitening.apply($0) } }
    }
    let ranker = try Ranker(database.features, threads: searchThreads(running.threads))
    let places = Dictionary(grouping: 0..<originalCount) { database.keys[$0] }
    var results: [(name: String, queries: Int, map: Double)] = []
    for (name, block) in zip(copies, blocks) {
      var sum = 0.0, queries = 0
      try ranker.nearest(block.features, count: Self.answers) { query, answers in
        let key = block.keys[query]
        if unread.contains(key) { return }
        guard let positives = places[key].map(Set.init) else { throw Failure(.data, "\(name): the copy \(key) has no original in \(originals)", hint: "--prefix N compares only the first N characters") }
        sum += AveragePrecision.trapezoid(ranks: answers.indices.filter { positives.contains(answers[$0].row) }, positives: positives.count)
        queries += 1
      }
      if queries < block.keys.count { Terminal.note("\(name): \(block.keys.count - queries) of \(block.keys.count) copies left out, as their originals could not be read") }
      guard queries > 0 else { throw Failure(.data, "\(name): none of the originals of its copies could be read") }
      results.append((name: name, queries: queries, map: sum / Double(queries)))
    }
    if running.json {
      try Terminal.output(JSONValue.object([
        .init("database", .integer(database.features.count)), .init("image_size", .integer(imageSize)), .init("whitened", .bool(whiten != nil)),
        .init("results", .array(results.map { .object([.init("copies", .string($0.name)), .init("queries", .integer($0.queries)), .init("map", .number(100 * $0.map))]) })),
      ]).text + "\n")
    } else {
      try Terminal.output(results.map { "\(printable($0.name)): \($0.queries) copies among \(database.features.count) images, mAP \(fixed(100 * $0.map, 2))\n" }.joined())
    }
    try skipped.conclude(of: total)
  }

  private func block(_ path: String, _ maker: FeatureMaker, _ skipped: inout SkippedInputs, _ total: inout Int) throws -> Block {
    let inputs = try ReadingOptions.expand([path])
    total += inputs.count
    let keys = inputs.map { prefix > 0 ? String($0.stem.prefix(prefix)) : $0.stem }
    var block = Block(keys: [], features: [], unread: [])
    var progress = ProgressBar(total: inputs.count, unit: "images")
    try maker.forEach(inputs, strict: reading.strict, skipped: &skipped, progress: &progress) { index, row in
      block.features.append(row)
      block.keys.append(keys[index])
    }
    progress.finish()
    block.unread = Set(keys).subtracting(block.keys)
    guard !block.features.isEmpty else { throw Failure(.data, "\(path): none of the \(inputs.count) inputs could be read") }
    return block
  }
}
