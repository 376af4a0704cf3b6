// A bank and its photographs seen from other folders, moved, copied, changed and gone: rows stay those of their files.

import DinoTasks
import DinoTensor
import Foundation
import NumPyArrays
import Safetensors
import Testing

@Suite struct BankPlacesTests {
  /// `work/photos` with a bank in `work/bank`, made from `work`.
  private static func made(_ bench: Bench) throws -> String {
    for i in 0..<4 { try bench.write("work/photos/\(i % 2 == 0 ? "even" : "odd")/\(i).ppm", Bench.photograph(seed: UInt64(i), width: 40, height: 32)) }
    let work = "\(bench.folder)/work"
    #expect(try index(bench, ["photos"], folder: work).added == 4)
    return work
  }

  private static func index(_ bench: Bench, _ more: [String], bank: String = "bank", folder: String, status: Int32 = 0) throws -> (added: Int?, there: Int?, removed: Int?, errors: String) {
    let makes = more.contains { !$0.hasPrefix("-") } && !more.contains("--remove")
    let result = try Tool.run(["index", "-o", bank, "--json"] + (makes ? ["--model", bench.model] : []) + more, folder: folder)
    #expect(result.status == status, "\(more): \(result.errors)")
    let json = try? JSONValue.parse(result.output)
    return (json?["added"]?.integerValue, json?["already_there"]?.integerValue, json?["removed"]?.integerValue, result.errors)
  }

  /// All `count` photographs below `inputs` have their rows already.
  private static func expectKnown(_ count: Int, _ bench: Bench, _ inputs: [String], bank: String = "bank", folder: String) throws {
    let again = try index(bench, inputs, bank: bank, folder: folder)
    #expect(again.added == 0 && again.there == count, "\(inputs) from \(folder): \(again.errors)")
  }

  private static func neighbours(_ bank: String, like: String, folder: String) throws -> [String] {
    let result = try Tool.run(["search", "--bank", bank, "--like", like, "-k", "3"], folder: folder)
    #expect(result.status == 0, "\(result.errors)")
    return result.output.split(separator: "\n").map { String($0.split(separator: "\t")[1]) }
  }

  @Test func fromAnotherFolderTheRowsAreTheSameFiles() throws {
    let bench = try Bench()
    defer { bench.remove() }
    let work = try Self.made(bench)
    // Here names are as they were given; elsewhere they lead to the files all the same.
    #expect(try Self.neighbours("bank", like: "photos/even/0.ppm", folder: work).allSatisfy { $0.hasPrefix("photos/") })
    let elsewhere = try Self.neighbours("work/bank", like: "work/photos/even/0.ppm", folder: bench.folder)
    #expect(elsewhere.count == 3 && elsewhere.allSatisfy { $0.hasPrefix("/") && FileManager.default.fileExists(atPath: $0) }, "\(elsewhere)")
    try Self.expectKnown(4, bench, ["work/photos"], bank: "work/bank", folder: bench.folder)
    // Another folder's photographs of the same names are others.
    try FileManager.default.copyItem(atPath: work, toPath: "\(bench.folder)/second")
    try FileManager.default.removeItem(atPath: "\(bench.folder)/second/bank")
    let others = try Self.index(bench, ["photos"], bank: "../work/bank", folder: "\(bench.folder)/second")
    #expect(others.added == 4 && others.there == 0, "\(others.errors)")
    // Both kinds outlive compacting, and are removed by any spelling.
    _ = try Self.index(bench, ["--compact"], folder: work)
    let paths = try Self.neighbours("work/bank", like: "second/photos/odd/1.ppm", folder: bench.folder)
    #expect(paths.count == 3 && paths.allSatisfy { FileManager.default.fileExists(atPath: $0) }, "\(paths)")
    #expect(try Self.index(bench, ["--remove", "photos/even"], bank: "../work/bank", folder: "\(bench.folder)/second").removed == 2)
    #expect(try Self.index(bench, ["--remove", "second/photos/odd/1.ppm", "--remove", "\(work)/photos/odd"], bank: "work/bank", folder: bench.folder).removed == 3)
    #expect(try Self.index(bench, ["--remove", "work"], bank: "work/bank", folder: bench.folder).removed == 2)
    #expect(try FeatureBank(path: "\(work)/bank").liveCount == 1)
  }

  @Test func movedOrCopiedTogetherTheyStayTogether() throws {
    let bench = try Bench()
    defer { bench.remove() }
    let work = try Self.made(bench), copy = "\(bench.folder)/copy"
    try FileManager.default.copyItem(atPath: work, toPath: copy)
    for folder in [copy, bench.folder] {
      try Self.expectKnown(4, bench, [folder == copy ? "photos" : "copy/photos"], bank: folder == copy ? "bank" : "copy/bank", folder: folder)
    }
    // A bank that is moved away alone still knows its photographs.
    try FileManager.default.moveItem(atPath: "\(copy)/bank", toPath: "\(bench.folder)/bank")
    try Self.expectKnown(4, bench, ["work/photos"], folder: bench.folder)
    // Where the folder is gone names lead from the working folder.
    try FileManager.default.moveItem(atPath: "\(work)/photos", toPath: "\(bench.folder)/photos")
    try FileManager.default.removeItem(atPath: work)
    try Self.expectKnown(4, bench, ["photos"], folder: bench.folder)
  }

  /// Which folder names lead from is asked of rows that there are, and of all segments.
  @Test func rowsThatAreGoneDoNotLeadAstray() throws {
    let bench = try Bench()
    defer { bench.remove() }
    let work = try Self.made(bench)
    try bench.write("work/more/5.ppm", Bench.photograph(seed: 5))
    #expect(try Self.index(bench, ["more"], folder: work).added == 1)
    try FileManager.default.removeItem(atPath: "\(work)/photos")
    #expect(try Self.index(bench, ["--remove", "photos"], folder: work).removed == 4)
    try FileManager.default.createDirectory(atPath: "\(bench.folder)/backup", withIntermediateDirectories: false)
    try FileManager.default.moveItem(atPath: "\(work)/bank", toPath: "\(bench.folder)/backup/bank")
    try Self.expectKnown(1, bench, ["work/more"], bank: "backup/bank", folder: bench.folder)
  }

  /// The folder that was worked in may be gone, or moved with all the rest: what is beside it is found all the same.
  @Test func theWorkingFolderMayBeGone() throws {
    let bench = try Bench()
    defer { bench.remove() }
    try bench.write("top/photos/a.ppm", Bench.photograph(seed: 1))
    for name in ["top/job", "top/banks"] { try FileManager.default.createDirectory(atPath: "\(bench.folder)/\(name)", withIntermediateDirectories: true) }
    #expect(try Self.index(bench, ["../photos"], bank: "../banks/b", folder: "\(bench.folder)/top/job").added == 1)
    try FileManager.default.removeItem(atPath: "\(bench.folder)/top/job")
    try Self.expectKnown(1, bench, ["top/photos"], bank: "top/banks/b", folder: bench.folder)
    try FileManager.default.moveItem(atPath: "\(bench.folder)/top", toPath: "\(bench.folder)/other")
    try Self.expectKnown(1, bench, ["other/photos"], bank: "other/banks/b", folder: bench.folder)
  }

  /// A bank from before it was kept where names lead from has rows twice when it is used elsewhere; used where it was made it is healed, and knows from then on.
  @Test func banksOfBeforeAreHealed() throws {
    let bench = try Bench()
    defer { bench.remove() }
    let work = try Self.made(bench)
    func forget(_ name: String) throws {
      let manifest = "\(work)/\(name)/bank.json"
      try String(contentsOfFile: manifest, encoding: .utf8).replacing(/,"base":"[^"]*"(,"base_from_bank":"[^"]*")?/, with: "").write(toFile: manifest, atomically: true, encoding: .utf8)
    }
    try forget("bank")
    let doubled = try Self.index(bench, ["work/photos"], bank: "work/bank", folder: bench.folder)
    #expect(doubled.added == 4 && doubled.errors.contains("4 rows elsewhere lead to no file"), "\(doubled.errors)")
    let told = try Self.index(bench, ["photos"], folder: work)
    #expect(told.added == 0 && told.errors.contains("4 rows are of files that have another row too"), "\(told.errors)")
    let healed = try Self.index(bench, ["photos", "--update"], folder: work)
    #expect(healed.added == 0 && healed.removed == 4, "\(healed.errors)")
    #expect(try FeatureBank(path: "\(work)/bank").liveCount == 4)
    // Used where it was made before it is used elsewhere it has no row twice at all.
    #expect(try Self.index(bench, ["photos"], bank: "second", folder: work).added == 4)
    try forget("second")
    #expect(try Self.index(bench, ["photos"], bank: "second", folder: work).there == 4)
    #expect(try Self.index(bench, ["work/photos"], bank: "work/second", folder: bench.folder).there == 4)
  }

  /// A folder that has become a link to another has its files twice, and one that is gone besides is removed once.
  @Test func foldersThatBecomeLinks() throws {
    let bench = try Bench()
    defer { bench.remove() }
    for (i, name) in ["a/0", "a/1", "b/0", "b/1"].enumerated() { try bench.write("\(name).ppm", Bench.photograph(seed: UInt64(i))) }
    #expect(try Self.index(bench, ["a", "b"], folder: bench.folder).added == 4)
    try FileManager.default.removeItem(atPath: "\(bench.folder)/b")
    try FileManager.default.createSymbolicLink(atPath: "\(bench.folder)/b", withDestinationPath: "a")
    try FileManager.default.removeItem(atPath: "\(bench.folder)/a/0.ppm")
    let updated = try Self.index(bench, ["a", "b", "--update"], folder: bench.folder)
    #expect(updated.removed == 3 && updated.added == 0, "\(updated.errors)")
    let bank = try FeatureBank(path: "\(bench.folder)/bank")
    #expect(bank.liveRows.count == 1)
  }

  /// Names that are the same from two folders which are both gone are not one file's.
  @Test func equalNamesFromFoldersThatAreGone() throws {
    let bench = try Bench()
    defer { bench.remove() }
    for (i, name) in ["c2", "c1"].enumerated() {
      try bench.write("\(name)/p/1.ppm", Bench.photograph(seed: UInt64(i)))
      #expect(try Self.index(bench, ["p"], bank: "../bank", folder: "\(bench.folder)/\(name)").added == 1)
    }
    for (from, to) in [("c1", "x"), ("c2", "y")] { try FileManager.default.moveItem(atPath: "\(bench.folder)/\(from)", toPath: "\(bench.folder)/\(to)") }
    for folder in ["x", "y"] {
      let updated = try Self.index(bench, ["p", "--update"], bank: "../bank", folder: "\(bench.folder)/\(folder)")
      #expect(updated.removed == 0 && updated.added == 0 && updated.there == 1, "\(updated.errors)")
    }
    #expect(try FeatureBank(path: "\(bench.folder)/bank").liveCount == 2)
  }

  /// What came through standard input is in no folder.
  @Test func standardInputIsInNoFolder() throws {
    let bench = try Bench()
    defer { bench.remove() }
    let work = try Self.made(bench)
    let piped = try Tool.run(["index", "-o", "bank", "--model", bench.model, "-"], input: Data(Bench.photograph(seed: 9)), folder: work)
    #expect(piped.status == 0, "\(piped.errors)")
    let updated = try Self.index(bench, ["photos", ".", "--update"], folder: work)
    #expect(updated.removed == 0 && updated.there == 4 && !updated.errors.contains("gone"), "\(updated.errors)")
    #expect(try Self.index(bench, ["--remove", "."], folder: work).removed == 4)
    #expect(try FeatureBank(path: "\(work)/bank").liveCount == 1)
    #expect(try Self.index(bench, ["--remove=-"], folder: work).removed == 1)
  }

  /// Two folders of one text in two forms of Unicode are two, and a name from the root says nothing of where others lead from.
  @Test func basesAreBytesAndOfRelativeNames() throws {
    let bench = try Bench()
    defer { bench.remove() }
    for (i, name) in ["cafe\u{301}", "caf\u{E9}"].enumerated() {
      try bench.write("\(name)/p/\(i).ppm", Bench.photograph(seed: UInt64(i)))
      #expect(try Self.index(bench, ["p"], bank: "../bank", folder: "\(bench.folder)/\(name)").added == 1)
    }
    _ = try Self.index(bench, ["--compact"], folder: bench.folder)
    let bank = try FeatureBank(path: "\(bench.folder)/bank")
    #expect(bank.liveRows.allSatisfy { FileManager.default.fileExists(atPath: bank.path($0)) })
    let work = try Self.made(bench), manifest = "\(work)/bank/bank.json"
    #expect(try Self.index(bench, ["\(bench.folder)/cafe\u{301}/p"], folder: work).added == 1)
    _ = try Self.index(bench, ["--compact"], folder: work)
    try String(contentsOfFile: manifest, encoding: .utf8).replacing(/,"base":"[^"]*"(,"base_from_bank":"[^"]*")?/, with: "").write(toFile: manifest, atomically: true, encoding: .utf8)
    #expect(try Self.index(bench, ["\(bench.folder)/cafe\u{301}/p"], bank: "work/bank", folder: bench.folder).there == 1)
    #expect(try !String(contentsOfFile: manifest, encoding: .utf8).contains("base"))
  }

  /// A folder that has another name now is told of; a class's folder by itself takes no class away.
  @Test func whatIsElsewhereIsTold() throws {
    let bench = try Bench()
    defer { bench.remove() }
    let work = try Self.made(bench)
    try bench.write("work/photos/even/0.ppm", Bench.photograph(seed: 70, width: 44, height: 36))
    let even = try Self.index(bench, ["photos/even", "--update"], folder: work)
    #expect(even.added == 1 && even.there == 1 && even.removed == 1 && !even.errors.contains("have no class"), "\(even.errors)")
    let bank = try FeatureBank(path: "\(work)/bank")
    #expect(bank.liveRows.allSatisfy { bank.label($0).map { bank.classes[$0] } == (bank.name($0).contains("even") ? "even" : "odd") })
    try FileManager.default.moveItem(atPath: "\(work)/photos", toPath: "\(work)/pictures")
    let renamed = try Self.index(bench, ["pictures"], folder: work)
    #expect(renamed.added == 4 && renamed.errors.contains("4 rows elsewhere lead to no file, the first photos/"), "\(renamed.errors)")
    #expect(try Self.index(bench, ["--remove", "photos"], folder: work).removed == 4)
    try FileManager.default.removeItem(atPath: "\(work)/pictures")
    let duplicates = try Tool.run(["duplicates", "bank", "--threshold=-0.9999"], folder: work)
    #expect(duplicates.status == 0 && duplicates.errors.contains("0 copies among 4 images") && duplicates.errors.contains("4 images of these groups"), "\(duplicates.errors)")
  }

  @Test func updatingMakesTheBankWhatTheFolderIs() throws {
    let bench = try Bench()
    defer { bench.remove() }
    let work = try Self.made(bench)
    try bench.write("work/photos/even/2.ppm", Bench.photograph(seed: 77, width: 44, height: 36))
    try FileManager.default.moveItem(atPath: "\(work)/photos/odd/3.ppm", toPath: "\(work)/photos/even/3.ppm")
    try bench.write("work/other/9.ppm", Bench.photograph(seed: 9, width: 40, height: 32))
    #expect(try Self.index(bench, ["other"], folder: work).added == 1)
    let said = try Self.index(bench, ["photos"], folder: work)
    #expect(said.added == 1 && said.there == 3 && said.removed == 0, "\(said.errors)")
    #expect(said.errors.contains("1 of them have changed since") && said.errors.contains("1 rows whose files are gone, the first photos/odd/3.ppm"), "\(said.errors)")
    let updated = try Self.index(bench, ["photos", "--update"], folder: work)
    #expect(updated.added == 1 && updated.there == 3 && updated.removed == 2, "\(updated.errors)")
    let still = try Self.index(bench, ["photos", "--update"], folder: work)
    #expect(still.added == 0 && still.there == 4 && still.removed == 0 && !still.errors.contains("gone"), "\(still.errors)")
    // The rows are those of a bank that is made now, and what was not named is untouched.
    #expect(try Self.index(bench, ["photos", "other"], bank: "fresh", folder: work).added == 5)
    func rows(_ name: String) throws -> [String: [Float]] {
      let bank = try FeatureBank(path: "\(work)/\(name)")
      return Dictionary(uniqueKeysWithValues: bank.liveRows.map { ("\(bank.name($0)) \(bank.label($0).map { bank.classes[$0] } ?? "")", bank.feature($0)) })
    }
    let (bank, fresh) = try (rows("bank"), rows("fresh"))
    #expect(bank.keys.sorted() == fresh.keys.sorted() && bank.count == 5)
    for (name, row) in bank { #expect(fresh[name] == row, "\(name)") }
    // A class that is another now is another row.
    let classed = try Self.index(bench, [".", "--update"], folder: work)
    #expect(classed.added == 5 && classed.removed == 5, "\(classed.errors)")
    #expect(try FeatureBank(path: "\(work)/bank").liveRows.count == 5)
    #expect(try Tool.run(["index", "-o", "bank", "--update"], folder: work).status == 64)
  }

  @Test func membersOfArchivesGoWithThem() throws {
    let bench = try Bench()
    defer { bench.remove() }
    let work = try Self.made(bench)
    func tar(_ names: [String]) throws {
      let tar = try Tool.Run(["tar", "-cf", "\(work)/shard.tar", "-C", "\(work)/photos"] + names, executable: "/usr/bin/env")
      #expect(tar.wait().status == 0)
    }
    try tar(["even", "odd"])
    #expect(try Self.index(bench, ["shard.tar"], bank: "shards", folder: work).added == 4)
    try Self.expectKnown(4, bench, ["work/shard.tar"], bank: "work/shards", folder: bench.folder)
    try tar(["even"])
    #expect(try Self.index(bench, ["work/shard.tar", "--update"], bank: "work/shards", folder: bench.folder).removed == 4)
    #expect(try FeatureBank(path: "\(work)/shards").liveCount == 2)
    // A folder's archives are not looked into: what is in them is not gone.
    #expect(try Self.index(bench, [".", "--update"], bank: "shards", folder: work).removed == 0)
    #expect(try FeatureBank(path: "\(work)/shards").liveCount == 6)
    try FileManager.default.removeItem(atPath: "\(work)/shard.tar")
    #expect(try Self.index(bench, [".", "--update"], bank: "shards", folder: work).removed == 2)
  }

  /// A row goes when its successor comes, not before.
  @Test func updatingThatFailsRemovesNothing() throws {
    let bench = try Bench()
    defer { bench.remove() }
    let work = try Self.made(bench)
    try bench.write("work/photos/even/0.ppm", Bench.photograph(seed: 70, width: 44, height: 36))
    try bench.write("work/photos/even/2.ppm", Array(Bench.photograph(seed: 71, width: 44, height: 36).prefix(100)))
    try FileManager.default.removeItem(atPath: "\(work)/photos/odd/1.ppm")
    _ = try Self.index(bench, ["photos", "--update", "--strict"], folder: work, status: 65)
    var bank = try FeatureBank(path: "\(work)/bank")
    #expect(Set(bank.liveRows.map { bank.name($0) }) == ["photos/even/0.ppm", "photos/even/2.ppm", "photos/odd/1.ppm", "photos/odd/3.ppm"])
    // Without --strict the one that cannot be read keeps its row.
    let result = try Self.index(bench, ["photos", "--update"], folder: work, status: 1)
    #expect(result.removed == 1 || result.removed == 2, "\(result.errors)")
    bank = try FeatureBank(path: "\(work)/bank")
    #expect(Set(bank.liveRows.map { bank.name($0) }) == ["photos/even/0.ppm", "photos/even/2.ppm", "photos/odd/3.ppm"])
  }

  /// An export of many rows ends with the signal, and nothing of it stays.
  @Test func exportsCanBeStopped() throws {
    let bench = try Bench()
    defer { bench.remove() }
    let rows = 60_000
    try NumPyArray.write(Tensor((0..<rows * 96).map { Float($0 % 977) - 400 }, shape: [rows, 96]), to: "\(bench.folder)/d.npy")
    #expect(try Tool.run(["index", "-o", "bank", "--import", "d.npy"], folder: bench.folder).status == 0)
    let before = try FileManager.default.contentsOfDirectory(atPath: bench.folder).sorted()
    let run = try Tool.Run(["index", "-o", "bank", "--export-postgres", "b.copy"], folder: bench.folder)
    while try run.process.isRunning && !FileManager.default.contentsOfDirectory(atPath: bench.folder).contains(where: { $0.hasPrefix("b.copy") }) { usleep(1000) }
    kill(run.process.processIdentifier, SIGTERM)
    #expect(run.wait().status == 130)
    #expect(try FileManager.default.contentsOfDirectory(atPath: bench.folder).sorted() == before)
  }
}
