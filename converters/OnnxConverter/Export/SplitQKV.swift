// A joint layer for queries, keys and values as three layers: rows of one matrix, under its name with `.q`, `.k` and `.v` behind it. ONNX Runtime's optimizer
// recognises attention only behind three products (ANCHORS 4.5). What else reads the joint value keeps it as it is.

internal import DinoGraph
internal import DinoTensor

enum SplitQKV {
  static func run(_ graph: Graph) -> Graph {
    var result = graph
    var parts: [ValueID: [ValueID]] = [:]
    var nodes: [Node] = []
    for node in graph.nodes {
      if let split = split(node, graph, &result) {
        parts[node.output] = split.map(\.output)
        nodes += split
      } else if let joint = node.inputs.first, node.inputs.count == 1, let three = parts[joint] {
        nodes.append(Node(op: node.op, inputs: three, output: node.output, name: node.name))
      } else {
        nodes.append(node)
      }
    }
    result.nodes = nodes
    return result
  }

  /// The three layers, where nothing but attention reads the joint one.
  private static func split(_ node: Node, _ graph: Graph, _ result: inout Graph) -> [Node]? {
    guard case .core(.linear(let e)) = node.op, e.activation == nil, !e.scale, !e.residual, !e.transposedWeight,
      let weight = graph.constants[node.inputs[1]], weight.tensor.shape[0] % 3 == 0,
      !graph.outputs.contains(where: { $0.value == node.output })
    else { return nil }
    let readers = graph.nodes.filter { $0.inputs.contains(node.output) }
    guard !readers.isEmpty, readers.allSatisfy(readsJointly) else { return nil }
    let rows = weight.tensor.shape[0] / 3
    var bias: Constant?
    if let i = e.biasIndex {
      guard let constant = graph.constants[node.inputs[i]] else { return nil }
      bias = constant
    }
    return ["q", "k", "v"].enumerated().map { i, letter in
      var inputs = [node.inputs[0], constant(weight, i, rows, letter, &result)]
      if let bias { inputs.append(constant(bias, i, rows, letter, &result)) }
      return Node(op: node.op, inputs: inputs, output: result.makeValue(), name: "\(node.name).\(letter)")
    }
  }

  private static func readsJointly(_ node: Node) -> Bool {
    guard node.inputs.count == 1, case .core(let op) = node.op else { return false }
    return switch op {
    case .attention, .attentionWeights: true
    default: false
    }
  }

  /// A third of a constant's rows: a view of the same bytes.
  private static func constant(_ whole: Constant, _ part: Int, _ rows: Int, _ letter: String, _ graph: inout Graph) -> ValueID {
    let t = whole.tensor, shape = Shape([rows] + t.shape.dims.dropFirst())
    let view = Tensor(dtype: t.dtype, shape: shape, storage: t.storage, byteOffset: t.byteOffset + part * t.byteCount / 3)!
    return graph.constant("\(whole.name).\(letter)", view)
  }
}
