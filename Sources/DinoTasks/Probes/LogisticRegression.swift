// L2-regularised multinomial logistic regression, as scikit-learn's LogisticRegression defines it: C · Σ loss + |W|² / 2, the biases free. Found by L-BFGS to a
// small gradient, so it is the minimum and not a stop on the way; the result does not depend on the number of threads.

internal import DinoKernels

public struct LogisticRegression: Sendable {
  /// The inverse of the regularisation, scikit-learn's C.
  public var inverseRegularization = 1.0
  public var iterations = 1000
  /// Largest component of the gradient (of the mean loss) at the end.
  public var tolerance = 1e-5

  public init() {}

  /// What became of a fit.
  public struct Fit: Sendable {
    public var classifier: LinearClassifier
    public var iterations: Int
    /// The mean loss with its regularisation.
    public var objective: Double
    public var isConverged: Bool
  }

  public func fit(_ set: TrainingSet, threads: Int, progress: (Int) -> Void = { _ in }) throws(TaskError) -> Fit {
    let products: DenseProducts
    do { products = try DenseProducts(set.values, width: set.width, team: .shared(max(1, threads))) } catch { throw TaskError(error, path: "") }
    let classes = set.classes.count, d = set.width, n = Double(set.count)
    let strength = 1 / (inverseRegularization * n)
    // Parameters: the weights, then the biases. The objective is divided by C · n, which keeps its minimum where it is.
    func objective(_ x: [Double]) -> (Double, [Double]) {
      let weights = x[..<(classes * d)].map { Float($0) }, bias = x[(classes * d)...].map { Float($0) }
      var residuals = products.scores(weights: weights, bias: bias)
      var value = crossEntropy(&residuals, labels: set.labels, classes: classes) / n
      var gradient = products.gradient(residuals: residuals, classes: classes)
      for i in gradient.indices {
        gradient[i] = gradient[i] / n + strength * x[i]
        value += strength * x[i] * x[i] / 2
      }
      var sums = [Double](repeating: 0, count: classes)
      for i in 0..<set.count { for c in 0..<classes { sums[c] += Double(residuals[i * classes + c]) } }
      return (value, gradient + sums.map { $0 / n })
    }
    let result = LBFGS(iterations: iterations, tolerance: tolerance).minimize([Double](repeating: 0, count: classes * (d + 1)), objective, progress: progress)
    let x = result.x
    let classifier = LinearClassifier(classes: classes, width: d, weights: x[..<(classes * d)].map { Float($0) }, bias: x[(classes * d)...].map { Float($0) })
    return Fit(classifier: classifier, iterations: result.iterations, objective: result.value, isConverged: result.isConverged)
  }
}
