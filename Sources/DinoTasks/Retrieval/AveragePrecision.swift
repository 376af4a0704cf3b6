// The measures of image retrieval, to the letter of the Oxford/Paris evaluation code: average precision by trapezoids, junk taken out of the ranking, precision
// at k over the positives' last rank, means over the queries that have positives.

public enum AveragePrecision {
  /// The area under precision over recall, by trapezoids.
  /// - Parameters:
  ///   - ranks: places of the positives in the ranking, from 0, ascending; those that were not retrieved are missing.
  ///   - positives: how many there are.
  public static func trapezoid(ranks: [Int], positives: Int) -> Double {
    guard positives > 0 else { return .nan }
    var sum = 0.0
    for (found, rank) in ranks.enumerated() {
      let left = rank == 0 ? 1 : Double(found) / Double(rank)
      let right = Double(found + 1) / Double(rank + 1)
      sum += (left + right) / 2 / Double(positives)
    }
    return sum
  }

  /// Ranks of the positives with the junk before them taken out of the ranking.
  /// - Parameter ranking: all images, best first.
  public static func ranks(in ranking: [Int], positives: Set<Int>, junk: Set<Int>) -> [Int] {
    var ranks: [Int] = [], passed = 0
    for (place, image) in ranking.enumerated() {
      if positives.contains(image) { ranks.append(place - passed) }
      if junk.contains(image) { passed += 1 }
    }
    return ranks
  }

  /// Precision among the first k, k cut to the last positive's place (as compute_map does).
  public static func precision(ranks: [Int], at k: Int) -> Double {
    guard let last = ranks.max() else { return .nan }
    let cut = min(last + 1, k)
    return Double(ranks.count { $0 + 1 <= cut }) / Double(cut)
  }
}

/// The figures of one protocol, of the queries that were added.
public struct RetrievalScores: Sendable {
  /// Average precision of each query; NaN for one without positives, which is in no mean.
  public private(set) var queries: [Double] = []
  private let ks: [Int]
  private var sums: [Double], total = 0.0, counted = 0.0

  public init(ks: [Int]) {
    self.ks = ks
    sums = [Double](repeating: 0, count: ks.count)
  }

  public var meanAveragePrecision: Double { counted > 0 ? total / counted : .nan }
  /// Mean precision at each k.
  public var precisions: [Double] { sums.map { counted > 0 ? $0 / counted : .nan } }

  /// Counts one query.
  /// - Parameter ranking: all images, best first.
  public mutating func add(_ ranking: [Int], _ truth: RetrievalGroundTruth.Truth) {
    guard !truth.positives.isEmpty else { return queries.append(.nan) }
    let ranks = AveragePrecision.ranks(in: ranking, positives: truth.positives, junk: truth.junk)
    let precision = AveragePrecision.trapezoid(ranks: ranks, positives: truth.positives.count)
    queries.append(precision)
    total += precision
    for (i, k) in ks.enumerated() { sums[i] += ranks.isEmpty ? 0 : AveragePrecision.precision(ranks: ranks, at: k) }
    counted += 1
  }
}
