// The graph with its constants as a file holds them: rounded to the file's weight type, or to int8 and back. What such a file computes can be compared with this
// graph to rounding of arithmetic alone. Written as the exporter writes, so a difference between the two is a defect of one.

public import DinoGraph
internal import DinoTensor

extension OnnxExporter {
  /// - Throws: what writing would throw for the same constants.
  public static func asStored(_ graph: Graph, options: OnnxExportOptions) throws(OnnxExportError) -> Graph {
    var result = graph
    var axes: [ValueID: Int] = [:]
    for node in graph.nodes {
      if case .core(.linear(let e)) = node.op, isQuantized(node, options) { axes[node.inputs[1]] = e.outAxis }
    }
    for (id, constant) in graph.constants {
      let tensor = constant.tensor
      if let axis = axes[id] {
        guard let rows = Int8Rows(tensor, outAxis: axis) else { throw .weightNotFinite(name: constant.name) }
        result.constants[id]?.tensor = Tensor(axis == 0 ? rows.floats() : transposed(rows.floats(), rows: rows.rows), shape: tensor.shape)
      } else {
        guard tensor.dtype.convertsToFloat, let stored = try? tensor.converted(to: NodeWriter.storedType(tensor, options.weightType)) else {
          throw .constantType(name: constant.name, type: tensor.dtype.rawValue)
        }
        result.constants[id]?.tensor = stored
      }
    }
    return result
  }

  /// How a linear layer is written: nil is float.
  static func form(of node: Node, _ options: OnnxExportOptions) -> OnnxQuantization? {
    guard !options.floatNodes.contains(node.name), let quantization = options.quantization else { return nil }
    if case .calibrated(let ranges) = quantization, ranges[node.inputs[0]] == nil { return nil }
    return options.floatActivations.contains(node.inputs[0]) ? .weights : quantization
  }

  private static func isQuantized(_ node: Node, _ options: OnnxExportOptions) -> Bool { form(of: node, options) != nil }

  private static func transposed(_ values: [Float], rows: Int) -> [Float] {
    let columns = values.count / max(rows, 1)
    return (0..<values.count).map { values[$0 % rows * columns + $0 / rows] }
  }
}
