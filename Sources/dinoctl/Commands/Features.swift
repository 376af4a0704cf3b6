// dinoctl features: one row of numbers for each image. Decoding runs ahead of the network on threads of its own; rows are kept in a
// partial file, so that an interrupted or failed run goes on where it stopped.

internal import ArgumentParser
internal import Dino
internal import DinoKernels
internal import DinoTensor
internal import Safetensors

struct Features: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Features of images: a row of numbers for each, [rows, D] in f32.",
    discussion: """
      OUT ends in .npy, .npz, .safetensors, .jsonl or .csv.
      Arrays: row N is of the image in line N of STEM.paths.txt, a file that is written beside OUT (STEM is OUT without its ending, so two arrays need two stems). \
      In .npz and .safetensors the array is called 'features'.
      .csv: a header, and then one line an image, with the columns path, f0, f1, and so on. .jsonl: one object an image, with the keys path and features.
      Images that cannot be read are named and have neither row nor name; the exit code is then 1.
        dinoctl features --model M -o photos.npy photos/
        dinoctl features --model M -o patches.npz --tokens patch photos/

      --tokens:
        cls            the class token
        mean           the mean of the patch tokens
        cls+mean       both beside each other
        cls+last-mean  the class tokens of all layers and the mean of the last one's
                       patch tokens, as DINOv2's linear classifiers read them
        patch          all patch tokens, [rows, patches, D], in .npz or .safetensors
      --layers N puts the last N blocks beside each other, earliest first, each with its own tokens after the last norm.

      While the command runs, it keeps finished rows in OUT.partial and OUT.partial.log. After an interruption or a failure (a full disk, --strict) the same command goes on from there. \
      It reads again the images that it could not read, and those that have changed since: whose file, or archive, has another size or time, is another file, or has other permissions. \
      While the two files are there, the command is refused with other settings, and where most of the rows are of other images than its inputs.
      """)

  @Option(name: .shortAndLong, help: ArgumentHelp("The file to write.", valueName: "out"), completion: .file())
  var output: String

  @Option(help: "Which tokens; see above.")
  var tokens = TokenArgument.cls

  @Option(help: ArgumentHelp("The last so many blocks, beside each other.", valueName: "n"))
  var layers = 1

  @Flag(help: "Divide each row by its Euclidean length.")
  var normalize = false

  @OptionGroup var budget: BudgetOptions
  @OptionGroup var model: ModelOptions<FeatureHelp>
  @OptionGroup var preprocessing: PreprocessingOptions
  @OptionGroup var input: InputOptions
  @OptionGroup var running: RunningOptions<FeatureHelp>

  func validate() throws {
    if layers < 1 { throw ValidationError("--layers must be at least 1, not \(layers)") }
  }

  func run() throws {
    let format = try FeatureFormat(path: output)
    let settings = FeatureSettings(tokens: tokens.choice, layers: layers, normalized: normalize)
    if settings.tokens == .patch && !format.holdsPatches {
      throw Failure(.usage, "--tokens patch needs an .npz or .safetensors file, not \(output)")
    }
    let inputs = try input.expand()
    try Output.check(file: output)
    try Originals(input.inputs + inputs.compactMap(\.path) + Originals.files(of: model.path)).spare([output] + (format.hasPathsFile ? [FeatureFile.pathsFile(of: output)] : []))
    try Output.check(namesOf: output)
    let dino = try model.load(running.settings, manyImages: true)
    let preparer = try Preparing.preparer(dino, preprocessing.changes(), exifOrientation: input.exifOrientation)
    var work = FeatureRun(extractor: try FeatureExtractor(model: dino, settings: settings), preparer: preparer, inputs: inputs, output: output, format: format,
                          strict: input.strict, batchSize: running.settings.imagesAtOnce(of: inputs.count, by: preparer, in: dino.precision), workers: running.threads)
    if let bytes = budget.bytes { try work.keep(within: bytes) }
    try work.run()
    if running.json {
      try Terminal.output(work.summary.text + "\n")
    } else {
      Terminal.note("\(output): \(work.rowCount) rows")
    }
    try work.skipped.conclude(of: inputs.count)
  }
}

enum TokenArgument: String, ExpressibleByArgument, CaseIterable {
  case cls, mean, patch
  case clsAndMean = "cls+mean"
  case clsAndLastMean = "cls+last-mean"
  var choice: TokenChoice {
    switch self {
    case .cls: .cls
    case .mean: .mean
    case .clsAndMean: .clsAndMean
    case .clsAndLastMean: .clsAndLastMean
    case .patch: .patch
    }
  }
}

/// One run over all inputs.
private struct FeatureRun {
  let extractor: FeatureExtractor
  let preparer: ImagePreparer
  let inputs: [ImageInput]
  let output: String
  let format: FeatureFormat
  let strict: Bool
  private(set) var batchSize: Int
  let workers: Int
  private var budget: MemoryBudget?

  var skipped = SkippedInputs()
  private(set) var rowCount = 0
  private var partial: PartialFeatures?
  private var rowShape: [Int]?

  init(extractor: FeatureExtractor, preparer: ImagePreparer, inputs: [ImageInput], output: String, format: FeatureFormat, strict: Bool, batchSize: Int, workers: Int) {
    self.extractor = extractor
    self.preparer = preparer
    self.inputs = inputs
    self.output = output
    self.format = format
    self.strict = strict
    self.batchSize = preparer.inputsInMemory(atMost: max(1, batchSize))
    self.workers = workers
  }

  /// Runs fewer images at once where more would not fit.
  mutating func keep(within bytes: Int) throws {
    var question = extractor.model.memoryQuestion
    question.workers = inputs.count == 1 ? 0 : workers > 0 ? workers : availableCores()
    let budget = MemoryBudget(bytes: bytes, program: peakMemoryBytes(), question: question, outputs: extractor.outputs)
    self.budget = budget
    // Where sizes differ each image is asked about before it runs.
    guard let (height, width) = preparer.fixedSize else {
      batchSize = 1
      return
    }
    batchSize = try budget.batch(atMost: batchSize, height: height, width: width)
  }

  mutating func run() throws {
    do {
      try extract()
      try finish()
    } catch {
      // Finished rows outlive a failure as they do an interruption: the disk may have been full after hours of work.
      if let partial, partial.resumes, partial.rowCount > 0 {
        Terminal.say("\(partial.rowCount) rows are kept: the same command goes on from \(output).partial")
      } else {
        partial?.remove()
      }
      throw error
    }
  }

  private mutating func extract() throws {
    // The width of a row is known from the model and the preprocessing, but for patch tokens of images of any size: there it takes a first image, and such
    // runs do not go on after an interruption.
    if let patches = extractor.settings.tokens == .patch ? preparer.fixedPatches : 0 { try open(rowShape: extractor.rowShape(patches: patches), resumes: true) }
    let done = partial?.resumed ?? 0, unused = partial?.unused ?? 0
    if done > 0 { Terminal.note("going on after \(done) of \(inputs.count) inputs of an interrupted run") }
    if unused > 0 { Terminal.note("not used are \(unused) rows of that run, whose images, or their files, have changed since or are not among these") }
    // What the interrupted run could not read has no row, and is tried again: it may be readable by now.
    let pending = partial?.pending ?? Array(inputs.indices)
    var progress = ProgressBar(total: inputs.count, unit: "images", before: done)
    let stream = ImageStream(preparer: preparer, batchSize: batchSize, workers: workers)
    try stream.forEach(pending.map { inputs[$0] }) { part in
      switch part {
      case .batch(let indices, let images): try add(images, of: indices.map { pending[$0] }, &progress)
      case .unreadable(let index, let reason):
        try skip(inputs[pending[index]].name, reason)
        progress.advance()
      }
    }
    progress.finish()
  }

  private mutating func add(_ batch: [PreparedImage], of places: [Int], _ progress: inout ProgressBar) throws {
    guard let first = batch.first else { return }
    let shape = extractor.rowShape(patches: first.patches)
    if partial == nil { try open(rowShape: shape, resumes: false) }
    if let budget, preparer.fixedSize == nil { _ = try budget.batch(atMost: 1, height: first.shape[2], width: first.shape[3]) }
    guard shape == rowShape else {
      throw Failure(.data, "the images give different numbers of patches (\(first.patches) here), which one array cannot hold", hint: "give --image-size")
    }
    for (place, row) in zip(places, try extractor.rows(batch)) { try partial?.append(row: row, of: place) }
    progress.advance(by: batch.count)
  }

  private mutating func open(rowShape: [Int], resumes: Bool) throws {
    self.rowShape = rowShape
    partial = try PartialFeatures(output: output, fingerprint: fingerprint, width: rowShape.reduce(1, *), stamps: inputs.map(\.stamp), resumes: resumes)
    Interruption.setFarewell(resumes ? "interrupted; the same command goes on from \(output).partial" : nil)
  }

  /// Everything but the inputs that decides the rows.
  private var fingerprint: String {
    let s = extractor.settings
    return "\(toolName), model \(extractor.model.identity), \(preparer.summary), tokens \(s.tokens.rawValue), layers \(s.layers), normalized \(s.normalized)"
  }

  private mutating func skip(_ name: String, _ reason: String) throws {
    try skipped.add(name, reason, strict: strict)
  }

  private mutating func finish() throws {
    guard let partial, let rowShape, partial.rowCount > 0 else {
      throw Failure(.data, "none of the \(inputs.count) inputs could be read")
    }
    let rows = try partial.rows()
    let names = partial.finished.map { inputs[$0].name }
    try Interruption.shielded { try FeatureFile.write(rows.reshaped(Shape([rows.shape[0]] + rowShape)), names: names, format: format, to: output) }
    let broken = names.count { $0.contains(where: \.isNewline) }
    if broken > 0 && format.hasPathsFile { Terminal.note("\(broken) names have line breaks, which are spelt out (\\n) in \(FeatureFile.pathsFile(of: output))") }
    rowCount = names.count
    Interruption.setFarewell(nil)
    partial.remove()
  }

  /// The result for --json.
  var summary: JSONValue {
    .object([
      .init("output", .string(output)), .init("rows", .integer(rowCount)), .init("row_shape", .array((rowShape ?? []).map { .integer($0) })),
      .init("tokens", .string(extractor.settings.tokens.rawValue)), .init("layers", .integer(extractor.settings.layers)),
      .init("random_weights", .bool(extractor.model.hasRandomWeights)), .init("peak_memory_bytes", .integer(peakMemoryBytes())),
      .init("skipped", skipped.json),
    ])
  }
}
