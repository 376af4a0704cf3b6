// The curvature of the mean cross entropy of a linear softmax classifier with L2 on its weights, as NewtonCG wants it: its product with a direction, and a preconditioner.
//
// H = 1/n Σᵢ (diag(pᵢ) - pᵢ pᵢᵀ) ⊗ xᵢ xᵢᵀ + strength. The preconditioner keeps the diagonal blocks, one a class, D_c = 1/n Σᵢ p(1 - p) xᵢ xᵢᵀ + strength, and what the blocks beside
// the diagonal say above all: that adding the same to all classes changes no probability. So it looks for steps whose sum over classes is zero, where the minimum lies too:
// z_c = D_c⁻¹ (r_c - u) with Σ z_c = 0. Without that it is worse than none. Where a block a class would take too much memory, all classes share one, of the mean of their p(1 - p).

internal import DinoAlgebra
internal import DinoKernels

struct SoftmaxCurvature {
  let products: DoubleProducts
  let classes: Int
  /// [n, classes], each row's sum is 1.
  let probabilities: [Double]
  let strength: Double

  /// Bytes of all blocks at most.
  private static let memory = 256 << 20

  /// What making a preconditioner costs beside one product with the curvature: Gram matrices and their inverses, by counts of multiplications.
  static func preconditionerCost(count n: Int, width d: Int, classes: Int) -> Double {
    let n = Double(n), size = Double(d + 1), blocks = Double(Self.blocks(width: d, classes: classes))
    return blocks * (n * size * size / 2 + size * size * size) / (2 * n * size * Double(classes))
  }

  private static func blocks(width d: Int, classes: Int) -> Int { classes * (d + 1) * (d + 1) * 8 <= memory ? classes : 1 }

  /// H · v, of parameters laid out as weights [classes, d], then biases [classes].
  func product(_ v: [Double]) -> [Double] {
    let n = products.count, weights = classes * products.width
    var t = products.scores(weights: v[..<weights], bias: v[weights...])
    for i in 0..<n {
      let row = i * classes
      var mean = 0.0
      for c in row..<row + classes { mean += probabilities[c] * t[c] }
      for c in row..<row + classes { t[c] = probabilities[c] * (t[c] - mean) / Double(n) }
    }
    var out = products.gradient(residuals: t, classes: classes)
    for i in 0..<weights { out[i] += strength * v[i] }
    return out + Self.columnSums(t, classes: classes)
  }

  /// The sum of each column of [n, classes].
  static func columnSums(_ values: [Double], classes: Int) -> [Double] {
    var sums = [Double](repeating: 0, count: classes)
    for row in stride(from: 0, to: values.count, by: classes) { for c in 0..<classes { sums[c] += values[row + c] } }
    return sums
  }

  func preconditioner() -> ([Double]) -> [Double] {
    let d = products.width, size = d + 1, n = products.count, classes = classes, blocks = Self.blocks(width: d, classes: classes)
    var sum = [Double](repeating: 0, count: size * size)
    let inverses = (0..<blocks).map { block in
      let weights = (0..<n).map { i in
        let p = probabilities[i * classes..<(i + 1) * classes]
        return (blocks == 1 ? p.reduce(0) { $0 + $1 * (1 - $1) } / Double(classes) : p[p.startIndex + block] * (1 - p[p.startIndex + block])) / Double(n)
      }
      let inverse = regularizedInverse(products.gram(weights: weights), size: size, ridge: strength)
      add(blocks == 1 ? Double(classes) : 1, inverse, to: &sum)
      return inverse
    }
    let shared = regularizedInverse(sum, size: size, ridge: 0)
    return { r in
      // Rows of weights with their bias.
      var z: [[Double]] = [], total = [Double](repeating: 0, count: size)
      for c in 0..<classes {
        z.append(multiply(inverses[min(c, blocks - 1)], Array(r[c * d..<(c + 1) * d]) + [r[classes * d + c]]))
        add(1, z[c], to: &total)
      }
      let u = multiply(shared, total)
      for c in 0..<classes { add(-1, multiply(inverses[min(c, blocks - 1)], u), to: &z[c]) }
      return z.flatMap { $0[..<d] } + z.map { $0[d] }
    }
  }

  /// (A + ridge)⁻¹, with as much more of a ridge as a positive definite matrix of this size needs in double.
  private func regularizedInverse(_ a: [Double], size: Int, ridge: Double) -> [Double] {
    var a = a, extra = (0..<size).reduce(0) { $0 + a[$1 * size + $1] } * 1e-15
    for i in 0..<size { a[i * size + i] += ridge }
    while true {
      if let found = inverse(positiveDefinite: a, size: size) { return found }
      // Only what isn't finite never becomes positive definite.
      guard extra.isFinite, extra > 0 else { return (0..<size * size).map { $0 % (size + 1) == 0 ? 1 : 0 } }
      for i in 0..<size { a[i * size + i] += extra }
      extra *= 10
    }
  }
}

/// A · x of A [n, n].
private func multiply(_ a: [Double], _ x: [Double]) -> [Double] { (0..<x.count).map { dot(a, from: $0 * x.count, x, from: 0, count: x.count) } }
