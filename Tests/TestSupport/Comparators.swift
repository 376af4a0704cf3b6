// Measures of difference, named for what they mean.

import Foundation

/// Largest absolute difference; infinite where counts differ or only one side is NaN.
public func maxAbsoluteDifference(_ a: [Float], _ b: [Float]) -> Float {
  guard a.count == b.count else { return .infinity }
  var worst: Float = 0
  for (x, y) in zip(a, b) {
    if x.isNaN && y.isNaN { continue }
    let d = abs(x - y)
    if !(d <= worst) { worst = d.isNaN ? .infinity : d }
  }
  return worst
}

/// Squared error over squared signal.
public func normalizedMeanSquaredError(_ a: [Float], reference: [Float]) -> Double {
  guard a.count == reference.count else { return .infinity }
  var error = 0.0, signal = 0.0
  for (x, y) in zip(a, reference) {
    error += (Double(x) - Double(y)) * (Double(x) - Double(y))
    signal += Double(y) * Double(y)
  }
  return signal == 0 ? (error == 0 ? 0 : .infinity) : error / signal
}

/// Cosine of the angle between two vectors.
public func cosine(_ a: [Float], _ b: [Float]) -> Double {
  var ab = 0.0, aa = 0.0, bb = 0.0
  for (x, y) in zip(a, b) {
    ab += Double(x) * Double(y)
    aa += Double(x) * Double(x)
    bb += Double(y) * Double(y)
  }
  return ab / (aa * bb).squareRoot()
}
