// Which nodes and names of a graph its wanted outputs need: what nobody reads is not looked at, so an operator that is not known does no harm there.

internal import ONNXFormat

struct Need {
  /// For each node, whether it is needed.
  private(set) var nodes: [Bool]
  /// All names that are read.
  private(set) var names: Set<String>

  init(nodes list: [OnnxNode], outputs: [String]) {
    nodes = Array(repeating: false, count: list.count)
    names = Set(outputs)
    for i in list.indices.reversed() where list[i].outputs.contains(where: { !$0.isEmpty && names.contains($0) }) {
      nodes[i] = true
      Self.collectReads(of: list[i], into: &names)
    }
  }

  /// The names that a node may read, its branches' included.
  static func collectReads(of node: OnnxNode, into names: inout Set<String>) {
    names.formUnion(node.inputs)
    for attribute in node.attributes { collect(attribute.value, into: &names) }
  }

  /// Names that branches may read from outside. More than these do no harm.
  private static func collect(_ value: OnnxAttributeValue, into names: inout Set<String>) {
    func add(_ graph: OnnxGraph) {
      for node in graph.nodes { collectReads(of: node, into: &names) }
      names.formUnion(graph.outputs.map(\.name))
    }
    switch value {
    case .graph(let graph): add(graph)
    case .graphs(let graphs): graphs.forEach(add)
    default: break
    }
  }
}
