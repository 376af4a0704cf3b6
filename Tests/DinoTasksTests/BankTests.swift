// A bank through its life: made, added to, searched, removed from, compacted, exported; refused where it is damaged or of other features; opened quickly however large.

import DinoKernels
import DinoTasks
import DinoTensor
import Foundation
import NumPyArrays
import Safetensors
import Synchronization
import TestSupport
import Testing

private let record = BankRecord(model: "m.pth", modelDigest: String(repeating: "a", count: 64), preprocessing: "shorter side 256 bicubic")

private struct Folder {
  let path: String
  init() throws { path = try Fixtures.temporaryFolder().path }
  var bank: String { "\(path)/bank" }
  func remove() { try? FileManager.default.removeItem(atPath: path) }
  func listing() throws -> [String] { try FileManager.default.contentsOfDirectory(atPath: bank).sorted() }
  func text(_ name: String) throws -> String { try String(contentsOfFile: "\(path)/\(name)", encoding: .utf8) }
}

private func fill(_ path: String, _ features: [[Float]], element: BankElement = .f32, from first: Int = 0) throws {
  let writer = try BankWriter(path: path, width: features[0].count, element: element, record: record)
  for (i, f) in features.enumerated() { try writer.append(f, path: "photos/\((first + i) % 3)/\(first + i).jpg", label: "class \((first + i) % 3)") }
  try writer.flush()
}

@Suite struct BankTests {
  @Test(arguments: [(BankElement.f32, 1e-6), (.f16, 1e-3), (.int8, 1e-2)]) func holdsWhatWasPutIn(_ element: BankElement, _ tolerance: Double) throws {
    let folder = try Folder()
    defer { folder.remove() }
    var random = SplitMix64(seed: 1)
    let features = (0..<40).map { _ in random.floats(48, in: -3...3) }
    try fill(folder.bank, Array(features[..<25]), element: element)
    try fill(folder.bank, Array(features[25...]), element: element, from: 25)
    let bank = try FeatureBank(path: folder.bank)
    #expect(bank.rowCount == 40 && bank.liveCount == 40 && bank.width == 48 && bank.segmentCount == 2 && bank.record == record)
    for (i, f) in features.enumerated() {
      let stored = bank.feature(i), length = f.reduce(0) { $0 + Double($1) * Double($1) }.squareRoot()
      #expect(zip(stored, f).allSatisfy { abs(Double($0) - Double($1)) < tolerance * length }, "row \(i)")
      #expect(bank.path(i) == "photos/\(i % 3)/\(i).jpg")
      #expect(bank.label(i).map { bank.classes[$0] } == "class \(i % 3)")
    }
    let found = try bank.nearest(to: [features[7].map { $0 * 5 }], k: 3, threads: 2)[0]
    #expect(found[0].row == 7 && abs(found[0].score - 1) < Float(tolerance) * 2)
  }

  /// A writer that was killed while it made a bank leaves its lock and a manifest that has not its name yet; one that is alive has them too, and is not disturbed.
  @Test func aBankBeginsWhereItsFirstWriterWasKilled() throws {
    let folder = try Folder()
    defer { folder.remove() }
    try FileManager.default.createDirectory(atPath: folder.bank, withIntermediateDirectories: true)
    for name in ["lock", "bank.json.4711-0.tmp"] { try Data().write(to: URL(fileURLWithPath: "\(folder.bank)/\(name)")) }
    let lock = open("\(folder.bank)/lock", O_RDWR)
    let isLocked = flock(lock, LOCK_EX | LOCK_NB) == 0
    try #require(isLocked)
    #expect(throws: TaskError.bankIsBusy(path: folder.bank)) { try fill(folder.bank, [[1, 2]]) }
    #expect(try folder.listing() == ["bank.json.4711-0.tmp", "lock"])
    close(lock)
    try fill(folder.bank, [[1, 2]])
    #expect(try FeatureBank(path: folder.bank).rowCount == 1)
    #expect(try !folder.listing().contains { $0.hasSuffix(".tmp") })
    // Anybody's other file makes it another folder, which gets nothing.
    let other = "\(folder.path)/other"
    try FileManager.default.createDirectory(atPath: other, withIntermediateDirectories: true)
    try Data().write(to: URL(fileURLWithPath: "\(other)/notes.tmp"))
    #expect(throws: TaskError.bankExists(path: other)) { try fill(other, [[1, 2]]) }
    #expect(try FileManager.default.contentsOfDirectory(atPath: other) == ["notes.tmp"])
  }

  @Test func removedRowsAreGoneAndCompactingForgetsThem() throws {
    let folder = try Folder()
    defer { folder.remove() }
    var random = SplitMix64(seed: 2)
    let features = (0..<130).map { _ in random.floats(8) }
    for i in stride(from: 0, to: 130, by: 65) { try fill(folder.bank, Array(features[i..<i + 65]), from: i) }
    let writer = try BankWriter(existing: folder.bank)
    var unmatched: [String] = []
    let removed = try writer.remove(paths: ["photos/1/1.jpg", "photos/2/", "nothing/here.jpg"]) { unmatched.append($0) }
    #expect(removed == 1 + 43 && unmatched == ["nothing/here.jpg"])
    #expect(try writer.remove(paths: ["photos/2"]) == 0)
    var bank = try FeatureBank(path: folder.bank)
    #expect(bank.rowCount == 130 && bank.liveCount == 86 && bank.isRemoved(1) && bank.isRemoved(2) && !bank.isRemoved(0))
    #expect(try bank.nearest(to: [features[1]], k: 200, threads: 1)[0].allSatisfy { !bank.isRemoved($0.row) })
    #expect(try writer.remove(paths: ["photos/0/0.jpg"]) == 1)
    // The bits of before are not kept.
    #expect(try folder.listing().filter { $0.hasPrefix("removed") }.count == 2)
    let kept = try FeatureBank(path: folder.bank)
    let rows = kept.liveRows.map { (kept.path($0), kept.unit($0), kept.label($0)) }
    try writer.compact()
    bank = try FeatureBank(path: folder.bank)
    #expect(bank.rowCount == 85 && bank.liveCount == 85 && bank.segmentCount == 1)
    #expect(try folder.listing() == ["bank.json", "lock", bank.segmentCount == 1 ? try folder.listing().first { $0.hasPrefix("segment") }! : ""])
    for (i, row) in rows.enumerated() { #expect(bank.path(i) == row.0 && bank.unit(i) == row.1 && bank.label(i) == row.2) }
    // Names of files are never used again, and an emptied bank is a bank.
    #expect(try writer.remove(paths: ["photos"]) == 85)
    try writer.compact()
    #expect(try FeatureBank(path: folder.bank).rowCount == 0)
  }

  @Test(arguments: BankElement.allCases) func compactingKeepsRowsToTheirLastBits(_ element: BankElement) throws {
    let folder = try Folder()
    defer { folder.remove() }
    var random = SplitMix64(seed: 3)
    try fill(folder.bank, (0..<20).map { _ in random.floats(64) }, element: element)
    let before = try FeatureBank(path: folder.bank)
    let rows = (0..<20).map { before.unit($0) }
    try BankWriter(existing: folder.bank).compact(segmentBytes: 700)
    let after = try FeatureBank(path: folder.bank)
    #expect(after.segmentCount > 1)
    for i in 0..<20 { #expect(after.unit(i) == rows[i]) }
  }

  /// Rounded a row is not of length 1: its scale makes it that, so that a copy scores 1 and no row more.
  @Test(arguments: [BankElement.int8, .f16]) func roundedRowsAreOfLengthOne(_ element: BankElement) throws {
    let folder = try Folder()
    defer { folder.remove() }
    var random = SplitMix64(seed: 5)
    var features = (0..<30).map { _ in random.floats(24, in: -3...3) }
    features.append([Float](repeating: 0, count: 24))
    try fill(folder.bank, features, element: element)
    for isCompacted in [false, true] {
      if isCompacted { try BankWriter(existing: folder.bank).compact() }
      let bank = try FeatureBank(path: folder.bank)
      for i in 0..<30 {
        let unit = bank.unit(i), length = unit.reduce(0) { $0 + Double($1) * Double($1) }.squareRoot()
        #expect(abs(length - 1) < 1e-6, "row \(i)")
        let stored = try bank.nearest(to: [unit], k: 1, threads: 1)[0][0], fresh = try bank.nearest(to: [features[i]], k: 1, threads: 1)[0][0]
        #expect(stored.row == i && abs(stored.score - 1) < 1e-6, "row \(i)")
        #expect(fresh.row == i && fresh.score > 0.9995 && fresh.score < 1 + 1e-6, "row \(i)")
      }
      #expect(bank.unit(30).allSatisfy { $0 == 0 })
      try bank.exportNumPy(to: "\(folder.path)/b.npy", names: "\(folder.path)/b.paths.txt")
      let exported = try NumPyArray.read(path: "\(folder.path)/b.npy").floats(), stored = (0..<31).flatMap { bank.unit($0) }
      #expect(exported == stored)
    }
  }

  @Test func compactingDropsClassesWithoutRows() throws {
    let folder = try Folder()
    defer { folder.remove() }
    var random = SplitMix64(seed: 6)
    try fill(folder.bank, (0..<9).map { _ in random.floats(4) })
    let writer = try BankWriter(existing: folder.bank)
    #expect(try writer.remove(paths: ["photos/0"]) == 3)
    try writer.compact()
    let compacted = try FeatureBank(path: folder.bank)
    #expect(compacted.classes == ["class 1", "class 2"])
    for row in compacted.liveRows {
      let label = try #require(compacted.label(row))
      #expect(compacted.path(row).hasPrefix("photos/\(label + 1)/"))
    }
    // Classes that come afterwards are told from those that stayed.
    for name in ["class 0", "class 2"] { try writer.append([1, 0, 0, 0], path: name, label: name) }
    try writer.flush()
    let later = try FeatureBank(path: folder.bank)
    #expect(later.classes == ["class 1", "class 2", "class 0"])
    #expect(later.label(6) == 2 && later.label(7) == 1)
  }

  @Test func otherFeaturesAreRefusedWithASentence() throws {
    let folder = try Folder()
    defer { folder.remove() }
    try fill(folder.bank, [[1, 2, 3]])
    var others: [(BankRecord, String)] = []
    for what in ["model", "preprocessing", "choice of tokens", "number of layers"] {
      var other = record
      switch what {
      case "model": other.modelDigest = String(repeating: "b", count: 64)
      case "preprocessing": other.preprocessing = "448x448 bilinear"
      case "choice of tokens": other.tokens = "mean"
      default: other.layers = 4
      }
      others.append((other, what))
    }
    for (other, what) in others {
      let error = #expect(throws: TaskError.self) { _ = try BankWriter(path: folder.bank, width: 3, element: nil, record: other) }
      #expect(error?.description.contains("another \(what)") == true, "\(error?.description ?? "")")
    }
    var same = record
    same.precision = "int8"
    same.model = "renamed.pth"
    _ = try BankWriter(path: folder.bank, width: 3, element: nil, record: same)
    #expect(throws: TaskError.width(name: folder.bank, expected: 3, found: 4)) { _ = try BankWriter(path: folder.bank, width: 4, element: nil, record: record) }
    #expect(throws: TaskError.self) { _ = try BankWriter(path: folder.bank, width: 3, element: .int8, record: record) }
  }

  @Test func oneWriterAtATime() throws {
    let folder = try Folder()
    defer { folder.remove() }
    let writer = try BankWriter(path: folder.bank, width: 2, element: .f32, record: record)
    #expect(throws: TaskError.bankIsBusy(path: folder.bank)) { _ = try BankWriter(path: folder.bank, width: 2, element: .f32, record: record) }
    try writer.append([1, 0], path: "a", label: nil)
    // Reading is always possible, and sees nothing that is not finished.
    #expect(try FeatureBank(path: folder.bank).rowCount == 0)
    try writer.flush()
    #expect(try FeatureBank(path: folder.bank).rowCount == 1)
  }

  @Test func whatAKilledWriterLeftIsSweptAway() throws {
    let folder = try Folder()
    defer { folder.remove() }
    try fill(folder.bank, [[1, 0]])
    for name in ["segment-000009.safetensors", "removed-000010.safetensors", "segment-000011.safetensors.1-0.tmp", "bank.json.1-0.tmp", "mine.txt"] {
      try Data([1, 2]).write(to: URL(fileURLWithPath: "\(folder.bank)/\(name)"))
    }
    #expect(try FeatureBank(path: folder.bank).rowCount == 1)
    _ = try BankWriter(existing: folder.bank)
    #expect(try folder.listing() == ["bank.json", "lock", "mine.txt", "segment-000001.safetensors"])
  }

  @Test func failedWorkIsTakenBack() throws {
    let folder = try Folder()
    defer { folder.remove() }
    do {
      let writer = try BankWriter(path: folder.bank, width: 2, element: .f32, record: record)
      #expect(throws: TaskError.notFinite(name: "x")) { try writer.append([.nan, 0], path: "x", label: nil) }
      // Finite numbers of infinite length.
      #expect(throws: TaskError.notFinite(name: "x")) { try writer.append([3e38, -3e38], path: "x", label: nil) }
      #expect(throws: TaskError.width(name: "x", expected: 2, found: 3)) { try writer.append([1, 2, 3], path: "x", label: nil) }
      writer.abandonIfEmpty()
    }
    #expect(!FileManager.default.fileExists(atPath: folder.bank))
    try fill(folder.bank, [[1, 0], [0, 1]])
    let before = try folder.text("bank/bank.json")
    let writer = try BankWriter(existing: folder.bank)
    try writer.append([1, 1], path: "new", label: "new")
    try writer.flush()
    try writer.rollBack()
    // Names of files are not used again: a reader may have opened those that went.
    func withoutNext(_ text: String) -> String { text.replacing(/"next":[0-9]+/, with: "") }
    #expect(try withoutNext(folder.text("bank/bank.json")) == withoutNext(before))
    #expect(try folder.listing() == ["bank.json", "lock", "segment-000001.safetensors"])
    try writer.append([2, 1], path: "newer", label: nil)
    try writer.flush()
    #expect(try folder.listing().last == "segment-000003.safetensors")
  }

  @Test func aRowIsRemovedOnce() throws {
    let folder = try Folder()
    defer { folder.remove() }
    try fill(folder.bank, [[1, 0], [0, 1], [1, 1]])
    let writer = try BankWriter(existing: folder.bank)
    #expect(try writer.remove(rows: [1, 1]) == 1)
    #expect(try FeatureBank(path: folder.bank).liveRows == [0, 2])
    #expect(try writer.remove(rows: [0, 1, 1]) == 1)
    #expect(try FeatureBank(path: folder.bank).liveRows == [2])
  }

  /// A row that takes the place of another does so in one change, or not at all.
  @Test func replacedRowsGoWhenTheirSuccessorsCome() throws {
    let folder = try Folder()
    defer { folder.remove() }
    try fill(folder.bank, [[1, 0], [0, 1], [1, 1]])
    let writer = try BankWriter(existing: folder.bank)
    try writer.append([5, 1], path: "photos/1/1.jpg", label: "class 1", replacing: 1)
    #expect(try FeatureBank(path: folder.bank).liveRows == [0, 1, 2])
    try writer.flush()
    let bank = try FeatureBank(path: folder.bank)
    #expect(bank.liveRows == [0, 2, 3] && bank.name(3) == "photos/1/1.jpg")
    try writer.append([7, 1], path: "photos/0/0.jpg", label: "class 0", replacing: 0)
    try writer.rollBack()
    try writer.flush()
    #expect(try FeatureBank(path: folder.bank).liveRows == [0, 1, 2])
  }

  /// Long work that is stopped leaves the bank as it was, and no file of its own.
  @Test func workThatIsStoppedLeavesNothing() throws {
    let folder = try Folder()
    defer { folder.remove() }
    try fill(folder.bank, (0..<40).map { [Float($0), 1] })
    let writer = try BankWriter(existing: folder.bank), before = try folder.text("bank/bank.json"), listing = try folder.listing()
    #expect(throws: TaskError.stopped) { try writer.compact(segmentBytes: 100) { $0 < 30 } }
    #expect(try folder.text("bank/bank.json") == before && folder.listing() == listing)
    let bank = try FeatureBank(path: folder.bank)
    #expect(throws: TaskError.stopped) { try bank.exportNumPy(to: "\(folder.path)/b.npy", names: "\(folder.path)/b.paths.txt") { $0 < 30 } }
    #expect(throws: TaskError.stopped) { try bank.exportPostgres(to: "\(folder.path)/b.copy", sql: "\(folder.path)/b.sql", table: "t") { $0 < 30 } }
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path) == ["bank"])
    var asked = 0
    try writer.compact {
      asked = $0
      return true
    }
    #expect(asked == 40)
  }

  /// A reader that comes while a writer replaces files reads the bank as it is then.
  @Test func readersFollowTheWriter() throws {
    let folder = try Folder()
    defer { folder.remove() }
    try fill(folder.bank, (0..<30).map { [Float($0), 1] })
    let writer = try BankWriter(existing: folder.bank), isDone = Atomic<Bool>(false)
    let reader = Thread { [bank = folder.bank] in
      for _ in 0..<300 {
        do { #expect(try FeatureBank(path: bank).liveCount == 30) } catch { Issue.record("\(error)") }
      }
      isDone.store(true, ordering: .releasing)
    }
    reader.start()
    while !isDone.load(ordering: .acquiring) { try writer.compact(segmentBytes: 200) }
  }

  /// Rows whose names lead from one folder come into one segment, however they took turns.
  @Test func compactingSortsByWhereNamesLeadFrom() throws {
    let folder = try Folder()
    defer { folder.remove() }
    let writer = try BankWriter(path: folder.bank, width: 2, element: .f32, record: record)
    for i in 0..<6 {
      writer.namesArePaths = i % 2 == 0
      try writer.append([Float(i), 1], path: "\(i).jpg", label: nil)
      try writer.flush()
    }
    #expect(try FeatureBank(path: folder.bank).segmentCount == 6)
    try writer.compact()
    let bank = try FeatureBank(path: folder.bank)
    #expect(bank.segmentCount == 2 && bank.liveRows.map { bank.name($0) } == ["0.jpg", "2.jpg", "4.jpg", "1.jpg", "3.jpg", "5.jpg"])
  }

  /// The marks that a removal replaced are there until it cannot be taken back any more.
  @Test func removalIsTakenBack() throws {
    let folder = try Folder()
    defer { folder.remove() }
    try fill(folder.bank, [[1, 0], [0, 1], [1, 1], [1, 2]])
    #expect(try BankWriter(existing: folder.bank).remove(paths: ["photos/0/0.jpg"]) == 1)
    let before = try folder.text("bank/bank.json"), listing = try folder.listing()
    let writer = try BankWriter(existing: folder.bank)
    #expect(try writer.remove(paths: ["photos/1"]) == 1)
    try writer.append([2, 1], path: "new", label: "new")
    try writer.flush()
    #expect(try FeatureBank(path: folder.bank).liveCount == 3)
    try writer.rollBack()
    #expect(try folder.text("bank/bank.json").replacing(/"next":[0-9]+/, with: "") == before.replacing(/"next":[0-9]+/, with: ""))
    #expect(try folder.listing() == listing)
    #expect(try FeatureBank(path: folder.bank).liveRows == [1, 2, 3])
    // The class that was taken back is numbered anew.
    try writer.append([2, 1], path: "other", label: "other")
    try writer.append([2, 1], path: "new", label: "new")
    try writer.flush()
    let bank = try FeatureBank(path: folder.bank)
    #expect(bank.classes.suffix(2) == ["other", "new"] && bank.label(4) == 3 && bank.label(5) == 4)
  }

  /// A graph that was being written when its process was killed goes with the next writer; who builds one holds the lock meanwhile.
  @Test func graphsInTheMakingAreSwept() throws {
    let folder = try Folder(), left = ["approximate.safetensors.4711-0.tmp", "segment-000009.safetensors"], others = ["approximate.safetensors", "approximate.txt.tmp"]
    defer { folder.remove() }
    try fill(folder.bank, [[1, 0], [0, 1]])
    for name in left + others { try Data().write(to: URL(fileURLWithPath: "\(folder.bank)/\(name)")) }
    do { _ = try BankWriter(existing: folder.bank) }
    let listing = try folder.listing()
    #expect(left.allSatisfy { !listing.contains($0) } && others.allSatisfy(listing.contains))
  }

  /// What is behind a link that leads nowhere, or to itself, may be there again tomorrow; what a folder does not have is gone.
  @Test func outOfReachIsNotGone() throws {
    let folder = try Folder(), files = FileManager.default, path = folder.path
    defer { folder.remove() }
    try files.createDirectory(atPath: "\(path)/a/b", withIntermediateDirectories: true)
    try Data().write(to: URL(fileURLWithPath: "\(path)/a/x.jpg"))
    for (name, target) in [("trip.2019", "../nas/dress"), ("loop", "loop"), ("file.jpg", "/no/such"), ("through", "x.jpg/y"), ("good", "b")] {
      try files.createSymbolicLink(atPath: "\(path)/a/\(name)", withDestinationPath: target)
    }
    var reach = FileReach()
    for _ in 0..<2 {
      for (name, state) in [
        ("a/x.jpg", FileReach.State.there), ("a/./good/../x.jpg", .there), ("a/y.jpg", .gone), ("a/b/c/d.jpg", .gone), ("a/good/y.jpg", .gone), ("a/x.jpg/y.jpg", .inside(file: "\(path)/a/x.jpg")),
        ("a/trip.2019/1/2.jpg", .outOfReach(place: "\(path)/a/trip.2019")), ("a/trip.2019", .outOfReach(place: "\(path)/a/trip.2019")), ("a/loop/1.jpg", .outOfReach(place: "\(path)/a/loop")),
        ("a/file.jpg", .outOfReach(place: "\(path)/a/file.jpg")), ("a/through", .outOfReach(place: "\(path)/a/through")), ("a/\0.jpg", .gone),
      ] { #expect(reach.state("\(path)/\(name)") == state, "\(name)") }
      #expect(reach.folderState("\(path)/a/none.jpg") == .there && reach.folderState("\(path)/c/none.jpg") == .gone)
      #expect(reach.state("no such file.jpg") == .gone && reach.state("/no such folder/a.jpg") == .gone && reach.state("/") == .there && reach.state(".") == .there)
    }
    // The system lets root in everywhere.
    guard getuid() != 0 else { return }
    #expect(chmod("\(path)/a", 0o600) == 0)
    defer { chmod("\(path)/a", 0o700) }
    reach = FileReach()
    #expect(reach.state("\(path)/a/x.jpg") == .outOfReach(place: "\(path)/a") && reach.state("\(path)/a/b/y.jpg") == .outOfReach(place: "\(path)/a"))
  }

  /// What a removal replaced goes when the work is kept, and nothing before that comes back.
  @Test func keptWorkLeavesNoReplacedFile() throws {
    let folder = try Folder()
    defer { folder.remove() }
    try fill(folder.bank, [[1, 0], [0, 1], [1, 1]])
    #expect(try BankWriter(existing: folder.bank).remove(paths: ["photos/0/0.jpg"]) == 1)
    let writer = try BankWriter(existing: folder.bank)
    #expect(try writer.remove(paths: ["photos/1"]) == 1)
    #expect(try folder.listing().count { $0.hasPrefix("removed-") } == 2)
    try writer.commit()
    #expect(try folder.listing().count { $0.hasPrefix("removed-") } == 1)
    try writer.rollBack()
    #expect(try FeatureBank(path: folder.bank).liveCount == 1)
  }

  @Test func damageIsNamed() throws {
    let folder = try Folder()
    defer { folder.remove() }
    try fill(folder.bank, [[1, 0], [0, 1], [1, 1]])
    let manifest = try folder.text("bank/bank.json"), segment = "\(folder.bank)/segment-000001.safetensors"
    func expectError(_ contains: String) {
      let error = #expect(throws: TaskError.self) { _ = try FeatureBank(path: folder.bank) }
      #expect(error?.description.contains(contains) == true, "\(error?.description ?? "")")
    }
    for (from, to, sentence) in [
      ("\"version\":1", "\"version\":2", "version 2"), ("dino.bank", "other", "not the manifest"), ("\"rows\":3", "\"rows\":4", "features"), ("\"rows\":3", "\"rows\":-1", "segment"),
      ("segment-000001", "../segment", "segment"), ("\"width\":2", "\"width\":0", "width"), ("\"F32\"", "\"F16\"", "features"), ("\"F32\"", "\"F64\"", "dtype"), ("{\"format", "format", "JSON"),
      ("\"model_digest\"", "\"digest\"", "record"), ("class 1", "class 0", "twice"), ("\"segments\":[", "\"segments\":[{\"file\":\"segment-000001.safetensors\",\"rows\":3,\"bytes\":1},", "twice"),
    ] {
      #expect(manifest.contains(from))
      try manifest.replacingOccurrences(of: from, with: to).write(toFile: "\(folder.bank)/bank.json", atomically: true, encoding: .utf8)
      expectError(sentence)
    }
    try manifest.write(toFile: "\(folder.bank)/bank.json", atomically: true, encoding: .utf8)
    let bytes = try Data(contentsOf: URL(fileURLWithPath: segment))
    try bytes.dropLast(3).write(to: URL(fileURLWithPath: segment))
    expectError("segment-000001")
    try FileManager.default.removeItem(atPath: segment)
    expectError("segment-000001")
    #expect(throws: TaskError.bankNotFound(path: folder.path)) { _ = try FeatureBank(path: folder.path) }
    // A folder with other things in it does not become a bank.
    try Data([1]).write(to: URL(fileURLWithPath: "\(folder.path)/photo.jpg"))
    #expect(throws: TaskError.bankExists(path: folder.path)) { _ = try BankWriter(path: folder.path, width: 1, element: nil, record: record) }
  }

  /// Names lead from the folder that a segment states; what is none is refused, and one that is not there changes nothing.
  @Test func namesLeadFromTheFolderThatIsStated() throws {
    let folder = try Folder()
    defer { folder.remove() }
    let writer = try BankWriter(path: folder.bank, width: 2, element: .f32, record: record)
    writer.namesArePaths = true
    for name in ["a.jpg", "/b.jpg", "-", "-/c.jpg"] { try writer.append([1, 2], path: name, label: nil) }
    try writer.flush()
    var bank = try FeatureBank(path: folder.bank)
    #expect((0..<4).map { bank.path($0) } == ["a.jpg", "/b.jpg", "-", "-/c.jpg"])
    let manifest = try folder.text("bank/bank.json")
    let stated = String(try #require(manifest.firstMatch(of: /"base":"[^"]*"(,"base_from_bank":"[^"]*")?/)).output.0)
    func open(_ base: String) throws -> FeatureBank {
      try manifest.replacingOccurrences(of: stated, with: base).write(toFile: "\(folder.bank)/bank.json", atomically: true, encoding: .utf8)
      return try FeatureBank(path: folder.bank)
    }
    let here = try #require(realpath(folder.path, nil)), root = String(cString: here)
    free(here)
    bank = try open("\"base\":\"\(root)\"")
    #expect((0..<4).map { bank.path($0) } == ["\(root)/a.jpg", "/b.jpg", "-", "-/c.jpg"] && bank.name(0) == "a.jpg")
    bank = try open("\"base\":\"/no/such/folder\"")
    #expect(bank.path(0) == "a.jpg")
    // From the bank's folder first, where a file is there.
    bank = try open("\"base\":\"/no/such/folder\",\"base_from_bank\":\"..\"")
    #expect(bank.path(0) == "\(root)/a.jpg")
    try FileManager.default.createDirectory(atPath: "\(folder.path)/x/y", withIntermediateDirectories: true)
    try Data().write(to: URL(fileURLWithPath: "\(folder.path)/x/a.jpg"))
    bank = try open("\"base\":\"\(root)/x\",\"base_from_bank\":\"..\"")
    #expect(bank.path(0) == "\(root)/x/a.jpg")
    bank = try open("\"base\":\"/no/such/folder\",\"base_from_bank\":\"../x\"")
    #expect(bank.path(0) == "\(root)/x/a.jpg")
    for bad in ["\"base\":3", "\"base\":\"here\"", "\"base\":\"/a\\u0000\"", "\"base\":\"/a\",\"base_from_bank\":\"\"", "\"base\":\"/a\",\"base_from_bank\":\"/\""] {
      let error = #expect(throws: TaskError.self) { _ = try open(bad) }
      #expect(error?.description.contains("names lead from") == true, "\(bad)")
    }
  }

  @Test func leavesAsNumPyAndForPostgres() throws {
    let folder = try Folder()
    defer { folder.remove() }
    let writer = try BankWriter(path: folder.bank, width: 2, element: .f32, record: record)
    try writer.append([3, 4], path: "a\tb\\c\nd.jpg", label: "it's")
    try writer.append([1, 0], path: "gone.jpg", label: nil)
    try writer.append([0, 3], path: "a\\nb.jpg", label: nil)
    try writer.append([0, -2], path: "c.jpg", label: nil)
    _ = try writer.remove(paths: ["gone.jpg"])
    let bank = try FeatureBank(path: folder.bank)
    // Where an interrupted dinoctl features keeps its rows.
    try "rows".write(toFile: "\(folder.path)/b.npy.partial", atomically: true, encoding: .utf8)
    try bank.exportNumPy(to: "\(folder.path)/b.npy", names: "\(folder.path)/b.paths.txt")
    #expect(try folder.text("b.npy.partial") == "rows")
    try FileManager.default.removeItem(atPath: "\(folder.path)/b.npy.partial")
    let rows = try NumPyArray.read(path: "\(folder.path)/b.npy")
    #expect(rows.shape == [3, 2] && rows.floats() == [0.6, 0.8, 0, 1, 0, -1])
    #expect(try folder.text("b.paths.txt") == "a\tb\\\\c\\nd.jpg\na\\\\nb.jpg\nc.jpg\n")
    try bank.exportPostgres(to: "\(folder.path)/b.copy", sql: "\(folder.path)/b.sql", table: "pictures")
    #expect(try folder.text("b.copy") == "a\\tb\\\\c\\nd.jpg\tit's\t[0.6,0.8]\na\\\\nb.jpg\t\\N\t[0.0,1.0]\nc.jpg\t\\N\t[0.0,-1.0]\n")
    let sql = try folder.text("b.sql")
    for part in ["embedding vector(2)", "\\copy pictures (path, class, embedding) FROM 'b.copy'", "vector_ip_ops", "<#>"] { #expect(sql.contains(part), "\(part)") }
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path).filter { $0.contains("partial") || $0.contains("tmp") } == [])
  }

  /// Two million int8 rows in holes of a sparse file: opening must not read them.
  @Test func openingDoesNotReadTheRows() throws {
    let folder = try Folder()
    defer { folder.remove() }
    try fill(folder.bank, [[1, 0]], element: .int8)
    let n = 2_000_000, width = 384, pathBytes = 40
    var header = "{", begin = 0
    for (name, dtype, shape, size) in [("path_ends", "I64", "[\(n)]", 8 * n), ("lengths", "F32", "[\(n)]", 4 * n), ("scales", "F32", "[\(n)]", 4 * n), ("labels", "I32", "[\(n)]", 4 * n),
                                       ("features", "I8", "[\(n),\(width)]", n * width), ("paths", "U8", "[\(pathBytes * n)]", pathBytes * n)] {
      header += (begin == 0 ? "" : ",") + "\"\(name)\":{\"dtype\":\"\(dtype)\",\"shape\":\(shape),\"data_offsets\":[\(begin),\(begin + size)]}"
      begin += size
    }
    header += "}"
    while header.utf8.count % 8 != 0 { header += " " }
    let path = "\(folder.bank)/segment-000002.safetensors"
    #expect(FileManager.default.createFile(atPath: path, contents: Data((0..<8).map { UInt8(truncatingIfNeeded: header.utf8.count >> (8 * $0)) } + Array(header.utf8))))
    let file = try FileHandle(forWritingTo: URL(fileURLWithPath: path))
    try file.truncate(atOffset: UInt64(8 + header.utf8.count + begin))
    try file.close()
    let manifest = try folder.text("bank/bank.json").replacingOccurrences(of: "\"segments\":[", with: "\"segments\":[{\"file\":\"segment-000002.safetensors\",\"rows\":\(n),\"bytes\":\(8 + header.utf8.count + begin)},")
      .replacingOccurrences(of: "\"width\":2", with: "\"width\":\(width)").replacingOccurrences(of: ",{\"file\":\"segment-000001.safetensors\",\"rows\":1", with: ",{\"file\":\"segment-000001.safetensors\",\"rows\":1")
    // Only the large segment: the small one has another width.
    let only = manifest.replacingOccurrences(of: #",\{"file":"segment-000001[^}]*\}"#, with: "", options: .regularExpression)
    try only.write(toFile: "\(folder.bank)/bank.json", atomically: true, encoding: .utf8)
    let start = Date()
    let bank = try FeatureBank(path: folder.bank)
    #expect(bank.rowCount == n && Date().timeIntervalSince(start) < 0.5)
    #expect(bank.path(n - 1).isEmpty && bank.unit(1_234_567).allSatisfy { $0 == 0 })
  }
}
