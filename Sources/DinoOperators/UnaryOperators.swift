// Plain twins of foreign operators: one tensor, elementwise. F16 and BF16 are computed in F32 and rounded once.

import CDinoKernels
import DinoGraph
import DinoKernels
import DinoTensor

extension OperatorCall {
  func unary(_ kind: UnaryKind) throws(GenericProblem) -> [Tensor] {
    let dtype = try inferredShape().dtype, x = try input(0)
    switch kind {
    case .identity: return [x]
    case .cast, .castLike: return [try x.cast(to: dtype)]
    case .dropout: return try dropout(x)
    case .not: return [try x.mapped(.bool, UInt8.self, UInt8.self, context.team) { $0 == 0 ? 1 : 0 }]
    case .isNaN:
      if x.dtype == .f64 { return [try x.mapped(.bool, Double.self, UInt8.self, context.team) { $0 != $0 ? 1 : 0 }] }
      return [try x.float32().mapped(.bool, Float.self, UInt8.self, context.team) { $0 != $0 ? 1 : 0 }]
    case .isInf: return [try isInfinite(x)]
    case .abs, .neg, .sign, .bitwiseNot, .clip:
      let limits = try kind == .clip ? clipLimits(dtype) : (nil, nil)
      if dtype == .f16 || dtype == .bf16 {
        let work = NumberWork(kind: kind, x: try x.float32(), low: try limits.0?.float32(), high: try limits.1?.float32(), team: context.team)
        return [try work.dispatch(.f32).rounded(to: dtype)]
      }
      return [try NumberWork(kind: kind, x: x, low: limits.0, high: limits.1, team: context.team).dispatch(dtype)]
    case .relu, .shrink:
      let floats: [DType] = [.f32, .f64, .f16, .bf16]
      if floats.contains(dtype) { return [try float(kind, x)] }
      // Shrink adds a real number: integers are computed in F64 and truncated, as NumPy does.
      if kind == .shrink { return [try float(kind, x.cast(to: .f64)).cast(to: dtype)] }
      return [try NumberWork(kind: kind, x: x, low: nil, high: nil, team: context.team).dispatch(dtype)]
    case .fastGelu, .biasGelu:
      guard let bias = optional(1) else { return [try float(kind, x)] }
      let sum = Generic(.arithmetic(.add), version: 14)
      return [try float(kind, try sum.evaluate([x, bias], outputs: 1, context: context)[0])]
    case .sqrt, .exp, .log, .erf, .floor, .ceil, .round, .reciprocal, .sin, .cos, .tan, .asin, .acos, .atan, .sinh, .cosh, .asinh, .acosh, .atanh, .tanh,
         .sigmoid, .leakyRelu, .elu, .selu, .celu, .hardSigmoid, .hardSwish, .softplus, .softsign, .thresholdedRelu, .mish, .gelu, .swish,
         .microsoftGelu, .quickGelu:
      return [try float(kind, x)]
    }
  }

  /// Inference only: the data, and a mask that keeps everything.
  private func dropout(_ x: Tensor) throws(GenericProblem) -> [Tensor] {
    if op.version >= 12, let training = optional(2), try training.elements(UInt8.self)[0] != 0 {
      let ratio = try optional(1).map { r throws(GenericProblem) in try r.doubles()[0] } ?? 0.5
      guard ratio == 0 else { throw .unsupported("Dropout drops at random when training, which is not done here") }
    }
    guard outputs > 1 else { return [x] }
    let count = x.count
    let mask = try Tensor.result(.bool, x.shape, of: UInt8.self) { out in for i in 0..<count { out[i] = 1 } }
    return [x, op.version >= 10 ? mask : try mask.cast(to: x.dtype)]
  }

  private func isInfinite(_ x: Tensor) throws(GenericProblem) -> Tensor {
    let negative = (op.int("detect_negative") ?? 1) != 0, positive = (op.int("detect_positive") ?? 1) != 0
    if x.dtype == .f64 {
      return try x.mapped(.bool, Double.self, UInt8.self, context.team) { ($0 == .infinity && positive) || ($0 == -.infinity && negative) ? 1 : 0 }
    }
    return try x.float32().mapped(.bool, Float.self, UInt8.self, context.team) { ($0 == .infinity && positive) || ($0 == -.infinity && negative) ? 1 : 0 }
  }

  /// The limits as tensors of one element: inputs since operator set 11, attributes before.
  private func clipLimits(_ dtype: DType) throws(GenericProblem) -> (Tensor?, Tensor?) {
    if op.version >= 11 { return (optional(1), optional(2)) }
    func limit(_ name: String) throws(GenericProblem) -> Tensor? {
      guard let v = op.float(name) else { return nil }
      return try Tensor.result(.f32, [], of: Float.self) { $0[0] = v }.cast(to: dtype)
    }
    return (try limit("min"), try limit("max"))
  }

  /// A function of the reals, in F64 for F64 and in F32 for the rest.
  private func float(_ kind: UnaryKind, _ x: Tensor) throws(GenericProblem) -> Tensor {
    if x.dtype == .f64 { return try RealWork(kind: kind, op: op, x: x, team: context.team).run(Double.self) }
    let real = try x.float32()
    if let activation = activation(kind) { return try tabled(activation, real).rounded(to: x.dtype) }
    return try RealWork(kind: kind, op: op, x: real, team: context.team).run(Float.self).rounded(to: x.dtype)
  }

  /// The activations that the kernel table has.
  private func activation(_ kind: UnaryKind) -> Int? {
    switch kind {
    case .gelu: op.string("approximate") == "tanh" ? DK_GELU_TANH : DK_GELU
    case .microsoftGelu, .biasGelu: DK_GELU
    case .fastGelu: DK_GELU_TANH
    case .relu: nil
    case .swish: (op.float("alpha") ?? 1) == 1 ? DK_SILU : nil
    case .quickGelu: (op.float("alpha") ?? 1.702) == 1 ? DK_SILU : nil
    default: nil
    }
  }

  private func tabled(_ activation: Int, _ x: Tensor) throws(GenericProblem) -> Tensor {
    let apply = context.table.c.pointee.f32_activation!, n = x.count
    return try x.read(Float.self) { p throws(GenericProblem) in
      try Tensor.result(.f32, x.shape, of: Float.self) { out in
        context.team.forRanges(n) { apply(Int32(activation), p + $0.lowerBound, out + $0.lowerBound, $0.count) }
      }
    }
  }
}

extension Tensor {
  /// `f` of every element.
  @inline(__always)
  func mapped<T: BitwiseCopyable, R: BitwiseCopyable>(_ dtype: DType, _ input: T.Type, _ result: R.Type, _ team: ThreadTeam,
                                                      _ f: (T) -> R) throws(GenericProblem) -> Tensor {
    let n = count
    return try read(T.self) { x throws(GenericProblem) in
      try Tensor.result(dtype, shape, of: R.self) { out in
        team.forRanges(n) { range in for i in range { out[i] = f(x[i]) } }
      }
    }
  }
}

/// What any number has.
private struct NumberWork: ElementWork {
  let kind: UnaryKind
  let x: Tensor
  let low: Tensor?, high: Tensor?
  let team: ThreadTeam

  func run<T: NumericElement>(_ type: T.Type) throws(GenericProblem) -> Tensor {
    switch kind {
    case .neg: return try x.mapped(x.dtype, T.self, T.self, team) { T.isInteger ? T.sub(0, $0) : T.mul($0, T(wrapping: -1)) }
    // Zero minus, not negation: the least integer has no positive twin, and stays. Zero plus makes -0 positive.
    case .abs: return try x.mapped(x.dtype, T.self, T.self, team) { $0 < 0 ? T.sub(0, $0) : T.add($0, 0) }
    case .sign: return try x.mapped(x.dtype, T.self, T.self, team) { $0 > 0 ? 1 : $0 < 0 ? T.sub(0, 1) : $0 }
    case .relu: return try x.mapped(x.dtype, T.self, T.self, team) { $0 > 0 ? $0 : 0 }
    case .bitwiseNot: return try x.mapped(x.dtype, T.self, T.self, team) { T.sub(T.sub(0, $0), 1) }
    case .clip:
      let least = try low?.elements(T.self)[0] ?? T.lowest, most = try high?.elements(T.self)[0] ?? T.highest
      // NaN passes; where the limits are out of order, the upper one wins.
      return try x.mapped(x.dtype, T.self, T.self, team) { v in
        let raised = v < least ? least : v
        return raised > most ? most : raised
      }
    default: throw .unsupported("\(kind.rawValue) is not computed for all numbers")
    }
  }
}

/// Functions of the reals.
private struct RealWork {
  let kind: UnaryKind
  let op: Generic
  let x: Tensor
  let team: ThreadTeam

  @inline(__always)
  private func map<T: FloatElement>(_ type: T.Type, _ f: (T) -> T) throws(GenericProblem) -> Tensor { try x.mapped(x.dtype, T.self, T.self, team, f) }

  private func attribute<T: FloatElement>(_ name: String, _ otherwise: Float) -> T { T(op.float(name) ?? otherwise) }

  @inline(__always)
  func run<T: FloatElement>(_ type: T.Type) throws(GenericProblem) -> Tensor {
    switch kind {
    case .sqrt: return try map(T.self) { $0.squareRoot() }
    case .exp: return try map(T.self) { T.cExp($0) }
    case .log: return try map(T.self) { T.cLog($0) }
    case .erf: return try map(T.self) { T.cErf($0) }
    case .floor: return try map(T.self) { $0.rounded(.down) }
    case .ceil: return try map(T.self) { $0.rounded(.up) }
    case .round: return try map(T.self) { $0.rounded(.toNearestOrEven) }
    case .reciprocal: return try map(T.self) { 1 / $0 }
    case .sin: return try map(T.self) { T.cSin($0) }
    case .cos: return try map(T.self) { T.cCos($0) }
    case .tan: return try map(T.self) { T.cTan($0) }
    case .asin: return try map(T.self) { T.cAsin($0) }
    case .acos: return try map(T.self) { T.cAcos($0) }
    case .atan: return try map(T.self) { T.cAtan($0) }
    case .sinh: return try map(T.self) { T.cSinh($0) }
    case .cosh: return try map(T.self) { T.cCosh($0) }
    case .asinh: return try map(T.self) { T.cAsinh($0) }
    case .acosh: return try map(T.self) { T.cAcosh($0) }
    case .atanh: return try map(T.self) { T.cAtanh($0) }
    case .tanh: return try map(T.self) { T.cTanh($0) }
    case .sigmoid: return try map(T.self) { sigmoid($0) }
    case .relu: return try map(T.self) { $0 < 0 ? 0 : $0 }
    case .leakyRelu:
      let alpha: T = attribute("alpha", 0.01)
      return try map(T.self) { $0 < 0 ? alpha * $0 : $0 }
    case .elu:
      let alpha: T = attribute("alpha", 1)
      return try map(T.self) { $0 > 0 ? $0 : alpha * T.cExpm1($0) }
    case .selu:
      let alpha: T = attribute("alpha", 1.67326319217681884765625), gamma: T = attribute("gamma", 1.05070102214813232421875)
      return try map(T.self) { gamma * ($0 > 0 ? $0 : alpha * T.cExpm1($0)) }
    case .celu:
      let alpha: T = attribute("alpha", 1)
      return try map(T.self) { $0 > 0 ? $0 : alpha * T.cExpm1($0 / alpha) }
    case .hardSigmoid:
      let alpha: T = attribute("alpha", 0.2), beta: T = attribute("beta", 0.5)
      return try map(T.self) { clamped($0 * alpha + beta) }
    case .hardSwish: return try map(T.self) { $0 * clamped($0 / 6 + 0.5) }
    case .softplus: return try map(T.self) { softplus($0) }
    case .softsign: return try map(T.self) { $0 / (1 + $0.magnitude) }
    case .thresholdedRelu:
      let alpha: T = attribute("alpha", 1)
      return try map(T.self) { $0 > alpha ? $0 : 0 }
    case .mish: return try map(T.self) { $0 * T.cTanh(softplus($0)) }
    case .shrink:
      let bias: T = attribute("bias", 0), lambda: T = attribute("lambd", 0.5)
      return try map(T.self) { $0 < -lambda ? $0 + bias : $0 > lambda ? $0 - bias : 0 }
    case .swish:
      let alpha: T = attribute("alpha", 1)
      return try map(T.self) { $0 * sigmoid(alpha * $0) }
    case .quickGelu:
      let alpha: T = attribute("alpha", 1.702)
      return try map(T.self) { $0 * sigmoid(alpha * $0) }
    case .gelu where op.string("approximate") == "tanh", .fastGelu:
      let scale = T(2 / Double.pi).squareRoot()
      return try map(T.self) { 0.5 * $0 * (1 + T.cTanh(scale * ($0 + T(0.044715) * $0 * $0 * $0))) }
    case .gelu, .microsoftGelu, .biasGelu:
      let root = T(0.5).squareRoot()
      return try map(T.self) { 0.5 * $0 * (1 + T.cErf($0 * root)) }
    case .abs, .neg, .sign, .clip, .not, .bitwiseNot, .isNaN, .isInf, .cast, .castLike, .identity, .dropout:
      throw .unsupported("\(kind.rawValue) is no function of the reals")
    }
  }

  @inline(__always) private func sigmoid<T: FloatElement>(_ x: T) -> T { 1 / (1 + T.cExp(-x)) }
  @inline(__always) private func softplus<T: FloatElement>(_ x: T) -> T { (x > 0 ? x : 0) + T.cLog1p(T.cExp(-x.magnitude)) }
  @inline(__always) private func clamped<T: FloatElement>(_ x: T) -> T { x < 0 ? 0 : x > 1 ? 1 : x }
}
