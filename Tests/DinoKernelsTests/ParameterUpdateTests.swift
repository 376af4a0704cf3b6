// Loops over parameters against the formulas, at lengths that leave remainders and span several pieces; the same bits with any number of threads.

import DinoKernels
import DinoTensor
import Testing
import TestSupport

@Suite struct ParameterUpdateTests {
  private static let shapes: [Shape] = [[1], [17], [3, 5], [40_001], [2, 2, 2]]

  private static func block(_ random: inout SplitMix64, in range: ClosedRange<Float> = -1...1) throws -> ParameterBlock {
    let b = try ParameterBlock(shapes: shapes)
    for (i, s) in shapes.enumerated() { b.set(i, to: Tensor(random.floats(s.count, in: range), shape: s)) }
    return b
  }

  @Test(arguments: KernelTable.available.map(\.name)) func adamWMomentumAndBlend(_ name: String) throws {
    var results: [[[Float]]] = []
    for threads in [1, 3] {
      var random = SplitMix64(seed: 31)
      let p = try Self.block(&random), g = try Self.block(&random), m = try Self.block(&random), v = try Self.block(&random, in: 0...1), before = p.tensors.map { $0.floats() }
      let m0 = m.tensors.map { $0.floats() }, v0 = v.tensors.map { $0.floats() }
      let loops = ParameterUpdates(layout: p, table: KernelTable.named(name)!, threads: threads)
      let squares = loops.squares(g)
      for (i, t) in g.tensors.enumerated() {
        let want = t.floats().reduce(0.0) { $0 + Double($1) * Double($1) }
        #expect(abs(squares[i] - want) < 1e-6 * max(want, 1))
      }
      loops.adamW(p, gradients: g, mean: m, square: v, Self.shapes.indices.map { $0 == 2 ? nil : .init(factor: 0.5, rate: 0.1, decay: 0.2, step: 3) })
      for i in Self.shapes.indices {
        let gi = g.tensors[i].floats(), pi = p.tensors[i].floats()
        if i == 2 {
          #expect(pi == before[i] && m.tensors[i].floats() == m0[i])
          continue
        }
        for j in pi.indices {
          let x = 0.5 * Double(gi[j]), mean = 0.9 * Double(m0[i][j]) + 0.1 * x, square = 0.999 * Double(v0[i][j]) + 0.001 * x * x
          let b1 = 1 - 0.9 * 0.9 * 0.9, b2 = 1 - 0.999 * 0.999 * 0.999
          let want = Double(before[i][j]) * (1 - 0.1 * 0.2) - 0.1 / b1 * mean / ((square / b2).squareRoot() + 1e-8)
          if abs(Double(pi[j]) - want) > 2e-6 * max(1, abs(want)) { Issue.record("tensor \(i)[\(j)]: \(pi[j]), expected \(want)"); break }
        }
      }
      let q = p.tensors.map { $0.floats() }, mq = m.tensors.map { $0.floats() }
      loops.momentum(p, gradients: g, buffer: m, Self.shapes.indices.map { $0 == 1 ? nil : .init(factor: 2, decay: 0.3, momentum: 0.9, rate: 0.01) })
      for i in Self.shapes.indices where i != 1 {
        let pi = p.tensors[i].floats(), gi = g.tensors[i].floats()
        for j in pi.indices {
          let buffer = 0.9 * Double(mq[i][j]) + 2 * Double(gi[j]) + 0.3 * Double(q[i][j]), want = Double(q[i][j]) - 0.01 * buffer
          if abs(Double(pi[j]) - want) > 1e-5 * max(1, abs(want)) { Issue.record("tensor \(i)[\(j)]: \(pi[j]), expected \(want)"); break }
        }
      }
      let r = p.tensors.map { $0.floats() }
      loops.blend(p, toward: g, keep: 0.75, Array(repeating: true, count: p.tensors.count))
      for i in Self.shapes.indices {
        #expect(maxAbsoluteDifference(p.tensors[i].floats(), zip(r[i], g.tensors[i].floats()).map { 0.75 * $0 + 0.25 * $1 }) < 1e-5)
      }
      results.append(p.tensors.map { $0.floats() } + m.tensors.map { $0.floats() })
    }
    #expect(results[0] == results[1])
  }
}
