// dinoctl init: a model with the random weights that training would start from.

internal import ArgumentParser
internal import Dino
internal import DinoModels
internal import DinoTensor
internal import Safetensors

struct Init: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Write a model with random weights, as training would start.",
    discussion: """
      The same seed gives the same file on every machine. The record says that the weights are random, and so does every command that uses the file. \
      --width, --depth and --heads make a model of any size, in place of --arch.
      """)

  @Option(help: ArgumentHelp("Architecture: \(Registry.architectures.map(\.name).joined(separator: ", ")), or that of a published model: \(Registry.published.map(\.name).joined(separator: ", ")).", valueName: "name"))
  var arch: String?

  @Option(help: "Side of a patch in pixels. Default: that of --arch where its name says it (dino_vits8), or 16.")
  var patchSize: Int?

  @Option(help: "Side of the images that positions are for, in pixels. Default: that of --arch where it is a published model's, or 224.")
  var imageSize: Int?

  @Option(help: "Width, for a model of no named architecture.")
  var width: Int?

  @Option(help: "Number of blocks.")
  var depth: Int?

  @Option(help: "Number of heads.")
  var heads: Int?

  @Option(help: ArgumentHelp("Add a DINO projection head of that many outputs (65536 in the published trainings).", valueName: "k"))
  var outDim: Int?

  @Option(help: "Where positions start. The published trainings have random ones. sincos are the fixed two-dimensional waves of MAE and MoCo v3, from which a training on few images learns where things are.")
  var posEmbed = PositionArgument.random

  @Option(help: "Seed of the random numbers.")
  var seed: UInt64 = 0

  @Option(help: "Element type.")
  var dtype = DTypeArgument.f32

  @Option(name: .shortAndLong, help: ArgumentHelp("The file to write (.safetensors).", valueName: "out"), completion: .file())
  var output: String

  @Flag(help: "A machine-readable result on standard output.")
  var json = false

  @Flag(help: "Only errors on standard error.")
  var quiet = false

  func validate() throws {
    if !output.hasSuffix(".safetensors") { throw ValidationError("-o writes a file that ends in .safetensors, not \(output)") }
    if arch == nil && (width == nil || depth == nil || heads == nil) { throw ValidationError("give --arch, or --width, --depth and --heads") }
    if arch != nil && (width != nil || depth != nil || heads != nil) { throw ValidationError("--arch says width, depth and heads already") }
    if let outDim, outDim < 1 || outDim > 1 << 24 { throw ValidationError("--out-dim must be from 1 to 16777216, not \(outDim)") }
    for (name, value, limit) in [("--patch-size", patchSize ?? 1, 1024), ("--image-size", imageSize ?? 1, 8192), ("--width", width ?? 1, 65536), ("--depth", depth ?? 1, 4096), ("--heads", heads ?? 1, 65536)]
    where value < 1 || value > limit {
      throw ValidationError("\(name) must be from 1 to \(limit), not \(value)")
    }
  }

  func run() throws {
    if quiet { Terminal.beQuiet() }
    try Output.check(file: output)
    let config = try configuration()
    if config.rotaryBase != nil, imageSize != nil || posEmbed != .random {
      throw Failure(.usage, "\(arch ?? "this model") has rotary positions, which are for no size of image and do not start anywhere; leave out --image-size and --pos-embed")
    }
    var words = ["init"]
    if let arch { words.append("--arch \(arch)") } else { words.append("--width \(config.embedDim) --depth \(config.depth) --heads \(config.numHeads)") }
    words.append("--patch-size \(config.patchSize)")
    if let imageSize, imageSize != Registry.nativeImageSize { words.append("--image-size \(imageSize)") }
    if let outDim { words.append("--out-dim \(outDim)") }
    if posEmbed != .random { words.append("--pos-embed \(posEmbed.rawValue)") }
    words.append("--seed \(seed)")
    if dtype != .f32 { words.append("--dtype \(dtype.rawValue)") }
    var weights: [String: Tensor]
    do {
      weights = Dictionary(uniqueKeysWithValues: try WeightInitializer.tensors(config: config, seed: seed).map { ($0.name, $0.tensor) })
      if posEmbed == .sincos { weights["pos_embed"] = try SinCosPositions.tensor(rows: config.nativeRows, columns: config.nativeColumns, width: config.embedDim) }
    } catch { throw Failure(.usage, DinoError(error).message) }
    let provenance = Provenance(tool: toolName, randomWeights: true, chain: [words.joined(separator: " ")])
    var writer = ModelWriter(config: config, weights: weights, preprocessing: .imageNet, provenance: provenance)
    try writer.convert(to: dtype.dtype)
    try Interruption.shielded { try writer.write(.dino, to: output) }
    if json {
      try Terminal.output(JSONValue.object([.init("output", .string(output)), .init("parameters", .integer(config.parameterCount)), .init("random_weights", .bool(true))]).text + "\n")
    } else {
      Terminal.note("\(output): \(config.parameterCount) random weights")
    }
  }

  private func configuration() throws -> ViTConfig {
    let head = outDim.map { ViTConfig.Head.projection(.init(outDim: $0)) }
    do {
      if let arch { return try Registry.configuration(arch, patchSize: patchSize, imageSize: imageSize, head: head) }
      let patchSize = patchSize ?? 16, side = (imageSize ?? Registry.nativeImageSize) / patchSize
      let config = ViTConfig(patchSize: patchSize, embedDim: width ?? 0, depth: depth ?? 0, numHeads: heads ?? 0, nativeRows: side, nativeColumns: side, head: head)
      try config.validate()
      return config
    } catch {
      throw Failure(.usage, DinoError(error).message)
    }
  }
}

enum PositionArgument: String, ExpressibleByArgument, CaseIterable { case random, sincos }

/// Element types that weights are written in.
enum DTypeArgument: String, ExpressibleByArgument, CaseIterable {
  case f32, f16, bf16
  var dtype: DType {
    switch self {
    case .f32: .f32
    case .f16: .f16
    case .bf16: .bf16
    }
  }
}
