// linear → activation becomes one linear whose epilogue applies the activation. Only where nothing else reads the value between them, and
// where the epilogue has nothing that comes after an activation yet. Products of integers with given steps stay apart: their kernels' activations are as exact as steps of
// our own choice need (7e-5), and what follows here is often rounded to a file's steps, where that much is a step more or less.

/// `activation(linear(x))` ⇒ `linear{activation}(x)`.
public struct FuseLinearActivation: GraphPass {
  public let name = "fuse-linear-activation"
  public init() {}

  public func run(_ graph: Graph) -> Graph {
    var fusion = LinearFusion(graph)
    for i in graph.nodes.indices {
      guard case .core(.activation(let function)) = graph.nodes[i].op, graph.nodes[i].inputs.count == 1,
        case (let position, var epilogue)? = fusion.linear(onlyFor: graph.nodes[i].inputs[0]),
        epilogue.activation == nil, !epilogue.scale, !epilogue.residual, epilogue.integers == nil
      else { continue }
      epilogue.activation = function
      fusion.replace(consumer: i, linear: position, epilogue: epilogue, extraInput: nil)
    }
    return fusion.finished()
  }
}
