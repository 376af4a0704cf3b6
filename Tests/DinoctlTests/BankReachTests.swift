// A bank whose photographs cannot be reached just now, or are gone, or have odd names: what stays, what goes, what is said.

import DinoTasks
import DinoTensor
import Foundation
import NumPyArrays
import Safetensors
import Testing

@Suite struct BankReachTests {
  private static func run(_ bench: Bench, _ more: [String], makes: Bool = true, status: Int32 = 0) throws -> (json: JSONValue?, errors: String) {
    let result = try Tool.run(["index", "-o", "bank", "--json"] + (makes ? ["--model", bench.model] : []) + more, folder: bench.folder)
    #expect(result.status == status, "\(more): \(result.errors)")
    return (try? JSONValue.parse(result.output), result.errors)
  }

  private static func names(_ bench: Bench) throws -> [String] {
    let bank = try FeatureBank(path: "\(bench.folder)/bank")
    return bank.liveRows.map { bank.name($0) }.sorted()
  }

  /// A folder of links to another disk, with and without a dot in their names, and what happens when that disk is not mounted.
  @Test(arguments: ["trip.2019", "trip", "trip.txt"]) func aDiskThatIsNotMounted(_ link: String) throws {
    let bench = try Bench(), files = FileManager.default
    defer { bench.remove() }
    try bench.photographs("ph/own", count: 2)
    try bench.photographs("nas/dress/deep", count: 3)
    try files.createSymbolicLink(atPath: "\(bench.folder)/ph/\(link)", withDestinationPath: "../nas/dress")
    try files.createSymbolicLink(atPath: "\(bench.folder)/ph/one.ppm", withDestinationPath: "../nas/dress/deep/000.ppm")
    #expect(try Self.run(bench, ["ph"]).json?["added"]?.integerValue == 6)
    let before = try Self.names(bench)
    try files.moveItem(atPath: "\(bench.folder)/nas", toPath: "\(bench.folder)/away")
    try files.removeItem(atPath: "\(bench.folder)/ph/own/001.ppm")
    for more in [[], ["--update"]] {
      let (json, errors) = try Self.run(bench, ["ph"] + more, status: 1)
      #expect(json?["removed"]?.integerValue == (more.isEmpty ? 0 : 1) && json?["skipped"]?.integerValue == 2, "\(errors)")
      #expect(errors.contains("skipped ph/\(link): ") && errors.contains("skipped ph/one.ppm: ") && errors.contains("4 rows of ph/"), "\(errors)")
      #expect(errors.contains("cannot be looked into, are kept") && !errors.contains("have changed since"), "\(errors)")
    }
    #expect(try Self.names(bench) == before.filter { $0 != "ph/own/001.ppm" })
    // Mounted again all is as it was; taken away on purpose it goes.
    try files.moveItem(atPath: "\(bench.folder)/away", toPath: "\(bench.folder)/nas")
    let again = try Self.run(bench, ["ph", "--update"])
    #expect(again.json?["added"]?.integerValue == 0 && again.json?["removed"]?.integerValue == 0 && again.json?["already_there"]?.integerValue == 5, "\(again.errors)")
    try files.removeItem(atPath: "\(bench.folder)/nas")
    #expect(try Self.run(bench, ["--remove", "ph/\(link)"], makes: false).json?["removed"]?.integerValue == 3)
    try files.removeItem(atPath: "\(bench.folder)/ph/one.ppm")
    #expect(try Self.run(bench, ["ph", "--update"], status: 1).json?["removed"]?.integerValue == 1)
    #expect(try Self.names(bench) == ["ph/own/000.ppm"])
  }

  /// A line of a list whose file is gone is told of, and its row goes with --update, wherever the line led from.
  @Test func listsWhoseFilesAreGone() throws {
    let bench = try Bench(), files = FileManager.default
    defer { bench.remove() }
    try bench.photographs("lists/p", count: 4)
    try bench.write("lists/list.txt", Array("p/000.ppm\np/001.ppm\nlists/p/002.ppm\nlists/p/003.ppm\n".utf8))
    #expect(try Self.run(bench, ["lists/list.txt"]).json?["added"]?.integerValue == 4)
    for name in ["001", "003"] { try files.removeItem(atPath: "\(bench.folder)/lists/p/\(name).ppm") }
    let told = try Self.run(bench, ["lists/list.txt"])
    #expect(told.errors.contains("the bank has 2 rows whose files are gone, the first lists/p/001.ppm; --update removes them") && !told.errors.contains("changed"), "\(told.errors)")
    #expect(told.json?["removed"]?.integerValue == 0 && told.json?["already_there"]?.integerValue == 2)
    let updated = try Self.run(bench, ["lists/list.txt", "--update"])
    #expect(updated.json?["removed"]?.integerValue == 2 && updated.errors.contains("2 rows whose files are gone will be removed"), "\(updated.errors)")
    #expect(try Self.names(bench) == ["lists/p/000.ppm", "lists/p/002.ppm"])
    // All of them gone is not that none could be read.
    try bench.write("lists/list.txt", Array("p/000.ppm\np/002.ppm\n".utf8))
    try files.removeItem(atPath: "\(bench.folder)/lists/p")
    #expect(try Self.run(bench, ["lists/list.txt", "--update"]).json?["removed"]?.integerValue == 2)
  }

  /// Rows of a folder that has another name now are told of where nothing is to be added, too.
  @Test func deadRowsAreTold() throws {
    let bench = try Bench()
    defer { bench.remove() }
    for name in ["a", "b"] { try bench.photographs(name, count: 2) }
    #expect(try Self.run(bench, ["a", "b"]).json?["added"]?.integerValue == 4)
    #expect(try !Self.run(bench, ["a"]).errors.contains("elsewhere"))
    try FileManager.default.removeItem(atPath: "\(bench.folder)/b")
    #expect(try Self.run(bench, ["a"]).errors.contains("2 rows elsewhere lead to no file, the first b/000.ppm"))
  }

  /// Results that would be one file are refused before anything is done.
  @Test func exportsIntoOneFile() throws {
    let bench = try Bench(), files = FileManager.default
    defer { bench.remove() }
    try bench.photographs("a", count: 2)
    #expect(try Self.run(bench, ["a"]).json?["added"]?.integerValue == 2)
    try files.createSymbolicLink(atPath: "\(bench.folder)/link", withDestinationPath: "x.npy")
    for (table, said) in [("x.npy", "x.npy is to be written twice"), ("./x.npy", "./x.npy is to be written twice by this command, once as x.npy"), ("x.paths.txt", "x.paths.txt"), ("link", "link")] {
      let (_, errors) = try Self.run(bench, ["--remove", "a/000.ppm", "--export", "x.npy", "--export-postgres", table], makes: false, status: 64)
      #expect(errors.contains(said), "\(errors)")
    }
    #expect(try Self.names(bench).count == 2 && !bench.exists("x.npy") && !bench.exists("x.paths.txt"))
  }

  /// A name with a line break and one that looks like its spelling are two, out and in again.
  @Test func namesWithLineBreaks() throws {
    let bench = try Bench()
    defer { bench.remove() }
    let names = ["p/a\nb.ppm", "p/a\\nb.ppm", "p/c\\d.ppm"]
    for (i, name) in names.enumerated() { try bench.write(name, Bench.photograph(seed: UInt64(i))) }
    #expect(try Self.run(bench, ["p", "--export", "x.npy"]).json?["added"]?.integerValue == 3)
    #expect(try bench.bytes("x.paths.txt") == Array("p/a\\nb.ppm\np/a\\\\nb.ppm\np/c\\d.ppm\n".utf8))
    let features = try Tool.run(["features", "--model", bench.model, "-o", "f.npy", "p"], folder: bench.folder)
    #expect(try features.status == 0 && bench.bytes("f.paths.txt") == bench.bytes("x.paths.txt"), "\(features.errors)")
    #expect(try Tool.run(["index", "-o", "second", "--import", "x.npy"], folder: bench.folder).status == 0)
    let second = try FeatureBank(path: "\(bench.folder)/second")
    #expect(second.liveRows.map { second.name($0) } == names)
    // As a list each leads to its file but the first, whose line is the name of another.
    #expect(try Self.run(bench, ["x.paths.txt"]).json?["added"]?.integerValue == 0)
  }

  /// An export goes beside the rows that an interrupted `features` keeps for its next run.
  @Test func anExportLeavesPartialFeaturesAlone() throws {
    let bench = try Bench()
    defer { bench.remove() }
    try bench.photographs("a", count: 2)
    try bench.write("x.npy.partial", [1, 2, 3])
    #expect(try Self.run(bench, ["a", "--export", "x.npy"]).json?["added"]?.integerValue == 2)
    #expect(try bench.bytes("x.npy.partial") == [1, 2, 3] && NumPyArray.read(path: "\(bench.folder)/x.npy").shape[0] == 2)
  }

  /// A graph is built under the lock of the bank: nothing is added meanwhile, and nothing of it is swept away.
  @Test func graphsAreBuiltUnderTheLock() throws {
    let bench = try Bench()
    defer { bench.remove() }
    try bench.photographs("a", count: 3)
    #expect(try Self.run(bench, ["a"]).json?["added"]?.integerValue == 3)
    try bench.write("bank/approximate.safetensors.1-0.tmp", [1])
    let lock = open("\(bench.folder)/bank/lock", O_RDWR)
    let isLocked = flock(lock, LOCK_EX | LOCK_NB) == 0
    try #require(isLocked)
    let busy = try Tool.run(["index", "-o", "bank", "--approximate"], folder: bench.folder)
    #expect(busy.status != 0 && busy.errors.contains("another process is writing this bank") && bench.exists("bank/approximate.safetensors.1-0.tmp"), "\(busy.errors)")
    close(lock)
    #expect(try Self.run(bench, ["--approximate"], makes: false).json?["approximate"] != nil)
    #expect(bench.exists("bank/approximate.safetensors") && !bench.exists("bank/approximate.safetensors.1-0.tmp"))
  }

  /// Class folders of one text in two forms of Unicode are two classes, also for the rows of a bank that had them as one.
  @Test func classesInTwoFormsOfUnicode() throws {
    let bench = try Bench()
    defer { bench.remove() }
    let names = ["cafe\u{301}", "caf\u{E9}"]
    for (i, name) in names.enumerated() { for j in 0..<2 { try bench.write("p/\(name)/\(j).ppm", Bench.photograph(seed: UInt64(2 * i + j))) } }
    #expect(try Self.run(bench, ["p"]).json?["added"]?.integerValue == 4)
    func classes(_ source: String) throws -> Int? {
      let result = try Tool.run(["knn", "--train", source, "--json"] + (source == "p" ? ["--model", bench.model] : []), folder: bench.folder)
      #expect(result.status == 0, "\(result.errors)")
      return try JSONValue.parse(result.output)["first"]?["classes"]?.arrayValue?.count
    }
    #expect(try classes("bank") == 2 && classes("p") == 2)
    let linear = try Tool.run(["linear", "--train", "bank", "--test", "bank"], folder: bench.folder)
    #expect(linear.status == 0 && linear.output.contains("2 classes"), "\(linear.errors)")
  }
}
