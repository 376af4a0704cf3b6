// A checkpoint as an ONNX model: the canonical graph of the family, pruned to the outputs that were asked for, written by OnnxConverter. With a check, the files are
// run before they are put into their place: OnnxVerification.swift.

internal import DinoGraph
internal import DinoModels
internal import DinoRuntime
public import DinoTensor
internal import ONNXFormat
internal import OnnxConverter

/// What is written, and how.
public struct OnnxExportSettings: Sendable {
  /// How the file stores matrices; all arithmetic is in 32-bit floats.
  public enum WeightType: String, Sendable, CaseIterable { case f32, f16, bf16 }

  /// How the linear layers of the blocks are quantized. The patch embedding, norms, softmax, residuals and heads stay float.
  public enum Quantization: Sendable {
    /// Int8 weights, float activations.
    case weights
    /// Activations too, over the range that each has at the moment. What stays float is chosen on these inputs, [B, C, H, W] each, or on synthetic ones.
    case dynamic([Tensor])
    /// Activations too, over ranges seen on these inputs. What stays float is chosen on some of them.
    case calibrated([Tensor])
  }

  /// The mean cosine with the float model below which activations of layers are left in float, until it is reached.
  public static let defaultCosine = 0.998
  /// The same for this file.
  public var wantedCosine = OnnxExportSettings.defaultCosine

  public var outputs: [String] = ["cls"]
  /// Default operator set, 13 to 23.
  public var opset = 17
  /// Fixes batch and image size: the file then holds the positions of that size and no arithmetic for them.
  public var fixed: (batch: Int, height: Int, width: Int)?
  /// Weights in a second file beside the model, of the model's name with ".data" behind it.
  public var externalData = false
  public var weightType = WeightType.f32
  public var quantization: Quantization?
  /// Queries, keys and values from three products instead of one: the form that ONNX Runtime's optimizer fuses.
  public var splitsQKV = false
  /// Run the written files before they are put into their place.
  public var verification: OnnxVerification.Bound?
  /// The program that writes, for the file's producer version.
  public var producerVersion = ""
  public init() {}
}

/// What was written.
public struct OnnxExportSummary: Sendable {
  public var nodes: Int
  public var weights: Int
  public var files: [String]
  /// Bytes of all files.
  public var byteCount: Int
  /// What was left in float, where activations are quantized.
  public var precision: OnnxPrecisionChoice?
  /// What a check found.
  public var verification: OnnxVerification?
}

extension DinoModel {
  /// Writes the model to `path` as ONNX. Input: `pixel_values` [batch, channels, height, width], normalised. Deterministic bytes.
  /// - Parameters:
  ///   - shield: runs what writes; a program that can be stopped keeps that whole.
  ///   - temporary: is told the folder of files that are to be checked, before it is made: who ends the process meanwhile removes it.
  public func exportOnnx(to path: String, settings: OnnxExportSettings = .init(), shield: (() throws -> Void) throws -> Void = { try $0() },
                         temporary: (String) -> Void = { _ in }) throws(DinoError) -> OnnxExportSummary {
    guard !settings.outputs.isEmpty else { throw DinoError(.usage, "an ONNX file needs at least one output", hint: "outputs are \(outputNames.prefix(8).joined(separator: ", ")), …") }
    for name in settings.outputs where !outputNames.contains(name) {
      throw DinoError(.usage, "there is no output '\(name)'", hint: "outputs are \(outputNames.prefix(8).joined(separator: ", ")), …")
    }
    let weights = try checkpoint.weights()
    try check(weights)
    do {
      var graph = try ViTGraphBuilder.build(config: config, weights: weights, outputs: settings.outputs)
      if let f = settings.fixed {
        guard f.height >= config.patchSize, f.width >= config.patchSize else {
          throw DinoError(.usage, "an image of \(f.height)x\(f.width) holds no patch of \(config.patchSize)")
        }
        graph.inputs[0].dims = [.fixed(f.batch), .fixed(config.inChannels), .fixed(f.height), .fixed(f.width)]
      }
      var options = try exportOptions(settings, graph), precision: OnnxPrecisionChoice?
      if let inputs = measuringInputs(settings) {
        let search = OnnxPrecisionSearch(graph: graph, options: options, inputs: inputs.map { [Self.inputName: $0] }, threads: self.options.threads, target: settings.wantedCosine)
        let found = try search.run()
        options.floatActivations = found.values
        precision = found.choice
      }
      let model = try OnnxExporter.model(of: graph, outputDims: try Self.outputDims(of: graph, config: config), options: options)
      let file = path.split(separator: "/").last.map(String.init) ?? path
      let external = settings.externalData ? OnnxExternalDataOptions(fileName: file + ".data") : nil
      var summary = OnnxExportSummary(nodes: model.graph.nodes.count, weights: model.graph.initializers.count,
                                      files: settings.externalData ? [path, path + ".data"] : [path], byteCount: 0)
      summary.precision = precision
      if let bound = settings.verification {
        let check = OnnxVerification.Check(stored: try OnnxExporter.asStored(graph, options: options), original: graph, settings: settings, config: config, bound: bound, threads: self.options.threads)
        temporary(VerifiedFiles.folder(for: path))
        let folder = try VerifiedFiles(for: path)
        try shield { try OnnxWriter.write(model, to: folder.path(of: file), externalData: external) }
        summary.verification = try check.run(folder.path(of: file), named: path)
        // The data first: a model is never there without its weights.
        try shield { try folder.putIntoPlace(settings.externalData ? [file + ".data", file] : [file]) }
      } else {
        try shield { try OnnxWriter.write(model, to: path, externalData: external) }
      }
      summary.byteCount = summary.files.reduce(0) { $0 + byteCount(ofFile: $1) }
      return summary
    } catch { throw DinoError(error, path: nil) }
  }

  /// A file for others must not carry damage that shows only when it runs.
  private func check(_ weights: [String: Tensor]) throws(DinoError) {
    for (name, tensor) in weights.sorted(by: { $0.key < $1.key }) where tensor.dtype.convertsToFloat && !tensor.floats().allSatisfy(\.isFinite) {
      throw DinoError(.data, "\(checkpoint.path): the tensor '\(name)' has values that are not finite, so the file is damaged")
    }
  }

  private func exportOptions(_ settings: OnnxExportSettings, _ graph: Graph) throws -> OnnxExportOptions {
    var options = OnnxExportOptions(opset: settings.opset, producerVersion: settings.producerVersion)
    options.metadata = ["dino.config": try config.json(), "dino.random_weights": hasRandomWeights ? "true" : "false"]
    if let record = checkpoint.preprocessing { options.metadata[ModelRecord.Key.preprocessing] = try record.json() }
    options.weightType = OnnxWeightType(rawValue: settings.weightType.rawValue) ?? .f32
    options.splitsQKV = settings.splitsQKV
    if settings.outputs.contains("logits"), let head = try checkpoint.classifierHead(), !head.names.isEmpty || !head.isPartOfNetwork { options.metadata[ClassifierHead.metadataKey] = head.record.text }
    options.floatNodes = Set(graph.nodes.map(\.name).filter { $0.hasPrefix("head") || $0.hasPrefix("probe") })
    switch settings.quantization {
    case nil: break
    case .weights?: options.quantization = .weights
    case .dynamic?: options.quantization = .dynamic
    case .calibrated(let images)?: options.quantization = .calibrated(try ranges(graph, options.floatNodes, images))
    }
    return options
  }

  /// Most inputs that precision is measured with.
  private static let measuredInputs = 8

  /// Inputs for choosing what stays float; nil where activations are float anyway.
  private func measuringInputs(_ settings: OnnxExportSettings) -> [Tensor]? {
    let images: [Tensor]
    switch settings.quantization {
    case .dynamic(let given)?, .calibrated(let given)?: images = given
    case .weights?, nil: return nil
    }
    if let f = settings.fixed, !images.allSatisfy({ $0.shape == [f.batch, config.inChannels, f.height, f.width] }) || images.isEmpty {
      return [SelfTest.input(seed: 0, height: f.height, width: f.width, channels: config.inChannels)].map { one in
        Tensor((0..<f.batch).flatMap { _ in one.floats() }, shape: [f.batch, config.inChannels, f.height, f.width])
      }
    }
    guard !images.isEmpty else {
      return SelfTest.sizes(for: config).map { SelfTest.input(seed: 0, height: $0.height, width: $0.width, channels: config.inChannels) }
    }
    let count = min(images.count, Self.measuredInputs)
    return (0..<count).map { images[$0 * images.count / count] }
  }

  /// Ranges of what the quantized linear layers read, from runs of the float model.
  private func ranges(_ graph: Graph, _ floatNodes: Set<String>, _ images: [Tensor]) throws -> [ValueID: OnnxActivationRange] {
    guard !images.isEmpty else { throw DinoError(.usage, "there is no image to calibrate with") }
    let values = graph.nodes.filter { if case .core(.linear) = $0.op { !floatNodes.contains($0.name) } else { false } }.map { $0.inputs[0] }
    var free = graph
    free.inputs[0].dims = [.free("B"), .fixed(config.inChannels), .free("H"), .free("W")]
    var calibrator = try Calibrator(free, values: values, options: SessionOptions(threads: self.options.threads))
    for image in images { try calibrator.observe([Self.inputName: image]) }
    return try calibrator.statistics.mapValues { seen in
      // All that was seen: cutting off the ends for finer steps loses more than it gains (measured: layers after a norm carry much in their few large channels).
      guard seen.isFinite, seen.minimum <= seen.maximum else { throw notFinite("activations") }
      return OnnxActivationRange(lower: seen.minimum, upper: seen.maximum)
    }
  }

  /// Declared extents of the outputs: those that stay the same for two probe inputs are fixed, the first follows the batch, others are named after the tokens.
  private static func outputDims(of graph: Graph, config: ViTConfig) throws(GraphError) -> [String: [Dimension?]] {
    let p = config.patchSize
    func probe(_ batch: Int, _ rows: Int, _ columns: Int) throws(GraphError) -> [ValueID: Shape] {
      let free = [batch, config.inChannels, rows * p, columns * p]
      let dims = zip(graph.inputs[0].dims, free).map { dimension, n in if case .fixed(let m) = dimension { m } else { n } }
      return try graph.inferShapes(inputs: [graph.inputs[0].name: Shape(dims)])
    }
    let first = try probe(2, 3, 5), second = try probe(7, 11, 13)
    var result: [String: [Dimension?]] = [:]
    for output in graph.outputs {
      let a = first[output.value]!, b = second[output.value]!
      result[output.name] = (0..<a.rank).map { axis in a[axis] == b[axis] ? .fixed(a[axis]) : axis == 0 ? .free("B") : .free("tokens") }
    }
    return result
  }
}
