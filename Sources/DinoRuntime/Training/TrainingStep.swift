// The steps that only training needs: each cut into chunks whose borders do not depend on the number of threads, and each sum in one order, so that any
// number of threads gives the same bits.

import CDinoKernels
import DinoKernels

enum TrainingStep {
  case pack(PackStep)
  case weight(WeightGradientStep)
  case weightBf16(Bf16WeightGradientStep)
  case sum(SumRowsStep)
  case layerNormSums(LayerNormSumsStep)
  case columns(ColumnNormStep)
  case sinkhorn(SinkhornStep)
  case koleo(KoLeoStep)
  case rows(RowGradientStep)
  case attention(AttentionGradientStep)
  case place(PlaceTokensStep)
  case sparse(SparseRowsStep)
  case targets(TargetsStep)
  case loss(LossStep)
  case total(TotalStep)
  case cosine(CosineStep)
  case named(NamedRowsStep)
  case zeros(ZerosStep)

  @inline(__always)
  func run(_ chunk: Int, _ context: StepContext) {
    switch self {
    case .pack(let s): s.run(chunk, context)
    case .weight(let s): s.run(chunk, context)
    case .weightBf16(let s): s.run(chunk, context)
    case .sum(let s): s.run(chunk, context)
    case .layerNormSums(let s): s.run(chunk, context)
    case .columns(let s): s.run(chunk, context)
    case .sinkhorn(let s): s.run(chunk, context)
    case .koleo(let s): s.run(chunk, context)
    case .rows(let s): s.run(chunk, context)
    case .attention(let s): s.run(chunk, context)
    case .place(let s): s.run(chunk, context)
    case .sparse(let s): s.run(chunk, context)
    case .targets(let s): s.run(chunk, context)
    case .loss(let s): s.run(chunk, context)
    case .total(let s): s.run(chunk, context)
    case .cosine(let s): s.run(chunk, context)
    case .named(let s): s.run(chunk, context)
    case .zeros(let s): s.run(chunk, context)
    }
  }
}

/// A weight [outFeatures, depth] (or [depth, outFeatures] where `transposed`) to panels, one chunk for each.
struct PackStep {
  /// Panels of f32, of bfloat16, or of split values.
  enum Form { case plain, rounded, split }

  var weight: Operand
  /// From row to row of the weight.
  var row: Int
  var panels: Operand
  /// Of a panel.
  var columns: Int
  var outFeatures: Int
  var depth: Int
  var transposed: Bool
  var form: Form

  func run(_ chunk: Int, _ context: StepContext) {
    let table = context.table.c.pointee, first = chunk * columns, count = min(columns, outFeatures - first)
    let from = weight.pointer(context.bindings) + (transposed ? first : first * row), out = panels.pointer(context.bindings) + chunk * panels.layout.stride
    switch (form, transposed) {
    case (.plain, false): table.f32_pack(from, row, count, depth, out)
    case (.plain, true):
      for k in 0..<depth {
        (out + k * columns).update(from: from + k * row, count: count)
        if count < columns { (out + k * columns + count).update(repeating: 0, count: columns - count) }
      }
    case (.rounded, false): table.bf16.pointee.pack(from, row, count, depth, out)
    case (.rounded, true): table.bf16.pointee.pack_rows(from, row, count, depth, out, 0)
    case (.split, false):
      table.f32_pack(from, row, count, depth, context.scratch)
      table.split.pointee.pack(context.scratch, columns, count, depth, out)
    case (.split, true): table.split.pointee.pack(from, row, count, depth, out)
    }
  }
}

/// y[t] = Σ x[i · results + t] over i below `terms`. A single result is cut by columns.
struct SumRowsStep {
  static let sliceColumns = 64
  var x: Operand
  var y: Operand
  var terms: Int
  var results: Int
  var pieces: Int

  func run(_ chunk: Int, _ context: StepContext) {
    let row = chunk / pieces, first = chunk % pieces * Self.sliceColumns
    let columns = pieces == 1 ? y.layout.columns : min(Self.sliceColumns, y.layout.columns - first)
    context.table.c.pointee.f32_sum_rows(x.pointer(context.bindings) + row * x.layout.stride + first, x.layout.stride * results,
                                         y.pointer(context.bindings) + row * y.layout.stride + first, terms, columns)
  }
}

/// One block of rows to one row: Σ dy ∘ normalised x.
struct LayerNormSumsStep {
  static let blockRows = 128
  var dy: Operand
  var x: Operand
  var y: Operand
  var epsilon: Float

  func run(_ chunk: Int, _ context: StepContext) {
    let first = chunk * Self.blockRows, rows = min(Self.blockRows, x.layout.rows - first)
    context.table.c.pointee.f32_layer_norm_sums(dy.pointer(context.bindings) + first * dy.layout.stride, dy.layout.stride,
                                                x.pointer(context.bindings) + first * x.layout.stride, x.layout.stride, epsilon,
                                                y.pointer(context.bindings) + chunk * y.layout.stride, rows, y.layout.columns)
  }
}

/// One head of one image.
struct AttentionGradientStep {
  typealias Kernel = @convention(c) (UnsafePointer<dk_f32_attention_gradient_head>?) -> Void
  var kernel: Kernel
  var dy: Operand
  var qkv: Operand
  var y: Operand
  var tokens: Int
  /// The tokens that asked, the first ones: rows of dy.
  var queries: Int
  var heads: Int
  var width: Int
  var scale: Float

  func run(_ chunk: Int, _ context: StepContext) {
    let head = chunk % heads, image = chunk / heads, row = image * tokens, d = width / heads
    let q = qkv.pointer(context.bindings) + row * qkv.layout.stride + head * d
    let out = y.pointer(context.bindings) + row * y.layout.stride + head * d
    var args = dk_f32_attention_gradient_head(
      q: q, q_row: qkv.layout.stride, k: q + width, k_row: qkv.layout.stride, v: q + 2 * width, v_row: qkv.layout.stride,
      dy: dy.pointer(context.bindings) + image * queries * dy.layout.stride + head * d, dy_row: dy.layout.stride, tokens: tokens, queries: queries, head_width: d, scale: scale,
      dq: out, dk: out + width, dv: out + 2 * width, out_row: y.layout.stride, scratch: context.scratch)
    kernel(&args)
  }
}

/// One image's tokens: zeros, and x's from `start` on; or, with a factor, x's one row times it at every token.
struct PlaceTokensStep {
  var x: Operand
  var y: Operand
  var tokens: Int
  var start: Int
  var count: Int
  var factor: Float?

  func run(_ chunk: Int, _ context: StepContext) {
    let from = x.pointer(context.bindings) + chunk * count * x.layout.stride, to = y.pointer(context.bindings) + chunk * tokens * y.layout.stride
    let columns = y.layout.columns
    for t in 0..<tokens {
      let row = to + t * y.layout.stride
      if let factor {
        for c in 0..<columns { row[c] = from[c] * factor }
      } else if t >= start, t < start + count {
        row.update(from: from + (t - start) * x.layout.stride, count: columns)
      } else {
        row.update(repeating: 0, count: columns)
      }
    }
  }
}

/// Rows whose numbers another value holds: taken from x at those numbers, or put into y at them. x of one row stands for all.
struct NamedRowsStep {
  var rows: Operand
  var x: Operand
  var y: Operand
  /// Whether the numbers are of y's rows.
  var puts: Bool
  var chunks: Int

  func run(_ chunk: Int, _ context: StepContext) {
    let numbers = rows.pointer(context.bindings), from = x.pointer(context.bindings), to = y.pointer(context.bindings), columns = y.layout.columns
    let limit = puts ? y.layout.rows : x.layout.rows
    for m in slice(rows.layout.rows * rows.layout.columns, chunks, chunk) {
      let number = Int(numbers[m])
      precondition(number < limit, "a row's number is out of range")
      if number < 0 {
        // No row.
        if !puts { (to + m * y.layout.stride).update(repeating: 0, count: columns) }
        continue
      }
      let source = puts ? (x.layout.rows == 1 ? 0 : m) : number
      (to + (puts ? number : m) * y.layout.stride).update(from: from + source * x.layout.stride, count: columns)
    }
  }
}

/// Zeros in rows of y.
struct ZerosStep {
  var y: Operand
  var chunks: Int

  func run(_ chunk: Int, _ context: StepContext) {
    for row in slice(y.layout.rows, chunks, chunk) { (y.pointer(context.bindings) + row * y.layout.stride).update(repeating: 0, count: y.layout.columns) }
  }
}

/// Rows that are weighted sums of few other rows.
final class SparseRows: Sendable {
  let terms: [[(source: Int, weight: Float)]]
  var count: Int { terms.count }

  /// - Parameter before: rows that are copied and stand before the others.
  init(_ terms: [[(source: Int, weight: Float)]], before: Int) {
    self.terms = (0..<before).map { [(source: $0, weight: 1)] } + terms.map { $0.map { (source: $0.source + before, weight: $0.weight) } }
  }

  convenience init(transposing terms: [[(source: Int, weight: Float)]], sources: Int, before: Int) {
    var turned = [[(source: Int, weight: Float)]](repeating: [], count: sources)
    for (i, row) in terms.enumerated() {
      for t in row { turned[t.source].append((source: i, weight: t.weight)) }
    }
    self.init(turned, before: before)
  }
}

/// One row.
struct SparseRowsStep {
  var map: SparseRows
  var x: Operand
  var y: Operand

  func run(_ chunk: Int, _ context: StepContext) {
    let from = x.pointer(context.bindings), to = y.pointer(context.bindings) + chunk * y.layout.stride, columns = y.layout.columns
    to.update(repeating: 0, count: columns)
    for term in map.terms[chunk] {
      let row = from + term.source * x.layout.stride
      for c in 0..<columns { to[c] += term.weight * row[c] }
    }
  }
}
