// A walk over all the tensors of a model: initializers, attributes, branches, functions. In the order of the file's fields.

extension OnnxModel {
  /// Calls `body` with each tensor.
  public func forEachTensor<E: Error>(_ body: (OnnxTensor) throws(E) -> Void) throws(E) {
    _ = try mapTensors { (tensor) throws(E) in
      try body(tensor)
      return tensor
    }
  }

  /// The model with each tensor replaced by what `body` makes of it.
  public func mapTensors<E: Error>(_ body: (OnnxTensor) throws(E) -> OnnxTensor) throws(E) -> OnnxModel {
    var model = self
    try model.graph.replaceTensors(body)
    for i in model.functions.indices {
      try model.functions[i].nodes.replaceTensors(body)
      for j in model.functions[i].attributeDefaults.indices { try model.functions[i].attributeDefaults[j].value.replaceTensors(body) }
    }
    return model
  }
}

extension OnnxGraph {
  mutating func replaceTensors<E: Error>(_ body: (OnnxTensor) throws(E) -> OnnxTensor) throws(E) {
    try nodes.replaceTensors(body)
    for i in initializers.indices { initializers[i] = try body(initializers[i]) }
    for i in sparseInitializers.indices { try sparseInitializers[i].replaceTensors(body) }
  }
}

extension [OnnxNode] {
  mutating func replaceTensors<E: Error>(_ body: (OnnxTensor) throws(E) -> OnnxTensor) throws(E) {
    for i in indices {
      for j in self[i].attributes.indices where self[i].attributes[j].value.holdsTensors {
        try self[i].attributes[j].value.replaceTensors(body)
      }
    }
  }
}

extension OnnxSparseTensor {
  mutating func replaceTensors<E: Error>(_ body: (OnnxTensor) throws(E) -> OnnxTensor) throws(E) {
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

  mutating func replaceTensors<E: Error>(_ body: (OnnxTensor) throws(E) -> OnnxTensor) throws(E) {
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
