// x · Wᵀ with its epilogue for many rows, on tables whose products of split values are faster than f32's own multiply-adds (f32_amx.c). Weights were split before, rows are by each chunk
// for itself. A row's numbers do not depend on the others.

import CDinoKernels
import DinoKernels

struct SplitLinearStep {
  var layer: LayerOperands
  /// Split; from panel to panel its stride.
  var panels: Operand
  var depth: Int
  var kernels: dk_f32_split_kernels
  var threads: Int

  /// Rows from which on splitting weights that change between runs pays.
  static let leastRows = 512
  /// Most rows of a chunk: split, those of 1536 columns take half a megabyte, so that they stay in the second-level cache while panels pass by.
  private static let blockRows = 64
  private static let tileRows = 16
  /// Weights that stay in that cache from chunk to chunk are not fetched early.
  private static let cacheBytes = 5 << 18

  private var tiles: Int { (layer.y.layout.rows + Self.tileRows - 1) / Self.tileRows }
  /// As many for each thread, of whole tiles, where there are so many.
  var chunks: Int { min(tiles, ((layer.y.layout.rows + Self.blockRows - 1) / Self.blockRows + threads - 1) / threads * threads) }

  /// Floats that a thread splits into.
  static func scratch(depth: Int, _ kernels: dk_f32_split_kernels) -> Int { (kernels.split_bytes(blockRows, depth) + 63) / 64 * 16 }
  static func panelFloats(depth: Int, _ kernels: dk_f32_split_kernels) -> Int { (kernels.panel_bytes(depth) + 63) / 64 * 16 }

  func run(_ chunk: Int, _ context: StepContext) {
    let x = layer.x, y = layer.y
    let own = slice(tiles, chunks, chunk), first = own.lowerBound * Self.tileRows, rows = min(own.upperBound * Self.tileRows, y.layout.rows) - first, panelBytes = panels.layout.stride * 4
    kernels.split_rows(x.pointer(context.bindings) + first * x.layout.stride, x.layout.stride, rows, depth, context.scratch)
    let stay = panels.layout.rows * panelBytes <= Self.cacheBytes
    var args = dk_f32_split_block()
    args.split = UnsafeRawPointer(context.scratch)
    args.panel_bytes = panelBytes
    args.block.b = UnsafePointer(panels.pointer(context.bindings))
    args.block.k = depth
    args.block.c = y.pointer(context.bindings) + first * y.layout.stride
    args.block.c_row = y.layout.stride
    args.block.bias = layer.bias
    args.block.scale = layer.scale
    args.block.residual = layer.residual.map { UnsafePointer($0.pointer(context.bindings) + first * $0.layout.stride) }
    args.block.residual_row = layer.residual?.layout.stride ?? 0
    args.block.activation = layer.activation
    args.block.rows = rows
    args.block.columns = y.layout.columns
    args.block.prefetch_bytes = stay ? 0 : panelBytes
    kernels.gemm(&args)
  }
}
