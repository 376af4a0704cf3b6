// Minimises a smooth convex function by truncated Newton steps: each step's linear system is solved roughly by preconditioned conjugate gradients, which only ever apply the
// curvature (Dembo & Steihaug 1983; Nocedal & Wright 7.1), and is shortened until the function falls. Close to the minimum values differ by less than their rounding, so there
// descent is judged by slopes (Hager & Zhang 2005). It knows no constraints, and no function with directions of negative curvature.

public struct NewtonCG: Sendable {
  /// Newton's steps at most.
  public var iterations: Int
  /// A step's system is solved until its residual, measured by the preconditioner, has fallen to this share.
  public var forcing = 0.1
  /// Products with the curvature for one step at most.
  public var products = 2000
  /// Relative rounding of the function's values: differences below it say nothing.
  public var valueRounding = 1e-13

  public init(iterations: Int) { self.iterations = iterations }

  /// The function around a point.
  public struct Place {
    public var value: Double
    public var gradient: [Double]
    /// H·v at the point.
    public var curvature: ([Double]) -> [Double]
    /// A symmetric positive definite map that is nearly H⁻¹ at the point; made when it is wanted.
    public var preconditioner: () -> ([Double]) -> [Double]

    public init(value: Double, gradient: [Double], curvature: @escaping ([Double]) -> [Double], preconditioner: @escaping () -> ([Double]) -> [Double]) {
      self.value = value
      self.gradient = gradient
      self.curvature = curvature
      self.preconditioner = preconditioner
    }
  }

  public struct Result: Sendable {
    public var x: [Double]
    public var value: Double
    public var gradient: [Double]
    /// Newton's steps.
    public var iterations: Int
    /// Products with the curvature.
    public var products: Int
    public var isConverged: Bool
  }

  /// - Parameters:
  ///   - preconditionerCost: what making a preconditioner costs, in products with the curvature. One is kept until it has been used for so many: neither more than half of the time
  ///     goes into making them, nor into steps with one that was made elsewhere.
  ///   - isMinimum: whether a point with this gradient is good enough.
  ///   - progress: called with the gradient of each point.
  ///   - function: the function around a point.
  public func minimize(_ start: [Double], preconditionerCost: Double, isMinimum: (_ x: [Double], _ gradient: [Double]) -> Bool, progress: (_ gradient: [Double]) -> Void = { _ in },
                       _ function: ([Double]) -> Place) -> Result {
    var x = start, place = function(x), iteration = 0, all = 0
    var precondition: (([Double]) -> [Double])?, used = 0.0
    while true {
      progress(place.gradient)
      if isMinimum(x, place.gradient) { return Result(x: x, value: place.value, gradient: place.gradient, iterations: iteration, products: all, isConverged: true) }
      guard iteration < iterations else { break }
      iteration += 1
      if used >= preconditionerCost { precondition = nil }
      let isFresh = precondition == nil, apply = precondition ?? place.preconditioner()
      if isFresh { (precondition, used) = (apply, 0) }
      let (direction, count) = newtonStep(place, apply)
      all += count
      used += Double(count)
      guard let (next, there) = shorten(x, place, direction, function) else {
        if isFresh { break }
        precondition = nil
        continue
      }
      (x, place) = (next, there)
    }
    return Result(x: x, value: place.value, gradient: place.gradient, iterations: iteration, products: all, isConverged: false)
  }

  /// Roughly -H⁻¹ · gradient, and how many products that took.
  private func newtonStep(_ place: Place, _ precondition: ([Double]) -> [Double]) -> (step: [Double], products: Int) {
    var step = [Double](repeating: 0, count: place.gradient.count), residual = place.gradient.map { -$0 }
    var z = precondition(residual), direction = z, rz = dot(residual, z), count = 0
    let end = forcing * forcing * rz
    while count < products, rz > 0 {
      let bent = place.curvature(direction), curvature = dot(direction, bent)
      count += 1
      guard curvature > 0 else {
        // Rounding has eaten the curvature: the steepest way is all that is known.
        if count == 1 { step = direction }
        break
      }
      let length = rz / curvature
      add(length, direction, to: &step)
      add(-length, bent, to: &residual)
      z = precondition(residual)
      let after = dot(residual, z)
      if !(after > end) { break }
      scale(&direction, by: after / rz)
      add(1, z, to: &direction)
      rz = after
    }
    return (step, count)
  }

  /// The longest of the step and its halves that descends; nil where none does, which only the end of precision does to a convex function.
  private func shorten(_ x: [Double], _ place: Place, _ step: [Double], _ function: ([Double]) -> Place) -> ([Double], Place)? {
    let descent = 1e-4, slope = dot(step, place.gradient)
    guard slope < 0 else { return nil }
    var length = 1.0
    for _ in 0..<40 {
      var at = x
      add(length, step, to: &at)
      let there = function(at), value = there.value
      if value <= place.value + descent * length * slope { return (at, there) }
      if value <= place.value + valueRounding * abs(place.value), dot(step, there.gradient) <= (2 * descent - 1) * slope { return (at, there) }
      length /= 2
    }
    return nil
  }
}
