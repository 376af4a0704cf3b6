// The normalised cut of the graph of alike patches: the second eigenvector of (D - A) v = λ D v for TokenCut's affinity A, which is 1 where the cosine of two patches
// is above τ and ε elsewhere. A is never formed: A = (1 - ε) B + ε 1·1ᵀ, and B is bits.

internal import DinoAlgebra

/// The cut's eigenvector on n patches.
public struct NormalizedCut: Sendable {
  /// λ₂: 0 where the graph falls into two unconnected parts.
  public let value: Double
  /// v₂ with vᵀDv = 1, as scipy.linalg.eigh gives it; the sign is such that the entry of largest magnitude is positive.
  public let vector: [Double]
  public let converged: Bool

  /// - Parameters:
  ///   - unitRows: features of length 1 each (or 0, of patches taken out), [n, width].
  ///   - tau: τ.
  public init(unitRows: [Float], width: Int, tau: Float, epsilon: Double = 1e-5, threads: Int = 0) {
    self.init(BinaryAffinity(rows: unitRows, width: width, above: tau, threads: threads), epsilon: epsilon)
  }

  public init(_ graph: BinaryAffinity, epsilon: Double = 1e-5) {
    let n = graph.count
    let degrees = graph.degrees.map { Double($0) * (1 - epsilon) + epsilon * Double(n) }
    let inverseRoots = degrees.map { 1 / $0.squareRoot() }
    // With y = D^½ v the problem is the ordinary one of S = D^-½ A D^-½, with eigenvalues 1 - λ; its first eigenvector, D^½ 1, is known.
    var first = degrees.map { $0.squareRoot() }
    normalize(&first)
    let pair = Lanczos.largest(1, dimension: n, orthogonalTo: [first]) { y in
      var scaled = y, sum = 0.0
      for i in 0..<n {
        scaled[i] *= inverseRoots[i]
        sum += scaled[i]
      }
      var out = graph.product(scaled)
      for i in 0..<n { out[i] = ((1 - epsilon) * out[i] + epsilon * sum) * inverseRoots[i] }
      return out
    }.first
    var v = pair.map { $0.vector } ?? [Double](repeating: 0, count: n)
    for i in 0..<n { v[i] *= inverseRoots[i] }
    let peak = v.indices.max { abs(v[$0]) < abs(v[$1]) } ?? 0
    if n > 0, v[peak] < 0 { scale(&v, by: -1) }
    value = pair.map { 1 - $0.value } ?? 0
    vector = v
    converged = pair?.converged ?? true
  }
}
