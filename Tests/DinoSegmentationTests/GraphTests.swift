// The graph of alike patches and its eigenvectors, against plain arithmetic on dense matrices.

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

  @Test func tridiagonalMatricesHaveKnownEigenvalues() {
    // 2 on the diagonal, -1 beside it: eigenvalues 2 - 2 cos(kπ / (m + 1)).
    for m in [1, 2, 3, 10, 57] {
      let (values, vectors) = tridiagonalEigen(diagonal: [Double](repeating: 2, count: m), below: [Double](repeating: -1, count: m - 1))
      for (k, value) in values.sorted().enumerated() { #expect(abs(value - (2 - 2 * cos(Double(k + 1) * .pi / Double(m + 1)))) < 1e-12) }
      for j in 0..<m {
        for i in 0..<m {
          let product = 2 * vectors[i][j] - (i > 0 ? vectors[i - 1][j] : 0) - (i < m - 1 ? vectors[i + 1][j] : 0)
          #expect(abs(product - values[j] * vectors[i][j]) < 1e-12)
        }
      }
      let (_, last) = tridiagonalEigen(diagonal: [Double](repeating: 2, count: m), below: [Double](repeating: -1, count: m - 1), rows: [m - 1])
      #expect(last[0] == vectors[m - 1])
    }
  }

  @Test func lanczosFindsTheLargestPairs() {
    // A diagonal matrix turned by a reflection: eigenvalues and vectors are known.
    let n = 60
    var random = SplitMix64(seed: 9)
    var u = (0..<n).map { _ in Double.random(in: -1...1, using: &random) }
    normalize(&u)
    func reflect(_ v: [Double]) -> [Double] {
      let d = dot(u, v)
      return v.indices.map { v[$0] - 2 * d * u[$0] }
    }
    let values = (0..<n).map { 10 / Double($0 + 1) - 3 }
    var calls = 0
    let pairs = Lanczos.largest(3, dimension: n, tolerance: 1e-11) { v in
      calls += 1
      let turned = reflect(v)
      return reflect(turned.indices.map { values[$0] * turned[$0] })
    }
    #expect(pairs.count == 3 && pairs.allSatisfy(\.converged) && calls <= n)
    for (k, pair) in pairs.enumerated() {
      #expect(abs(pair.value - values[k]) < 1e-9)
      var unit = [Double](repeating: 0, count: n)
      unit[k] = 1
      #expect(abs(abs(dot(reflect(unit), pair.vector)) - 1) < 1e-9)
    }
    // Without the first, its successor is the largest.
    let next = Lanczos.largest(1, dimension: n, orthogonalTo: [pairs[0].vector]) { v in
      let turned = reflect(v)
      return reflect(turned.indices.map { values[$0] * turned[$0] })
    }
    #expect(abs(next[0].value - values[1]) < 1e-9)
    // Small and degenerate operators.
    #expect(Lanczos.largest(3, dimension: 1) { $0 }.map(\.value) == [1])
    #expect(Lanczos.largest(1, dimension: 2, orthogonalTo: [[1, 0], [0, 1]]) { $0 }.isEmpty)
    #expect(Lanczos.largest(2, dimension: 5) { _ in [0, 0, 0, 0, 0] }.first?.value == 0)
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
