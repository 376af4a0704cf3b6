// The largest eigenvalues of a symmetric operator and their vectors, by Lanczos with full reorthogonalisation: the operator is only ever applied to vectors.
// For a few extreme pairs of an operator of up to some ten thousand rows; it keeps every vector of its basis.

/// An eigenvalue and its vector, of length 1.
public struct Eigenpair: Sendable {
  public var value: Double
  public var vector: [Double]
  /// Whether it met the tolerance.
  public var converged: Bool
}

public enum Lanczos {
  /// The `count` largest eigenpairs (fewer where the operator has fewer), largest first, of the operator restricted to what is orthogonal to `fixed`.
  ///
  /// - Parameters:
  ///   - fixed: orthonormal vectors that the operator maps to multiples of themselves, such as eigenvectors known already.
  ///   - tolerance: largest ‖Av - λv‖ / ‖A‖ of what is given back.
  ///   - steps: largest size of the basis.
  ///   - apply: v → Av.
  public static func largest(_ count: Int, dimension n: Int, orthogonalTo fixed: [[Double]] = [], tolerance: Double = 1e-9, steps: Int = 400,
                             _ apply: ([Double]) -> [Double]) -> [Eigenpair] {
    var basis: [[Double]] = [], alphas: [Double] = [], betas: [Double] = []
    let limit = min(steps, n - fixed.count)
    guard limit > 0, count > 0 else { return [] }
    var next = start(n)
    orthogonalize(&next, against: fixed)
    orthogonalize(&next, against: fixed)
    guard normalize(&next) > 1e-12 else { return [] }
    var nextCheck = max(8, 2 * count)
    while true {
      basis.append(next)
      var w = apply(next)
      alphas.append(dot(w, next))
      orthogonalize(&w, against: fixed)
      orthogonalize(&w, against: basis)
      // Once more: what the first pass leaves of a long basis is rounding of numbers much larger than itself.
      orthogonalize(&w, against: basis)
      let beta = normalize(&w)
      let size = alphas.map(abs).max()! + (betas.max() ?? 0)
      let exhausted = basis.count == limit || beta <= 1e-13 * max(size, 1e-300)
      if exhausted || basis.count >= nextCheck {
        let last = TridiagonalEigen(diagonal: alphas, below: betas, rows: [basis.count - 1])
        let wanted = Array(last.values.indices.sorted { last.values[$0] > last.values[$1] }.prefix(count))
        let residuals = wanted.map { beta * abs(last.turned[$0]) / max(size, 1e-300) }
        if exhausted || residuals.allSatisfy({ $0 <= tolerance }) {
          return vectors(basis, alphas, betas, wanted: count, beta: beta, bound: tolerance * max(size, 1e-300))
        }
        nextCheck = basis.count + max(4, basis.count / 8)
      }
      betas.append(beta)
      next = w
    }
  }

  /// Ritz vectors: the basis times the eigenvectors of the tridiagonal matrix.
  private static func vectors(_ basis: [[Double]], _ alphas: [Double], _ betas: [Double], wanted: Int, beta: Double, bound: Double) -> [Eigenpair] {
    let m = basis.count, pairs = TridiagonalEigen(diagonal: alphas, below: betas), values = pairs.values
    return values.indices.sorted { values[$0] > values[$1] }.prefix(wanted).map { j in
      let z = pairs.turned[j * m..<(j + 1) * m]
      var vector = [Double](repeating: 0, count: basis[0].count)
      for (weight, b) in zip(z, basis) { add(weight, b, to: &vector) }
      normalize(&vector)
      return Eigenpair(value: values[j], vector: vector, converged: beta * abs(z[(j + 1) * m - 1]) <= bound)
    }
  }

  private static func orthogonalize(_ w: inout [Double], against vectors: [[Double]]) {
    for v in vectors { add(-dot(v, w), v, to: &w) }
  }

  /// A fixed vector without structure: the same result at every run.
  private static func start(_ n: Int) -> [Double] {
    var state: UInt64 = 0x9E37_79B9_7F4A_7C15
    return (0..<n).map { _ in
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return Double(Int64(bitPattern: state) >> 11) / 4_503_599_627_370_496
    }
  }
}
