// Checks that a graph is well formed, whoever made it. It looks at structure only; shapes are ShapeInference's business.

internal import DinoTensor

extension Graph {
  /// Checks identifiers, order, arity, single producers, names, element types and outputs. Unused values are allowed.
  /// - Throws: the first `GraphError` found, in a fixed order.
  public func verify() throws(GraphError) {
    var defined: Set<ValueID> = []
    // Core operators compute with floats; foreign ones say themselves what they read.
    let foreign = Set(nodes.flatMap { node -> [ValueID] in if case .generic = node.op { node.inputs } else { [] } })
    try define(inputs.map { ($0.value, $0.name, $0.dtype) }, into: &defined, anyType: foreign)
    let sorted = constants.sorted { $0.key < $1.key }
    try define(sorted.map { ($0.key, $0.value.name, $0.value.tensor.dtype) }, into: &defined, anyType: foreign)
    for node in nodes {
      try verify(node, after: defined)
      defined.formUnion(node.outputs)
    }
    try verifyUnique(inputs.map(\.name), kind: "input")
    try verifyUnique(outputs.map(\.name), kind: "output")
    for output in outputs where !defined.contains(output.value) {
      throw .undefinedValue(reader: output.name, value: output.value.index)
    }
  }

  private func define(_ values: [(id: ValueID, name: String, dtype: DType)], into defined: inout Set<ValueID>, anyType: Set<ValueID>) throws(GraphError) {
    for (id, name, dtype) in values {
      try verifyRange(id, owner: name)
      guard defined.insert(id).inserted else { throw .producedTwice(value: id.index, by: name) }
      guard dtype.convertsToFloat || anyType.contains(id) else { throw .dtype(name: name, found: dtype) }
    }
  }

  private func verify(_ node: Node, after defined: Set<ValueID>) throws(GraphError) {
    if let arities = node.op.arities {
      guard arities.contains(node.inputs.count), node.outputs.count == 1 else {
        throw .arity(node: node.name, op: node.op.text, expected: arities.map(String.init).joined(separator: " or "), found: node.inputs.count)
      }
    }
    for id in node.inputs {
      if id == .absent, case .generic = node.op { continue }
      try verifyRange(id, owner: node.name)
      guard defined.contains(id) else { throw .undefinedValue(reader: node.name, value: id.index) }
    }
    for (i, id) in node.outputs.enumerated() {
      try verifyRange(id, owner: node.name)
      if defined.contains(id) || node.outputs[..<i].contains(id) { throw .producedTwice(value: id.index, by: node.name) }
    }
  }

  private func verifyRange(_ id: ValueID, owner: String) throws(GraphError) {
    guard id.index >= 0, id.index < valueCount else { throw .valueOutOfRange(owner: owner, value: id.index, count: valueCount) }
  }

  private func verifyUnique(_ names: [String], kind: String) throws(GraphError) {
    var seen: Set<String> = []
    for name in names where !seen.insert(name).inserted { throw .duplicateName(kind: kind, name: name) }
  }
}
