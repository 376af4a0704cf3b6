// Eigenvalues and eigenvectors of a small symmetric tridiagonal matrix by the implicit QL method with Wilkinson's shift (EISPACK's tql2).
// For the matrices that Lanczos makes: tens to a few hundred rows.

/// - Parameters:
///   - diagonal: m entries.
///   - below: m - 1 entries beside it.
///   - rows: which rows of the eigenvector matrix are wanted; nil for all of them. Fewer rows are much less work.
/// - Returns: eigenvalues, in no order, and `vectors[r][j]`: entry `rows[r]` of eigenvector j.
func tridiagonalEigen(diagonal: [Double], below: [Double], rows: [Int]? = nil) -> (values: [Double], vectors: [[Double]]) {
  let m = diagonal.count
  precondition(below.count == max(m - 1, 0))
  var d = diagonal, e = below + [0]
  var z = (rows ?? Array(0..<m)).map { row in (0..<m).map { $0 == row ? 1.0 : 0 } }
  for l in 0..<m {
    // Quadratic convergence, cubic in practice: thirty rounds are never needed but for values that are not finite.
    for _ in 0..<60 {
      var split = l
      while split < m - 1 {
        let size = abs(d[split]) + abs(d[split + 1])
        if abs(e[split]) <= .ulpOfOne * size { break }
        split += 1
      }
      if split == l { break }
      var g = (d[l + 1] - d[l]) / (2 * e[l])
      var r = (g * g + 1).squareRoot()
      g = d[split] - d[l] + e[l] / (g + (g >= 0 ? r : -r))
      var s = 1.0, c = 1.0, p = 0.0
      var i = split - 1, broke = false
      while i >= l {
        let f = s * e[i], b = c * e[i]
        r = (f * f + g * g).squareRoot()
        e[i + 1] = r
        if r == 0 {
          d[i + 1] -= p
          e[split] = 0
          broke = true
          break
        }
        s = f / r
        c = g / r
        g = d[i + 1] - p
        r = (d[i] - g) * s + 2 * c * b
        p = s * r
        d[i + 1] = g + p
        g = c * r - b
        for k in 0..<z.count {
          let high = z[k][i + 1], low = z[k][i]
          z[k][i + 1] = s * low + c * high
          z[k][i] = c * low - s * high
        }
        i -= 1
      }
      if broke { continue }
      d[l] -= p
      e[l] = g
      e[split] = 0
    }
  }
  return (d, z)
}
