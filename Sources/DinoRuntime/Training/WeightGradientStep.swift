// The product of a linear layer's weight gradient, dyᵀ·x: how it is cut. Its loops are C; how it becomes part of a plan is in Compiler+Training.

import CDinoKernels
import DinoKernels

/// dyᵀ·x. Rows are cut into slabs, each with a result of its own that are added afterwards in order; a slab's result is cut into slices of its rows and groups of its
/// columns. Cuts follow from the shapes alone, and a chunk goes through its rows in order, in blocks that stay in the second-level cache: each sum has one order.
struct WeightGradientStep {
  var dy: Operand
  var x: Operand
  /// [slabs · outputs, inputs]
  var y: Operand
  var cut: Cut
  var chunks: Int { cut.slabs * cut.groups * cut.slices }

  struct Cut {
    var slabs = 1
    var slabRows: Int
    var groupPanels: Int
    var groups = 1
    var sliceRows: Int
    var slices = 1

    /// A small result is worth having several times: then each row of dy and x is read once.
    static let smallResult = 1 << 18
    static let mostSlabs = 8

    init(rows: Int, outputs: Int, inputs: Int, _ table: KernelTable) {
      let nr = table.panelColumns, panels = (inputs + nr - 1) / nr
      if outputs * inputs <= Self.smallResult, rows >= 2 * WeightGradientStep.blockRows {
        let blocks = (rows + WeightGradientStep.blockRows - 1) / WeightGradientStep.blockRows
        let most = min(Self.mostSlabs, blocks), each = (rows + most - 1) / most
        slabRows = each
        slabs = (rows + each - 1) / each
        groupPanels = min(panels, WeightGradientStep.mostPanels)
        groups = (panels + groupPanels - 1) / groupPanels
        sliceRows = outputs
        return
      }
      slabRows = rows
      // Of the result's rows 336 at most: a block of dy is then about 340 KB, or less.
      let tile = table.tileRows, tiles = (outputs + tile - 1) / tile, most = max(1, 336 / tile)
      let wanted = max(1, (tiles + most - 1) / most)
      sliceRows = (tiles + wanted - 1) / wanted * tile
      groupPanels = min(4, max(1, panels * wanted / 8))
      groups = (panels + groupPanels - 1) / groupPanels
      slices = (outputs + sliceRows - 1) / sliceRows
    }
  }

  private static let blockRows = 128, mostPanels = 8

  /// Floats that a thread packs into.
  static func scratch(_ table: KernelTable) -> Int { blockRows * mostPanels * table.panelColumns }

  func run(_ chunk: Int, _ context: StepContext) {
    let nr = context.table.panelColumns, outputs = dy.layout.columns, inputs = x.layout.columns
    let slice = chunk % cut.slices, group = chunk / cut.slices % cut.groups, slab = chunk / (cut.slices * cut.groups)
    let start = slab * cut.slabRows, end = min(start + cut.slabRows, x.layout.rows), rows = min(cut.sliceRows, outputs - slice * cut.sliceRows)
    let a = dy.pointer(context.bindings) + slice * cut.sliceRows, b = x.pointer(context.bindings)
    let c = y.pointer(context.bindings) + (slab * outputs + slice * cut.sliceRows) * y.layout.stride
    let first = group * cut.groupPanels * nr, last = min(first + cut.groupPanels * nr, inputs)
    let panels = (last - first + nr - 1) / nr
    var block = start
    while block < end {
      let depth = min(Self.blockRows, end - block)
      // The next block of dy, read down its columns, would come line by line out of memory: each panel's product fetches its share of it.
      let next = block + depth, nextBytes = max(0, min(Self.blockRows, end - next)) * dy.layout.stride * 4, share = (nextBytes / panels + 63) / 64 * 64
      let nextRows = UnsafeRawPointer(a + next * dy.layout.stride)
      var panel = context.scratch, column = first, fetched = 0
      while column < last {
        let columns = min(nr, last - column)
        pack(b + block * x.layout.stride + column, rows: depth, columns: columns, width: nr, to: panel)
        var args = dk_f32_gemm_transposed_block(a: a + block * dy.layout.stride, a_row: dy.layout.stride, b: panel, k: depth, c: c + column, c_row: y.layout.stride,
                                                rows: rows, columns: columns, accumulate: block > start ? 1 : 0,
                                                prefetch: fetched < nextBytes ? (nextRows + fetched).assumingMemoryBound(to: CChar.self) : nil,
                                                prefetch_bytes: max(0, min(share, nextBytes - fetched)))
        fetched += share
        context.table.c.pointee.f32_gemm_transposed(&args)
        panel += depth * nr
        column += nr
      }
      block += depth
    }
  }

  /// Rows of x to one panel.
  @inline(__always)
  private func pack(_ source: UnsafeMutablePointer<Float>, rows: Int, columns: Int, width: Int, to target: UnsafeMutablePointer<Float>) {
    var from = source, to = target
    for _ in 0..<rows {
      if columns == width {
        // Panels are whole groups of eight in every table: no call for each short row.
        var j = 0
        while j < width {
          UnsafeMutableRawPointer(to + j).storeBytes(of: UnsafeRawPointer(from + j).loadUnaligned(as: SIMD8<Float>.self), as: SIMD8<Float>.self)
          j += 8
        }
      } else {
        to.update(from: from, count: columns)
        (to + columns).update(repeating: 0, count: width - columns)
      }
      from += x.layout.stride
      to += width
    }
  }
}
