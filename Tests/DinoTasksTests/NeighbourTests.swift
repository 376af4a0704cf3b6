// The weighted vote against eval_knn.py's formula, from memory and from banks; leaving one out; classes that differ; groups of duplicates.

import DinoKernels
@testable import DinoTasks
import Foundation
import Safetensors
import TestSupport
import Testing

private func labelled(_ json: JSONValue, _ kind: String) throws -> LabelledRows {
  let rows = json[kind]!.rows(json["width"]!.integerValue!), labels = json["\(kind)_labels"]!.integers
  return try LabelledRows(features: rows, names: rows.indices.map { "\(kind)\($0)" }, classNames: labels.map { "class\($0)" })
}

@Suite struct WeightedVoteTests {
  @Test(arguments: [1, 3]) func equalsTheOfficialRule(_ threads: Int) throws {
    let json = Golden["knn"], results = try #require(json["results"]?.arrayValue)
    let train = try labelled(json, "train"), test = try labelled(json, "test")
    let reports = try WeightedVote.classify(test, by: train, neighbours: results.map { $0["k"]!.integerValue! }, temperature: 0.07, threads: threads)
    for (report, expected) in zip(reports, results) {
      #expect(report.images.map { $0.ranking[0] } == expected["predictions"]!.integers)
      #expect(abs(report.top1 - expected["top1"]!.doubleValue!) < 1e-6)
      #expect(abs(report.top5 - expected["top5"]!.doubleValue!) < 1e-6)
      let confusion = report.confusion
      #expect(confusion.reduce(0) { $0 + $1.count } == report.images.count)
      #expect(confusion.reduce(0) { $0 + ($1.truth == $1.answer ? $1.count : 0) } == report.images.count(where: \.isCorrect))
      #expect(confusion.allSatisfy { cell in cell.count == report.images.count { $0.truth == cell.truth && $0.ranking.first == cell.answer } })
      #expect(zip(confusion, confusion.dropFirst()).allSatisfy { ($0.truth, $0.answer) < ($1.truth, $1.answer) })
    }
  }

  /// Of hundreds of thousands of classes only who was taken for whom is held.
  @Test func confusionIsOfWhatIsThere() {
    let classes = 400_000, images = [(0, 7), (0, 7), (3, 3)].map { ClassifiedImage(row: 0, truth: $0, ranking: [$1]) } + [ClassifiedImage(row: 0, truth: nil, ranking: [1])]
    let report = ClassificationReport(classes: [String](repeating: "", count: classes), images: images)
    #expect(report.confusion == [.init(truth: 0, answer: 7, count: 2), .init(truth: 3, answer: 3, count: 1)])
  }

  /// The first few of many scores are those of a sort: of equal ones the lower place.
  @Test func theHighestAreThoseOfASort() {
    var random = SplitMix64(seed: 9)
    for count in [0, 1, 4, 5, 6, 40] {
      let scores = (0..<count).map { _ in Float(Int.random(in: 0..<6, using: &random)) }
      let sorted = scores.indices.sorted { scores[$0] != scores[$1] ? scores[$0] > scores[$1] : $0 < $1 }
      for first in [1, 5, 40] { #expect(highest(scores, count: first) == Array(sorted.prefix(first)), "\(first) of \(scores)") }
    }
  }

  /// e^(score / temperature) is no number that f64 has: the order of the votes still is that of the nearest.
  @Test func veryLowTemperaturesFollowTheNearest() {
    let found = [FoundRow(row: 0, score: 0.9), FoundRow(row: 1, score: 0.8), FoundRow(row: 2, score: 0.8), FoundRow(row: 3, score: -0.5)]
    for temperature in [0.07, 0.002, 0.001, 0.0001, 1e-6] {
      #expect(WeightedVote.ranking(found[...], labels: [2, 0, 1, 0], classes: 3, temperature: temperature)[0] == 2, "temperature \(temperature)")
      #expect(WeightedVote.ranking(found[...1], labels: [1, 0, 0, 0], classes: 2, temperature: temperature) == [1, 0], "temperature \(temperature)")
      // Where no image is near, the nearest still decides.
      let far = [FoundRow(row: 0, score: -0.106), FoundRow(row: 1, score: -0.3)]
      #expect(WeightedVote.ranking(far[...], labels: [1, 0], classes: 2, temperature: temperature) == [1, 0], "temperature \(temperature)")
    }
  }

  /// Classes that no neighbour is of are no answers: by their index the true one would be among the first five of a small set without a vote.
  @Test func classesWithoutAVoteAreNoAnswers() {
    let found = [FoundRow(row: 0, score: 0.9), FoundRow(row: 1, score: 0.8)]
    #expect(WeightedVote.ranking(found[...], labels: [2, 2], classes: 4, temperature: 0.07) == [2])
    #expect(WeightedVote.ranking(found[...], labels: [2, 3], classes: 4, temperature: 0.07) == [2, 3])
    #expect(ClassifiedImage(row: 0, truth: 0, ranking: [2]).isAmongFive == false)
  }

  /// A class is there while a row is of it: compacting, which forgets the others, changes nothing that is learnt.
  @Test func classesAreThoseOfTheRows() throws {
    let folder = try Fixtures.temporaryFolder().path
    defer { try? FileManager.default.removeItem(atPath: folder) }
    let writer = try BankWriter(path: "\(folder)/bank", width: 2, element: .f32, record: BankRecord(model: "m", modelDigest: "", preprocessing: ""))
    for (i, name) in ["z", "gone", "a", "gone", "m"].enumerated() { try writer.append([Float(i), 1], path: "\(name)/\(i)", label: name) }
    #expect(try writer.remove(paths: ["gone"]) == 2)
    let before = LabelledRows(try FeatureBank(path: "\(folder)/bank"))
    #expect(before.classes == ["a", "m", "z"] && before.rows.map { before.labels[$0] } == [2, 0, 1] && before.labels[1] == nil)
    try writer.compact()
    let after = LabelledRows(try FeatureBank(path: "\(folder)/bank"))
    #expect(after.classes == before.classes && after.rows.map { after.labels[$0] } == [2, 0, 1])
  }

  /// Two folders of one text in two forms of Unicode are two classes, in memory and in a bank, as PyTorch has them.
  @Test func classesAreBytes() throws {
    let folder = try Fixtures.temporaryFolder().path, names = ["caf\u{E9}", "cafe\u{301}", "caf\u{E9}", "x"]
    defer { try? FileManager.default.removeItem(atPath: folder) }
    let features: [[Float]] = [[1, 0], [0, 1], [1, 0.1], [-1, -1]]
    // Each by a writer of its own, which reads what the others left.
    for (i, name) in names.enumerated() {
      let writer = try BankWriter(path: "\(folder)/bank", width: 2, element: .f32, record: BankRecord(model: "m", modelDigest: "", preprocessing: ""))
      try writer.append(features[i], path: "\(i)", label: name)
      try writer.flush()
    }
    for rows in [LabelledRows(try FeatureBank(path: "\(folder)/bank")), try LabelledRows(features: features, names: ["0", "1", "2", "3"], classNames: names)] {
      #expect(rows.classes.map { Array($0.utf8) } == ["cafe\u{301}", "caf\u{E9}", "x"].map { Array($0.utf8) })
      #expect(rows.labels == [1, 0, 1, 2])
      let report = try WeightedVote.classify(rows, by: rows, neighbours: [1], temperature: 0.07, threads: 1)[0]
      #expect(report.top1 == 1 && report.images.map(\.truth) == [1, 0, 1, 2])
      let classifier = LinearClassifier(classes: 3, width: 2, weights: [0, 1, 1, 0, -1, -1], bias: [0, 0, 0])
      #expect(classifier.evaluate(rows, classes: rows.classes, threads: 1).top1 == 1)
    }
  }

  @Test func aBankGivesTheSameAndOverlooksRemovedRows() throws {
    let json = Golden["knn"], folder = try Fixtures.temporaryFolder().path
    defer { try? FileManager.default.removeItem(atPath: folder) }
    let train = try labelled(json, "train"), test = try labelled(json, "test")
    let record = BankRecord(model: "m", modelDigest: "", preprocessing: "")
    let writer = try BankWriter(path: "\(folder)/bank", width: train.width, element: .f32, record: record)
    // A row that would change every answer, were it counted.
    for i in 0..<5 { try writer.append(test.feature(i), path: "bad/\(i)", label: "class\((json["test_labels"]!.integers[i] + 1) % 7)") }
    for row in train.rows { try writer.append(train.feature(row), path: "good/\(row)", label: train.classes[train.labels[row]!]) }
    _ = try writer.remove(paths: ["bad"])
    let banked = LabelledRows(try FeatureBank(path: "\(folder)/bank"))
    #expect(banked.classes == train.classes && banked.rows.count == train.rows.count)
    let a = try WeightedVote.classify(test, by: train, neighbours: [5, 20], temperature: 0.07, threads: 2)
    let b = try WeightedVote.classify(test, by: banked, neighbours: [5, 20], temperature: 0.07, threads: 2)
    for (x, y) in zip(a, b) { #expect(x.images.map(\.ranking) == y.images.map(\.ranking)) }
  }

  @Test func leavingOneOutAsksTheOthers() throws {
    // Two pairs and one alone: it can only be wrong.
    let rows = try LabelledRows(features: [[1, 0], [1, 0.1], [0, 1], [0.1, 1], [-1, 0]], names: ["a", "b", "c", "d", "e"], classNames: ["x", "x", "y", "y", "z"])
    let report = try WeightedVote.classify(rows, by: rows, neighbours: [1, 100], temperature: 0.07, leaveOneOut: true, threads: 1)
    #expect(report[0].images.map(\.isCorrect) == [true, true, true, true, false])
    #expect(WeightedVote.voters(of: rows, neighbours: 100, leaveOneOut: true) == 4 && WeightedVote.voters(of: rows, neighbours: 3) == 3)
    // Without it, everyone is his own nearest.
    #expect(try WeightedVote.classify(rows, by: rows, neighbours: [1], temperature: 0.07, threads: 1)[0].top1 == 1)
  }

  @Test func classesThatTrainingHasNotAreWrong() throws {
    let train = try LabelledRows(features: [[1, 0], [0, 1]], names: ["a", "b"], classNames: ["x", "y"])
    let test = try LabelledRows(features: [[1, 0], [1, 0], [0, 2]], names: ["c", "d", "e"], classNames: ["w", "x", nil])
    let report = try WeightedVote.classify(test, by: train, neighbours: [1], temperature: 0.07, threads: 1)[0]
    #expect(report.images.map(\.truth) == [nil, 0, nil] && report.images.map(\.isCorrect) == [false, true, false])
    #expect(throws: TaskError.self) { try WeightedVote.classify(train, by: test, neighbours: [1], temperature: 0.07, threads: 1) }
  }
}

@Suite struct DuplicateTests {
  @Test func copiesOfCopiesAreOneGroup() throws {
    func at(_ degrees: Double) -> [Float] { [Float(cos(degrees * .pi / 180)), Float(sin(degrees * .pi / 180))] }
    // 0 and 16 degrees are not alike enough themselves, but 8 is between them.
    let rows = try LabelledRows(features: [at(0), at(100), at(8), at(200), at(16), at(101), at(300)], names: (0..<7).map { "\($0)" }, classNames: [String?](repeating: nil, count: 7))
    let found = DuplicateGroups(rows, threshold: 0.98, threads: 2)
    #expect(found.groups == [[0, 2, 4], [1, 5]])
    #expect(found.pairs.map { [$0.first, $0.second] } == [[0, 2], [1, 5], [2, 4]])
    #expect(DuplicateGroups(rows, threshold: 0.999999, threads: 1).groups == [])
    // More copies than are looked at still come together.
    let many = try LabelledRows(features: (0..<100).map { at(0.01 * Double($0)) }, names: (0..<100).map { "\($0)" }, classNames: [String?](repeating: nil, count: 100))
    #expect(DuplicateGroups(many, threshold: 0.9999, neighbours: 2, threads: 2).groups == [Array(0..<100)])
  }

  /// Three crowds of equal rows, the second near enough to the first, the third to nobody; a row between them that is removed does not count.
  @Test(arguments: [1, 2, 32, 1000]) func groupsDoNotDependOnNeighbours(_ neighbours: Int) throws {
    func at(_ degrees: Double) -> [Float] { [Float(cos(degrees * .pi / 180)), Float(sin(degrees * .pi / 180))] }
    let folder = try Fixtures.temporaryFolder().path
    defer { try? FileManager.default.removeItem(atPath: folder) }
    var angles: [Double] = (0..<70).map { $0 % 2 == 0 ? 0 : 10 }
    angles.append(20)
    angles += [Double](repeating: 30, count: 40)
    let all = try LabelledRows(features: angles.map { at($0) }, names: angles.indices.map { "\($0)" }, classNames: [String?](repeating: nil, count: angles.count))
    #expect(DuplicateGroups(all, threshold: 0.98, neighbours: neighbours, threads: 2).groups == [Array(0..<111)])
    let writer = try BankWriter(path: "\(folder)/bank", width: 2, element: .f32, record: BankRecord(model: "m", modelDigest: "", preprocessing: ""))
    for (i, angle) in angles.enumerated() {
      try writer.append(at(angle), path: "\(i)", label: nil)
      if i == 30 { try writer.flush() }
    }
    _ = try writer.remove(paths: ["70"])
    let found = DuplicateGroups(LabelledRows(try FeatureBank(path: "\(folder)/bank")), threshold: 0.98, neighbours: neighbours, threads: 2)
    #expect(found.groups == [Array(0..<70), Array(71..<111)])
  }

  /// Many groups that are larger than what is looked at first ask again in one search; crowds in one each. Pairs have no further round.
  @Test func groupsAskAgainTogether() throws {
    func unit(_ axis: Int) -> [Float] { (0..<40).map { $0 == axis ? 1 : 0 } }
    func run(_ sizes: [Int], neighbours: Int) throws -> (groups: [[Int]], again: [Int], asked: Int) {
      let features = sizes.enumerated().flatMap { axis, size in [[Float]](repeating: unit(axis), count: size) }
      let rows = try LabelledRows(features: features, names: features.indices.map { "\($0)" }, classNames: [String?](repeating: nil, count: features.count))
      var again: [Int] = [], asked = 0
      let found = DuplicateGroups(rows, threshold: 0.98, neighbours: neighbours, threads: 2, again: { again.append($0) }, progress: { asked += $0 })
      return (found.groups, again, asked)
    }
    func expected(_ sizes: [Int]) -> [[Int]] {
      var first = 0
      return sizes.map { size in
        defer { first += size }
        return Array(first..<first + size)
      }
    }
    let pairs = [Int](repeating: 2, count: 40), groups = [Int](repeating: 40, count: 10), crowds = [150, 2, 300, 40]
    let a = try run(pairs, neighbours: 1), b = try run(groups, neighbours: 32), c = try run(crowds, neighbours: 32)
    #expect(a.groups == expected(pairs) && a.again == [] && a.asked == 80)
    #expect(b.groups == expected(groups) && b.again == [400] && b.asked == 800)
    #expect(c.groups == expected(crowds) && c.again == [490] && c.asked == 492 + 490)
  }
}
