// Shape rules of foreign operators: arithmetic, unary, comparison. Types that an operator takes in any operator set are taken in all: the meaning is the same.

internal import DinoTensor

extension GenericRule {
  func arithmetic(_ kind: ArithmeticKind) throws(GenericProblem) -> [ValueFact] {
    switch kind {
    case .add, .sub, .mul, .div: return try binary(TypeSet.numbers)
    case .bitwiseAnd, .bitwiseOr, .bitwiseXor: return try binary(TypeSet.integers)
    case .bitShift:
      guard let direction = op.string("direction"), ["LEFT", "RIGHT"].contains(direction) else { throw .invalid("BitShift needs direction LEFT or RIGHT") }
      return try binary(TypeSet.integers)
    case .mod:
      let facts = try binary(TypeSet.numbers)
      let mode = op.int("fmod") ?? 0
      guard mode == 0 || mode == 1 else { throw .invalid("Mod has fmod=\(mode)") }
      if mode == 0, op.version < 28, TypeSet.floats.contains(facts[0].dtype) { throw .invalid("Mod of floats needs fmod=1 before operator set 28") }
      return facts
    case .pow:
      try atMost(2)
      let base = try input(0, TypeSet.numbers), exponent = try input(1, TypeSet.numbers)
      return [ValueFact(dtype: base.dtype, shape: try broadcast([base.shape, exponent.shape]))]
    case .min, .max: return try variadic(TypeSet.numbers)
    case .mean, .sum: return try variadic(TypeSet.floats)
    case .prelu:
      try atMost(2)
      let x = try input(0, TypeSet.numbers), slope = try input(1, TypeSet.numbers)
      try same(x, slope)
      try broadcasts(slope, to: x)
      return [ValueFact(dtype: x.dtype, shape: x.shape)]
    }
  }

  func unary(_ kind: UnaryKind) throws(GenericProblem) -> [ValueFact] {
    switch kind {
    case .abs, .sign: return try elementwise(TypeSet.numbers)
    case .neg, .relu: return try elementwise(TypeSet.floats + TypeSet.signed)
    case .sqrt, .exp, .log, .erf, .floor, .ceil, .round, .reciprocal, .sin, .cos, .tan, .asin, .acos, .atan, .sinh, .cosh, .asinh, .acosh, .atanh, .tanh,
         .sigmoid, .leakyRelu, .elu, .selu, .celu, .hardSigmoid, .hardSwish, .softplus, .softsign, .thresholdedRelu, .mish, .swish, .microsoftGelu, .quickGelu:
      return try elementwise(TypeSet.floats)
    case .gelu:
      let mode = op.string("approximate") ?? "none"
      guard mode == "none" || mode == "tanh" else { throw .invalid("Gelu has approximate=\(mode)") }
      return try elementwise(TypeSet.floats)
    case .shrink: return try elementwise(TypeSet.numbers)
    case .clip:
      let facts = try elementwise(TypeSet.numbers, inputs: 3)
      if op.version >= 11 {
        for i in 1...2 {
          guard let limit = try optional(i, TypeSet.numbers) else { continue }
          guard limit.dtype == facts[0].dtype else { throw .invalid("Clip has a limit of another element type") }
          if let shape = limit.shape, shape.checkedCount != 1 { throw .invalid("Clip needs scalar limits, not \(shape)") }
        }
      }
      return facts
    case .not: return try elementwise([.bool])
    case .bitwiseNot: return try elementwise(TypeSet.integers)
    case .isNaN, .isInf:
      let x = try elementwise(TypeSet.floats)[0]
      return [ValueFact(dtype: .bool, shape: x.shape)]
    case .cast:
      try atMost(1)
      guard let number = op.int("to") else { throw .invalid("Cast needs the attribute to") }
      guard let target = DType(onnxNumber: number), TypeSet.plain.contains(target) else { throw .unsupported("Cast to ONNX's element type \(number) is not computed here") }
      return [ValueFact(dtype: target, shape: try input(0, TypeSet.plain).shape)]
    case .castLike:
      try atMost(2)
      let target = try input(1)
      guard TypeSet.plain.contains(target.dtype) else { throw .unsupported("CastLike to \(target.dtype.rawValue) is not computed here") }
      return [ValueFact(dtype: target.dtype, shape: try input(0, TypeSet.plain).shape)]
    case .identity:
      try atMost(1)
      let x = try input(0)
      return [ValueFact(dtype: x.dtype, shape: x.shape)]
    case .dropout:
      try atMost(op.version >= 12 ? 3 : 1)
      let x = try input(0, TypeSet.floats)
      if let ratio = try optional(1, TypeSet.floats), let shape = ratio.shape, shape.checkedCount != 1 { throw .invalid("Dropout needs one ratio, not \(shape)") }
      if let training = try optional(2, [.bool]), let shape = training.shape, shape.checkedCount != 1 {
        throw .invalid("Dropout needs one training_mode, not \(shape)")
      }
      // Before operator set 10 the mask has the data's type.
      let result = ValueFact(dtype: x.dtype, shape: x.shape), mask = ValueFact(dtype: op.version >= 10 ? .bool : x.dtype, shape: x.shape)
      return Array([result, mask].prefix(Swift.max(outputs, 1)))
    case .fastGelu, .biasGelu:
      try atMost(2)
      let x = try input(0, TypeSet.floats)
      let bias = kind == .biasGelu ? try input(1, TypeSet.floats) : try optional(1, TypeSet.floats)
      if let bias {
        try same(x, bias)
        if let b = bias.shape, b.rank != 1 { throw .invalid("\(op.kind.name) needs a bias of one axis, not \(b)") }
        if let b = bias.shape, let s = x.shape, s.dims.last != b.dims[0] { throw .invalid("\(op.kind.name) has a bias of shape \(b) for a tensor of shape \(s)") }
      }
      return [ValueFact(dtype: x.dtype, shape: x.shape)]
    }
  }

  func comparison(_ kind: ComparisonKind) throws(GenericProblem) -> [ValueFact] {
    let types: [DType] = switch kind {
    case .equal: TypeSet.plain
    case .greater, .less, .greaterOrEqual, .lessOrEqual: TypeSet.numbers
    case .and, .or, .xor: [.bool]
    }
    return [ValueFact(dtype: .bool, shape: try binary(types)[0].shape)]
  }

  // MARK: - Shared

  /// One tensor in, the same type and shape out; further inputs are checked by the caller.
  private func elementwise(_ types: [DType], inputs count: Int = 1) throws(GenericProblem) -> [ValueFact] {
    try atMost(count)
    let x = try input(0, types)
    return [ValueFact(dtype: x.dtype, shape: x.shape)]
  }

  private func binary(_ types: [DType]) throws(GenericProblem) -> [ValueFact] {
    try atMost(2)
    let a = try input(0, types), b = try input(1, types)
    try same(a, b)
    return [ValueFact(dtype: a.dtype, shape: try broadcast([a.shape, b.shape]))]
  }

  private func variadic(_ types: [DType]) throws(GenericProblem) -> [ValueFact] {
    let first = try input(0, types)
    var shapes = [first.shape]
    for i in 1..<Swift.max(inputs.count, 1) {
      let next = try input(i, types)
      try same(first, next)
      shapes.append(next.shape)
    }
    return [ValueFact(dtype: first.dtype, shape: try broadcast(shapes))]
  }

  /// Checks that `small` broadcasts to exactly the shape of `large`, where both are known.
  private func broadcasts(_ small: ValueFact, to large: ValueFact) throws(GenericProblem) {
    guard let s = small.shape, let l = large.shape else { return }
    guard try broadcast([s, l]) == l else { throw .invalid("\(op.kind.name) cannot broadcast \(s) to \(l)") }
  }
}
