// MaskCut (Wang et al., CVPR 2023, CutLER): TokenCut again and again, each time without the patches found before: several objects of one photograph. As
// maskcut.py, without its dense CRF, and with the photograph's corners counted in the connected part around the eigenvector's peak: there they are counted in the whole of
// whichever side LAPACK's sign makes the upper one, and a network whose patches in the corners are like those of its objects (a supervised one's are) is given the background.

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

  /// TokenCut with a bias for objects: a part that holds three or four of the photograph's corners is the background, and the object is what is left of the other side.
  private static func cut(_ unit: [Float], _ grid: PatchFeatures, tau: Float, threads: Int) -> PatchMask {
    let found = TokenCut.object(unitRows: unit, grid, tau: tau, threads: threads), mask = found.mask, v = found.eigenvector.values
    let last = grid.columns - 1, bottom = (grid.rows - 1) * grid.columns
    guard [0, last, bottom, bottom + last].count(where: { mask.kept[$0] }) >= 3 else { return mask }
    let other = PatchMask(rows: grid.rows, columns: grid.columns, kept: found.side.kept.map { !$0 })
    return other.component(containing: v.indices.min { v[$0] < v[$1] } ?? 0)
  }
}
