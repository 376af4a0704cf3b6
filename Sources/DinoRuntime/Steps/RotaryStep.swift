// Rotary positions on the first columns of each row: x·cos + rotate(x)·sin for each head, or the transpose of that; the other columns are copied. Plain loops over halves of a head, which
// the compiler vectorises.

import DinoKernels

struct RotaryStep {
  var x: Operand
  var y: Operand
  /// [tokens, headWidth].
  var cos: UnsafePointer<Float>
  var sin: UnsafePointer<Float>
  var tokens: Int
  var headWidth: Int
  var columns: Int
  var transposed: Bool
  var chunks: Int

  func run(_ chunk: Int, _ context: StepContext) {
    let from = x.pointer(context.bindings), to = y.pointer(context.bindings), half = headWidth / 2
    for row in slice(y.layout.rows, chunks, chunk) {
      let a = from + row * x.layout.stride, b = to + row * y.layout.stride
      let c = cos + row % tokens * headWidth, s = sin + row % tokens * headWidth
      var head = 0
      while head < columns {
        let p = a + head, q = b + head
        if transposed {
          for i in 0..<half {
            let low = p[i], high = p[i + half]
            q[i] = low * c[i] + high * s[i + half]
            q[i + half] = high * c[i + half] - low * s[i]
          }
        } else {
          for i in 0..<half {
            let low = p[i], high = p[i + half]
            q[i] = low * c[i] - high * s[i]
            q[i + half] = high * c[i + half] + low * s[i + half]
          }
        }
        head += headWidth
      }
      let rest = y.layout.columns - columns
      if rest > 0 { (b + columns).update(from: a + columns, count: rest) }
    }
  }
}
