// The measures of retrieval on sets whose answers are known, and against the original formulas; whitening, eigenvalues, pooled features, query expansion.

import DinoKernels
@testable import DinoTasks
import Foundation
import Safetensors
import TestSupport
import Testing

@Suite struct AveragePrecisionTests {
  @Test func knownAnswers() {
    #expect(AveragePrecision.trapezoid(ranks: [0, 1, 2], positives: 3) == 1)
    // One positive at the second place: precision 0 before it, 1/2 with it.
    #expect(AveragePrecision.trapezoid(ranks: [1], positives: 1) == 0.25)
    // Half of the positives never found.
    #expect(AveragePrecision.trapezoid(ranks: [0], positives: 2) == 0.5)
    #expect(AveragePrecision.trapezoid(ranks: [], positives: 4) == 0)
    #expect(AveragePrecision.trapezoid(ranks: [], positives: 0).isNaN)
    // Junk at places 0 and 2 does not count: the positives move up.
    #expect(AveragePrecision.ranks(in: [9, 4, 8, 5, 1], positives: [4, 5], junk: [9, 8]) == [0, 1])
    // With the last positive at place 2 of 3, precision at 5 is over 3.
    #expect(AveragePrecision.precision(ranks: [0, 2], at: 5) == 2.0 / 3)
    #expect(AveragePrecision.precision(ranks: [0, 2], at: 2) == 0.5)
  }

  @Test func equalTheOriginalFormulas() throws {
    let json = Golden["retrieval"], folder = try Fixtures.temporaryFolder()
    defer { try? FileManager.default.removeItem(at: folder) }
    // Through the file's form, as a person gives it.
    let path = folder.appendingPathComponent("gnd.json").path
    try json.text.write(toFile: path, atomically: true, encoding: .utf8)
    let truth = try RetrievalGroundTruth(path: path)
    let rankings = json["rankings"]!.arrayValue!.map(\.integers), ks = json["ks"]!.integers
    for setting in RetrievalGroundTruth.Setting.allCases {
      var scores = RetrievalScores(ks: ks)
      for (q, ranking) in rankings.enumerated() { scores.add(ranking, truth.truth(q, setting)) }
      let expected = json["scores"]![setting.rawValue]!
      #expect(abs(scores.meanAveragePrecision - expected["map"]!.doubleValue!) < 1e-12, "\(setting)")
      for (a, b) in zip(scores.precisions, expected["mp"]!.doubles) { #expect(abs(a - b) < 1e-12, "\(setting)") }
      #expect(scores.queries.map(\.isNaN) == truth.queries.indices.map { truth.truth($0, setting).positives.isEmpty })
    }
  }

  @Test func groundTruthsThatContradictThemselvesAreNamed() throws {
    let folder = try Fixtures.temporaryFolder()
    defer { try? FileManager.default.removeItem(at: folder) }
    let path = folder.appendingPathComponent("gnd.json").path
    for (text, sentence) in [
      ("{", "JSON"), (#"{"imlist":["a"],"qimlist":["q"]}"#, "'gnd'"), (#"{"imlist":[1],"qimlist":["q"],"gnd":[{}]}"#, "'imlist'"),
      (#"{"imlist":["a"],"qimlist":["q"],"gnd":[{"easy":[1]}]}"#, "'easy' of query 0"), (#"{"imlist":["a"],"qimlist":["q"],"gnd":[3]}"#, "query 0"),
      (#"{"imlist":["a"],"qimlist":["q"],"gnd":[{"easy":[0],"hard":[],"Junk":[]}]}"#, "no 'junk'"), (#"{"imlist":["a"],"qimlist":["q"],"gnd":[{"ok":[0],"junk":[]}]}"#, "gnd_roxford5k"),
    ] {
      try text.write(toFile: path, atomically: true, encoding: .utf8)
      let error = #expect(throws: TaskError.self) { _ = try RetrievalGroundTruth(path: path) }
      #expect(error?.description.contains(sentence) == true, "\(error?.description ?? "")")
    }
  }

  @Test func imagesOfAClassBelongTogether() {
    let truth = RetrievalGroundTruth(classesOf: [0, 1, 0, 0], names: ["a", "b", "c", "d"])
    #expect((0..<4).map { truth.truth($0, .hard).positives } == [[2, 3], [], [0, 3], [0, 2]])
    #expect((0..<4).map { truth.truth($0, .hard).junk } == [[0], [1], [2], [3]])
    // The query itself comes first in its ranking and does not count.
    var scores = RetrievalScores(ks: [1])
    for (q, ranking) in [[0, 2, 3, 1], [1, 0, 2, 3], [2, 1, 0, 3], [3, 0, 2, 1]].enumerated() { scores.add(ranking, truth.truth(q, .hard)) }
    #expect(scores.queries[0] == 1 && scores.queries[1].isNaN && scores.queries[2] < 1 && scores.queries[3] == 1)
    #expect(abs(scores.precisions[0] - 2.0 / 3) < 1e-12)
  }

  /// A set for each of 20,000 images of one class would be 400 million numbers.
  @Test func imagesOfAClassShareTheirSet() {
    let count = 20_000, truth = RetrievalGroundTruth(classesOf: [Int](repeating: 0, count: count), names: [String](repeating: "", count: count))
    let last = truth.truth(count - 1, .hard)
    #expect(last.positives.count == count - 1 && !last.positives.contains(count - 1) && last.junk == [count - 1])
  }

  /// Runs of queries are those that a search takes together, and have the bits of all at once.
  @Test func rankingsComeInBatches() throws {
    for (count, atOnce) in [(0, 8), (1, 8), (5, 1), (9, 8), (1024, 100), (1025, 8), (1030, 8), (5000, 4000)] {
      let batches = Ranker.batches(count, atOnce: atOnce)
      #expect(batches.flatMap { Array($0) } == Array(0..<count))
      #expect(batches.allSatisfy { !$0.isEmpty && $0.count <= max(atOnce, 8) && $0.lowerBound / 1024 == ($0.upperBound - 1) / 1024 })
      #expect(batches.allSatisfy { $0.count >= 4 || $0.count == (count - $0.lowerBound / 1024 * 1024) })
    }
    var random = SplitMix64(seed: 6)
    let features = (0..<1027).map { _ in random.floats(5) }, ranker = try Ranker(features, threads: 2)
    let rows = try LabelledRows(features: features, names: features.map { _ in "" }, classNames: features.map { _ in nil })
    let expected = RowSearch.nearest(rows.parts, to: features.flatMap { unitVector($0).values }, width: 5, k: 1027, team: .shared(2))
    var found: [[FoundRow]] = [], rankings: [[Int]] = []
    ranker.nearest(features, count: 1027) { q, answers in
      #expect(q == found.count)
      found.append(answers)
    }
    ranker.rankings(Array(features[..<3])) { rankings.append($1) }
    #expect(found == expected && rankings == expected[..<3].map { $0.map(\.row) })
  }
}

@Suite struct WhiteningTests {
  @Test func equalsTheOfficialWhitening() throws {
    let json = Golden["whitening"], width = json["width"]!.integerValue!
    let whitening = try Whitening(json["features"]!.rows(width))
    let asked = json["asked"]!.rows(width).map { whitening.apply($0).map { Double($0) } }
    let expected = json["products"]!.doubles
    for i in asked.indices {
      for j in asked.indices {
        let product = zip(asked[i], asked[j]).reduce(0) { $0 + $1.0 * $1.1 }
        #expect(abs(product - expected[i * asked.count + j]) < 1e-4 * max(1, abs(expected[i * asked.count + j])))
      }
    }
  }
}

@Suite struct FeatureMakingTests {
  @Test func classAndGeMAreTheOfficialOnes() {
    let json = Golden["gem"]
    #expect(maxAbsoluteDifference(CopyFeature.classAndGeM(tokens: json["tokens"]!.floats, width: 5), json["feature"]!.floats) < 1e-5)
  }

  @Test func expandedQueriesLeanTowardsTheirAnswers() throws {
    #expect(QueryExpansion.expand([1, 0], answers: [([0, 1], 0.5)], alpha: 0).map { ($0 * 1000).rounded() } == [707, 707])
    let leaning = QueryExpansion.expand([1, 0], answers: [([0, 1], 0.5), ([0, 1], -1)], alpha: 1)
    #expect(abs(leaning[1] / leaning[0] - 0.5) < 1e-6)
    // A query that is a row does not answer itself.
    let ranker = try Ranker([[1, 0], [0.8, 0.6], [0, 1]], threads: 1)
    let expanded = ranker.expanded([[1, 0]], answers: 1, alpha: 0, isItself: true)[0]
    #expect(abs(expanded[1] / expanded[0] - 0.6 / 1.8) < 1e-6)
    ranker.rankings([[0, 3]]) { #expect($0 == 0 && $1 == [2, 1, 0]) }
    // More answers than there are rows are all of them.
    #expect(ranker.expanded([[1, 0]], answers: .max, alpha: 0, isItself: true) == ranker.expanded([[1, 0]], answers: 2, alpha: 0, isItself: true))
  }
}
