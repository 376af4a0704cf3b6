// L2-regularised multinomial logistic regression, as scikit-learn's LogisticRegression defines it: C · Σ loss + |W|² / 2, the biases free. Found by L-BFGS, all sums in
// double, to a gradient that bounds how far the weights are from the minimum; the result does not depend on the number of threads.

internal import DinoAlgebra
internal import DinoKernels

public struct LogisticRegression: Sendable {
  /// The inverse of the regularisation, scikit-learn's C.
  public var inverseRegularization = 1.0
  public var iterations = 2000
  /// How far the weights may be from the minimum's, as a share of their length. The objective is convex by at least the strength of the regularisation 1 / (C n), so
  /// where its gradient is shorter than this share of that strength times the weights, they are.
  public var tolerance = 1e-4

  public init() {}

  /// What became of a fit.
  public struct Fit: Sendable {
    public var classifier: LinearClassifier
    public var iterations: Int
    /// The mean loss with its regularisation: scikit-learn's objective divided by C n.
    public var objective: Double
    public var isConverged: Bool
  }

  public func fit(_ set: TrainingSet, threads: Int, progress: (Int) -> Void = { _ in }) -> Fit {
    let products = DoubleProducts(set.values, width: set.width, team: .shared(max(1, threads)))
    let classes = set.classes.count, d = set.width, n = Double(set.count), weights = classes * d
    let strength = 1 / (inverseRegularization * n)
    // Parameters: the weights, then the biases. The objective is divided by C · n, which keeps its minimum where it is.
    let result = LBFGS(iterations: iterations).minimize([Double](repeating: 0, count: classes * (d + 1)), isMinimum: { x, gradient in
      dot(gradient, gradient).squareRoot() <= tolerance * strength * x[..<weights].reduce(0) { $0 + $1 * $1 }.squareRoot()
    }, progress: progress) { x in
      var residuals = products.scores(weights: x[..<weights], bias: x[weights...])
      var value = crossEntropy(&residuals, labels: set.labels, classes: classes) / n
      var gradient = products.gradient(residuals: residuals, classes: classes)
      for i in gradient.indices {
        gradient[i] = gradient[i] / n + strength * x[i]
        value += strength * x[i] * x[i] / 2
      }
      var sums = [Double](repeating: 0, count: classes)
      for i in 0..<set.count { for c in 0..<classes { sums[c] += residuals[i * classes + c] } }
      return (value, gradient + sums.map { $0 / n })
    }
    let classifier = LinearClassifier(classes: classes, width: d, weights: result.x[..<weights].map { Float($0) }, bias: result.x[weights...].map { Float($0) })
    return Fit(classifier: classifier, iterations: result.iterations, objective: result.value, isConverged: result.isConverged)
  }
}
