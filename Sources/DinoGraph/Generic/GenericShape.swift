// Element types and shapes of what foreign operators give, from those of their inputs and, where an input decides the shape, its value. It computes no
// result; where the shape depends on data that are not known, it says so with a nil shape.

internal import DinoTensor

extension Generic {
  /// Facts of the outputs. Inputs that are not given are nil.
  /// - Parameter outputs: how many outputs the node names, those that nobody reads included.
  /// - Throws: `GenericProblem` where inputs, attributes or version do not fit the operator's definition.
  public func infer(_ inputs: [ValueFact?], outputs: Int) throws(GenericProblem) -> [ValueFact] {
    let rule = GenericRule(op: self, inputs: inputs, outputs: outputs)
    let facts = try rule.apply()
    for fact in facts {
      guard let shape = fact.shape else { continue }
      guard shape.rank <= 64 else { throw .unsupported("\(kind.name) gives a tensor of rank \(shape.rank)") }
      // Beyond this no machine holds it, and products of extents would overflow.
      guard let count = shape.checkedCount, count <= 1 << 40 else { throw .invalid("\(kind.name) gives the impossible shape \(shape)") }
    }
    return facts
  }
}

extension GenericRule {
  fileprivate func apply() throws(GenericProblem) -> [ValueFact] {
    switch op.kind {
    case .arithmetic(let k): return try arithmetic(k)
    case .unary(let k): return try unary(k)
    case .comparison(let k): return try comparison(k)
    case .layout(let k): return try layout(k)
    case .indexing(let k): return try indexing(k)
    case .reduction(let k): return try reduction(k)
    case .product(let k): return try product(k)
    case .convolution(let k): return try convolution(k)
    case .normalization(let k): return try normalization(k)
    case .resampling(let k): return try resampling(k)
    case .attention(let k): return try attention(k)
    case .quantization(let k): return try quantization(k)
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
