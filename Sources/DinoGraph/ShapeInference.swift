// The shape of each value from the shapes of the inputs. One function, total over Core; it reads shapes only, never values.
// Shape letters as in Operator.swift.

public import DinoTensor

extension Graph {
  /// The shape of every input, constant and node output. What a foreign operator gives may depend on data: such a value, and what follows from it, has
  /// no entry.
  /// - Parameter inputs: a shape for each declared input, by name. Extents declared as fixed must be equal; one free name must stand for one
  ///   number in all inputs.
  /// - Throws: `GraphError` naming the input or the first node whose operands do not fit.
  public func inferShapes(inputs shapes: [String: Shape]) throws(GraphError) -> [ValueID: Shape] {
    var known = try bindInputs(shapes)
    for (id, constant) in constants { known[id] = constant.tensor.shape }
    var dtypes = Dictionary(uniqueKeysWithValues: inputs.map { ($0.value, $0.dtype) })
    for (id, constant) in constants { dtypes[id] = constant.tensor.dtype }
    var unknown: Set<ValueID> = []
    for node in nodes {
      for id in node.inputs where id != .absent && known[id] == nil && !unknown.contains(id) {
        throw .undefinedValue(reader: node.name, value: id.index)
      }
      switch node.op {
      case .core:
        let operands = node.inputs.compactMap { known[$0] }
        if operands.count < node.inputs.count { unknown.insert(node.output) } else { known[node.output] = try node.outputShape(operands) }
      case .generic(let op):
        let facts = node.inputs.map { id in
          id == .absent ? nil : ValueFact(dtype: dtypes[id] ?? .f32, shape: known[id], value: constants[id]?.tensor)
        }
        let results: [ValueFact]
        do { results = try op.infer(facts, outputs: node.outputs.count) } catch { throw .generic(node: node.name, error) }
        for (id, fact) in zip(node.outputs, results) {
          dtypes[id] = fact.dtype
          known[id] = fact.shape
          if fact.shape == nil { unknown.insert(id) }
        }
      }
    }
    for output in outputs where known[output.value] == nil && !unknown.contains(output.value) {
      throw .undefinedValue(reader: output.name, value: output.value.index)
    }
    return known
  }

  /// Checks the given shapes against the declared dimensions and binds the free names.
  private func bindInputs(_ shapes: [String: Shape]) throws(GraphError) -> [ValueID: Shape] {
    for name in shapes.keys.sorted() where !inputs.contains(where: { $0.name == name }) {
      throw .unknownInput(name: name, known: inputs.map(\.name))
    }
    var known: [ValueID: Shape] = [:]
    var bound: [String: Int] = [:]
    for input in inputs {
      guard let shape = shapes[input.name] else { throw .missingInput(name: input.name) }
      guard shape.rank == input.dims.count, shape.dims.allSatisfy({ $0 > 0 }), shape.checkedCount != nil else {
        throw .inputShape(name: input.name, declared: input.dimsText, found: shape)
      }
      for (axis, dimension) in input.dims.enumerated() {
        switch dimension {
        case .fixed(let n):
          guard n == shape[axis] else { throw .inputDimension(name: input.name, axis: axis, expected: n, found: shape[axis]) }
        case .free(let name):
          if let first = bound[name], first != shape[axis] {
            throw .freeDimension(name: name, first: first, second: shape[axis], input: input.name)
          }
          bound[name] = shape[axis]
        }
      }
      known[input.value] = shape
    }
    return known
  }
}

extension GraphInput {
  /// "[B, 3, H, W]".
  public var dimsText: String { "[" + dims.map(\.description).joined(separator: ", ") + "]" }
}

extension Node {
  /// The shape of a Core node's output for operands of the given shapes.
  public func outputShape(_ operands: [Shape]) throws(GraphError) -> Shape {
    guard case .core(let core) = op else { preconditionFailure("\(op.name) is a foreign operator: ask Generic.infer") }
    guard core.arities.contains(operands.count) else {
      throw .arity(node: name, op: op.text, expected: core.arities.map(String.init).joined(separator: " or "), found: operands.count)
    }
    let shape = try CoreShape(node: name, op: core, inputs: operands).infer()
    guard shape.checkedCount != nil else { throw .tooLarge(node: name, op: op.text, found: operands) }
    return shape
  }
}

/// The rules, one method for a group of operators that share one.
private struct CoreShape {
  let node: String
  let op: Core
  let inputs: [Shape]

  func infer() throws(GraphError) -> Shape {
    switch op {
    case .patchEmbedding(let patch): return try patchEmbedding(patch)
    case .positionEmbedding(let patch, let special, let rows, let columns, let resize):
      return try positionEmbedding(patch, special, rows, columns, resize)
    case .prependTokens: return try prependTokens()
    case .add, .multiply: return try broadcast()
    case .layerNorm(let epsilon): return try layerNorm(epsilon)
    case .linear(let epilogue): return try linear(epilogue)
    case .activation: return inputs[0]
    case .gate:
      try expect(inputs[0].rank >= 1 && inputs[0][-1] > 0 && inputs[0][-1] % 2 == 0, "x [..., 2·H]")
      return Shape(inputs[0].dims.dropLast() + [inputs[0][-1] / 2])
    case .round(let steps):
      try validate(steps)
      return inputs[0]
    case .attention(let heads, let scale, let queries):
      let t = try attentionTokens(heads, scale)
      if let queries { try require(1...t.tokens ~= queries, "queries", "it must be from 1 to the \(t.tokens) tokens there are, not \(queries)") }
      return [t.batch, queries ?? t.tokens, t.width]
    case .attentionWeights(let heads, let scale, let firstRowOnly):
      let t = try attentionTokens(heads, scale)
      return firstRowOnly ? [t.batch, heads, t.tokens] : [t.batch, heads, t.tokens, t.tokens]
    case .rotary(let columns, _): return try rotary(columns)
    case .rotaryAngles(let patch, let special, _): return try rotaryAngles(patch, special)
    case .selectToken(let index): return try selectToken(index)
    case .sliceTokens(let start, let count): return try sliceTokens(start, count)
    case .meanTokens: return try meanTokens()
    case .l2Normalize(let epsilon):
      try require(epsilon.isFinite && epsilon >= 0, "epsilon", "it must be finite and not negative, not \(epsilon)")
      try expect(inputs[0].rank >= 1, "x [..., D]")
      return inputs[0]
    case .weightNorm:
      try expect(inputs[0].rank == 2 && inputs[1].rank == 2 && inputs[1][0] == inputs[0][0] && inputs[1][1] == 1, "v [K, I] and g [K, 1]")
      return inputs[0]
    case .softmax:
      try expect(inputs[0].rank >= 1 && inputs[0][-1] > 0, "x [..., D] with D > 0")
      return inputs[0]
    case .training(let op):
      guard let shape = op.shape(inputs) else { throw .shapes(node: node, op: Operator.core(self.op).text, expected: op.operands, found: inputs) }
      return shape
    }
  }

  private func patchEmbedding(_ patch: Int) throws(GraphError) -> Shape {
    try require(patch > 0, "patch", "it must be positive, not \(patch)")
    let image = inputs[0], weight = inputs[1], bias = inputs[2]
    let what = "image [B, C, H, W] of at least one patch, weight [D, C, \(patch), \(patch)] and bias [D]"
    try expect(image.rank == 4 && weight.rank == 4 && bias.rank == 1, what)
    try expect(weight[1] == image[1] && weight[2] == patch && weight[3] == patch && bias[0] == weight[0], what)
    return [image[0], try patches(of: image, patch, what), weight[0]]
  }

  private func positionEmbedding(_ patch: Int, _ special: Int, _ rows: Int, _ columns: Int, _ resize: PositionResize) throws(GraphError) -> Shape {
    try require(patch > 0, "patch", "it must be positive, not \(patch)")
    try require(special >= 0, "special", "it must not be negative, not \(special)")
    let (native, overflow) = rows.multipliedReportingOverflow(by: columns)
    try require(rows > 0 && columns > 0 && !overflow && native <= Int.max - special, "native", "\(rows)x\(columns) is not a grid")
    try require(resize.cubicA.isFinite && (resize.offset ?? 0).isFinite && (resize.offset ?? 0) >= 0, "resize", "its numbers must be finite")
    let positions = inputs[0], image = inputs[1]
    let what = "positions [1, \(special + native), D] and image [B, C, H, W] of at least one patch"
    try expect(positions.rank == 3 && positions[0] == 1 && positions[1] == special + native && image.rank == 4, what)
    let n = try patches(of: image, patch, what)
    try expect(n <= Int.max - special, what)
    return [1, special + n, positions[2]]
  }

  /// N of an image.
  private func patches(of image: Shape, _ patch: Int, _ what: String) throws(GraphError) -> Int {
    let (n, overflow) = (image[2] / patch).multipliedReportingOverflow(by: image[3] / patch)
    try expect(n > 0 && !overflow, what)
    return n
  }

  private func prependTokens() throws(GraphError) -> Shape {
    let special = inputs[0], x = inputs[1], what = "special [1, S, D] and x [B, N, D]"
    try expect(special.rank == 3 && x.rank == 3 && special[0] == 1 && special[2] == x[2], what)
    let (tokens, overflow) = special[1].addingReportingOverflow(x[1])
    try expect(!overflow, what)
    return [x[0], tokens, x[2]]
  }

  /// NumPy's rule: shapes are aligned at the right; extents are equal, or one of them is 1 or absent.
  private func broadcast() throws(GraphError) -> Shape {
    let a = inputs[0].dims, b = inputs[1].dims
    let rank = max(a.count, b.count)
    var dims = [Int](repeating: 1, count: rank)
    for axis in 0..<rank {
      let i = axis - (rank - a.count), j = axis - (rank - b.count)
      let m = i < 0 ? 1 : a[i], n = j < 0 ? 1 : b[j]
      try expect(m == n || m == 1 || n == 1, "two shapes that broadcast together")
      dims[axis] = m == 1 ? n : m
    }
    return Shape(dims)
  }

  private func layerNorm(_ epsilon: Double) throws(GraphError) -> Shape {
    try require(epsilon.isFinite && epsilon >= 0, "epsilon", "it must be finite and not negative, not \(epsilon)")
    let x = inputs[0], weight = inputs[1], bias = inputs[2]
    try expect(x.rank >= 1 && x[-1] > 0 && weight == [x[-1]] && bias == weight, "x [..., D], weight [D] and bias [D]")
    return x
  }

  private func linear(_ epilogue: LinearEpilogue) throws(GraphError) -> Shape {
    let x = inputs[0], weight = inputs[1]
    let what = "x [..., I], weight \(epilogue.transposedWeight ? "[I, K]" : "[K, I]")" + (epilogue.integers != nil ? ", its scale [K], its zero [K]" : "") + (epilogue.bias ? ", bias [K]" : "") + (epilogue.scale ? ", scale [K]" : "")
      + (epilogue.residual ? ", residual [..., K]" : "")
    try expect(x.rank >= 1 && weight.rank == 2 && weight[epilogue.inAxis] == x[-1], what)
    let out = weight[epilogue.outAxis]
    let result = Shape(x.dims.dropLast() + [out])
    if case .fixed(let steps)? = epilogue.integers { try validate(steps) }
    if let i = epilogue.integersIndex { try expect(inputs[i] == [out] && inputs[i + 1] == [out], what) }
    if let i = epilogue.biasIndex { try expect(inputs[i] == [out], what) }
    if let i = epilogue.scaleIndex { try expect(inputs[i] == [out], what) }
    if let i = epilogue.residualIndex { try expect(inputs[i] == result, what) }
    return result
  }

  private func validate(_ steps: RoundingSteps) throws(GraphError) {
    try require(steps.scale.isFinite && steps.scale > 0, "scale", "it must be finite and positive, not \(steps.scale)")
    // Whole numbers that a float holds exactly, with room for their difference.
    try require(-32_768 <= steps.lower && steps.lower < steps.upper && steps.upper <= 65_535 && steps.lower...steps.upper ~= steps.zero, "steps", "they must be those of an integer type with zero among them, not \(steps.lower)...\(steps.upper) with \(steps.zero)")
  }

  private func attentionTokens(_ heads: Int, _ scale: Double) throws(GraphError) -> (batch: Int, tokens: Int, width: Int) {
    try require(heads > 0, "heads", "it must be positive, not \(heads)")
    try require(scale.isFinite, "scale", "it must be finite, not \(scale)")
    let first = inputs[0]
    if inputs.count == 1 {
      let what = "qkv [B, T, 3·D] with D a multiple of \(heads) heads"
      try expect(first.rank == 3 && first[1] > 0 && first[2] > 0 && first[2] % 3 == 0 && (first[2] / 3) % heads == 0, what)
      return (first[0], first[1], first[2] / 3)
    }
    let what = "q, k and v of one shape [B, T, D] with D a multiple of \(heads) heads"
    try expect(first.rank == 3 && first[1] > 0 && first[2] > 0 && first[2] % heads == 0 && inputs.allSatisfy { $0 == first }, what)
    return (first[0], first[1], first[2])
  }

  private func rotary(_ columns: Int) throws(GraphError) -> Shape {
    let x = inputs[0], cos = inputs[1], sin = inputs[2]
    let what = "x [B, T, W], cos [T, d] and sin [T, d], d even"
    try expect(x.rank == 3 && cos.rank == 2 && cos == sin && cos[0] == x[1] && cos[1] > 0 && cos[1] % 2 == 0, what)
    try require(columns > 0 && columns <= x[2] && columns % cos[1] == 0, "columns", "it must be a multiple of the \(cos[1]) columns of a head within the \(x[2]) there are")
    return x
  }

  private func rotaryAngles(_ patch: Int, _ special: Int) throws(GraphError) -> Shape {
    try require(patch > 0, "patch", "it must be positive, not \(patch)")
    try require(special >= 0, "special", "it must not be negative, not \(special)")
    let periods = inputs[0], image = inputs[1], what = "periods [d/4] and image [B, C, H, W] of at least one patch"
    try expect(periods.rank == 1 && periods[0] > 0 && periods[0] <= Int.max / 4 && image.rank == 4, what)
    let n = try patches(of: image, patch, what)
    try expect(n <= Int.max - special, what)
    return [special + n, 4 * periods[0]]
  }

  private func selectToken(_ index: Int) throws(GraphError) -> Shape {
    try require(index >= 0, "index", "it must not be negative, not \(index)")
    let x = inputs[0]
    try expect(x.rank == 3 && index < x[1], "x [B, T, D] with T > \(index)")
    return [x[0], x[2]]
  }

  private func sliceTokens(_ start: Int, _ count: Int?) throws(GraphError) -> Shape {
    try require(start >= 0, "start", "it must not be negative, not \(start)")
    if let count { try require(count > 0, "count", "it must be positive, not \(count)") }
    let x = inputs[0], what = "x [B, T, D] with at least \(count ?? 1) tokens from token \(start) on"
    try expect(x.rank == 3 && start < x[1], what)
    let rest = x[1] - start
    try expect((count ?? rest) <= rest, what)
    return [x[0], count ?? rest, x[2]]
  }

  private func meanTokens() throws(GraphError) -> Shape {
    let x = inputs[0]
    try expect(x.rank == 3 && x[1] > 0, "x [B, T, D] with T > 0")
    return [x[0], x[2]]
  }

  private func expect(_ condition: Bool, _ what: @autoclosure () -> String) throws(GraphError) {
    if !condition { throw .shapes(node: node, op: Operator.core(op).text, expected: what(), found: inputs) }
  }

  private func require(_ condition: Bool, _ attribute: String, _ reason: @autoclosure () -> String) throws(GraphError) {
    if !condition { throw .attribute(node: node, op: op.name, attribute: attribute, reason: reason()) }
  }
}
