// The graph as a file with quantized activations computes it: products of integers in place of float ones, with all layers or with some. What a layer's rounding costs can be
// measured with it before anything is written.

public import DinoGraph
internal import DinoTensor

public struct RoundedGraphs: Sendable {
  /// With the file's weights and float activations.
  private let stored: Graph
  /// The integer form of each linear layer that can have it, by its node's position.
  private let integers: [Int: Node]
  private let graph: Graph
  /// The values that can be rounded, in the order of the network, and the names of the layers that read them.
  public let values: [(value: ValueID, layers: [String])]

  /// - Parameter options: with quantized activations.
  public init(_ original: Graph, options: OnnxExportOptions) throws(OnnxExportError) {
    stored = try OnnxExporter.asStored(original, options: options)
    var graph = stored, integers: [Int: Node] = [:], values: [(value: ValueID, layers: [String])] = []
    for (i, node) in original.nodes.enumerated() {
      guard case .core(.linear(var epilogue)) = node.op, let form = OnnxExporter.form(of: node, options), let constant = original.constants[node.inputs[1]] else { continue }
      switch form {
      case .weights: continue
      case .dynamic: epilogue.integers = .dynamic
      case .calibrated(let ranges):
        let steps = ActivationSteps(ranges[node.inputs[0]]!)
        epilogue.integers = .fixed(RoundingSteps(scale: steps.scale, zero: Int(steps.zero), lower: 0, upper: 255))
      }
      guard let rows = Int8Rows(constant.tensor, outAxis: epilogue.outAxis) else { throw .weightNotFinite(name: constant.name) }
      let weight = graph.constant(constant.name, Tensor.copy(epilogue.outAxis == 0 ? rows.values : rows.transposedValues(), dtype: .i8, shape: constant.tensor.shape))
      let scale = graph.constant(constant.name + "_scale", Tensor(rows.scales, shape: [rows.rows]))
      let zero = graph.constant(constant.name + "_zero", Tensor([Float](repeating: 0, count: rows.rows), shape: [rows.rows]))
      integers[i] = Node(op: .core(.linear(epilogue)), inputs: [node.inputs[0], weight, scale, zero] + node.inputs.dropFirst(2), output: node.output, name: node.name)
      if let known = values.firstIndex(where: { $0.value == node.inputs[0] }) { values[known].layers.append(node.name) } else { values.append((node.inputs[0], [node.name])) }
    }
    (self.graph, self.integers, self.values) = (graph, integers, values)
  }

  /// The graph with these values rounded and no others.
  public func graph(rounding: Set<ValueID>) -> Graph {
    var result = graph
    for (i, node) in integers where rounding.contains(node.inputs[0]) { result.nodes[i] = node }
    return result.withoutDeadValues()
  }
}
