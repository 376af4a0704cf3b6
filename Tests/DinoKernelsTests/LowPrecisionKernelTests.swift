// The int8 and bf16 kernels of every table against their plain twins: the same bits where the twin does the same arithmetic, a stated tolerance where it is the meaning
// that is compared. Sizes leave remainders in every tile.

import CDinoKernels
import DinoKernels
import DinoTensor
import Testing
import TestSupport

private let tables = KernelTable.available.map(\.name)

@Suite struct LowPrecisionKernelTests {
  static let shapes = [(1, 1, 1), (3, 5, 2), (7, 16, 17), (13, 37, 33), (15, 64, 15), (29, 129, 48), (2, 384, 20)]

  /// Quantized weights, packed rows and one product with its epilogue.
  private func product(_ table: dk_table, _ x: [Float], _ w: [Float], rows: Int, depth: Int, columns: Int, activation: Int, bias: [Float], scale: [Float], residual: [Float])
    -> (y: [Float], weights: [(values: [Int], scale: Float)]) {
    let kernels = table.i8.pointee, row = (depth + kernels.depth - 1) / kernels.depth, panels = (columns + kernels.nr - 1) / kernels.nr, bytes = kernels.panel_bytes(depth)
    var bytesOfWeights = [Int8](repeating: 0, count: columns * depth), scales: [Float] = []
    for j in 0..<columns {
      bytesOfWeights.withUnsafeMutableBufferPointer { q in w.withUnsafeBufferPointer { scales.append(kernels.quantize_weights($0.baseAddress! + j * depth, depth, q.baseAddress! + j * depth)) } }
    }
    var packed = [UInt8](repeating: 0xAA, count: panels * bytes), words = [Int32](repeating: -1, count: rows * row), rowScales = [Float](repeating: 0, count: 2 * rows)
    kernels.quantize(x, depth, &words, row, &rowScales, rows, depth)
    var y = [Float](repeating: .nan, count: rows * columns)
    packed.withUnsafeMutableBytes { p in
      for panel in 0..<panels {
        let first = panel * kernels.nr, n = min(kernels.nr, columns - first)
        bytesOfWeights.withUnsafeBufferPointer { kernels.pack($0.baseAddress! + first * depth, depth, 1, n, depth, p.baseAddress! + panel * bytes) }
        y.withUnsafeMutableBufferPointer { y in words.withUnsafeBufferPointer { a in rowScales.withUnsafeBufferPointer { rs in scales.withUnsafeBufferPointer { cs in
          bias.withUnsafeBufferPointer { b in scale.withUnsafeBufferPointer { s in residual.withUnsafeBufferPointer { r in
            var block = dk_words_gemm_block(a: a.baseAddress, a_row: row, a_scale: rs.baseAddress, panel: UnsafeRawPointer(p.baseAddress! + panel * bytes), k: depth,
                                            b_scale: cs.baseAddress! + first, c: y.baseAddress! + first, c_row: columns, bias: b.baseAddress! + first,
                                            scale: s.baseAddress! + first, residual: r.baseAddress! + first, residual_row: columns, activation: Int32(activation), rows: rows,
                                            columns: n, prefetch: nil, prefetch_bytes: 0, b_zero: nil, a_total: nil, panel_bytes: 0, words: nil, words_row: 0)
            kernels.gemm(&block)
          } } }
        } } } }
      }
    }
    let weights = (0..<columns).map { j in (values: bytesOfWeights[j * depth..<(j + 1) * depth].map(Int.init), scale: scales[j]) }
    return (y, weights)
  }

  @Test(arguments: tables) func int8Linear(_ name: String) {
    let table = KernelTable.named(name)!.c.pointee
    var random = SplitMix64(seed: 21)
    for (rows, depth, columns) in Self.shapes {
      let x = random.floats(rows * depth), w = random.floats(columns * depth), bias = random.floats(columns), scale = random.floats(columns), residual = random.floats(rows * columns)
      let found = product(table, x, w, rows: rows, depth: depth, columns: columns, activation: 0, bias: bias, scale: scale, residual: residual)
      let expected = Reference.int8Linear(x, found.weights, rows: rows, bias: bias, scale: scale, residual: residual)
      #expect(found.y.elementsEqual(expected) { $0.bitPattern == $1.bitPattern }, "\(rows)x\(depth)x\(columns)")
      for (code, f, tolerance) in [(DK_GELU, Reference.gelu, Float(1e-4)), (DK_GELU_TANH, Reference.geluTanh, 2e-5), (DK_RELU, Reference.relu, 0), (DK_SILU, Reference.silu, 2e-5)] {
        let y = product(table, x, w, rows: rows, depth: depth, columns: columns, activation: Int(code), bias: bias, scale: scale, residual: residual).y
        let e = Reference.int8Linear(x, found.weights, rows: rows, bias: bias, activation: f, scale: scale, residual: residual)
        let d = maxAbsoluteDifference(y, e)
        #expect(d <= tolerance * (1 + (e.map(abs).max() ?? 0)), "activation \(code): \(d)")
      }
    }
  }

  /// Each weight is within half a step of its byte, or beyond the end of the range; and a clipped range is never worse than the whole one.
  @Test(arguments: tables) func weightsAreClippedForTheLeastError(_ name: String) {
    let kernels = KernelTable.named(name)!.c.pointee.i8.pointee
    var random = SplitMix64(seed: 22)
    for count in [1, 2, 15, 16, 17, 100, 384] {
      // One weight far out of the others: the case that clipping is for.
      var w = random.floats(count)
      w[count / 2] = 2.5
      var q = [Int8](repeating: 0, count: count)
      let scale = kernels.quantize_weights(w, count, &q)
      func error(_ s: Float) -> Double {
        w.reduce(0.0) { sum, x in
          let r = max(-127, min(127, (x / s).rounded(.toNearestOrEven)))
          return sum + (Double(x) - Double(r * s)) * (Double(x) - Double(r * s))
        }
      }
      #expect(error(scale) <= error(2.5 / 127) * 1.0001 && scale > 0 && scale <= 2.5 / 127 * 1.0001)
      for (x, b) in zip(w, q) { #expect(abs(x - Float(b) * scale) <= scale * 0.5001 || abs(b) == 127) }
    }
    var zeros = [Int8](repeating: 1, count: 5)
    #expect(kernels.quantize_weights([0, 0, 0, 0, 0], 5, &zeros) == 0 && zeros == [0, 0, 0, 0, 0])
  }

  /// Norm and quantization in one pass are the norm, then the quantization.
  @Test(arguments: tables) func layerNormInOnePass(_ name: String) {
    let kernels = KernelTable.named(name)!.c.pointee.i8.pointee
    var random = SplitMix64(seed: 23)
    for columns in [1, 3, 15, 16, 17, 33, 192, 385] {
      for offset: Float in [0, 100] {
        let rows = 3, row = (columns + kernels.depth - 1) / kernels.depth
        let x = random.floats(rows * columns).map { $0 + offset }, weight = random.floats(columns), bias = random.floats(columns)
        var y = [Float](repeating: 0, count: rows * columns), q = [Int32](repeating: 0, count: rows * row), scales = [Float](repeating: 0, count: 2 * rows)
        kernels.layer_norm(x, columns, weight, bias, 1e-6, &y, columns, &q, row, &scales, rows, columns)
        let d = maxAbsoluteDifference(y, Reference.layerNorm(x, weight: weight, bias: bias, epsilon: 1e-6, columns: columns))
        #expect(d < (offset == 0 ? 2e-5 : 1e-3), "\(columns) at \(offset): \(d)")
        var q2 = q.map { _ in Int32(-1) }, scales2 = scales
        kernels.quantize(y, columns, &q2, row, &scales2, rows, columns)
        #expect(q == q2 && scales == scales2)
        for r in 0..<rows {
          let twin = Reference.quantizedRow(Array(y[r * columns..<(r + 1) * columns]))
          #expect(scales[2 * r] == twin.scale && scales[2 * r + 1] == twin.middle)
        }
      }
    }
  }

  /// Attention on quantized heads against exact attention on what the bytes stand for: what differs is the rounding of probabilities to 14 bits.
  @Test(arguments: tables) func int8Attention(_ name: String) throws {
    let kernels = KernelTable.named(name)!.c.pointee.i8.pointee
    var random = SplitMix64(seed: 24)
    for (tokens, d, spread) in [(1, 1, Float(1)), (2, 20, 2), (17, 16, 1), (65, 64, 3), (129, 64, 1), (197, 64, 3), (201, 80, 1), (257, 5, 4), (600, 12, 1)] {
      let heads = 2, width = heads * d, scale = 1 / Double(d).squareRoot()
      let qkv = random.floats(tokens * 3 * width, in: -spread...spread)
      var rounded = qkv
      for r in 0..<tokens * 3 * heads {
        let part = qkv[r * d..<(r + 1) * d], largest = part.reduce(0) { max($0, abs($1)) }
        for i in r * d..<(r + 1) * d { rounded[i] = Float(Reference.wholeSteps(qkv[i], 127 / largest)) * (largest / 127) }
      }
      let parts = Reference.splitQKV(rounded, width: width)
      let expected = Reference.attention(q: parts.q, k: parts.k, v: parts.v, batch: 1, tokens: tokens, width: width, heads: heads, scale: scale)
      let row = heads * ((d + kernels.depth - 1) / kernels.depth), groups = (tokens + kernels.depth - 1) / kernels.depth
      let (group, channel) = kernels.values_by_channel != 0 ? (1, groups) : (width, 1)
      var q = [Int32](repeating: -1, count: tokens * row), k = q, v = [Int32](repeating: -1, count: groups * width + 16), scales = [Float](repeating: .nan, count: 3 * heads * tokens)
      var out = [Float](repeating: .nan, count: tokens * width)
      let scratch = try Storage(byteCount: kernels.attention_scratch(d) * 4)
      qkv.withUnsafeBufferPointer { x in q.withUnsafeMutableBufferPointer { q in k.withUnsafeMutableBufferPointer { k in v.withUnsafeMutableBufferPointer { v in
        scales.withUnsafeMutableBufferPointer { s in out.withUnsafeMutableBufferPointer { o in
          let x = x.baseAddress!, s = s.baseAddress!, part = heads * tokens
          var block = dk_heads_block(q: x, q_row: 3 * width, k: x + width, k_row: 3 * width, v: x + 2 * width, v_row: 3 * width, rows: tokens, heads: heads, head_width: d,
                                        q8: q.baseAddress, k8: k.baseAddress, row8: row, v8: v.baseAddress, v8_row: group, v8_column: channel, q_scale: s, k_scale: s + part, v_scale: s + 2 * part,
                                        scale_head: tokens)
          kernels.quantize_heads(&block)
          var attention = dk_attention_block(
            q8: q.baseAddress, k8: k.baseAddress, row8: row, v8: v.baseAddress, v8_row: group, v8_column: channel, q_scale: s, k_scale: s + part, v_scale: s + 2 * part, scale_head: tokens,
            queries: tokens, tokens: tokens, heads: heads, head_width: d, scale: Float(scale), out: o.baseAddress, out_row: width, scratch: scratch.base.assumingMemoryBound(to: Int32.self))
          kernels.attention(&attention)
        } }
      } } } }
      let error = maxAbsoluteDifference(out, expected)
      // Half of 1/16256 of a probability for each key at the worst, far less on average.
      #expect(error < 1e-3 * spread, "\(tokens) tokens of \(d): \(error)")
    }
  }

  /// On operands that bfloat16 holds exactly, the product is that of f32.
  @Test(arguments: tables) func bf16Linear(_ name: String) {
    let kernels = KernelTable.named(name)!.c.pointee.bf16.pointee
    var random = SplitMix64(seed: 25)
    func exact(_ n: Int) -> [Float] { random.floats(n).map { Float(bitPattern: $0.bitPattern & 0xFFFF_0000) } }
    for (rows, depth, columns) in Self.shapes where columns <= kernels.nr {
      let x = exact(rows * depth), w = exact(columns * depth), bias = random.floats(columns), residual = random.floats(rows * columns)
      let row = (depth + kernels.depth - 1) / kernels.depth
      var panel = [UInt8](repeating: 0xAA, count: kernels.panel_bytes(depth)), words = [Int32](repeating: -1, count: rows * row), none: [Float] = [0]
      kernels.pack(w, depth, columns, depth, &panel)
      kernels.convert(x, depth, &words, row, &none, rows, depth)
      var y = [Float](repeating: .nan, count: rows * columns)
      y.withUnsafeMutableBufferPointer { y in words.withUnsafeBufferPointer { a in panel.withUnsafeBytes { p in bias.withUnsafeBufferPointer { b in residual.withUnsafeBufferPointer { r in
        var block = dk_words_gemm_block(a: a.baseAddress, a_row: row, a_scale: nil, panel: p.baseAddress, k: depth, b_scale: nil, c: y.baseAddress, c_row: columns, bias: b.baseAddress,
                                        scale: nil, residual: r.baseAddress, residual_row: columns, activation: 0, rows: rows, columns: columns, prefetch: nil, prefetch_bytes: 0, b_zero: nil, a_total: nil, panel_bytes: 0, words: nil, words_row: 0)
        kernels.gemm(&block)
      } } } } }
      let expected = Reference.linear(x, w, rows: rows, inputs: depth, outputs: columns, bias: bias, residual: residual)
      let d = maxAbsoluteDifference(y, expected)
      #expect(d < 2e-5, "\(rows)x\(depth)x\(columns): \(d)")
    }
  }

  /// Attention of `count` heads on q, k and v beside each other, rounded to bfloat16; nil where a table's attention is that of f32.
  private static func bf16Attention(_ table: dk_table, _ qkv: [Float], tokens: Int, count: Int, d: Int, scale: Double) throws -> [Float]? {
    let kernels = table.bf16.pointee, width = count * d, row = count * ((d + 1) / 2), groups = (tokens + 1) / 2
    guard let heads = kernels.heads, let attend = kernels.attention, let room = kernels.attention_scratch else { return nil }
    // What is not written stays -1, which as bfloat16 is no number: reading it would show.
    var q = [Int32](repeating: -1, count: tokens * row), k = q, v = [Int32](repeating: -1, count: groups * width + 16), out = [Float](repeating: .nan, count: tokens * width)
    let scratch = try Storage(byteCount: room(d) * 4)
    scratch.base.initializeMemory(as: UInt8.self, repeating: 0xFF, count: room(d) * 4)
    qkv.withUnsafeBufferPointer { x in q.withUnsafeMutableBufferPointer { q in k.withUnsafeMutableBufferPointer { k in v.withUnsafeMutableBufferPointer { v in
      out.withUnsafeMutableBufferPointer { o in
        let x = x.baseAddress!
        var block = dk_heads_block(q: x, q_row: 3 * width, k: x + width, k_row: 3 * width, v: x + 2 * width, v_row: 3 * width, rows: tokens, heads: count, head_width: d,
                                   q8: q.baseAddress, k8: k.baseAddress, row8: row, v8: v.baseAddress, v8_row: 1, v8_column: groups, q_scale: nil, k_scale: nil, v_scale: nil,
                                   scale_head: 0)
        heads(&block)
        var attention = dk_attention_block(
          q8: q.baseAddress, k8: k.baseAddress, row8: row, v8: v.baseAddress, v8_row: 1, v8_column: groups, q_scale: nil, k_scale: nil, v_scale: nil, scale_head: 0,
          queries: tokens, tokens: tokens, heads: count, head_width: d, scale: Float(scale), out: o.baseAddress, out_row: width, scratch: scratch.base.assumingMemoryBound(to: Int32.self))
        attend(&attention)
      }
    } } } }
    return out
  }

  /// Attention on bfloat16 heads against exact attention on the rounded values: what differs is the rounding of probabilities to 8 bits.
  @Test(arguments: tables) func bf16Attention(_ name: String) throws {
    var random = SplitMix64(seed: 26)
    for (tokens, d, spread) in [(1, 2, Float(1)), (2, 20, 2), (17, 16, 1), (33, 64, 3), (129, 64, 1), (197, 64, 3), (201, 80, 1), (257, 6, 4), (600, 12, 1)] {
      let count = 2, width = count * d, scale = 1 / Double(d).squareRoot()
      let qkv = random.floats(tokens * 3 * width, in: -spread...spread).map { Float(bitPattern: $0.bitPattern & 0xFFFF_0000) }
      guard let out = try Self.bf16Attention(KernelTable.named(name)!.c.pointee, qkv, tokens: tokens, count: count, d: d, scale: scale) else { return }
      let parts = Reference.splitQKV(qkv, width: width)
      let error = maxAbsoluteDifference(out, Reference.attention(q: parts.q, k: parts.k, v: parts.v, batch: 1, tokens: tokens, width: width, heads: count, scale: scale))
      // Half of 1/256 of each probability at the worst.
      #expect(error < 2e-3 * spread, "\(tokens) tokens of \(d): \(error)")
    }
  }

  /// A query that is not a number makes its own result of its own head none, a key the results of all queries of that head.
  @Test(arguments: tables) func bf16AttentionKeepsNaN(_ name: String) throws {
    var random = SplitMix64(seed: 28)
    let tokens = 201, d = 16, count = 2, width = count * d
    let qkv = random.floats(tokens * 3 * width, in: -1...1)
    for (token, isKey) in [(0, false), (70, false), (200, false), (0, true), (130, true), (200, true)] {
      var wrong = qkv
      wrong[token * 3 * width + (isKey ? width : 0) + 5] = .nan
      guard let out = try Self.bf16Attention(KernelTable.named(name)!.c.pointee, wrong, tokens: tokens, count: count, d: d, scale: 0.25) else { return }
      #expect(out.indices.allSatisfy { out[$0].isNaN == ($0 % width < d && (isKey || $0 / width == token)) }, "token \(token), a key: \(isKey)")
    }
  }

  /// Several panels in one call are the panels one by one, bit for bit; so are rows of any number.
  @Test(arguments: tables) func panelsInOneCall(_ name: String) {
    let table = KernelTable.named(name)!.c.pointee
    var random = SplitMix64(seed: 27)
    for (rows, depth, columns) in [(1, 64, 70), (5, 20, 33), (16, 128, 96), (31, 192, 64), (33, 65, 100), (50, 384, 40), (101, 70, 129)] {
      let w = random.floats(columns * depth), x = random.floats(rows * depth), bias = random.floats(columns), residual = random.floats(rows * columns)
      for bf16 in [false, true] {
        let nr = bf16 ? table.bf16.pointee.nr : table.i8.pointee.nr, panels = (columns + nr - 1) / nr, per = bf16 ? table.bf16.pointee.depth : table.i8.pointee.depth
        let bytes = bf16 ? table.bf16.pointee.panel_bytes(depth) : table.i8.pointee.panel_bytes(depth), row = (depth + per - 1) / per
        var packed = [UInt8](repeating: 0xAA, count: panels * bytes), words = [Int32](repeating: -1, count: rows * row + 16), scales = [Float](repeating: 0, count: 2 * rows)
        var columnScales = [Float](repeating: 1, count: columns), integers = [Int8](repeating: 0, count: columns * depth)
        if bf16 {
          table.bf16.pointee.convert(x, depth, &words, row, &scales, rows, depth)
        } else {
          table.i8.pointee.quantize(x, depth, &words, row, &scales, rows, depth)
          for j in 0..<columns { integers.withUnsafeMutableBufferPointer { q in w.withUnsafeBufferPointer { columnScales[j] = table.i8.pointee.quantize_weights($0.baseAddress! + j * depth, depth, q.baseAddress! + j * depth) } } }
        }
        packed.withUnsafeMutableBytes { p in w.withUnsafeBufferPointer { w in integers.withUnsafeBufferPointer { q in
          for i in 0..<panels {
            let n = min(nr, columns - i * nr)
            if bf16 { table.bf16.pointee.pack(w.baseAddress! + i * nr * depth, depth, n, depth, p.baseAddress! + i * bytes) }
            else { table.i8.pointee.pack(q.baseAddress! + i * nr * depth, depth, 1, n, depth, p.baseAddress! + i * bytes) }
          }
        } } }
        func run(_ activation: Int32, together: Bool, into rounded: UnsafeMutablePointer<Int32>? = nil, stride: Int = 0) -> [Float] {
          var y = [Float](repeating: .nan, count: rows * columns)
          y.withUnsafeMutableBufferPointer { y in words.withUnsafeBufferPointer { a in packed.withUnsafeBytes { p in scales.withUnsafeBufferPointer { rs in columnScales.withUnsafeBufferPointer { cs in
            bias.withUnsafeBufferPointer { b in residual.withUnsafeBufferPointer { r in
              for i in 0..<(together ? 1 : panels) {
                let first = i * nr
                var block = dk_words_gemm_block(
                  a: a.baseAddress, a_row: row, a_scale: rs.baseAddress, panel: p.baseAddress! + i * bytes, k: depth, b_scale: cs.baseAddress! + first, c: y.baseAddress! + first, c_row: columns,
                  bias: b.baseAddress! + first, scale: nil, residual: activation == 0 ? r.baseAddress! + first : nil, residual_row: columns, activation: activation, rows: rows,
                  columns: together ? columns : min(nr, columns - first), prefetch: nil, prefetch_bytes: 0, b_zero: nil, a_total: nil, panel_bytes: bytes, words: rounded, words_row: stride)
                if bf16 { table.bf16.pointee.gemm(&block) } else { table.i8.pointee.gemm(&block) }
              }
            } }
          } } } } }
          return y
        }
        for activation in [Int32(0), Int32(DK_GELU)] {
          let whole = run(activation, together: true)
          #expect(whole == run(activation, together: false) && !whole.contains { $0.isNaN }, "\(rows)x\(depth)x\(columns), bf16 \(bf16), activation \(activation)")
          guard bf16 else { continue }
          // What leaves as words is what rounding the result would have made; beside the rows nothing is written.
          let outRow = (columns + per - 1) / per, stride = outRow + 3
          var expected = [Int32](repeating: -7, count: rows * stride), found = expected
          table.bf16.pointee.convert(whole, columns, &expected, stride, &scales, rows, columns)
          let untouched = run(activation, together: true, into: &found, stride: stride)
          #expect(found == expected && untouched.allSatisfy(\.isNaN), "\(rows)x\(depth)x\(columns), activation \(activation)")
        }
      }
    }
  }
}
