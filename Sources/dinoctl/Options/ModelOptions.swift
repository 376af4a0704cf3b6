// Options of all commands that take a model, and what their help says.

internal import ArgumentParser
internal import Dino
internal import DinoKernels
internal import DinoRuntime

/// What help says of shared options. What is true of most commands is here; a command of which something else is true says that instead.
protocol SharedHelp {
  static var model: String { get }
  static var arch: String { get }
  static var heads: String { get }
  static var precision: String { get }
  static var batchSize: String { get }
}

extension SharedHelp {
  static var checkpoints: String {
    "our .safetensors, any plain .safetensors with official names, a PyTorch .pth (zip or legacy, bare or a full training checkpoint), a Hugging Face folder, or an .onnx file that inspect recognises as such a model."
  }
  static var architectures: String { "vit_tiny, vit_small, vit_base, vit_large, or the name of a published DINO, DINOv2 or DINOv3 model (init --help lists all)." }
  static var runAtOnce: String { "Images that are run at once. More need more memory; results do not depend on it." }

  static var model: String { "The checkpoint: \(checkpoints)" }
  static var arch: String { "The architecture, where the file does not say how many heads it has: vit_tiny, vit_small, vit_base or vit_large (init --help lists the larger ones too)." }
  static var heads: String { "Number of attention heads, where the file does not say it (it is usually found; see inspect)." }
  static var precision: String { "Arithmetic. Default: int8 for a file that quantize made, f32 otherwise. One that is not available here ends with exit code 69." }
  static var batchSize: String { "\(runAtOnce) Default: one a thread, at most 8; in f32 at least 4 where images are small (below 400 patches)." }
}

/// Commands that make features of images.
enum FeatureHelp: SharedHelp {}

/// Commands that take features from images or from banks.
enum BankHelp: SharedHelp {
  static var model: String { "The checkpoint: \(checkpoints) Not needed where all features are in banks." }
}

/// Commands that look at one image after the other.
enum PictureHelp: SharedHelp {
  static var batchSize: String { "Has no effect here: images are run one at a time." }
}

/// The model, and how its file is to be read.
struct ModelOptions<Help: SharedHelp>: ParsableArguments {
  @Option(name: .customLong("model"), help: ArgumentHelp(Help.model, valueName: "file-or-folder"), completion: .file())
  var path: String

  @OptionGroup var reading: CheckpointOptions<Help>

  /// Whether the model is an ONNX file.
  var isOnnx: Bool { path.lowercased().hasSuffix(".onnx") }

  /// An ONNX file as a network of its own.
  func loadOnnx(_ running: RunSettings) throws -> OnnxNetwork {
    running.apply()
    return try OnnxNetwork(contentsOf: path, options: running.options(reading.loadOptions))
  }

  /// The loaded model; says on standard error what a person should know about it.
  /// - Parameter manyImages: the commands that make features: throughput counts, and their features are the same bits whichever command made them.
  func load(_ running: RunSettings, manyImages: Bool = false) throws -> DinoModel { try running.load(path, reading.loadOptions, manyImages: manyImages) }
}

/// The same where a command can do without a model: everything that it needs is in feature banks, or is said by options of its own.
struct OptionalModelOptions<Help: SharedHelp>: ParsableArguments {
  @Option(name: .customLong("model"), help: ArgumentHelp(Help.model, valueName: "file-or-folder"), completion: .file())
  var path: String?

  @OptionGroup var reading: CheckpointOptions<Help>

  /// The loaded model; nil where none is named.
  func load(_ running: RunSettings, manyImages: Bool = false) throws -> DinoModel? {
    running.apply()
    return try path.map { try running.load($0, reading.loadOptions, manyImages: manyImages) }
  }
}

extension GivenFlags {
  /// What is read only where features are made of images: the model, and how images become its input.
  static let ofImages: Set<String> = [
    "--model", "--checkpoint-key", "--arch", "--heads", "--precision", "--batch-size", "--preprocessing", "--mean", "--std", "--interpolation", "--image-size", "--strict", "--exif-orientation",
  ]
}

/// How a checkpoint is to be read, where the file leaves a choice.
struct CheckpointOptions<Help: SharedHelp>: ParsableArguments {
  @Option(help: "Which network of a full training checkpoint; all official evaluations take the teacher. Default: teacher where there is one.")
  var checkpointKey: CheckpointKey?

  @Option(help: ArgumentHelp(Help.arch, valueName: "name"))
  var arch: String?

  @Option(help: ArgumentHelp(Help.heads))
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

enum CheckpointKey: String, ExpressibleByArgument, CaseIterable { case teacher, student }
