// linear → multiply by a constant [K] becomes one linear whose epilogue scales its columns (LayerScale). Only where nothing else
// reads the value between them, and where no residual is added before.

internal import DinoTensor

/// `multiply(linear(x), constant [K])`, in either order ⇒ `linear{scale}(x)`.
public struct FuseLayerScale: GraphPass {
  public let name = "fuse-layer-scale"
  public init() {}

  public func run(_ graph: Graph) -> Graph {
    var fusion = LinearFusion(graph)
    let shapes = ProbeShapes(graph)
    for i in graph.nodes.indices {
      guard case .core(.multiply) = graph.nodes[i].op, graph.nodes[i].inputs.count == 2 else { continue }
      let operands = graph.nodes[i].inputs
      for (x, factor) in [(operands[0], operands[1]), (operands[1], operands[0])] {
        guard case (let position, var epilogue)? = fusion.linear(onlyFor: x), !epilogue.scale, !epilogue.residual,
          let constant = graph.constants[factor], let columns = shapes.lastExtent(x), constant.tensor.shape == [columns]
        else { continue }
        epilogue.scale = true
        fusion.replace(consumer: i, linear: position, epilogue: epilogue, extraInput: factor)
        break
      }
    }
    return fusion.finished()
  }
}
