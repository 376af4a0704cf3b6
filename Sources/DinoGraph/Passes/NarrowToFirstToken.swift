// Where of a value only the first token is read (the class token), the operators that make it work on that token alone: of a network's last block the class token needs all keys and
// values, but one query, and one row of everything behind attention. Each row's arithmetic stays what it was.

/// `selectToken(0)(f(x))` ⇒ `selectToken(0)(f(x's first token))`, for all f that treat tokens apart, up to attention, which then has one query.
public struct NarrowToFirstToken: GraphPass {
  public let name = "narrow-to-first-token"
  public init() {}

  public func run(_ graph: Graph) -> Graph {
    let narrowed = Self.narrowed(graph)
    // Norms and sums alone are not worth a copy.
    let isWorthIt = narrowed.keys.contains { i in
      switch graph.nodes[i].op {
      case .core(.linear), .core(.attention): true
      default: false
      }
    }
    guard isWorthIt else { return graph }
    var result = graph
    result.nodes = []
    // What stays whole and is cut: as early as there is something narrow, so that the copies stand before attention and not between the layers behind it.
    let short = Set(narrowed.keys.map { graph.nodes[$0].output })
    var cuts: [(whole: ValueID, name: String)] = [], firsts: [ValueID: ValueID] = [:], known = Set(graph.inputs.map(\.value) + graph.constants.keys)
    for i in narrowed.keys.sorted() {
      for id in narrowed[i]!.map({ graph.nodes[i].inputs[$0] }) where !short.contains(id) && !cuts.contains(where: { $0.whole == id }) { cuts.append((id, graph.nodes[i].name)) }
    }
    for (i, node) in graph.nodes.enumerated() {
      var node = node
      if narrowed[i] != nil {
        for cut in cuts where firsts[cut.whole] == nil && known.contains(cut.whole) {
          firsts[cut.whole] = result.core(.sliceTokens(start: 0, count: 1), [cut.whole], name: "\(cut.name).first")
        }
      }
      known.formUnion(node.outputs)
      for position in narrowed[i] ?? [] { node.inputs[position] = firsts[node.inputs[position]] ?? node.inputs[position] }
      if narrowed[i] != nil, case .core(.attention(let heads, let scale, _)) = node.op { node.op = .core(.attention(heads: heads, scale: scale, queries: 1)) }
      result.nodes.append(node)
    }
    return result
  }

  /// The nodes of whose result only the first token is read, with the operands that have tokens and are to be cut to the first.
  private static func narrowed(_ graph: Graph) -> [Int: [Int]] {
    let shapes = ProbeShapes(graph)
    var uses: [ValueID: Int] = [:], ofFirst: [ValueID: Int] = [:], found: [Int: [Int]] = [:]
    for id in graph.outputs.map(\.value) + graph.nodes.flatMap(\.inputs) { uses[id, default: 0] += 1 }
    for (i, node) in graph.nodes.enumerated().reversed() {
      guard case .core(let op) = node.op else { continue }
      switch op {
      case .selectToken(index: 0), .sliceTokens(start: 0, count: 1): ofFirst[node.inputs[0], default: 0] += 1
      default:
        guard let all = uses[node.output], all == ofFirst[node.output], shapes.hasTokens(node.output), let operands = operands(op, node, shapes) else { continue }
        found[i] = operands
        for position in operands { ofFirst[node.inputs[position], default: 0] += 1 }
      }
    }
    return found
  }

  /// The operands of a node whose rows make the rows of its result one by one; nil where tokens are not apart.
  private static func operands(_ op: Core, _ node: Node, _ shapes: ProbeShapes) -> [Int]? {
    switch op {
    case .attention(_, _, queries: nil): return []
    // Integers that are found for each run depend on all rows.
    case .linear(let e): return e.integers == .dynamic ? nil : [0] + (e.residualIndex.map { [$0] } ?? [])
    case .layerNorm, .activation, .gate, .round, .l2Normalize, .softmax: return [0]
    case .add, .multiply:
      let rows = node.inputs.indices.filter { shapes.areEqual(node.inputs[$0], node.output) }
      return node.inputs.indices.allSatisfy { rows.contains($0) || shapes.isOneForAllTokens(node.inputs[$0]) } ? rows : nil
    default: return nil
    }
  }
}
