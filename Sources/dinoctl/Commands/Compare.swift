// dinoctl compare: what one model costs in quality against another, on photographs. Any two files, or one file in two precisions. The figures are the library's.

internal import ArgumentParser
internal import Dino
internal import DinoRuntime
internal import DinoModels
internal import Safetensors

enum CompareHelp: SharedHelp {
  static var precision: String { "Arithmetic of A, and of B where --precision-b does not say another. Default: int8 for a file that quantize made, f32 otherwise. One that is not available here ends with exit code 69." }
  static var batchSize: String { "\(runAtOnce) Times are of so many at once, too. Default: 1." }
}

struct Compare: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Compare a model with another: features, neighbours, masks, accuracy, speed and memory, on photographs.",
    discussion: """
      B is compared with A. Both may be the same file in two precisions (--precision f32 --precision-b int8). Images are prepared as A's record says.
      Cosines are of the tokens after the last norm. Overlap is the share of each image's k nearest that both models name. Masks hold --mass of the class \
      token's attention, head by head. Where images are in one folder a class, the k nearest vote, each image left out for its own question.
      The bounds in the table are those of an 8-bit network; with --calibrated they are the narrower ones of a network that was made with photographs. They decide no exit code. Memory is packed weights and values of a run.
      """)

  @Argument(help: ArgumentHelp("The model to compare with.", valueName: "a"), completion: .file())
  var first: String

  @Argument(help: ArgumentHelp("The model in question.", valueName: "b"), completion: .file())
  var second: String

  @Option(parsing: .upToNextOption, help: ArgumentHelp("Photographs: files, folders, lists, archives.", valueName: "dir"), completion: .file())
  var images: [String]

  @Option(help: "Arithmetic of B. Default: that of --precision, or int8 for a file that quantize made, f32 otherwise.")
  var precisionB: PrecisionArgument?

  @Option(help: "At most so many images, spread evenly over all.")
  var limit: Int?

  @Option(help: "The share of attention that masks hold.")
  var mass = 0.6

  @Option(name: .customShort("k"), help: "Neighbours that vote for an image's class.")
  var voters = 20

  @Flag(help: "Show the bounds of a network that was calibrated.")
  var calibrated = false

  @OptionGroup var checkpoint: CheckpointOptions<CompareHelp>
  @OptionGroup var preprocessing: PreprocessingOptions
  @OptionGroup var reading: ReadingOptions
  @OptionGroup var running: RunningOptions<CompareHelp>

  func validate() throws {
    if images.isEmpty { throw ValidationError("give --images") }
    if let limit, limit < 1 { throw ValidationError("--limit must be at least 1, not \(limit)") }
    if !(mass > 0 && mass <= 1) { throw ValidationError("--mass must be above 0 and at most 1, not \(mass)") }
    if voters < 1 { throw ValidationError("-k must be at least 1, not \(voters)") }
  }

  func run() throws {
    let inputs = spread(try ClassedInput.expand(images), limit: limit)
    let a = try running.settings.load(first, checkpoint.loadOptions)
    var other = running.settings
    other.precision = precisionB?.precision ?? other.precision
    let b = try other.load(second, checkpoint.loadOptions)
    let preparer = try Preparing.preparer(a, preprocessing.changes(), exifOrientation: reading.exifOrientation)
    var meter = try QualityMeter(a, b, mass: mass), skipped = SkippedInputs(), classes: [String?] = []
    var progress = ProgressBar(total: inputs.count, unit: "images")
    // One image at once: milliseconds are of batch 1 unless a batch is asked for.
    try ImageStream(preparer: preparer, batchSize: running.batchSize ?? 1, workers: running.threads).forEach(inputs.map(\.input)) { part in
      switch part {
      case .batch(let indices, let images):
        try meter.add(images)
        classes += indices.map { inputs[$0].className }
        progress.advance(by: images.count)
      case .unreadable(let index, let reason):
        try skipped.add(inputs[index].input.name, reason, strict: reading.strict)
        progress.advance()
      }
    }
    progress.finish()
    guard meter.imageCount > 0 else { throw Failure(.data, "none of the \(inputs.count) inputs could be read") }
    let table = QualityTable(report: try meter.report(classes: classes, voters: voters), calibrated: calibrated)
    let names = ["\(first), \(a.precision.rawValue)", "\(second), \(b.precision.rawValue)"]
    if running.json {
      try Terminal.output(JSONValue.object([.init("first", .string(names[0])), .init("second", .string(names[1]))] + table.members).text + "\n")
    } else {
      try Terminal.output("A  \(printable(names[0]))\nB  \(printable(names[1]))\n\n" + table.text)
    }
    try skipped.conclude(of: inputs.count)
  }
}

/// At most `limit` of the elements, at even distances.
func spread<T>(_ all: [T], limit: Int?) -> [T] {
  guard let limit, limit < all.count else { return all }
  return (0..<limit).map { all[$0 * all.count / limit] }
}
