// Shape rules of foreign operators that rescale a tensor: results are as the input; statistics, where they are asked for, have their own shapes.

internal import DinoTensor

extension GenericRule {
  func normalization(_ kind: NormalizationKind) throws(GenericProblem) -> [ValueFact] {
    let x = try input(0)
    guard [.f32, .f64, .f16, .bf16].contains(x.dtype) else { throw .invalid("\(op.kind.name) reads floats, not \(x.dtype.rawValue)") }
    let y = ValueFact(dtype: x.dtype, shape: x.shape)
    switch kind {
    case .batch:
      guard op.int("training_mode") ?? 0 == 0, outputs == 1 else { throw .unsupported("BatchNormalization in training mode") }
      for i in 1...4 { try columns(i, x, kind: "BatchNormalization") }
      return [y]
    case .instance:
      for i in 1...2 { try columns(i, x, kind: "InstanceNormalization") }
      return [y]
    case .group:
      guard let groups = op.int("num_groups"), groups > 0 else { throw .invalid("GroupNormalization needs a positive num_groups") }
      if let shape = x.shape {
        guard shape.rank >= 2, shape[1] % groups == 0 else { throw .invalid("GroupNormalization: \(groups) groups do not fit \(shape)") }
        let expected = op.version >= 21 ? shape[1] : groups
        for i in 1...2 {
          if let s = try input(i).shape, s != [expected] { throw .invalid("GroupNormalization: its input \(i) has the shape \(s), and [\(expected)] is needed") }
        }
      }
      return [y]
    case .layer, .rms, .simplifiedLayer:
      guard let shape = x.shape else { return Array(repeating: ValueFact(dtype: x.dtype, shape: nil), count: outputs) }
      let a = try axis(op.int("axis") ?? -1, rank: shape.rank)
      for i in 1...2 {
        guard let s = optional(i)?.shape else { continue }
        guard try broadcast([shape, s]) == shape else { throw .invalid("\(op.kind.name): its input \(i) of shape \(s) does not fit \(shape)") }
      }
      _ = try input(1)
      let statistics = ValueFact(dtype: .f32, shape: Shape(shape.dims[..<a] + Array(repeating: 1, count: shape.rank - a)))
      return [y] + Array(repeating: statistics, count: max(outputs - 1, 0))
    case .skipLayer, .skipSimplifiedLayer:
      let skip = try input(1)
      _ = try input(2)
      guard let shape = x.shape, let other = skip.shape else { return Array(repeating: ValueFact(dtype: x.dtype, shape: nil), count: max(outputs, 4)) }
      let sum = try broadcast([shape, other])
      guard shape.rank >= 2, sum == shape else { throw .invalid("\(op.kind.name) cannot add \(other) to \(shape)") }
      for i in 2..<inputs.count {
        if let s = optional(i)?.shape, s != [shape[-1]] { throw .invalid("\(op.kind.name): its input \(i) has the shape \(s), and [\(shape[-1])] is needed") }
      }
      let statistics = ValueFact(dtype: .f32, shape: Shape(shape.dims.dropLast() + [1]))
      return [y, statistics, statistics, y]
    case .lp, .softmax, .logSoftmax, .hardmax:
      if let shape = x.shape {
        let fallback = kind == .lp || op.version >= 13 ? -1 : 1
        if !(shape.rank == 0 && op.int("axis") ?? -1 == -1) {
          // Before operator set 13 the axis may be the rank: all of the tensor is one column then.
          let a = op.int("axis") ?? fallback
          if !(kind != .lp && op.version < 13 && a == shape.rank) { _ = try axis(a, rank: shape.rank) }
        }
      }
      return [y]
    case .meanVariance:
      if let shape = x.shape { for a in op.ints("axes") ?? [0, 2, 3] { _ = try axis(a, rank: shape.rank) } }
      return [y]
    case .lrn:
      guard let size = op.int("size"), size > 0 else { throw .invalid("LRN needs a positive size") }
      if let shape = x.shape, shape.rank < 2 { throw .invalid("LRN needs [N, C, …], not \(shape)") }
      return [y]
    }
  }

  /// Input i must hold a number for each channel of x.
  private func columns(_ i: Int, _ x: ValueFact, kind: String) throws(GenericProblem) {
    let fact = try input(i)
    guard let shape = x.shape else { return }
    guard shape.rank >= 2 else { throw .invalid("\(kind) needs [N, C, …], not \(shape)") }
    if let s = fact.shape, s != [shape[1]] { throw .invalid("\(kind): its input \(i) has the shape \(s), and [\(shape[1])] is needed") }
  }
}
