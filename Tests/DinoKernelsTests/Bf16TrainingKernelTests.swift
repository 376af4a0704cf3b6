// What training in bfloat16 adds to every table: packing of a transpose, turned rows, and the product dyᵀ·x that both make, against plain twins.

import CDinoKernels
import DinoKernels
import Testing
import TestSupport

private let tables = KernelTable.available.map(\.name)

@Suite struct Bf16TrainingKernelTests {
  /// To the nearest bfloat16, ties to even.
  private static func rounded(_ x: Float) -> Float { Float(bitPattern: (x.bitPattern &+ 0x7FFF &+ (x.bitPattern >> 16 & 1)) & 0xFFFF_0000) }

  /// Panels of X packed by rows are panels of its transpose packed by columns, to the bit, and hold nothing of what lay there before.
  @Test(arguments: tables) func packingOfATranspose(_ name: String) {
    let kernels = KernelTable.named(name)!.c.pointee.bf16.pointee
    var random = SplitMix64(seed: 31)
    for depth in [1, 2, 3, 15, 16, 17, 31, 32, 33, 64, 65, 197] {
      for columns in [1, kernels.nr / 2, kernels.nr - 1, kernels.nr] {
        let stride = columns + 3, x = random.floats(depth * stride), bytes = kernels.panel_bytes(depth)
        var turned = [Float](repeating: 0, count: columns * depth)
        for k in 0..<depth { for j in 0..<columns { turned[j * depth + k] = x[k * stride + j] } }
        var a = [UInt8](repeating: 0xAA, count: bytes), b = [UInt8](repeating: 0x55, count: bytes)
        a.withUnsafeMutableBytes { kernels.pack_rows(x, stride, columns, depth, $0.baseAddress!, 0) }
        b.withUnsafeMutableBytes { kernels.pack(turned, depth, columns, depth, $0.baseAddress!) }
        #expect(a == b, "\(depth) x \(columns)")
        // Value by value: two rows of depth side by side in words, zeros around them.
        let halves = a.withUnsafeBytes { Array($0.bindMemory(to: UInt16.self)) }
        for (i, h) in halves.enumerated() {
          let k = i / (2 * kernels.nr) * 2 + i % 2, j = i / 2 % kernels.nr
          let want = k < depth && j < columns ? Self.rounded(x[k * stride + j]) : 0
          #expect(Float(bitPattern: UInt32(h) << 16) == want, "\(depth) x \(columns): \(k), \(j)")
        }
      }
    }
  }

  /// A turned matrix is its transpose converted, to the bit, and nothing beyond.
  @Test(arguments: tables) func turnedRows(_ name: String) {
    let kernels = KernelTable.named(name)!.c.pointee.bf16.pointee
    var random = SplitMix64(seed: 32)
    for rows in [1, 2, 5, 16, 31, 32, 33, 95] {
      for columns in [1, 7, 16, 17, 33] {
        let stride = columns + 5, x = random.floats(rows * stride), words = (rows + kernels.depth - 1) / kernels.depth, row = words + 2
        var turned = [Float](repeating: 0, count: columns * rows)
        for r in 0..<rows { for c in 0..<columns { turned[c * rows + r] = x[r * stride + c] } }
        var a = [Int32](repeating: -7, count: columns * row), b = a
        kernels.turn(x, stride, &a, row, rows, columns)
        kernels.convert(turned, rows, &b, row, nil, columns, rows)
        #expect(a == b, "\(rows) x \(columns)")
      }
    }
  }

  /// Where a table has it: against exact gradients, at rounding's distance; dq of each query and dk, dv of each key apart, so that no row is wrong unseen.
  @Test(arguments: tables) func attentionGradient(_ name: String) {
    let kernels = KernelTable.named(name)!.c.pointee.bf16.pointee
    guard let gradient = kernels.attention_gradient, let size = kernels.attention_gradient_scratch else { return }
    var random = SplitMix64(seed: 34)
    for (tokens, width, queries) in [(2, 4, 2), (3, 20, 3), (17, 33, 17), (31, 16, 31), (32, 64, 32), (33, 64, 33), (37, 64, 37), (65, 33, 65), (131, 80, 131), (197, 64, 197), (2, 4, 1), (37, 64, 1), (131, 80, 1), (65, 33, 33), (197, 64, 100)] {
      let heads = 2, d = width, total = heads * d, scale = 1 / Double(d).squareRoot()
      let qkv = random.floats(tokens * 3 * total, in: -2...2), dy = random.floats(queries * total)
      let expected = Reference.attentionGradient(dy, qkv: qkv, batch: 1, tokens: tokens, width: total, heads: heads, scale: scale)
      var out = [Float](repeating: .nan, count: qkv.count)
      let floats = size(tokens, d)
      let scratch = UnsafeMutableRawPointer.allocate(byteCount: floats * 4 + 64, alignment: 64).bindMemory(to: Float.self, capacity: floats + 16)
      defer { scratch.deallocate() }
      // What lies in the scratch from before must not matter, and what lies behind it is not touched.
      scratch.update(repeating: .nan, count: floats)
      (scratch + floats).update(repeating: 7, count: 16)
      qkv.withUnsafeBufferPointer { x in dy.withUnsafeBufferPointer { g in out.withUnsafeMutableBufferPointer { o in
        for head in 0..<heads {
          let x = x.baseAddress! + head * d, o = o.baseAddress! + head * d
          var call = dk_f32_attention_gradient_head(
            q: x, q_row: 3 * total, k: x + total, k_row: 3 * total, v: x + 2 * total, v_row: 3 * total, dy: g.baseAddress! + head * d, dy_row: total,
            tokens: tokens, queries: queries, head_width: d, scale: Float(scale), dq: o, dk: o + total, dv: o + 2 * total, out_row: 3 * total, scratch: scratch)
          gradient(&call)
        }
      } } }
      for i in 0..<16 { #expect(scratch[floats + i] == 7) }
      for part in 0..<3 {
        let size = (0..<tokens).reduce(0.0) { sum, r in (0..<total).reduce(sum) { $0 + Double(expected[(r * 3 + part) * total + $1]) * Double(expected[(r * 3 + part) * total + $1]) } } / Double(part == 0 ? queries : tokens)
        for r in 0..<tokens {
          let range = (r * 3 + part) * total..<(r * 3 + part + 1) * total
          let error = range.reduce(0.0) { $0 + Double(out[$1] - expected[$1]) * Double(out[$1] - expected[$1]) }
          // Where few have asked, few keys have nearly all of a gradient: their rows are measured by their own size.
          let own = queries < tokens ? range.reduce(0.0) { $0 + Double(expected[$1]) * Double(expected[$1]) } : 0
          #expect(error < 4e-4 * max(size, own), "\(tokens) tokens, \(queries) queries, width \(d), part \(part), row \(r): \((error / size).squareRoot())")
        }
      }
    }
  }

  @Test(arguments: tables) func transposedProduct(_ name: String) {
    let kernels = KernelTable.named(name)!.c.pointee.bf16.pointee
    var random = SplitMix64(seed: 33)
    for (depth, outputs, inputs) in [(1, 1, 1), (3, 5, 2), (31, 17, 33), (32, 32, 32), (64, 15, 70), (129, 66, 31)] {
      let dy = random.floats(depth * outputs), x = random.floats(depth * inputs), before = random.floats(outputs * inputs)
      // Where rows of A stay f32 only the panels are rounded.
      let expected = Reference.weightGradient(kernels.depth == 2 ? dy.map(Self.rounded) : dy, x.map(Self.rounded), outputs: outputs, inputs: inputs)
      let row = (depth + kernels.depth - 1) / kernels.depth, bytes = kernels.panel_bytes(depth), panels = (inputs + kernels.nr - 1) / kernels.nr
      var words = [Int32](repeating: -1, count: outputs * row), packed = [UInt8](repeating: 0xAA, count: panels * bytes)
      kernels.turn(dy, outputs, &words, row, depth, outputs)
      packed.withUnsafeMutableBytes { kernels.pack_rows(x, inputs, inputs, depth, $0.baseAddress!, bytes) }
      for accumulates in [false, true] {
        var c = accumulates ? before : [Float](repeating: .nan, count: outputs * inputs)
        c.withUnsafeMutableBufferPointer { c in words.withUnsafeBufferPointer { a in packed.withUnsafeBytes { p in
          var block = dk_words_gemm_block()
          block.a = a.baseAddress
          block.a_row = row
          block.panel = p.baseAddress
          block.panel_bytes = bytes
          block.k = depth
          block.c = c.baseAddress
          block.c_row = inputs
          block.rows = outputs
          block.columns = inputs
          if accumulates {
            block.residual = UnsafePointer(c.baseAddress)
            block.residual_row = inputs
          }
          kernels.gemm(&block)
        } } }
        let want = accumulates ? zip(expected, before).map { $0 + $1 } : expected
        #expect(maxAbsoluteDifference(c, want) < 2e-5, "\(depth) x \(outputs) x \(inputs)")
      }
    }
  }
}
