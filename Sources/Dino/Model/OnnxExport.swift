// A checkpoint as an ONNX model: the canonical graph of the family, pruned to the outputs that were asked for, written by OnnxConverter.

internal import DinoGraph
internal import DinoModels
internal import DinoTensor
internal import ONNXFormat
internal import OnnxConverter

/// What is written, and how.
public struct OnnxExportSettings: Sendable {
  public var outputs: [String] = ["cls"]
  /// Default operator set, 13 to 23.
  public var opset = 17
  /// Fixes batch and image size: the file then holds the positions of that size and no arithmetic for them.
  public var fixed: (batch: Int, height: Int, width: Int)?
  /// Weights in a second file beside the model, of the model's name with ".data" behind it.
  public var externalData = false
  /// The program that writes, for the file's producer version.
  public var producerVersion = ""
  public init() {}
}

/// What was written.
public struct OnnxExportSummary: Sendable {
  public var nodes: Int
  public var weights: Int
  public var files: [String]
}

extension DinoModel {
  /// Writes the model to `path` as ONNX. Input: `pixel_values` [batch, channels, height, width], normalised. Deterministic bytes.
  public func exportOnnx(to path: String, settings: OnnxExportSettings = .init()) throws(DinoError) -> OnnxExportSummary {
    for name in settings.outputs where !outputNames.contains(name) {
      throw DinoError(.usage, "there is no output '\(name)'", hint: "outputs are \(outputNames.prefix(8).joined(separator: ", ")), …")
    }
    do {
      var graph = try ViTGraphBuilder.build(config: config, weights: checkpoint.weights(), outputs: settings.outputs)
      if let f = settings.fixed {
        guard f.height >= config.patchSize, f.width >= config.patchSize else {
          throw DinoError(.usage, "an image of \(f.height)x\(f.width) holds no patch of \(config.patchSize)")
        }
        graph.inputs[0].dims = [.fixed(f.batch), .fixed(config.inChannels), .fixed(f.height), .fixed(f.width)]
      }
      var options = OnnxExportOptions(opset: settings.opset, producerVersion: settings.producerVersion)
      options.metadata = ["dino.config": try config.json(), "dino.random_weights": hasRandomWeights ? "true" : "false"]
      let model = try OnnxExporter.model(of: graph, outputDims: try Self.outputDims(of: graph, config: config), options: options)
      let file = path.split(separator: "/").last.map(String.init) ?? path
      try OnnxWriter.write(model, to: path, externalData: settings.externalData ? OnnxExternalDataOptions(fileName: file + ".data") : nil)
      return OnnxExportSummary(nodes: model.graph.nodes.count, weights: model.graph.initializers.count, files: settings.externalData ? [path, path + ".data"] : [path])
    } catch { throw DinoError(error, path: nil) }
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
