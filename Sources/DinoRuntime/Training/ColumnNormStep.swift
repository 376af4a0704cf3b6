// Batch normalisation over the rows of a matrix, its gradients and its statistics: sixteen columns are one chunk, each lane goes through all rows in order, so that any
// number of threads gives the same bits.

import DinoKernels

struct ColumnNormStep {
  enum Function { case forward, gradient, weightGradient, statistics }
  static let lanes = 16

  var function: Function
  var x: Operand
  var weight: Operand
  var bias: Operand
  var dy: Operand
  var y: Operand
  var epsilon: Float

  func run(_ chunk: Int, _ context: StepContext) {
    let first = chunk * Self.lanes, n = min(Self.lanes, x.layout.columns - first), rows = x.layout.rows, count = Float(rows)
    let px = x.pointer(context.bindings) + first, out = y.pointer(context.bindings) + first
    var mean = SIMD16<Float>.zero, squares = mean
    for r in 0..<rows { mean += load(px + r * x.layout.stride, n) }
    mean /= count
    for r in 0..<rows {
      let d = load(px + r * x.layout.stride, n) - mean
      squares += d * d
    }
    if function == .statistics {
      store(mean, out, n)
      return store(squares / (count - 1), out + y.layout.stride, n)
    }
    let inverse = 1 / (squares / count + epsilon).squareRoot()
    if function == .forward {
      let w = load(weight.pointer(context.bindings) + first, n), b = load(bias.pointer(context.bindings) + first, n)
      for r in 0..<rows { store((load(px + r * x.layout.stride, n) - mean) * inverse * w + b, out + r * y.layout.stride, n) }
      return
    }
    let pd = dy.pointer(context.bindings) + first
    var sum = SIMD16<Float>.zero, dot = sum
    for r in 0..<rows {
      let d = load(pd + r * dy.layout.stride, n)
      sum += d
      dot += d * ((load(px + r * x.layout.stride, n) - mean) * inverse)
    }
    if function == .weightGradient { return store(dot, out, n) }
    let factor = load(weight.pointer(context.bindings) + first, n) * inverse
    sum /= count
    dot /= count
    for r in 0..<rows {
      let normalized = (load(px + r * x.layout.stride, n) - mean) * inverse
      store(factor * (load(pd + r * dy.layout.stride, n) - sum - normalized * dot), out + r * y.layout.stride, n)
    }
  }

  @inline(__always)
  private func load(_ p: UnsafeMutablePointer<Float>, _ n: Int) -> SIMD16<Float> {
    if n == Self.lanes { return UnsafeRawPointer(p).loadUnaligned(as: SIMD16<Float>.self) }
    var v = SIMD16<Float>.zero
    for i in 0..<n { v[i] = p[i] }
    return v
  }

  @inline(__always)
  private func store(_ v: SIMD16<Float>, _ p: UnsafeMutablePointer<Float>, _ n: Int) {
    if n == Self.lanes { return UnsafeMutableRawPointer(p).storeBytes(of: v, as: SIMD16<Float>.self) }
    for i in 0..<n { p[i] = v[i] }
  }
}
