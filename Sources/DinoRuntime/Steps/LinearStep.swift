// x · Wᵀ with its epilogue: packed panels of W against blocks of rows of x.

import CDinoKernels
import DinoKernels

struct LinearStep {
  var x: Operand
  var y: Operand
  var panels: UnsafePointer<Float>
  var panelFloats: Int
  var panelColumns: Int
  var depth: Int
  var columns: Int
  var bias: UnsafePointer<Float>?
  var scale: UnsafePointer<Float>?
  var residual: Operand?
  var activation: Int32
  /// Rows of one block: x of a block should stay in the second-level cache while panels pass by.
  var blockRows: Int
  var blocks: Int
  /// Panels of one chunk, and groups of panels in a block.
  var groupPanels: Int
  var groups: Int
  /// Panels ahead that a thread will probably take next.
  var ahead: Int
  /// The panels that are read after this step's last, to be fetched early.
  var following: (panels: UnsafePointer<Float>, panelFloats: Int)?

  static func make(x: Operand, y: Operand, weights: WeightPanels, bias: UnsafePointer<Float>?, scale: UnsafePointer<Float>?, residual: Operand?,
                   activation: Int32, table: KernelTable, threads: Int) -> (step: LinearStep, chunks: Int) {
    let rows = y.layout.rows, tile = table.tileRows
    let panels = weights.panelCount
    // At most about 250 rows, whole tiles; more blocks where there are too few panels for the threads.
    var blocks = max(1, (rows + 251) / 252)
    let tiles = (rows + tile - 1) / tile
    while blocks * panels < 3 * threads && blocks < tiles { blocks += 1 }
    let blockRows = max(1, (tiles + blocks - 1) / blocks) * tile
    blocks = max(1, (rows + blockRows - 1) / blockRows)
    // A chunk is worth at least about a million operations.
    let perPanel = 2.0 * Double(min(rows, blockRows)) * Double(weights.panelFloats)
    let wanted = max(1, Int(1e6 / max(perPanel, 1)))
    let groupPanels = min(wanted, max(1, panels / (4 * threads)))
    let groups = (panels + groupPanels - 1) / groupPanels
    let step = LinearStep(
      x: x, y: y, panels: weights.base, panelFloats: weights.panelFloats, panelColumns: weights.panelColumns, depth: weights.inFeatures,
      columns: weights.outFeatures, bias: bias, scale: scale, residual: residual, activation: activation, blockRows: blockRows, blocks: blocks,
      groupPanels: groupPanels, groups: groups, ahead: groupPanels * threads, following: nil)
    return (step, blocks * groups)
  }

  func run(_ chunk: Int, _ context: StepContext) {
    let block = chunk / groups, group = chunk % groups
    let firstRow = block * blockRows
    let rows = min(blockRows, y.layout.rows - firstRow)
    let panelCount = (columns + panelColumns - 1) / panelColumns
    let from = x.pointer(context.bindings) + firstRow * x.layout.stride
    let to = y.pointer(context.bindings) + firstRow * y.layout.stride
    let add = residual.map { $0.pointer(context.bindings) + firstRow * $0.layout.stride }
    for panel in group * groupPanels..<min((group + 1) * groupPanels, panelCount) {
      let column = panel * panelColumns
      let next = panel + ahead
      var prefetch: UnsafePointer<Float>?
      var prefetchFloats = 0
      if next < panelCount {
        prefetch = panels + next * panelFloats
        prefetchFloats = panelFloats
      } else if let following, block == blocks - 1 {
        prefetch = following.panels + (next - panelCount) * following.panelFloats
        prefetchFloats = following.panelFloats
      }
      var args = dk_f32_gemm_block(
        a: from, a_row: x.layout.stride, b: panels + panel * panelFloats, k: depth, c: to + column, c_row: y.layout.stride,
        bias: bias.map { $0 + column }, scale: scale.map { $0 + column }, residual: add.map { UnsafePointer($0 + column) },
        residual_row: residual?.layout.stride ?? 0, activation: activation, rows: rows, columns: min(panelColumns, columns - column),
        prefetch: UnsafeRawPointer(prefetch)?.assumingMemoryBound(to: CChar.self), prefetch_bytes: prefetchFloats * 4)
      context.table.c.pointee.f32_gemm(&args)
    }
  }
}
