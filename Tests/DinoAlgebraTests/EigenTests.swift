// Eigenpairs of tridiagonal, dense and applied matrices, where they are known or rebuild the matrix.

import DinoAlgebra
import Foundation
import TestSupport
import Testing

@Suite struct EigenTests {
  @Test func tridiagonalMatricesHaveKnownEigenvalues() {
    // 2 on the diagonal, -1 beside it: eigenvalues 2 - 2 cos(kπ / (m + 1)).
    for m in [1, 2, 3, 10, 57] {
      let diagonal = [Double](repeating: 2, count: m), below = [Double](repeating: -1, count: m - 1)
      let pairs = TridiagonalEigen(diagonal: diagonal, below: below), values = pairs.values
      #expect(pairs.isConverged)
      for (k, value) in values.sorted().enumerated() { #expect(abs(value - (2 - 2 * cos(Double(k + 1) * .pi / Double(m + 1)))) < 1e-12) }
      for j in 0..<m {
        let vector = Array(pairs.turned[j * m..<(j + 1) * m])
        for i in 0..<m {
          let product = 2 * vector[i] - (i > 0 ? vector[i - 1] : 0) - (i < m - 1 ? vector[i + 1] : 0)
          #expect(abs(product - values[j] * vector[i]) < 1e-12)
        }
      }
      // Some entries of the eigenvectors alone are the same bits.
      let some = TridiagonalEigen(diagonal: diagonal, below: below, rows: [m - 1, 0])
      for j in 0..<m { #expect(some.turned[2 * j] == pairs.turned[j * m + m - 1] && some.turned[2 * j + 1] == pairs.turned[j * m]) }
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

  @Test(arguments: [1, 2, 3, 10, 57]) func eigenvectorsRebuildTheMatrix(_ n: Int) throws {
    var random = SplitMix64(seed: UInt64(n))
    var matrix = [Double](repeating: 0, count: n * n)
    for i in 0..<n { for j in 0...i { matrix[i * n + j] = Double.random(in: -1...1, using: &random); matrix[j * n + i] = matrix[i * n + j] } }
    let eigen = try #require(SymmetricEigen(matrix, size: n))
    #expect(eigen.values == eigen.values.sorted())
    for a in 0..<n {
      for b in 0..<n {
        let product = zip(eigen.vectors[a], eigen.vectors[b]).reduce(0) { $0 + $1.0 * $1.1 }
        #expect(abs(product - (a == b ? 1 : 0)) < 1e-12)
        let rebuilt = (0..<n).reduce(0) { $0 + eigen.values[$1] * eigen.vectors[$1][a] * eigen.vectors[$1][b] }
        #expect(abs(rebuilt - matrix[a * n + b]) < 1e-11)
      }
    }
  }

  @Test func matricesWithZerosAndEqualEigenvalues() throws {
    #expect(SymmetricEigen([1, .nan, .nan, 1], size: 2) == nil)
    #expect(SymmetricEigen([Double](repeating: 0, count: 16), size: 4)?.values == [0, 0, 0, 0])
    #expect(SymmetricEigen([2, 0, 0, 0, 2, 0, 0, 0, 2], size: 3)?.values == [2, 2, 2])
    let two = try #require(SymmetricEigen([0, 1, 1, 0], size: 2))
    #expect(abs(two.values[0] + 1) < 1e-15 && abs(two.values[1] - 1) < 1e-15)
  }
}
