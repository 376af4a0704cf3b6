// Plain twins of foreign operators: arithmetic and comparison of two or more tensors with broadcasting. One tensor: UnaryOperators.swift.

import DinoGraph
import DinoTensor

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

extension OperatorCall {
  func arithmetic(_ kind: ArithmeticKind) throws(GenericProblem) -> [Tensor] {
    let (dtype, shape) = try inferredShape()
    switch kind {
    case .pow: return [try power(input(0), input(1), shape)]
    case .add, .sub, .mul, .div, .prelu: return [try numeric(kind, input(0), input(1), shape)]
    case .min, .max, .sum, .mean:
      var total = try input(0)
      for i in 1..<Swift.max(inputs.count, 1) {
        let next = try input(i)
        total = try numeric(kind, total, next, try broadcastShape(total.shape, next.shape))
      }
      if kind == .mean, inputs.count > 1 {
        let count = try Tensor.result(.f32, [], of: Float.self) { $0[0] = Float(inputs.count) }
        total = try numeric(.div, total, try count.cast(to: dtype), shape)
      }
      return [total]
    case .bitwiseAnd, .bitwiseOr, .bitwiseXor:
      return [try BitWork(kind: kind, left: false, a: input(0), b: input(1), shape: shape).dispatch(dtype)]
    case .bitShift:
      return [try BitWork(kind: kind, left: op.string("direction") == "LEFT", a: input(0), b: input(1), shape: shape).dispatch(dtype)]
    case .mod:
      let a = try input(0), b = try input(1), truncating = op.int("fmod") == 1
      switch dtype {
      case .f32, .f16, .bf16: return [try floatMod(a.float32(), b.float32(), shape, truncating).rounded(to: dtype)]
      case .f64: return [try doubleMod(a, b, shape, truncating)]
      default:
        try refuseZero(b, dtype, shape)
        return [try ModWork(truncating: truncating, a: a, b: b, shape: shape).dispatch(dtype)]
      }
    }
  }

  func comparison(_ kind: ComparisonKind) throws(GenericProblem) -> [Tensor] {
    let shape = try inferredShape().shape
    var a = try input(0), b = try input(1)
    if a.dtype == .f16 || a.dtype == .bf16 { (a, b) = (try a.float32(), try b.float32()) }
    return [try CompareWork(kind: kind, a: a, b: b, shape: shape).dispatch(a.dtype)]
  }

  /// NumPy's rule for two shapes that the shape rule has found to fit.
  private func broadcastShape(_ a: Shape, _ b: Shape) throws(GenericProblem) -> Shape {
    let rank = Swift.max(a.rank, b.rank)
    return Shape((0..<rank).map { axis in
      let x = axis - (rank - a.rank), y = axis - (rank - b.rank)
      let m = x < 0 ? 1 : a.dims[x], n = y < 0 ? 1 : b.dims[y]
      return m == 1 ? n : m
    })
  }

  /// One step of arithmetic in the element's own type, F16 and BF16 in F32 and rounded after it.
  private func numeric(_ kind: ArithmeticKind, _ a: Tensor, _ b: Tensor, _ shape: Shape) throws(GenericProblem) -> Tensor {
    if a.dtype == .f16 || a.dtype == .bf16 {
      return try NumericWork(kind: kind, a: a.float32(), b: b.float32(), shape: shape).dispatch(.f32).rounded(to: a.dtype)
    }
    if kind == .div { try refuseZero(b, a.dtype, shape) }
    return try NumericWork(kind: kind, a: a, b: b, shape: shape).dispatch(a.dtype)
  }

  /// Integers are not divided by zero.
  private func refuseZero(_ b: Tensor, _ dtype: DType, _ shape: Shape) throws(GenericProblem) {
    switch dtype {
    case .f32, .f64, .f16, .bf16: return
    default: break
    }
    if shape.checkedCount != 0, try ZeroWork(x: b).dispatch(dtype) { throw .invalid("\(op.kind.name) divides an integer by zero") }
  }
}

private struct ZeroWork: ElementWork {
  let x: Tensor
  func run<T: NumericElement>(_ type: T.Type) throws(GenericProblem) -> Bool {
    let n = x.count
    return try x.read(T.self) { p in
      for i in 0..<n where p[i] == 0 { return true }
      return false
    }
  }
}

/// Reads two operands of one type and makes a result of another: what the works below share.
@inline(__always)
private func combined<T: BitwiseCopyable, R: BitwiseCopyable>(_ a: Tensor, _ b: Tensor, _ dtype: DType, _ shape: Shape, _ input: T.Type, _ result: R.Type,
                                                              _ f: (T, T) -> R) throws(GenericProblem) -> Tensor {
  let loop = StridedLoop(broadcasting: [a.shape, b.shape], to: shape)
  return try a.read(T.self) { x throws(GenericProblem) in
    try b.read(T.self) { y throws(GenericProblem) in
      try Tensor.result(dtype, shape, of: R.self) { out in combine(x, y, out, loop, f) }
    }
  }
}

private struct NumericWork: ElementWork {
  let kind: ArithmeticKind
  let a: Tensor, b: Tensor
  let shape: Shape

  func run<T: NumericElement>(_ type: T.Type) throws(GenericProblem) -> Tensor {
    switch kind {
    case .add, .sum, .mean: return try combined(a, b, a.dtype, shape, T.self, T.self) { T.add($0, $1) }
    case .sub: return try combined(a, b, a.dtype, shape, T.self, T.self) { T.sub($0, $1) }
    case .mul: return try combined(a, b, a.dtype, shape, T.self, T.self) { T.mul($0, $1) }
    case .div: return try combined(a, b, a.dtype, shape, T.self, T.self) { T.div($0, $1) }
    // NaN in either operand is the result.
    case .min: return try combined(a, b, a.dtype, shape, T.self, T.self) { $0 < $1 || $0.isNotANumber ? $0 : $1 }
    case .max: return try combined(a, b, a.dtype, shape, T.self, T.self) { $0 > $1 || $0.isNotANumber ? $0 : $1 }
    case .prelu: return try combined(a, b, a.dtype, shape, T.self, T.self) { $0 > 0 ? $0 : T.mul($0, $1) }
    case .pow, .mod, .bitShift, .bitwiseAnd, .bitwiseOr, .bitwiseXor: throw .unsupported("\(kind.rawValue) is not plain arithmetic")
    }
  }
}

private struct BitWork: IntegerWork {
  let kind: ArithmeticKind
  let left: Bool
  let a: Tensor, b: Tensor
  let shape: Shape

  func run<T: NumericElement & FixedWidthInteger>(_ type: T.Type) throws(GenericProblem) -> Tensor {
    switch kind {
    case .bitwiseAnd: return try combined(a, b, a.dtype, shape, T.self, T.self) { $0 & $1 }
    case .bitwiseOr: return try combined(a, b, a.dtype, shape, T.self, T.self) { $0 | $1 }
    case .bitwiseXor: return try combined(a, b, a.dtype, shape, T.self, T.self) { $0 ^ $1 }
    case .bitShift:
      // Swift's shifts already are ONNX's, beyond the width too; a negative distance shifts everything out, and does not turn around.
      if left { return try combined(a, b, a.dtype, shape, T.self, T.self) { $1 < 0 ? 0 : $0 << $1 } }
      return try combined(a, b, a.dtype, shape, T.self, T.self) { $1 < 0 ? ($0 < 0 ? ~0 : 0) : $0 >> $1 }
    case .add, .sub, .mul, .div, .pow, .mod, .min, .max, .mean, .sum, .prelu: throw .unsupported("\(kind.rawValue) is no bit operation")
    }
  }
}

private struct CompareWork: ElementWork {
  let kind: ComparisonKind
  let a: Tensor, b: Tensor
  let shape: Shape

  func run<T: NumericElement>(_ type: T.Type) throws(GenericProblem) -> Tensor {
    switch kind {
    case .equal: return try combined(a, b, .bool, shape, T.self, UInt8.self) { $0 == $1 ? 1 : 0 }
    case .greater: return try combined(a, b, .bool, shape, T.self, UInt8.self) { $0 > $1 ? 1 : 0 }
    case .less: return try combined(a, b, .bool, shape, T.self, UInt8.self) { $0 < $1 ? 1 : 0 }
    case .greaterOrEqual: return try combined(a, b, .bool, shape, T.self, UInt8.self) { $0 >= $1 ? 1 : 0 }
    case .lessOrEqual: return try combined(a, b, .bool, shape, T.self, UInt8.self) { $0 <= $1 ? 1 : 0 }
    case .and: return try combined(a, b, .bool, shape, T.self, UInt8.self) { $0 != 0 && $1 != 0 ? 1 : 0 }
    case .or: return try combined(a, b, .bool, shape, T.self, UInt8.self) { $0 != 0 || $1 != 0 ? 1 : 0 }
    case .xor: return try combined(a, b, .bool, shape, T.self, UInt8.self) { ($0 != 0) != ($1 != 0) ? 1 : 0 }
    }
  }
}

// MARK: - Mod

/// Divisors are not zero: the caller has refused them.
private struct ModWork: IntegerWork {
  let truncating: Bool
  let a: Tensor, b: Tensor
  let shape: Shape

  func run<T: NumericElement & FixedWidthInteger>(_ type: T.Type) throws(GenericProblem) -> Tensor {
    try combined(a, b, a.dtype, shape, T.self, T.self) { [truncating] x, y in
      let r = x.remainderReportingOverflow(dividingBy: y).partialValue
      return truncating || r == 0 || (r < 0) == (y < 0) ? r : r &+ y
    }
  }
}

/// The remainder with the divisor's sign, as Python has it.
@inline(__always)
private func floored<T: BinaryFloatingPoint>(_ r: T, _ y: T) -> T {
  if r == 0 { return T(signOf: y, magnitudeOf: r) }
  return (r < 0) == (y < 0) || r.isNaN ? r : r + y
}

private func floatMod(_ a: Tensor, _ b: Tensor, _ shape: Shape, _ truncating: Bool) throws(GenericProblem) -> Tensor {
  try combined(a, b, .f32, shape, Float.self, Float.self) { truncating ? fmodf($0, $1) : floored(fmodf($0, $1), $1) }
}
private func doubleMod(_ a: Tensor, _ b: Tensor, _ shape: Shape, _ truncating: Bool) throws(GenericProblem) -> Tensor {
  try combined(a, b, .f64, shape, Double.self, Double.self) { truncating ? fmod($0, $1) : floored(fmod($0, $1), $1) }
}

// MARK: - Pow

extension OperatorCall {
  /// The result has the base's type. Where the exponent's type says more than that, the power is taken in F64.
  private func power(_ base: Tensor, _ exponent: Tensor, _ shape: Shape) throws(GenericProblem) -> Tensor {
    let floats: [DType] = [.f32, .f16, .bf16, .f64]
    if !floats.contains(base.dtype), !floats.contains(exponent.dtype) {
      guard exponent.dtype != .u64 || exponent.integers() != nil else { throw .unsupported("Pow with exponents above 2^63") }
      let work = IntegerPowerWork(base: base, exponent: try exponent.cast(to: .i64), shape: shape)
      return try work.dispatch(base.dtype)
    }
    let wide: [DType] = [.f64, .i32, .u32, .i64, .u64]
    if wide.contains(base.dtype) || wide.contains(exponent.dtype) {
      let result = try combined(base.cast(to: .f64), exponent.cast(to: .f64), .f64, shape, Double.self, Double.self) { pow($0, $1) }
      return try result.cast(to: base.dtype)
    }
    let result = try combined(base.float32(), exponent.float32(), .f32, shape, Float.self, Float.self) { x, y in
      // Exponents of networks; the same values as powf gives, in a fraction of its time.
      if y == 2 { return x * x }
      if y == 0.5, x > 0 { return x.squareRoot() }
      return powf(x, y)
    }
    return try result.cast(to: base.dtype)
  }
}

/// Integers to integer powers, wrapping. A negative power is 1 divided by the positive one, truncated.
private struct IntegerPowerWork: IntegerWork {
  let base: Tensor, exponent: Tensor
  let shape: Shape

  func run<T: NumericElement & FixedWidthInteger>(_ type: T.Type) throws(GenericProblem) -> Tensor {
    let loop = StridedLoop(broadcasting: [base.shape, exponent.shape], to: shape)
    var undefined = false
    let result = try base.read(T.self) { x throws(GenericProblem) in
      try exponent.read(Int64.self) { y throws(GenericProblem) in
        try Tensor.result(base.dtype, shape, of: T.self) { out in
          combine(x, y, out, loop) { b, e -> T in
            if e < 0 {
              if b == 0 { undefined = true }
              return b == 1 ? 1 : b == ~0 && T.isSigned ? (e & 1 == 0 ? 1 : b) : 0
            }
            var power: T = 1, square = b, left = e
            while left > 0 {
              if left & 1 == 1 { power &*= square }
              square &*= square
              left >>= 1
            }
            return power
          }
        }
      }
    }
    if undefined { throw .invalid("Pow takes zero to a negative power") }
    return result
  }
}
