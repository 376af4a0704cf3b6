// Plain twins of normalisations: statistics in doubles, results in the element's type. Softmax and its kin are SoftmaxOperators.swift.

import CDinoKernels
import DinoGraph
import DinoKernels
import DinoTensor

extension OperatorCall {
  func normalization(_ kind: NormalizationKind) throws(GenericProblem) -> [Tensor] {
    let facts = try inferred()
    switch kind {
    case .lp, .lrn, .softmax, .logSoftmax, .hardmax: break
    case .batch, .instance, .group, .layer, .rms, .simplifiedLayer, .skipLayer, .skipSimplifiedLayer, .meanVariance:
      // Their results go through F32.
      if facts[0].dtype == .f64 { throw .unsupported("\(op.kind.name) of F64") }
    }
    switch kind {
    case .batch: return [try perChannel { i, _, s in
      let deviation = (Double(s[3][i]) + s.epsilon).squareRoot(), factor = Double(s[0][i]) / deviation
      return (factor, Double(s[1][i]) - Double(s[2][i]) * factor)
    }]
    case .instance: return [try perChannel { i, values, s in
      let (mean, variance) = statistics(values)
      let factor = Double(s[0][i]) / (variance + s.epsilon).squareRoot()
      return (factor, Double(s[1][i]) - mean * factor)
    }]
    case .group: return [try groupNormalization()]
    case .layer: return try rows(centred: true, facts, scale: try input(1), bias: optional(2), x: try input(0))
    case .rms, .simplifiedLayer:
      let results = try rows(centred: false, facts, scale: try input(1), bias: nil, x: try input(0))
      // SimplifiedLayerNormalization's second output is the inverse deviation.
      return kind == .simplifiedLayer && outputs > 1 ? [results[0], results[2]] : [results[0]]
    case .skipLayer, .skipSimplifiedLayer: return try skipNormalization(kind, facts)
    case .lp: return [try lpNormalization()]
    case .meanVariance: return [try meanVariance()]
    case .lrn: return [try localResponse()]
    case .softmax, .logSoftmax, .hardmax: return [try softmax(kind)]
    }
  }

  private func statistics(_ values: UnsafeBufferPointer<Float>) -> (mean: Double, variance: Double) {
    let n = Double(max(values.count, 1))
    let mean = values.reduce(0.0) { $0 + Double($1) } / n
    return (mean, values.reduce(0.0) { $0 + (Double($1) - mean) * (Double($1) - mean) } / n)
  }

  // MARK: Channels

  private struct ChannelInputs {
    var lists: [[Float]]
    var epsilon: Double
    subscript(_ i: Int) -> [Float] { lists[i] }
  }

  /// y = factor · x + shift for each image and channel; `body` gets the channel, its values and the other inputs.
  private func perChannel(_ body: (_ channel: Int, _ values: UnsafeBufferPointer<Float>, _ inputs: ChannelInputs) -> (factor: Double, shift: Double)) throws(GenericProblem) -> Tensor {
    let x = try input(0), shape = x.shape
    guard shape.rank >= 2 else { throw .invalid("\(op.kind.name) needs [N, C, …], not \(shape)") }
    var lists: [[Float]] = []
    for i in 1..<inputs.count { lists.append(try input(i).float32().floats()) }
    let given = ChannelInputs(lists: lists, epsilon: Double(op.float("epsilon") ?? 1e-5))
    let size = shape.dims[2...].reduce(1, *), channels = shape[1], wide = try x.float32()
    return try Tensor.result(.f32, shape, of: Float.self) { y throws(GenericProblem) in
      try wide.read(Float.self) { p in
        for plane in 0..<shape[0] * channels {
          let values = UnsafeBufferPointer(start: p + plane * size, count: size), out = y + plane * size
          let (factor, shift) = body(plane % channels, values, given)
          for i in 0..<size { out[i] = Float(Double(values[i]) * factor + shift) }
        }
      }
    }.rounded(to: x.dtype)
  }

  private func groupNormalization() throws(GenericProblem) -> Tensor {
    let x = try input(0), shape = x.shape, groups = op.int("num_groups") ?? 1, epsilon = Double(op.float("epsilon") ?? 1e-5)
    let scale = try input(1).float32().floats(), bias = try input(2).float32().floats()
    let size = shape.dims[2...].reduce(1, *), perGroup = shape[1] / groups, perChannel = op.version >= 21
    let wide = try x.float32()
    return try Tensor.result(.f32, shape, of: Float.self) { y throws(GenericProblem) in
      try wide.read(Float.self) { p in
        for i in 0..<shape[0] * groups {
          let first = i * perGroup * size, group = i % groups
          let (mean, variance) = statistics(UnsafeBufferPointer(start: p + first, count: perGroup * size))
          let factor = 1 / (variance + epsilon).squareRoot()
          for c in 0..<perGroup {
            let which = perChannel ? group * perGroup + c : group
            for j in first + c * size..<first + (c + 1) * size { y[j] = Float((Double(p[j]) - mean) * factor * Double(scale[which]) + Double(bias[which])) }
          }
        }
      }
    }.rounded(to: x.dtype)
  }

  // MARK: Rows

  /// Layer norm (or, not centred, RMS norm) over the axes from `axis` on: the result, mean and inverse deviation.
  private func rows(centred: Bool, _ facts: [ValueFact], scale: Tensor, bias: Tensor?, x: Tensor, epsilon given: Float? = nil) throws(GenericProblem) -> [Tensor] {
    let shape = x.shape
    var axis = op.int("axis") ?? -1
    if axis < 0 { axis += shape.rank }
    guard axis >= 0, axis < max(shape.rank, 1) else { throw .invalid("\(op.kind.name) over axis \(axis) of \(shape)") }
    let inner = Shape(Array(shape.dims[axis...])), n = inner.count, count = n == 0 ? 0 : shape.count / n
    let epsilon = given ?? op.float("epsilon") ?? 1e-5
    // A scale or bias that differs from row to row comes after the norm alone.
    func differs(_ t: Tensor) -> Bool { t.shape.dims.dropLast(inner.rank).contains { $0 != 1 } }
    if differs(scale) || bias.map(differs) ?? false {
      let ones = Tensor([Float](repeating: 1, count: n), shape: inner)
      var results = try rows(centred: centred, facts, scale: ones, bias: nil, x: try x.float32(), epsilon: epsilon)
      var y = try arithmeticHelper(.mul, results[0], try scale.float32())
      if let bias { y = try arithmeticHelper(.add, y, try bias.float32()) }
      results[0] = try y.rounded(to: x.dtype)
      return results
    }
    func spread(_ t: Tensor) throws(GenericProblem) -> [Float] {
      let wide = try t.float32()
      if wide.count == n { return wide.floats() }
      let expand = Generic(.layout(.expand), version: 13)
      return try expand.evaluate([wide, Tensor.copy(inner.dims.map(Int64.init), dtype: .i64, shape: [inner.rank])], outputs: 1)[0].floats()
    }
    let weight = try spread(scale), shift = try bias.map { b throws(GenericProblem) in try spread(b) }
    let wide = try x.float32()
    let statisticsShape = Shape(shape.dims[..<axis] + Array(repeating: 1, count: shape.rank - axis))
    let means = try Tensor.result(.f32, statisticsShape), inverses = try Tensor.result(.f32, statisticsShape)
    let m = means.storage.base.assumingMemoryBound(to: Float.self), v = inverses.storage.base.assumingMemoryBound(to: Float.self)
    let y = try Tensor.result(.f32, shape, of: Float.self) { y throws(GenericProblem) in
      try wide.read(Float.self) { p in
        if outputs == 1, centred, n > 0 {
          let zeros = shift ?? [Float](repeating: 0, count: n)
          context.table.c.pointee.f32_layer_norm(p, n, weight, zeros, epsilon, y, n, count, n)
          return
        }
        for row in 0..<count {
          let values = UnsafeBufferPointer(start: p + row * n, count: n), out = y + row * n
          let (mean, variance) = centred ? statistics(values) : (0, values.reduce(0.0) { $0 + Double($1) * Double($1) } / Double(n))
          let inverse = 1 / (variance + Double(epsilon)).squareRoot()
          m[row] = Float(mean)
          v[row] = Float(inverse)
          for i in 0..<n { out[i] = Float((Double(values[i]) - mean) * inverse * Double(weight[i]) + Double(shift?[i] ?? 0)) }
        }
      }
    }
    withExtendedLifetime((means, inverses)) {}
    return [try y.rounded(to: x.dtype), means, inverses]
  }

  /// (norm, mean, inverse deviation, the sum that was normed) of ONNX Runtime's SkipLayerNormalization: x, skip, gamma, beta, bias; without beta where it is simplified.
  private func skipNormalization(_ kind: NormalizationKind, _ facts: [ValueFact]) throws(GenericProblem) -> [Tensor] {
    let simplified = kind == .skipSimplifiedLayer
    var sum = try arithmeticHelper(.add, try input(0), try input(1))
    if let bias = optional(simplified ? 3 : 4) { sum = try arithmeticHelper(.add, sum, bias) }
    let results = try rows(centred: !simplified, facts, scale: try input(2), bias: simplified ? nil : optional(3), x: sum, epsilon: op.float("epsilon") ?? 1e-12)
    return results + [sum]
  }

  // MARK: Others

  /// x / ‖x‖ along an axis; 0 where the norm is 0.
  private func lpNormalization() throws(GenericProblem) -> Tensor {
    let x = try input(0), p = op.int("p") ?? 2
    guard p == 1 || p == 2 else { throw .invalid("LpNormalization with p = \(p)") }
    return try alongAxis(op.int("axis") ?? -1, x) { values in
      let norm = p == 1 ? values.reduce(0.0) { $0 + Swift.abs($1) } : values.reduce(0.0) { $0 + $1 * $1 }.squareRoot()
      for i in values.indices { values[i] = norm == 0 ? 0 : values[i] / norm }
    }
  }

  /// (x - mean) / (deviation + 1e-9), statistics over `axes`.
  private func meanVariance() throws(GenericProblem) -> Tensor {
    let x = try input(0), shape = x.shape
    var axes: Set<Int> = []
    for a in op.ints("axes") ?? [0, 2, 3] { axes.insert(a < 0 ? a + shape.rank : a) }
    let values = try x.doubles(), strides = StridedIndex(shape.dims)
    // Elements by the position of the axes that stay.
    var groups: [[Int]: [Int]] = [:]
    for i in values.indices {
      let position = strides.position(i)
      groups[shape.dims.indices.map { axes.contains($0) ? 0 : position[$0] }, default: []].append(i)
    }
    var result = [Float](repeating: 0, count: values.count)
    for members in groups.values {
      let n = Double(members.count), mean = members.reduce(0.0) { $0 + values[$1] } / n
      let variance = members.reduce(0.0) { $0 + values[$1] * values[$1] } / n - mean * mean
      for i in members { result[i] = Float((values[i] - mean) / (Swift.max(variance, 0).squareRoot() + 1e-9)) }
    }
    return try Tensor(result, shape: shape).rounded(to: x.dtype)
  }

  /// x / (bias + alpha/size · sum of squares over neighbouring channels)^beta.
  private func localResponse() throws(GenericProblem) -> Tensor {
    let x = try input(0), size = op.int("size") ?? 1
    let alpha = Double(op.float("alpha") ?? 1e-4), beta = Double(op.float("beta") ?? 0.75), bias = Double(op.float("bias") ?? 1)
    let before = (size - 1) / 2, after = size - 1 - before
    return try alongAxis(1, x) { values in
      let squares = values.map { $0 * $0 }
      for c in values.indices {
        let sum = squares[Swift.max(0, c - before)...Swift.min(squares.count - 1, c + after)].reduce(0, +)
        values[c] /= power(bias + alpha / Double(size) * sum, beta)
      }
    }
  }

  /// Rewrites the values along one axis, in doubles.
  func alongAxis(_ axis: Int, _ x: Tensor, _ body: (inout [Double]) -> Void) throws(GenericProblem) -> Tensor {
    let shape = x.shape, a = axis < 0 ? axis + shape.rank : axis
    guard shape.rank > 0 else {
      var one = try x.doubles()
      body(&one)
      return try Tensor(one.map(Float.init), shape: shape).rounded(to: x.dtype)
    }
    guard a >= 0, a < shape.rank else { throw .invalid("\(op.kind.name) along axis \(axis) of \(shape)") }
    let n = shape[a], inner = shape.dims[(a + 1)...].reduce(1, *), values = try x.doubles()
    var result = [Double](repeating: 0, count: values.count), line = [Double](repeating: 0, count: n)
    if n > 0 {
      for outer in 0..<values.count / (n * Swift.max(inner, 1)) {
        for i in 0..<inner {
          let first = outer * n * inner + i
          for j in 0..<n { line[j] = values[first + j * inner] }
          body(&line)
          for j in 0..<n { result[first + j * inner] = line[j] }
        }
      }
    }
    if x.dtype == .f64 { return Tensor.copy(result, dtype: .f64, shape: shape) }
    return try Tensor(result.map(Float.init), shape: shape).rounded(to: x.dtype)
  }
}
