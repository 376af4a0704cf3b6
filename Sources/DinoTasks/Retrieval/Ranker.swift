// A database of features ranked for queries, as the retrieval protocols need it: all of it in memory, cosines, best first. Answers are told of a few queries at a time: of all, rankings would
// grow with the square of the images.

public import DinoKernels

public struct Ranker: Sendable {
  private let rows: LabelledRows
  private let threads: Int

  public init(_ features: [[Float]], threads: Int) throws(TaskError) {
    rows = try LabelledRows(features: features, names: features.map { _ in "" }, classNames: features.map { _ in nil })
    self.threads = max(1, threads)
  }

  /// Calls `body` with each query's number and the `count` rows of largest cosine to it.
  public func nearest(_ queries: [[Float]], count: Int, _ body: (Int, [FoundRow]) throws -> Void) rethrows {
    // What is held of an answer: its place in each thread's heap, and twice in a list.
    let atOnce = (128 << 20) / ((2 * MemoryLayout<FoundRow>.stride + 12 * threads) * min(max(count, 1), rows.rows.count))
    for batch in Self.batches(queries.count, atOnce: atOnce) {
      let found = RowSearch.nearest(rows.parts, to: queries[batch].flatMap { unitVector($0).values }, width: rows.width, k: count, team: .shared(threads))
      for (q, answers) in zip(batch, found) { try body(q, answers) }
    }
  }

  /// Calls `body` with each query's number and all rows, best first.
  public func rankings(_ queries: [[Float]], _ body: (Int, [Int]) -> Void) { nearest(queries, count: rows.rows.count) { body($0, $1.map(\.row)) } }

  /// Runs of queries: parts of about one length of each 1,024, which a search takes together. None has fewer than four where there are so many: a search asks fewer one by one, whose sums are
  /// others in the last bit.
  static func batches(_ count: Int, atOnce: Int) -> [Range<Int>] {
    stride(from: 0, to: count, by: 1024).flatMap { first in
      let length = min(1024, count - first), parts = (length + max(atOnce, 8) - 1) / max(atOnce, 8)
      return (0..<parts).map { first + $0 * length / parts..<first + ($0 + 1) * length / parts }
    }
  }

  /// Each query as the mean of itself and its best answers.
  /// - Parameter isItself: query i is row i, which is no answer to it.
  public func expanded(_ queries: [[Float]], answers: Int, alpha: Double, isItself: Bool) -> [[Float]] {
    var expanded: [[Float]] = []
    nearest(queries, count: min(answers, rows.rows.count) + 1) { q, found in
      let best = found.filter { !isItself || $0.row != q }.prefix(answers).map { (feature: rows.unit($0.row), score: $0.score) }
      expanded.append(QueryExpansion.expand(unitVector(queries[q]).values, answers: best, alpha: alpha))
    }
    return expanded
  }
}
