// dinoctl quantize: a small file of a model, and what it costs in quality. The work is the library's.

internal import ArgumentParser
internal import Dino
internal import DinoModels
internal import DinoRuntime
internal import DinoTensor
internal import Safetensors

struct Quantize: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Write a model with 8-bit (or 4-bit) weights, with the record of what that costs.",
    discussion: """
      int8: about a quarter of the f32 file; every command computes with it as --precision int8 does, without floats in between. Without --calibration it is what \
      --precision int8 makes of the float file, bit for bit. With it, channels are made even by factors that change nothing else, weights are rounded for the results of their \
      layers, biases put lost means back, and the costliest layers stay in bf16 until the class tokens keep their bounds (mean cosine 0.9995, 1st percentile 0.9980) with a fifth to spare.
      int4: groups of 32, about an eighth; weights become floats when the file is loaded, so that only the file is smaller.
      Figures are of the calibration photographs; `dinoctl compare` gives them for others.
      """)

  @OptionGroup var model: ModelOptions
  @OptionGroup var preprocessing: PreprocessingOptions
  @OptionGroup var reading: ReadingOptions

  @Option(name: .shortAndLong, help: ArgumentHelp("The file to write (.safetensors).", valueName: "out"), completion: .file())
  var output: String

  @Option(help: "What weights become: int8 or int4.")
  var weights = WeightsArgument.int8

  @Option(help: ArgumentHelp("Layers that stay in bf16, by comma: blocks.11.attn.qkv.", valueName: "layer,…"))
  var keep: String?

  @Option(name: [.customLong("calibration"), .customLong("calibrate")], parsing: .upToNextOption, help: ArgumentHelp("Photographs like those that the model is for.", valueName: "dir"), completion: .file())
  var calibration: [String] = []

  @Option(help: "At most so many of them, spread evenly over all.")
  var limit = 256

  @Option(help: "int8: at most so many layers stay in bf16 where the bounds are not kept without.")
  var mostKept = 12

  @Option(help: ArgumentHelp("Write the figures, layer by layer, as JSON.", valueName: "r.json"), completion: .file())
  var report: String?

  @Option(help: "Steps of the calibration by comma, to see what each is good for: scaling (int8 alone), rounding, biases, none.")
  var steps = StepsArgument(steps: .all)

  func validate() throws {
    if !output.hasSuffix(".safetensors") { throw ValidationError("-o writes a file that ends in .safetensors, not \(output)") }
    let ofCalibration: Set = ["--limit", "--most-kept", "--steps", "--strict", "--exif-orientation"]
    if calibration.isEmpty, let flag = GivenFlags.all().first(where: ofCalibration.contains) { throw ValidationError("\(flag) needs --calibration") }
    if model.running.precision != nil { throw ValidationError("--precision is not read by quantize, which computes in f32: --weights says what weights become") }
    try model.running.refuseBatchSize(of: "quantize")
    if weights == .int4 {
      if GivenFlags.all().contains("--most-kept") { throw ValidationError("--most-kept goes with --weights int8: of int4 no layers are chosen to stay in bf16 (--keep names some)") }
      if steps.steps.contains(.scaling), GivenFlags.all().contains("--steps") { throw ValidationError("--steps scaling goes with --weights int8: int4 has rounding and biases") }
    }
    if limit < 1 { throw ValidationError("--limit must be at least 1, not \(limit)") }
    if mostKept < 0 { throw ValidationError("--most-kept must be at least 0, not \(mostKept)") }
  }

  func run() throws {
    try Output.check(file: output)
    if let report { try Output.check(file: report) }
    try Originals(Originals.files(of: model.path) + ReadingOptions.expand(calibration).compactMap(\.path)).spare([output] + (report.map { [$0] } ?? []))
    if let report { try Originals([output]).spare([report]) }
    let dino = try model.load()
    if dino.checkpoint.record?.quantization != nil { throw Failure(.usage, "\(model.path) is quantized already", hint: "name the file that it was made from") }
    let record = try dino.preparedRecord(preprocessing.changes())
    if try dino.preprocessingIsAssumed && !preprocessing.changes().isComplete {
      Terminal.note("\(model.path) says nothing about preprocessing; the official evaluation's goes into the record (--mean, --std, --preprocessing for another)")
    }
    var exact = dino.options
    exact.precision = .f32
    let float = DinoModel(checkpoint: dino.checkpoint, options: exact)
    var quantizer = try ModelQuantizer(config: dino.config, weights: dino.checkpoint.weights(), kind: weights.kind, keeping: keep?.split(separator: ",").map(String.init) ?? [], threads: model.running.threads)
    var quality: QualityReport?, skipped = SkippedInputs(), inputs = 0
    if !calibration.isEmpty {
      let photographs = try read(calibration, dino, &skipped)
      inputs = photographs.count + skipped.count
      let layers = weights == .int8 ? dino.config.quantizableWeights.count : 0
      var progress = ProgressBar(total: 3 * ModelQuantizer.imagesForStatistics(of: photographs.count) + layers + photographs.count, unit: "steps")
      try quantizer.calibrate(photographs, steps: steps.steps) { progress.advance(by: $0) }
      try quantizer.measureSensitivity(photographs, reference: float) { progress.advance(by: $0) }
      let found = try quantizer.keepWorst(photographs, reference: float, most: weights == .int8 ? mostKept : 0) { progress.advance(by: $0) }
      progress.finish()
      quality = found.report
      for name in found.kept { Terminal.note("\(name) stays in floats, for the class tokens' sake") }
    } else {
      quantizer.foldOutliers()
      try quantizer.roundWeights()
    }
    var words = "quantize \(lastComponent(model.path)) --weights \(weights.rawValue)"
    if let keep { words += " --keep \(keep)" }
    let earlier = dino.checkpoint.record?.provenance
    let provenance = Provenance(tool: toolName, source: try dino.checkpoint.sourceDigest().map { .init(file: $0.file, sha256: $0.sha256) }, randomWeights: dino.hasRandomWeights,
                                training: earlier?.training, chain: (earlier?.chain ?? []) + [words])
    // Names of classes, and heads that are kept beside the network, come along as they are.
    var heads = ModelWriter(config: dino.config, weights: [:], preprocessing: record, provenance: provenance)
    if let head = try dino.checkpoint.classifierHead(), !head.names.isEmpty { heads.setClassifier(head) }
    if let head = try dino.checkpoint.segmentationHead() { heads.setSegmentationHead(head) }
    try Interruption.shielded { try quantizer.write(to: output, preprocessing: record, provenance: provenance, quality: quality, modelDigest: dino.backboneDigest(), other: heads.other, extra: heads.extra) }
    let result = result(quantizer, quality)
    if let report { try Interruption.shielded { try writeWhole(result.text + "\n", to: report) } }
    if model.running.json {
      try Terminal.output(result.text + "\n")
    } else if let quality {
      try Terminal.output(QualityTable(report: quality, calibrated: true).text + costliest(quantizer))
    }
    Terminal.note("\(output): \(quantizer.values.count) weights in \(weights.rawValue), \(quantizer.kept.count) kept in floats")
    try skipped.conclude(of: inputs)
  }
}

extension Quantize {
  private func result(_ quantizer: ModelQuantizer, _ quality: QualityReport?) -> JSONValue {
    .object([
      .init("output", .string(output)), .init("weights", .string(weights.rawValue)), .init("bytes", .integer(byteCount(ofFile: output))),
      .init("quantized", .integer(quantizer.values.count)), .init("kept", .array(quantizer.kept.sorted().map { .string($0) })),
      .init("layers", .object((quantizer.sensitivity ?? [:]).sorted { $0.key < $1.key }.map { .init($0.key, .number($0.value)) })),
    ] + (quality.map { QualityTable(report: $0, calibrated: true).members } ?? []))
  }

  /// The layers that cost most.
  private func costliest(_ quantizer: ModelQuantizer) -> String {
    let layers = (quantizer.sensitivity ?? [:]).sorted { ($1.value, $0.key) < ($0.value, $1.key) }.prefix(5)
    return layers.isEmpty ? "" : "costliest layers, 1 - cosine when each alone is quantized:\n" + layers.map { "  \(fixed($0.value, 6))  \($0.key)\n" }.joined()
  }

  /// Prepared photographs; what cannot be read is named and left out.
  private func read(_ arguments: [String], _ dino: DinoModel, _ skipped: inout SkippedInputs) throws -> [PreparedImage] {
    let inputs = spread(try ReadingOptions.expand(arguments), limit: limit)
    let preparer = try Preparing.preparer(dino, preprocessing.changes(), exifOrientation: reading.exifOrientation)
    var images: [PreparedImage] = []
    try ImageStream(preparer: preparer, batchSize: 1, workers: model.running.threads).forEach(inputs) { part in
      switch part {
      case .batch(_, let batch): images += batch
      case .unreadable(let index, let reason): try skipped.add(inputs[index].name, reason, strict: reading.strict)
      }
    }
    guard !images.isEmpty else { throw Failure(.data, "none of the \(inputs.count) photographs could be read") }
    return images
  }
}

struct StepsArgument: ExpressibleByArgument {
  var steps: CalibrationSteps
  init(steps: CalibrationSteps) { self.steps = steps }
  var defaultValueDescription: String { "scaling,rounding,biases" }
  init?(argument: String) {
    steps = []
    for name in argument.split(separator: ",") {
      switch name {
      case "scaling": steps.insert(.scaling)
      case "rounding": steps.insert(.rounding)
      case "biases": steps.insert(.biases)
      case "none": break
      default: return nil
      }
    }
  }
}

enum WeightsArgument: String, ExpressibleByArgument, CaseIterable {
  case int8, int4
  var kind: QuantizationRecord.Kind { self == .int8 ? .int8 : .int4 }
}
