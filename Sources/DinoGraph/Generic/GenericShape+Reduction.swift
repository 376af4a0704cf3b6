// Shape rules of foreign operators: reductions, and which axes they reduce.

internal import DinoTensor

extension GenericRule {
  func reduction(_ kind: ReductionKind) throws(GenericProblem) -> [ValueFact] {
    if kind == .cumSum {
      try atMost(2)
      let x = try input(0, TypeSet.numbers), axis = try number(1, TypeSet.indices)
      if let a = axis?.truncated, let shape = x.shape { _ = try self.axis(a, rank: shape.rank) }
      return [ValueFact(dtype: x.dtype, shape: x.shape)]
    }
    try atMost(axesAreAnInput(kind) ? 2 : 1)
    let x = try input(0, try reducedTypes(kind))
    guard let shape = x.shape, let axes = try reducedAxes(kind, rank: shape.rank) else { return [ValueFact(dtype: x.dtype, shape: nil)] }
    let keep = (op.int("keepdims") ?? 1) != 0
    var dims: [Int] = []
    for (i, n) in shape.dims.enumerated() {
      if !axes.contains(i) { dims.append(n) } else if keep { dims.append(1) }
    }
    return [ValueFact(dtype: x.dtype, shape: Shape(dims))]
  }

  private func reducedTypes(_ kind: ReductionKind) throws(GenericProblem) -> [DType] {
    switch kind {
    case .max, .min: return TypeSet.plain
    case .mean, .sum, .prod, .l1, .sumSquare, .l2, .cumSum: return TypeSet.numbers
    case .logSum, .logSumExp:
      // Integers were allowed before operator set 28, with a meaning that nobody could state.
      if let x = optional(0), TypeSet.integers.contains(x.dtype) { throw .unsupported("\(op.kind.name) of integers is not defined") }
      return TypeSet.floats
    }
  }

  private func axesAreAnInput(_ kind: ReductionKind) -> Bool { op.version >= (kind == .sum ? 13 : 18) }

  /// The axes that are reduced, counted from the front; nil where they are not known before running.
  func reducedAxes(_ kind: ReductionKind, rank: Int) throws(GenericProblem) -> Set<Int>? {
    var given: [Int]
    if axesAreAnInput(kind) {
      switch try list(1) {
      case .absent: given = []
      case .known(let axes): given = axes
      case .unknown: return nil
      }
      if given.isEmpty, (op.int("noop_with_empty_axes") ?? 0) != 0 { return [] }
    } else {
      given = op.ints("axes") ?? []
    }
    if given.isEmpty { return Set(0..<rank) }
    var axes: Set<Int> = []
    for a in given { axes.insert(try axis(a, rank: rank)) }
    return axes
  }
}

extension Generic {
  /// For the twin of a reduction: the axes it reduces, by the rule above.
  public func reducedAxes(_ inputs: [ValueFact?], rank: Int) throws(GenericProblem) -> Set<Int>? {
    guard case .reduction(let kind) = self.kind else { return nil }
    return try GenericRule(op: self, inputs: inputs, outputs: 1).reducedAxes(kind, rank: rank)
  }
}
