// dinoctl export: a model as ONNX, for other runtimes.

internal import ArgumentParser
internal import Dino
internal import DinoModels
internal import Safetensors

struct Export: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Write a model as ONNX, for other runtimes.",
    discussion: """
      The input is pixel_values, [batch, channels, height, width], normalised already; batch and image size are free unless --fixed. Outputs: cls, tokens, tokens.K, \
      attention, attention_cls, head or logits, as `run` gives them. Position embeddings are resampled inside the file by the rule of the checkpoint, with plain products, so \
      that every image size gives the official result. Same model and options give the same bytes.
      """)

  @Option(name: .customLong("model"), help: ArgumentHelp("The checkpoint to export.", valueName: "file-or-folder"))
  var path: String

  @OptionGroup var reading: CheckpointOptions

  @Option(help: ArgumentHelp("The ONNX file to write.", valueName: "out.onnx"))
  var onnx: String

  @Option(help: "Outputs by comma.")
  var outputs = "cls"

  @Option(help: "Version of the default operator set, 13 to 23. From 17 on layer norm is one node, from 20 on GELU.")
  var opset = 17

  @Flag(help: "Fix batch (--batch-size) and image size (--image-size) in the file.")
  var fixed = false

  @Option(help: "Batch of a --fixed file.")
  var batchSize = 1

  @Option(help: "Image size of a --fixed file: S or HxW. Default: the native one.")
  var imageSize: ImageSize?

  @Flag(help: "Weights in a second file, OUT.onnx.data. Needed above 2 GB.")
  var externalData = false

  @Flag(help: "Quantized weights. Not in this version: 69.")
  var quantized = false

  @Flag(help: "Run the written file and compare. Not in this version: 69.")
  var verify = false

  @Flag(help: "A machine-readable result on standard output.")
  var json = false

  @Flag(help: "Only errors on standard error.")
  var quiet = false

  func validate() throws {
    if batchSize < 1 || batchSize > 4096 { throw ValidationError("--batch-size must be from 1 to 4096, not \(batchSize)") }
    if !fixed && imageSize != nil { throw ValidationError("--image-size needs --fixed: without it the file takes every size") }
    if !(13...23).contains(opset) { throw ValidationError("--opset must be from 13 to 23, not \(opset)") }
  }

  func run() throws {
    if quiet { Terminal.beQuiet() }
    if quantized { throw Failure(.unavailable, "--quantized is not in this version", hint: "leave it out for float weights") }
    if verify { throw Failure(.unavailable, "--verify is not in this version") }
    try Output.check(file: onnx)
    let model = try DinoModel(contentsOf: path, options: reading.loadOptions)
    for note in model.notes { Terminal.note(note) }
    var settings = OnnxExportSettings()
    settings.outputs = outputs.split(separator: ",").map(String.init)
    guard !settings.outputs.isEmpty else { throw Failure(.usage, "--outputs names no output") }
    settings.opset = opset
    settings.externalData = externalData
    settings.producerVersion = toolVersion
    if fixed {
      switch imageSize?.size {
      case .exact(let height, let width)?: settings.fixed = (batchSize, height, width)
      case .shorterSide(let side)?: settings.fixed = (batchSize, side, side)
      case nil: settings.fixed = (batchSize, model.config.nativeRows * model.config.patchSize, model.config.nativeColumns * model.config.patchSize)
      }
    }
    let written = try Interruption.shielded { try model.exportOnnx(to: onnx, settings: settings) }
    if json {
      try Terminal.output(JSONValue.object([
        .init("files", .array(written.files.map { .string($0) })), .init("opset", .integer(opset)), .init("nodes", .integer(written.nodes)),
        .init("outputs", .array(settings.outputs.map { .string($0) })), .init("random_weights", .bool(model.hasRandomWeights)),
      ]).text + "\n")
    } else {
      Terminal.note("\(onnx): opset \(opset), \(written.nodes) nodes, \(written.weights) constants")
    }
  }
}
