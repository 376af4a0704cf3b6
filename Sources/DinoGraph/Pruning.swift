// Keeps what the asked-for outputs need. Identifiers of values stay as they are.

extension Graph {
  /// The graph with only these outputs, in this order (a name given twice counts once): nodes and constants that none of them
  /// needs are gone. Inputs stay, used or not, so that callers' input dictionaries fit every pruned form.
  /// - Throws: `GraphError.unknownOutput`.
  public func pruned(outputs names: [String]) throws(GraphError) -> Graph {
    var kept: [GraphOutput] = []
    for name in names where !kept.contains(where: { $0.name == name }) {
      guard let output = outputs.first(where: { $0.name == name }) else { throw .unknownOutput(name: name, known: outputs.map(\.name)) }
      kept.append(output)
    }
    var result = self
    result.outputs = kept
    result.removeDeadValues()
    return result
  }

  /// Removes nodes and constants that no output needs.
  mutating func removeDeadValues() {
    var needed = Set(outputs.map(\.value))
    var live: [Node] = []
    for node in nodes.reversed() where node.outputs.contains(where: needed.contains) {
      needed.formUnion(node.inputs)
      live.append(node)
    }
    nodes = live.reversed()
    constants = constants.filter { needed.contains($0.key) }
  }
}

extension Graph {
  /// The graph without nodes and constants that no output needs.
  public func withoutDeadValues() -> Graph {
    var result = self
    result.removeDeadValues()
    return result
  }
}
