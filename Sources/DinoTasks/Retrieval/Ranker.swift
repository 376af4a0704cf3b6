// A database of features ranked for queries, as the retrieval protocols need it: all of it in memory, cosines, best first.

public import DinoKernels

public struct Ranker: Sendable {
  private let rows: LabelledRows
  private let threads: Int

  public init(_ features: [[Float]], threads: Int) throws(TaskError) {
    rows = try LabelledRows(features: features, names: features.map { _ in "" }, classNames: features.map { _ in nil })
    self.threads = max(1, threads)
  }

  /// The `count` rows of largest cosine for each query.
  public func nearest(_ queries: [[Float]], count: Int) -> [[FoundRow]] {
    RowSearch.nearest(rows.parts, to: queries.flatMap { unitVector($0).values }, width: rows.width, k: count, team: .shared(threads))
  }

  /// All rows for each query, best first.
  public func rankings(_ queries: [[Float]]) -> [[Int]] { nearest(queries, count: rows.rows.count).map { $0.map(\.row) } }

  /// Each query as the mean of itself and its best answers.
  /// - Parameter isItself: query i is row i, which is no answer to it.
  public func expanded(_ queries: [[Float]], answers: Int, alpha: Double, isItself: Bool) -> [[Float]] {
    zip(queries.indices, nearest(queries, count: min(answers, rows.rows.count) + 1)).map { q, found in
      let best = found.filter { !isItself || $0.row != q }.prefix(answers).map { (feature: rows.unit($0.row), score: $0.score) }
      return QueryExpansion.expand(unitVector(queries[q]).values, answers: best, alpha: alpha)
    }
  }
}
