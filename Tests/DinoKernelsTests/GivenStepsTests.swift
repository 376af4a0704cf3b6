// Rounding to steps that are given, as ONNX does it, in every table: the same bits as the plain twin, at sizes that leave remainders, with ties, NaN and what lies outside.

import CDinoKernels
import DinoKernels
import Testing
import TestSupport

private let tables = KernelTable.available.map(\.name)

@Suite struct GivenStepsTests {
  static let counts = [1, 2, 15, 16, 17, 33, 100]
  static let steps: [(scale: Float, zero: Int, lower: Int, upper: Int)] = [(0.25, 128, 0, 255), (0.037, 3, 0, 255), (0.1, 0, -128, 127), (0.5, -7, -128, 127), (3, 255, 0, 255)]

  private func values(_ count: Int, _ scale: Float) -> [Float] {
    var random = SplitMix64(seed: UInt64(count))
    var x = random.floats(count).map { $0 * 300 * scale }
    // Ties, both ways; beyond the ends; no number.
    for (i, v) in [2.5 * scale, -3.5 * scale, .infinity, -.infinity, .nan, 0].enumerated() where i * 3 < count { x[i * 3] = v }
    return x
  }

  @Test(arguments: tables) func roundedValues(_ name: String) {
    let kernels = KernelTable.named(name)!.c.pointee.i8.pointee
    for count in Self.counts {
      for s in Self.steps {
        let x = values(count, s.scale)
        var y = [Float](repeating: .nan, count: count)
        kernels.round(x, &y, s.scale, Float(s.lower - s.zero), Float(s.upper - s.zero), count)
        for i in 0..<count { #expect(y[i] == Reference.rounded(x[i], scale: s.scale, zero: s.zero, lower: s.lower, upper: s.upper), "\(x[i]) at \(s)") }
      }
    }
  }

  /// Words are read back through products with an identity matrix.
  @Test(arguments: tables) func wordsAndTotals(_ name: String) {
    let kernels = KernelTable.named(name)!.c.pointee.i8.pointee
    for columns in Self.counts {
      for s in Self.steps {
        let rows = 3, row = (columns + kernels.depth - 1) / kernels.depth, offset = s.zero - (s.upper > 127 ? 128 : 0)
        let x = (0..<rows).flatMap { _ in values(columns, s.scale).shuffled() }
        var words = [Int32](repeating: -1, count: rows * row + 16), totals = [Float](repeating: 0, count: rows)
        kernels.quantize_steps(x, columns, &words, row, &totals, s.scale, Float(s.lower - s.zero), Float(s.upper - s.zero), Int32(offset), rows, columns)
        let identity = (0..<columns * columns).map { Int8($0 / columns == $0 % columns ? 1 : 0) }
        var found = [Int32](repeating: 0, count: rows * columns)
        for first in stride(from: 0, to: columns, by: kernels.nr) {
          let n = min(kernels.nr, columns - first)
          var panel = [UInt8](repeating: 0xAA, count: kernels.panel_bytes(columns))
          identity.withUnsafeBufferPointer { kernels.pack($0.baseAddress! + first * columns, columns, 1, n, columns, &panel) }
          found.withUnsafeMutableBufferPointer { kernels.products(words, row, panel, columns, $0.baseAddress! + first, columns, rows, n) }
        }
        for i in 0..<rows * columns {
          let wanted = (Reference.rounded(x[i], scale: s.scale, zero: s.zero, lower: s.lower, upper: s.upper) / s.scale).rounded()
          #expect(Float(found[i]) - Float(offset) == wanted, "\(x[i]) at \(s)")
        }
        for r in 0..<rows {
          let sum = found[r * columns..<(r + 1) * columns].reduce(0) { $0 + Int($1) - offset }
          #expect(totals[r] == Float(sum) * s.scale)
        }
      }
    }
  }

  @Test(arguments: tables) func range(_ name: String) {
    let kernels = KernelTable.named(name)!.c.pointee.i8.pointee
    for count in Self.counts {
      var random = SplitMix64(seed: 5)
      var x = random.floats(count, in: -3...2), found: [Float] = [0, 0]
      kernels.range(x, count, &found)
      #expect(found == [min(0, x.min()!), max(0, x.max()!)])
      for odd in [Float.nan, .infinity] {
        x[count - 1] = odd
        found = [0, 0]
        kernels.range(x, count, &found)
        #expect(found[0].isNaN && found[1].isNaN)
      }
    }
  }
}
