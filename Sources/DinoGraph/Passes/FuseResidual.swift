// linear → add of a value of the same shape becomes one linear whose epilogue adds it (the residual stream). Only where nothing else reads the
// value between them; a constant operand, or one that would be broadcast, is left to `add`.

/// `add(linear(x), y)`, in either order, y computed and of the same shape ⇒ `linear{residual}(x, y)`.
public struct FuseResidual: GraphPass {
  public let name = "fuse-residual"
  public init() {}

  public func run(_ graph: Graph) -> Graph {
    var fusion = LinearFusion(graph)
    let shapes = ProbeShapes(graph)
    for i in graph.nodes.indices {
      guard case .core(.add) = graph.nodes[i].op, graph.nodes[i].inputs.count == 2 else { continue }
      let operands = graph.nodes[i].inputs
      for (x, residual) in [(operands[0], operands[1]), (operands[1], operands[0])] {
        guard case (let position, var epilogue)? = fusion.linear(onlyFor: x), !epilogue.residual,
          graph.constants[residual] == nil, shapes.areEqual(x, residual)
        else { continue }
        epilogue.residual = true
        fusion.replace(consumer: i, linear: position, epilogue: epilogue, extraInput: residual)
        break
      }
    }
    return fusion.finished()
  }
}
