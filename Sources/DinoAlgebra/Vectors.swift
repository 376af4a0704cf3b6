// The few operations on vectors that solvers need. Sums run in four interleaved parts: fast, and the same on every machine.

public func dot(_ a: [Double], _ b: [Double]) -> Double {
  precondition(a.count == b.count)
  return dot(a, from: 0, b, from: 0, count: a.count)
}

/// Of `count` numbers of each, from `i` and from `j`.
public func dot(_ a: [Double], from i: Int, _ b: [Double], from j: Int, count n: Int) -> Double {
  precondition(i >= 0 && j >= 0 && n >= 0 && i + n <= a.count && j + n <= b.count)
  let a = a.span, b = b.span, whole = n & ~3
  var s0 = 0.0, s1 = 0.0, s2 = 0.0, s3 = 0.0
  var k = 0
  while k < whole {
    s0 += a[i &+ k] * b[j &+ k]
    s1 += a[i &+ k &+ 1] * b[j &+ k &+ 1]
    s2 += a[i &+ k &+ 2] * b[j &+ k &+ 2]
    s3 += a[i &+ k &+ 3] * b[j &+ k &+ 3]
    k &+= 4
  }
  while k < n {
    s0 += a[i &+ k] * b[j &+ k]
    k &+= 1
  }
  return (s0 + s1) + (s2 + s3)
}

/// y += factor · x
public func add(_ factor: Double, _ x: [Double], to y: inout [Double]) {
  precondition(x.count == y.count)
  for i in 0..<x.count { y[i] += factor * x[i] }
}

public func scale(_ x: inout [Double], by factor: Double) {
  for i in 0..<x.count { x[i] *= factor }
}

/// Makes the length 1; a vector of (nearly) no length stays. The length it had.
@discardableResult
public func normalize(_ x: inout [Double]) -> Double {
  let length = dot(x, x).squareRoot()
  if length > 1e-300 { scale(&x, by: 1 / length) }
  return length
}
