// Plain twins of the int8 kernels: integers in Int, floats in Float in the order that the kernels promise (see exact.h) where bits are compared,
// in Double where only the meaning is.

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

extension Reference {
  /// Σ_p (a[i, p] - za)·(b[p, j] - zb) modulo 2^32; a [rows, depth], b [depth, columns]; zero points one for all or one for each row of a, column of b.
  public static func int8Product(_ a: [Int], zero za: [Int], _ b: [Int], zero zb: [Int], rows: Int, depth: Int, columns: Int) -> [Int32] {
    (0..<rows).flatMap { i in
      (0..<columns).map { j in
        Int32(truncatingIfNeeded: (0..<depth).reduce(0) { sum, p in
          sum + (a[i * depth + p] - za[za.count == 1 ? 0 : i]) * (b[p * columns + j] - zb[zb.count == 1 ? 0 : j])
        })
      }
    }
  }

  /// The nearest integer to x · factor, ties to even; the product is not rounded before (a double holds it exactly).
  public static func wholeSteps(_ x: Float, _ factor: Float) -> Int { Int((Double(x) * Double(factor)).rounded(.toNearestOrEven)) }

  /// A row as integers of -127...127, their scale and what 0 stands for: round((x - middle) · 127 / half), ties to even, of the range with 0 in it.
  public static func quantizedRow(_ x: [Float]) -> (values: [Int], scale: Float, middle: Float) {
    let least = x.reduce(0) { min($0, $1) }, most = x.reduce(0) { max($0, $1) }
    let middle = (least + most) * 0.5, half = (most - least) * 0.5
    let factor = half > 0 ? 127 / half : 0
    return (x.map { wholeSteps($0 - middle, factor) }, half / 127, middle)
  }

  /// x rounded to given steps, as ONNX's QuantizeLinear and DequantizeLinear do it: whole steps of `scale` within lower - zero ... upper - zero.
  public static func rounded(_ x: Float, scale: Float, zero: Int, lower: Int, upper: Int) -> Float {
    let low = Float(lower - zero), high = Float(upper - zero), step = (x / scale).rounded(.toNearestOrEven)
    return (step > low ? min(step, high) : low) * scale
  }

  /// The steps that ONNX's DynamicQuantizeLinear takes for these values: 0...255.
  public static func dynamicSteps(_ least: Float, _ most: Float) -> (scale: Float, zero: Int) {
    let low = min(least, 0), high = max(most, 0)
    let scale = (high == low ? 1 : high - low) / 255
    return (scale, Int(min(max(-low / scale, 0), 255).rounded(.toNearestOrEven)))
  }

  /// A linear layer on quantized rows and weights: activation(((Σ qx·qw)·row scale + row middle·Σ qw)·column scale + bias) · scale + residual, each sum and its product rounded once.
  public static func int8Linear(_ x: [Float], _ weights: [(values: [Int], scale: Float)], rows: Int, bias: [Float]? = nil, activation: ((Float) -> Float)? = nil,
                                scale: [Float]? = nil, residual: [Float]? = nil) -> [Float] {
    let inputs = x.count / rows, outputs = weights.count
    var y: [Float] = []
    for r in 0..<rows {
      let q = quantizedRow(Array(x[r * inputs..<(r + 1) * inputs]))
      for o in 0..<outputs {
        let sum = (0..<inputs).reduce(0) { $0 + q.values[$1] * weights[o].values[$1] }
        let whole = (q.middle * Float(weights[o].values.reduce(0, +))).addingProduct(Float(sum), q.scale)
        var v = (bias?[o] ?? -0.0).addingProduct(whole, weights[o].scale)
        if let activation { v = activation(v) }
        if let residual { v = residual[r * outputs + o].addingProduct(v, scale?[o] ?? 1) } else if let scale { v *= scale[o] }
        y.append(v)
      }
    }
    return y
  }
}
