// Steps that work row by row: layer norm, softmax, activation, gate, L2 norm, copies of rows, patches out of images, the mean over tokens.

import CDinoKernels
import DinoKernels

struct LayerNormStep {
  var x: Operand
  var y: Operand
  var weight: UnsafePointer<Float>
  var bias: UnsafePointer<Float>
  var epsilon: Float
  var chunks: Int

  func run(_ chunk: Int, _ context: StepContext) {
    let rows = slice(y.layout.rows, chunks, chunk)
    context.table.c.pointee.f32_layer_norm(
      x.pointer(context.bindings) + rows.lowerBound * x.layout.stride, x.layout.stride, weight, bias, epsilon,
      y.pointer(context.bindings) + rows.lowerBound * y.layout.stride, y.layout.stride, rows.count, y.layout.columns)
  }
}

/// f(first half) · second half, by the kernel of the precision.
struct Gate {
  var kernel: @convention(c) (Int32, UnsafePointer<Float>?, UnsafePointer<Float>?, UnsafeMutablePointer<Float>?, Int) -> Void
  var activation: Int32
}

/// Rows in, rows out: y[i] = f(x[map(i)]), where the map takes groups of rows: `group` rows of y come from rows
/// [offset, offset + group) of each `period` rows of x, and go to rows [target, target + group) of each `targetPeriod` rows of y.
struct RowsStep {
  enum Function { case copy, softmax, activation(Int32), gate(Gate), l2Normalize(Float), round(scale: Float, low: Float, high: Float) }
  var function: Function
  var x: Operand
  var y: Operand
  var groups: Int
  var group: Int
  var period: Int
  var offset: Int
  var targetPeriod: Int
  var target: Int
  var chunks: Int

  func run(_ chunk: Int, _ context: StepContext) {
    let from = x.pointer(context.bindings), to = y.pointer(context.bindings)
    let columns = y.layout.columns
    for i in slice(groups * group, chunks, chunk) {
      let source = from + ((i / group) * period + offset + i % group) * x.layout.stride
      let destination = to + ((i / group) * targetPeriod + target + i % group) * y.layout.stride
      switch function {
      case .copy: destination.update(from: source, count: columns)
      case .softmax: context.table.c.pointee.f32_softmax(source, 0, destination, 0, 1, columns)
      case .activation(let f): context.table.c.pointee.f32_activation(f, source, destination, columns)
      case .gate(let gate): gate.kernel(gate.activation, source, source + columns, destination, columns)
      case .round(let scale, let low, let high): context.table.c.pointee.i8.pointee.round(source, destination, scale, low, high, columns)
      case .l2Normalize(let epsilon):
        var sum: Float = 0
        for c in 0..<columns { sum += source[c] * source[c] }
        let factor = 1 / max(sum.squareRoot(), epsilon)
        for c in 0..<columns { destination[c] = source[c] * factor }
      }
    }
  }
}

/// Image [batch, channels, height, width] to rows of patches [batch·patches, channels·patch·patch].
struct PatchesStep {
  var image: Operand
  var y: Operand
  var batch: Int
  var channels: Int
  var height: Int
  var width: Int
  var patch: Int

  /// One chunk for each row of patches.
  var chunks: Int { batch * (height / patch) }

  func run(_ chunk: Int, _ context: StepContext) {
    let rows = height / patch, columns = width / patch
    // What was computed before may have padded rows.
    let b = chunk / rows, r = chunk % rows, pitch = image.layout.stride
    let pixels = image.pointer(context.bindings) + b * channels * height * pitch
    let out = y.pointer(context.bindings) + (b * rows + r) * columns * y.layout.stride
    for c in 0..<columns {
      var destination = out + c * y.layout.stride
      for channel in 0..<channels {
        for line in 0..<patch {
          let source = pixels + (channel * height + r * patch + line) * pitch + c * patch
          destination.update(from: source, count: patch)
          destination += patch
        }
      }
    }
  }
}

/// The mean over tokens: [batch, tokens, width] → [batch, width].
struct MeanTokensStep {
  var x: Operand
  var y: Operand
  var tokens: Int

  /// One chunk for each image.
  func run(_ chunk: Int, _ context: StepContext) {
    let columns = y.layout.columns
    let from = x.pointer(context.bindings) + chunk * tokens * x.layout.stride
    let to = y.pointer(context.bindings) + chunk * y.layout.stride
    for c in 0..<columns { to[c] = 0 }
    for t in 0..<tokens {
      let row = from + t * x.layout.stride
      for c in 0..<columns { to[c] += row[c] }
    }
    let factor = 1 / Float(tokens)
    for c in 0..<columns { to[c] *= factor }
  }
}
