// The loss's steps, and the functions of single rows that the backward pass needs.

import CDinoKernels
import DinoKernels

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

/// One row of the targets: see TrainingOperator.crossViewTargets.
struct TargetsStep {
  var q: Operand
  var y: Operand
  var batch: Int
  var views: Int

  func run(_ chunk: Int, _ context: StepContext) {
    let view = chunk / batch, image = chunk % batch, columns = y.layout.columns
    let first = q.pointer(context.bindings) + image * q.layout.stride, second = first + batch * q.layout.stride
    let out = y.pointer(context.bindings) + chunk * y.layout.stride, terms = Float((2 * views - 2) * batch)
    let a: Float = view == 0 ? 0 : 1, b: Float = view == 1 ? 0 : 1
    for c in 0..<columns { out[c] = (a * first[c] + b * second[c]) / terms }
  }
}

/// One row of the cross entropy, as the two halves of a double: rows are few and the sum over them should lose nothing.
struct LossStep {
  var logits: Operand
  var target: Operand
  var factor: Operand
  var y: Operand

  func run(_ chunk: Int, _ context: StepContext) {
    let columns = logits.layout.columns, scaled = context.scratch
    let x = logits.pointer(context.bindings) + chunk * logits.layout.stride, t = target.pointer(context.bindings) + chunk * target.layout.stride
    let f = factor.pointer(context.bindings)[0]
    var top = -Float.infinity, total = 0.0, dot = 0.0
    for c in 0..<columns {
      let s = x[c] * f
      top = max(top, s)
      total += Double(t[c])
      dot += Double(t[c]) * Double(s)
      scaled[c] = s
    }
    // The largest probability is exp(0) / Z.
    context.table.c.pointee.f32_softmax(scaled, 0, scaled, 0, 1, columns)
    var largest: Float = 0
    for c in 0..<columns { largest = max(largest, scaled[c]) }
    let value = total * (Double(top) - log(Double(largest))) - dot
    let out = y.pointer(context.bindings) + chunk * 2
    out[0] = Float(value)
    out[1] = Float(value - Double(out[0]))
  }
}

/// Rows of the cosine distance, each as the two halves of a double, as LossStep's.
struct CosineStep {
  var a: Operand
  var b: Operand
  var y: Operand
  var chunks: Int

  func run(_ chunk: Int, _ context: StepContext) {
    let columns = a.layout.columns, count = Double(a.layout.rows)
    let pa = a.pointer(context.bindings), pb = b.pointer(context.bindings), out = y.pointer(context.bindings)
    for row in slice(a.layout.rows, chunks, chunk) {
      let value = (1 - Double(RowGradientStep.cosine(pa + row * a.layout.stride, pb + row * b.layout.stride, columns).cosine)) / count
      out[2 * row] = Float(value)
      out[2 * row + 1] = Float(value - Double(out[2 * row]))
    }
  }
}

struct TotalStep {
  var x: Operand
  var y: Operand

  func run(_ chunk: Int, _ context: StepContext) {
    let from = x.pointer(context.bindings)
    var total = 0.0
    for i in 0..<x.layout.rows { total += Double(from[2 * i]) + Double(from[2 * i + 1]) }
    y.pointer(context.bindings)[0] = Float(total)
  }
}

/// y[r] = f(a[r], b[r], …), r a row of the last axis. Which operands are what is said beside each function.
struct RowGradientStep {
  enum Function {
    /// a dy, b x, c weight (one row).
    case layerNorm(Float)
    /// a dy, b x.
    case activation(Int32)
    /// a dy, b x, twice as wide, as the result is.
    case gate(Int32)
    /// a dy, b x.
    case l2Normalize(Float)
    /// a v, b g: the forward operator, on a weight that is not constant.
    case weightNorm
    /// a dw, b v, c g.
    case weightNormByV
    /// a dw, b v: y has one column.
    case weightNormByG
    /// a dy, b softmax's result.
    case softmax
    /// a logits, b target, c factor, d dloss.
    case softCrossEntropy
    /// a student, b teacher, c dloss.
    case cosineDistance
  }
  var function: Function
  var a: Operand
  var b: Operand
  var c: Operand
  var d: Operand
  var y: Operand
  var chunks: Int

  func run(_ chunk: Int, _ context: StepContext) {
    let rows = slice(y.layout.rows, chunks, chunk), columns = a.layout.columns
    let pa = a.pointer(context.bindings), pb = b.pointer(context.bindings), pc = c.pointer(context.bindings), out = y.pointer(context.bindings)
    if case .layerNorm(let epsilon) = function {
      return context.table.c.pointee.f32_layer_norm_gradient(
        pa + rows.lowerBound * a.layout.stride, a.layout.stride, pb + rows.lowerBound * b.layout.stride, b.layout.stride, pc, epsilon,
        out + rows.lowerBound * y.layout.stride, y.layout.stride, rows.count, columns)
    }
    for row in rows {
      let a = pa + row * a.layout.stride, b = pb + row * b.layout.stride, y = out + row * y.layout.stride
      switch function {
      case .layerNorm: break
      case .activation(let code): context.table.c.pointee.f32_activation_gradient(code, a, b, y, columns)
      case .gate(let code): context.table.c.pointee.f32_gate_gradient(code, a, b, b + columns, y, y + columns, columns)
      case .l2Normalize(let epsilon):
        let (squares, dot) = Self.sums(a, b, columns), norm = squares.squareRoot()
        // Below epsilon the divisor is constant.
        let inverse = 1 / max(norm, epsilon), along = norm > epsilon ? dot * inverse * inverse : 0
        for i in 0..<columns { y[i] = (a[i] - b[i] * along) * inverse }
      case .weightNorm:
        let factor = b[0] / Self.sums(a, a, columns).squares.squareRoot()
        for i in 0..<columns { y[i] = a[i] * factor }
      case .weightNormByV:
        let (squares, dot) = Self.sums(a, b, columns), factor = pc[row * c.layout.stride] / squares.squareRoot(), along = dot / squares
        for i in 0..<columns { y[i] = (a[i] - b[i] * along) * factor }
      case .weightNormByG:
        let (squares, dot) = Self.sums(a, b, columns)
        y[0] = dot / squares.squareRoot()
      case .softmax:
        let dot = Self.sums(a, b, columns).dot
        for i in 0..<columns { y[i] = b[i] * (a[i] - dot) }
      case .softCrossEntropy:
        let factor = pc[0], scale = factor * d.pointer(context.bindings)[0]
        var total: Float = 0
        for i in 0..<columns {
          total += b[i]
          y[i] = a[i] * factor
        }
        context.table.c.pointee.f32_softmax(y, 0, y, 0, 1, columns)
        for i in 0..<columns { y[i] = scale * (y[i] * total - b[i]) }
      case .cosineDistance:
        let (cosine, inverse, other) = Self.cosine(a, b, columns), scale = pc[0] * inverse / Float(self.y.layout.rows)
        for i in 0..<columns { y[i] = scale * (a[i] * cosine * inverse - b[i] * other) }
      }
    }
  }

  /// Of two rows, and one over the length of each, which is 1e-8 at least.
  static func cosine(_ a: UnsafeMutablePointer<Float>, _ b: UnsafeMutablePointer<Float>, _ count: Int) -> (cosine: Float, inverse: Float, other: Float) {
    let (squares, dot) = sums(a, b, count), own = sums(a, a, count).squares
    let inverse = 1 / max(own.squareRoot(), 1e-8), other = 1 / max(squares.squareRoot(), 1e-8)
    return (dot * inverse * other, inverse, other)
  }

  /// Σ b² and Σ a·b, in eight lanes of one fixed order, which the compiler can keep in registers.
  @inline(__always)
  private static func sums(_ a: UnsafeMutablePointer<Float>, _ b: UnsafeMutablePointer<Float>, _ count: Int) -> (squares: Float, dot: Float) {
    var squares = SIMD8<Float>.zero, dots = SIMD8<Float>.zero
    var i = 0
    while i + 8 <= count {
      let x = UnsafeRawPointer(a + i).loadUnaligned(as: SIMD8<Float>.self), y = UnsafeRawPointer(b + i).loadUnaligned(as: SIMD8<Float>.self)
      squares += y * y
      dots += x * y
      i += 8
    }
    var s = squares.sum(), d = dots.sum()
    while i < count {
      s += b[i] * b[i]
      d += a[i] * b[i]
      i += 1
    }
    return (s, d)
  }
}
