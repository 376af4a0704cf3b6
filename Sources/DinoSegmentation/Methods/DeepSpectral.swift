// Deep spectral segmentation (Melas-Kyriazi et al., CVPR 2022), for one object: the sign of the second eigenvector of the normalised Laplacian of the positive
// cosine similarities. Keys of the last block; no colour term, as in its code's default. The similarities are weights here, so they are held: n² floats.

public import Dino
internal import DinoAlgebra
internal import DinoKernels

public enum DeepSpectral {
  /// Most patches: their similarities take 1 GB.
  public static let patchLimit = 16_384

  public struct Result: Sendable {
    /// The side of fewer patches.
    public var mask: PatchMask
    public var eigenvector: PatchMap
    public var converged: Bool
  }

  /// - Throws: `.unavailable` over `patchLimit` patches.
  public static func object(_ features: PatchFeatures, threads: Int = 0) throws(DinoError) -> Result {
    let n = features.count
    guard n <= patchLimit else { throw DinoError(.unavailable, "spectral holds the similarities of \(n) × \(n) patches; at most \(patchLimit) × \(patchLimit)", hint: "tokencut has no such limit; or give a smaller --image-size") }
    let unit = unitRows(features.values, width: features.width)
    let weights = RowProducts(threads: threads).all(unit, unit, width: features.width)
    let (vector, converged) = secondEigenvector(weights, count: n)
    // The sign is arbitrary: the object is what takes up less than half.
    let above = vector.count { $0 > 0 }
    let isFlipped = 2 * above > n && above < n
    let v = isFlipped ? vector.map { -$0 } : vector
    return Result(mask: PatchMask(rows: features.rows, columns: features.columns, kept: v.map { $0 > 0 }),
                  eigenvector: PatchMap(rows: features.rows, columns: features.columns, values: v.map { Float($0) }), converged: converged)
  }

  /// Of (D - W) v = λ D v with W = max(similarity, 0). The largest weight need not be made 1 first: it changes no eigenvector.
  static func secondEigenvector(_ similarities: [Float], count n: Int) -> (vector: [Double], converged: Bool) {
    let weights = similarities.map { max($0, 0) }
    var degrees = [Double](repeating: 0, count: n)
    for i in 0..<n {
      var sum = 0.0
      for j in 0..<n { sum += Double(weights[i * n + j]) }
      // A patch like no other, itself included, has features of zeros; any positive degree keeps it apart.
      degrees[i] = max(sum, 1e-12)
    }
    let inverseRoots = degrees.map { 1 / $0.squareRoot() }
    var first = degrees.map { $0.squareRoot() }
    normalize(&first)
    let pair = Lanczos.largest(1, dimension: n, orthogonalTo: [first]) { y in
      // Sums of a row in single precision, eight at a time: rounding is far below the tolerance of what is only compared with zero.
      var scaled = (0..<n).map { Float(y[$0] * inverseRoots[$0]) }
      let whole = n & ~7
      scaled.append(0)
      return (0..<n).map { i in
        let row = i * n
        var sums = SIMD8<Float>.zero, j = 0
        while j < whole {
          for k in 0..<8 { sums[k] += weights[row &+ j &+ k] * scaled[j &+ k] }
          j &+= 8
        }
        var sum = Double(sums.sum())
        while j < n {
          sum += Double(weights[row &+ j] * scaled[j])
          j &+= 1
        }
        return sum * inverseRoots[i]
      }
    }.first
    var v = pair?.vector ?? [Double](repeating: 0, count: n)
    for i in 0..<n { v[i] *= inverseRoots[i] }
    return (v, pair?.converged ?? true)
  }
}
