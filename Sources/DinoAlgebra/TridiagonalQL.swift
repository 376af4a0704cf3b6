// Eigenvalues and eigenvectors of a symmetric tridiagonal matrix by the implicit QL method with Wilkinson's shift (EISPACK's tql2).
// Everything else here reduces its problem to this one; making a matrix tridiagonal is SymmetricEigen's and Lanczos's.

/// The eigenpairs of a symmetric tridiagonal matrix, in no order.
public struct TridiagonalEigen: Sendable {
  public private(set) var values: [Double]
  /// Eigenvector j, or what was asked of it, is entries j · rows ..< (j + 1) · rows.
  public private(set) var turned: [Double]
  /// Whether every eigenvalue met the precision of double; only values that are not finite keep it from that.
  public private(set) var isConverged = true

  /// - Parameters:
  ///   - diagonal: m entries.
  ///   - below: m - 1 entries beside it.
  ///   - turning: [m, rows]: row j on entry is column j of a matrix Q; on return it is column j of Q · Z, where Z has the eigenvectors as columns.
  public init(diagonal: [Double], below: [Double], turning: [Double]) {
    let m = diagonal.count
    precondition(below.count == max(m - 1, 0) && (m == 0 || turning.count % m == 0))
    values = diagonal
    turned = turning
    solve(below + [0])
  }

  /// - Parameter rows: which entries of each eigenvector are wanted, in this order; nil for all. Fewer are much less work.
  public init(diagonal: [Double], below: [Double], rows: [Int]? = nil) {
    let m = diagonal.count, wanted = rows ?? Array(0..<m)
    var unit = [Double](repeating: 0, count: m * wanted.count)
    for (k, row) in wanted.enumerated() { unit[row * wanted.count + k] = 1 }
    self.init(diagonal: diagonal, below: below, turning: unit)
  }

  private mutating func solve(_ below: [Double]) {
    let m = values.count, rows = m > 0 ? turned.count / m : 0
    var d = values, e = below, z = turned
    for l in 0..<m {
      // Quadratic convergence, cubic in practice: thirty rounds are never needed but for values that are not finite.
      var rounds = 0
      while true {
        var split = l
        while split < m - 1 && !(abs(e[split]) <= .ulpOfOne * (abs(d[split]) + abs(d[split + 1]))) { split += 1 }
        if split == l { break }
        rounds += 1
        if rounds > 60 {
          isConverged = false
          break
        }
        var g = (d[l + 1] - d[l]) / (2 * e[l])
        var r = hypotenuse(g, 1)
        g = d[split] - d[l] + e[l] / (g + (g >= 0 ? r : -r))
        var s = 1.0, c = 1.0, p = 0.0
        var i = split - 1, isEarly = false
        while i >= l {
          let f = s * e[i], b = c * e[i]
          r = hypotenuse(f, g)
          e[i + 1] = r
          if r == 0 {
            d[i + 1] -= p
            e[split] = 0
            isEarly = true
            break
          }
          s = f / r
          c = g / r
          g = d[i + 1] - p
          r = (d[i] - g) * s + 2 * c * b
          p = s * r
          d[i + 1] = g + p
          g = c * r - b
          let low = i * rows, high = low + rows
          for k in 0..<rows {
            let x = z[high &+ k], y = z[low &+ k]
            z[high &+ k] = s * y + c * x
            z[low &+ k] = c * y - s * x
          }
          i -= 1
        }
        if isEarly { continue }
        d[l] -= p
        e[l] = g
        e[split] = 0
      }
    }
    (values, turned) = (d, z)
  }
}

/// √(a² + b²) without overflow or underflow on the way.
private func hypotenuse(_ a: Double, _ b: Double) -> Double {
  let x = abs(a), y = abs(b), largest = max(x, y)
  if largest == 0 || !largest.isFinite { return largest }
  let p = x / largest, q = y / largest
  return largest * (p * p + q * q).squareRoot()
}
