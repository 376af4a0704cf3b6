// The outputs that DINO networks have by common names, looked for in a recognised graph: what leaves the last norm, its class token, and the softmax of the last attention. Registers and
// rotary positions change nothing here; a network that cannot become a checkpoint has them all the same.

public import DinoGraph
internal import DinoTensor

public enum OfficialOutputs {
  public static let names = ["cls", "tokens", "attention", "attention_cls"]

  /// The graph with these outputs and no others; names that are not official are outputs that it has. Nil where it is not seen to be a vision transformer.
  public static func graph(_ recognised: ImportedGraph, outputs wanted: [String]) -> Graph? {
    let official = wanted.filter { name in !recognised.graph.outputs.contains { $0.name == name } }
    var graph = recognised.graph
    guard let (attention, heads, scale) = lastAttention(graph), let tokens = tokens(&graph, recognised.facts, like: attention) else { return nil }
    for name in official {
      let value: ValueID
      switch name {
      case "tokens": value = tokens
      case "cls": value = graph.core(.selectToken(index: 0), [tokens], name: "cls")
      case "attention", "attention_cls":
        value = graph.core(.attentionWeights(heads: heads, scale: scale, firstRowOnly: name == "attention_cls"), attention.inputs, name: name)
      default: return nil
      }
      graph.output(name, value)
    }
    return try? graph.pruned(outputs: wanted)
  }

  private static func lastAttention(_ graph: Graph) -> (node: Node, heads: Int, scale: Double)? {
    for node in graph.nodes.reversed() { if case .core(.attention(let heads, let scale, _)) = node.op { return (node, heads, scale) } }
    return nil
  }

  /// What leaves the last norm, [B, T, D] as attention's result is; where the file takes the class token out first, the norm of all tokens.
  private static func tokens(_ graph: inout Graph, _ facts: [ValueID: ValueFact], like attention: Node) -> ValueID? {
    guard let shape = facts[attention.output]?.shape, let last = graph.nodes.last(where: { if case .core(.layerNorm) = $0.op { true } else { false } }), !leadsToAttention(last.output, graph)
    else { return nil }
    if facts[last.inputs[0]]?.shape == shape { return last.output }
    guard let taken = graph.nodes.first(where: { $0.output == last.inputs[0] }), case .core(let op) = taken.op, facts[taken.inputs[0]]?.shape == shape else { return nil }
    switch op {
    case .selectToken(index: 0), .sliceTokens(start: 0, count: _): return graph.core(last.core, [taken.inputs[0]] + last.inputs.dropFirst(), name: last.name + ".tokens")
    default: return nil
    }
  }

  /// Whether attention compares what is computed from a value: then a norm that gives it is a block's first, and the end of the network is not in the file.
  private static func leadsToAttention(_ value: ValueID, _ graph: Graph) -> Bool {
    var reached: Set<ValueID> = [value]
    for node in graph.nodes where node.inputs.contains(where: { reached.contains($0) }) {
      switch node.op {
      case .core(.attention), .core(.attentionWeights): return true
      default: reached.formUnion(node.outputs)
      }
    }
    return false
  }
}

extension Node {
  fileprivate var core: Core {
    guard case .core(let op) = op else { preconditionFailure("a foreign operator: \(name)") }
    return op
  }
}
