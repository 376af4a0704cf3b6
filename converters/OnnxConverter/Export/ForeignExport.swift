// Writes an imported graph of foreign operators as an ONNX model again: the same operators with functions unfolded, branches decided, constants computed and what nobody
// needs left out. Core operators are OnnxExporter's business.

internal import DinoGraph
internal import DinoTensor
public import ONNXFormat

public enum ForeignExporter {
  /// - Parameters:
  ///   - imported: a graph of foreign operators only.
  ///   - inputs: as they are to be declared.
  ///   - declared: outputs as the file declares them: their shapes where they do not follow from the inputs'.
  ///   - operatorSet: of ONNX's own operators: that of the file the graph comes from.
  public static func model(of imported: ImportedGraph, inputs: [OnnxInput], declared: [OnnxValueInfo] = [], operatorSet: Int64, irVersion: Int64,
                           producerVersion: String = "", metadata: [OnnxProperty] = []) throws(OnnxExportError) -> OnnxModel {
    var writer = ForeignWriter(imported)
    let nodes = try writer.nodes()
    let graph = imported.graph
    var sets = [OnnxOperatorSet(version: operatorSet)]
    if nodes.contains(where: { $0.domain == "com.microsoft" }) { sets.append(OnnxOperatorSet(domain: "com.microsoft", version: 1)) }
    let sources = inputs.map { input in info(input.name, input.dtype, input.dims) }
    let outputs = graph.outputs.map { output -> OnnxValueInfo in
      let fact = imported.facts[output.value]
      var result = info(output.name, fact?.dtype ?? .f32, fact?.shape.map { $0.dims.map { .fixed($0) } })
      if fact?.shape == nil, case .tensor(let type, _)? = result.type?.kind, case .tensor(_, let shape)? = declared.first(where: { $0.name == output.name })?.type?.kind {
        result.type = OnnxType(.tensor(type, shape: shape))
      }
      return result
    }
    return OnnxModel(irVersion: irVersion, operatorSets: sets, producerName: "dinoctl", producerVersion: producerVersion,
                     graph: OnnxGraph(name: "graph", nodes: nodes, inputs: sources, outputs: outputs, initializers: writer.initializers), metadata: metadata)
  }

  private static func info(_ name: String, _ dtype: DType, _ dims: [Dimension]?) -> OnnxValueInfo {
    let shape = dims.map { $0.map { dimension -> OnnxDimension in
      switch dimension {
      case .fixed(let n): OnnxDimension(.fixed(Int64(n)))
      case .free(let name): OnnxDimension(.symbolic(name))
      }
    } }
    return OnnxValueInfo(name: name, type: OnnxType(.tensor(OnnxDataType(dtype) ?? .float, shape: shape)))
  }
}

private struct ForeignWriter {
  let imported: ImportedGraph
  private(set) var initializers: [OnnxTensor] = []
  private var names: [ValueID: String] = [:]
  private var taken: Set<String> = []

  init(_ imported: ImportedGraph) {
    self.imported = imported
    let graph = imported.graph
    for output in graph.outputs { taken.insert(output.name) }
    for input in graph.inputs {
      names[input.value] = input.name
      taken.insert(input.name)
    }
  }

  private mutating func unique(_ wanted: String) -> String {
    let base = wanted.isEmpty ? "value" : wanted
    var name = base, n = 1
    while !taken.insert(name).inserted {
      n += 1
      name = "\(base)_\(n)"
    }
    return name
  }

  mutating func nodes() throws(OnnxExportError) -> [OnnxNode] {
    let graph = imported.graph
    var nodes: [OnnxNode] = [], finals: [OnnxNode] = []
    // A value that is an output has the output's name where it is one output of a node.
    for output in graph.outputs where names[output.value] == nil && graph.constants[output.value] == nil { names[output.value] = output.name }
    for node in graph.nodes { nodes.append(try write(node)) }
    for output in graph.outputs {
      let name = try value(output.value, output.name)
      if name != output.name { finals.append(OnnxNode(name: "output.\(output.name)", operatorType: "Identity", inputs: [name], outputs: [output.name])) }
    }
    return nodes + finals
  }

  private mutating func value(_ id: ValueID, _ reader: String) throws(OnnxExportError) -> String {
    if id == .absent { return "" }
    if let name = names[id] { return name }
    guard let constant = imported.graph.constants[id] else { throw .missingValue(node: reader) }
    guard var tensor = OnnxTensor(name: "", constant.tensor) else { throw .constantType(name: constant.name, type: constant.tensor.dtype.rawValue) }
    tensor.name = unique(constant.name)
    initializers.append(tensor)
    names[id] = tensor.name
    return tensor.name
  }

  private mutating func write(_ node: Node) throws(OnnxExportError) -> OnnxNode {
    guard case .generic(let op) = node.op else { throw .notCanonical(node: node.name, reason: "\(node.op.name) is no foreign operator") }
    var inputs: [String] = [], outputs: [String] = []
    for id in node.inputs { inputs.append(try value(id, node.name)) }
    while inputs.last == "" { inputs.removeLast() }
    for (i, id) in node.outputs.enumerated() {
      let name = names[id] ?? unique(node.outputs.count == 1 ? node.name : "\(node.name).\(i)")
      names[id] = name
      outputs.append(name)
    }
    let full = op.kind.name, microsoft = "com.microsoft."
    let domain = full.hasPrefix(microsoft) ? "com.microsoft" : ""
    return OnnxNode(name: node.name, operatorType: domain.isEmpty ? full : String(full.dropFirst(microsoft.count)), domain: domain, inputs: inputs, outputs: outputs,
                    attributes: try op.attributes.sorted { $0.key < $1.key }.map { key, value throws(OnnxExportError) in OnnxAttribute(name: key, value: try attribute(value, node.name)) })
  }

  private func attribute(_ value: GenericAttribute, _ node: String) throws(OnnxExportError) -> OnnxAttributeValue {
    switch value {
    case .int(let v): return .int(Int64(v))
    case .float(let v): return .float(v)
    case .string(let v): return .string(Array(v.utf8))
    case .ints(let v): return .ints(v.map(Int64.init))
    case .floats(let v): return .floats(v)
    case .strings(let v): return .strings(v.map { Array($0.utf8) })
    case .element(let dtype, let bits):
      let bytes = (0..<dtype.bitWidth / 8).map { UInt8(truncatingIfNeeded: bits >> UInt64(8 * $0)) }
      guard let type = OnnxDataType(dtype) else { throw .constantType(name: node, type: dtype.rawValue) }
      return .tensor(OnnxTensor(name: "value", dataType: type, dims: [1], content: .raw(OnnxBytes(bytes))))
    }
  }
}
