// Plain twins of convolutions: f32 over two spatial axes through the packed SIMD product, each thread gathering the patches of its own panel; everything else
// place by place. Pools are PoolOperators.swift.

import DinoGraph
import DinoTensor

extension OperatorCall {
  func convolution(_ kind: ConvolutionKind) throws(GenericProblem) -> [Tensor] {
    switch kind {
    case .conv: return [try convolved(try input(0), try input(1), bias: optional(2))]
    case .fusedConv: return [try fusedConvolution()]
    case .convInteger: return [try convInteger(try input(0), try input(1), optional(2), optional(3))]
    case .convTranspose: return [try convTranspose()]
    case .maxPool: return try maxPool()
    case .averagePool: return [try averagePool()]
    case .lpPool: return [try lpPool()]
    case .globalAveragePool, .globalMaxPool: return [try globalPool(kind)]
    }
  }

  /// Conv, then the sum with Z, then an activation (ONNX Runtime's FusedConv).
  private func fusedConvolution() throws(GenericProblem) -> Tensor {
    var y = try convolved(try input(0), try input(1), bias: optional(2))
    if let z = optional(3) { y = try arithmeticHelper(.add, y, z) }
    let parameters = op.floats("activation_params") ?? []
    func unary(_ kind: UnaryKind, _ attributes: [String: GenericAttribute] = [:], _ more: [Tensor] = []) throws(GenericProblem) -> Tensor {
      try Generic(.unary(kind), version: max(op.version, 13), attributes: attributes).evaluate([y] + more, outputs: 1, context: context)[0]
    }
    switch op.string("activation") ?? "" {
    case "": return y
    case "Relu": return try unary(.relu)
    case "Tanh": return try unary(.tanh)
    case "Sigmoid": return try unary(.sigmoid)
    case "LeakyRelu": return try unary(.leakyRelu, ["alpha": .float(parameters.first ?? 0.01)])
    case "HardSigmoid" where parameters.count == 2: return try unary(.hardSigmoid, ["alpha": .float(parameters[0]), "beta": .float(parameters[1])])
    case "Clip" where parameters.count == 2: return try unary(.clip, [:], [Tensor([parameters[0]], shape: []), Tensor([parameters[1]], shape: [])])
    case let other: throw .unsupported("FusedConv with the activation \(other.prefix(32))")
    }
  }

  /// x [N, C, …] with weights [M, C/g, …] and a bias [M].
  func convolved(_ x: Tensor, _ w: Tensor, bias: Tensor?) throws(GenericProblem) -> Tensor {
    guard x.dtype == w.dtype else { throw .invalid("Conv of \(x.dtype.rawValue) with a weight of \(w.dtype.rawValue)") }
    guard let shape = try op.infer([ValueFact(x), ValueFact(w)], outputs: 1)[0].shape else { throw .invalid("Conv of unknown shapes") }
    if let bias, bias.shape != [shape[1]] { throw .invalid("Conv: a bias of shape \(bias.shape) does not fit \(shape[1]) channels") }
    if shape.count == 0 { return try Tensor.result(x.dtype, shape) }
    let window = try SpatialWindow(op, input: Array(x.shape.dims[2...]), kernel: Array(w.shape.dims[2...]))
    let plan = ConvolutionPlan(window: window, x: x.shape, w: w.shape, groups: op.int("group") ?? 1, shape: shape)
    switch x.dtype {
    case .f32: return try plan.spatialRank <= 2 ? plan.fast(x, w, bias, context) : PlainConvolution(x: x, w: w, bias: bias, plan: plan).dispatch(.f32)
    case .f16, .bf16:
      let (a, b, c) = (try x.float32(), try w.float32(), try bias.map { b throws(GenericProblem) in try b.float32() })
      return try (plan.spatialRank <= 2 ? plan.fast(a, b, c, context) : PlainConvolution(x: a, w: b, bias: c, plan: plan).dispatch(.f32)).rounded(to: x.dtype)
    default: return try PlainConvolution(x: x, w: w, bias: bias, plan: plan).dispatch(x.dtype)
    }
  }

  /// Bytes minus their zero points, convolved into 32-bit integers. The weight's zero point may be one for each output channel.
  func convInteger(_ x: Tensor, _ w: Tensor, _ xZero: Tensor?, _ wZero: Tensor?) throws(GenericProblem) -> Tensor {
    let inferring = Generic(.convolution(.convInteger), version: op.version, attributes: op.attributes)
    guard let shape = try inferring.infer([ValueFact(x), ValueFact(w)], outputs: 1)[0].shape else { throw .invalid("ConvInteger of unknown shapes") }
    let convolution = IntegerConvolution(x: x, w: w, zeroX: xZero, zeroW: wZero, window: try op.quantizedWindow(x.shape, kernel: w.shape))
    let result = try Tensor.result(.i32, shape)
    guard result.count > 0 else { return result }
    let out = result.storage.base.assumingMemoryBound(to: Int32.self)
    try convolution.run(context) { sums, _, at, count in (out + at).update(from: sums, count: count) }
    withExtendedLifetime(result.storage) {}
    return result
  }

  private func convTranspose() throws(GenericProblem) -> Tensor {
    let x = try input(0), w = try input(1)
    let (dtype, shape) = try inferredShape()
    let window = try TransposedWindow(op, input: Array(x.shape.dims[2...]), kernel: Array(w.shape.dims[2...]))
    guard dtype != .f64 else { throw .unsupported("ConvTranspose of F64") }
    let a = try x.float32(), b = try w.float32(), bias = try optional(2)?.float32().floats()
    if let bias, bias.count != shape[1] { throw .invalid("ConvTranspose: a bias of \(bias.count) does not fit \(shape[1]) channels") }
    let groups = op.int("group") ?? 1, rank = window.kernel.count
    let inChannels = x.shape[1], outPerGroup = w.shape[1], perGroup = inChannels / groups
    let inSize = x.shape.dims[2...].reduce(1, *), outSize = window.output.reduce(1, *), taps = window.kernel.reduce(1, *)
    let inStrides = StridedIndex(Array(x.shape.dims[2...])), outStrides = StridedIndex(window.output), kernel = StridedIndex(window.kernel)
    return try Tensor.result(.f32, shape, of: Float.self) { y throws(GenericProblem) in
      try a.read(Float.self) { p throws(GenericProblem) in
        try b.read(Float.self) { q in
          for n in 0..<shape[0] {
            for m in 0..<shape[1] {
              let out = y + (n * shape[1] + m) * outSize
              for i in 0..<outSize { out[i] = bias?[m] ?? 0 }
              let group = m / outPerGroup
              for c in 0..<perGroup {
                let channel = group * perGroup + c
                let from = p + (n * inChannels + channel) * inSize, weight = q + (channel * outPerGroup + m % outPerGroup) * taps
                for i in 0..<inSize {
                  let place = inStrides.position(i)
                  for t in 0..<taps {
                    let tap = kernel.position(t)
                    var target = 0, inside = true
                    for axis in 0..<rank {
                      let o = place[axis] * window.strides[axis] + tap[axis] * window.dilations[axis] - window.before[axis]
                      if o < 0 || o >= window.output[axis] {
                        inside = false
                        break
                      }
                      target += o * outStrides.strides[axis]
                    }
                    if inside { out[target] += from[i] * weight[t] }
                  }
                }
              }
            }
          }
        }
      }
    }.rounded(to: dtype)
  }
}

/// Row-major positions of a grid.
struct StridedIndex {
  let dims: [Int]
  let strides: [Int]
  init(_ dims: [Int]) {
    self.dims = dims
    strides = Shape(dims).strides
  }
  func position(_ i: Int) -> [Int] { zip(dims, strides).map { i / $1 % max($0, 1) } }
}

/// Convolution of any type and number of axes, place by place: the oracle of the fast one.
struct PlainConvolution: ElementWork {
  let x: Tensor
  let w: Tensor
  let bias: Tensor?
  let plan: ConvolutionPlan

  func run<T: NumericElement>(_ type: T.Type) throws(GenericProblem) -> Tensor {
    let shape = plan.shape, window = plan.window, rank = plan.spatialRank
    let places = StridedIndex(window.output), taps = StridedIndex(window.kernel), pixels = StridedIndex(window.input)
    let tapPositions = (0..<plan.taps).map(taps.position)
    let shift = try bias?.elements(T.self)
    return try Tensor.result(x.dtype, shape, of: T.self) { y throws(GenericProblem) in
      try x.read(T.self) { p throws(GenericProblem) in
        try w.read(T.self) { q in
          for place in 0..<plan.places {
            let corner = places.position(place)
            // Taps that fall on data, with where.
            var inside: [(tap: Int, pixel: Int)] = []
            for (t, tap) in tapPositions.enumerated() {
              var pixel = 0, ok = true
              for axis in 0..<rank {
                let i = corner[axis] * window.strides[axis] - window.before[axis] + tap[axis] * window.dilations[axis]
                if i < 0 || i >= window.input[axis] {
                  ok = false
                  break
                }
                pixel += i * pixels.strides[axis]
              }
              if ok { inside.append((t, pixel)) }
            }
            for n in 0..<shape[0] {
              for m in 0..<shape[1] {
                let group = m / plan.outPerGroup
                var sum: T = 0
                for c in 0..<plan.inPerGroup {
                  let image = p + (n * plan.inChannels + group * plan.inPerGroup + c) * plan.pixels, kernel = q + (m * plan.inPerGroup + c) * plan.taps
                  for (tap, pixel) in inside { sum = T.add(sum, T.mul(image[pixel], kernel[tap])) }
                }
                y[(n * shape[1] + m) * plan.places + place] = shift.map { T.add(sum, $0[m]) } ?? sum
              }
            }
          }
        }
      }
    }
  }
}
