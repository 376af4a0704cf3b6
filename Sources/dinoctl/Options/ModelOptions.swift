// Options of all commands that take a model.

internal import ArgumentParser
internal import Dino
internal import DinoKernels
internal import DinoRuntime

struct ModelOptions: ParsableArguments {
  @Option(name: .customLong("model"), help: ArgumentHelp(
    "The checkpoint: our .safetensors, any plain .safetensors with official names, a PyTorch .pth (zip or legacy, bare or a full training checkpoint), or a Hugging Face folder.",
    valueName: "file-or-folder"), completion: .file())
  var path: String

  @OptionGroup var reading: CheckpointOptions
  @OptionGroup var running: RunningOptions

  /// Whether the model is an ONNX file.
  var isOnnx: Bool { path.lowercased().hasSuffix(".onnx") }

  /// An ONNX file as a network of its own.
  func loadOnnx() throws -> OnnxNetwork {
    running.apply()
    var options = reading.loadOptions
    options.threads = running.threads
    options.precision = running.precision?.precision
    return try OnnxNetwork(contentsOf: path, options: options)
  }

  /// The loaded model; says on standard error what a person should know about it.
  /// - Parameter manyImages: the commands that make features: throughput counts, and their features are the same bits whichever command made them.
  func load(manyImages: Bool = false) throws -> DinoModel { try Self.load(path, reading, running, manyImages: manyImages) }

  static func load(_ path: String, _ reading: CheckpointOptions, _ running: RunningOptions, manyImages: Bool = false) throws -> DinoModel {
    running.apply()
    var options = reading.loadOptions
    options.manyImages = manyImages
    options.threads = running.threads
    options.precision = running.precision?.precision
    let model = try DinoModel(contentsOf: path, options: options)
    for note in model.notes { Terminal.note(note) }
    if model.hasRandomWeights { Terminal.say("note: \(path) has random weights: results show that things work, not what DINO sees") }
    return model
  }
}

/// The same where a command can do without a model: everything that it needs is in feature banks, or is said by options of its own.
struct OptionalModelOptions: ParsableArguments {
  @Option(name: .customLong("model"), help: ArgumentHelp(
    "The checkpoint: our .safetensors, plain .safetensors with official names, a PyTorch .pth, or a Hugging Face folder. Not needed where all features are in banks, nor where bench or plan are told of an architecture or photographs instead.",
    valueName: "file-or-folder"), completion: .file())
  var path: String?

  @OptionGroup var reading: CheckpointOptions
  @OptionGroup var running: RunningOptions

  /// What is read only where features are made of images: the model, and how images become its input.
  static let flagsOfImages: Set<String> = [
    "--model", "--checkpoint-key", "--arch", "--heads", "--precision", "--batch-size", "--preprocessing", "--mean", "--std", "--interpolation", "--image-size", "--strict", "--exif-orientation",
  ]

  /// The loaded model; nil where none is named.
  func load(manyImages: Bool = false) throws -> DinoModel? {
    running.apply()
    return try path.map { try ModelOptions.load($0, reading, running, manyImages: manyImages) }
  }
}

/// How a checkpoint is to be read, where the file leaves a choice.
struct CheckpointOptions: ParsableArguments {
  @Option(help: "Which network of a full training checkpoint: teacher (as all official evaluations do) or student. Default: teacher where there is one.")
  var checkpointKey: CheckpointKey?

  @Option(help: "The architecture, where it cannot be seen from the tensors: vit_tiny, vit_small, vit_base, vit_large.")
  var arch: String?

  @Option(help: "Number of attention heads. An official file does not hold it; it follows from the record, config.json, the training arguments, the periods of rotary positions, the known architectures, or width / 64 (a line on standard error says so; not for ViT-H, g and G, which have wider heads).")
  var heads: Int?

  func validate() throws {
    if let heads, heads < 1 { throw ValidationError("--heads must be at least 1, not \(heads)") }
  }

  var loadOptions: DinoModel.Options {
    var options = DinoModel.Options()
    options.checkpointKey = checkpointKey?.rawValue
    options.architecture = arch
    options.heads = heads
    return options
  }
}

/// How a model is to be run, and how much is told.
struct RunningOptions: ParsableArguments {
  @Option(help: "Arithmetic: f32, bf16 or int8. Default: int8 for a file that quantize made, f32 otherwise. One that is not available here ends with exit code 69.")
  var precision: PrecisionArgument?

  @Option(help: "Threads. Default: the cores that this process may use (affinity and cgroup quota counted).")
  var threads = 0

  @Option(help: "Images that are run at once. More need more memory; results do not depend on it. Default of commands that read folders: one a thread, at most 8; in f32 at least 4 where images are small (below 400 patches). (finetune --task classification: images of a training step, default 64, and the learning rate is scaled by it.)")
  var batchSize: Int?

  @Flag(help: "A machine-readable result, one JSON object, on standard output.")
  var json = false

  @Flag(help: "Only errors, warnings and the names of skipped inputs on standard error.")
  var quiet = false

  func validate() throws {
    if let batchSize, batchSize < 1 || batchSize > 4096 { throw ValidationError("--batch-size must be from 1 to 4096, not \(batchSize)") }
    if threads < 0 || threads > 1024 { throw ValidationError("--threads must be from 1 to 1024 (or 0 for all cores), not \(threads)") }
  }

  /// Images that are run at once out of `count`. One a thread: no two threads share an image then, and in bf16 and int8 more at once gain nothing but take
  /// memory. In f32 at least four of few patches, which on AMX are a sixth faster than two (both measured, LOG).
  func imagesAtOnce(of count: Int, by preparer: ImagePreparer, in precision: Precision) -> Int {
    let least = precision == .f32 && preparer.fixedPatches.map { $0 < 400 } == true ? 4 : 1
    return batchSize ?? max(1, min(max(least, min(8, threads > 0 ? threads : availableCores())), count))
  }

  /// Refuses a set of kernels that the environment asks for and this machine does not have, rather than running another.
  static func checkKernels() throws {
    guard case .forcedButUnavailable(let name) = KernelTable.choice else { return }
    throw Failure(.unavailable, "DINO_FORCE_ISA asks for '\(name)', which this machine cannot run", hint: "one of \(KernelTable.available.map(\.name).joined(separator: ", "))")
  }

  /// Refuses threads that the environment asks for and cannot be, as --threads would be refused.
  static func checkThreads() throws {
    guard case .unusable(let text) = ThreadRequest.current else { return }
    throw Failure(.usage, "DINO_THREADS must be from \(ThreadRequest.range.lowerBound) to \(ThreadRequest.range.upperBound) (or 0 for all cores), not '\(text)'")
  }

  func apply() { if quiet { Terminal.beQuiet() } }
}

enum CheckpointKey: String, ExpressibleByArgument, CaseIterable { case teacher, student }

enum PrecisionArgument: String, ExpressibleByArgument, CaseIterable {
  case f32, bf16, int8
  var precision: Precision {
    switch self {
    case .f32: .f32
    case .bf16: .bf16
    case .int8: .int8
    }
  }
}
