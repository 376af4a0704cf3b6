// The graph of alike patches and its eigenvectors, against plain arithmetic on dense matrices.

import DinoAlgebra
import DinoKernels
import Foundation
import TestSupport
import Testing

@testable import DinoSegmentation

@Suite struct GraphTests {
  static func rows(_ n: Int, _ width: Int, seed: UInt64) -> [Float] {
    var random = SplitMix64(seed: seed)
    return unitRows(random.floats(n * width), width: width)
  }

  static func plain(_ x: [Float], _ y: [Float], width: Int) -> [[Double]] {
    (0..<x.count / width).map { i in
      (0..<y.count / width).map { j in (0..<width).reduce(0.0) { $0 + Double(x[i * width + $1]) * Double(y[j * width + $1]) } }
    }
  }

  /// Sizes around the tiles of every kernel table, and widths that fill no vector.
  @Test(arguments: [(1, 1, 3), (5, 7, 8), (63, 9, 5), (64, 16, 4), (65, 33, 17), (130, 197, 24)])
  func productsOfRows(m: Int, n: Int, width: Int) {
    let x = Self.rows(m, width, seed: 1), y = Self.rows(n, width, seed: 2), expected = Self.plain(x, y, width: width)
    for table in KernelTable.available {
      for threads in [1, 3] {
        let found = RowProducts(threads: threads, table: table).all(x, y, width: width)
        let worst = (0..<m * n).map { abs(Double(found[$0]) - expected[$0 / n][$0 % n]) }.max()!
        #expect(worst < 1e-6, "\(table.name)")
      }
    }
    #expect(RowProducts().all([], y, width: width) == [])
  }

  @Test(arguments: [1, 2, 7, 8, 9, 64, 65, 131])
  func bitsAreTheThresholdedProducts(n: Int) {
    let width = 6, x = Self.rows(n, width, seed: 3)
    let products = RowProducts().all(x, x, width: width)
    let graph = BinaryAffinity(rows: x, width: width, above: 0.2)
    var random = SplitMix64(seed: 4)
    let v = (0..<n).map { _ in Double.random(in: -1...1, using: &random) }
    let found = graph.product(v)
    for i in 0..<n {
      for j in 0..<n {
        #expect(graph[i, j] == (products[i * n + j] > 0.2))
        #expect(graph[i, j] == graph[j, i])
      }
      #expect(abs(found[i] - (0..<n).reduce(0.0) { $0 + (graph[i, $1] ? v[$1] : 0) }) < 1e-12)
      #expect(graph.degrees[i] == (0..<n).count { graph[i, $0] })
    }
  }

  /// The generalised problem itself: (D - A) v = λ D v, residual and orthogonality on the dense matrix, and λ the second smallest.
  @Test(arguments: [12, 65, 150])
  func theCutSolvesTheDenseProblem(n: Int) {
    let width = 7, x = Self.rows(n, width, seed: UInt64(n))
    let cut = NormalizedCut(unitRows: x, width: width, tau: 0.2)
    let graph = BinaryAffinity(rows: x, width: width, above: 0.2)
    let a = (0..<n).map { i in (0..<n).map { graph[i, $0] ? 1 : 1e-5 } }
    let d = a.map { $0.reduce(0, +) }, v = cut.vector
    #expect(cut.converged)
    for i in 0..<n { #expect(abs(d[i] * v[i] - dot(a[i], v) - cut.value * d[i] * v[i]) < 1e-7) }
    let weighted: [Double] = zip(d, v).map { $0 * $1 }
    #expect(abs(dot(weighted, v) - 1) < 1e-9)
    #expect(abs(weighted.reduce(0, +)) < 1e-8)
    // No smaller eigenvalue but zero: power iteration on I + S without the first and this vector stays below.
    var y = (0..<n).map { Double($0 % 7) - 3 }
    let first = unit(d.map { $0.squareRoot() }), second = unit((0..<n).map { v[$0] * d[$0].squareRoot() })
    var rayleigh = 0.0
    for _ in 0..<2000 {
      add(-dot(first, y), first, to: &y)
      add(-dot(second, y), second, to: &y)
      normalize(&y)
      let scaled: [Double] = zip(y, d).map { $0 / $1.squareRoot() }
      let s: [Double] = (0..<n).map { i in y[i] + dot(a[i], scaled) / d[i].squareRoot() }
      rayleigh = dot(y, s) - 1
      y = s
    }
    #expect(rayleigh <= 1 - cut.value + 1e-9)
  }

  private func unit(_ v: [Double]) -> [Double] {
    var v = v
    normalize(&v)
    return v
  }
}
