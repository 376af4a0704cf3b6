// Every kernel of every table that this machine has, against its plain twin, at sizes that leave remainders in each tile: 1 to 10,
// 2^k - 1, 2^k, 2^k + 1, and token counts that occur.

import CDinoKernels
import DinoKernels
import DinoTensor
import Testing
import TestSupport

/// Row-major floats with a distance between rows that is not the row's width, and a guard value in the gaps.
private struct Rows {
  static let guardValue: Float = 12345
  var values: [Float]
  let count: Int, columns: Int, stride: Int

  init(_ dense: [Float], columns: Int, gap: Int) {
    self.columns = columns
    stride = columns + gap
    count = columns == 0 ? 0 : dense.count / columns
    values = Array(repeating: Self.guardValue, count: count * stride + 64)
    for r in 0..<count { for c in 0..<columns { values[r * stride + c] = dense[r * columns + c] } }
  }
  var dense: [Float] { (0..<count).flatMap { r in values[r * stride..<r * stride + columns] } }
  /// Nothing was written between or behind the rows.
  var gapsAreClean: Bool {
    values.indices.allSatisfy { i in i < count * stride && i % stride < columns || values[i] == Self.guardValue }
  }
}

private let tables = KernelTable.available.map(\.name)

@Suite struct KernelParityTests {
  static let sizes = [1, 2, 3, 5, 7, 8, 13, 14, 15, 16, 17, 31, 32, 33, 64, 65]

  @Test(arguments: tables) func gemm(_ name: String) {
    let table = KernelTable.named(name)!.c.pointee
    var random = SplitMix64(seed: 1)
    let functions: [(Int, ((Float) -> Float)?)] = [(DK_NONE, nil), (DK_GELU, Reference.gelu), (DK_GELU_TANH, Reference.geluTanh), (DK_RELU, Reference.relu), (DK_SILU, Reference.silu)]
      .map { (Int($0.0), $0.1) }
    for rows in Self.sizes {
      for depth in [1, 3, 4, 5, 16, 37, 64] {
        let columns = [1, 2, table.nr / 2 - 1, table.nr / 2, table.nr / 2 + 1, table.nr - 1, table.nr].randomElement(using: &random)!
        let (code, activation) = functions.randomElement(using: &random)!
        let useBias = Bool.random(using: &random), useScale = Bool.random(using: &random), useResidual = Bool.random(using: &random)
        let x = random.floats(rows * depth), w = random.floats(columns * depth)
        let bias = random.floats(columns), scale = random.floats(columns), residual = random.floats(rows * columns)
        let expected = Reference.linear(x, w, rows: rows, inputs: depth, outputs: columns, bias: useBias ? bias : nil, activation: activation,
                                        scale: useScale ? scale : nil, residual: useResidual ? residual : nil)
        var a = Rows(x, columns: depth, gap: 3), c = Rows([Float](repeating: 0, count: rows * columns), columns: columns, gap: 5)
        var r = Rows(residual, columns: columns, gap: 2)
        var panel = [Float](repeating: .nan, count: depth * table.nr)
        table.f32_pack(w, depth, columns, depth, &panel)
        #expect(panel.indices.allSatisfy { panel[$0] == ($0 % table.nr < columns ? w[($0 % table.nr) * depth + $0 / table.nr] : 0) }, "pack \(columns) x \(depth)")
        a.values.withUnsafeMutableBufferPointer { a in c.values.withUnsafeMutableBufferPointer { cp in r.values.withUnsafeMutableBufferPointer { rp in
          bias.withUnsafeBufferPointer { bp in scale.withUnsafeBufferPointer { sp in panel.withUnsafeBufferPointer { pp in
            var block = dk_f32_gemm_block(
              a: a.baseAddress, a_row: depth + 3, b: pp.baseAddress, k: depth, c: cp.baseAddress, c_row: columns + 5, bias: useBias ? bp.baseAddress : nil,
              scale: useScale ? sp.baseAddress : nil, residual: useResidual ? UnsafePointer(rp.baseAddress) : nil, residual_row: columns + 2,
              activation: Int32(code), rows: rows, columns: columns, prefetch: nil, prefetch_bytes: 0)
            table.f32_gemm(&block)
          } } }
        } } }
        let d = maxAbsoluteDifference(c.dense, expected)
        #expect(d < 2e-5, "\(rows)x\(depth)x\(columns) activation \(code): \(d)")
        #expect(c.gapsAreClean, "\(rows)x\(depth)x\(columns) wrote outside its block")
      }
    }
  }

  /// Products of split values are as near to the exact ones as those of f32's own multiply-adds: numbers of very different size, sizes that leave remainders in every tile, several panels.
  /// A row with NaN or infinity spoils no other.
  @Test(arguments: tables) func splitProducts(_ name: String) {
    let table = KernelTable.named(name)!.c.pointee
    guard let kernels = table.split?.pointee else { return } // this table has f32's own products only
    var random = SplitMix64(seed: 27), worstOfAll = 0.0, worstPlain = 0.0
    for (rows, depth, columns) in [(1, 1, 1), (3, 5, 7), (16, 31, 32), (17, 32, 33), (32, 33, 31), (33, 65, 70), (64, 192, 96), (65, 200, 97), (130, 96, 40)] {
      var x = random.floats(rows * depth).enumerated().map { $1 * [1, 1e-3, 300, 1e3][$0 % 4] }
      let w = random.floats(columns * depth).enumerated().map { $1 * [1, 30, 1e-2][$0 % 3] }, bias = random.floats(columns), scale = random.floats(columns), residual = random.floats(rows * columns)
      let spoiled = rows > 20 ? 18 : -1
      if spoiled >= 0 { x[spoiled * depth] = .nan }
      let panels = (columns + table.nr - 1) / table.nr, bytes = (kernels.panel_bytes(depth) + 63) / 64 * 64
      let packed = UnsafeMutableRawPointer.allocate(byteCount: panels * bytes, alignment: 64), split = UnsafeMutableRawPointer.allocate(byteCount: kernels.split_bytes(rows, depth), alignment: 64)
      defer { packed.deallocate(); split.deallocate() }
      // What is not written stays no number: reading it would show.
      packed.initializeMemory(as: UInt8.self, repeating: 0xFF, count: panels * bytes)
      split.initializeMemory(as: UInt8.self, repeating: 0xFF, count: kernels.split_bytes(rows, depth))
      var plain = [Float](repeating: 0, count: depth * table.nr), a = Rows(x, columns: depth, gap: 3)
      var plainSums = [Float](repeating: 0, count: rows * panels * table.nr)
      for panel in 0..<panels {
        let first = panel * table.nr, count = min(table.nr, columns - first)
        w.withUnsafeBufferPointer { table.f32_pack($0.baseAddress! + first * depth, depth, count, depth, &plain) }
        kernels.pack(plain, table.nr, count, depth, packed + panel * bytes)
        plainSums.withUnsafeMutableBufferPointer { c in a.values.withUnsafeBufferPointer { a in plain.withUnsafeBufferPointer { b in
          var block = dk_f32_gemm_block()
          (block.a, block.a_row, block.b, block.k) = (a.baseAddress, depth + 3, b.baseAddress, depth)
          (block.c, block.c_row, block.rows, block.columns) = (c.baseAddress! + first, panels * table.nr, rows, count)
          table.f32_gemm(&block)
        } } }
      }
      kernels.split_rows(a.values, depth + 3, rows, depth, split)
      for (code, f) in [(0, { $0 }), (Int32(DK_GELU), Reference.gelu), (Int32(DK_SILU), Reference.silu)] as [(Int32, (Float) -> Float)] {
        var c = Rows([Float](repeating: 0, count: rows * columns), columns: columns, gap: 5)
        c.values.withUnsafeMutableBufferPointer { c in bias.withUnsafeBufferPointer { b in scale.withUnsafeBufferPointer { s in residual.withUnsafeBufferPointer { r in
          var args = dk_f32_split_block()
          args.split = UnsafeRawPointer(split)
          args.panel_bytes = bytes
          args.block.b = UnsafePointer(packed.assumingMemoryBound(to: Float.self))
          (args.block.k, args.block.c, args.block.c_row, args.block.rows, args.block.columns) = (depth, c.baseAddress, columns + 5, rows, columns)
          (args.block.bias, args.block.scale, args.block.residual, args.block.residual_row) = (b.baseAddress, s.baseAddress, r.baseAddress, columns)
          args.block.activation = code
          args.block.prefetch_bytes = rows % 2 == 0 ? bytes : 0
          kernels.gemm(&args)
        } } } }
        let found = c.dense
        var worst = 0.0
        for i in 0..<rows where i != spoiled {
          for j in 0..<columns {
            var sum = 0.0, size = 0.0
            for k in 0..<depth {
              let product = Double(x[i * depth + k]) * Double(w[j * depth + k])
              sum += product
              size += abs(product)
            }
            let expected = Double(f(Float(sum + Double(bias[j])))) * Double(scale[j]) + Double(residual[i * columns + j])
            worst = max(worst, abs(Double(found[i * columns + j]) - expected) / (size + 1))
            if code == 0 {
              worstOfAll = max(worstOfAll, abs(Double(found[i * columns + j] - residual[i * columns + j]) / Double(scale[j]) - Double(bias[j]) - sum) / (size + 1) * abs(Double(scale[j])))
              worstPlain = max(worstPlain, abs(Double(plainSums[i * panels * table.nr + j]) - sum) / (size + 1))
            }
          }
        }
        #expect(worst < 4e-7, "\(rows)x\(depth)x\(columns), activation \(code): \(worst)")
        #expect(c.gapsAreClean)
        if spoiled >= 0 { #expect(found[spoiled * columns..<(spoiled + 1) * columns].allSatisfy { $0.isNaN }) }
      }
    }
    #expect(worstOfAll < 2 * worstPlain, "\(worstOfAll), f32's own \(worstPlain)")
  }

  /// One product's result does not depend on the tile its row falls into.
  @Test(arguments: tables) func gemmRowsAreIndependentOfTheirTile(_ name: String) {
    let table = KernelTable.named(name)!.c.pointee
    var random = SplitMix64(seed: 5)
    let rows = 31, depth = 129
    let x = random.floats(rows * depth), w = random.floats(table.nr * depth)
    var panel = [Float](repeating: 0, count: depth * table.nr)
    table.f32_pack(w, depth, table.nr, depth, &panel)
    func product(_ first: Int, _ count: Int) -> [Float] {
      var c = [Float](repeating: 0, count: count * table.nr)
      x.withUnsafeBufferPointer { xp in panel.withUnsafeBufferPointer { pp in c.withUnsafeMutableBufferPointer { cp in
        var block = dk_f32_gemm_block(a: xp.baseAddress! + first * depth, a_row: depth, b: pp.baseAddress, k: depth, c: cp.baseAddress, c_row: table.nr, bias: nil,
                                      scale: nil, residual: nil, residual_row: 0, activation: 0, rows: count, columns: table.nr, prefetch: nil, prefetch_bytes: 0)
        table.f32_gemm(&block)
      } } }
      return c
    }
    let whole = product(0, rows)
    for first in [0, 1, 5, 13, 30] {
      let count = min(rows - first, 7)
      #expect(product(first, count) == Array(whole[first * table.nr..<(first + count) * table.nr]))
    }
  }

  @Test(arguments: tables) func attention(_ name: String) {
    let table = KernelTable.named(name)!.c.pointee
    var random = SplitMix64(seed: 2)
    for (tokens, d, spread) in [(1, 1, Float(1)), (2, 20, 2), (17, 16, 1), (46, 20, 1), (65, 64, 3), (127, 33, 1), (128, 8, 1), (129, 64, 8), (197, 64, 1), (201, 80, 1), (257, 5, 20), (400, 12, 1)] {
      let width = 3 * d, scale = 1 / Double(d).squareRoot()
      let qkv = random.floats(tokens * width, in: -spread...spread)
      let parts = Reference.splitQKV(qkv, width: d)
      let expected = Reference.attention(q: parts.q, k: parts.k, v: parts.v, batch: 1, tokens: tokens, width: d, heads: 1, scale: scale)
      var out = Rows([Float](repeating: 0, count: tokens * d), columns: d, gap: 7)
      // Scratch may hold anything before, and nothing is read past its end.
      var scratch = try! Storage(byteCount: table.f32_attention_scratch(d) * 4)
      scratch.base.assumingMemoryBound(to: Float.self).update(repeating: .nan, count: table.f32_attention_scratch(d))
      out.values.withUnsafeMutableBufferPointer { o in qkv.withUnsafeBufferPointer { x in
        for query in stride(from: 0, to: tokens, by: table.nr) {
          var block = dk_f32_attention_block(
            q: x.baseAddress! + query * width, q_row: width, queries: min(table.nr, tokens - query), k: x.baseAddress! + d, k_row: width, v: x.baseAddress! + 2 * d,
            v_row: width, tokens: tokens, head_width: d, scale: Float(scale), out: o.baseAddress! + query * (d + 7), out_row: d + 7,
            scratch: scratch.base.assumingMemoryBound(to: Float.self))
          table.f32_attention(&block)
        }
      } }
      scratch = try! Storage(byteCount: 64)
      let error = maxAbsoluteDifference(out.dense, expected)
      #expect(error < 2e-5 * max(1, spread), "\(tokens) tokens of \(d): \(error)")
      #expect(out.gapsAreClean)
      var row = [Float](repeating: 0, count: tokens)
      qkv.withUnsafeBufferPointer { table.f32_attention_row($0.baseAddress!, $0.baseAddress! + d, width, tokens, d, Float(scale), &row) }
      let weights = Reference.attentionWeights(q: parts.q, k: parts.k, batch: 1, tokens: tokens, width: d, heads: 1, scale: scale, queries: 1)
      #expect(maxAbsoluteDifference(row, weights) < 1e-5)
      #expect(abs(row.reduce(0, +) - 1) < 1e-5)
    }
  }

  @Test(arguments: tables) func layerNorm(_ name: String) {
    let table = KernelTable.named(name)!.c.pointee
    var random = SplitMix64(seed: 3)
    for columns in Self.sizes + [197, 384, 768] {
      // An offset far from zero: the variance must not be taken as a difference of large squares.
      for offset: Float in [0, 100] {
        let rows = 5, dense = random.floats(rows * columns).map { $0 + offset }
        let weight = random.floats(columns), bias = random.floats(columns)
        let x = Rows(dense, columns: columns, gap: 1)
        var y = Rows([Float](repeating: 0, count: rows * columns), columns: columns, gap: 4)
        table.f32_layer_norm(x.values, x.stride, weight, bias, 1e-6, &y.values, y.stride, rows, columns)
        let error = maxAbsoluteDifference(y.dense, Reference.layerNorm(dense, weight: weight, bias: bias, epsilon: 1e-6, columns: columns))
        #expect(error < (offset == 0 ? 2e-5 : 1e-3), "\(columns) columns at \(offset): \(error)")
        #expect(y.gapsAreClean)
      }
    }
  }

  @Test(arguments: tables) func softmaxAndActivations(_ name: String) {
    let table = KernelTable.named(name)!.c.pointee
    var random = SplitMix64(seed: 4)
    for columns in Self.sizes + [197] {
      let rows = 3, x = random.floats(rows * columns, in: -30...30)
      var y = Rows([Float](repeating: 0, count: rows * columns), columns: columns, gap: 2)
      table.f32_softmax(x, columns, &y.values, y.stride, rows, columns)
      #expect(maxAbsoluteDifference(y.dense, Reference.softmax(x, columns: columns)) < 1e-6)
      #expect(y.gapsAreClean)
    }
    let x = (-2000...2000).map { Float($0) / 200 } + [-1e4, -100, 100, 1e4]
    for (code, f) in [(DK_GELU, Reference.gelu), (DK_GELU_TANH, Reference.geluTanh), (DK_RELU, Reference.relu), (DK_SILU, Reference.silu)] {
      var y = [Float](repeating: 0, count: x.count)
      table.f32_activation(Int32(code), x, &y, x.count)
      for (i, v) in x.enumerated() {
        let e = f(v)
        #expect(abs(y[i] - e) <= 2e-6 * max(1, abs(e)), "activation \(code) of \(v): \(y[i]), not \(e)")
      }
    }
    // What is not a number stays so, whatever the lane.
    let wrong = (0..<37).map { $0 % 5 == 2 ? Float.nan : Float($0) - 18 }
    for code in [DK_GELU, DK_GELU_TANH, DK_RELU, DK_SILU] {
      var y = [Float](repeating: 0, count: wrong.count)
      table.f32_activation(Int32(code), wrong, &y, wrong.count)
      #expect(y.indices.allSatisfy { y[$0].isNaN == ($0 % 5 == 2) }, "activation \(code)")
    }
  }

  /// Every table's bits are the twin's: int8 rows are made of the result.
  @Test(arguments: tables) func rotaryPositions(_ name: String) {
    let table = KernelTable.named(name)!.c.pointee
    var random = SplitMix64(seed: 14)
    for (headWidth, heads, rest) in [(64, 4, 128), (8, 3, 5), (44, 2, 0), (2, 1, 1), (36, 1, 70)] {
      for transposed in [false, true] {
        let rows = 3, columns = headWidth * heads, width = columns + rest
        let dense = random.floats(rows * width, in: -3...3), cos = random.floats(rows * headWidth, in: -1...1), sin = random.floats(rows * headWidth, in: -1...1)
        let expected = Reference.rotary(dense, width: width, columns: columns, transposed: transposed, cos: cos, sin: sin, tokens: rows)
        let x = Rows(dense, columns: width, gap: 1)
        var y = Rows(dense, columns: width, gap: 3), same = x
        table.f32_rotary(x.values, x.stride, &y.values, y.stride, cos, sin, rows, columns, headWidth, transposed ? 1 : 0)
        #expect(y.dense == expected && y.gapsAreClean, "\(headWidth) x \(heads), transposed \(transposed)")
        same.values.withUnsafeMutableBufferPointer { table.f32_rotary($0.baseAddress!, x.stride, $0.baseAddress!, x.stride, cos, sin, rows, columns, headWidth, transposed ? 1 : 0) }
        #expect(same.dense == expected && same.gapsAreClean, "in place: \(headWidth) x \(heads), transposed \(transposed)")
      }
    }
  }
}
