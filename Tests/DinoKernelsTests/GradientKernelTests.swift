// The backward kernels of every table that this machine has, against their plain twins, at sizes that leave remainders.

import CDinoKernels
import DinoKernels
import Testing
import TestSupport

private let tables = KernelTable.available.map(\.name)

@Suite struct GradientKernelTests {
  @Test(arguments: tables) func transposedProduct(_ name: String) {
    let table = KernelTable.named(name)!.c.pointee
    var random = SplitMix64(seed: 11)
    for depth in [1, 3, 4, 5, 31, 64] {
      for rows in [1, 2, 7, 13, 14, 15, 33] {
        for columns in [1, table.nr / 2 - 1, table.nr / 2, table.nr / 2 + 1, table.nr - 1, table.nr] {
          let a = random.floats(depth * rows), b = random.floats(depth * columns), before = random.floats(rows * (columns + 3))
          var panel = [Float](repeating: 0, count: depth * table.nr)
          for k in 0..<depth { for j in 0..<columns { panel[k * table.nr + j] = b[k * columns + j] } }
          let expected = Reference.weightGradient(a, b, outputs: rows, inputs: columns)
          for accumulate in [Int32(0), 1] {
            var c = before
            c.withUnsafeMutableBufferPointer { cp in a.withUnsafeBufferPointer { ap in panel.withUnsafeBufferPointer { bp in
              var block = dk_f32_gemm_transposed_block(a: ap.baseAddress, a_row: rows, b: bp.baseAddress, k: depth, c: cp.baseAddress, c_row: columns + 3,
                                                       rows: rows, columns: columns, accumulate: accumulate, prefetch: nil, prefetch_bytes: 0)
              table.f32_gemm_transposed(&block)
            } } }
            for i in 0..<rows {
              for j in 0..<columns {
                let want = expected[i * columns + j] + (accumulate == 1 ? before[i * (columns + 3) + j] : 0)
                #expect(abs(c[i * (columns + 3) + j] - want) < 1e-4, "\(depth) x \(rows) x \(columns)")
              }
              // Nothing is written between the rows.
              #expect(c[i * (columns + 3) + columns..<(i + 1) * (columns + 3)] == before[i * (columns + 3) + columns..<(i + 1) * (columns + 3)])
            }
          }
        }
      }
    }
  }

  @Test(arguments: tables) func attention(_ name: String) {
    let table = KernelTable.named(name)!.c.pointee
    var random = SplitMix64(seed: 12)
    for (tokens, width, queries) in [(1, 4, 1), (2, 3, 2), (5, 16, 5), (17, 20, 17), (33, 64, 33), (37, 64, 37), (65, 33, 65), (197, 64, 197), (2, 3, 1), (37, 64, 1), (65, 33, 40)] {
      let heads = 2, d = width, total = heads * d, scale = 1 / Double(d).squareRoot()
      let qkv = random.floats(tokens * 3 * total, in: -2...2), dy = random.floats(queries * total)
      let expected = Reference.attentionGradient(dy, qkv: qkv, batch: 1, tokens: tokens, width: total, heads: heads, scale: scale)
      var out = [Float](repeating: .nan, count: qkv.count)
      let floats = table.f32_attention_gradient_scratch(tokens, d)
      let scratch = UnsafeMutableRawPointer.allocate(byteCount: floats * 4, alignment: 64).bindMemory(to: Float.self, capacity: floats)
      defer { scratch.deallocate() }
      // What lies in the scratch from before must not matter.
      scratch.update(repeating: .nan, count: floats)
      qkv.withUnsafeBufferPointer { x in dy.withUnsafeBufferPointer { g in out.withUnsafeMutableBufferPointer { o in
        for head in 0..<heads {
          let x = x.baseAddress! + head * d, o = o.baseAddress! + head * d
          var call = dk_f32_attention_gradient_head(
            q: x, q_row: 3 * total, k: x + total, k_row: 3 * total, v: x + 2 * total, v_row: 3 * total, dy: g.baseAddress! + head * d, dy_row: total,
            tokens: tokens, queries: queries, head_width: d, scale: Float(scale), dq: o, dk: o + total, dv: o + 2 * total, out_row: 3 * total, scratch: scratch)
          table.f32_attention_gradient(&call)
        }
      } } }
      #expect(normalizedMeanSquaredError(out, reference: expected) < 1e-10, "\(tokens) tokens, \(queries) queries, width \(d)")
    }
  }

  @Test(arguments: tables) func layerNorm(_ name: String) {
    let table = KernelTable.named(name)!.c.pointee
    var random = SplitMix64(seed: 13)
    for columns in [2, 3, 7, 15, 16, 17, 33, 192] {
      let rows = 5, x = random.floats(rows * columns), dy = random.floats(rows * columns), weight = random.floats(columns)
      var dx = [Float](repeating: .nan, count: x.count), sums = [Float](repeating: .nan, count: columns)
      table.f32_layer_norm_gradient(dy, columns, x, columns, weight, 1e-3, &dx, columns, rows, columns)
      table.f32_layer_norm_sums(dy, columns, x, columns, 1e-3, &sums, rows, columns)
      #expect(normalizedMeanSquaredError(dx, reference: Reference.layerNormGradient(dy, x, weight: weight, epsilon: 1e-3, columns: columns)) < 1e-10, "\(columns)")
      #expect(maxAbsoluteDifference(sums, Reference.layerNormWeightGradient(dy, x, epsilon: 1e-3, columns: columns)) < 1e-5, "\(columns)")
      table.f32_sum_rows(dy, columns, &sums, rows, columns)
      let plain = (0..<columns).map { c in (0..<rows).reduce(Float(0)) { $0 + dy[$1 * columns + c] } }
      // The same order of additions: the same bits.
      #expect(sums == plain, "\(columns)")
    }
  }

  @Test(arguments: tables) func activations(_ name: String) {
    let table = KernelTable.named(name)!.c.pointee
    var random = SplitMix64(seed: 14)
    let functions: [(Int, (Float) -> Float)] = [(Int(DK_NONE), { _ in 1 }), (Int(DK_GELU), Reference.geluSlope), (Int(DK_GELU_TANH), Reference.geluTanhSlope),
                                                (Int(DK_RELU), Reference.reluSlope), (Int(DK_SILU), Reference.siluSlope)]
    for (code, slope) in functions {
      for count in [1, 3, 15, 16, 17, 100] {
        let x = random.floats(count, in: -12...12) , dy = random.floats(count)
        var dx = [Float](repeating: .nan, count: count)
        table.f32_activation_gradient(Int32(code), dy, x, &dx, count)
        #expect(maxAbsoluteDifference(dx, zip(x, dy).map { slope($0) * $1 }) < 3e-6, "activation \(code), \(count)")
      }
      for count in [1, 15, 16, 17, 100] {
        let x = random.floats(2 * count, in: -12...12), dy = random.floats(count), f = GatedKernels.functions.first { $0.code == Int32(code) }?.function ?? { $0 }
        var dx = [Float](repeating: .nan, count: 2 * count)
        dx.withUnsafeMutableBufferPointer { out in
          x.withUnsafeBufferPointer { table.f32_gate_gradient(Int32(code), dy, $0.baseAddress, $0.baseAddress! + count, out.baseAddress, out.baseAddress! + count, count) }
        }
        #expect(maxAbsoluteDifference(dx, Reference.gateGradient(dy, x, columns: count, f, slope: slope)) < 4e-5, "gate \(code), \(count)")
      }
      // Both sides of a kink, and zero itself.
      let x: [Float] = [-1e-30, 0, 1e-30, -0.5, 0.5]
      var dx = [Float](repeating: .nan, count: 5)
      table.f32_activation_gradient(Int32(code), [1, 1, 1, 1, 1], x, &dx, 5)
      #expect(maxAbsoluteDifference(dx, x.map(slope)) < 3e-6, "activation \(code)")
    }
  }
}
