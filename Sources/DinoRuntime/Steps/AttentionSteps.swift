// Attention over heads and blocks of queries; and the weights themselves, all of them or the class token's row, when somebody asks.

import CDinoKernels
import DinoKernels

/// Where q, k and v lie: [batch · tokens] rows each, the first head's first column at the operand's start plus `column`.
struct AttentionInputs {
  var q: Operand
  var k: Operand
  var v: Operand
  var columns: (q: Int, k: Int, v: Int)
  var batch: Int
  var tokens: Int
  /// The tokens that ask, the first ones: rows of the result.
  var queries: Int
  var heads: Int
  var headWidth: Int
  var scale: Float

  @inline(__always)
  func pointer(_ operand: Operand, _ column: Int, _ context: StepContext, image: Int, head: Int, token: Int) -> UnsafeMutablePointer<Float> {
    operand.pointer(context.bindings) + (image * tokens + token) * operand.layout.stride + column + head * headWidth
  }
}

struct AttentionStep {
  var inputs: AttentionInputs
  var out: Operand
  var queryRows: Int
  var queryBlocks: Int

  static func make(inputs: AttentionInputs, out: Operand, table: KernelTable) -> (step: AttentionStep, chunks: Int, scratch: Int) {
    let blocks = (inputs.queries + table.panelColumns - 1) / table.panelColumns
    return (AttentionStep(inputs: inputs, out: out, queryRows: table.panelColumns, queryBlocks: blocks), inputs.batch * inputs.heads * blocks,
            table.c.pointee.f32_attention_scratch(inputs.headWidth))
  }

  func run(_ chunk: Int, _ context: StepContext) {
    let i = inputs
    let block = chunk % queryBlocks, head = chunk / queryBlocks % i.heads, image = chunk / queryBlocks / i.heads
    let token = block * queryRows
    var args = dk_f32_attention_block(
      q: i.pointer(i.q, i.columns.q, context, image: image, head: head, token: token), q_row: i.q.layout.stride, queries: min(queryRows, i.queries - token),
      k: i.pointer(i.k, i.columns.k, context, image: image, head: head, token: 0), k_row: i.k.layout.stride,
      v: i.pointer(i.v, i.columns.v, context, image: image, head: head, token: 0), v_row: i.v.layout.stride,
      tokens: i.tokens, head_width: i.headWidth, scale: i.scale,
      out: out.pointer(context.bindings) + (image * i.queries + token) * out.layout.stride + head * i.headWidth, out_row: out.layout.stride,
      scratch: context.scratch)
    context.table.c.pointee.f32_attention(&args)
  }
}

/// softmax(scale·q·kᵀ) written out: one chunk for each image, head and block of queries.
struct AttentionWeightsStep {
  var inputs: AttentionInputs
  var out: Operand
  var firstRowOnly: Bool
  var blocks: Int

  static func make(inputs: AttentionInputs, out: Operand, firstRowOnly: Bool) -> (step: AttentionWeightsStep, chunks: Int) {
    let blocks = firstRowOnly ? 1 : (inputs.tokens + 31) / 32
    return (AttentionWeightsStep(inputs: inputs, out: out, firstRowOnly: firstRowOnly, blocks: blocks), inputs.batch * inputs.heads * blocks)
  }

  func run(_ chunk: Int, _ context: StepContext) {
    let i = inputs
    let block = chunk % blocks, head = chunk / blocks % i.heads, image = chunk / blocks / i.heads
    let keys = i.pointer(i.k, i.columns.k, context, image: image, head: head, token: 0)
    let queries = firstRowOnly ? 1 : i.tokens
    for query in slice(queries, blocks, block) {
      context.table.c.pointee.f32_attention_row(
        i.pointer(i.q, i.columns.q, context, image: image, head: head, token: query), keys, i.k.layout.stride, i.tokens, i.headWidth, i.scale,
        out.pointer(context.bindings) + ((image * i.heads + head) * queries + query) * out.layout.stride)
    }
  }
}
