// The inverse of a symmetric positive definite matrix by Cholesky's factors, for matrices of up to some thousand rows. It does not pivot: where the matrix is not
// positive definite to rounding, nothing is given.

/// A⁻¹ of A, [n, n]; only the lower triangle is read. Nil where A is not positive definite.
public func inverse(positiveDefinite a: [Double], size n: Int) -> [Double]? {
  precondition(a.count == n * n)
  // A = L·Lᵀ, L in the lower triangle.
  var l = a
  for i in 0..<n {
    for j in 0..<i { l[i * n + j] = (l[i * n + j] - dot(l, from: i * n, l, from: j * n, count: j)) / l[j * n + j] }
    let pivot = l[i * n + i] - dot(l, from: i * n, l, from: i * n, count: i)
    guard pivot > 0, pivot.isFinite else { return nil }
    l[i * n + i] = pivot.squareRoot()
  }
  // Row j of `columns` is column j of L⁻¹, which starts at its diagonal.
  var columns = [Double](repeating: 0, count: n * n)
  for j in 0..<n {
    columns[j * n + j] = 1 / l[j * n + j]
    for i in j + 1..<max(n, j + 1) { columns[j * n + i] = -dot(l, from: i * n + j, columns, from: j * n + j, count: i - j) / l[i * n + i] }
  }
  var out = [Double](repeating: 0, count: n * n)
  for i in 0..<n {
    for j in 0...i {
      out[i * n + j] = dot(columns, from: i * n + i, columns, from: j * n + i, count: n - i)
      out[j * n + i] = out[i * n + j]
    }
  }
  return out
}
