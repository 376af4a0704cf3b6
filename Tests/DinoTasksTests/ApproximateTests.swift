// The graph of approximate search: it finds what exact search finds, in every kind of row; it comes back from its file; a graph of other rows, and links that lead anywhere, are refused.

import DinoKernels
@testable import DinoTasks
import DinoTensor
import Foundation
import Safetensors
import TestSupport
import Testing

private let record = BankRecord(model: "m.pth", modelDigest: String(repeating: "a", count: 64), preprocessing: "shorter side 256 bicubic")

@Suite struct ApproximateTests {
  private static func inFolder(_ body: (String) throws -> Void) throws {
    let folder = try Fixtures.temporaryFolder()
    defer { try? FileManager.default.removeItem(at: folder) }
    try body(folder.appendingPathComponent("bank").path)
  }

  /// Rows around thirty points, in two segments.
  private static func fill(_ path: String, _ count: Int = 700, width: Int = 37, element: BankElement = .f32, seed: UInt64 = 1) throws -> FeatureBank {
    var random = SplitMix64(seed: seed)
    let centres = (0..<30).map { _ in random.floats(width) }
    let writer = try BankWriter(path: path, width: width, element: element, record: record)
    for i in 0..<count {
      try writer.append(zip(centres[i % 30], random.floats(width)).map { $0 + 0.4 * $1 }, path: "\(i).jpg", label: nil)
      if i == count / 3 { try writer.flush() }
    }
    try writer.flush()
    return try FeatureBank(path: path)
  }

  private static func index(_ bank: FeatureBank, threads: Int = 2, links: Int = 8) throws -> ApproximateIndex {
    var made = try ApproximateIndex(building: bank, links: links, breadth: 60, threads: threads) { _ in }
    _ = try made.measure(bank, samples: 30, wanted: 0.9, threads: 1, clock: { 0 })
    return made
  }

  @Test(arguments: BankElement.allCases, [1, 3]) func findsWhatExactSearchFinds(_ element: BankElement, _ threads: Int) throws {
    try Self.inFolder { path in
      let bank = try Self.fill(path, element: element)
      var index = try Self.index(bank, threads: threads), random = SplitMix64(seed: 4), added = 0
      _ = try ApproximateIndex(building: bank, links: 4, breadth: 10, threads: threads) { added += $0 }
      #expect(added == 700)
      // As broad as the bank: nothing is missed, and scores are those of exact search, to the rounding of sums in another order (of integers for int8 among themselves: nothing here).
      let queries = (0..<9).map { _ in random.floats(37) }
      let exact = try bank.nearest(to: queries, k: 10, threads: 1), found = try index.nearest(to: queries, k: 10, breadth: 700, threads: threads)
      for (a, b) in zip(exact, found) {
        #expect(b.count == 10 && zip(a, b).allSatisfy { abs($0.score - $1.score) < 2e-6 })
        #expect(zip(b, b.dropFirst()).allSatisfy { $0.score >= $1.score })
        #expect(Set(a.map(\.row)).intersection(b.map(\.row)).count >= 9)
      }
      var tick = 0.0
      let (measures, exactMilliseconds) = try index.measure(bank, samples: 50, wanted: 0.9, threads: 2, clock: { tick += 1; return tick })
      #expect(measures.map(\.breadth) == Array(ApproximateIndex.breadths.prefix(measures.count)) && measures.last == index.chosen && exactMilliseconds > 0)
      #expect(index.chosen.recall >= 0.9 && measures.dropLast().allSatisfy { $0.recall < 0.9 })
      // Rows ask for their neighbours without themselves: by hand.
      let rows = (0..<50).map { $0 * 14 }
      let truth = try bank.nearest(to: rows.map { bank.unit($0) }, k: 11, threads: 1), answers = try index.nearest(to: rows.map { bank.unit($0) }, k: 11, breadth: index.chosen.breadth, threads: 1)
      let common = rows.indices.reduce(0) { sum, i in sum + Set(truth[i].map(\.row).filter { $0 != rows[i] }.prefix(10)).intersection(answers[i].map(\.row).filter { $0 != rows[i] }.prefix(10)).count }
      #expect(abs(Double(common) / 500 - index.chosen.recall) < 1e-12)
    }
  }

  /// One thread builds the same graph each time.
  @Test func oneThreadBuildsTheSameFile() throws {
    try Self.inFolder { path in
      let bank = try Self.fill(path), file = "\(path)/\(ApproximateIndex.fileName)"
      let bytes = try (0..<2).map { _ in
        try Self.index(bank, threads: 1).write(to: bank)
        return try Data(contentsOf: URL(fileURLWithPath: file))
      }
      #expect(bytes[0] == bytes[1] && bytes[0].count > 700 * 17 * 4)
    }
  }

  @Test(arguments: BankElement.allCases) func comesBackFromItsFile(_ element: BankElement) throws {
    try Self.inFolder { path in
      let bank = try Self.fill(path, element: element)
      #expect(try ApproximateIndex(of: bank) == nil)
      var made = try Self.index(bank)
      _ = try made.measure(bank, samples: 30, wanted: 0.9, threads: 1, clock: { 0 })
      try made.write(to: bank)
      let read = try #require(try ApproximateIndex(of: bank))
      #expect(read.links == 8 && read.chosen == made.chosen)
      var random = SplitMix64(seed: 6)
      let queries = (0..<20).map { _ in random.floats(37) }
      for breadth in [1, 16, 100] { #expect(try read.nearest(to: queries, k: 5, breadth: breadth, threads: 2) == made.nearest(to: queries, k: 5, breadth: breadth, threads: 1)) }
      #expect(throws: TaskError.self) { try read.nearest(to: [[1, 2]], k: 1, threads: 1) }
    }
  }

  /// Removed rows are no answers, whether they were removed before or after; added and moved ones make the graph stale.
  @Test func keepsUpWithTheBankOrSaysThatItDoesNot() throws {
    try Self.inFolder { path in
      let bank = try Self.fill(path)
      try Self.index(bank).write(to: bank)
      #expect(try BankWriter(existing: path).remove(paths: (0..<350).map { "\($0 * 2).jpg" }) == 350)
      let less = try FeatureBank(path: path), read = try #require(try ApproximateIndex(of: less)), rebuilt = try Self.index(less)
      for index in [read, rebuilt] {
        let found = try index.nearest(to: [bank.unit(100), bank.unit(301)], k: 50, breadth: 700, threads: 1)
        #expect(found.allSatisfy { $0.count == 50 && $0.allSatisfy { $0.row % 2 == 1 } })
        #expect(found[1][0].row == 301)
      }
      func isStale() throws { #expect(throws: TaskError.staleIndex(path: "\(path)/\(ApproximateIndex.fileName)")) { try ApproximateIndex(of: FeatureBank(path: path)) } }
      let writer = try BankWriter(path: path, width: 37, element: nil, record: record)
      try writer.append([Float](repeating: 1, count: 37), path: "new.jpg", label: nil)
      try writer.flush()
      try isStale()
      try Self.index(FeatureBank(path: path)).write(to: FeatureBank(path: path))
      #expect(try ApproximateIndex(of: FeatureBank(path: path)) != nil)
      try writer.compact()
      try isStale()
      // A graph of another bank of the same size and names.
      try Self.inFolder { other in
        let one = try Self.fill(other, seed: 2), two = try FeatureBank(path: other)
        try Self.index(one).write(to: two)
        let third = "\(other)-3"
        defer { try? FileManager.default.removeItem(atPath: third) }
        let same = try Self.fill(third, seed: 3)
        try FileManager.default.copyItem(atPath: "\(other)/\(ApproximateIndex.fileName)", toPath: "\(third)/\(ApproximateIndex.fileName)")
        #expect(throws: TaskError.staleIndex(path: "\(third)/\(ApproximateIndex.fileName)")) { try ApproximateIndex(of: same) }
      }
    }
  }

  /// A file with the right digest and anything else in it: refused with a sentence, or searched without leaving the rows.
  @Test func hostileFilesAreRefused() throws {
    try Self.inFolder { path in
      let bank = try Self.fill(path, 200), file = "\(path)/\(ApproximateIndex.fileName)"
      try Self.index(bank).write(to: bank)
      let good = try SafetensorsFile(path: file), record = try #require(good.metadata["dino.approximate"])
      let levels = [UInt8](try #require(good.tensor("levels")).unsafeBytes)
      func words(_ name: String) throws -> [UInt32] { let t = try #require(good.tensor(name)); return (0..<t.count).map { t.unsafeBytes.loadUnaligned(fromByteOffset: 4 * $0, as: UInt32.self) } }
      let ground = try words("ground"), upper = try words("upper")
      #expect(levels.contains { $0 > 0 } && ground.count == 200 * 16)
      struct Parts { var levels: [UInt8]; var ground: [UInt32]; var upper: [UInt32]; var groundShape: Shape; var upperShape: Shape; var record: String }
      func write(_ change: (inout Parts) -> Void) throws {
        var p = Parts(levels: levels, ground: ground, upper: upper, groundShape: [200, 16], upperShape: [upper.count / 8, 8], record: record)
        change(&p)
        try SafetensorsWriter.write([("levels", Tensor.copy(p.levels, dtype: .u8, shape: [p.levels.count])), ("ground", Tensor.copy(p.ground, dtype: .u32, shape: p.groundShape)),
                                     ("upper", Tensor.copy(p.upper, dtype: .u32, shape: p.upperShape))], metadata: ["format": "pt", "dino.approximate": p.record], to: file)
      }
      try write { _ in }
      #expect(try ApproximateIndex(of: bank) != nil)
      func replaced(_ key: String, _ value: String) -> String {
        record.replacingOccurrences(of: try! Regex("\"\(key)\":[^,}]*").firstMatch(in: record).map { String(record[$0.range]) } ?? "?", with: "\"\(key)\":\(value)")
      }
      let low = try #require(levels.firstIndex(of: 0)), high = try #require(levels.firstIndex { $0 > 0 })
      let changes: [(String, (inout Parts) -> Void)] = [
        ("a link beyond the rows", { $0.ground[3 * 16] = 200 }), ("a link far beyond", { $0.ground[3 * 16] = .max - 1 }),
        ("a link to a row that is not on the level", { $0.upper[levels[..<high].reduce(0) { $0 + Int($1) } * 8] = UInt32(low) }),
        ("a level that has no lists", { $0.levels[low] = 1 }), ("a level too high", { $0.levels[low] = 255 }), ("levels of fewer rows", { $0.levels.removeLast() }),
        ("an entry beyond", { $0.record = replaced("entry", "200") }), ("an entry before", { $0.record = replaced("entry", "-1") }), ("an entry on the ground", { $0.record = replaced("entry", "\(low)") }),
        ("a list too wide", { $0.groundShape = [100, 32] }), ("lists of nothing", { ($0.ground, $0.groundShape) = ([], [200, 0]) }), ("another width above", { $0.upperShape = [$0.upper.count / 4, 4] }),
        ("another version", { $0.record = replaced("version", "2") }), ("a breadth of nothing", { $0.record = replaced("breadth", "0") }), ("no record", { $0.record = "{" }),
        ("another bank", { $0.record = replaced("bank", "\"0\"") }),
      ]
      for (what, change) in changes {
        try write(change)
        #expect(throws: TaskError.self, "\(what)") { try ApproximateIndex(of: bank) }
      }
      // Links that are rows, but no graph: answers are poor, nothing else happens.
      var random = SplitMix64(seed: 9)
      try write { p in for i in p.ground.indices { p.ground[i] = UInt32.random(in: 0..<200, using: &random) } }
      #expect(try #require(try ApproximateIndex(of: bank)).nearest(to: [bank.unit(0)], k: 10, threads: 1)[0].count <= 10)
      try write { p in for i in p.ground.indices { p.ground[i] = .max } }
      #expect(try #require(try ApproximateIndex(of: bank)).nearest(to: [bank.unit(0)], k: 10, threads: 1)[0].count == 1)
      // Cut off and random bytes.
      try write { _ in }
      let whole = try Data(contentsOf: URL(fileURLWithPath: file))
      for length in [0, 7, 100, whole.count / 2, whole.count - 1] {
        try whole.prefix(length).write(to: URL(fileURLWithPath: file))
        #expect(throws: TaskError.self) { try ApproximateIndex(of: bank) }
      }
      for _ in 0..<300 {
        var bytes = [UInt8](whole)
        for _ in 0..<Int.random(in: 1...40, using: &random) { bytes[Int.random(in: 0..<bytes.count, using: &random)] = UInt8.random(in: 0...255, using: &random) }
        try Data(bytes).write(to: URL(fileURLWithPath: file))
        if let index = try? ApproximateIndex(of: bank) { _ = try index.nearest(to: [bank.unit(1)], k: 10, breadth: 50, threads: 1) }
      }
    }
  }

  @Test func smallBanks() throws {
    try Self.inFolder { path in
      let bank = try Self.fill(path, 2)
      var index = try Self.index(bank)
      #expect(try index.nearest(to: [bank.unit(1)], k: 10, breadth: 10, threads: 1)[0].map(\.row) == [1, 0])
      let (measures, _) = try index.measure(bank, samples: 10, wanted: 0.95, threads: 1, clock: { 0 })
      #expect(measures.count == 1 && measures[0].recall == 1)
      try index.write(to: bank)
      #expect(try ApproximateIndex(of: bank)?.nearest(to: [bank.unit(0)], k: 2, threads: 1)[0].map(\.row) == [0, 1])
    }
  }
}
