// linear → activation becomes one linear whose epilogue applies the activation. Only where nothing else reads the value between them, and
// where the epilogue has nothing that comes after an activation yet.

/// `activation(linear(x))` ⇒ `linear{activation}(x)`.
public struct FuseLinearActivation: GraphPass {
  public let name = "fuse-linear-activation"
  public init() {}

  public func run(_ graph: Graph) -> Graph {
    var fusion = LinearFusion(graph)
    for i in graph.nodes.indices {
      guard case .core(.activation(let function)) = graph.nodes[i].op, graph.nodes[i].inputs.count == 1,
        case (let position, var epilogue)? = fusion.linear(onlyFor: graph.nodes[i].inputs[0]),
        epilogue.activation == nil, !epilogue.scale, !epilogue.residual
      else { continue }
      epilogue.activation = function
      fusion.replace(consumer: i, linear: position, epilogue: epilogue, extraInput: nil)
    }
    return fusion.finished()
  }
}
