// Eigenvalues and eigenvectors of a symmetric matrix in double: Householder reduction to three diagonals, then implicit QL (the classic tred2 and tql2 of
// Wilkinson and Reinsch). Whitening a feature of 1,536 numbers is the largest thing asked of it, some seconds; a BLAS as a dependency of every installation is
// not worth those, and its threads would change last bits from machine to machine.

/// The decomposition A = V · diag(values) · Vᵀ.
public struct SymmetricEigen: Sendable {
  /// Ascending.
  public let values: [Double]
  /// `vectors[k]` belongs to `values[k]`, of unit length.
  public let vectors: [[Double]]

  /// - Parameter matrix: [n, n], row-major; only its lower triangle is read.
  public init(_ matrix: [Double], size n: Int) throws(TaskError) {
    precondition(n > 0 && matrix.count == n * n)
    // Column k of V is kept as row k of `v`: all inner loops then run along memory.
    var v = matrix, d = [Double](repeating: 0, count: n), e = [Double](repeating: 0, count: n)
    for i in 0..<n { for j in 0..<i { v[j * n + i] = v[i * n + j] } }
    Self.tridiagonalize(&v, &d, &e, n)
    try Self.diagonalize(&v, &d, &e, n)
    let order = (0..<n).sorted { d[$0] != d[$1] ? d[$0] < d[$1] : $0 < $1 }
    values = order.map { d[$0] }
    vectors = order.map { Array(v[$0 * n..<($0 + 1) * n]) }
  }

  /// On return `v` holds the transformation's columns as rows, `d` the diagonal, `e` what is beside it (from index 1 on).
  private static func tridiagonalize(_ v: inout [Double], _ d: inout [Double], _ e: inout [Double], _ n: Int) {
    // Householder vectors u of each step, and h = |u|² / 2.
    var a = v
    var steps: [(u: [Double], h: Double)] = []
    for i in stride(from: n - 1, to: 0, by: -1) {
      var scale = 0.0
      for k in 0..<i { scale += abs(a[i * n + k]) }
      var u = [Double](repeating: 0, count: i), h = 0.0
      if i == 1 || scale == 0 {
        e[i] = a[i * n + i - 1]
        steps.append((u: u, h: 0))
        continue
      }
      for k in 0..<i {
        u[k] = a[i * n + k] / scale
        h += u[k] * u[k]
      }
      let f = u[i - 1], g = f > 0 ? -h.squareRoot() : h.squareRoot()
      e[i] = scale * g
      h -= f * g
      u[i - 1] = f - g
      // p = A u / h over the leading i × i part; then A -= u qᵀ + q uᵀ with q = p - (uᵀp / 2h) u.
      var p = [Double](repeating: 0, count: i), up = 0.0
      for j in 0..<i {
        p[j] = Self.dot(a, j * n, u, i) / h
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
    for i in 0..<n { d[i] = a[i * n + i] }
    // The product of the reflections, the last step first; row k of `v` becomes column k of the product.
    for i in 0..<n * n { v[i] = 0 }
    for i in 0..<n { v[i * n + i] = 1 }
    for (u, h) in steps.reversed() where h != 0 {
      for k in 0..<n {
        let factor = Self.dot(v, k * n, u, u.count) / h
        if factor == 0 { continue }
        for j in 0..<u.count { v[k * n + j] -= factor * u[j] }
      }
    }
  }

  /// Four sums side by side, in a fixed order.
  private static func dot(_ a: [Double], _ start: Int, _ b: [Double], _ count: Int) -> Double {
    var sums = SIMD4<Double>.zero
    var i = 0
    while i + 4 <= count {
      let p = start + i
      let x = SIMD4<Double>(a[p], a[p + 1], a[p + 2], a[p + 3])
      let y = SIMD4<Double>(b[i], b[i + 1], b[i + 2], b[i + 3])
      sums += x * y
      i += 4
    }
    var sum = sums.sum()
    while i < count {
      sum += a[start + i] * b[i]
      i += 1
    }
    return sum
  }

  private static func diagonalize(_ v: inout [Double], _ d: inout [Double], _ e: inout [Double], _ n: Int) throws(TaskError) {
    for i in 1..<max(n, 1) where i < n { e[i - 1] = e[i] }
    e[n - 1] = 0
    for l in 0..<n {
      var rounds = 0
      while true {
        var m = l
        while m < n - 1 {
          let scale = abs(d[m]) + abs(d[m + 1])
          if abs(e[m]) <= 2.220446049250313e-16 * scale { break }
          m += 1
        }
        if m == l { break }
        rounds += 1
        guard rounds <= 60 else { throw .noConvergence(what: "the eigenvalues") }
        var g = (d[l + 1] - d[l]) / (2 * e[l]), r = Self.length(g, 1)
        g = d[m] - d[l] + e[l] / (g + (g >= 0 ? r : -r))
        var s = 1.0, c = 1.0, p = 0.0, i = m - 1
        var isEarly = false
        while i >= l {
          let f = s * e[i], b = c * e[i]
          r = Self.length(f, g)
          e[i + 1] = r
          if r == 0 {
            d[i + 1] -= p
            e[m] = 0
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
          let low = i * n, high = (i + 1) * n
          for k in 0..<n {
            let x = v[high + k], y = v[low + k]
            v[high + k] = s * y + c * x
            v[low + k] = c * y - s * x
          }
          i -= 1
        }
        if isEarly { continue }
        d[l] -= p
        e[l] = g
        e[m] = 0
      }
    }
  }

  private static func length(_ a: Double, _ b: Double) -> Double {
    let x = abs(a), y = abs(b), largest = max(x, y)
    if largest == 0 { return 0 }
    let p = x / largest, q = y / largest
    return largest * (p * p + q * q).squareRoot()
  }
}
