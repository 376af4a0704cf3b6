// Training in bfloat16: the product of a weight gradient (weights are packed by PackStep). Parameters, gradients and sums stay f32; what is rounded are the operands of products.
// Linear layers themselves run as chains (Compiler+Chains).

import CDinoKernels
import DinoKernels

/// dyᵀ·x. Rows are cut into slabs, each with a result of its own that are added afterwards in order, or the result into slices of its rows. Cuts follow from the shapes
/// alone, and a chunk goes through its rows in order, in blocks that stay in the second-level cache: each sum has one order.
struct Bf16WeightGradientStep {
  var dy: Operand
  var x: Operand
  /// [slabs · outputs, inputs]
  var y: Operand
  var cut: Cut
  var chunks: Int { cut.slabs * cut.slices }

  struct Cut {
    var slabs = 1
    var slabRows: Int
    /// The depth of one product.
    var blockRows: Int
    var slices = 1
    var sliceRows: Int

    /// A result up to here is worth having several times: then each row of dy and x is rounded once.
    static let smallResult = 1 << 20
    static let mostSlabs = 8
    /// Rows of a slab at least.
    static let leastRows = 128
    /// Rows are taken in whole steps of a tile's depth.
    static let unit = 32

    init(rows: Int, outputs: Int, inputs: Int) {
      func whole(_ n: Int) -> Int { (n + Self.unit - 1) / Self.unit * Self.unit }
      slabRows = rows
      sliceRows = outputs
      // Packed rows of x: about 768 KB.
      let most = min(512, max(Self.unit, (768 << 10) / (2 * inputs) / Self.unit * Self.unit))
      if outputs * inputs <= Self.smallResult, rows >= 2 * Self.leastRows {
        let wanted = min(Self.mostSlabs, rows / Self.leastRows)
        slabRows = whole((rows + wanted - 1) / wanted)
        slabs = (rows + slabRows - 1) / slabRows
      } else {
        sliceRows = whole((outputs + 15) / 16)
        slices = (outputs + sliceRows - 1) / sliceRows
      }
      blockRows = min(most, whole(slabRows))
    }
  }

  private static func strideWords(_ rows: Int, _ kernels: dk_bf16_kernels) -> Int { (((rows + kernels.depth - 1) / kernels.depth + 15) / 16 | 1) * 16 }
  private static func panelBytes(_ rows: Int, _ kernels: dk_bf16_kernels) -> Int { (kernels.panel_bytes(rows) + 63) / 64 * 64 }

  /// Floats that a thread packs into: rows of dyᵀ, then panels of x.
  static func scratch(_ cut: Cut, inputs: Int, _ table: KernelTable) -> Int {
    let kernels = table.c.pointee.bf16.pointee
    return cut.sliceRows * strideWords(cut.blockRows, kernels) + (inputs + kernels.nr - 1) / kernels.nr * panelBytes(cut.blockRows, kernels) / 4 + 16
  }

  func run(_ chunk: Int, _ context: StepContext) {
    let kernels = context.table.c.pointee.bf16.pointee, outputs = dy.layout.columns, inputs = x.layout.columns
    let slice = chunk % cut.slices, slab = chunk / cut.slices
    let start = slab * cut.slabRows, end = min(start + cut.slabRows, x.layout.rows), rows = min(cut.sliceRows, outputs - slice * cut.sliceRows)
    let c = y.pointer(context.bindings) + (slab * outputs + slice * cut.sliceRows) * y.layout.stride
    let stride = Self.strideWords(cut.blockRows, kernels), bytes = Self.panelBytes(cut.blockRows, kernels)
    let words = UnsafeMutableRawPointer(context.scratch).assumingMemoryBound(to: Int32.self), panels = UnsafeMutableRawPointer(words + cut.sliceRows * stride)
    var block = start
    while block < end {
      let depth = min(cut.blockRows, end - block)
      kernels.turn(dy.pointer(context.bindings) + block * dy.layout.stride + slice * cut.sliceRows, dy.layout.stride, words, stride, depth, rows)
      kernels.pack_rows(x.pointer(context.bindings) + block * x.layout.stride, x.layout.stride, inputs, depth, panels, bytes)
      var product = dk_words_gemm_block()
      product.a = UnsafePointer(words)
      product.a_row = stride
      product.panel = UnsafeRawPointer(panels)
      product.panel_bytes = bytes
      product.k = depth
      product.c = c
      product.c_row = y.layout.stride
      product.rows = rows
      product.columns = inputs
      if block > start {
        product.residual = UnsafePointer(c)
        product.residual_row = y.layout.stride
      }
      kernels.gemm(&product)
      block += depth
    }
  }
}
