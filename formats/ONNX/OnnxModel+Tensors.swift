// A walk over all the tensors of a model: initializers, attributes, branches, functions. Not generic over the error: Swift 6.3 cannot compile such a
// walk, specialised for closures that throw nothing, with optimisation (it breaks on `swifterror`).

extension OnnxModel {
  /// All tensors: those of nodes and branches, then the initializers, for each graph; then those of the functions. Bytes are shared.
  public var tensors: [OnnxTensor] {
    var found: [OnnxTensor] = []
    graph.collectTensors(into: &found)
    for function in functions {
      for node in function.nodes { node.collectTensors(into: &found) }
      for attribute in function.attributeDefaults { attribute.value.collectTensors(into: &found) }
    }
    return found
  }

  /// The model with each tensor replaced by what `body` makes of it, in the order of `tensors`.
  public func mapTensors(_ body: (OnnxTensor) throws(OnnxError) -> OnnxTensor) throws(OnnxError) -> OnnxModel {
    var model = self
    try model.graph.replaceTensors(body)
    for i in model.functions.indices {
      for j in model.functions[i].nodes.indices { try model.functions[i].nodes[j].replaceTensors(body) }
      for j in model.functions[i].attributeDefaults.indices { try model.functions[i].attributeDefaults[j].value.replaceTensors(body) }
    }
    return model
  }
}

extension OnnxGraph {
  func collectTensors(into found: inout [OnnxTensor]) {
    for node in nodes { node.collectTensors(into: &found) }
    found += initializers
    for tensor in sparseInitializers { found += [tensor.values, tensor.indices] }
  }

  mutating func replaceTensors(_ body: (OnnxTensor) throws(OnnxError) -> OnnxTensor) throws(OnnxError) {
    for i in nodes.indices { try nodes[i].replaceTensors(body) }
    for i in initializers.indices { initializers[i] = try body(initializers[i]) }
    for i in sparseInitializers.indices { try sparseInitializers[i].replaceTensors(body) }
  }
}

extension OnnxNode {
  func collectTensors(into found: inout [OnnxTensor]) {
    for attribute in attributes { attribute.value.collectTensors(into: &found) }
  }

  mutating func replaceTensors(_ body: (OnnxTensor) throws(OnnxError) -> OnnxTensor) throws(OnnxError) {
    for i in attributes.indices where attributes[i].value.holdsTensors { try attributes[i].value.replaceTensors(body) }
  }
}

extension OnnxSparseTensor {
  mutating func replaceTensors(_ body: (OnnxTensor) throws(OnnxError) -> OnnxTensor) throws(OnnxError) {
    values = try body(values)
    indices = try body(indices)
  }
}

extension OnnxAttributeValue {
  var holdsTensors: Bool {
    switch self {
    case .tensor, .tensors, .graph, .graphs, .sparseTensor, .sparseTensors: true
    case .undefined, .float, .int, .string, .type, .floats, .ints, .strings, .types, .reference: false
    }
  }

  func collectTensors(into found: inout [OnnxTensor]) {
    switch self {
    case .tensor(let tensor): found.append(tensor)
    case .tensors(let tensors): found += tensors
    case .graph(let graph): graph.collectTensors(into: &found)
    case .graphs(let graphs): for graph in graphs { graph.collectTensors(into: &found) }
    case .sparseTensor(let tensor): found += [tensor.values, tensor.indices]
    case .sparseTensors(let tensors): for tensor in tensors { found += [tensor.values, tensor.indices] }
    case .undefined, .float, .int, .string, .type, .floats, .ints, .strings, .types, .reference: break
    }
  }

  mutating func replaceTensors(_ body: (OnnxTensor) throws(OnnxError) -> OnnxTensor) throws(OnnxError) {
    switch self {
    case .tensor(let tensor): self = .tensor(try body(tensor))
    case .tensors(var tensors):
      for i in tensors.indices { tensors[i] = try body(tensors[i]) }
      self = .tensors(tensors)
    case .graph(var graph):
      try graph.replaceTensors(body)
      self = .graph(graph)
    case .graphs(var graphs):
      for i in graphs.indices { try graphs[i].replaceTensors(body) }
      self = .graphs(graphs)
    case .sparseTensor(var tensor):
      try tensor.replaceTensors(body)
      self = .sparseTensor(tensor)
    case .sparseTensors(var tensors):
      for i in tensors.indices { try tensors[i].replaceTensors(body) }
      self = .sparseTensors(tensors)
    case .undefined, .float, .int, .string, .type, .floats, .ints, .strings, .types, .reference: break
    }
  }
}
