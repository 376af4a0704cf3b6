// dinoctl convert: a checkpoint of any kind that is read, to our format or one that others read.

internal import ArgumentParser
internal import Dino
internal import DinoModels
internal import DinoTensor
internal import Safetensors

struct Convert: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Convert a checkpoint to our format (default), plain safetensors, .pth, or a Hugging Face folder.",
    usage: "dinoctl convert [<options>] <input> <output>",
    discussion: """
      OUT.safetensors is our format: official names, the record of configuration, preprocessing and origin, and a self-test that inspect --self-test runs. \
      OUT.pth or OUT.pt is a bare state dict for torch.load; other endings are refused.
      --plain writes safetensors without the record. --layout hf writes a folder for transformers, \
      of its type vit, dinov2, dinov2_with_registers or dinov3_vit. The types vit and dinov2 resize positions otherwise than the original at sizes that are not native; a note says so.
      An .onnx file is recognised back into a named checkpoint. From ONNX to \
      OUT.onnx the same network is written, with functions unfolded and constants computed.
        dinoctl convert dino_deitsmall16_pretrain.pth M.safetensors
        dinoctl convert M.safetensors folder --layout hf
      """)

  @Argument(help: "The checkpoint to read.", completion: .file())
  var input: String

  @Argument(help: "The file or folder to write.", completion: .file())
  var output: String

  @Option(help: "Element type of the weights. Default: as they are stored.")
  var dtype: DTypeArgument?

  @Option(help: "Whose layout: our format, a folder for transformers, or plain safetensors with timm's names, which are the official ones but where there are registers. Default: our format, or what the ending of OUT says.")
  var layout: LayoutArgument?

  @Flag(help: "Also write what an ONNX file holds only in a changed form: dequantized weights, folded norms, positions of another grid. A line names them.")
  var lossy = false

  @Flag(help: "Plain safetensors, without the record.")
  var plain = false

  @Option(help: ArgumentHelp("Preprocessing to put into the record (with --layout hf, preprocessor_config.json), as JSON. Default: what the checkpoint states, or the official evaluation's.", valueName: "file.json"), completion: .file())
  var preprocessing: String?

  @OptionGroup var reading: CheckpointOptions<FeatureHelp>

  @Flag(help: "A machine-readable result on standard output.")
  var json = false

  @Flag(help: "Only errors on standard error.")
  var quiet = false

  func validate() throws {
    if plain && (layout == .dino || layout == .hf) { throw ValidationError("--plain and --layout \(layout?.rawValue ?? "") contradict each other") }
    if lossy && !input.lowercased().hasSuffix(".onnx") { throw ValidationError("--lossy goes with an .onnx file to read, not with \(input)") }
  }

  func run() throws {
    if quiet { Terminal.beQuiet() }
    try Originals(Originals.files(of: input)).spare([output, "\(output)/config.json", "\(output)/model.safetensors"])
    if input.lowercased().hasSuffix(".onnx") && output.lowercased().hasSuffix(".onnx") { return try simplify() }
    let target = try targetLayout()
    if preprocessing != nil && (target == .plain || target == .torch) {
      throw Failure(.usage, "--preprocessing goes into the record, and \(output) will have none", hint: "write our format (OUT.safetensors without --plain) or --layout hf, or leave the option away")
    }
    if target != .huggingFace { try Output.check(file: output) }
    let options = reading.loadOptions
    let checkpoint = try Checkpoint(path: input, choices: .init(key: options.checkpointKey, architecture: options.architecture, heads: options.heads))
    if let first = checkpoint.losses.first, !lossy {
      throw Failure(.data, "\(input): \(first)\(checkpoint.losses.count > 1 ? " (and \(checkpoint.losses.count - 1) more)" : "")", hint: "--lossy writes it all the same")
    }
    let model = DinoModel(checkpoint: checkpoint)
    for note in model.notes { Terminal.note(note) }
    var changes = PreprocessingChanges()
    changes.recordFile = preprocessing
    let record = try model.preparedRecord(changes)
    if model.preprocessingIsAssumed && preprocessing == nil && target == .dino {
      Terminal.note("\(input) says nothing about preprocessing; the official evaluation's goes into the record (--preprocessing FILE.json for another)")
    }
    var writer = ModelWriter(config: checkpoint.config, weights: try checkpoint.weights(), preprocessing: record, provenance: try provenance(checkpoint))
    // A classifier's names, and heads that are kept beside the network, come along.
    if let head = try checkpoint.classifierHead(), !head.names.isEmpty { writer.setClassifier(head) }
    writer.maskToken = try checkpoint.maskToken()
    if let head = try checkpoint.segmentationHead() { writer.setSegmentationHead(head) }
    try writer.checkPlace(layout: target)
    for lost in writer.losses(target) { Terminal.note("\(output): \(lost)") }
    if let dtype { try writer.convert(to: dtype.dtype) }
    if target == .huggingFace { try Output.makeFolder(output) }
    try Interruption.shielded { try writer.write(target, to: output) }
    if json {
      try Terminal.output(JSONValue.object([
        .init("output", .string(output)), .init("layout", .string(target.rawValue)), .init("tensors", .integer(writer.weights.count)),
        .init("random_weights", .bool(checkpoint.hasRandomWeights)),
      ]).text + "\n")
    } else {
      Terminal.note("\(output): \(writer.weights.count) tensors, \(checkpoint.config.parameterCount) weights")
    }
  }

  /// ONNX to ONNX: the same network with less around it.
  private func simplify() throws {
    let unread = ["--dtype", "--layout", "--lossy", "--plain", "--preprocessing", "--arch", "--heads", "--checkpoint-key"]
    if let flag = GivenFlags.all().first(where: unread.contains) { throw Failure(.usage, "from ONNX to ONNX the network stays as it is: \(flag) does not apply") }
    try Output.check(file: output)
    let network = try OnnxNetwork(contentsOf: input)
    let counts = try Interruption.shielded { try network.write(to: output, producerVersion: toolVersion) }
    if json {
      try Terminal.output(JSONValue.object([.init("output", .string(output)), .init("layout", .string("onnx")), .init("nodes_before", .integer(counts.nodesBefore)), .init("nodes", .integer(counts.nodesAfter))]).text + "\n")
    } else {
      Terminal.note("\(output): \(counts.nodesAfter) nodes (\(counts.nodesBefore) before)")
    }
  }

  private func targetLayout() throws -> ModelWriter.Layout {
    let isTorch = [".pth", ".pt"].contains { output.lowercased().hasSuffix($0) }
    if output.lowercased().hasSuffix(".onnx") { throw Failure(.usage, "\(output): ONNX files are written by another command", hint: "dinoctl export --model \(input) --onnx \(output)") }
    if isTorch {
      guard layout != .hf else { throw Failure(.usage, "--layout hf writes a folder, not \(output)") }
      guard layout != .dino, !plain else { throw Failure(.usage, "--plain and --layout dino are forms of safetensors files, and \(output) is a bare state dict", hint: "name OUT.safetensors, or leave the flag away") }
      return .torch
    }
    if layout == .hf { return .huggingFace }
    guard output.lowercased().hasSuffix(".safetensors") else {
      throw Failure(.usage, "\(output): a checkpoint is written as .safetensors, .pth or .pt, and the ending says which", hint: "--layout hf writes a folder for transformers")
    }
    return plain || layout == .timm ? .plain : .dino
  }

  private func provenance(_ checkpoint: Checkpoint) throws -> Provenance {
    let earlier = checkpoint.record?.provenance
    var words = "convert \(lastComponent(input))"
    if let key = checkpoint.branch { words += " --checkpoint-key \(key)" }
    if let dtype { words += " --dtype \(dtype.rawValue)" }
    var training = earlier?.training
    if training == nil && !checkpoint.trainingArguments.isEmpty {
      training = .object(Dictionary(checkpoint.trainingArguments.map { ($0.name, RecordValue.string($0.value)) }, uniquingKeysWith: { first, _ in first }))
    }
    return Provenance(tool: toolName, source: try checkpoint.sourceDigest().map { .init(file: $0.file, sha256: $0.sha256) }, randomWeights: checkpoint.hasRandomWeights,
                      training: training, chain: (earlier?.chain ?? []) + [words])
  }
}

enum LayoutArgument: String, ExpressibleByArgument, CaseIterable { case dino, hf, timm }

/// The last part of a path.
func lastComponent(_ path: String) -> String { ImageInputs.parts(of: path).last.map(String.init) ?? path }
