// Eigenvalues and eigenvectors of a dense symmetric matrix: Householder reduction to three diagonals (tred2 of Wilkinson and Reinsch), then TridiagonalEigen.
// Whitening a feature of 1,536 numbers is the largest thing asked of it, some seconds.

/// The decomposition A = V · diag(values) · Vᵀ.
public struct SymmetricEigen: Sendable {
  /// Ascending.
  public let values: [Double]
  /// `vectors[k]` belongs to `values[k]`, of unit length.
  public let vectors: [[Double]]

  /// Nil where the matrix has values that are not finite.
  ///
  /// - Parameter matrix: [n, n], row-major; only its lower triangle is read.
  public init?(_ matrix: [Double], size n: Int) {
    precondition(n > 0 && matrix.count == n * n)
    var a = matrix
    for i in 0..<n { for j in 0..<i { a[j * n + i] = a[i * n + j] } }
    let (below, transformation) = Self.tridiagonalize(&a, n)
    let pairs = TridiagonalEigen(diagonal: (0..<n).map { a[$0 * n + $0] }, below: below, turning: transformation)
    guard pairs.isConverged, pairs.values.allSatisfy(\.isFinite) else { return nil }
    let order = (0..<n).sorted { pairs.values[$0] != pairs.values[$1] ? pairs.values[$0] < pairs.values[$1] : $0 < $1 }
    values = order.map { pairs.values[$0] }
    vectors = order.map { Array(pairs.turned[$0 * n..<($0 + 1) * n]) }
  }

  /// On return the diagonal of `a` is the tridiagonal matrix's. Gives what is beside it, and the transformation's columns as rows.
  private static func tridiagonalize(_ a: inout [Double], _ n: Int) -> (below: [Double], transformation: [Double]) {
    var e = [Double](repeating: 0, count: n)
    // Householder vectors u of each step, and h = |u|² / 2.
    var steps: [(u: [Double], h: Double)] = []
    for i in stride(from: n - 1, to: 0, by: -1) {
      var size = 0.0
      for k in 0..<i { size += abs(a[i * n + k]) }
      var u = [Double](repeating: 0, count: i), h = 0.0
      if i == 1 || size == 0 {
        e[i] = a[i * n + i - 1]
        steps.append((u: u, h: 0))
        continue
      }
      for k in 0..<i {
        u[k] = a[i * n + k] / size
        h += u[k] * u[k]
      }
      let f = u[i - 1], g = f > 0 ? -h.squareRoot() : h.squareRoot()
      e[i] = size * g
      h -= f * g
      u[i - 1] = f - g
      // p = A u / h over the leading i × i part; then A -= u qᵀ + q uᵀ with q = p - (uᵀp / 2h) u.
      var p = [Double](repeating: 0, count: i), up = 0.0
      for j in 0..<i {
        p[j] = dot(a, from: j * n, u, from: 0, count: i) / h
        up += p[j] * u[j]
      }
      let half = up / (2 * h)
      for j in 0..<i { p[j] -= half * u[j] }
      for j in 0..<i {
        let uj = u[j], pj = p[j], row = j * n
        for k in 0..<i { a[row + k] -= uj * p[k] + pj * u[k] }
      }
      steps.append((u: u, h: h))
    }
    // The product of the reflections, the last step first; row k of `v` becomes column k of the product.
    var v = [Double](repeating: 0, count: n * n)
    for i in 0..<n { v[i * n + i] = 1 }
    for (u, h) in steps.reversed() where h != 0 {
      for k in 0..<n {
        let factor = dot(v, from: k * n, u, from: 0, count: u.count) / h
        if factor == 0 { continue }
        for j in 0..<u.count { v[k * n + j] -= factor * u[j] }
      }
    }
    return (Array(e.dropFirst()), v)
  }
}
