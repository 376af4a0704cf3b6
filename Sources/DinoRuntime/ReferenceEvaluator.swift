// Evaluates nodes and graphs with the plain twins: the oracle that plans are tested against, and how parts of a graph that do not depend
// on inputs are computed when a plan is made. Not for running networks.

public import DinoGraph
public import DinoTensor
import DinoKernels

/// Dense values with their shapes.
public struct ReferenceValue: Sendable {
  public var shape: Shape
  public var values: [Float]
  public init(shape: Shape, values: [Float]) {
    self.shape = shape
    self.values = values
  }
}

public enum ReferenceEvaluator {
  /// All asked-for outputs of a graph, in plain loops.
  public static func run(_ graph: Graph, inputs: [String: Tensor], outputs: [String]) throws(RuntimeError) -> [String: Tensor] {
    do {
      let pruned = try graph.pruned(outputs: outputs)
      let shapes = try pruned.inferShapes(inputs: inputs.mapValues(\.shape))
      var values: [ValueID: ReferenceValue] = [:]
      for (id, c) in pruned.constants { values[id] = ReferenceValue(shape: c.tensor.shape, values: c.tensor.floats()) }
      for input in pruned.inputs {
        if let t = inputs[input.name] { values[input.value] = ReferenceValue(shape: t.shape, values: t.floats()) }
      }
      for node in pruned.nodes {
        let operands = node.inputs.map { values[$0]! }
        values[node.output] = ReferenceValue(shape: shapes[node.output]!, values: evaluate(node.op, operands, shape: shapes[node.output]!))
      }
      var results: [String: Tensor] = [:]
      for output in pruned.outputs { results[output.name] = Tensor(values[output.value]!.values, shape: values[output.value]!.shape) }
      return results
    } catch {
      throw .graph(error)
    }
  }

  /// One operator on dense operands; `shape` is the result's, from shape inference.
  static func evaluate(_ op: Operator, _ operands: [ReferenceValue], shape: Shape) -> [Float] {
    let x = operands[0].values, xs = operands[0].shape
    switch op {
    case .core(let core):
      switch core {
      case .patchEmbedding(let patch):
        let rows = Reference.patches(x, batch: xs[0], channels: xs[1], height: xs[2], width: xs[3], patch: patch)
        return Reference.linear(rows, operands[1].values, rows: shape[0] * shape[1], inputs: xs[1] * patch * patch, outputs: shape[2],
                                bias: operands.count > 2 ? operands[2].values : nil)
      case .positionEmbedding(let patch, let special, let rows, let columns, let resize):
        return positions(x, width: shape[2], image: operands[1].shape, patch: patch, special: special, rows: rows, columns: columns, resize: resize)
      case .prependTokens:
        let s = xs[1] * xs[2], n = operands[1].shape[1] * xs[2]
        return (0..<shape[0]).flatMap { b in x[0..<s] + operands[1].values[b * n..<(b + 1) * n] }
      case .add: return Reference.broadcast(x, xs.dims, operands[1].values, operands[1].shape.dims, +)
      case .multiply: return Reference.broadcast(x, xs.dims, operands[1].values, operands[1].shape.dims, *)
      case .layerNorm(let epsilon):
        return Reference.layerNorm(x, weight: operands[1].values, bias: operands[2].values, epsilon: epsilon, columns: xs[-1])
      case .linear(let e):
        if e.integers != nil { return integerLinear(e, operands, shape) }
        let weight = e.transposedWeight ? Reference.transpose(operands[1].values, rows: xs[-1], columns: shape[-1]) : operands[1].values
        return Reference.linear(x, weight, rows: xs.count / xs[-1], inputs: xs[-1], outputs: shape[-1],
                                bias: e.biasIndex.map { operands[$0].values }, activation: e.activation.map(function),
                                scale: e.scaleIndex.map { operands[$0].values }, residual: e.residualIndex.map { operands[$0].values })
      case .activation(let a): return x.map(function(a))
      case .gate(let a): return Reference.gate(x, columns: shape[-1], function(a))
      case .round(let steps): return x.map { rounded($0, steps) }
      case .attention(let heads, let scale, let queries):
        let (q, k, v, width) = split(operands)
        return Reference.attention(q: q, k: k, v: v, batch: xs[0], tokens: xs[1], width: width, heads: heads, scale: scale, queries: queries)
      case .attentionWeights(let heads, let scale, let first):
        let (q, k, _, width) = split(operands)
        return Reference.attentionWeights(q: q, k: k, batch: xs[0], tokens: xs[1], width: width, heads: heads, scale: scale, queries: first ? 1 : nil)
      case .rotary(let columns, let transposed):
        return Reference.rotary(x, width: xs[2], columns: columns, transposed: transposed, cos: operands[1].values, sin: operands[2].values, tokens: xs[1])
      case .rotaryAngles(let patch, let special, let sine): return angles(x, image: operands[1].shape, patch: patch, special: special, sine: sine)
      case .selectToken(let index): return tokens(x, xs, index..<index + 1)
      case .sliceTokens(let start, let count): return tokens(x, xs, start..<start + (count ?? xs[1] - start))
      case .meanTokens:
        return (0..<xs[0]).flatMap { b in (0..<xs[2]).map { c in
          Float((0..<xs[1]).reduce(0.0) { $0 + Double(x[(b * xs[1] + $1) * xs[2] + c]) } / Double(xs[1]))
        } }
      case .l2Normalize(let epsilon): return Reference.l2Normalize(x, epsilon: epsilon, columns: xs[-1])
      case .weightNorm: return Reference.weightNorm(v: x, g: operands[1].values, columns: xs[-1])
      case .softmax: return Reference.softmax(x, columns: xs[-1])
      case .training(let op): return evaluate(op, operands, shape: shape)
      }
    case .generic: preconditionFailure("foreign operators have twins of their own: Generic.evaluate")
    }
  }

  private static func integerLinear(_ e: LinearEpilogue, _ operands: [ReferenceValue], _ shape: Shape) -> [Float] {
    let x = operands[0].values, k = shape[-1], depth = operands[0].shape[-1]
    let weight = e.transposedWeight ? Reference.transpose(operands[1].values, rows: depth, columns: k) : operands[1].values
    let steps: RoundingSteps
    switch e.integers {
    case .fixed(let fixed)?: steps = fixed
    default:
      let (scale, zero) = Reference.dynamicSteps(x.min() ?? 0, x.max() ?? 0)
      steps = RoundingSteps(scale: scale, zero: zero, lower: 0, upper: 255)
    }
    let scales = operands[2].values, zeros = operands[3].values
    let real = weight.enumerated().map { ($1 - zeros[$0 / depth]) * scales[$0 / depth] }
    return Reference.linear(x.map { rounded($0, steps) }, real, rows: x.count / depth, inputs: depth, outputs: k, bias: e.biasIndex.map { operands[$0].values },
                            activation: e.activation.map(function), scale: e.scaleIndex.map { operands[$0].values }, residual: e.residualIndex.map { operands[$0].values })
  }

  private static func rounded(_ x: Float, _ s: RoundingSteps) -> Float { Reference.rounded(x, scale: s.scale, zero: s.zero, lower: s.lower, upper: s.upper) }

  static func function(_ a: Activation) -> (Float) -> Float {
    switch a {
    case .gelu: Reference.gelu
    case .geluTanh: Reference.geluTanh
    case .relu: Reference.relu
    case .silu: Reference.silu
    }
  }

  /// Positions for this image: the special ones, then the native grid resampled to the image's.
  static func positions(_ values: [Float], width: Int, image: Shape, patch: Int, special: Int, rows: Int, columns: Int, resize: PositionResize) -> [Float] {
    let grid = Array(values[(special * width)...])
    guard let resampling = PositionResampling(nativeRows: rows, nativeColumns: columns, height: image[2], width: image[3], patch: patch, resize: resize)
    else { return values }
    return values[..<(special * width)] + resampling.apply(grid, nativeColumns: columns, width: width)
  }

  /// Cosines or sines of rotary positions for this image.
  static func angles(_ periods: [Float], image: Shape, patch: Int, special: Int, sine: Bool) -> [Float] {
    RotaryAngles.table(periods: periods, rows: image[2] / patch, columns: image[3] / patch, special: special, sine: sine)
  }

  private static func split(_ operands: [ReferenceValue]) -> (q: [Float], k: [Float], v: [Float], width: Int) {
    if operands.count == 1 {
      let width = operands[0].shape[2] / 3
      let parts = Reference.splitQKV(operands[0].values, width: width)
      return (parts.q, parts.k, parts.v, width)
    }
    return (operands[0].values, operands[1].values, operands.count > 2 ? operands[2].values : [], operands[0].shape[2])
  }

  private static func tokens(_ x: [Float], _ s: Shape, _ range: Range<Int>) -> [Float] {
    (0..<s[0]).flatMap { b in x[(b * s[1] + range.lowerBound) * s[2]..<(b * s[1] + range.upperBound) * s[2]] }
  }
}
