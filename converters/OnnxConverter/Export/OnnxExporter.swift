// Writes a canonical graph as an ONNX model: inputs, outputs, constants, and the order of it all. Nothing is fused, weights keep their names. Same graph and
// options give the same bytes. How each operator is spelled: OperatorExport.swift, LinearExport.swift, AttentionExport.swift.

public import DinoGraph
internal import DinoTensor
public import ONNXFormat

public enum OnnxExporter {
  /// The model of `graph`, whose outputs are those that the graph has: prune it first.
  /// - Parameter shapes: of the outputs, for declaring them; free names as in the graph's inputs, nil where only the rank is known.
  public static func model(of graph: Graph, outputDims: [String: [Dimension?]], options: OnnxExportOptions = .init()) throws(OnnxExportError) -> OnnxModel {
    guard OnnxExportOptions.opsets.contains(options.opset) else { throw .opset(options.opset) }
    var export = GraphExport(graph: graph, options: options)
    return try export.run(outputDims: outputDims)
  }
}

struct GraphExport {
  let graph: Graph
  let options: OnnxExportOptions
  var w: NodeWriter
  var names: [ValueID: String] = [:]
  /// Softmax values by what they are computed from, so that attention and its weights share one.
  var softmaxes: [String: (weights: String, v: String)] = [:]
  /// Matrices that are written already, as MatMul wants them.
  var matrices: [ValueID: String] = [:]
  /// 8-bit matrices that are written already.
  var quantized: [ValueID: QuantizedMatrix] = [:]
  /// Inputs of linear layers that are rounded already, under the name of the value they were.
  var rounded: [String: [String]] = [:]
  /// Metadata besides those of the options: what a reader could not tell from the nodes.
  var properties: [String: String] = [:]
  /// The last extent of what a node gives, where its weight says it.
  var widths: [ValueID: Int] = [:]

  init(graph: Graph, options: OnnxExportOptions) {
    self.graph = options.splitsQKV ? SplitQKV.run(graph) : graph
    self.options = options
    w = NodeWriter(opset: options.opset, weightType: options.weightType)
  }

  mutating func run(outputDims: [String: [Dimension?]]) throws(OnnxExportError) -> OnnxModel {
    for input in graph.inputs {
      w.reserve(input.name)
      names[input.value] = input.name
    }
    for output in graph.outputs { w.reserve(output.name) }
    for node in graph.nodes { names[node.output] = try write(node) }
    var finals: [OnnxNode] = []
    var declared: [OnnxValueInfo] = []
    for output in graph.outputs {
      let value = try value(output.value, output.name)
      finals.append(OnnxNode(name: "output.\(output.name)", operatorType: "Identity", inputs: [value], outputs: [output.name], attributes: []))
      declared.append(info(output.name, outputDims[output.name]))
    }
    let ir: Int64 = options.opset <= 18 ? 8 : options.opset <= 20 ? 9 : 10
    return OnnxModel(
      irVersion: ir, operatorSets: [OnnxOperatorSet(version: Int64(options.opset))], producerName: "dinoctl", producerVersion: options.producerVersion,
      graph: OnnxGraph(name: "dino", nodes: w.nodes + finals, inputs: graph.inputs.map { info($0.name, $0.dims.map { $0 }) }, outputs: declared, initializers: w.initializers),
      metadata: options.metadata.merging(properties) { given, _ in given }.sorted { $0.key < $1.key }.map { OnnxProperty(key: $0.key, value: $0.value) })
  }

  private func info(_ name: String, _ dims: [Dimension?]?) -> OnnxValueInfo {
    let shape = dims.map { $0.map { dimension in
      switch dimension {
      case .fixed(let n)?: OnnxDimension(.fixed(Int64(n)))
      case .free(let name)?: OnnxDimension(.symbolic(options.dimensionNames[name] ?? name))
      case nil: OnnxDimension(.unknown)
      }
    } }
    return OnnxValueInfo(name: name, type: OnnxType(.tensor(.float, shape: shape)))
  }

  /// The name of a value, its initializer written when first read.
  mutating func value(_ id: ValueID, _ reader: String) throws(OnnxExportError) -> String {
    if let name = names[id] { return name }
    guard let constant = graph.constants[id] else { throw .missingValue(node: reader) }
    let name = try w.weight(constant.name, constant.tensor)
    names[id] = name
    return name
  }

  mutating func operands(_ node: Node) throws(OnnxExportError) -> [String] {
    var list: [String] = []
    for id in node.inputs { list.append(try value(id, node.name)) }
    return list
  }
}
