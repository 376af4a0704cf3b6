// TokenCut (Wang et al., CVPR 2022): the normalised cut of the graph of alike patches; the side that holds the eigenvector's peak is the object. Keys of the last block.

public import Dino

public enum TokenCut {
  public struct Result: Sendable {
    /// The connected part of the object's side around the seed.
    public var mask: PatchMask
    /// The whole of the object's side.
    public var side: PatchMask
    /// The patch where the eigenvector's magnitude is greatest.
    public var seed: Int
    /// The eigenvector, positive at the seed.
    public var eigenvector: PatchMap
    public var converged: Bool
  }

  /// - Parameter tau: cosine above which two patches are alike; 0.2 in the paper.
  public static func object(_ features: PatchFeatures, tau: Float = 0.2, threads: Int = 0) -> Result {
    object(unitRows: unitRows(features.values, width: features.width), features, tau: tau, threads: threads)
  }

  static func object(unitRows: [Float], _ grid: PatchFeatures, tau: Float, threads: Int) -> Result {
    let cut = NormalizedCut(unitRows: unitRows, width: grid.width, tau: tau, threads: threads)
    let v = cut.vector, mean = v.reduce(0, +) / Double(max(v.count, 1))
    // `NormalizedCut` makes the peak positive, so the object's side is the one above the mean.
    let seed = v.indices.max { abs(v[$0]) < abs(v[$1]) } ?? 0
    let side = PatchMask(rows: grid.rows, columns: grid.columns, kept: v.map { $0 > mean })
    return Result(mask: side.component(containing: seed), side: side, seed: seed,
                  eigenvector: PatchMap(rows: grid.rows, columns: grid.columns, values: v.map { Float($0) }), converged: cut.converged)
  }
}
