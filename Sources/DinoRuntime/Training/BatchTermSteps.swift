// Steps over a whole batch of distributions or features: Sinkhorn-Knopp, KoLeo. A batch is small beside what the network does, so each is one chunk, or one for each group.

import CDinoKernels
import DinoKernels

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

/// exp(x), columns and rows normalised in turn. See TrainingOperator.sinkhorn.
struct SinkhornStep {
  var x: Operand
  var y: Operand
  var iterations: Int

  func run(_ chunk: Int, _ context: StepContext) {
    let rows = x.layout.rows, columns = x.layout.columns, sums = context.scratch
    let from = x.pointer(context.bindings), out = y.pointer(context.bindings)
    var top = -Float.infinity
    for r in 0..<rows { for c in 0..<columns { top = max(top, from[r * x.layout.stride + c]) } }
    for r in 0..<rows {
      let a = from + r * x.layout.stride, q = out + r * y.layout.stride
      // A row's softmax is exp(x - its largest) over a sum; the largest of it is one over that sum.
      var own = -Float.infinity, largest: Float = 0
      for c in 0..<columns { own = max(own, a[c]) }
      context.table.c.pointee.f32_softmax(a, x.layout.stride, q, y.layout.stride, 1, columns)
      for c in 0..<columns { largest = max(largest, q[c]) }
      let factor = expf(own - top) / largest
      for c in 0..<columns { q[c] *= factor }
    }
    for _ in 0..<iterations {
      for c in 0..<columns { sums[c] = 0 }
      for r in 0..<rows {
        let q = out + r * y.layout.stride
        for c in 0..<columns { sums[c] += q[c] }
      }
      // A prototype that all are infinitely far from stays at zero.
      for c in 0..<columns { sums[c] = sums[c] > 0 ? 1 / sums[c] : 0 }
      for r in 0..<rows {
        let q = out + r * y.layout.stride
        var total: Float = 0
        for c in 0..<columns {
          q[c] *= sums[c]
          total += q[c]
        }
        let inverse = 1 / total
        for c in 0..<columns { q[c] *= inverse }
      }
    }
  }
}

/// The KoLeo term of unit rows, or with `dloss` its gradient, one group to a chunk.
struct KoLeoStep {
  var x: Operand
  var dloss: Operand?
  var y: Operand
  var groups: Int

  func run(_ chunk: Int, _ context: StepContext) {
    let n = x.layout.rows / groups, columns = x.layout.columns, from = x.pointer(context.bindings), out = y.pointer(context.bindings)
    guard let dloss else {
      var loss = 0.0
      for g in 0..<groups { for i in 0..<n { loss -= log(nearest(from, g * n, n, i, columns).distance + 1e-8) / Double(n) } }
      out[0] = Float(loss)
      return
    }
    let factor = Double(dloss.pointer(context.bindings)[0]) / Double(n), first = chunk * n
    for i in first..<first + n { (out + i * y.layout.stride).update(repeating: 0, count: columns) }
    for i in 0..<n {
      let (other, distance) = nearest(from, first, n, i, columns)
      guard distance > 0 else { continue }
      let a = from + (first + i) * x.layout.stride, b = from + other * x.layout.stride
      let da = out + (first + i) * y.layout.stride, db = out + other * y.layout.stride
      let scale = Float(-factor / (distance * (distance + 1e-8)))
      for c in 0..<columns {
        let d = (a[c] - b[c]) * scale
        da[c] += d
        db[c] -= d
      }
    }
  }

  /// The row of its group with the largest product with row i, and how far it is.
  private func nearest(_ from: UnsafeMutablePointer<Float>, _ first: Int, _ n: Int, _ i: Int, _ columns: Int) -> (row: Int, distance: Double) {
    let a = from + (first + i) * x.layout.stride
    var best = -Double.infinity, at = first
    for j in first..<first + n where j != first + i {
      let b = from + j * x.layout.stride
      var dot = 0.0
      for c in 0..<columns { dot += Double(a[c]) * Double(b[c]) }
      if dot > best { (best, at) = (dot, j) }
    }
    let b = from + at * x.layout.stride
    var squares = 0.0
    for c in 0..<columns {
      let d = Double(a[c]) - Double(b[c])
      squares += d * d
    }
    return (at, squares.squareRoot())
  }
}
