// Products of 8-bit integers whose steps a file gives (ONNX's quantized forms): the range of a value, its rows as words, the product with its epilogue. Exact integers; the
// kernels are those of int8 chains, which choose their own steps.

import CDinoKernels
import DinoGraph
import DinoKernels

/// The range of a value, a part for each chunk.
struct RangeStep {
  var x: Operand
  /// Two numbers for each chunk, 16 floats apart.
  var parts: Operand
  var chunks: Int

  func run(_ chunk: Int, _ context: StepContext) {
    let part = parts.pointer(context.bindings) + 16 * chunk
    part.update(repeating: 0, count: 2)
    let from = x.pointer(context.bindings)
    for row in slice(x.layout.rows, chunks, chunk) { context.table.c.pointee.i8.pointee.range(from + row * x.layout.stride, x.layout.columns, part) }
  }
}

/// Rows in f32 as rows of words, and what the words stand for.
struct IntegerRowsStep {
  enum Steps {
    case fixed(RoundingSteps)
    /// The steps of ONNX's DynamicQuantizeLinear for the range that these parts have together.
    case range(parts: Operand, count: Int)
  }
  var x: Operand
  var words: Operand
  /// Scale and middle of each row, then the total of each row where somebody needs it.
  var scales: Operand
  var wantsTotals: Bool
  var steps: Steps
  var chunks: Int

  func run(_ chunk: Int, _ context: StepContext) {
    let rows = slice(x.layout.rows, chunks, chunk), kernels = context.table.c.pointee.i8.pointee
    let s = steps(context), low = Float(s.lower - s.zero), high = Float(s.upper - s.zero)
    // Words hold signed bytes: unsigned steps are moved by 128.
    let offset = s.zero - (s.upper > 127 ? 128 : 0), middle = -Float(offset) * s.scale
    let numbers = scales.pointer(context.bindings)
    for row in rows {
      numbers[2 * row] = s.scale
      numbers[2 * row + 1] = middle
    }
    let first = rows.lowerBound
    let to = UnsafeMutableRawPointer(words.pointer(context.bindings) + first * words.layout.stride).assumingMemoryBound(to: Int32.self)
    kernels.quantize_steps(x.pointer(context.bindings) + first * x.layout.stride, x.layout.stride, to, words.layout.stride,
                           wantsTotals ? numbers + 2 * x.layout.rows + first : nil, s.scale, low, high, Int32(offset), rows.count, x.layout.columns)
  }

  private func steps(_ context: StepContext) -> RoundingSteps {
    switch steps {
    case .fixed(let steps): return steps
    case .range(let parts, let count):
      let p = parts.pointer(context.bindings)
      var least: Float = 0, most: Float = 0
      var known = true
      for i in 0..<count {
        known = known && p[16 * i].isFinite && p[16 * i + 1].isFinite
        least = min(least, p[16 * i])
        most = max(most, p[16 * i + 1])
      }
      let scale = (most == least ? 1 : most - least) / 255
      // Values without a finite range have no steps; the result is no number, and says so.
      guard known, scale > 0, scale.isFinite else { return RoundingSteps(scale: .nan, zero: 0, lower: 0, upper: 255) }
      return RoundingSteps(scale: scale, zero: Int(min(max(-least / scale, 0), 255).rounded(.toNearestOrEven)), lower: 0, upper: 255)
    }
  }
}

/// Words · packed weights, then the epilogue.
struct IntegerLinearStep {
  var words: Operand
  var scales: Operand
  var y: Operand
  var panels: UnsafeRawPointer
  var panelBytes: Int
  var panelColumns: Int
  var depth: Int
  var columns: Int
  var weightScales: UnsafePointer<Float>
  /// Zero points of the packed bytes; nil where all are 0.
  var weightZeros: UnsafePointer<Float>?
  var bias: UnsafePointer<Float>?
  var scale: UnsafePointer<Float>?
  var residual: Operand?
  var activation: Int32
  var blockRows: Int
  var blocks: Int
  var groupPanels: Int
  var groups: Int

  /// How the product is cut: blocks of rows that stay in the second-level cache, and groups of panels.
  static func cut(rows: Int, columns: Int, panelColumns: Int, depth: Int, threads: Int) -> (blockRows: Int, blocks: Int, groupPanels: Int, groups: Int) {
    let panels = (columns + panelColumns - 1) / panelColumns
    let blocks = max(1, min(max((rows + 127) / 128, (2 * threads + panels - 1) / panels), (rows + 15) / 16))
    let blockRows = (rows + blocks - 1) / blocks
    let perPanel = 2.0 * Double(min(rows, blockRows)) * Double(depth * panelColumns)
    let wanted = max(1, Int(4e6 / max(perPanel, 1)))
    let groupPanels = min(wanted, max(1, panels / max(1, 4 * threads / blocks)))
    return (blockRows, blocks, groupPanels, (panels + groupPanels - 1) / groupPanels)
  }

  func run(_ chunk: Int, _ context: StepContext) {
    let block = chunk / groups, group = chunk % groups, first = block * blockRows
    let rows = min(blockRows, y.layout.rows - first), panelCount = (columns + panelColumns - 1) / panelColumns
    guard rows > 0 else { return }
    let from = UnsafeRawPointer(words.pointer(context.bindings) + first * words.layout.stride).assumingMemoryBound(to: Int32.self)
    let numbers = scales.pointer(context.bindings), to = y.pointer(context.bindings) + first * y.layout.stride
    let add = residual.map { UnsafePointer($0.pointer(context.bindings) + first * $0.layout.stride) }
    for panel in group * groupPanels..<min((group + 1) * groupPanels, panelCount) {
      let column = panel * panelColumns
      let next = panel + 1 < panelCount ? panels + (panel + 1) * panelBytes : nil
      let prefetch = next?.assumingMemoryBound(to: CChar.self), zeros = weightZeros.map { $0 + column }
      var args = dk_words_gemm_block(
        a: from, a_row: words.layout.stride, a_scale: numbers + 2 * first, panel: panels + panel * panelBytes, k: depth, b_scale: weightScales + column, c: to + column,
        c_row: y.layout.stride, bias: bias.map { $0 + column }, scale: scale.map { $0 + column }, residual: add.map { $0 + column }, residual_row: residual?.layout.stride ?? 0,
        activation: activation, rows: rows, columns: min(panelColumns, columns - column), prefetch: prefetch,
        prefetch_bytes: next == nil ? 0 : panelBytes, b_zero: zeros, a_total: numbers + 2 * y.layout.rows + first, panel_bytes: panelBytes, words: nil, words_row: 0)
      context.table.c.pointee.i8.pointee.gemm(&args)
    }
  }
}
