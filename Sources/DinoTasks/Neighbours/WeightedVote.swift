// k-nearest-neighbour classification by the paper's weighted vote (eval_knn.py): each of the k nearest rows votes for its class with exp(score / T); the class
// of most votes is the answer. Any number of classes and images; a set can be held against itself, each image left out for its own question.

public import DinoKernels

/// What one image was taken for.
public struct ClassifiedImage: Sendable, Equatable {
  public var row: Int
  /// Index of the true class among the training classes; nil where they do not have it.
  public var truth: Int?
  /// Classes by votes, most first, at most five. A class that no neighbour is of is no answer, so that there may be fewer.
  public var ranking: [Int]
  public var isCorrect: Bool { truth != nil && ranking.first == truth }
  public var isAmongFive: Bool { truth.map { ranking.contains($0) } ?? false }
}

/// Who was taken for whom: by one number of neighbours, or by a classifier.
public struct ClassificationReport: Sendable {
  public var classes: [String]
  public var images: [ClassifiedImage]

  public var top1: Double { share(\.isCorrect) }
  /// Share of images whose class is among the first five (or k, where that is less).
  public var top5: Double { share(\.isAmongFive) }

  private func share(_ holds: (ClassifiedImage) -> Bool) -> Double { images.isEmpty ? 0 : Double(images.count(where: holds)) / Double(images.count) }

  /// How many images of a class were taken for some class.
  public struct Confusion: Sendable, Equatable {
    public var truth: Int
    public var answer: Int
    public var count: Int
  }

  /// Those that are not 0, by true class, then by answer. A table of all would grow with the square of the classes.
  public var confusion: [Confusion] {
    struct Cell: Hashable { var truth: Int, answer: Int }
    var counts: [Cell: Int] = [:]
    for image in images { if let truth = image.truth, let answer = image.ranking.first { counts[Cell(truth: truth, answer: answer), default: 0] += 1 } }
    return counts.map { Confusion(truth: $0.truth, answer: $0.answer, count: $1) }.sorted { ($0.truth, $0.answer) < ($1.truth, $1.answer) }
  }
}

/// Places of the highest scores, highest first, at most `count`; of equal scores the lower place. A full sort of many classes for every image would cost more than what made the scores.
func highest<Score: Comparable>(_ scores: some Collection<Score>, count: Int) -> [Int] {
  guard count > 0 else { return [] }
  var best: [(place: Int, score: Score)] = []
  for (place, score) in scores.enumerated() {
    if best.count == count, let last = best.last, !(last.score < score) { continue }
    var at = best.count
    while at > 0, best[at - 1].score < score { at -= 1 }
    if best.count == count { best.removeLast() }
    best.insert((place, score), at: at)
  }
  return best.map(\.place)
}

public enum WeightedVote {
  public static let officialNeighbours = [10, 20, 100, 200]
  public static let officialTemperature = 0.07

  /// Classes by votes, most first (of equal votes the lower index), at most five. Classes without a vote are left out: the official code puts any of its 1,000 classes in their places, ImageNet's
  /// or not, where counting those of a small data set by index would call classes found that no neighbour is of.
  public static func ranking(_ found: ArraySlice<FoundRow>, labels: [Int?], classes: Int, temperature: Double) -> [Int] {
    var votes = [Double](repeating: -1, count: classes)
    // At very low temperatures all votes are counted as multiples of the largest, which alone would be infinite, or nothing of a negative score; elsewhere as the official code counts them, to
    // the bit.
    let largest = Double(found.first?.score ?? 0), less = abs(largest) / temperature > 700 ? largest : 0
    for row in found { if let label = labels[row.row] { votes[label] = max(votes[label], 0) + exponential((Double(row.score) - less) / temperature) } }
    return highest(votes, count: 5).filter { votes[$0] >= 0 }
  }

  /// How many rows vote where so many neighbours are asked for: fewer where there are not so many.
  public static func voters(of train: LabelledRows, neighbours: Int, leaveOneOut: Bool = false) -> Int { min(neighbours, max(train.rows.count - (leaveOneOut ? 1 : 0), 1)) }

  /// Classifies every row of `test` by the rows of `train`, for each number of neighbours.
  /// - Parameter leaveOneOut: `test` is `train`, and each row is passed over in its own question.
  public static func classify(_ test: LabelledRows, by train: LabelledRows, neighbours: [Int], temperature: Double, leaveOneOut: Bool = false, threads: Int,
                              progress: (Int) -> Void = { _ in }) throws(TaskError) -> [ClassificationReport] {
    precondition(!neighbours.isEmpty && neighbours.allSatisfy { $0 > 0 } && temperature > 0)
    try train.requireClasses(name: "the training images")
    guard test.width == train.width else { throw .width(name: "the test images", expected: train.width, found: test.width) }
    let ks = neighbours.map { voters(of: train, neighbours: $0, leaveOneOut: leaveOneOut) }
    let index = ClassName.places(train.classes), ofTest = test.classes.map { index[ClassName($0)] }
    let truths = test.rows.map { row in test.labels[row].flatMap { ofTest[$0] } }
    var reports = ks.map { _ in ClassificationReport(classes: train.classes, images: []) }
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
