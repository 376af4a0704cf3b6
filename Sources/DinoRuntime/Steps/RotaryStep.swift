// Rotary positions on the first columns of each row: x·cos + rotate(x)·sin for each head, or the transpose of that; the other columns are copied. (Where attention runs on words
// the chain of its linear layer turns queries and keys before they are quantized: ChainHeads.)

import CDinoKernels
import DinoKernels

/// The angles of rotary positions, [tokens, headWidth] each.
struct RotaryAngleTable {
  var cos: UnsafePointer<Float>
  var sin: UnsafePointer<Float>
  var headWidth: Int

  /// Turns the first `columns` columns of `rows` rows, the tokens of one image from `token` on. `to` may be `from`.
  @inline(__always)
  func turn(_ from: UnsafePointer<Float>, _ fromStride: Int, _ to: UnsafeMutablePointer<Float>, _ toStride: Int, token: Int, rows: Int, columns: Int, transposed: Bool = false,
            _ context: StepContext) {
    context.table.c.pointee.f32_rotary(from, fromStride, to, toStride, cos + token * headWidth, sin + token * headWidth, rows, columns, headWidth, transposed ? 1 : 0)
  }
}

struct RotaryStep {
  var x: Operand
  var y: Operand
  var angles: RotaryAngleTable
  var tokens: Int
  var columns: Int
  var transposed: Bool
  var chunks: Int

  func run(_ chunk: Int, _ context: StepContext) {
    let rows = slice(y.layout.rows, chunks, chunk), rest = y.layout.columns - columns
    let from = x.pointer(context.bindings), to = y.pointer(context.bindings), strides = (x.layout.stride, y.layout.stride)
    forEachImage(of: rows.lowerBound, rows.count, perImage: tokens) { _, token, n, offset in
      let row = rows.lowerBound + offset
      angles.turn(from + row * strides.0, strides.0, to + row * strides.1, strides.1, token: token, rows: n, columns: columns, transposed: transposed, context)
    }
    guard rest > 0 else { return }
    for row in rows { (to + row * strides.1 + columns).update(from: from + row * strides.0 + columns, count: rest) }
  }
}
