// MaskCut (Wang et al., CVPR 2023, CutLER): TokenCut again and again, each time without the patches found before: several objects of one photograph. As
// maskcut.py, without its dense CRF, and with the eigenvector's peak made positive first: there, whose corners are counted hangs on LAPACK's sign.

public import Dino

public enum MaskCut {
  /// One mask a round, those that are empty left out. They do not overlap.
  ///
  /// - Parameters:
  ///   - rounds: most masks; 3 in the paper.
  ///   - tau: cosine above which two patches are alike; 0.15 in the paper's demonstration.
  public static func objects(_ features: PatchFeatures, rounds: Int = 3, tau: Float = 0.15, threads: Int = 0) -> [PatchMask] {
    let rows = features.rows, columns = features.columns, n = features.count
    guard n > 0 else { return [] }
    var unit = unitRows(features.values, width: features.width)
    var masks: [PatchMask] = [], covered = PatchMask.empty(rows: rows, columns: columns), current = covered
    for round in 0..<rounds {
      for i in 0..<n where current.kept[i] {
        for k in i * features.width..<(i + 1) * features.width { unit[k] = 0 }
      }
      var found = cut(unit, features, tau: tau, threads: threads)
      // A later mask that mostly repeats the one before it, or is very small, is none.
      if round > 0 {
        let (both, either) = current.overlap(found)
        if Double(both) > 0.5 * Double(either) || Double(found.count) <= 0.01 * Double(n) { found = .empty(rows: rows, columns: columns) }
      }
      current = found
      for i in 0..<n where covered.kept[i] { found.kept[i] = false }
      for i in 0..<n where found.kept[i] { covered.kept[i] = true }
      if found.count > 0 { masks.append(found) }
    }
    return masks
  }

  /// TokenCut with a bias for objects: a side that holds three or four of the photograph's corners is the background.
  private static func cut(_ unit: [Float], _ grid: PatchFeatures, tau: Float, threads: Int) -> PatchMask {
    let cut = NormalizedCut(unitRows: unit, width: grid.width, tau: tau, threads: threads)
    let v = cut.vector, mean = v.reduce(0, +) / Double(v.count)
    var side = PatchMask(rows: grid.rows, columns: grid.columns, kept: v.map { $0 > mean })
    let last = grid.columns - 1, bottom = (grid.rows - 1) * grid.columns
    let corners = [0, last, bottom, bottom + last].count { side.kept[$0] }
    var seed = v.indices.max { v[$0] < v[$1] } ?? 0
    if corners >= 3 {
      side.kept = side.kept.map { !$0 }
      seed = v.indices.min { v[$0] < v[$1] } ?? 0
    }
    return side.component(containing: seed)
  }
}
