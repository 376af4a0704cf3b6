// Several operators that work row by row, run one after the other on a block of rows by one thread: what they hand to each other stays in that thread's scratch
// memory, which fits its cache, and threads wait for each other only where rows meet, in attention. The form that int8 and bf16 layers run in.

import CDinoKernels
import DinoKernels

/// Rows that an operation of a chain reads or writes: the rows of a value in the arena (or bound, or constant), or the block's own in scratch.
struct ChainRows {
  var operand: Operand?
  /// Words into the thread's scratch, where `operand` is nil.
  var offset: Int
  /// Words from row to row.
  var stride: Int

  @inline(__always)
  func floats(_ context: StepContext, _ firstRow: Int) -> UnsafeMutablePointer<Float> {
    if let operand { return operand.pointer(context.bindings) + firstRow * stride }
    return context.scratch + offset
  }
  @inline(__always)
  func words(_ context: StepContext, _ firstRow: Int) -> UnsafeMutablePointer<Int32> {
    UnsafeMutableRawPointer(floats(context, firstRow)).assumingMemoryBound(to: Int32.self)
  }
}

typealias RowsToWords = @convention(c) (UnsafePointer<Float>?, Int, UnsafeMutablePointer<Int32>?, Int, UnsafeMutablePointer<Float>?, Int, Int) -> Void
typealias NormToWords = @convention(c) (UnsafePointer<Float>?, Int, UnsafePointer<Float>?, UnsafePointer<Float>?, Float, UnsafeMutablePointer<Float>?, Int,
                                        UnsafeMutablePointer<Int32>?, Int, UnsafeMutablePointer<Float>?, Int, Int) -> Void
typealias WordsProduct = @convention(c) (UnsafePointer<dk_words_gemm_block>?) -> Void

/// Quantized (or rounded) rows and, for int8, their scales.
struct WordRows {
  var rows: ChainRows
  /// Scratch offset of the scales and middles of the rows.
  var scales: Int
}

struct ChainNorm {
  var kernel: NormToWords
  var x: ChainRows
  var weight: UnsafePointer<Float>
  var bias: UnsafePointer<Float>
  var epsilon: Float
  /// The result in f32; a single row that is written over and over where nobody reads it (stride 0).
  var y: ChainRows
  var words: WordRows?
  var columns: Int

  func run(_ first: Int, _ count: Int, _ context: StepContext) {
    kernel(x.floats(context, first), x.stride, weight, bias, epsilon, y.floats(context, first), y.stride, words.map { $0.rows.words(context, first) }, words?.rows.stride ?? 0,
           words.map { context.scratch + $0.scales }, count, columns)
  }
}

struct ChainWords {
  var kernel: RowsToWords
  var x: ChainRows
  var words: WordRows
  var columns: Int

  func run(_ first: Int, _ count: Int, _ context: StepContext) {
    kernel(x.floats(context, first), x.stride, words.rows.words(context, first), words.rows.stride, context.scratch + words.scales, count, columns)
  }
}

struct ChainLinear {
  var kernel: WordsProduct
  var x: WordRows
  /// The result in f32; nobody's where it leaves as `words`.
  var y: ChainRows?
  /// The result rounded to bf16, for the next layer.
  var words: ChainRows?
  var panels: UnsafeRawPointer
  var panelBytes: Int
  var panelColumns: Int
  /// The panels that are read after these, to be fetched in time.
  var next: UnsafeRawPointer?
  var depth: Int
  var columns: Int
  var weightScales: UnsafePointer<Float>?
  var bias: UnsafePointer<Float>?
  var scale: UnsafePointer<Float>?
  var residual: ChainRows?
  var activation: Int32

  func run(_ first: Int, _ count: Int, _ context: StepContext) { run(first, count, from: 0, columns, to: 0, next: next, context) }

  /// `width` columns from `column` on, where a panel begins, to columns of the result from `target` on.
  func run(_ first: Int, _ count: Int, from column: Int, _ width: Int, to target: Int, next: UnsafeRawPointer?, _ context: StepContext) {
    let add = residual.map { UnsafePointer($0.floats(context, first)) + column }, to = y.map { $0.floats(context, first) + target }
    let prefetch = next?.assumingMemoryBound(to: CChar.self)
    var block = dk_words_gemm_block(
      a: x.rows.words(context, first), a_row: x.rows.stride, a_scale: context.scratch + x.scales, panel: panel(column), k: depth, b_scale: weightScales.map { $0 + column },
      c: to, c_row: y?.stride ?? 0, bias: bias.map { $0 + column }, scale: scale.map { $0 + column }, residual: add, residual_row: residual?.stride ?? 0,
      activation: activation, rows: count, columns: width, prefetch: prefetch, prefetch_bytes: next == nil ? 0 : panelBytes, b_zero: nil, a_total: nil, panel_bytes: panelBytes,
      words: words?.words(context, first), words_row: words?.stride ?? 0)
    kernel(&block)
  }
  func panel(_ column: Int) -> UnsafeRawPointer { panels + column / panelColumns * panelBytes }
}

/// Where quantized queries, keys and values of all heads lie: rows of the arena. Values are words of `depth` tokens.
struct QuantizedHeads {
  var q: Operand
  var k: Operand
  var v: Operand
  /// [3 · images · heads, tokens]: of q, then k, then v.
  var scales: Operand
  var heads: Int
  var headWidth: Int
  var images: Int
  var tokens: Int
  var depth: Int
  /// Values lie channel by channel, not token by token.
  var byChannel: Bool

  /// Words from `depth` tokens to the next, and from channel to channel.
  var valueStrides: (group: Int, channel: Int) { byChannel ? (1, v.layout.stride) : (v.layout.stride, 1) }
  var headWords: Int { (headWidth + depth - 1) / depth }
  var groups: Int { (tokens + depth - 1) / depth }

  @inline(__always)
  func rows(_ o: Operand, _ context: StepContext, image: Int, token: Int) -> UnsafeMutablePointer<Int32> {
    words(o, context) + (image * tokens + token) * o.layout.stride
  }
  @inline(__always)
  func values(_ context: StepContext, image: Int, token: Int) -> UnsafeMutablePointer<Int32> {
    words(v, context) + (byChannel ? image * heads * headWidth * v.layout.stride + token / depth : (image * groups + token / depth) * v.layout.stride)
  }
  /// The scales of the first head; heads follow each other.
  @inline(__always)
  func scales(_ part: Int, _ context: StepContext, image: Int, token: Int) -> UnsafeMutablePointer<Float> {
    scales.pointer(context.bindings) + (part * images + image) * heads * scales.layout.stride + token
  }
  @inline(__always)
  private func words(_ o: Operand, _ context: StepContext) -> UnsafeMutablePointer<Int32> {
    UnsafeMutableRawPointer(o.pointer(context.bindings)).assumingMemoryBound(to: Int32.self)
  }
}

typealias HeadsToWords = @convention(c) (UnsafePointer<dk_heads_block>?) -> Void
typealias WordsAttention = @convention(c) (UnsafePointer<dk_attention_block>?) -> Void

/// The linear layer of queries, keys and values, where positions are rotary their turn, and their words, a few heads at a time: the f32 values between stay in the second-level cache.
struct ChainHeads {
  var product: ChainLinear
  var angles: RotaryAngleTable?
  /// What it makes.
  var y: ChainRows
  var kernel: HeadsToWords
  var out: QuantizedHeads
  /// Heads at a time: all, or as many as fill whole panels.
  var group: Int

  /// How many that is: few, but enough for a product of 128 columns.
  static func group(heads: Int, headWidth: Int, panelColumns: Int) -> Int {
    (1...heads).first { heads % $0 == 0 && $0 * headWidth >= 128 && $0 * headWidth % panelColumns == 0 } ?? heads
  }

  func run(_ first: Int, _ count: Int, _ context: StepContext) {
    let d = out.headWidth, all = out.heads * d, width = group * d
    for head in Swift.stride(from: 0, to: out.heads, by: group) {
      if group == out.heads {
        product.run(first, count, context)
      } else {
        for part in 0..<3 {
          let isLast = part == 2 && head + group == out.heads, next = part < 2 ? (part + 1) * all + head * d : (head + group) * d
          product.run(first, count, from: part * all + head * d, width, to: part * width, next: isLast ? product.next : product.panel(next), context)
        }
      }
      forEachImage(of: first, count, perImage: out.tokens) { image, token, n, offset in
        let rows = y.floats(context, first) + offset * y.stride
        angles?.turn(rows, y.stride, rows, y.stride, token: token, rows: n, columns: 2 * width, context)
        quantize(head, image, token, n, rows, context)
      }
    }
  }

  /// Heads from `head` on of `count` tokens.
  private func quantize(_ head: Int, _ image: Int, _ token: Int, _ count: Int, _ x: UnsafePointer<Float>, _ context: StepContext) {
    let d = out.headWidth, width = group * d, stride = y.stride, scales = out.scales.layout.stride
    var block = dk_heads_block(
      q: x, q_row: stride, k: x + width, k_row: stride, v: x + 2 * width, v_row: stride, rows: count, heads: group, head_width: d,
      q8: out.rows(out.q, context, image: image, token: token) + head * out.headWords, k8: out.rows(out.k, context, image: image, token: token) + head * out.headWords,
      row8: out.q.layout.stride, v8: out.values(context, image: image, token: token) + head * d * out.valueStrides.channel, v8_row: out.valueStrides.group,
      v8_column: out.valueStrides.channel, q_scale: out.scales(0, context, image: image, token: token) + head * scales,
      k_scale: out.scales(1, context, image: image, token: token) + head * scales, v_scale: out.scales(2, context, image: image, token: token) + head * scales, scale_head: scales)
    kernel(&block)
  }
}

/// A linear layer and the gate that alone reads it, some columns of each half at a time: what is between them stays in the caches, and takes the memory of those columns alone.
struct ChainGated {
  var product: ChainLinear
  /// What it makes of a group: `group` columns of the first half, then of the second.
  var y: ChainRows
  var gate: Gate
  var out: ChainRows
  /// Columns of a half at a time; whole panels.
  var group: Int

  /// How many that is: few, but enough for a product.
  static func group(panelColumns: Int) -> Int { (128 + panelColumns - 1) / panelColumns * panelColumns }

  func run(_ first: Int, _ count: Int, _ context: StepContext) {
    let half = product.columns / 2
    for column in Swift.stride(from: 0, to: half, by: group) {
      let width = min(group, half - column), end = column + width
      product.run(first, count, from: column, width, to: 0, next: product.panel(half + column), context)
      product.run(first, count, from: half + column, width, to: group, next: end < half ? product.panel(end) : product.next, context)
      var x = y.floats(context, first), to = out.floats(context, first) + column
      for _ in 0..<count {
        gate.kernel(gate.activation, x, x + group, to, width)
        x += y.stride
        to += out.stride
      }
    }
  }
}

/// The parts of a block of rows that lie in one image each, of `perImage` rows: the image, its first token, how many, and where in the block they begin.
@inline(__always)
func forEachImage(of first: Int, _ count: Int, perImage: Int, _ body: (_ image: Int, _ token: Int, _ count: Int, _ offset: Int) -> Void) {
  var offset = 0
  while offset < count {
    let (image, token) = (first + offset).quotientAndRemainder(dividingBy: perImage)
    let n = min(perImage - token, count - offset)
    body(image, token, n, offset)
    offset += n
  }
}

/// Attention of a block of queries, all heads, on quantized heads.
struct ChainWordsAttention {
  var kernel: WordsAttention
  var heads: QuantizedHeads
  /// The tokens of an image that ask.
  var queries: Int
  var scale: Float
  var out: ChainRows
  var scratch: Int

  func run(_ first: Int, _ count: Int, _ context: StepContext) {
    let to = out.floats(context, first)
    forEachImage(of: first, count, perImage: queries) { image, token, n, offset in run(image: image, token: token, n, to: to + offset * out.stride, context) }
  }

  private func run(image: Int, token: Int, _ count: Int, to: UnsafeMutablePointer<Float>, _ context: StepContext) {
    var block = dk_attention_block(
      q8: heads.rows(heads.q, context, image: image, token: token), k8: heads.rows(heads.k, context, image: image, token: 0), row8: heads.q.layout.stride,
      v8: heads.values(context, image: image, token: 0), v8_row: heads.valueStrides.group, v8_column: heads.valueStrides.channel,
      q_scale: heads.scales(0, context, image: image, token: token), k_scale: heads.scales(1, context, image: image, token: 0),
      v_scale: heads.scales(2, context, image: image, token: 0), scale_head: heads.scales.layout.stride,
      queries: count, tokens: heads.tokens, heads: heads.heads, head_width: heads.headWidth, scale: scale, out: to, out_row: out.stride,
      scratch: UnsafeMutableRawPointer(context.scratch + scratch).assumingMemoryBound(to: Int32.self))
    kernel(&block)
  }
}

/// The same in f32, from f32 rows.
struct ChainAttention {
  var inputs: AttentionInputs
  var out: ChainRows
  var scratch: Int

  func run(_ first: Int, _ count: Int, _ context: StepContext) {
    let to = out.floats(context, first)
    forEachImage(of: first, count, perImage: inputs.queries) { image, token, n, offset in run(image: image, token: token, n, to: to + offset * out.stride, context) }
  }

  private func run(image: Int, token: Int, _ count: Int, to: UnsafeMutablePointer<Float>, _ context: StepContext) {
    let i = inputs, columns = context.table.panelColumns
    for head in 0..<i.heads {
      var row = 0
      while row < count {
        let n = min(columns, count - row)
        var block = dk_f32_attention_block(
          q: i.pointer(i.q, i.columns.q, context, image: image, head: head, token: token + row), q_row: i.q.layout.stride, queries: n,
          k: i.pointer(i.k, i.columns.k, context, image: image, head: head, token: 0), k_row: i.k.layout.stride,
          v: i.pointer(i.v, i.columns.v, context, image: image, head: head, token: 0), v_row: i.v.layout.stride,
          tokens: i.tokens, head_width: i.headWidth, scale: i.scale, out: to + row * out.stride + head * i.headWidth, out_row: out.stride,
          scratch: context.scratch + scratch)
        context.table.c.pointee.f32_attention(&block)
        row += n
      }
    }
  }
}

/// What is neither product nor norm, in f32.
struct ChainRowFunction {
  enum Function {
    case activation(Int32)
    /// Of a, twice as wide; y may be its first half.
    case gate(Gate)
    /// a + b
    case add
    /// a dy, b x.
    case activationGradient(Int32)
    /// a dy, b x, twice as wide, as the result is.
    case gateGradient(Int32)
    /// a dy, b x.
    case layerNormGradient(Float)
  }
  var function: Function
  var a: ChainRows
  var b: ChainRows
  var weight: UnsafePointer<Float>?
  var y: ChainRows
  /// Of a gate those of one half.
  var columns: Int

  func run(_ first: Int, _ count: Int, _ context: StepContext) {
    let table = context.table.c.pointee
    var a = self.a.floats(context, first), b = self.b.floats(context, first), y = self.y.floats(context, first)
    if case .layerNormGradient(let epsilon) = function { return table.f32_layer_norm_gradient(a, self.a.stride, b, self.b.stride, weight, epsilon, y, self.y.stride, count, columns) }
    for _ in 0..<count {
      switch function {
      case .activation(let code): table.f32_activation(code, a, y, columns)
      case .gate(let gate): gate.kernel(gate.activation, a, a + columns, y, columns)
      case .activationGradient(let code): table.f32_activation_gradient(code, a, b, y, columns)
      case .gateGradient(let code): table.f32_gate_gradient(code, a, b, b + columns, y, y + columns, columns)
      case .add: for c in 0..<columns { y[c] = a[c] + b[c] }
      case .layerNormGradient: break
      }
      a += self.a.stride
      b += self.b.stride
      y += self.y.stride
    }
  }
}

struct OperationLabel {
  var name: String
  /// Multiply-adds count two.
  var flops: Double
}

struct ChainStep {
  enum Operation {
    case attention(ChainAttention)
    case wordsAttention(ChainWordsAttention)
    case norm(ChainNorm)
    case words(ChainWords)
    case linear(ChainLinear)
    case heads(ChainHeads)
    case gated(ChainGated)
    case rows(ChainRowFunction)
  }
  var operations: [Operation]
  /// For each operation.
  var labels: [OperationLabel]
  var rowBlocks: RowBlocks
  /// Where the times of its operations are kept while profiling.
  var firstTiming = 0

  func run(_ chunk: Int, _ context: StepContext) {
    let rows = rowBlocks[chunk], first = rows.lowerBound
    var clock = context.timings == nil ? 0 : monotonicSeconds()
    for i in operations.indices {
      switch operations[i] {
      case .attention(let o): o.run(first, rows.count, context)
      case .wordsAttention(let o): o.run(first, rows.count, context)
      case .norm(let o): o.run(first, rows.count, context)
      case .words(let o): o.run(first, rows.count, context)
      case .linear(let o): o.run(first, rows.count, context)
      case .heads(let o): o.run(first, rows.count, context)
      case .gated(let o): o.run(first, rows.count, context)
      case .rows(let o): o.run(first, rows.count, context)
      }
      if let timings = context.timings {
        let now = monotonicSeconds()
        timings[firstTiming + i] += now - clock
        clock = now
      }
    }
  }
}

/// How the rows of all images are cut into blocks: of whole images, or within an image and then from a multiple of `unit` on.
struct RowBlocks: Hashable {
  let images: Int
  /// Rows of one image.
  let rows: Int
  /// Blocks of one image.
  let blocks: Int
  let unit: Int
  /// Blocks of all images, where they are whole.
  let groups: Int?

  var count: Int { groups ?? images * blocks }
  /// The most rows of a block.
  var mostRows: Int { (0..<(groups ?? blocks)).map { self[$0].count }.max() ?? 0 }

  /// - Parameter most: about how many rows a block has at most.
  init(images: Int, rows: Int, threads: Int, most: Int) {
    self.images = images
    self.rows = rows
    // Few enough rows that their intermediate values stay in the second-level cache; as many as that allows, because each block reads all weights; fewer where threads
    // would have nothing to do.
    if images > 1, 2 * rows <= most {
      var groups = (images * rows + most - 1) / most
      while groups < threads, images * rows / (groups + 1) >= 12 { groups += 1 }
      if groups % threads != 0, threads < groups { groups = (groups + threads - 1) / threads * threads }
      (blocks, unit, self.groups) = (1, 4, min(groups, images))
      return
    }
    groups = nil
    var blocks = max(1, (rows + most - 1) / most)
    while images * blocks < threads, rows / (blocks + 1) >= 12 { blocks += 1 }
    if images == 1, blocks % threads != 0, threads < blocks { blocks = (blocks + threads - 1) / threads * threads }
    // Multiples of 16 fill the vectors of attention; 4 is what the words of values need.
    unit = rows / blocks >= 32 ? 16 : 4
    self.blocks = min(blocks, max(1, (rows + unit - 1) / unit))
  }

  private func range(_ block: Int) -> Range<Int> {
    let units = (rows + unit - 1) / unit
    return min(rows, units * block / blocks * unit)..<min(rows, units * (block + 1) / blocks * unit)
  }

  /// Rows, counted through all images.
  subscript(chunk: Int) -> Range<Int> {
    if let groups {
      let whole = slice(images, groups, chunk)
      return whole.lowerBound * rows..<whole.upperBound * rows
    }
    let own = range(chunk % blocks), first = chunk / blocks * rows
    return first + own.lowerBound..<first + own.upperBound
  }
}
