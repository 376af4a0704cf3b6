// How much arithmetic a graph is, for figures like GFLOP and share of peak. Products only, as is usual in the field: a multiply-add counts 2;
// elementwise work, norms and softmax count 0.

public import DinoTensor

extension Graph {
  /// Floating-point operations of each node, in the order of `nodes`; saturating.
  /// - Parameter shapes: what `inferShapes` gave for this graph.
  public func flops(shapes: [ValueID: Shape]) -> [Int] {
    nodes.map { node in
      let operands = node.inputs.compactMap { shapes[$0] }
      guard operands.count == node.inputs.count, let result = shapes[node.output] else { return 0 }
      switch node.op {
      case .core(let op): return op.flops(operands, result)
      case .generic(let op): return op.flops(operands, result)
      }
    }
  }

  /// The sum over all nodes; saturating.
  public func totalFlops(shapes: [ValueID: Shape]) -> Int {
    flops(shapes: shapes).reduce(0) { sum, n in
      let (s, overflow) = sum.addingReportingOverflow(n)
      return overflow ? .max : s
    }
  }
}

extension Core {
  fileprivate func flops(_ inputs: [Shape], _ result: Shape) -> Int {
    switch self {
    case .patchEmbedding: return product([2] + result.dims + inputs[1].dims.dropFirst())
    case .linear: return product([2] + result.dims + [inputs[0][-1]])
    case .attention: // q·kᵀ and ·v
      return product([4] + result.dims + [inputs[0][1]])
    case .attentionWeights(let heads, _, let firstRowOnly):
      let x = inputs[0], width = inputs.count == 1 ? x[2] / 3 : x[2]
      return product([2, x[0], firstRowOnly ? 1 : x[1], x[1], width / heads, heads])
    case .rotary, .rotaryAngles, .positionEmbedding, .prependTokens, .add, .multiply, .layerNorm, .activation, .gate, .round, .selectToken, .sliceTokens, .meanTokens,
      .l2Normalize, .weightNorm, .softmax:
      return 0
    case .training(let op): return op.flops(inputs, result)
    }
  }
}

extension Generic {
  /// Of the common products only; what else a file may hold counts 0.
  fileprivate func flops(_ inputs: [Shape], _ result: Shape) -> Int {
    switch kind {
    case .product(.matMul), .product(.matMulInteger), .product(.fusedMatMul), .product(.gemm):
      return inputs[0].isScalar ? 0 : product([2] + result.dims + [inputs[0][int("transA") == 1 ? 0 : -1]])
    case .convolution(.conv), .convolution(.convInteger), .convolution(.fusedConv):
      return inputs.count < 2 ? 0 : product([2] + result.dims + inputs[1].dims.dropFirst())
    default: return 0
    }
  }
}

private func product(_ factors: [Int]) -> Int {
  factors.reduce(1) { p, n in
    let (q, overflow) = p.multipliedReportingOverflow(by: n)
    return overflow ? .max : q
  }
}
