// The C library's functions under one name for F32 and F64, so that twins are written once. And running one function over many elements on the team.

import DinoKernels

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

protocol FloatElement: NumericElement, BinaryFloatingPoint {
  static func cExp(_ x: Self) -> Self
  static func cExpm1(_ x: Self) -> Self
  static func cLog(_ x: Self) -> Self
  static func cLog1p(_ x: Self) -> Self
  static func cErf(_ x: Self) -> Self
  static func cSin(_ x: Self) -> Self
  static func cCos(_ x: Self) -> Self
  static func cTan(_ x: Self) -> Self
  static func cAsin(_ x: Self) -> Self
  static func cAcos(_ x: Self) -> Self
  static func cAtan(_ x: Self) -> Self
  static func cSinh(_ x: Self) -> Self
  static func cCosh(_ x: Self) -> Self
  static func cTanh(_ x: Self) -> Self
  static func cAsinh(_ x: Self) -> Self
  static func cAcosh(_ x: Self) -> Self
  static func cAtanh(_ x: Self) -> Self
}

extension Float: FloatElement {
  @inline(__always) static func cExp(_ x: Float) -> Float { expf(x) }
  @inline(__always) static func cExpm1(_ x: Float) -> Float { expm1f(x) }
  @inline(__always) static func cLog(_ x: Float) -> Float { logf(x) }
  @inline(__always) static func cLog1p(_ x: Float) -> Float { log1pf(x) }
  @inline(__always) static func cErf(_ x: Float) -> Float { erff(x) }
  @inline(__always) static func cSin(_ x: Float) -> Float { sinf(x) }
  @inline(__always) static func cCos(_ x: Float) -> Float { cosf(x) }
  @inline(__always) static func cTan(_ x: Float) -> Float { tanf(x) }
  @inline(__always) static func cAsin(_ x: Float) -> Float { asinf(x) }
  @inline(__always) static func cAcos(_ x: Float) -> Float { acosf(x) }
  @inline(__always) static func cAtan(_ x: Float) -> Float { atanf(x) }
  @inline(__always) static func cSinh(_ x: Float) -> Float { sinhf(x) }
  @inline(__always) static func cCosh(_ x: Float) -> Float { coshf(x) }
  @inline(__always) static func cTanh(_ x: Float) -> Float { tanhf(x) }
  @inline(__always) static func cAsinh(_ x: Float) -> Float { asinhf(x) }
  @inline(__always) static func cAcosh(_ x: Float) -> Float { acoshf(x) }
  @inline(__always) static func cAtanh(_ x: Float) -> Float { atanhf(x) }
}

extension Double: FloatElement {
  @inline(__always) static func cExp(_ x: Double) -> Double { exp(x) }
  @inline(__always) static func cExpm1(_ x: Double) -> Double { expm1(x) }
  @inline(__always) static func cLog(_ x: Double) -> Double { log(x) }
  @inline(__always) static func cLog1p(_ x: Double) -> Double { log1p(x) }
  @inline(__always) static func cErf(_ x: Double) -> Double { erf(x) }
  @inline(__always) static func cSin(_ x: Double) -> Double { sin(x) }
  @inline(__always) static func cCos(_ x: Double) -> Double { cos(x) }
  @inline(__always) static func cTan(_ x: Double) -> Double { tan(x) }
  @inline(__always) static func cAsin(_ x: Double) -> Double { asin(x) }
  @inline(__always) static func cAcos(_ x: Double) -> Double { acos(x) }
  @inline(__always) static func cAtan(_ x: Double) -> Double { atan(x) }
  @inline(__always) static func cSinh(_ x: Double) -> Double { sinh(x) }
  @inline(__always) static func cCosh(_ x: Double) -> Double { cosh(x) }
  @inline(__always) static func cTanh(_ x: Double) -> Double { tanh(x) }
  @inline(__always) static func cAsinh(_ x: Double) -> Double { asinh(x) }
  @inline(__always) static func cAcosh(_ x: Double) -> Double { acosh(x) }
  @inline(__always) static func cAtanh(_ x: Double) -> Double { atanh(x) }
}

extension ThreadTeam {
  /// Calls `body` with ranges that together cover `0..<count`, on the team where there is enough to do.
  @inline(__always)
  func forRanges(_ count: Int, grain: Int = 1 << 14, _ body: (Range<Int>) -> Void) {
    if self.count == 1 || count <= grain { return body(0..<count) }
    let tasks = (count + grain - 1) / grain
    forEach(tasks) { i in body(i * grain..<Swift.min(count, (i + 1) * grain)) }
  }
}
