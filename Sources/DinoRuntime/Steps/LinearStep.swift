// x · Wᵀ with its epilogue: packed panels of W against blocks of rows of x.

import CDinoKernels
import DinoKernels

/// What a linear layer reads and writes beside its weights.
struct LayerOperands {
  var x: Operand
  var y: Operand
  var bias: UnsafePointer<Float>?
  var scale: UnsafePointer<Float>?
  var residual: Operand?
  var activation: Int32
}

struct LinearStep {
  var layer: LayerOperands
  var panels: UnsafePointer<Float>
  var panelFloats: Int
  var panelColumns: Int
  var depth: Int
  var columns: Int
  /// Rows of one block: x of a block should stay in the second-level cache while panels pass by.
  var blockRows: Int
  var blocks: Int
  /// Panels of one chunk, and groups of panels in a block.
  var groupPanels: Int
  var groups: Int
  /// Parts of the columns of which each thread's share has the same piece: 3 where they are queries, keys and values, so that a thread makes all three of its heads.
  var parts: Int
  var threads: Int
  /// The panels that are read after this step's last, to be fetched early.
  var following: FollowingPanels?

  static func make(_ layer: LayerOperands, weights: WeightPanels, table: KernelTable, threads: Int, parts: Int = 1) -> (step: LinearStep, chunks: Int) {
    let rows = layer.y.layout.rows, tile = table.tileRows
    let panels = weights.panelCount
    // At most about 250 rows, as many in each: kernels take any number of rows at the same pace, and threads have equal shares. More blocks where there are too few panels
    // for the threads.
    var blocks = max(1, (rows + 251) / 252)
    let tiles = (rows + tile - 1) / tile
    while blocks * panels < 3 * threads && blocks < tiles { blocks += 1 }
    let blockRows = max(1, (rows + blocks - 1) / blocks)
    blocks = max(1, (rows + blockRows - 1) / blockRows)
    // A chunk is worth at least about a million operations.
    let perPanel = 2.0 * Double(min(rows, blockRows)) * Double(weights.panelFloats)
    let wanted = max(1, Int(1e6 / max(perPanel, 1)))
    let groupPanels = min(wanted, max(1, panels / (4 * threads)))
    let groups = (panels + groupPanels - 1) / groupPanels
    let step = LinearStep(
      layer: layer, panels: weights.base, panelFloats: weights.panelFloats, panelColumns: weights.panelColumns, depth: weights.inFeatures,
      columns: weights.outFeatures, blockRows: blockRows, blocks: blocks, groupPanels: groupPanels, groups: groups, parts: blocks == 1 && panels % (parts * groupPanels) == 0 ? parts : 1, threads: threads, following: nil)
    return (step, blocks * groups)
  }

  /// The first panel of a chunk. Where there are parts, a share's chunks go through its piece of the first, then of the second …
  func firstPanel(_ chunk: Int) -> Int {
    let position = chunk % groups
    if parts == 1 { return position * groupPanels }
    let inPart = groups / parts, piece = slice(inPart, threads, sliceNumber(inPart, threads, holding: position / parts))
    let (part, rest) = (position - parts * piece.lowerBound).quotientAndRemainder(dividingBy: piece.count)
    return (part * inPart + piece.lowerBound + rest) * groupPanels
  }

  func run(_ chunk: Int, _ context: StepContext) {
    let block = chunk / groups, x = layer.x, y = layer.y
    let firstRow = block * blockRows
    let rows = min(blockRows, y.layout.rows - firstRow)
    let panelCount = (columns + panelColumns - 1) / panelColumns
    let from = x.pointer(context.bindings) + firstRow * x.layout.stride
    let to = y.pointer(context.bindings) + firstRow * y.layout.stride
    let add = layer.residual.map { $0.pointer(context.bindings) + firstRow * $0.layout.stride }
    let first = firstPanel(chunk), own = min(groupPanels, panelCount - first)
    // What this thread will take next: the next chunk of its share, or its first one of the step that follows.
    let chunks = blocks * groups, share = sliceNumber(chunks, threads, holding: chunk)
    let ahead: UnsafePointer<Float>?, aheadPanels: Int, aheadFloats: Int
    if chunk + 1 < slice(chunks, threads, share).upperBound {
      let next = firstPanel(chunk + 1)
      (ahead, aheadPanels, aheadFloats) = (panels + next * panelFloats, panelCount - next, panelFloats)
    } else if let following {
      let next = slice(following.panelCount, threads, share).lowerBound
      (ahead, aheadPanels, aheadFloats) = (following.panels + next * following.panelFloats, following.panelCount - next, following.panelFloats)
    } else {
      (ahead, aheadPanels, aheadFloats) = (nil, 0, 0)
    }
    for i in 0..<own {
      let panel = first + i, column = panel * panelColumns
      let fetched = i < aheadPanels ? ahead.map { $0 + i * aheadFloats } : nil
      var args = dk_f32_gemm_block(
        a: from, a_row: x.layout.stride, b: panels + panel * panelFloats, k: depth, c: to + column, c_row: y.layout.stride,
        bias: layer.bias.map { $0 + column }, scale: layer.scale.map { $0 + column }, residual: add.map { UnsafePointer($0 + column) },
        residual_row: layer.residual?.layout.stride ?? 0, activation: layer.activation, rows: rows, columns: min(panelColumns, columns - column),
        prefetch: UnsafeRawPointer(fetched)?.assumingMemoryBound(to: CChar.self), prefetch_bytes: fetched == nil ? 0 : aheadFloats * 4)
      context.table.c.pointee.f32_gemm(&args)
    }
  }
}

/// The panels of the next linear step, those of its first part where it has parts.
struct FollowingPanels {
  var panels: UnsafePointer<Float>
  var panelFloats: Int
  var panelCount: Int
}
