// The few operations on vectors that solvers need. Sums run in four interleaved parts: fast, and the same on every machine.

public func dot(_ a: [Double], _ b: [Double]) -> Double {
  precondition(a.count == b.count)
  let n = a.count, whole = n & ~3
  var s0 = 0.0, s1 = 0.0, s2 = 0.0, s3 = 0.0
  var i = 0
  while i < whole {
    s0 += a[i] * b[i]
    s1 += a[i &+ 1] * b[i &+ 1]
    s2 += a[i &+ 2] * b[i &+ 2]
    s3 += a[i &+ 3] * b[i &+ 3]
    i &+= 4
  }
  while i < n {
    s0 += a[i] * b[i]
    i &+= 1
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
