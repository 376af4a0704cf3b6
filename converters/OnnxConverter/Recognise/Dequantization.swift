// The real network that a quantized one stands for: every scaled integer becomes the real that it means, and products of integers become products of reals. First of
// the passes, so that no rule has to know how a quantizer spells things. How activations are rounded is either kept, as Core `round` nodes and products of integers (the
// result is what the file computes), or left out (what a checkpoint can hold). Operators on scaled integers that are not known here stay as they are.

internal import DinoGraph
internal import DinoOperators
internal import DinoTensor

struct Dequantization {
  private var c: RewriteContext
  private let rounding: Rounding
  /// The real that a scaled integer stands for.
  private var reals: [ValueID: ValueID] = [:]
  /// The steps of such integers.
  private var stepsOf: [ValueID: RoundingSteps] = [:]
  /// What DynamicQuantizeLinear rounds, by the scale that it gives.
  private var dynamic: [ValueID: ValueID] = [:]
  /// The zero point that DynamicQuantizeLinear gives with such integers.
  private var zeroOf: [ValueID: ValueID] = [:]
  /// Sums of products of integers, by their own value and by that of their Cast.
  private var sums: [ValueID: Sum] = [:]
  private var matches = 0

  /// Σ (a - zero)(w - zero), as MatMulInteger and ConvInteger give it.
  private struct Sum {
    var node: Node
    var op: Generic
    /// What was rounded.
    var x: ValueID
    /// A factor that was multiplied in already.
    var factor: ValueID?
  }

  private init(_ imported: ImportedGraph, _ rounding: Rounding) {
    c = RewriteContext(imported)
    self.rounding = rounding
  }

  /// The graph of reals, and how many operators on integers were read.
  static func run(_ imported: ImportedGraph, rounding: Rounding) -> (graph: ImportedGraph, matches: Int) {
    let isQuantized = imported.graph.nodes.contains { node in
      guard case .generic(let op) = node.op else { return false }
      if case .quantization = op.kind { return true }
      return op.kind == .product(.dynamicQuantizeMatMul) || op.kind == .product(.matMulIntegerToFloat)
    }
    guard isQuantized else { return (imported, 0) }
    var pass = Dequantization(imported, rounding)
    for node in imported.graph.nodes { pass.walk(pass.c.resolved(node)) }
    return (pass.c.finished(), pass.matches)
  }

  private mutating func walk(_ node: Node) {
    if case .generic(let op) = node.op {
      if reads(node, op) { matches += 1 } else if isDequantize(op), let real = real(node, op) {
        c.forward(node.output, to: real)
        matches += 1
        return
      } else if scaled(node, op) {
        matches += 1
        return
      }
    }
    c.keep(node)
  }

  /// What DequantizeLinear gives: the real that was rounded, or a constant.
  private mutating func real(_ node: Node, _ op: Generic) -> ValueID? {
    if let real = reals[node.inputs[0]] {
      // Under other steps the same integers would mean something else.
      guard dynamic.values.contains(real) || stepsOf[node.inputs[0]] == steps(given(node, 1), given(node, 2), c.dtype(node.inputs[0]) ?? .f32) else { return nil }
      return dynamic.values.contains(real) && rounding == .kept ? nil : real
    }
    guard (op.int("block_size") ?? 0) == 0, c.constant(node.inputs[0]) == nil, let scale = given(node, 1), c.constant(scale) != nil, let tensor = transposedConstant(node.inputs[0]) else { return nil }
    return dequantize(node.inputs[0], tensor, scale: scale, zero: given(node, 2), axis: op.int("axis") ?? 1, node.name)
  }

  private func isDequantize(_ op: Generic) -> Bool { op.kind == .quantization(.dequantize) || op.kind == .quantization(.microsoftDequantize) }

  // MARK: Integers that stand for reals

  /// Notes what an operator's integers stand for; the operator itself stays, and goes where nobody reads it any more.
  private mutating func reads(_ node: Node, _ op: Generic) -> Bool {
    let real: ValueID?
    switch op.kind {
    case .quantization(.quantize), .quantization(.microsoftQuantize): real = rounded(node.inputs[0], scale: given(node, 1), zero: given(node, 2), node)
    case .quantization(.dynamicQuantize):
      guard node.outputs.count == 3, c.isFloat(node.inputs[0]) else { return false }
      dynamic[node.outputs[1]] = node.inputs[0]
      reals[node.outputs[0]] = node.inputs[0]
      zeroOf[node.outputs[0]] = node.outputs[2]
      return false
    case .product(.matMulInteger), .convolution(.convInteger):
      guard node.inputs.count >= 2, let x = reals[node.inputs[0]], dynamic.values.contains(x), c.constant(node.inputs[1]) != nil, hasItsZero(node.inputs[0], given(node, 2)) else { return false }
      sums[node.output] = Sum(node: node, op: op, x: x)
      return false
    case .unary(.cast):
      guard let sum = sums[node.inputs[0]], c.dtype(node.output) == .f32 else { return false }
      sums[node.output] = sum
      return false
    case .layout(.reshape), .layout(.transpose), .layout(.squeeze), .layout(.unsqueeze), .layout(.flatten), .layout(.expand), .layout(.slice), .layout(.split),
      .layout(.tile), .indexing(.gather), .unary(.identity):
      return moved(node, op)
    case .quantization(let kind): real = operation(node, op, kind)
    default: return false
    }
    guard let real else { return false }
    reals[node.output] = real
    return true
  }

  /// Whether what is subtracted from integers is their own zero point: they stand for nothing else.
  private func hasItsZero(_ integers: ValueID, _ zero: ValueID?) -> Bool { zero != nil && zeroOf[integers] == zero }

  private func given(_ node: Node, _ i: Int) -> ValueID? { i < node.inputs.count && node.inputs[i] != .absent ? node.inputs[i] : nil }

  /// x rounded to steps, or x where rounding is left out. Nil where the steps are not constant, or not the same for the whole tensor.
  private mutating func rounded(_ x: ValueID, scale: ValueID?, zero: ValueID?, _ node: Node) -> ValueID? {
    guard c.isFloat(x), let type = c.dtype(node.output), let steps = steps(scale, zero, type) else { return nil }
    stepsOf[node.output] = steps
    return rounding == .leftOut ? x : c.core(.round(steps), [x], name: node.name)
  }

  private func steps(_ scale: ValueID?, _ zero: ValueID?, _ type: DType) -> RoundingSteps? {
    guard let scale, let s = c.scalar(scale), s > 0, s.isFinite, type == .u8 || type == .i8 else { return nil }
    guard let zero else { return RoundingSteps(scale: s, zero: 0, type) }
    guard let tensor = c.constant(zero), tensor.count == 1, tensor.dtype == type, let z = tensor.integers()?.first else { return nil }
    return RoundingSteps(scale: s, zero: z, type)
  }

  /// An operator that moves elements moves what they stand for.
  private mutating func moved(_ node: Node, _ op: Generic) -> Bool {
    guard let x = node.inputs.first, let real = reals[x], !dynamic.values.contains(real) else { return false }
    var shapes: [Shape] = []
    for id in node.outputs {
      guard let shape = c.shape(id) else { return false }
      shapes.append(shape)
    }
    let results = c.generic(op, [real] + node.inputs.dropFirst(), shapes: shapes, name: node.name)
    for (id, result) in zip(node.outputs, results) {
      reals[id] = result
      stepsOf[id] = stepsOf[x]
    }
    return true
  }

  /// The real that an operand (integers, scale, zero point) stands for: what was computed, or a constant behind DequantizeLinear.
  private mutating func operand(_ node: Node, _ x: Int, _ scale: Int, _ zero: Int, axis: Int? = nil) -> ValueID? {
    guard let id = given(node, x) else { return nil }
    if let real = reals[id] {
      // Under other steps the same integers would mean something else.
      return dynamic.values.contains(real) || stepsOf[id] != steps(given(node, scale), given(node, zero), c.dtype(id) ?? .f32) ? nil : real
    }
    guard let scale = given(node, scale), c.constant(scale) != nil, let tensor = c.constant(id) ?? transposedConstant(id) else { return nil }
    return dequantize(id, tensor, scale: scale, zero: given(node, zero), axis: axis, node.name)
  }

  /// Large constants are not transposed by the importer.
  private func transposedConstant(_ id: ValueID) -> Tensor? {
    guard let (kind, op, node) = c.generic(id), kind == .layout(.transpose), let tensor = c.constant(node.inputs[0]), c.affordsDequantizing(tensor.count) else { return nil }
    return try? op.evaluate([tensor], outputs: 1).first
  }

  private mutating func dequantize(_ id: ValueID, _ tensor: Tensor, scale: ValueID, zero: ValueID?, axis: Int?, _ name: String) -> ValueID? {
    guard let scales = c.constant(scale) else { return nil }
    var zeros: Tensor?
    if let zero {
      guard let z = c.constant(zero) else { return nil }
      zeros = z
    }
    return c.dequantized(c.name(ofConstant: id), tensor, scale: scales, zero: zeros, axis: axis ?? tensor.shape.rank - 1)
  }

  // MARK: Operators on scaled integers

  /// The plain operator on reals, its result rounded.
  private mutating func operation(_ node: Node, _ op: Generic, _ kind: QuantizationKind) -> ValueID? {
    guard let shape = c.shape(node.output) else { return nil }
    func plain(_ kind: GenericKind) -> Generic { Generic(kind, version: op.version, attributes: op.attributes) }
    let result: ValueID, name = node.name
    switch kind {
    case .linearMatMul:
      guard let a = operand(node, 0, 1, 2), let b = operand(node, 3, 4, 5) else { return nil }
      result = c.generic(Generic(.product(.matMul), version: 13), [a, b], shape: shape, name: name)
      return rounded(result, scale: given(node, 6), zero: given(node, 7), node)
    case .gemm:
      let outAxis = op.int("transB") ?? 0 != 0 ? 0 : 1
      guard given(node, 7) != nil, let a = operand(node, 0, 1, 2), let b = operand(node, 3, 4, 5, axis: outAxis) else { return nil }
      var inputs = [a, b]
      if let bias = given(node, 6) {
        guard let real = integerBias(bias, node, 1, 4) else { return nil }
        inputs.append(real)
      }
      result = c.generic(Generic(.product(.gemm), version: 13, attributes: op.attributes), inputs, shape: shape, name: name)
      return rounded(result, scale: given(node, 7), zero: given(node, 8), node)
    case .linearConv:
      guard let x = operand(node, 0, 1, 2), let w = operand(node, 3, 4, 5, axis: 0) else { return nil }
      var inputs = [x, w]
      if let bias = given(node, 8) {
        guard let real = integerBias(bias, node, 1, 4) else { return nil }
        inputs.append(real)
      }
      result = c.generic(Generic(.convolution(.conv), version: 11, attributes: op.attributes), inputs, shape: shape, name: name)
      return rounded(result, scale: given(node, 6), zero: given(node, 7), node)
    case .linearAdd, .linearMul:
      guard let a = operand(node, 0, 1, 2), let b = operand(node, 3, 4, 5) else { return nil }
      result = c.generic(Generic(.arithmetic(kind == .linearAdd ? .add : .mul), version: 14), [a, b], shape: shape, name: name)
      return rounded(result, scale: given(node, 6), zero: given(node, 7), node)
    case .linearSigmoid, .linearLeakyRelu, .linearSoftmax, .linearReduceMean:
      guard let x = operand(node, 0, 1, 2) else { return nil }
      let real: Generic
      switch kind {
      case .linearSigmoid: real = Generic(.unary(.sigmoid), version: 13)
      case .linearLeakyRelu: real = plain(.unary(.leakyRelu))
      case .linearSoftmax: real = op.plainSoftmax()
      default: real = op.plainMean()
      }
      result = c.generic(real, [x], shape: shape, name: name)
      return rounded(result, scale: given(node, 3), zero: given(node, 4), node)
    case .linearConcat:
      var parts: [ValueID] = []
      for i in stride(from: 2, to: node.inputs.count, by: 3) {
        guard let part = operand(node, i, i + 1, i + 2) else { return nil }
        parts.append(part)
      }
      result = c.generic(Generic(.layout(.concat), version: 13, attributes: op.attributes), parts, shape: shape, name: name)
      return rounded(result, scale: given(node, 0), zero: given(node, 1), node)
    default: return nil
    }
  }

  /// A bias of 32-bit integers, whose scale is that of the products.
  private mutating func integerBias(_ id: ValueID, _ node: Node, _ scaleA: Int, _ scaleB: Int) -> ValueID? {
    guard let values = c.constant(id)?.integers(), let a = given(node, scaleA).flatMap({ c.scalar($0) }), let b = given(node, scaleB).flatMap({ c.constant($0) }) else { return nil }
    let scales = b.floats()
    guard scales.count == 1 || scales.count == values.count else { return nil }
    return c.constant(c.name(ofConstant: id), Tensor(values.enumerated().map { Float($1) * (a * scales[scales.count == 1 ? 0 : $0]) }, shape: [values.count]))
  }

  // MARK: Sums with their scales

  /// What becomes of integer sums when both scales are multiplied in: a product of reals.
  private mutating func scaled(_ node: Node, _ op: Generic) -> Bool {
    switch op.kind {
    case .arithmetic(.mul): return scaledSum(node)
    case .product(.dynamicQuantizeMatMul):
      // (a, w, scale of w, zero of w, bias)
      guard let scale = given(node, 2), c.isFloat(node.inputs[0]) else { return false }
      return product(node, x: node.inputs[0], weight: node.inputs[1], scale: scale, zero: given(node, 3), bias: given(node, 4))
    case .product(.matMulIntegerToFloat):
      // (a, w, scale of a, scale of w, zero of a, zero of w, bias)
      guard let x = reals[node.inputs[0]], let scaleA = given(node, 2), dynamic[scaleA] == x, let scale = given(node, 3), hasItsZero(node.inputs[0], given(node, 4)) else { return false }
      return product(node, x: x, weight: node.inputs[1], scale: scale, zero: given(node, 5), bias: given(node, 6))
    default: return false
    }
  }

  private mutating func scaledSum(_ node: Node) -> Bool {
    for (a, b) in [(node.inputs[0], node.inputs[1]), (node.inputs[1], node.inputs[0])] {
      guard let sum = sums[a], sum.factor == nil, c.dtype(a) == .f32 else { continue }
      // The two scales multiplied with each other first, or one after the other.
      if let (kind, _, scales) = c.generic(b), kind == .arithmetic(.mul) {
        for (x, w) in [(scales.inputs[0], scales.inputs[1]), (scales.inputs[1], scales.inputs[0])] where dynamic[x] == sum.x && c.constant(w) != nil {
          return finish(sum, node, scale: w)
        }
      }
    }
    for (a, b) in [(node.inputs[0], node.inputs[1]), (node.inputs[1], node.inputs[0])] {
      guard var sum = sums[a], c.dtype(a) == .f32 else { continue }
      if let factor = sum.factor {
        if dynamic[b] == sum.x, c.constant(factor) != nil { return finish(sum, node, scale: factor) }
        if dynamic[factor] == sum.x, c.constant(b) != nil { return finish(sum, node, scale: b) }
      } else if dynamic[b] == sum.x || c.constant(b) != nil {
        sum.factor = b
        sums[node.output] = sum
        return false
      }
    }
    return false
  }

  private mutating func finish(_ sum: Sum, _ node: Node, scale: ValueID) -> Bool {
    let weight = sum.node.inputs[1], zero = given(sum.node, 3)
    guard let tensor = c.constant(weight), let scales = c.constant(scale) else { return false }
    if sum.op.kind == .product(.matMulInteger) { return product(node, x: sum.x, weight: weight, scale: scale, zero: zero, bias: nil) }
    // ConvInteger: one scale, or one for each channel; as a product of integers it stays what it is.
    guard rounding == .leftOut, scales.count == 1 || scales.count == tensor.shape[0],
      let real = dequantize(weight, tensor, scale: scale, zero: zero, axis: 0, node.name)
    else { return false }
    c.generic(Generic(.convolution(.conv), version: 11, attributes: sum.op.attributes), [sum.x, real], name: node.name, as: node.output)
    return true
  }

  /// x · W, its input rounded over its own range where rounding is kept.
  private mutating func product(_ node: Node, x: ValueID, weight: ValueID, scale: ValueID, zero: ValueID?, bias: ValueID?) -> Bool {
    guard let tensor = c.constant(weight), tensor.shape.rank == 2, let scales = c.constant(scale), scales.count == 1 || scales.shape.dims.last == tensor.shape[1] && scales.count == tensor.shape[1],
      let shape = c.shape(node.output), c.isFloat(x)
    else { return false }
    guard let real = dequantize(weight, tensor, scale: scale, zero: zero, axis: 1, node.name) else { return false }
    if rounding == .kept {
      let column = bias.flatMap { c.columnConstant($0, count: tensor.shape[1]) }
      guard (column == nil) == (bias == nil) else { return false }
      return c.integerLinear(x, real, input: .dynamic, bias: column, transposed: true, name: node.name, as: node.output)
    }
    let multiply = Generic(.product(.matMul), version: 13)
    guard let bias else {
      c.generic(multiply, [x, real], name: node.name, as: node.output)
      return true
    }
    let sum = c.generic(multiply, [x, real], shape: shape, name: node.name + ".product")
    c.generic(Generic(.arithmetic(.add), version: 14), [sum, bias], name: node.name, as: node.output)
    return true
  }
}

extension RoundingSteps {
  /// Those of an 8-bit type.
  init(scale: Float, zero: Int, _ type: DType) { self.init(scale: scale, zero: zero, lower: type == .u8 ? 0 : -128, upper: type == .u8 ? 255 : 127) }
}
