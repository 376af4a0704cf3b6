// How far two kinds of features agree on who is near whom: of each image's k nearest by the one, the share that are among its k nearest by the other.

internal import DinoKernels

public enum NeighbourOverlap {
  /// Features of the same images in the same order: those that are searched, and those that ask; nil where each of the first asks about the others.
  public typealias Side = (known: LabelledRows, asked: LabelledRows?)

  /// For each of `ks`, smaller ones first.
  public static func shares(_ first: Side, _ second: Side, ks: [Int], threads: Int) -> [(k: Int, share: Double)] {
    guard let most = ks.max() else { return [] }
    func nearest(_ s: Side) -> [[Int]] {
      let asked = s.asked ?? s.known
      return RowSearch.nearest(s.known.parts, to: asked.rows.flatMap { asked.unit($0) }, width: asked.width, k: most, excluding: s.asked == nil ? asked.rows : [], team: .shared(threads)).map { $0.map(\.row) }
    }
    let x = nearest(first), y = nearest(second)
    return ks.sorted().map { k in
      let common = zip(x, y).reduce(0) { $0 + Set($1.0.prefix(k)).intersection($1.1.prefix(k)).count }
      return (k, Double(common) / Double(k * x.count))
    }
  }
}
