// Element types and shapes of what foreign operators give, from those of their inputs and, where an input decides the shape, its value. It computes no
// result; where the shape depends on data that are not known, it says so with a nil shape.

internal import DinoTensor

extension Generic {
  /// Facts of the outputs. Inputs that are not given are nil.
  /// - Parameter outputs: how many outputs the node names, those that nobody reads included.
  /// - Throws: `GenericProblem` where inputs, attributes or version do not fit the operator's definition.
  public func infer(_ inputs: [ValueFact?], outputs: Int) throws(GenericProblem) -> [ValueFact] {
    let rule = GenericRule(op: self, inputs: inputs, outputs: outputs)
    switch kind {
    case .arithmetic(let k): return try rule.arithmetic(k)
    case .unary(let k): return try rule.unary(k)
    case .comparison(let k): return try rule.comparison(k)
    case .layout(let k): return try rule.layout(k)
    case .indexing(let k): return try rule.indexing(k)
    case .reduction(let k): return try rule.reduction(k)
    case .product(let k): return try rule.product(k)
    case .convolution(let k): return try rule.convolution(k)
    case .normalization(let k): return try rule.normalization(k)
    case .resampling(let k): return try rule.resampling(k)
    case .attention(let k): return try rule.attention(k)
    case .quantization(let k): return try rule.quantization(k)
    }
  }
}

/// One application of a rule: what the rules of all groups share. The rules themselves: GenericShape+<group>.swift.
struct GenericRule {
  let op: Generic
  let inputs: [ValueFact?]
  let outputs: Int

  /// The fact of an input that must be given.
  func input(_ i: Int) throws(GenericProblem) -> ValueFact {
    guard i < inputs.count, let fact = inputs[i] else { throw .invalid("\(op.kind.name) needs its input \(i), which is not given") }
    return fact
  }

  /// The fact of an input that may be left out.
  func optional(_ i: Int) -> ValueFact? { i < inputs.count ? inputs[i] : nil }

  /// The integers that an input holds; nil where they are not known before running.
  func integers(_ i: Int) -> [Int]? { optional(i)?.value?.integers() }

  /// NumPy's rule for any number of shapes; nil where one is not known.
  func broadcast(_ shapes: [Shape?]) throws(GenericProblem) -> Shape? {
    var known: [Shape] = []
    for s in shapes {
      guard let s else { return nil }
      known.append(s)
    }
    let rank = known.map(\.rank).max() ?? 0
    var dims = [Int](repeating: 1, count: rank)
    for s in known {
      for (i, n) in s.dims.enumerated() {
        let axis = i + rank - s.rank
        guard n == dims[axis] || n == 1 || dims[axis] == 1 else {
          throw .invalid("\(op.kind.name) cannot broadcast the shapes \(known.map(\.description).joined(separator: " and "))")
        }
        if dims[axis] == 1 { dims[axis] = n }
      }
    }
    return Shape(dims)
  }

  /// An axis that may count from the end, checked against a rank.
  func axis(_ a: Int, rank: Int) throws(GenericProblem) -> Int {
    guard a >= -rank, a < rank else { throw .invalid("\(op.kind.name) names axis \(a) of a tensor of rank \(rank)") }
    return a < 0 ? a + rank : a
  }
}
