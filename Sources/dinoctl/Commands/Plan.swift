// dinoctl plan: what a run would take, from shapes alone. Nothing is run, packed or read but the names in a file.

internal import ArgumentParser
internal import Dino
internal import DinoGraph
internal import DinoKernels
internal import DinoModels
internal import DinoRuntime
internal import Safetensors

enum PlanHelp: SharedHelp {
  static var model: String { "The checkpoint: \(checkpoints) Not needed with --arch, or with --width, --depth and --heads." }
  static var arch: String { "Without --model: the architecture, \(architectures) With --model, where the file does not say how many heads it has: vit_small or the like." }
  static var heads: String { "Number of attention heads, of --width and --depth (default: width / 64), or of a file that does not say it." }
  static var precision: String { "Arithmetic of the run. Default: int8 for a file that quantize made, f32 otherwise." }
  static var batchSize: String { "The same as --batch, by the name that other commands have for it." }
}

struct Plan: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Predict the memory of a run, before anything is allocated.",
    discussion: """
      The network is that of a file, of --arch, or of --width, --depth and --heads. The total is the peak resident memory of dinoctl features over a folder with so many images at \
      once: this program's own memory, packed weights, positions, values, and the images, with those that are decoded ahead (but not the photographs that they are made of). Large parts are rounded up to huge pages of 2 MiB. \
      With --budget the command says how many images at once would fit, and ends with 69 where one does not.
      """)

  @Option(help: ArgumentHelp("Size of the images, S or HxW. Default: the model's native size.", valueName: "s|hxw"))
  var imageSize: ImageSize?

  @Option(help: ArgumentHelp("Images at once. Default: 1.", valueName: "n"))
  var batch: Int?

  @Option(help: "Outputs by comma.")
  var outputs = "cls"

  @Option(help: "Side of a patch in pixels, where no file says it. Default: that of --arch where its name says it (dino_vits8), or 16.")
  var patchSize: Int?

  @Option(help: "Width, for a network of no named architecture.")
  var width: Int?

  @Option(help: "Number of blocks.")
  var depth: Int?

  @OptionGroup var budget: BudgetOptions
  @OptionGroup var model: OptionalModelOptions<PlanHelp>
  @OptionGroup var running: RunningOptions<PlanHelp>

  func validate() throws {
    if model.path == nil, model.reading.arch == nil, width == nil || depth == nil { throw ValidationError("give --model, --arch, or --width, --depth and --heads") }
    if model.path != nil && (width != nil || depth != nil || patchSize != nil) { throw ValidationError("--model says --width, --depth and --patch-size already") }
    if model.path == nil && model.reading.arch != nil && (width != nil || depth != nil || model.reading.heads != nil) { throw ValidationError("--arch says --width, --depth and --heads already") }
    try GivenFlags.refuse(["--checkpoint-key"], unless: model.path != nil, "--model")
    if batch != nil && running.batchSize != nil { throw ValidationError("--batch and --batch-size are the same number: give one of them") }
    if let batch, batch < 1 || batch > 1 << 20 { throw ValidationError("--batch must be from 1 to 1048576, not \(batch)") }
  }

  func run() throws {
    var question = try question()
    let config = question.config, batch = batch ?? running.batchSize ?? 1
    question.workers = question.threads > 0 ? question.threads : availableCores()
    let (h, w): (Int, Int) =
      switch imageSize?.size {
      case .shorterSide(let s)?: (s, s)
      case .exact(let height, let width)?: (height, width)
      case nil: (config.nativeRows * config.patchSize, config.nativeColumns * config.patchSize)
      }
    let names = outputs.split(separator: ",").map(String.init)
    for name in names where !ViTGraphBuilder.outputNames(of: config).contains(name) { throw Failure(.usage, "there is no output '\(name)'") }
    let p = try question.bytes(batch: batch, height: h, width: w, outputs: names), program = peakMemoryBytes(), total = program + p.bytes
    let tokens = config.specialTokens + (h / config.patchSize) * (w / config.patchSize)
    let fitting = try budget.bytes.map { try MemoryBudget(bytes: $0, program: program, question: question, outputs: names).batch(atMost: batch, height: h, width: w) }
    if running.json {
      try Terminal.output(JSONValue.object([
        .init("precision", .string(question.precision.rawValue)), .init("batch", .integer(batch)), .init("image_size", .array([.integer(h), .integer(w)])), .init("tokens", .integer(tokens)),
        .init("program_bytes", .integer(program)), .init("weight_bytes", .integer(p.estimate.weightPages + p.expanded)), .init("position_bytes", .integer(p.estimate.positions)),
        .init("value_bytes", .integer(p.estimate.values)), .init("scratch_bytes", .integer(p.estimate.scratch)), .init("output_bytes", .integer(p.estimate.outputs)),
        .init("image_bytes", .integer(p.images)), .init("other_bytes", .integer(p.other)), .init("peak_memory_bytes", .integer(total)), .init("budget_bytes", budget.bytes.map { .integer($0) } ?? .null),
        .init("batch_within_budget", fitting.map { .integer($0) } ?? .null),
      ]).text + "\n")
      return
    }
    func line(_ label: String, _ bytes: Int) -> String { label + String(repeating: " ", count: 20 - label.count) + readable(bytes: bytes) + "\n" }
    try Terminal.output(
      "\(question.precision.rawValue), \(h)x\(w), \(tokens) tokens, batch \(batch), \(config.parameterCount) weights\n" + line("peak memory", total) + line("  this program", program)
        + line("  weights", p.estimate.weightPages + p.expanded) + line("  positions", p.estimate.positions) + line("  values", p.estimate.values) + line("  scratch", p.estimate.scratch)
        + line("  outputs", p.estimate.outputs) + line("  images", p.images) + line("  other", p.other) + (fitting.map { "within \(readable(bytes: budget.bytes ?? 0)): \($0) image\($0 == 1 ? "" : "s") at once\n" } ?? ""))
  }

  private func question() throws -> MemoryQuestion {
    if model.path != nil, let dino = try model.load(running.settings, manyImages: true) { return dino.memoryQuestion }
    let precision = running.precision?.precision ?? .f32
    do {
      let config: ViTConfig
      if let arch = model.reading.arch { config = try Registry.configuration(arch, patchSize: patchSize) } else {
        let patchSize = patchSize ?? 16
        let side = max(1, Registry.nativeImageSize / max(patchSize, 1)), heads = model.reading.heads ?? max(1, (width ?? 64) / 64)
        config = ViTConfig(patchSize: patchSize, embedDim: width ?? 0, depth: depth ?? 0, numHeads: heads, nativeRows: side, nativeColumns: side)
        try config.validate()
      }
      var question = MemoryQuestion(config: config, precision: precision, threads: running.threads)
      question.manyImages = true
      return question
    } catch { throw Failure(.usage, DinoError(error).message) }
  }
}

/// --budget, of commands that can do with less.
struct BudgetOptions: ParsableArguments {
  @Option(name: .customLong("budget"), help: ArgumentHelp("Most memory that the process may take, in bytes or as 500MB, 2GB. The predicted peak and 5 % more must fit. Where they do not, there are fewer images at once; where one alone does not fit, the command ends with 69.", valueName: "bytes"))
  private var amount: ByteCount?

  var bytes: Int? { amount?.bytes }
}

struct ByteCount: ExpressibleByArgument {
  var bytes: Int
  init?(argument: String) {
    let units: [(String, Int)] = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("kB", 1_000), ("KB", 1_000), ("MB", 1_000_000), ("GB", 1_000_000_000), ("", 1)]
    for (unit, factor) in units where argument.hasSuffix(unit) {
      guard let number = Double(argument.dropLast(unit.count)), number > 0, number * Double(factor) < 1e18 else { return nil }
      bytes = Int(number * Double(factor))
      return
    }
    return nil
  }
}
