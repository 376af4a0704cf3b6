// Reverse-mode differentiation as a pass over Core: appends the backward operators of one scalar to the graph that computes it. It computes
// nothing, and it stores nothing new: what is cheap to have again (norms, activations) is computed again beside its use, so that a plan need not keep it.

public import DinoTensor

/// Why a gradient cannot be had.
public enum DifferentiationError: Error, Sendable, Equatable, CustomStringConvertible {
  case notDifferentiable(node: String, op: String)
  case independent(value: String)
  public var description: String {
    switch self {
    case .notDifferentiable(let node, let op): "The node '\(node)' (\(op)) has no gradient here."
    case .independent(let value): "The loss does not depend on '\(value)'."
    }
  }
}

extension Graph {
  /// The derivative of `loss` by each of `parameters`: values appended to this graph.
  /// - Parameter seed: a value of the shape of `loss`: the derivatives are those of Σ seed · loss. Constant 1 for a loss of shape [1].
  /// - Parameter shapes: of the values, where they are known: sums that change nothing are then left out.
  public mutating func differentiate(_ loss: ValueID, by parameters: [ValueID], seed: ValueID, shapes: [ValueID: Shape] = [:]) throws(DifferentiationError) -> [ValueID: ValueID] {
    var pass = Differentiation(graph: self, parameters: parameters, shapes: shapes)
    try pass.run(from: loss, seed: seed)
    for id in parameters where pass.gradients[id] == nil { throw .independent(value: constants[id]?.name ?? "%\(id.index)") }
    self = pass.graph
    return pass.gradients.filter { parameters.contains($0.key) }
  }
}

private struct Differentiation {
  var graph: Graph
  var gradients: [ValueID: ValueID] = [:]
  /// Values that depend on a parameter.
  private var active: Set<ValueID>
  private let forward: [Node]
  private var producer: [ValueID: Int] = [:]
  private var again: [ValueID: ValueID] = [:]
  private let shapes: [ValueID: Shape]

  init(graph: Graph, parameters: [ValueID], shapes: [ValueID: Shape]) {
    self.graph = graph
    self.shapes = shapes
    forward = graph.nodes
    active = Set(parameters)
    for (i, node) in forward.enumerated() {
      producer[node.output] = i
      if node.inputs.contains(where: { active.contains($0) }) { active.insert(node.output) }
    }
  }

  mutating func run(from loss: ValueID, seed: ValueID) throws(DifferentiationError) {
    gradients[loss] = seed
    for node in forward.reversed() {
      guard active.contains(node.output), let dy = gradients[node.output] else { continue }
      guard case .core(let op) = node.op else { throw .notDifferentiable(node: node.name, op: node.op.text) }
      try backward(node, op, dy)
    }
  }

  private mutating func emit(_ op: Core, _ inputs: [ValueID], _ node: Node, _ what: String) -> ValueID {
    graph.core(op, inputs, name: "\(node.name).grad.\(what)")
  }

  /// Adds a term to an operand's derivative; `make` is only called where somebody wants it.
  private mutating func add(_ node: Node, _ operand: Int, _ what: String, _ op: Core, _ inputs: [ValueID]) {
    add(node, operand, what) { pass in pass.emit(op, inputs, node, what) }
  }

  private mutating func add(_ node: Node, _ operand: Int, _ what: String, _ make: (inout Differentiation) -> ValueID) {
    let id = node.inputs[operand]
    guard active.contains(id) else { return }
    let term = make(&self)
    if let sum = gradients[id] {
      gradients[id] = graph.core(.add, [sum, term], name: "\(node.name).grad.\(what).sum")
    } else {
      gradients[id] = term
    }
  }

  /// dy summed to the shape of the operand that was broadcast.
  private mutating func summed(_ dy: ValueID, _ result: ValueID, to like: ValueID, _ node: Node, _ what: String) -> ValueID {
    if let s = shapes[result], s == shapes[like] { return dy }
    return emit(.training(.sumTo), [dy, like], node, what)
  }

  /// An operand as the backward part reads it: norms and activations are computed again there.
  private mutating func recomputed(_ id: ValueID) -> ValueID {
    if let known = again[id] { return known }
    guard let i = producer[id] else { return id }
    switch forward[i].op {
    case .core(.layerNorm), .core(.activation), .core(.gate): break
    default: return id
    }
    guard case .core(let op) = forward[i].op else { return id }
    let copy = graph.core(op, forward[i].inputs, name: "\(forward[i].name).again")
    again[id] = copy
    return copy
  }

  private mutating func backward(_ node: Node, _ op: Core, _ dy: ValueID) throws(DifferentiationError) {
    let x = node.inputs[0]
    func t(_ op: TrainingOperator) -> Core { .training(op) }
    switch op {
    case .patchEmbedding(let patch):
      guard !active.contains(x) else { throw .notDifferentiable(node: node.name, op: "by its image, \(node.op.text)") }
      add(node, 1, "weight", t(.patchWeightGradient(patch: patch)), [dy, x])
      add(node, 2, "bias", t(.sumTo), [dy, node.inputs[2]])
    case .positionEmbedding(let patch, let special, let rows, let columns, let resize):
      add(node, 0, "positions", t(.positionGradient(patch: patch, special: special, nativeRows: rows, nativeColumns: columns, resize: resize)), [dy, node.inputs[1]])
    case .prependTokens:
      guard let special = (shapes[x] ?? graph.constants[x]?.tensor.shape)?[1] else { throw .notDifferentiable(node: node.name, op: "of unknown length, \(node.op.text)") }
      add(node, 1, "x", .sliceTokens(start: special, count: nil), [dy])
      add(node, 0, "special") { pass in
        let own = pass.emit(.sliceTokens(start: 0, count: special), [dy], node, "own")
        return pass.emit(t(.sumTo), [own, x], node, "special")
      }
    case .add:
      for i in 0...1 { add(node, i, "term\(i)") { pass in pass.summed(dy, node.output, to: node.inputs[i], node, "term\(i)") } }
    case .multiply:
      for i in 0...1 {
        add(node, i, "factor\(i)") { pass in
          let product = pass.emit(.multiply, [dy, node.inputs[1 - i]], node, "product\(i)")
          return pass.summed(product, node.output, to: node.inputs[i], node, "factor\(i)")
        }
      }
    case .layerNorm(let epsilon):
      add(node, 1, "weight", t(.layerNormWeightGradient(epsilon: epsilon)), [dy, x])
      add(node, 2, "bias", t(.sumTo), [dy, node.inputs[2]])
      add(node, 0, "x", t(.layerNormGradient(epsilon: epsilon)), [dy, x, node.inputs[1]])
    case .linear(let e):
      guard e.activation == nil, !e.scale, !e.residual, e.integers == nil else { throw .notDifferentiable(node: node.name, op: node.op.text) }
      add(node, 1, "weight") { pass in
        let input = pass.recomputed(x)
        return pass.emit(t(.weightGradient), e.transposedWeight ? [input, dy] : [dy, input], node, "weight")
      }
      if e.bias { add(node, 2, "bias", t(.sumTo), [dy, node.inputs[2]]) }
      add(node, 0, "x", .linear(LinearEpilogue(bias: false, transposedWeight: !e.transposedWeight)), [dy, node.inputs[1]])
    case .activation(let f): add(node, 0, "x", t(.activationGradient(f)), [dy, x])
    case .gate(let f): add(node, 0, "x", t(.gateGradient(f)), [dy, x])
    case .attention(let heads, let scale, _):
      guard node.inputs.count == 1 else { throw .notDifferentiable(node: node.name, op: node.op.text) }
      add(node, 0, "qkv", t(.attentionGradient(heads: heads, scale: scale)), [dy, x])
    case .selectToken(let index): add(node, 0, "x", t(.placeTokens(start: index)), [dy, x])
    case .sliceTokens(let start, _): add(node, 0, "x", t(.placeTokens(start: start)), [dy, x])
    case .meanTokens: add(node, 0, "x", t(.spreadTokens), [dy, x])
    case .l2Normalize(let epsilon): add(node, 0, "x", t(.l2NormalizeGradient(epsilon: epsilon)), [dy, x])
    case .weightNorm:
      add(node, 0, "v", t(.weightNormGradient), [dy, x, node.inputs[1]])
      add(node, 1, "g", t(.weightNormScaleGradient), [dy, x])
    case .softmax: add(node, 0, "x", t(.softmaxGradient), [dy, node.output])
    case .training(let op): try backward(node, op, dy)
    case .rotary(let columns, let transposed):
      guard !active.contains(node.inputs[1]), !active.contains(node.inputs[2]) else { throw .notDifferentiable(node: node.name, op: "by its angles, \(node.op.text)") }
      add(node, 0, "x", .rotary(columns: columns, transposed: !transposed), [dy, node.inputs[1], node.inputs[2]])
    case .attentionWeights, .rotaryAngles, .round: throw .notDifferentiable(node: node.name, op: node.op.text)
    }
  }

  private mutating func backward(_ node: Node, _ op: TrainingOperator, _ dy: ValueID) throws(DifferentiationError) {
    switch op {
    case .softCrossEntropy:
      guard !active.contains(node.inputs[1]), !active.contains(node.inputs[2]) else { throw .notDifferentiable(node: node.name, op: "by its target, \(node.op.text)") }
      add(node, 0, "logits", .training(.softCrossEntropyGradient), [dy] + node.inputs)
    case .concatenateBatch:
      for i in node.inputs.indices { add(node, i, "part\(i)", .training(.splitBatch(part: i)), [dy] + node.inputs) }
    case .koleo(let groups): add(node, 0, "x", .training(.koleoGradient(groups: groups)), [dy, node.inputs[0]])
    case .cosineDistance:
      guard !active.contains(node.inputs[1]) else { throw .notDifferentiable(node: node.name, op: "by its second operand, \(node.op.text)") }
      add(node, 0, "a", .training(.cosineDistanceGradient), [dy] + node.inputs)
    case .gatherRows: add(node, 0, "x", .training(.scatterRows), [dy, node.inputs[1], node.inputs[0]])
    case .replaceRows:
      let token = node.inputs[2]
      guard let shape = shapes[token] ?? graph.constants[token]?.tensor.shape else { throw .notDifferentiable(node: node.name, op: "by a token of unknown width, \(node.op.text)") }
      add(node, 0, "x") { pass in
        let zeros = pass.graph.constant("\(node.name).zeros", Tensor([Float](repeating: 0, count: shape.count), shape: shape))
        return pass.emit(.training(.replaceRows), [dy, node.inputs[1], zeros], node, "x")
      }
      add(node, 2, "token") { pass in
        let own = pass.emit(.training(.gatherRows), [dy, node.inputs[1]], node, "own")
        return pass.emit(.training(.sumTo), [own, token], node, "token")
      }
    case .batchNorm(let epsilon):
      add(node, 1, "weight", .training(.batchNormWeightGradient(epsilon: epsilon)), [dy, node.inputs[0]])
      add(node, 2, "bias", .training(.sumTo), [dy, node.inputs[2]])
      add(node, 0, "x", .training(.batchNormGradient(epsilon: epsilon)), [dy, node.inputs[0], node.inputs[1]])
    default: throw .notDifferentiable(node: node.name, op: node.op.text)
    }
  }
}
