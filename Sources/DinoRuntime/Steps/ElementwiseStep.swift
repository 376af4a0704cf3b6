// a + b and a · b with NumPy's broadcasting. Which row of a and of b goes into each row of the result is worked out when the plan is made.

import DinoTensor

struct ElementwiseStep {
  enum Function { case add, multiply }
  var function: Function
  var a: Operand
  var b: Operand
  var y: Operand
  /// Steps through rows for each axis but the last: y's extent, and how many rows of a and b one step is (0 where they are broadcast).
  var axes: [(extent: Int, a: Int, b: Int)]
  var aColumns: Int
  var bColumns: Int
  var chunks: Int

  static func make(_ function: Function, a: Operand, aShape: Shape, b: Operand, bShape: Shape, y: Operand, yShape: Shape, chunks: Int) -> ElementwiseStep {
    func rowStrides(_ shape: Shape) -> [Int] {
      let leading = Array(repeating: 1, count: yShape.rank - shape.rank) + shape.dims
      var strides = [Int](repeating: 0, count: max(yShape.rank - 1, 0)), step = 1
      for axis in stride(from: yShape.rank - 2, through: 0, by: -1) {
        strides[axis] = leading[axis] == 1 ? 0 : step
        step *= leading[axis]
      }
      return strides
    }
    let sa = rowStrides(aShape), sb = rowStrides(bShape)
    let axes = (0..<max(yShape.rank - 1, 0)).map { (extent: yShape[$0], a: sa[$0], b: sb[$0]) }
    return ElementwiseStep(function: function, a: a, b: b, y: y, axes: axes, aColumns: aShape.isScalar ? 1 : aShape[-1],
                           bColumns: bShape.isScalar ? 1 : bShape[-1], chunks: chunks)
  }

  func run(_ chunk: Int, _ context: StepContext) {
    let columns = y.layout.columns
    for row in slice(y.layout.rows, chunks, chunk) {
      var rest = row, ra = 0, rb = 0
      for axis in axes.indices.reversed() {
        let i = rest % axes[axis].extent
        rest /= axes[axis].extent
        ra += i * axes[axis].a
        rb += i * axes[axis].b
      }
      let pa = a.pointer(context.bindings) + ra * a.layout.stride
      let pb = b.pointer(context.bindings) + rb * b.layout.stride
      let py = y.pointer(context.bindings) + row * y.layout.stride
      switch function {
      case .add: combine(pa, pb, py, columns) { $0 + $1 }
      case .multiply: combine(pa, pb, py, columns) { $0 * $1 }
      }
    }
  }

  @inline(__always)
  private func combine(_ pa: UnsafeMutablePointer<Float>, _ pb: UnsafeMutablePointer<Float>, _ py: UnsafeMutablePointer<Float>, _ columns: Int,
                       _ f: (Float, Float) -> Float) {
    if aColumns == columns && bColumns == columns {
      for c in 0..<columns { py[c] = f(pa[c], pb[c]) }
    } else {
      let stepA = aColumns == 1 ? 0 : 1, stepB = bColumns == 1 ? 0 : 1
      for c in 0..<columns { py[c] = f(pa[c * stepA], pb[c * stepB]) }
    }
  }
}
