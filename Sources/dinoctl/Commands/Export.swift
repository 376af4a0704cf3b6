// dinoctl export: a model as ONNX, for other runtimes.

internal import ArgumentParser
internal import Dino
internal import DinoModels
internal import DinoTensor
internal import Safetensors

struct Export: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Write a model as ONNX, for other runtimes.",
    discussion: """
      The input is pixel_values, [batch, channels, height, width], normalised already; batch and image size are free unless --fixed. Outputs: cls, tokens, tokens.K, \
      attention, attention_cls, head or logits, as dinoctl run gives them. Position embeddings are resampled inside the file by the rule of the checkpoint, with plain products, so \
      that every image size gives the official result. Same model and options give the same bytes.
        dinoctl export --model M --onnx M.onnx --verify

      --quantized makes the weights of the blocks' linear layers int8, one scale for each output channel; everything else stays float. Alone, activations are float. \
      With --calibration DIR they are uint8 too, between ranges seen on photographs (QDQ). With --quantized dynamic each is uint8 over the range that it has at the moment \
      (MatMulInteger); that range is of the whole batch, so one image's result depends a little on the others. Where a few numbers of an activation are so large that 256 steps \
      leave nothing of the others, the activation stays float. Which ones those are is measured on the photographs (with --quantized dynamic and no --calibration, on synthetic images), until --least-cosine is reached; \
      a line names these layers.

      --verify runs the written file by our own importer and compares it with the model. A file with f16, bf16 or int8 weights is compared with a model of the same \
      weights. With quantized activations, the mean cosine of each output's rows with the model's must be 0.99.
      """)

  @Option(help: ArgumentHelp("The ONNX file to write.", valueName: "out.onnx"), completion: .file())
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

  @Option(help: "Whether queries, keys and values come from one product, or from three, which ONNX Runtime's transformer optimizer needs to fuse attention.")
  var qkv = QKVArgument.fused

  @Option(help: "How matrices are stored. Arithmetic, inputs and outputs are f32 in all cases: narrow weights halve the file and are widened where they are used.")
  var dtype = DTypeArgument.f32

  @Option(defaultAsFlag: QuantizedArgument.weights, help: ArgumentHelp("Int8 weights; see above.",
                                                                       valueName: "form"))
  var quantized: QuantizedArgument?

  @Option(help: ArgumentHelp("Photographs to take the ranges of activations from (with dynamic: only to choose what stays float), through the model's own preprocessing: a folder, list file or archive.", valueName: "dir"), completion: .file())
  var calibration: String?

  @Option(help: ArgumentHelp("Preprocessing of the photographs, as JSON. Default: what the checkpoint states, or the official evaluation's.", valueName: "file.json"), completion: .file())
  var preprocessing: String?

  @Option(help: ArgumentHelp("Mean of the channels of the photographs, of values from 0 to 1: a,b,c.", valueName: "a,b,c"))
  var mean: Triple?

  @Option(help: ArgumentHelp("Standard deviation of the channels of the photographs: a,b,c.", valueName: "a,b,c"))
  var std: Triple?

  @Option(help: "Photographs used at most, spread evenly over those there are.")
  var calibrationImages = 32

  @Option(help: ArgumentHelp("Where activations are quantized: those of the layers that cost most stay float until the mean cosine of the outputs with the float model is this.", valueName: "cosine"))
  var leastCosine = OnnxExportSettings.defaultCosine

  @Flag(help: "Weights in a second file, OUT.onnx.data. Needed above 2 GB.")
  var externalData = false

  @Flag(help: "Compare the written file with the model, and say the largest difference. Where that is too large, the command ends with 65 and writes nothing.")
  var verify = false

  @Option(help: "Largest difference from the model that --verify accepts. Default: 1e-4, with the exceptions above.")
  var atol: Double?

  @OptionGroup var model: ModelOptions<FeatureHelp>
  @OptionGroup var parallel: ThreadsOption

  @Flag(help: "A machine-readable result on standard output.")
  var json = false

  @Flag(help: "Only errors on standard error.")
  var quiet = false

  func validate() throws {
    if batchSize < 1 || batchSize > 4096 { throw ValidationError("--batch-size must be from 1 to 4096, not \(batchSize)") }
    if !fixed && GivenFlags.all().contains("--batch-size") { throw ValidationError("--batch-size needs --fixed: without it the file takes every batch") }
    if !fixed && imageSize != nil { throw ValidationError("--image-size needs --fixed: without it the file takes every size") }
    if !(13...23).contains(opset) { throw ValidationError("--opset must be from 13 to 23, not \(opset)") }
    if calibration == nil && (preprocessing != nil || mean != nil || std != nil) { throw ValidationError("--preprocessing, --mean and --std are for the photographs of --calibration") }
    if let std, std.values.contains(where: { $0 == 0 }) { throw ValidationError("--std: a standard deviation of 0 cannot be divided by") }
    if calibration != nil && quantized == nil { throw ValidationError("--calibration needs --quantized") }
    let given = GivenFlags.all()
    if calibration == nil && given.contains("--calibration-images") { throw ValidationError("--calibration-images needs --calibration") }
    if calibration == nil && quantized != .dynamic && given.contains("--least-cosine") { throw ValidationError("--least-cosine needs --calibration or --quantized dynamic: activations stay float without them") }
    if !(0...1).contains(leastCosine) { throw ValidationError("--least-cosine must be from 0 to 1, not \(leastCosine)") }
    if !(1...4096).contains(calibrationImages) { throw ValidationError("--calibration-images must be from 1 to 4096, not \(calibrationImages)") }
    if let atol, !(atol >= 0) || !atol.isFinite { throw ValidationError("--atol must be a number from 0 on, not \(atol)") }
    if atol != nil && !verify { throw ValidationError("--atol needs --verify") }
  }

  func run() throws {
    if quiet { Terminal.beQuiet() }
    try Output.check(file: onnx)
    try Originals(Originals.files(of: model.path)).spare(externalData ? [onnx, "\(onnx).data"] : [onnx])
    guard onnx.lowercased().hasSuffix(".onnx") else { throw Failure(.usage, "\(onnx): the name of an ONNX file must end in .onnx, by which every command knows it") }
    var options = model.reading.loadOptions
    options.threads = parallel.threads
    let model = try DinoModel(contentsOf: self.model.path, options: options)
    for note in model.notes { Terminal.note(note) }
    var settings = OnnxExportSettings()
    settings.outputs = outputs.split(separator: ",").map(String.init)
    guard !settings.outputs.isEmpty else { throw Failure(.usage, "--outputs names no output") }
    settings.opset = opset
    settings.externalData = externalData
    settings.splitsQKV = qkv == .split
    settings.weightType = dtype.weightType
    settings.producerVersion = toolVersion
    settings.wantedCosine = leastCosine
    if verify { settings.verification = atol.map { .absolute($0) } ?? .byForm }
    if fixed {
      switch imageSize?.size {
      case .exact(let height, let width)?: settings.fixed = (batchSize, height, width)
      case .shorterSide(let side)?: settings.fixed = (batchSize, side, side)
      case nil: settings.fixed = (batchSize, model.config.nativeRows * model.config.patchSize, model.config.nativeColumns * model.config.patchSize)
      }
    }
    var skipped = SkippedInputs(), calibrated = 0
    switch quantized {
    case nil: break
    case .dynamic?:
      let images = try calibration.map { try photographs($0, model, &skipped) } ?? []
      calibrated = images.count
      settings.quantization = .dynamic(images)
    case .weights?:
      if let calibration {
        let images = try photographs(calibration, model, &skipped)
        calibrated = images.count
        settings.quantization = .calibrated(images)
      } else {
        settings.quantization = .weights
      }
    }
    let written = try model.exportOnnx(to: onnx, settings: settings, shield: { try Interruption.shielded($0) }, temporary: Output.willRemove)
    if json {
      try Terminal.output(JSONValue.object([
        .init("files", .array(written.files.map { .string($0) })), .init("bytes", .integer(written.byteCount)), .init("opset", .integer(opset)), .init("nodes", .integer(written.nodes)),
        .init("outputs", .array(settings.outputs.map { .string($0) })), .init("random_weights", .bool(model.hasRandomWeights)),
      ] + (written.precision.map(Self.members) ?? []) + (written.verification.map(Self.members) ?? [])).text + "\n")
    } else {
      Terminal.note("\(onnx): opset \(opset), \(written.nodes) nodes, \(written.weights) constants, \(readable(bytes: written.byteCount))")
      if let choice = written.precision {
        let layers = choice.floatLayers.isEmpty ? "" : "; activations of \(choice.floatLayers.joined(separator: ", ")) stay float (\(rounded(choice.cosineOfAll)) with them rounded too)"
        Terminal.note("mean cosine with the float model \(rounded(choice.cosine))\(layers)")
        if choice.cosine < leastCosine { Terminal.note("that is below \(leastCosine): this network's weights do not bear 8 bits well") }
      }
      if let found = written.verification { Terminal.note("verified: \(sentence(found))") }
    }
    try skipped.conclude(of: calibrated + skipped.count, canTurn: false)
  }

  /// The calibration images, prepared; those that cannot be read are named and left out.
  private func photographs(_ folder: String, _ model: DinoModel, _ skipped: inout SkippedInputs) throws -> [Tensor] {
    var changes = PreprocessingChanges()
    changes.recordFile = preprocessing
    changes.mean = mean?.values
    changes.std = std?.values
    let preparer = try Preparing.preparer(model, changes, exifOrientation: false)
    let all = try ImageInputs.expand([folder], note: ReadingOptions.tellOnce)
    let count = min(calibrationImages, all.count)
    var images: [Tensor] = []
    var bar = ProgressBar(total: count, unit: "photographs")
    for i in 0..<count {
      let input = all[i * all.count / count]
      switch preparer.prepareOrExplain(input) {
      case .success(let image): images.append(image.tensor)
      case .failure(let unreadable): try skipped.add(input.name, unreadable.message, strict: false)
      }
      bar.advance()
    }
    bar.finish()
    guard !images.isEmpty else { throw Failure(.data, "\(folder): none of the \(count) photographs can be read", hint: "--quantized without --calibration needs none") }
    return images
  }

  private func rounded(_ cosine: Double) -> String { "\((cosine * 1e5).rounded() / 1e5)" }

  private func sentence(_ v: OnnxVerification) -> String {
    let sizes = v.comparisons.map(\.inputShape.description).reduce(into: [String]()) { if !$0.contains($1) { $0.append($1) } }.joined(separator: " and ")
    let form = settingsAreExact ? "" : v.roundsActivations ? ", least cosine \(v.leastCosine)" : "; \(v.largestDifferenceAsStored) from a model of the same weights"
    return "the largest difference from the model is \(v.largestDifference)\(form), on inputs \(sizes)"
  }

  /// Whether the file holds the model's own numbers.
  private var settingsAreExact: Bool { quantized == nil && dtype == .f32 }

  private static func members(_ choice: OnnxPrecisionChoice) -> [JSONValue.Member] {
    [.init("float_activations", .array(choice.floatLayers.map { .string($0) })), .init("mean_cosine", .number(choice.cosine)), .init("mean_cosine_all_rounded", .number(choice.cosineOfAll))]
  }

  private static func members(_ v: OnnxVerification) -> [JSONValue.Member] {
    [.init("largest_difference", .number(v.largestDifference)), .init("largest_difference_as_stored", .number(v.largestDifferenceAsStored)), .init("least_cosine", .number(v.leastCosine))]
  }
}

enum QKVArgument: String, ExpressibleByArgument, CaseIterable { case fused, split }

enum QuantizedArgument: String, ExpressibleByArgument, CaseIterable { case weights, dynamic }

extension DTypeArgument {
  fileprivate var weightType: OnnxExportSettings.WeightType {
    switch self {
    case .f32: .f32
    case .f16: .f16
    case .bf16: .bf16
    }
  }
}
