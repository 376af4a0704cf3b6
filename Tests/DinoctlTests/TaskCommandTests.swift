// index, search, knn, linear, classify, duplicates and evaluate as a person runs them: results, refusals, nothing left behind.

import DinoImaging
import DinoTasks
import DinoTensor
import Foundation
import NumPyArrays
import Safetensors
import TestSupport
import Testing

@Suite struct TaskCommandTests {
  /// Two classes that a random network tells apart: dark and bright pictures, each of a tint of its own. `light` holds a copy of one of its own.
  private static func classes(_ bench: Bench) throws -> String {
    for i in 0..<8 {
      var random = SplitMix64(seed: UInt64(i))
      let blocks = (0..<75).map { _ in Int.random(in: 0..<48, using: &random) }
      let dark = (0..<40 * 40 * 3).map { at in
        let channel = at % 3, x = at / 3 % 40, y = at / 120
        return UInt8((i >> channel & 1) * 64 + blocks[(y / 8 * 5 + x / 8) * 3 + channel])
      }
      let header = Array("P6\n40 40\n255\n".utf8)
      try bench.write("set/dark/\(i).ppm", header + dark)
      try bench.write("set/light/\(i).ppm", header + dark.map { 255 - $0 })
    }
    try bench.write("set/light/copy.ppm", try bench.bytes("set/light/3.ppm"))
    return "\(bench.folder)/set"
  }

  private static func run(_ arguments: [String], status: Int32 = 0) throws -> ToolResult {
    let result = try Tool.run(arguments)
    #expect(result.status == status, "\(arguments.joined(separator: " ")): \(result.errors)")
    return result
  }

  @Test func aBankIsMadeSearchedChangedAndExported() throws {
    let bench = try Bench()
    defer { bench.remove() }
    let set = try Self.classes(bench), bank = "\(bench.folder)/bank"
    try bench.write("set/light/broken.ppm", [1, 2, 3])
    let made = try Self.run(["index", set, "--model", bench.model, "-o", bank, "--json"], status: 1)
    #expect(made.errors.contains("broken.ppm"))
    #expect(try JSONValue.parse(made.output)["rows"]?.integerValue == 17)
    // Again: nothing to do but the image that cannot be read.
    #expect(try JSONValue.parse(Self.run(["index", set, "--model", bench.model, "-o", bank, "--json"], status: 1).output)["added"]?.integerValue == 0)
    let found = try Self.run(["search", "--bank", bank, "--model", bench.model, "\(set)/light/3.ppm", "-k", "3", "--contact-sheet", "\(bench.folder)/s.png"])
    let lines = found.output.split(separator: "\n")
    #expect(lines.count == 3 && lines[0].hasPrefix("1.0000") && lines[1].hasPrefix("1.0000") && !lines[2].hasPrefix("1.0000"))
    #expect(Set(lines[..<2].map { $0.split(separator: "/").last! }) == ["3.ppm", "copy.ppm"])
    #expect(try bench.bytes("s.png").prefix(4) == [0x89, 0x50, 0x4E, 0x47])
    // A row of the bank asks without a model and is not its own answer.
    #expect(try Self.run(["search", "--bank", bank, "--like", "\(set)/light/3.ppm", "-k", "1"]).output.hasSuffix("copy.ppm\n"))
    #expect(try JSONValue.parse(Self.run(["index", "-o", bank, "--remove", "\(set)/light/copy.ppm", "--compact", "--json"]).output)["removed"]?.integerValue == 1)
    #expect(try !Self.run(["search", "--bank", bank, "--like", "\(set)/light/3.ppm", "-k", "20"]).output.contains("copy.ppm"))
    _ = try Self.run(["index", "-o", bank, "--export", "\(bench.folder)/b.npy", "--export-postgres", "\(bench.folder)/b.copy"])
    #expect(try NumPyArray.read(path: "\(bench.folder)/b.npy").shape == [16, 24])
    #expect(bench.exists("b.paths.txt") && bench.exists("b.copy") && bench.exists("b.sql"))
    // Numbers from elsewhere, in int8.
    _ = try Self.run(["index", "-o", "\(bench.folder)/b2", "--import", "\(bench.folder)/b.npy", "--dtype", "int8"])
    #expect(try FeatureBank(path: "\(bench.folder)/b2").liveCount == 16)
    // The second removal replaces what the first one wrote.
    for name in ["0", "1"] { _ = try Self.run(["index", "-o", "\(bench.folder)/b2", "--remove", "\(set)/light/\(name).ppm"]) }
    #expect(try bench.listing("b2").count { $0.hasPrefix("removed-") } == 1)
  }

  /// An array of four rows that are unlike those of another `first`.
  private static func array(_ bench: Bench, _ name: String, first: Float, width: Int = 2) throws -> String {
    let path = "\(bench.folder)/\(name)"
    try NumPyArray.write(Tensor((0..<4 * width).map { first + Float($0) }, shape: [4, width]), to: path)
    return path
  }

  @Test func importedRowsAreAllAddedOrRefused() throws {
    let bench = try Bench()
    defer { bench.remove() }
    let bank = "\(bench.folder)/bank", named = try Self.array(bench, "named.npy", first: 70)
    func added(_ file: String) throws -> [Int?] {
      let json = try JSONValue.parse(Self.run(["index", "-o", bank, "--import", file, "--json"]).output)
      return [json["added"]?.integerValue, json["already_there"]?.integerValue]
    }
    // Without names each array has rows of its own.
    #expect(try added(Self.array(bench, "one.npy", first: 1)) == [4, 0])
    #expect(try added(Self.array(bench, "two.npy", first: 30)) == [4, 0])
    let numbered = try FeatureBank(path: bank)
    #expect(numbered.liveRows.map { numbered.path($0) } == (0..<8).map { "\($0)" })
    // With names those that are there are counted, and one name is one row's.
    try bench.write("named.paths.txt", Array("x\nx\ny\nz\n".utf8))
    #expect(try Self.run(["index", "-o", bank, "--import", named], status: 65).errors.contains("'x'"))
    try bench.write("named.paths.txt", Array("x\n3\ny\nz\n".utf8))
    #expect(try added(named) == [3, 1])
    #expect(try added(named) == [0, 4])
    // A row that is no row is found in its file.
    let bad = "\(bench.folder)/bad.npy"
    try NumPyArray.write(Tensor([1, 2, 3, .nan] as [Float], shape: [2, 2]), to: bad)
    #expect(try Self.run(["index", "-o", bank, "--import", bad], status: 65).errors.contains("bad.npy: row 1, counted from 0, has numbers"))
    try bench.write("bad.paths.txt", Array("u\nv\n".utf8))
    #expect(try Self.run(["index", "-o", bank, "--import", bad], status: 65).errors.contains("bad.npy: row 1 ('v'), counted"))
    // Nothing is removed where what is to be added cannot be.
    let wide = try Self.array(bench, "wide.npy", first: 0, width: 3)
    for (file, status) in [("\(bench.folder)/nosuch.npy", 66), (wide, 65)] as [(String, Int32)] {
      _ = try Self.run(["index", "-o", bank, "--remove", "5", "--import", file], status: status)
      #expect(try FeatureBank(path: bank).liveCount == 11)
    }
  }

  /// A path is one image's, however it is spelt.
  @Test func aPathMayBeSpeltOtherwise() throws {
    let bench = try Bench()
    defer { bench.remove() }
    try bench.photographs("p", count: 2)
    func index(_ more: [String], status: Int32 = 0) throws -> JSONValue {
      let result = try Tool.run(["index", "-o", "bank", "--json"] + more, folder: bench.folder)
      #expect(result.status == status, "\(more): \(result.errors)")
      return try JSONValue.parse(result.output)
    }
    for (i, spelling) in [["p"], ["./p"], [".//p/./", "p/000.ppm"], ["."]].enumerated() {
      let json = try index(["--model", "model.safetensors"] + spelling)
      #expect(json["added"]?.integerValue == (i == 0 ? 2 : 0) && json["already_there"]?.integerValue == (i == 0 ? 0 : 2), "\(spelling)")
    }
    #expect(try Tool.run(["search", "--bank", "bank", "--like", "./p//000.ppm", "-k", "1"], folder: bench.folder).output.hasSuffix("p/001.ppm\n"))
    #expect(try index(["--remove", "./p/000.ppm"])["removed"]?.integerValue == 1)
    #expect(try Tool.run(["index", "-o", "bank", "--remove", ""], folder: bench.folder).status == 66)
    #expect(try index(["--remove", "."])["removed"]?.integerValue == 1)
  }

  /// Another path to a file is the file: a picture that was in a bank twice answered for itself.
  @Test func aFileIsInABankOnce() throws {
    let bench = try Bench()
    defer { bench.remove() }
    _ = try Self.classes(bench)
    try FileManager.default.createSymbolicLink(atPath: "\(bench.folder)/link", withDestinationPath: "set")
    func index(_ inputs: [String], bank: String = "bank") throws -> ToolResult {
      let result = try Tool.run(["index", "-o", bank, "--json", "--model", "model.safetensors"] + inputs, folder: bench.folder)
      #expect(result.status == 0, "\(inputs): \(result.errors)")
      return result
    }
    #expect(try JSONValue.parse(index(["set"]).output)["added"]?.integerValue == 17)
    for spelling in ["\(bench.folder)/set", "link", "set/dark/../../set"] {
      let again = try index([spelling]), json = try JSONValue.parse(again.output)
      #expect(json["added"]?.integerValue == 0 && json["already_there"]?.integerValue == 17, "\(spelling)")
      #expect(again.errors.contains("17 of them by another path") && !again.errors.contains("keep another class"), "\(again.errors)")
    }
    #expect(try JSONValue.parse(index(["set", "link"], bank: "both").output)["added"]?.integerValue == 17)
    let rows = try FeatureBank(path: "\(bench.folder)/bank")
    #expect(rows.liveRows.allSatisfy { rows.name($0).hasPrefix("set/") })
  }

  /// Where leaving one out asks about a picture that is there twice, that is said.
  @Test func picturesThatAreThereTwiceAreNoted() throws {
    let bench = try Bench()
    defer { bench.remove() }
    let set = try Self.classes(bench), said = "have the very feature of another"
    let twice = try Self.run(["knn", "--train", set, "--model", bench.model, "-k", "1"]).errors
    #expect(twice.contains("1 images of \(set) \(said)") && twice.contains("copy.ppm"), "\(twice)")
    #expect(try !Self.run(["knn", "--train", set, "--test", set, "--model", bench.model, "-k", "1"]).errors.contains(said))
    try FileManager.default.removeItem(atPath: "\(set)/light/copy.ppm")
    #expect(try !Self.run(["knn", "--train", set, "--model", bench.model, "-k", "1"]).errors.contains(said))
  }

  /// A class is what it was when the row was made; what has none, or would have another now, is said.
  @Test func classesThatAreMissingOrOthersAreSaid() throws {
    let bench = try Bench()
    defer { bench.remove() }
    let set = try Self.classes(bench), bank = "\(bench.folder)/bank"
    let without = try Self.run(["index", "--model", bench.model, "-o", bank, "\(set)/dark", "\(set)/light"]).errors
    #expect(without.contains("17 of the new images have no class") && without.contains("dark/0.ppm"), "\(without)")
    let refused = try Self.run(["knn", "--train", bank, "-k", "1"], status: 65).errors
    #expect(refused.contains("dark/0.ppm has none") && refused.contains("name the folder that holds"), "\(refused)")
    let again = try Self.run(["index", "--model", bench.model, "-o", bank, set]).errors
    #expect(again.contains("17 of them keep another class") && again.contains("no class in the bank, class dark now"), "\(again)")
    _ = try Self.run(["index", "--model", bench.model, "-o", bank, "--remove", set, set])
    let right = try Self.run(["index", "--model", bench.model, "-o", bank, set]).errors
    #expect(right.contains("17 of 17 inputs are in the bank already") && !right.contains("another class"), "\(right)")
    _ = try Self.run(["knn", "--train", bank, "-k", "1"])
  }

  /// A row is of the photograph as it was; that the file is another now is said, until the row is made anew.
  @Test func changedPhotographsAreSaid() throws {
    let bench = try Bench()
    defer { bench.remove() }
    try bench.photographs("set", count: 3)
    let set = "\(bench.folder)/set", bank = "\(bench.folder)/bank", index = ["index", "--model", bench.model, "-o", bank], said = "have changed since"
    _ = try Self.run(index + [set])
    #expect(try !Self.run(index + [set]).errors.contains(said))
    try bench.write("set/001.ppm", Bench.photograph(seed: 99, width: 33, height: 35))
    for more in [[], ["--compact"]] as [[String]] {
      _ = try Self.run(["index", "-o", bank, "--export", "\(bench.folder)/e.npy"] + more)
      for spelling in [set, "\(set)/../set"] {
        let again = try Self.run(index + [spelling]).errors
        #expect(again.contains("1 of them \(said)") && again.contains("001.ppm"), "\(again)")
      }
    }
    _ = try Self.run(index + ["--remove", "\(set)/001.ppm", set])
    #expect(try !Self.run(index + [set]).errors.contains(said))
    // Rows from elsewhere are of no file.
    let elsewhere = "\(bench.folder)/elsewhere"
    _ = try Self.run(["index", "-o", elsewhere, "--import", "\(bench.folder)/e.npy"])
    let rows = try FeatureBank(path: elsewhere), own = try FeatureBank(path: bank)
    #expect(rows.liveRows.allSatisfy { rows.stamp($0) == nil })
    #expect(own.liveRows.allSatisfy { own.stamp($0) != nil })
  }

  /// Rows from elsewhere have the classes of their paths, so that they can be learnt from.
  @Test func importedRowsHaveTheClassesOfTheirPaths() throws {
    let bench = try Bench()
    defer { bench.remove() }
    let bank = "\(bench.folder)/bank"
    try NumPyArray.write(Tensor([1, 0, 1, 0.1, 0, 1, 0.1, 1] as [Float], shape: [4, 2]), to: "\(bench.folder)/n.npy")
    try bench.write("n.paths.txt", Array("x/hat/1\nx/hat/2\nx/sock/3\nx/sock/4\n".utf8))
    _ = try Self.run(["index", "-o", bank, "--import", "\(bench.folder)/n.npy"])
    #expect(try FeatureBank(path: bank).classes == ["hat", "sock"])
    #expect(try Self.run(["knn", "--train", bank, "-k", "1"]).output.contains("k = 1: 100.00 %"))
  }

  /// A name that begins with a combining mark is a name like others; what stands before it is still a slash.
  @Test func classesMayBeginWithAMark() throws {
    let bench = try Bench()
    defer { bench.remove() }
    let names = ["\u{301}a", "\u{FE0F}b"], bank = "\(bench.folder)/bank"
    for (i, name) in names.enumerated() { try bench.write("set/\(name)/\u{301}\(i).ppm", Bench.photograph(seed: UInt64(i))) }
    _ = try Self.run(["index", "\(bench.folder)/set", "--model", bench.model, "-o", bank])
    #expect(try FeatureBank(path: bank).classes.map { Array($0.utf8) } == names.map { Array($0.utf8) })
    let segmented = try Self.run(["segment", "\(bench.folder)/set", "--model", bench.model, "-o", "\(bench.folder)/out", "--image-size", "32x32"])
    #expect(try segmented.errors.contains("2 masks") && Set(bench.listing("out").map { Array($0.utf8) }).isSuperset(of: ["\u{301}0.png", "\u{301}1.png"].map { Array($0.utf8) }))
  }

  /// The sheet shows what was looked at.
  @Test func aSheetIsTurnedAsPhotographsAre() throws {
    let bench = try Bench()
    defer { bench.remove() }
    try bench.write("set/a.jpg", Bench.onItsSide())
    func sheet(_ more: [String]) throws -> Image {
      let bank = "\(bench.folder)/bank\(more.count)", path = "\(bench.folder)/\(more.count).png", common = ["--model", bench.model] + more
      _ = try Self.run(["index", "\(bench.folder)/set", "-o", bank] + common)
      _ = try Self.run(["search", "--bank", bank, "\(bench.folder)/set", "--contact-sheet", path] + common)
      return try ImageDecoder.decode(path: path)
    }
    #expect(try sheet([]) != sheet(["--exif-orientation"]))
  }

  /// A picture that comes through standard input is asked about, also where files are kept from being written over.
  @Test func standardInputIsReadOnce() throws {
    let bench = try Bench()
    defer { bench.remove() }
    let set = try Self.classes(bench), picture = Data(try bench.bytes("set/dark/2.ppm")), common = ["--train", set, "--test", "-", "--model", bench.model]
    let asked = try Tool.run(["knn", "-k", "1", "--predictions", "\(bench.folder)/p.tsv"] + common, input: picture)
    #expect(asked.status == 0 && asked.errors.contains("1 test image has no class and counts as wrong"), "\(asked.errors)")
    #expect(String(decoding: try bench.bytes("p.tsv"), as: UTF8.self).hasSuffix("\t-\tdark\n"))
    let learnt = try Tool.run(["linear", "-o", "\(bench.folder)/l.safetensors"] + common, input: picture)
    #expect(learnt.status == 0 && learnt.errors.contains("1 test image has no class and counts as wrong") && bench.exists("l.safetensors"), "\(learnt.errors)")
    let noNumber = try Self.run(["linear", "--train", set, "--model", bench.model, "--c", "1e-320", "-o", "\(bench.folder)/n.safetensors"], status: 65)
    #expect(noNumber.errors.contains("C = 1e-320") && !bench.exists("n.safetensors"), "\(noNumber.errors)")
  }

  /// Of so many classes JSON has who was taken for whom, not a table of their square.
  @Test func confusionOfManyClassesIsSparse() throws {
    let bench = try Bench()
    defer { bench.remove() }
    for (count, bank) in [(1000, "table"), (1001, "cells")] {
      // Two alike of each class, but for the last, whose images are nearest to those of the first.
      let angles = (0..<2 * count).map { Double($0 == 2 * count - 2 ? 0 : $0 / 2) * 0.001 + ($0 == 2 * count - 1 ? 3 : 0) }
      try NumPyArray.write(Tensor(angles.flatMap { [Float(cos($0)), Float(sin($0))] }, shape: [2 * count, 2]), to: "\(bench.folder)/\(bank).npy")
      try bench.write("\(bank).paths.txt", Array((0..<2 * count).map { "x/\(10_000 + $0 / 2)/\($0)\n" }.joined().utf8))
      _ = try Self.run(["index", "-o", "\(bench.folder)/\(bank)", "--import", "\(bench.folder)/\(bank).npy"])
      let said = try Self.run(["knn", "--train", "\(bench.folder)/\(bank)", "-k", "1", "--json"]).output
      if bank == "table" {
        // Its million of numbers is more than a reader of headers takes.
        #expect(said.contains(#""confusion":[[2,0,0,"#) && !said.contains("confusion_cells"))
      } else {
        let found = try #require(try JSONValue.parse(said)["first"]), cells = try #require(found["confusion_cells"]?.arrayValue).map { $0.arrayValue?.compactMap(\.integerValue) ?? [] }
        #expect(found["classes"]?.arrayValue?.count == count && found["confusion"] == nil && cells.count < 2 * count && cells.reduce(0) { $0 + $1[2] } == 2 * count)
        #expect(cells.contains([1, 1, 2]) && cells.contains([1000, 0, 2]))
      }
    }
  }

  /// A segment whose table is cut off is named once.
  @Test func aDamagedSegmentIsNamedOnce() throws {
    let bench = try Bench()
    defer { bench.remove() }
    let bank = "\(bench.folder)/bank"
    _ = try Self.run(["index", "-o", bank, "--import", Self.array(bench, "one.npy", first: 1)])
    let name = try #require(try bench.listing("bank").first { $0.hasPrefix("segment-") })
    try bench.write("bank/\(name)", [UInt8](repeating: 0xFF, count: 100))
    let said = try Self.run(["search", "--bank", bank, "--like", "1"], status: 65).errors
    #expect(said.components(separatedBy: name).count == 2, "\(said)")
  }

  @Test func pathsThatNoRowHasAreNamed() throws {
    let bench = try Bench()
    defer { bench.remove() }
    let bank = "\(bench.folder)/bank", file = try Self.array(bench, "n.npy", first: 1)
    try bench.write("n.paths.txt", Array("a/1\na/2\nb/3\nb/4\n".utf8))
    _ = try Self.run(["index", "-o", bank, "--import", file])
    let before = try bench.bytes("bank/bank.json")
    let some = try Self.run(["index", "-o", bank, "--remove", "typo", "--remove", "a/", "--remove", "a/1", "--json"], status: 1), json = try JSONValue.parse(some.output)
    #expect(some.errors.contains("typo: ") && !some.errors.contains("a/1"), "\(some.errors)")
    #expect(json["removed"]?.integerValue == 2 && json["not_removed"]?.arrayValue?.compactMap(\.stringValue) == ["typo"])
    // Where none is a row's and nothing else is asked for, nothing is found.
    let after = try bench.bytes("bank/bank.json")
    #expect(after != before)
    #expect(try Self.run(["index", "-o", bank, "--remove", "a/1", "--remove", "typo"], status: 66).errors.contains("a/1, typo: "))
    #expect(try bench.bytes("bank/bank.json") == after)
    // What else is asked for is done: the run that removed them may have been stopped before it.
    for (more, made) in [(["--export", "\(bench.folder)/e.npy"], "e.npy"), (["--export-postgres", "\(bench.folder)/e.copy"], "e.copy"), (["--approximate"], "bank/approximate.safetensors")] {
      #expect(try Self.run(["index", "-o", bank, "--remove", "a/1"] + more, status: 1).errors.contains("a/1: "))
      #expect(bench.exists(made), "\(made)")
    }
    #expect(try Self.run(["index", "-o", bank, "--remove", "a/1", "--remove", "typo", "--compact"], status: 1).errors.contains("typo: "))
    #expect(try FeatureBank(path: bank).rowCount == 2)
  }

  /// Lists of names from elsewhere end their lines as they will; what is no list is not taken for none.
  @Test func namesOfImportedRowsMayHaveCarriageReturns() throws {
    let bench = try Bench()
    defer { bench.remove() }
    let bank = "\(bench.folder)/bank", file = try Self.array(bench, "n.npy", first: 1)
    try FileManager.default.createDirectory(atPath: "\(bench.folder)/n.paths.txt", withIntermediateDirectories: false)
    #expect(try Self.run(["index", "-o", bank, "--import", file], status: 65).errors.contains("n.paths.txt"))
    #expect(!bench.exists("bank"))
    try FileManager.default.removeItem(atPath: "\(bench.folder)/n.paths.txt")
    try bench.write("n.paths.txt", Array("a\r\nb c\r\nd\r\ne\r\n".utf8))
    _ = try Self.run(["index", "-o", bank, "--import", file])
    let rows = try FeatureBank(path: bank)
    #expect(rows.liveRows.map { rows.path($0) } == ["a", "b c", "d", "e"])
  }

  @Test func removingAndAddingAreOneChange() throws {
    let bench = try Bench()
    defer { bench.remove() }
    try bench.photographs("set", count: 3)
    try bench.write("bad.ppm", [1])
    try bench.write("new.ppm", Bench.photograph(seed: 9))
    let bank = "\(bench.folder)/bank", bad = "\(bench.folder)/bad.ppm", change = ["index", "--model", bench.model, "--json", "-o", bank, "--remove", "\(bench.folder)/set/000.ppm"]
    _ = try Self.run(["index", "--model", bench.model, "-o", bank, "\(bench.folder)/set"])
    // But for the number of the next file, which is never used again.
    func manifest() throws -> String { try String(decoding: bench.bytes("bank/bank.json"), as: UTF8.self).replacing(/"next":[0-9]+/, with: "") }
    let before = try manifest(), files = try bench.listing("bank")
    // Of nothing that can be read, named once or twice, nothing comes of the removal, nor of a new bank.
    for images in [[bad], [bad, bad]] {
      _ = try Self.run(change + images, status: 65)
      #expect(try manifest() == before)
      #expect(try bench.listing("bank") == files)
      _ = try Self.run(["index", "--model", bench.model, "-o", "\(bench.folder)/none"] + images, status: 65)
      #expect(!bench.exists("none"))
    }
    let changed = try JSONValue.parse(Self.run(change + ["\(bench.folder)/new.ppm", "\(bench.folder)/new.ppm"]).output)
    #expect(changed["removed"]?.integerValue == 1 && changed["added"]?.integerValue == 1 && changed["already_there"]?.integerValue == 0)
    #expect(changed["rows"]?.integerValue == 3)
  }

  @Test func rowsAreAskedByTheBytesOfTheirNamesAndExportsHaveTwoFiles() throws {
    let bench = try Bench()
    defer { bench.remove() }
    let bank = "\(bench.folder)/bank"
    try NumPyArray.write(Tensor([1, 0, 0, 0, 0, 1, 0, 0, 0.9, 0.1, 0, 0, 0.1, 0.9, 0, 0] as [Float], shape: [4, 4]), to: "\(bench.folder)/n.npy")
    try bench.write("n.paths.txt", Array("caf\u{e9}\ncafe\u{301}\nnear one\nnear two\n".utf8))
    _ = try Self.run(["index", "-o", bank, "--import", "\(bench.folder)/n.npy"])
    for (name, nearest) in [("caf\u{e9}", "near one\n"), ("cafe\u{301}", "near two\n")] {
      #expect(try Self.run(["search", "--bank", bank, "--like", name, "-k", "1"]).output.hasSuffix(nearest))
    }
    #expect(try Self.run(["index", "-o", bank, "--export-postgres", "\(bench.folder)/x.sql"], status: 64).errors.contains(".copy"))
    #expect(!bench.exists("x.sql"))
  }

  /// Rows that are the same to the bit are duplicates at 1, though their lengths are 1 to rounding only.
  @Test(arguments: ["f32", "f16", "int8"]) func equalRowsAreDuplicatesAtOne(_ dtype: String) throws {
    let bench = try Bench()
    defer { bench.remove() }
    var random = SplitMix64(seed: 9)
    let rows = random.floats(60 * 64), bank = "\(bench.folder)/bank"
    try NumPyArray.write(Tensor(rows + rows, shape: [120, 64]), to: "\(bench.folder)/d.npy")
    _ = try Self.run(["index", "-o", bank, "--dtype", dtype, "--import", "\(bench.folder)/d.npy"])
    let groups = try JSONValue.parse(Self.run(["duplicates", bank, "--threshold", "1", "--json"]).output)["groups"]?.arrayValue
    #expect(groups?.count == 60)
  }

  /// What is to be kept can be read to its end, however large its header says it is.
  @Test func aPictureThatIsCutOffIsNotToBeKept() throws {
    let bench = try Bench()
    defer { bench.remove() }
    let picture = Bench.photograph(seed: 1), bank = "\(bench.folder)/bank"
    // The same picture with a longer header, so that it is the larger file even without its last rows.
    let commented = Array("P6\n#\(String(repeating: "x", count: 500))\n".utf8) + picture.dropFirst(3)
    try bench.write("set/a.ppm", commented)
    try bench.write("set/b.ppm", picture)
    _ = try Self.run(["index", "--model", bench.model, "-o", bank, "\(bench.folder)/set"])
    func first() throws -> [Substring] { try Self.run(["duplicates", bank, "--threshold", "0.9999"]).output.split(separator: "\n").map { $0.split(separator: "\t")[1...] }.map { $0[$0.startIndex] + " " + $0[$0.endIndex - 1].suffix(5) } }
    #expect(try first() == ["keep a.ppm", "copy b.ppm"])
    try bench.write("set/a.ppm", Array(commented.dropLast(100)))
    #expect(try first() == ["keep b.ppm", "- a.ppm"])
  }

  /// Whoever deletes what is called a copy keeps the picture: other names of one file are not called so.
  @Test func aFileIsNoCopyOfItself() throws {
    let bench = try Bench()
    defer { bench.remove() }
    let set = "\(bench.folder)/set"
    try bench.write("set/b.ppm", Bench.photograph(seed: 1))
    try FileManager.default.createSymbolicLink(atPath: "\(set)/a.ppm", withDestinationPath: "b.ppm")
    try FileManager.default.linkItem(atPath: "\(set)/b.ppm", toPath: "\(set)/c.ppm")
    let command = ["duplicates", "--model", bench.model, "--threshold", "0.9999"]
    // One file of three names is no group, nor is a path that is listed twice.
    #expect(try Self.run(command + [set]).output.isEmpty)
    try bench.write("list.txt", Array("\(set)/b.ppm\n\(set)/b.ppm\n".utf8))
    #expect(try Self.run(command + ["\(bench.folder)/list.txt"]).output.isEmpty)
    try bench.write("set/d.ppm", try bench.bytes("set/b.ppm"))
    let lines = try Self.run(command + [set]).output.split(separator: "\n").map { $0.split(separator: "\t") }
    let marked = lines.map { "\($0[1]) \($0[4].suffix(5))" }
    #expect(marked == ["keep b.ppm", "same a.ppm", "same c.ppm", "copy d.ppm"])
    let groups = try #require(try JSONValue.parse(Self.run(command + [set, "--json"]).output)["groups"]?.arrayValue)
    try #require(groups.count == 1)
    #expect(groups[0]["keep"]?.stringValue == "\(set)/b.ppm" && groups[0]["copies"]?.text.contains("d.ppm") == true)
    let same = try #require(groups[0]["members"]?.arrayValue).map { $0["same"]?.arrayValue?.count }
    #expect(same == [2, 0])
  }

  /// é as one character and as two: the same text, two files.
  @Test func filesWhoseNamesAreEqualAsTextAreTwo() throws {
    let bench = try Bench()
    defer { bench.remove() }
    let set = "\(bench.folder)/set", bank = "\(bench.folder)/bank"
    try FileManager.default.createDirectory(atPath: set, withIntermediateDirectories: true)
    for (i, name) in ["\u{E9}.ppm", "e\u{301}.ppm"].enumerated() { #expect(FileManager.default.createFile(atPath: "\(set)/\(name)", contents: Data(Bench.photograph(seed: UInt64(i))))) }
    let made = try JSONValue.parse(Self.run(["index", set, "--model", bench.model, "-o", bank, "--json"]).output)
    #expect(made["added"]?.integerValue == 2 && made["already_there"]?.integerValue == 0)
    #expect(try JSONValue.parse(Self.run(["index", "-o", bank, "--remove", "\(set)/e\u{301}.ppm", "--json"]).output)["removed"]?.integerValue == 1)
  }

  @Test func aShardOfTheWholeFolderHasItsClasses() throws {
    let bench = try Bench()
    defer { bench.remove() }
    let set = try Self.classes(bench), tar = Process()
    tar.executableURL = URL(fileURLWithPath: "/bin/tar")
    tar.arguments = ["-C", set, "-cf", "\(bench.folder)/set.tar", "."]
    try tar.run()
    tar.waitUntilExit()
    #expect(try Self.run(["knn", "--train", "\(bench.folder)/set.tar", "--model", bench.model, "-k", "1"]).output.contains("17 training images, 2 classes"))
  }

  /// Without a model nothing can be made anew, so what was asked for must be what the bank has.
  @Test func banksWithoutAModelAreWhatTheyAre() throws {
    let bench = try Bench()
    defer { bench.remove() }
    let set = try Self.classes(bench), bank = "\(bench.folder)/bank"
    _ = try Self.run(["index", set, "--model", bench.model, "-o", bank])
    _ = try Self.run(["knn", "--train", bank, "-k", "1", "--tokens", "cls", "--layers", "1"])
    for (arguments, status, named) in [
      (["knn", "--train", bank, "-k", "1", "--tokens", "mean"], 65, "tokens"), (["linear", "--train", bank, "--test", bank, "--layers", "2"], 65, "layers"), (["duplicates", bank, "--tokens", "mean"], 65, "tokens"),
      (["knn", "--train", bank, "--image-size", "64"], 64, "--model"), (["linear", "--train", bank, "--test", bank, "--mean", "0,0,0"], 64, "--model"), (["duplicates", bank, "--exif-orientation"], 64, "--model"),
      (["knn", "--train", bank, "--strict"], 64, "--strict goes with --model"), (["linear", "--train", bank, "--test", bank, "--precision", "bf16"], 64, "--precision goes with --model"),
      (["duplicates", bank, "--batch-size", "2"], 64, "--batch-size goes with --model"), (["knn", "--train", bank, "--heads", "3"], 64, "--heads goes with --model"),
      (["duplicates", bank, "--arch", "vit_tiny"], 64, "--arch goes with --model"), (["linear", "--train", bank, "--test", bank, "--checkpoint-key", "student"], 64, "--checkpoint-key goes with --model"),
    ] as [([String], Int32, String)] {
      #expect(try Self.run(arguments, status: status).errors.contains(named), "\(arguments)")
    }
  }

  /// What is not asked for is as in the bank, also where a model makes the other features and takes the classifier.
  @Test func theBankSaysWhatTheModelMakes() throws {
    let bench = try Bench()
    defer { bench.remove() }
    let set = try Self.classes(bench), bank = "\(bench.folder)/bank", head = "\(bench.folder)/head.safetensors"
    _ = try Self.run(["index", set, "--model", bench.model, "--tokens", "mean", "--layers", "2", "-o", bank])
    _ = try Self.run(["linear", "--train", bank, "--model", bench.model, "-o", head])
    #expect(try SafetensorsFile(path: head).tensor("probe.weight")?.shape == [2, 48])
    _ = try Self.run(["classify", "--model", head, "\(set)/dark"])
    _ = try Self.run(["knn", "--train", set, "--test", bank, "--model", bench.model, "-k", "1"])
    _ = try Self.run(["duplicates", bank, "--model", bench.model])
    #expect(try Self.run(["knn", "--train", bank, "--model", bench.model, "-k", "1", "--tokens", "cls"], status: 65).errors.contains("tokens"))
    #expect(try Self.run(["linear", "--train", bank, "--model", bench.model, "--layers", "1", "-o", "\(bench.folder)/no.safetensors"], status: 65).errors.contains("layers"))
  }

  @Test func aQueryOfAnotherModelIsRefused() throws {
    let bench = try Bench()
    defer { bench.remove() }
    let set = try Self.classes(bench), bank = "\(bench.folder)/bank", other = "\(bench.folder)/other.safetensors"
    _ = try Self.run(["index", set, "--model", bench.model, "-o", bank])
    _ = try Self.run(["init", "--width", "24", "--depth", "2", "--heads", "3", "--patch-size", "8", "--image-size", "32", "--seed", "4", "-o", other])
    #expect(try Self.run(["search", "--bank", bank, "--model", other, "\(set)/dark/0.ppm"], status: 65).errors.contains("another model"))
    #expect(try Self.run(["index", set, "--model", other, "-o", bank], status: 65).errors.contains("another model"))
    #expect(try Self.run(["search", "--bank", bank, "--model", bench.model, "--image-size", "64", "\(set)/dark/0.ppm"], status: 65).errors.contains("another preprocessing"))
    // The same weights in another file are the same model.
    _ = try Self.run(["convert", bench.model, "\(bench.folder)/again.safetensors"])
    _ = try Self.run(["search", "--bank", bank, "--model", "\(bench.folder)/again.safetensors", "\(set)/dark/0.ppm"])
  }

  @Test func failedCommandsLeaveNothing() throws {
    let bench = try Bench()
    defer { bench.remove() }
    try bench.write("set/a/broken.ppm", [1])
    let before = try bench.listing()
    for (arguments, status) in [
      (["index", "\(bench.folder)/set", "--model", bench.model, "-o", "\(bench.folder)/bank"], 65), (["index", "-o", "\(bench.folder)/bank", "--compact"], 66), (["index", "-o", "\(bench.folder)/bank"], 64),
      (["search", "--bank", "\(bench.folder)/set", "--like", "x"], 66), (["knn", "--train", "\(bench.folder)/set"], 64), (["knn", "--train", "\(bench.folder)/set", "--model", bench.model, "-k", "0"], 64),
      (["linear", "--train", "\(bench.folder)/set", "--model", bench.model], 64), (["linear", "--train", "\(bench.folder)/set", "--model", bench.model, "-o", "\(bench.folder)/h.safetensors"], 65),
      (["classify", "--model", bench.model, "\(bench.folder)/set"], 65), (["evaluate", "retrieval", "\(bench.folder)/set", "--model", bench.model], 65),
      (["evaluate", "copy-detection", "--originals", "\(bench.folder)/none", "--copies", "\(bench.folder)/set", "--model", bench.model], 66),
    ] as [([String], Int32)] {
      let result = try Self.run(arguments, status: status)
      #expect(result.output.isEmpty)
      #expect(try bench.listing() == before, "\(arguments)")
    }
  }

  @Test func neighboursOfFoldersAndBanksAgree() throws {
    let bench = try Bench()
    defer { bench.remove() }
    let set = try Self.classes(bench), bank = "\(bench.folder)/bank"
    _ = try Self.run(["index", set, "--model", bench.model, "-o", bank])
    let folders = try JSONValue.parse(Self.run(["knn", "--train", set, "--model", bench.model, "-k", "3,100", "--json", "--predictions", "\(bench.folder)/p.tsv"]).output)
    let banks = try JSONValue.parse(Self.run(["knn", "--train", bank, "-k", "3,100", "--json"]).output)
    #expect(folders["results"] == banks["results"] && folders["first"]?["confusion"] == banks["first"]?["confusion"])
    #expect(folders["first"]?["top1"]?.doubleValue == 100 && folders["first"]?["images"]?.integerValue == 17)
    #expect(try bench.bytes("p.tsv").count { $0 == 10 } == 17)
    let both = try Self.run(["evaluate", "knn", "--train", bank, "-k", "3"])
    #expect(both.output.contains("k = 3: 100.00 %") && !both.errors.contains("one class"))
    // The folder above makes one class of all.
    try FileManager.default.createDirectory(atPath: "\(bench.folder)/above", withIntermediateDirectories: false)
    try FileManager.default.moveItem(atPath: set, toPath: "\(bench.folder)/above/set")
    #expect(try Self.run(["knn", "--train", "\(bench.folder)/above", "--model", bench.model, "-k", "3"]).errors.contains("one class"))
  }

  @Test(arguments: [["--method", "logistic"], ["--method", "sgd", "--lr", "1"], ["--tokens", "cls+mean", "--layers", "2"]])
  func aClassifierGoesIntoTheFileAndIsUsed(_ how: [String]) throws {
    let bench = try Bench()
    defer { bench.remove() }
    let set = try Self.classes(bench), model = "\(bench.folder)/head.safetensors"
    let result = try Self.run(["linear", "--train", set, "--test", set, "--model", bench.model, "-o", model, "--json"] + how)
    #expect(try JSONValue.parse(result.output)["test"]?["top1"]?.doubleValue == 100)
    // Also through another file.
    _ = try Self.run(["convert", model, "\(bench.folder)/again.safetensors"])
    for file in [model, "\(bench.folder)/again.safetensors"] {
      let said = try Self.run(["classify", "--model", file, set]), lines = said.output.split(separator: "\n")
      #expect(lines.count == 17 && !said.errors.contains("not known"), "\(said.errors)")
      for line in lines {
        let fields = line.split(separator: "\t")
        #expect(fields.count == 3 && fields[0].contains("/\(fields[1])/") && (Double(fields[2]) ?? 0) > 0.5, "\(line)")
      }
    }
    let file = try SafetensorsFile(path: model), isHead = !how.contains("--layers")
    #expect(file.tensor(isHead ? "head.weight" : "probe.weight")?.shape == (isHead ? [2, 24] : [2, 96]))
    #expect(file.metadata["dino.classes"]?.contains(#"["dark","light"]"#) == true)
    #expect(try Self.run(["inspect", model, "--self-test"]).status == 0)
    // A state dict has no place for the names; transformers' folder has, for those of its own classifier.
    let torch = try Self.run(["convert", model, "\(bench.folder)/head.PTH"]), folder = try Self.run(["convert", model, "\(bench.folder)/hf", "--layout", "hf"])
    #expect(torch.errors.contains("leaves it out") && folder.errors.contains("leaves it out") != isHead)
    #expect(try bench.bytes("head.PTH").prefix(2) == [0x50, 0x4B])
    if isHead {
      let named = try Self.run(["classify", "--model", "\(bench.folder)/hf", set])
      #expect(named.output.split(separator: "\n").allSatisfy { ["dark", "light"].contains($0.split(separator: "\t")[1]) }, "\(named.output)")
    }
  }

  /// Whatever is wrong with names and classes is said before an image is decoded: not a word about the one that cannot be read.
  @Test func namesAndClassesAreLookedAtBeforeImages() throws {
    let bench = try Bench()
    defer { bench.remove() }
    let set = try Self.classes(bench)
    try bench.write("set/dark/broken.ppm", [1])
    try bench.write("one/only/broken.ppm", [1])
    try bench.write("loose/a/broken.ppm", [1])
    try bench.write("loose/b/broken.ppm", [1])
    try bench.write("loose/astray.ppm", Bench.photograph(seed: 1))
    let other = "\(bench.folder)/other.safetensors", bank = "\(bench.folder)/bank"
    _ = try Self.run(["init", "--width", "24", "--depth", "2", "--heads", "3", "--patch-size", "8", "--image-size", "32", "--seed", "4", "-o", other, "--quiet"])
    _ = try Self.run(["index", "--model", other, "-o", bank, "\(set)/light"])
    for (arguments, status, said) in [
      (["knn", "--train", set, "--test", "\(bench.folder)/nowhere"], 66, "nowhere"), (["linear", "--train", set, "--test", "\(bench.folder)/nowhere"], 66, "nowhere"),
      (["knn", "--train", "\(bench.folder)/loose", "--test", set], 65, "astray.ppm has none"), (["linear", "--train", "\(bench.folder)/loose", "--test", set], 65, "astray.ppm has none"),
      (["linear", "--train", "\(bench.folder)/one", "--test", set], 65, "1 class,"), (["knn", "--train", set, "--test", bank], 65, "another model"),
    ] as [([String], Int32, String)] {
      let errors = try Self.run(arguments + ["--model", bench.model], status: status).errors
      #expect(errors.contains(said) && !errors.contains("broken.ppm"), "\(arguments): \(errors)")
    }
  }

  /// A softmax over what is not a number would name the first class of every image.
  @Test func aClassifierOfWhatIsNoNumberIsRefused() throws {
    let bench = try Bench()
    defer { bench.remove() }
    let set = try Self.classes(bench), model = "\(bench.folder)/head.safetensors"
    _ = try Self.run(["linear", "--train", set, "--model", bench.model, "-o", model])
    let file = try SafetensorsFile(path: model)
    for name in ["head.weight", "head.bias"] {
      let path = "\(bench.folder)/nan.safetensors"
      let tensors = file.names.map { n -> (name: String, tensor: Tensor) in
        guard n == name, let tensor = file.tensor(n) else { return (n, file.tensor(n)!) }
        return (n, Tensor([.nan] + tensor.floats().dropFirst(), shape: tensor.shape))
      }
      // Without the record, whose self-test would tell it first.
      try SafetensorsWriter.write(tensors, metadata: ["format": "pt"], to: path)
      let refused = try Self.run(["classify", "--model", path, "--heads", "3", set], status: 65)
      #expect(refused.errors.contains("values that are not finite") && refused.output.isEmpty, "\(refused.errors)")
    }
    let diverged = try Self.run(["linear", "--train", set, "--model", bench.model, "-o", "\(bench.folder)/d.safetensors", "--method", "sgd", "--lr", "1e38"], status: 65).errors
    #expect(diverged.contains("lower --lr") && !bench.exists("d.safetensors"), "\(diverged)")
  }

  /// The files of eval_linear.py, beside the network of the fixtures.
  @Test func theOriginalsClassifiersAreUsed() throws {
    let bench = try Bench()
    defer { bench.remove() }
    let set = try Self.classes(bench), network = Fixtures.path("dino/vit/backbone.pth"), classifier = Fixtures.path("classifiers/official/mean.pth")
    let plain = ["classify", "--model", network, "--heads", "3", set]
    let mean = try Self.run(plain + ["--classifier", classifier])
    #expect(mean.output.split(separator: "\n").count == 17 && mean.errors.contains("mean of its patch tokens"), "\(mean.errors)")
    let two = try Self.run(plain + ["--classifier", classifier, "--avgpool-patchtokens", "false"])
    #expect(two.errors.contains("the last 2 blocks") && two.output != mean.output, "\(two.errors)")
    #expect(try Self.run(["classify", "--model", bench.model, "--classifier", classifier, set], status: 65).errors.contains("expected are"))
    #expect(try Self.run(plain + ["--classifier", network], status: 65).errors.contains("linear.weight"))
    #expect(try Self.run(plain + ["--avgpool_patchtokens", "true"], status: 64).errors.contains("--classifier"))
    let alone = try Self.run(["features", "--model", classifier, "-o", "\(bench.folder)/f.npy", set], status: 65).errors
    #expect(alone.contains("eval_linear.py") && alone.contains("classify --model NETWORK --classifier"), "\(alone)")
  }

  @Test func copiesAreFoundAndProtocolsGiveTheirFigures() throws {
    let bench = try Bench()
    defer { bench.remove() }
    let set = try Self.classes(bench)
    let groups = try JSONValue.parse(Self.run(["duplicates", set, "--model", bench.model, "--threshold", "0.99999", "--json"]).output)["groups"]?.arrayValue ?? []
    #expect(groups.count == 1)
    #expect(Set(groups[0]["members"]!.arrayValue!.compactMap { $0["path"]?.stringValue?.split(separator: "/").last }) == ["3.ppm", "copy.ppm"])
    // Originals among distractors: each copy is the same picture, so its original comes first.
    let copies = try JSONValue.parse(Self.run(["evaluate", "copy-detection", "--originals", "\(set)/dark", "--copies", "\(set)/dark", "--distractors", "\(set)/light", "--model", bench.model,
                                               "--image-size", "32", "--json"]).output)
    #expect(copies["results"]?.arrayValue?.first?["map"]?.doubleValue == 100 && copies["database"]?.integerValue == 17)
    // The copy of an original that cannot be read is left out; one whose original is not there is an error.
    try bench.write("originals/0.ppm", [1])
    for i in 1..<8 { try bench.write("originals/\(i).ppm", try bench.bytes("set/dark/\(i).ppm")) }
    let detection = ["evaluate", "copy-detection", "--originals", "\(bench.folder)/originals", "--copies", "\(set)/dark", "--model", bench.model, "--image-size", "32", "--json"]
    let fewer = try Self.run(detection, status: 1), figure = try JSONValue.parse(fewer.output)["results"]?.arrayValue?.first
    #expect(fewer.errors.contains("0.ppm") && fewer.errors.contains("1 of 8 copies left out"))
    #expect(figure?["queries"]?.integerValue == 7 && figure?["map"]?.doubleValue == 100)
    try FileManager.default.removeItem(atPath: "\(bench.folder)/originals/0.ppm")
    #expect(try Self.run(detection, status: 65).errors.contains("no original"))
    for more in [[], ["--multi-scale"], ["--expand", "2"], ["--whiten", "\(set)/dark"]] {
      let result = try JSONValue.parse(Self.run(["evaluate", "retrieval", set, "--model", bench.model, "--image-size", "32", "--json"] + more).output)
      let map = result["results"]?.arrayValue?.first?["map"]?.doubleValue ?? .nan
      #expect(map > 30 && map <= 100, "\(more): \(map)")
      if more.isEmpty { #expect(map > 99) }
    }
  }
}
