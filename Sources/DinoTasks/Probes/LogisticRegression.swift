// L2-regularised multinomial logistic regression, as scikit-learn's LogisticRegression defines it: C · Σ loss + |W|² / 2, the biases free. Found by truncated Newton steps, all sums
// in double, to a gradient that bounds how far the weights are from the minimum; the result does not depend on the number of threads.

internal import DinoAlgebra
internal import DinoKernels

public struct LogisticRegression: Sendable {
  /// The inverse of the regularisation, scikit-learn's C.
  public var inverseRegularization = 1.0
  /// Newton's steps at most.
  public var iterations = 200
  /// How far the weights may be from the minimum's, as a share of their length. The objective is convex by at least the strength of the regularisation 1 / (C n), so
  /// where its gradient is shorter than this share of that strength times the weights, they are.
  public var tolerance = 1e-4
  /// A gradient that is nothing but rounding: where the weights are, or the regularisation is, next to nothing, no share of them can be asked for.
  private static let leastGradient = 1e-12

  public init() {}

  /// What became of a fit.
  public struct Fit: Sendable {
    public var classifier: LinearClassifier
    public var iterations: Int
    /// The mean loss with its regularisation: scikit-learn's objective divided by C n.
    public var objective: Double
    /// Length of the objective's gradient at the end.
    public var gradient: Double
    public var isConverged: Bool
  }

  /// - Parameter progress: called after each step with how much of the way from the first gradient to one that is short enough lies behind, in magnitudes, from 0 to 1.
  public func fit(_ set: TrainingSet, threads: Int, progress: (Double) -> Void = { _ in }) throws(TaskError) -> Fit {
    // A step holds the probabilities of the point it starts from, and scores of a direction or of the next point.
    try requireMemory(2 * set.count * set.classes.count * MemoryLayout<Double>.size, for: "logistic regression on \(set.count) features of \(set.classes.count) classes",
                      advice: "learn from fewer of them, or by stochastic gradients")
    let products = DoubleProducts(set.values, width: set.width, team: .shared(max(1, threads)))
    let classes = set.classes.count, d = set.width, n = Double(set.count), weights = classes * d
    // Of two classes scikit-learn fits one row of weights, the difference of ours: |w|² / 2 of it is |W|² of two rows that are each other's opposite.
    let strength = (classes == 2 ? 2 : 1) / (inverseRegularization * n)
    func enough(_ x: [Double]) -> Double { tolerance * strength * x[..<weights].reduce(0) { $0 + $1 * $1 }.squareRoot() }
    let cost = SoftmaxCurvature.preconditionerCost(count: set.count, width: d, classes: classes)
    var first: Double?, end = 0.0
    // Parameters: the weights, then the biases. The objective is divided by C · n, which keeps its minimum where it is.
    let result = NewtonCG(iterations: iterations).minimize([Double](repeating: 0, count: classes * (d + 1)), preconditionerCost: cost, isMinimum: { x, gradient in
      end = max(enough(x), Self.leastGradient)
      return length(gradient) <= end
    }, progress: { gradient in
      let now = length(gradient)
      guard let first else { return first = now }
      if end > 0, end < first { progress(min(max(logarithm(now / first) / logarithm(end / first), 0), 1)) }
    }) { x in
      var residuals = products.scores(weights: x[..<weights], bias: x[weights...])
      var value = crossEntropy(&residuals, labels: set.labels, classes: classes) / n
      var gradient = products.gradient(residuals: residuals, classes: classes)
      for i in gradient.indices {
        gradient[i] = gradient[i] / n + strength * x[i]
        value += strength * x[i] * x[i] / 2
      }
      gradient += SoftmaxCurvature.columnSums(residuals, classes: classes).map { $0 / n }
      for (i, label) in set.labels.enumerated() { residuals[i * classes + label] += 1 }
      let curvature = SoftmaxCurvature(products: products, classes: classes, probabilities: residuals, strength: strength)
      return .init(value: value, gradient: gradient, curvature: curvature.product, preconditioner: curvature.preconditioner)
    }
    let classifier = LinearClassifier(classes: classes, width: d, weights: result.x[..<weights].map { Float($0) }, bias: result.x[weights...].map { Float($0) })
    guard result.value.isFinite, (classifier.weights + classifier.bias).allSatisfy(\.isFinite) else { throw .noMinimum(inverseRegularization: inverseRegularization) }
    return Fit(classifier: classifier, iterations: result.iterations, objective: result.value, gradient: length(result.gradient), isConverged: result.isConverged)
  }
}

private func length(_ v: [Double]) -> Double { dot(v, v).squareRoot() }
