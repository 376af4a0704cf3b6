// PCA whitening as the official copy detection does it (utils.PCA): the covariance is not centred although the features then are, eigenvalues below
// 1e-5 of the largest are lifted to that, and components are divided by the eigenvalue to the power 0.5.

internal import DinoAlgebra

public struct Whitening: Sendable {
  public let mean: [Double]
  /// Row k maps a centred feature to component k.
  public let components: [[Double]]

  /// Learns from features [n][d].
  public init(_ features: [[Float]], power whit: Double = 0.5) throws(TaskError) {
    precondition(!features.isEmpty)
    let d = features[0].count, n = Double(features.count)
    var mean = [Double](repeating: 0, count: d), covariance = [Double](repeating: 0, count: d * d)
    for feature in features {
      guard feature.count == d else { throw .width(name: "a feature for whitening", expected: d, found: feature.count) }
      let x = feature.map { Double($0) }
      for i in 0..<d {
        mean[i] += x[i]
        let xi = x[i], row = i * d
        for j in 0...i { covariance[row + j] += xi * x[j] }
      }
    }
    for i in 0..<d { mean[i] /= n }
    for i in 0..<d * d { covariance[i] /= n }
    guard let eigen = SymmetricEigen(covariance, size: d) else { throw .noConvergence(what: "the eigenvalues of the covariance") }
    let floor = (eigen.values.last ?? 0) * 1e-5
    self.mean = mean
    components = (0..<d).reversed().map { k in
      let factor = 1 / power(max(eigen.values[k], floor), whit)
      return eigen.vectors[k].map { $0 * factor }
    }
  }

  public func apply(_ feature: [Float]) -> [Float] {
    precondition(feature.count == mean.count)
    var centred = [Double](repeating: 0, count: mean.count)
    for i in mean.indices { centred[i] = Double(feature[i]) - mean[i] }
    return components.map { row in
      var sum = 0.0
      for i in row.indices { sum += row[i] * centred[i] }
      return Float(sum)
    }
  }
}
