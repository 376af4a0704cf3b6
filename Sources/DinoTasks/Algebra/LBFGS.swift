// Minimises a smooth function by limited-memory BFGS (Nocedal 1980; Liu & Nocedal 1989) with ten pairs and a line search that holds the Wolfe conditions by bisection.
// For convex functions of some thousands to millions of variables; it knows no constraints.

public struct LBFGS: Sendable {
  public var iterations: Int
  /// Largest component of the gradient at which it ends.
  public var tolerance: Double
  public var memory = 10

  public init(iterations: Int, tolerance: Double) {
    self.iterations = iterations
    self.tolerance = tolerance
  }

  public struct Result: Sendable {
    public var x: [Double]
    public var value: Double
    public var iterations: Int
    public var isConverged: Bool
  }

  /// - Parameter function: the value and the gradient at a point.
  public func minimize(_ start: [Double], _ function: ([Double]) -> (Double, [Double]), progress: (Int) -> Void = { _ in }) -> Result {
    var x = start
    var (value, gradient) = function(x)
    var pairs: [(s: [Double], y: [Double], rho: Double)] = []
    for iteration in 0..<iterations {
      progress(iteration)
      if gradient.reduce(0, { max($0, abs($1)) }) <= tolerance { return Result(x: x, value: value, iterations: iteration, isConverged: true) }
      var direction = direction(gradient, pairs)
      var slope = dot(direction, gradient)
      if !(slope < 0) {  // rounding has spoilt the pairs: begin again along the gradient
        pairs = []
        direction = gradient.map { -$0 }
        slope = dot(direction, gradient)
      }
      let first = pairs.isEmpty ? min(1, 1 / gradient.reduce(0) { $0 + abs($1) }) : 1
      guard let step = lineSearch(x, value, slope, direction, first, function) else {
        if pairs.isEmpty { return Result(x: x, value: value, iterations: iteration, isConverged: false) }
        pairs = []
        continue
      }
      let s = zip(step.x, x).map { $0 - $1 }, y = zip(step.gradient, gradient).map { $0 - $1 }, sy = dot(s, y)
      if sy > 1e-300 {
        pairs.append((s: s, y: y, rho: 1 / sy))
        if pairs.count > memory { pairs.removeFirst() }
      }
      (x, value, gradient) = (step.x, step.value, step.gradient)
    }
    return Result(x: x, value: value, iterations: iterations, isConverged: gradient.reduce(0) { max($0, abs($1)) } <= tolerance)
  }

  /// -H · gradient by the two loops.
  private func direction(_ gradient: [Double], _ pairs: [(s: [Double], y: [Double], rho: Double)]) -> [Double] {
    var q = gradient.map { -$0 }, alphas: [Double] = []
    for pair in pairs.reversed() {
      let alpha = pair.rho * dot(pair.s, q)
      alphas.append(alpha)
      for i in q.indices { q[i] -= alpha * pair.y[i] }
    }
    if let last = pairs.last {
      let factor = 1 / (last.rho * dot(last.y, last.y))
      for i in q.indices { q[i] *= factor }
    }
    for (pair, alpha) in zip(pairs, alphas.reversed()) {
      let beta = pair.rho * dot(pair.y, q)
      for i in q.indices { q[i] += (alpha - beta) * pair.s[i] }
    }
    return q
  }

  /// A step with enough descent and a slope that has flattened; nil where none is found, which at the end of precision is normal.
  private func lineSearch(_ x: [Double], _ value: Double, _ slope: Double, _ direction: [Double], _ first: Double, _ function: ([Double]) -> (Double, [Double]))
    -> (x: [Double], value: Double, gradient: [Double])? {
    var low = 0.0, high = Double.infinity, step = first
    for _ in 0..<40 {
      var at = x
      for i in at.indices { at[i] += step * direction[i] }
      let (v, g) = function(at)
      if !(v <= value + 1e-4 * step * slope) {
        high = step
      } else if dot(direction, g) < 0.9 * slope {
        low = step
      } else {
        return (at, v, g)
      }
      step = high.isFinite ? (low + high) / 2 : 2 * low
    }
    return nil
  }

  private func dot(_ a: [Double], _ b: [Double]) -> Double {
    var sum = 0.0
    for i in a.indices { sum += a[i] * b[i] }
    return sum
  }
}
