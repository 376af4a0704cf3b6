// Minimises a smooth function by limited-memory BFGS (Nocedal 1980; Liu & Nocedal 1989) with ten pairs and a line search that holds the Wolfe conditions by
// bisection. Close to the minimum values differ by less than their rounding, so there descent is judged by slopes alone (Hager & Zhang 2005): without that a
// search stops while the gradient still says where to go. For convex functions of some thousands to millions of variables; it knows no constraints.

public struct LBFGS: Sendable {
  public var iterations: Int
  public var memory = 10
  /// Relative rounding of the function's values: differences below it say nothing.
  public var valueRounding = 1e-13

  public init(iterations: Int) { self.iterations = iterations }

  public struct Result: Sendable {
    public var x: [Double]
    public var value: Double
    public var gradient: [Double]
    public var iterations: Int
    public var isConverged: Bool
  }

  /// - Parameters:
  ///   - isMinimum: whether a point with this gradient is good enough.
  ///   - progress: called with the number of each iteration.
  ///   - function: the value and the gradient at a point.
  public func minimize(_ start: [Double], isMinimum: (_ x: [Double], _ gradient: [Double]) -> Bool, progress: (Int) -> Void = { _ in },
                       _ function: ([Double]) -> (value: Double, gradient: [Double])) -> Result {
    var x = start
    var (value, gradient) = function(x)
    var pairs: [(s: [Double], y: [Double], rho: Double)] = []
    var iteration = 0
    while true {
      if isMinimum(x, gradient) { return Result(x: x, value: value, gradient: gradient, iterations: iteration, isConverged: true) }
      guard iteration < iterations else { break }
      progress(iteration)
      iteration += 1
      var direction = direction(gradient, pairs)
      var slope = dot(direction, gradient)
      if !(slope < 0) {  // rounding has spoilt the pairs: begin again along the gradient
        pairs = []
        direction = gradient.map { -$0 }
        slope = dot(direction, gradient)
      }
      let first = pairs.isEmpty ? min(1, 1 / gradient.reduce(0) { $0 + abs($1) }) : 1
      guard let step = lineSearch(x, value, slope, direction, first, function) else {
        if pairs.isEmpty { break }
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
    return Result(x: x, value: value, gradient: gradient, iterations: iteration, isConverged: false)
  }

  /// -H · gradient by the two loops.
  private func direction(_ gradient: [Double], _ pairs: [(s: [Double], y: [Double], rho: Double)]) -> [Double] {
    var q = gradient.map { -$0 }, alphas: [Double] = []
    for pair in pairs.reversed() {
      let alpha = pair.rho * dot(pair.s, q)
      alphas.append(alpha)
      add(-alpha, pair.y, to: &q)
    }
    if let last = pairs.last { scale(&q, by: 1 / (last.rho * dot(last.y, last.y))) }
    for (pair, alpha) in zip(pairs, alphas.reversed()) { add(alpha - pair.rho * dot(pair.y, q), pair.s, to: &q) }
    return q
  }

  /// A step with enough descent and a slope that has flattened; nil where none is found, which only the end of precision does to a smooth function.
  private func lineSearch(_ x: [Double], _ value: Double, _ slope: Double, _ direction: [Double], _ first: Double, _ function: ([Double]) -> (value: Double, gradient: [Double]))
    -> (x: [Double], value: Double, gradient: [Double])? {
    let descent = 1e-4, flattening = 0.9
    var low = 0.0, high = Double.infinity, step = first
    for _ in 0..<60 {
      var at = x
      add(step, direction, to: &at)
      let (v, g) = function(at), newSlope = dot(direction, g)
      let descends = v <= value + descent * step * slope
        || (v <= value + valueRounding * abs(value) && newSlope <= (2 * descent - 1) * slope)
      if !descends {
        high = step
      } else if newSlope < flattening * slope {
        low = step
      } else {
        return (at, v, g)
      }
      step = high.isFinite ? (low + high) / 2 : 2 * low
    }
    return nil
  }
}
