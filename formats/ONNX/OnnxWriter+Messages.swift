// Each message of onnx.proto from its Swift value: fields in the order of their numbers, defaults left out. The same value gives the same bytes.

extension WireWriter {
  mutating func model(_ model: OnnxModel) throws(OnnxError) {
    nonzero(1, model.irVersion)
    try text(2, model.producerName)
    try text(3, model.producerVersion)
    try text(4, model.domain)
    nonzero(5, model.modelVersion)
    try text(6, model.docString)
    try message(7) { (w) throws(OnnxError) in try w.graph(model.graph) }
    for set in model.operatorSets { try message(8) { (w) throws(OnnxError) in try w.operatorSet(set) } }
    try properties(14, model.metadata)
    for function in model.functions { try message(25) { (w) throws(OnnxError) in try w.function(function) } }
  }

  private mutating func operatorSet(_ set: OnnxOperatorSet) throws(OnnxError) {
    try text(1, set.domain)
    varint(2, set.version)
  }

  private mutating func properties(_ field: Int, _ properties: [OnnxProperty]) throws(OnnxError) {
    for property in properties {
      try message(field) { (w) throws(OnnxError) in
        try w.text(1, property.key)
        try w.text(2, property.value)
      }
    }
  }

  private mutating func graph(_ graph: OnnxGraph) throws(OnnxError) {
    for node in graph.nodes { try message(1) { (w) throws(OnnxError) in try w.node(node) } }
    try text(2, graph.name)
    for tensor in graph.initializers { try message(5) { (w) throws(OnnxError) in try w.tensor(tensor) } }
    try text(10, graph.docString)
    try valueInfos(11, graph.inputs)
    try valueInfos(12, graph.outputs)
    try valueInfos(13, graph.valueInfo)
    for annotation in graph.quantizationAnnotations {
      try message(14) { (w) throws(OnnxError) in
        try w.text(1, annotation.tensorName)
        try w.properties(2, annotation.parameters)
      }
    }
    for tensor in graph.sparseInitializers { try message(15) { (w) throws(OnnxError) in try w.sparseTensor(tensor) } }
    try properties(16, graph.metadata)
  }

  private mutating func node(_ node: OnnxNode) throws(OnnxError) {
    for name in node.inputs { try element(1, name) }
    for name in node.outputs { try element(2, name) }
    try text(3, node.name)
    try text(4, node.operatorType)
    for attribute in node.attributes { try message(5) { (w) throws(OnnxError) in try w.attribute(attribute) } }
    try text(6, node.docString)
    try text(7, node.domain)
    try text(8, node.overload)
    try properties(9, node.metadata)
  }

  private mutating func function(_ function: OnnxFunction) throws(OnnxError) {
    try text(1, function.name)
    for name in function.inputs { try element(4, name) }
    for name in function.outputs { try element(5, name) }
    for name in function.attributeNames { try element(6, name) }
    for node in function.nodes { try message(7) { (w) throws(OnnxError) in try w.node(node) } }
    try text(8, function.docString)
    for set in function.operatorSets { try message(9) { (w) throws(OnnxError) in try w.operatorSet(set) } }
    try text(10, function.domain)
    for attribute in function.attributeDefaults { try message(11) { (w) throws(OnnxError) in try w.attribute(attribute) } }
    try valueInfos(12, function.valueInfo)
    try text(13, function.overload)
    try properties(14, function.metadata)
  }

  private mutating func attribute(_ attribute: OnnxAttribute) throws(OnnxError) {
    try text(1, attribute.name)
    switch attribute.value {
    case .float(let value): float(2, value)
    case .int(let value): varint(3, value)
    case .string(let value): bytes(4, value)
    case .tensor(let value): try message(5) { (w) throws(OnnxError) in try w.tensor(value) }
    case .graph(let value): try message(6) { (w) throws(OnnxError) in try w.graph(value) }
    case .floats(let values): for value in values { float(7, value) }
    case .ints(let values): for value in values { varint(8, value) }
    case .strings(let values): for value in values { bytes(9, value) }
    case .tensors(let values): for value in values { try message(10) { (w) throws(OnnxError) in try w.tensor(value) } }
    case .graphs(let values): for value in values { try message(11) { (w) throws(OnnxError) in try w.graph(value) } }
    case .undefined, .type, .types, .sparseTensor, .sparseTensors, .reference: break
    }
    try text(13, attribute.docString)
    if case .type(let value) = attribute.value { try message(14) { (w) throws(OnnxError) in try w.type(value) } }
    if case .types(let values) = attribute.value {
      for value in values { try message(15) { (w) throws(OnnxError) in try w.type(value) } }
    }
    nonzero(20, Int64(attribute.value.kind.rawValue))
    if case .reference(let name, _) = attribute.value {
      if name.isEmpty { throw .cannotStore(reason: "attribute \(quoted(attribute.name)) refers to an attribute without a name") }
      try text(21, name)
    }
    if case .sparseTensor(let value) = attribute.value { try message(22) { (w) throws(OnnxError) in try w.sparseTensor(value) } }
    if case .sparseTensors(let values) = attribute.value {
      for value in values { try message(23) { (w) throws(OnnxError) in try w.sparseTensor(value) } }
    }
  }

  private mutating func tensor(_ tensor: OnnxTensor) throws(OnnxError) {
    for extent in tensor.dims { varint(1, extent) }
    nonzero(2, Int64(tensor.dataType.rawValue))
    switch tensor.content {
    case .floats(let values): packed(4, floats: values)
    // Negative numbers are written with all 64 bits, as protobuf has it.
    case .int32s(let values): packed(5, varints: values.map { UInt64(bitPattern: Int64($0)) })
    case .strings(let values): for value in values { bytes(6, value) }
    case .int64s(let values): packed(7, varints: values.map { UInt64(bitPattern: $0) })
    case .none, .raw, .doubles, .uint64s, .external: break
    case .conflicting: throw .cannotStore(reason: "tensor \(quoted(tensor.name)) has conflicting data")
    }
    try text(8, tensor.name)
    if case .raw(let value) = tensor.content { payload(9, value) }
    if case .doubles(let values) = tensor.content { packed(10, doubles: values) }
    if case .uint64s(let values) = tensor.content { packed(11, varints: values) }
    try text(12, tensor.docString)
    if case .external(let reference) = tensor.content {
      try properties(13, reference.entries)
      varint(14, 1)
    }
    try properties(16, tensor.metadata)
  }

  private mutating func sparseTensor(_ tensor: OnnxSparseTensor) throws(OnnxError) {
    try message(1) { (w) throws(OnnxError) in try w.tensor(tensor.values) }
    try message(2) { (w) throws(OnnxError) in try w.tensor(tensor.indices) }
    for extent in tensor.dims { varint(3, extent) }
  }

  private mutating func valueInfos(_ field: Int, _ infos: [OnnxValueInfo]) throws(OnnxError) {
    for info in infos {
      try message(field) { (w) throws(OnnxError) in
        try w.text(1, info.name)
        if let type = info.type { try w.message(2) { (w) throws(OnnxError) in try w.type(type) } }
        try w.text(3, info.docString)
        try w.properties(4, info.metadata)
      }
    }
  }

  private mutating func type(_ type: OnnxType) throws(OnnxError) {
    // The kinds' numbers lie on both sides of the denotation's (6).
    switch type.kind {
    case .tensor(let element, let shape): try message(1) { (w) throws(OnnxError) in try w.tensorType(element, shape) }
    case .sequence(let element): try elementType(4, field: 1, element)
    case .map(let key, let value):
      try message(5) { (w) throws(OnnxError) in
        w.nonzero(1, Int64(key.rawValue))
        if let value { try w.message(2) { (w) throws(OnnxError) in try w.type(value) } }
      }
    case .unknown, .sparseTensor, .optional: break
    }
    try text(6, type.denotation)
    if case .sparseTensor(let element, let shape) = type.kind { try message(8) { (w) throws(OnnxError) in try w.tensorType(element, shape) } }
    if case .optional(let element) = type.kind { try elementType(9, field: 1, element) }
  }

  private mutating func elementType(_ number: Int, field: Int, _ element: OnnxType?) throws(OnnxError) {
    try message(number) { (w) throws(OnnxError) in
      if let element { try w.message(field) { (w) throws(OnnxError) in try w.type(element) } }
    }
  }

  private mutating func tensorType(_ element: OnnxDataType, _ shape: [OnnxDimension]?) throws(OnnxError) {
    nonzero(1, Int64(element.rawValue))
    guard let shape else { return }
    try message(2) { (w) throws(OnnxError) in
      for dimension in shape { try w.message(1) { (w) throws(OnnxError) in try w.dimension(dimension) } }
    }
  }

  private mutating func dimension(_ dimension: OnnxDimension) throws(OnnxError) {
    switch dimension.value {
    case .unknown: break
    case .fixed(let extent): varint(1, extent)
    case .symbolic(let name): try element(2, name)
    }
    try text(3, dimension.denotation)
  }
}
