// dinoctl inspect: what is in a checkpoint, how it would be loaded, and what is wrong with it. It runs the network only for --self-test.

internal import ArgumentParser
internal import CheckpointNames
internal import Dino
internal import DinoModels
internal import DinoTensor
internal import Safetensors

enum InspectHelp: SharedHelp {
  static var heads: String { "Number of attention heads, where the file does not say it (see above)." }
  static var precision: String { "With --self-test: the arithmetic to run it in. Default: int8 for a file that quantize made, f32 otherwise. One that is not available here ends with exit code 69." }
}

struct Inspect: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "What is in a checkpoint or ONNX file: model, tensors, record, training state, and what is wrong with it.",
    usage: "dinoctl inspect [<options>] <file>",
    discussion: """
      The exit code is 65 where something is wrong and 69 where the file is of a network that is not known here, with a sentence that says what. --self-test runs the file's own test vector.
        dinoctl inspect M
        dinoctl inspect --self-test M
      The number of heads is not in an official file. It comes, in this order, from --heads or --arch, the record, config.json, the training arguments, the periods of rotary positions, \
      the known architectures, or width / 64. A line on standard error says where it is width / 64. That rule does not hold for ViT-H, g and G, which have wider heads: where nothing before it says the number, they need --heads.
      """)

  @Argument(help: "A checkpoint (.safetensors, .pth or a Hugging Face folder), or an .onnx file.", completion: .file())
  var file: String

  @Flag(help: "Run the self-test that the file carries and compare.")
  var selfTest = false

  @Flag(help: "List the tensors.")
  var tensors = false

  @OptionGroup var reading: CheckpointOptions<InspectHelp>
  @OptionGroup var arithmetic: PrecisionOption<InspectHelp>
  @OptionGroup var parallel: ThreadsOption
  @OptionGroup var telling: TellingOptions

  /// Whether the file is told of as an ONNX file; for its self-test it is read as a checkpoint.
  private var isOnnx: Bool { file.lowercased().hasSuffix(".onnx") && !selfTest }

  func validate() throws {
    try GivenFlags.refuse(["--precision"], unless: selfTest, "--self-test")
    try GivenFlags.refuse(["--arch", "--heads", "--checkpoint-key"], unless: !isOnnx, "a checkpoint, not with an .onnx file")
  }

  func run() throws {
    telling.apply()
    if isOnnx { return try inspectOnnx() }
    let options = reading.loadOptions
    let summary = try CheckpointSummary(path: file, choices: .init(key: options.checkpointKey, architecture: options.architecture, heads: options.heads))
    var problems = summary.problems
    var tests: [SelfTestResult] = []
    if selfTest, let checkpoint = summary.checkpoint {
      try RunSettings.checkKernels()
      tests = try runTests(checkpoint)
      for t in tests where t.comparison.passed == false {
        problems.append("the self-test at \(t.entry.height)x\(t.entry.width) differs by \(t.comparison.maxAbsoluteDifference), over its tolerance of \(t.comparison.tolerance ?? 0)")
      }
    }
    if telling.json {
      try Terminal.output(InspectReport(summary: summary, tests: tests, problems: problems).json.text + "\n")
    } else {
      try Terminal.output(InspectReport(summary: summary, tests: tests, problems: problems).text(listingTensors: tensors))
    }
    if let first = problems.first {
      throw Failure(ExitStatus(summary.problemKind), problems.count == 1 ? first : "\(first) (and \(problems.count - 1) more problems, listed above)", hint: summary.hint)
    }
  }

  private func inspectOnnx() throws {
    let summary = try OnnxSummary(path: file)
    let report = OnnxReport(summary: summary)
    try Terminal.output(telling.json ? report.json.text + "\n" : report.text(listingTensors: tensors))
    if let first = summary.problems.first {
      throw Failure(ExitStatus(summary.problemKind), summary.problems.count == 1 ? first : "\(first) (and \(summary.problems.count - 1) more problems, listed above)")
    }
  }

  private func runTests(_ checkpoint: Checkpoint) throws -> [SelfTestResult] {
    var options = DinoModel.Options()
    options.threads = parallel.threads
    options.precision = arithmetic.precision?.precision
    let results = try DinoModel(checkpoint: checkpoint, options: options).selfTest()
    guard !results.isEmpty else {
      throw Failure(.unavailable, "\(file) carries no self-test", hint: "dinoctl convert writes one")
    }
    return results
  }
}

/// What was found, as text and as JSON.
private struct InspectReport {
  let summary: CheckpointSummary
  let tests: [SelfTestResult]
  let problems: [String]

  func text(listingTensors: Bool) -> String {
    var lines = ["file          \(summary.path): \(summary.format.rawValue), \(readable(bytes: summary.byteCount))"]
    func add(_ label: String, _ value: String) { lines.append(label + String(repeating: " ", count: max(1, 14 - label.count)) + value) }
    if let c = summary.checkpoint { describe(c, add) }
    let elements = summary.tensors.reduce(0) { $0 + $1.shape.reduce(1, *) }
    let types = Dictionary(grouping: summary.tensors, by: \.dtype.rawValue).map { "\($0.value.count) \($0.key)" }.sorted().joined(separator: ", ")
    add("tensors", "\(summary.tensors.count) (\(types)), \(elements) elements")
    if let t = summary.training { describe(t, add) }
    for t in tests {
      let c = t.comparison
      add("self-test", "\(t.entry.height)x\(t.entry.width): \(c.passed.map { $0 ? "passed" : "FAILED" } ?? "no tolerance for this precision"), largest difference \(c.maxAbsoluteDifference), of length \(c.relativeNormDifference)")
    }
    if listingTensors {
      lines.append("")
      for t in summary.tensors { lines.append("  \(t.name)  \(t.dtype.rawValue) \(t.shape)") }
    }
    for p in problems { add("problem", p) }
    return lines.map(printable).joined(separator: "\n") + "\n"
  }

  private func describe(_ c: Checkpoint, _ add: (String, String) -> Void) {
    let k = c.config
    add("model", "DINO vision transformer: patch \(k.patchSize), width \(k.embedDim), \(k.depth) blocks, \(k.numHeads) heads (from \(c.headSource.rawValue)), \(k.registerTokens > 0 ? "\(k.registerTokens) registers, " : "")\(k.feedForward == .swiglu ? "gated " : "")MLP \(k.mlpHiddenDim), \(k.rotaryBase == nil ? "positions \(k.nativeRows)x\(k.nativeColumns)" : "rotary positions"), \(k.parameterCount) weights")
    switch k.head {
    case .projection(let h)?: add("head", "DINO projection head: \(h.layers) layers, hidden \(h.hiddenDim), bottleneck \(h.bottleneckDim), \(h.outDim) outputs\(h.batchNorm ? ", batch norm" : "")")
    case .classifier(let n)?: add("head", "classifier of \(n) classes")
    case .probe(let p)?: add("head", "classifier of \(p.classes) classes on \(p.text)")
    case nil: add("head", "none")
    }
    if let branch = c.branch { add("network", branch) }
    let r = c.resolution
    add("names", "\(r.table): \(r.matchedCount) of \(r.expectedCount) tensors match\(r.ignored.isEmpty ? "" : ", \(r.ignored.count) ignored")\(r.unmatched.isEmpty ? "" : ", \(r.unmatched.count) not known: " + r.unmatched.prefix(5).joined(separator: ", "))")
    if let p = c.preprocessing, let preparer = try? ImagePreparer(p, patch: k.patchSize) { add("images", preparer.summary) } else {
      add("images", "nothing said about preprocessing; the official evaluation's would be assumed")
    }
    if let record = c.record {
      add("record", "format version \(ModelRecord.formatVersion), \(record.selfTests.count) self-tests")
      if let p = record.provenance {
        add("made by", p.tool + (p.source.map { ", from \($0.file) (sha256 \($0.sha256))" } ?? ""))
        if !p.chain.isEmpty { add("chain", p.chain.joined(separator: " | ")) }
        if p.randomWeights { add("weights", "RANDOM: never trained") }
      }
      if let q = record.quantization { describe(q, add) }
    }
  }

  private func describe(_ q: QuantizationRecord, _ add: (String, String) -> Void) {
    add("quantized", "\(q.scheme): \(q.tensors.count) weights\(q.calibrationDigest.map { ", calibration \($0.prefix(12))" } ?? "")")
    if let quality = q.quality { add("quality", quality.sorted { $0.key < $1.key }.map { "\($0.key) \(fixed($0.value, 5))" }.joined(separator: ", ")) }
    let worst = (q.sensitivity ?? [:]).sorted { ($1.value, $0.key) < ($0.value, $1.key) }.prefix(5)
    if !worst.isEmpty { add("costliest", worst.map { "\($0.key) \(fixed($0.value, 6))" }.joined(separator: ", ")) }
  }

  private func describe(_ t: CheckpointSummary.Training, _ add: (String, String) -> Void) {
    add("training", "keys \(t.keys.joined(separator: ", "))\(t.epoch.map { ", epoch \($0)" } ?? "")\(t.optimizerTensors > 0 ? ", optimizer with \(t.optimizerTensors) tensors" : "")\(t.center.map { ", center \($0)" } ?? "")")
    if !t.arguments.isEmpty { add("arguments", t.arguments.map { "\($0.name)=\($0.value)" }.joined(separator: " ")) }
  }

  var json: JSONValue {
    var members: [JSONValue.Member] = [
      .init("path", .string(summary.path)), .init("format", .string(summary.format.rawValue)), .init("bytes", .integer(summary.byteCount)),
    ]
    if let c = summary.checkpoint {
      members += [
        .init("family", .string(ViTConfig.family)), .init("config", parsed(try? c.config.json())), .init("heads_from", .string(c.headSource.rawValue)),
        .init("classifier", classifier(c)),
        .init("network", c.branch.map { .string($0) } ?? .null), .init("parameters", .integer(c.config.parameterCount)),
        .init("names", .object([
          .init("table", .string(c.resolution.table)), .init("matched", .integer(c.resolution.matchedCount)), .init("expected", .integer(c.resolution.expectedCount)),
          .init("ignored", .array(c.resolution.ignored.map { .object([.init("name", .string($0.name)), .init("reason", .string($0.reason))]) })),
          .init("unmatched", .array(c.resolution.unmatched.map { .string($0) })),
        ])),
        .init("preprocessing", parsed(try? c.preprocessing?.json())), .init("random_weights", .bool(c.hasRandomWeights)),
        .init("provenance", parsed((try? c.record?.metadata())?[ModelRecord.Key.provenance])),
        .init("quantization", parsed((try? c.record?.metadata())?[ModelRecord.Key.quantization])),
      ]
    }
    if let t = summary.training {
      members.append(.init("training", .object([
        .init("keys", .array(t.keys.map { .string($0) })), .init("epoch", t.epoch.map { .integer($0) } ?? .null), .init("optimizer_tensors", .integer(t.optimizerTensors)),
        .init("center", t.center.map { .array($0.map { .integer($0) }) } ?? .null),
        .init("args", .object(t.arguments.map { .init($0.name, .string($0.value)) })),
      ])))
    }
    members += [
      .init("tensors", .array(summary.tensors.map {
        .object([.init("name", .string($0.name)), .init("dtype", .string($0.dtype.rawValue)), .init("shape", .array($0.shape.map { .integer($0) }))])
      })),
      .init("self_test", .array(tests.map { t in
        .object([
          .init("height", .integer(t.entry.height)), .init("width", .integer(t.entry.width)), .init("passed", t.comparison.passed.map { .bool($0) } ?? .null),
          .init("max_absolute_difference", .number(t.comparison.maxAbsoluteDifference)), .init("relative_norm_difference", .number(t.comparison.relativeNormDifference)),
        ])
      })),
      .init("problems", .array(problems.map { .string($0) })),
    ]
    return .object(members)
  }

  /// Of a classifier: how many classes, and what it reads.
  private func classifier(_ c: Checkpoint) -> JSONValue {
    func object(_ classes: Int, _ tokens: String, _ layers: Int) -> JSONValue { .object([.init("classes", .integer(classes)), .init("tokens", .string(tokens)), .init("layers", .integer(layers))]) }
    return switch c.config.head {
    case .classifier(let classes)?: object(classes, "cls", 1)
    case .probe(let p)?: object(p.classes, p.tokens.rawValue, p.layers)
    case .projection?, nil: .null
    }
  }

  private func parsed(_ text: String?) -> JSONValue {
    guard let text, let value = try? JSONValue.parse(text) else { return .null }
    return value
  }
}

extension ViTConfig.Probe {
  /// What it reads, in words.
  var text: String {
    let blocks = layers == 1 ? "the last block" : "the last \(layers) blocks"
    return switch tokens {
    case .cls: "the class tokens of \(blocks)"
    case .mean: "the mean of the patches of \(blocks)"
    case .clsAndMean: "the class token and the mean of the patches of \(blocks)"
    case .clsAndLastMean: "the class tokens of \(blocks) and the mean of the last one's patches"
    }
  }
}
