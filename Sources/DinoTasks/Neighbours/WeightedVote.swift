// k-nearest-neighbour classification by the paper's weighted vote (eval_knn.py): each of the k nearest rows votes for its class with exp(score / T); the class
// of most votes is the answer. Any number of classes and images; a set can be held against itself, each image left out for its own question.

public import DinoKernels

/// What one image was taken for.
public struct ClassifiedImage: Sendable, Equatable {
  public var row: Int
  /// Index of the true class among the training classes; nil where they do not have it.
  public var truth: Int?
  /// Classes by votes, most first, at most five.
  public var ranking: [Int]
  public var isCorrect: Bool { truth != nil && ranking.first == truth }
  public var isAmongFive: Bool { truth.map { ranking.contains($0) } ?? false }
}

/// The result for one number of neighbours.
public struct ClassificationReport: Sendable {
  /// Neighbours that voted: fewer than asked for where there are not so many.
  public var neighbours: Int
  public var classes: [String]
  public var images: [ClassifiedImage]

  public var top1: Double { share(\.isCorrect) }
  /// Share of images whose class is among the first five (or k, where that is less).
  public var top5: Double { share(\.isAmongFive) }

  private func share(_ holds: (ClassifiedImage) -> Bool) -> Double { images.isEmpty ? 0 : Double(images.count(where: holds)) / Double(images.count) }

  /// Rows are true classes, columns answers.
  public var confusion: [[Int]] {
    var table = [[Int]](repeating: [Int](repeating: 0, count: classes.count), count: classes.count)
    for image in images { if let truth = image.truth, let answer = image.ranking.first { table[truth][answer] += 1 } }
    return table
  }
}

public enum WeightedVote {
  public static let officialNeighbours = [10, 20, 100, 200]
  public static let officialTemperature = 0.07

  /// Classes by votes, most first (of equal votes the lower index), at most five; all of them zero-voted ones too, as the official code ranks all classes.
  public static func ranking(_ found: ArraySlice<FoundRow>, labels: [Int?], classes: Int, temperature: Double) -> [Int] {
    var votes = [Double](repeating: 0, count: classes)
    // At very low temperatures all votes are counted as multiples of the largest, which alone would be infinite, or nothing of a negative score; elsewhere as the official code counts them, to
    // the bit.
    let largest = Double(found.first?.score ?? 0), less = abs(largest) / temperature > 700 ? largest : 0
    for row in found { if let label = labels[row.row] { votes[label] += exponential((Double(row.score) - less) / temperature) } }
    // The first five only: a full sort of many classes for every image would cost more than the search.
    var best: [Int] = []
    for c in 0..<classes {
      var at = best.count
      while at > 0, votes[best[at - 1]] < votes[c] { at -= 1 }
      if at < 5 {
        best.insert(c, at: at)
        if best.count > 5 { best.removeLast() }
      }
    }
    return best
  }

  /// Classifies every row of `test` by the rows of `train`, for each number of neighbours.
  /// - Parameter leaveOneOut: `test` is `train`, and each row is passed over in its own question.
  public static func classify(_ test: LabelledRows, by train: LabelledRows, neighbours: [Int], temperature: Double, leaveOneOut: Bool = false, threads: Int,
                              progress: (Int) -> Void = { _ in }) throws(TaskError) -> [ClassificationReport] {
    precondition(!neighbours.isEmpty && neighbours.allSatisfy { $0 > 0 } && temperature > 0)
    try train.requireClasses(name: "the training images")
    guard test.width == train.width else { throw .width(name: "the test images", expected: train.width, found: test.width) }
    let available = train.rows.count - (leaveOneOut ? 1 : 0)
    let ks = neighbours.map { min($0, max(available, 1)) }
    let index = Dictionary(uniqueKeysWithValues: train.classes.enumerated().map { ($1, $0) })
    let truths = test.rows.map { row in test.labels[row].flatMap { index[test.classes[$0]] } }
    var reports = ks.map { ClassificationReport(neighbours: $0, classes: train.classes, images: []) }
    for first in stride(from: 0, to: test.rows.count, by: 1024) {
      let batch = Array(test.rows[first..<min(first + 1024, test.rows.count)])
      let queries = batch.flatMap { test.unit($0) }
      let found = RowSearch.nearest(train.parts, to: queries, width: train.width, k: ks.max()!, excluding: leaveOneOut ? batch : [], team: .shared(max(1, threads)))
      for (i, row) in batch.enumerated() {
        for (r, k) in ks.enumerated() {
          let ranking = ranking(found[i].prefix(k), labels: train.labels, classes: train.classes.count, temperature: temperature)
          reports[r].images.append(ClassifiedImage(row: row, truth: truths[first + i], ranking: Array(ranking.prefix(min(5, k)))))
        }
      }
      progress(batch.count)
    }
    return reports
  }
}
