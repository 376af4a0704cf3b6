// Walks the nodes of a model in order and writes a graph: names become values, functions are unfolded, decided branches are taken, constants are folded. What a
// node means is not known here but for Constant, If and Shape.

internal import DinoGraph
internal import DinoOperators
internal import DinoTensor
internal import ONNXFormat

struct GraphWalker {
  /// Names that a node may read, and what each stands for.
  typealias Scope = [String: ValueID]

  let importer: OnnxImporter
  private(set) var graph = Graph()
  private(set) var facts: [ValueID: ValueFact] = [:]
  private var integers: [ValueID: ScaledIntegers] = [:]
  private var remaining = OnnxImporter.nodeLimit

  private var folding: Folding

  init(importer: OnnxImporter) {
    self.importer = importer
    folding = Folding(fileBytes: importer.weightBytes)
  }

  mutating func run(inputs: [OnnxInput], facts known: [String: ValueFact], outputs: [String]) throws(OnnxImportError) -> ImportedGraph {
    let model = importer.file.model
    var scope: Scope = [:]
    for input in inputs {
      guard let fact = known[input.name] else { continue }
      let dims = fact.shape.map { $0.dims.map(Dimension.fixed) } ?? input.dims ?? []
      let value = graph.input(input.name, dtype: input.dtype, dims: dims)
      facts[value] = fact
      if let tensor = fact.value { scope[input.name] = constant(input.name, tensor) } else { scope[input.name] = value }
    }
    let sets = Dictionary(model.operatorSets.map { (normalized($0.domain), $0.version) }, uniquingKeysWith: { first, _ in first })
    try walk(model.graph, outputs: outputs, scope: &scope, sets: sets, depth: 0)
    for name in outputs {
      guard let value = scope[name] else { throw .undefinedValue(name: name, reader: "the list of outputs") }
      graph.output(name, value)
    }
    return ImportedGraph(graph: graph, facts: facts, integers: integers)
  }

  // MARK: Graphs and scopes

  /// Walks what `outputs` need of a graph; its names come into `scope`.
  private mutating func walk(_ body: OnnxGraph, outputs: [String], scope: inout Scope, sets: [String: Int64], depth: Int) throws(OnnxImportError) {
    guard depth < 64 else { throw .recursion(function: body.name) }
    if let sparse = body.sparseInitializers.first { throw .unsupportedInput(name: sparse.values.name, reason: "is a sparse tensor, which is not read") }
    let nodes = NodeOrder.sorted(body.nodes), needed = Need(nodes: nodes, outputs: outputs)
    for tensor in body.initializers where needed.names.contains(tensor.name) {
      scope[tensor.name] = constant(tensor.name, try importer.tensor(tensor))
    }
    for (i, node) in nodes.enumerated() where needed.nodes[i] { try apply(node, scope: &scope, sets: sets, depth: depth) }
  }

  private mutating func constant(_ name: String, _ tensor: Tensor) -> ValueID {
    let value = graph.constant(name, tensor)
    facts[value] = ValueFact(tensor)
    return value
  }

  private mutating func apply(_ node: OnnxNode, scope: inout Scope, sets: [String: Int64], depth: Int) throws(OnnxImportError) {
    remaining -= 1
    guard remaining >= 0 else { throw .tooManyNodes(limit: OnnxImporter.nodeLimit) }
    let domain = normalized(node.domain), name = label(node)
    if let function = importer.functions[.init(domain: domain, name: node.operatorType, overload: node.overload)] {
      return try call(function, node, scope: &scope, depth: depth)
    }
    guard let version = sets[domain] ?? (domain == "com.microsoft" ? 1 : nil) else { throw .operatorSet(domain: node.domain, version: nil) }
    if domain.isEmpty {
      if node.operatorType == "Constant" { return try define(node, [constant(node.outputs.first ?? "", try AttributeReader(node, importer).constant())], &scope) }
      if node.operatorType == "If" { return try branch(node, scope: &scope, sets: sets, depth: depth) }
    }
    guard let kind = GenericKind(name: domain.isEmpty ? node.operatorType : domain + "." + node.operatorType) else {
      throw .unknownOperator(name: domain.isEmpty ? node.operatorType : domain + "." + node.operatorType, node: name)
    }
    let op = Generic(kind, version: Int(domain.isEmpty ? version : sets[""] ?? 17), attributes: try AttributeReader(node, importer).attributes())
    var operands: [ValueID] = []
    for input in node.inputs {
      if input.isEmpty {
        operands.append(.absent)
      } else {
        guard let value = scope[input] else { throw .undefinedValue(name: input, reader: name) }
        operands.append(value)
      }
    }
    try define(node, try emit(op, operands, node, name), &scope)
  }

  private func label(_ node: OnnxNode) -> String { node.name.isEmpty ? node.outputs.first { !$0.isEmpty } ?? node.operatorType : node.name }

  private func define(_ node: OnnxNode, _ values: [ValueID], _ scope: inout Scope) throws(OnnxImportError) {
    for (output, value) in zip(node.outputs, values) where !output.isEmpty {
      guard scope[output] == nil else { throw .definedTwice(name: output) }
      scope[output] = value
    }
  }

  // MARK: Operators

  /// Adds the node, or its results where they follow from what is known.
  private mutating func emit(_ op: Generic, _ operands: [ValueID], _ node: OnnxNode, _ name: String) throws(OnnxImportError) -> [ValueID] {
    let known = operands.map { $0 == .absent ? nil : facts[$0] }
    let count = max(node.outputs.count, 1)
    let results: [ValueFact]
    do {
      results = try op.infer(known, outputs: count)
      if let values = try folding.evaluate(op, known, results, outputs: count) {
        let ids = zip(node.outputs + Array(repeating: "", count: max(0, values.count - node.outputs.count)), values).map { constant($0, $1) }
        if case .quantization = op.kind, let source = ScaledIntegers(op, known.map { $0?.value }), let id = ids.first { integers[id] = source }
        return ids
      }
    } catch {
      throw .node(name: name, op: op.kind.name, error)
    }
    let values = graph.generic(op, operands, outputs: count, name: name)
    for (value, fact) in zip(values, results) { facts[value] = fact }
    return values
  }

  // MARK: Functions and branches

  private mutating func call(_ function: OnnxFunction, _ node: OnnxNode, scope: inout Scope, depth: Int) throws(OnnxImportError) {
    guard depth < 64 else { throw .recursion(function: function.name) }
    var inner: Scope = [:]
    // Those that the call leaves out are absent in the body too.
    for parameter in function.inputs { inner[parameter] = .absent }
    for (parameter, argument) in zip(function.inputs, node.inputs) where !argument.isEmpty {
      guard let value = scope[argument] else { throw .undefinedValue(name: argument, reader: label(node)) }
      inner[parameter] = value
    }
    var attributes = Dictionary(function.attributeDefaults.map { ($0.name, $0.value) }, uniquingKeysWith: { first, _ in first })
    for attribute in node.attributes { attributes[attribute.name] = attribute.value }
    let sets = Dictionary(function.operatorSets.map { (normalized($0.domain), $0.version) }, uniquingKeysWith: { first, _ in first })
    let prefix = label(node)
    for var body in function.nodes {
      body.substitute(attributes)
      if body.name.isEmpty { body.name = "\(prefix)/\(body.operatorType)" } else { body.name = "\(prefix)/\(body.name)" }
      try apply(body, scope: &inner, sets: sets, depth: depth + 1)
    }
    var results: [ValueID] = []
    for (i, output) in function.outputs.enumerated() where i < node.outputs.count {
      guard let value = inner[output], value != .absent else {
        if node.outputs[i].isEmpty { results.append(.absent); continue }
        throw .undefinedValue(name: output, reader: function.name)
      }
      results.append(value)
    }
    try define(node, results, &scope)
  }

  private mutating func branch(_ node: OnnxNode, scope: inout Scope, sets: [String: Int64], depth: Int) throws(OnnxImportError) {
    guard let input = node.inputs.first, let condition = scope[input] else { throw .undefinedValue(name: node.inputs.first ?? "", reader: label(node)) }
    guard let value = facts[condition]?.value, value.dtype == .bool, value.count == 1, let chosen = value.integers()?.first else { throw .openCondition(node: label(node)) }
    let which = chosen != 0 ? "then_branch" : "else_branch"
    guard case .graph(let body)? = node.attribute(which) else { throw .attribute(node: label(node), op: "If", attribute: which, reason: "is not there") }
    var inner = scope
    // Names of a branch may hide those outside, so they are not «defined twice».
    for name in body.nodes.flatMap(\.outputs) { inner[name] = nil }
    try walk(body, outputs: body.outputs.map(\.name), scope: &inner, sets: sets, depth: depth + 1)
    var results: [ValueID] = []
    for output in body.outputs {
      guard let value = inner[output.name], value != .absent else { throw .undefinedValue(name: output.name, reader: label(node)) }
      results.append(value)
    }
    try define(node, results, &scope)
  }
}

extension OnnxNode {
  /// In the body of a function: attributes that stand for the call's are replaced; those that the call does not give are left out.
  mutating func substitute(_ given: [String: OnnxAttributeValue]) {
    attributes = attributes.compactMap { attribute in
      guard case .reference(let name, _) = attribute.value else {
        var copy = attribute
        copy.value = copy.value.substituting(given)
        return copy
      }
      guard let value = given[name] else { return nil }
      return OnnxAttribute(name: attribute.name, value: value)
    }
  }
}

extension OnnxAttributeValue {
  fileprivate func substituting(_ given: [String: OnnxAttributeValue]) -> OnnxAttributeValue {
    guard case .graph(var graph) = self else { return self }
    for i in graph.nodes.indices { graph.nodes[i].substitute(given) }
    return .graph(graph)
  }
}
