// dinoctl features on folders, lists, archives and standard input; corrupt photographs; interruption and going on.

import DinoTensor
import Foundation
import NumPyArrays
import Safetensors
import TestSupport
import Testing

@Suite struct FeatureCommandTests {
  static func features(_ bench: Bench, _ output: String, _ arguments: [String], input: Data? = nil) throws -> ToolResult {
    try Tool.run(["features", "--model", bench.model, "-o", "\(bench.folder)/\(output)"] + arguments, input: input)
  }

  static func paths(_ bench: Bench, _ name: String) throws -> [String] {
    String(decoding: try bench.bytes(name), as: UTF8.self).split(separator: "\n").map(String.init)
  }

  @Test func namesAndSkipsCorruptPhotographs() throws {
    let bench = try Bench()
    defer { bench.remove() }
    try bench.photographs("photos", count: 40)
    for i in [0, 17, 39] {
      let name = "photos/" + String(repeating: "0", count: 3 - String(i).count) + "\(i).ppm"
      try bench.write(name, Array(try bench.bytes(name).prefix(300)))
    }
    let result = try Self.features(bench, "f.npy", ["\(bench.folder)/photos"])
    #expect(result.status == 1)
    for name in ["000.ppm", "017.ppm", "039.ppm"] { #expect(result.errors.contains("photos/\(name)"), "\(name)") }
    let rows = try NumPyArray.read(path: "\(bench.folder)/f.npy")
    #expect(rows.shape == [37, 24] && rows.dtype == .f32)
    let paths = try Self.paths(bench, "f.paths.txt")
    #expect(paths.count == 37 && paths == paths.sorted() && !paths.contains { $0.hasSuffix("017.ppm") })
    #expect(try bench.listing().filter { $0.contains("partial") } == [])
    // Each row is that photograph's own.
    let one = try Self.features(bench, "one.npy", [paths[20], "--quiet"])
    #expect(one.status == 0 && one.errors.contains("random weights"))
    let values = rows.floats()
    #expect(maxAbsoluteDifference(Array(values[20 * 24..<21 * 24]), try NumPyArray.read(path: "\(bench.folder)/one.npy").floats()) < 1e-5)
  }

  /// Wide grey is cut off at 255 as in Pillow, and that is said; so is nothing of what has 8 bits, or of colour.
  @Test func picturesThatWereClippedAreCounted() throws {
    let bench = try Bench()
    defer { bench.remove() }
    let pictures = Fixtures.path("imaging/decode"), wide = ["png_grey16.png", "png_grey16_interlaced.png", "pnm_p2_wide.pgm"]
    let result = try Self.features(bench, "f.npy", (wide + ["png_grey8.png", "png_rgb16.png"]).map { "\(pictures)/\($0)" })
    #expect(result.status == 0 && result.errors.contains("3 pictures are of 16-bit grey"), "\(result.errors)")
    let narrow = try Self.features(bench, "g.npy", ["\(pictures)/png_grey8.png", "\(pictures)/png_rgb16.png"])
    #expect(narrow.status == 0 && !narrow.errors.contains("16-bit grey"), "\(narrow.errors)")
  }

  /// A TIFF file of grey pages; those of `kinds` 1 and 4 are smaller forms of another, and masks (tag 254).
  private static func tiff(_ kinds: [UInt32]) -> [UInt8] {
    func little(_ v: UInt32, _ count: Int = 4) -> [UInt8] { (0..<count).map { UInt8(truncatingIfNeeded: v >> UInt32(8 * $0)) } }
    let side: UInt32 = 40, fields: UInt32 = 10, length = 2 + fields * 12 + 4 + side * side
    var bytes: [UInt8] = [0x49, 0x49, 42, 0] + little(8)
    for (i, kind) in kinds.enumerated() {
      let here = UInt32(bytes.count), pixels = here + 2 + fields * 12 + 4
      let entries: [(UInt32, UInt32)] = [(254, kind), (256, side), (257, side), (258, 8), (259, 1), (262, 1), (273, pixels), (277, 1), (278, side), (279, side * side)]
      bytes += little(fields, 2) + entries.flatMap { little($0.0, 2) + little(4, 2) + little(1) + little($0.1) } + little(i + 1 < kinds.count ? here + length : 0)
      bytes += (0..<side * side).map { UInt8(truncatingIfNeeded: $0 * 7) }
    }
    return bytes
  }

  /// The first page is read; that there are more is said, of a pyramid's smaller forms it is not.
  @Test func furtherPagesAreCounted() throws {
    let bench = try Bench()
    defer { bench.remove() }
    for (name, kinds) in [("one", [0]), ("two", [0, 0]), ("pyramid", [0, 1, 1, 4]), ("book", [0, 1, 2])] as [(String, [UInt32])] { try bench.write("\(name).tif", Self.tiff(kinds)) }
    let result = try Self.features(bench, "f.npy", ["one", "two", "pyramid", "book"].map { "\(bench.folder)/\($0).tif" })
    #expect(result.status == 0 && result.errors.contains("2 TIFF files have further pages"), "\(result.errors)")
    let single = try Self.features(bench, "g.npy", ["one", "pyramid"].map { "\(bench.folder)/\($0).tif" })
    #expect(single.status == 0 && !single.errors.contains("pages"), "\(single.errors)")
  }

  /// A folder whose name is not UTF-8, and a link to nothing.
  @Test func namesWhatCannotBeLookedInto() throws {
    let bench = try Bench()
    defer { bench.remove() }
    try bench.photographs("photos", count: 2)
    let latin = Array("\(bench.folder)/photos/cat".utf8).map { CChar(truncatingIfNeeded: $0) } + [CChar(truncatingIfNeeded: 0xE9), 0]
    try #require(mkdir(latin, 0o755) == 0)
    defer { rmdir(latin) }
    try FileManager.default.createSymbolicLink(atPath: "\(bench.folder)/photos/gone.png", withDestinationPath: "/no/such/place")
    let result = try Self.features(bench, "f.csv", ["\(bench.folder)/photos"])
    #expect(result.status == 1 && result.errors.contains("gone.png") && result.errors.contains("not UTF-8") && result.errors.contains("2 of 4"), "\(result.errors)")
  }

  @Test func strictStopsAndKeepsFinishedRows() throws {
    let bench = try Bench()
    defer { bench.remove() }
    try bench.photographs("photos", count: 5)
    let good = try bench.bytes("photos/003.ppm"), first = try bench.bytes("photos/000.ppm")
    let before = try bench.listing()
    try bench.write("photos/000.ppm", [1, 2, 3])
    let nothing = try Self.features(bench, "f.npy", ["--strict", "\(bench.folder)/photos"])
    #expect(nothing.status == 65 && nothing.errors.contains("000.ppm"))
    #expect(try bench.listing() == before)
    try bench.write("photos/000.ppm", first)
    try bench.write("photos/003.ppm", [1, 2, 3])
    let stopped = try Self.features(bench, "f.npy", ["--strict", "\(bench.folder)/photos"])
    #expect(stopped.status == 65 && stopped.errors.contains("003.ppm") && stopped.errors.contains("3 rows are kept"), "\(stopped.errors)")
    #expect(try bench.listing() == (before + ["f.npy.partial", "f.npy.partial.log"]).sorted())
    // The same settings on other images leave them alone.
    let kept = try bench.bytes("f.npy.partial")
    for (images, input) in [("\(bench.folder)/photos/004.ppm", nil), ("\(bench.folder)/photos/000.ppm", nil), ("-", Data(good))] as [(String, Data?)] {
      let other = try Self.features(bench, "f.npy", ["--strict", images], input: input)
      #expect(other.status == 64 && other.errors.contains("f.npy.partial holds 3 rows that an interrupted run made of other images"), "\(other.errors)")
      #expect(try bench.bytes("f.npy.partial") == kept)
    }
    try bench.write("photos/003.ppm", good)
    let again = try Self.features(bench, "f.npy", ["--strict", "\(bench.folder)/photos"])
    #expect(again.status == 0 && again.errors.contains("going on after 3 of 5"), "\(again.errors)")
    #expect(try Self.features(bench, "whole.npy", ["\(bench.folder)/photos"]).status == 0)
    #expect(maxAbsoluteDifference(try NumPyArray.read(path: "\(bench.folder)/f.npy").floats(), try NumPyArray.read(path: "\(bench.folder)/whole.npy").floats()) < 1e-5)
  }

  /// What a folder says of its network is in a file beside the weights.
  @Test func rowsOfANetworkOfAnotherFormAreNotGoneOnFrom() throws {
    let bench = try Bench()
    defer { bench.remove() }
    try bench.photographs("photos", count: 3)
    try bench.write("photos/002.ppm", [1])
    #expect(try Tool.run(["convert", bench.model, "\(bench.folder)/hf", "--layout", "hf"]).status == 0)
    let command = ["features", "--model", "\(bench.folder)/hf", "--image-size", "32", "--strict", "-o", "\(bench.folder)/f.npy", "\(bench.folder)/photos"]
    let stopped = try Tool.run(command)
    #expect(stopped.status == 65 && stopped.errors.contains("2 rows are kept"), "\(stopped.errors)")
    let config = String(decoding: try bench.bytes("hf/config.json"), as: UTF8.self), changed = config.replacingOccurrences(of: "1e-06", with: "1e-05")
    try #require(changed != config)
    try bench.write("hf/config.json", Array(changed.utf8))
    let other = try Tool.run(command)
    #expect(other.status == 64 && other.errors.contains("with another model or other settings"), "\(other.errors)")
  }

  /// A file that may not grow any more stands for a full disk.
  @Test func goesOnAfterAFullDisk() throws {
    let bench = try Bench()
    defer { bench.remove() }
    try bench.photographs("photos", count: 60)
    let arguments = ["features", "--model", bench.model, "-o", "\(bench.folder)/f.npy", "\(bench.folder)/photos", "--batch-size", "1"]
    // Of 60 rows 5760 bytes; four blocks are 2 or 4 kB, as the shell counts them.
    let full = try Tool.Run(["-c", "ulimit -f 4; exec \"$0\" \"$@\"", Tool.path] + arguments, executable: "/bin/sh").wait()
    #expect(full.status == 74 && full.errors.contains("rows are kept"), "\(full.status): \(full.errors)")
    let kept = try bench.bytes("f.npy.partial")
    #expect(kept.count >= 20 * 96)
    // Other settings leave them alone.
    let other = try Tool.run(arguments + ["--normalize"])
    #expect(other.status == 64 && other.errors.contains("f.npy.partial holds"), "\(other.errors)")
    #expect(try bench.bytes("f.npy.partial") == kept)
    let again = try Tool.run(arguments)
    #expect(again.status == 0 && again.errors.contains("going on after"), "\(again.errors)")
    #expect(try Self.features(bench, "whole.npy", ["\(bench.folder)/photos", "--batch-size", "1"]).status == 0)
    #expect(try bench.bytes("f.npy") == bench.bytes("whole.npy") && bench.bytes("f.paths.txt") == bench.bytes("whole.paths.txt"))
  }

  @Test func everyFormOfInputGivesTheSameRows() throws {
    let bench = try Bench()
    defer { bench.remove() }
    try bench.photographs("photos", count: 6)
    let files = try bench.listing("photos").map { "\(bench.folder)/photos/\($0)" }
    try bench.write("list.txt", Array((files.joined(separator: "\n") + "\n").utf8))
    let tar = Process()
    tar.executableURL = URL(fileURLWithPath: "/bin/tar")
    tar.arguments = ["-C", "\(bench.folder)/photos", "-cf", "\(bench.folder)/shard.tar"] + files.map { URL(fileURLWithPath: $0).lastPathComponent }
    try tar.run()
    tar.waitUntilExit()
    #expect(try Self.features(bench, "folder.npy", ["\(bench.folder)/photos"]).status == 0)
    let expected = try bench.bytes("folder.npy")
    let shard = Data(try bench.bytes("shard.tar"))
    #expect(try Self.features(bench, "files.npy", files).status == 0)
    #expect(try Self.features(bench, "list.npy", ["\(bench.folder)/list.txt"]).status == 0)
    #expect(try Self.features(bench, "tar.npy", ["\(bench.folder)/shard.tar"]).status == 0)
    #expect(try Self.features(bench, "stdin.npy", ["-"], input: shard).status == 0)
    #expect(try Self.features(bench, "names.npy", ["-"], input: Data((files.joined(separator: "\n")).utf8)).status == 0)
    #expect(try Self.features(bench, "batch.npy", ["--batch-size", "1", "--threads", "1", "\(bench.folder)/photos"]).status == 0)
    for name in ["files", "list", "tar", "stdin", "names"] { #expect(try bench.bytes("\(name).npy") == expected, "\(name)") }
    let a = try NumPyArray.read(path: "\(bench.folder)/folder.npy").floats(), b = try NumPyArray.read(path: "\(bench.folder)/batch.npy").floats()
    #expect(maxAbsoluteDifference(a, b) < 1e-5)
    #expect(try Self.paths(bench, "tar.paths.txt").first == "\(bench.folder)/shard.tar/000.ppm")
  }

  @Test func linksInArchivesAreRowsOrNamed() throws {
    let bench = try Bench()
    defer { bench.remove() }
    try bench.photographs("photos", count: 2)
    let photos = "\(bench.folder)/photos"
    try FileManager.default.linkItem(atPath: "\(photos)/000.ppm", toPath: "\(photos)/002.ppm")
    try FileManager.default.createSymbolicLink(atPath: "\(photos)/003.ppm", withDestinationPath: "/no/such.ppm")
    let tar = Process()
    tar.executableURL = URL(fileURLWithPath: "/bin/tar")
    tar.arguments = ["-C", photos, "-cf", "\(bench.folder)/l.tar", "000.ppm", "001.ppm", "002.ppm", "003.ppm"]
    try tar.run()
    tar.waitUntilExit()
    let result = try Self.features(bench, "f.npy", ["\(bench.folder)/l.tar"])
    #expect(result.status == 1 && result.errors.contains("003.ppm: a link to /no/such.ppm") && result.errors.contains("1 of 4"), "\(result.errors)")
    let rows = try NumPyArray.read(path: "\(bench.folder)/f.npy")
    #expect(rows.shape == [3, 24] && maxAbsoluteDifference(Array(rows.floats()[..<24]), Array(rows.floats()[48...])) < 1e-5)
  }

  @Test func everyFormatHoldsTheSameRows() throws {
    let bench = try Bench()
    defer { bench.remove() }
    try bench.photographs("photos", count: 3)
    for format in ["npy", "npz", "safetensors", "jsonl", "csv"] {
      #expect(try Self.features(bench, "\(format).\(format)", ["--tokens", "cls+mean", "--layers", "2", "--normalize", "\(bench.folder)/photos"]).status == 0, "\(format)")
    }
    let rows = try NumPyArray.read(path: "\(bench.folder)/npy.npy")
    #expect(rows.shape == [3, 96])
    let values = rows.floats()
    #expect(try NumPyArchive(path: "\(bench.folder)/npz.npz").tensor("features").floats() == values)
    #expect(try SafetensorsFile(path: "\(bench.folder)/safetensors.safetensors").tensor("features")?.floats() == values)
    let lines = try Self.paths(bench, "jsonl.jsonl")
    #expect(lines.count == 3)
    for (i, line) in lines.enumerated() {
      let json = try JSONValue.parse(line)
      #expect(json["path"]?.stringValue == "\(bench.folder)/photos/00\(i).ppm")
      let row = json["features"]?.arrayValue?.compactMap { $0.doubleValue.map { Float($0) } }
      #expect(row == Array(values[i * 96..<(i + 1) * 96]))
    }
    let csv = try Self.paths(bench, "csv.csv")
    #expect(csv.count == 4 && csv[0].hasPrefix("path,f0,f1,"))
    #expect(csv[2].split(separator: ",").dropFirst().compactMap { Float($0) } == Array(values[96..<192]))
  }

  /// A link where the result is to be stays one, and the file behind it is new.
  @Test func resultsGoThroughLinks() throws {
    let bench = try Bench()
    defer { bench.remove() }
    try bench.photographs("photos", count: 2)
    try bench.write("disk/f.npy", [1])
    try FileManager.default.createSymbolicLink(atPath: "\(bench.folder)/f.npy", withDestinationPath: "disk/f.npy")
    #expect(try Self.features(bench, "f.npy", ["\(bench.folder)/photos"]).status == 0)
    #expect(try FileManager.default.destinationOfSymbolicLink(atPath: "\(bench.folder)/f.npy") == "disk/f.npy")
    #expect(try NumPyArray.read(path: "\(bench.folder)/disk/f.npy").shape == [2, 24])
    #expect(try bench.listing("disk") == ["f.npy"])
    for (name, arguments) in [("m.pth", ["convert", bench.model]), ("g.npy", ["index", "--model", bench.model, "-o", "\(bench.folder)/bank", "\(bench.folder)/photos", "--export"])] {
      try FileManager.default.createSymbolicLink(atPath: "\(bench.folder)/\(name)", withDestinationPath: "disk/\(name)")
      let result = try Tool.run(arguments + ["\(bench.folder)/\(name)"])
      #expect(result.status == 0 && bench.exists("disk/\(name)"), "\(result.errors)")
      #expect(try FileManager.default.destinationOfSymbolicLink(atPath: "\(bench.folder)/\(name)") == "disk/\(name)")
    }
  }

  /// Said before the model is read, not after hours of work.
  @Test func aLinkIntoNoFolderIsRefusedAtOnce() throws {
    let bench = try Bench()
    defer { bench.remove() }
    let link = "\(bench.folder)/q.safetensors"
    try FileManager.default.createSymbolicLink(atPath: link, withDestinationPath: "gone/q.safetensors")
    try bench.write("broken.safetensors", [1])
    let refused = try Tool.run(["quantize", "--model", "\(bench.folder)/broken.safetensors", "-o", link])
    #expect(refused.status == 74 && refused.errors.contains("the folder \(bench.folder)/gone, to which it is a link,"), "\(refused.errors)")
  }

  /// STEM.paths.txt names the rows of one array.
  @Test func namesOfAnotherArrayAreNotReplaced() throws {
    let bench = try Bench()
    defer { bench.remove() }
    for set in ["a", "b"] { try bench.photographs(set, count: 2) }
    #expect(try Self.features(bench, "g.npy", ["\(bench.folder)/a"]).status == 0)
    let names = try bench.bytes("g.paths.txt")
    for name in ["g.npz", "g.safetensors"] {
      let other = try Self.features(bench, name, ["\(bench.folder)/b"])
      #expect(other.status == 64 && other.errors.contains("g.paths.txt would name") && other.errors.contains("g.npy already"), "\(other.errors)")
      #expect(!bench.exists(name) && !bench.exists(name + ".partial"))
    }
    #expect(try bench.bytes("g.paths.txt") == names)
    // What has its names in it may be beside it, and an array is replaced with its names.
    for name in ["g.csv", "g.npy"] { #expect(try Self.features(bench, name, ["\(bench.folder)/b"]).status == 0, "\(name)") }
    #expect(try bench.bytes("g.paths.txt") != names)
    // A model of the array's stem is no array: neither the second time nor where a list of an array that is gone is left.
    for round in 0..<3 {
      let beside = try Self.features(bench, "model.npy", ["\(bench.folder)/a"])
      #expect(beside.status == 0, "\(beside.errors)")
      if round == 1 { try FileManager.default.removeItem(atPath: "\(bench.folder)/model.npy") }
    }
  }

  @Test func patchTokensKeepTheirGrid() throws {
    let bench = try Bench()
    defer { bench.remove() }
    try bench.photographs("photos", count: 3)
    #expect(try Self.features(bench, "p.npz", ["--tokens", "patch", "--image-size", "24x40", "\(bench.folder)/photos"]).status == 0)
    #expect(try NumPyArchive(path: "\(bench.folder)/p.npz").tensor("features").shape == [3, 15, 24])
  }

  /// Runs into f.npy and stops when some rows are there and more are to come.
  private static func stop(_ bench: Bench, _ arguments: [String], _ signal: Int32, _ status: Int32) throws {
    let run = try Tool.Run(arguments)
    var rows = 0
    while rows < 20, run.process.isRunning {
      usleep(500)
      rows = ((try? bench.bytes("f.npy.partial.log")) ?? []).count { $0 == 10 }
    }
    kill(run.process.processIdentifier, signal)
    let stopped = run.wait()
    try #require(stopped.status == status, "the run ended before it could be stopped: \(stopped.status)")
  }

  @Test func goesOnAfterAnInterruption() throws {
    let bench = try Bench()
    defer { bench.remove() }
    try bench.photographs("photos", count: 250)
    try bench.write("photos/150.ppm", [0])
    let whole = try Self.features(bench, "whole.npy", ["\(bench.folder)/photos", "--batch-size", "1"])
    #expect(whole.status == 1)
    let arguments = ["features", "--model", bench.model, "-o", "\(bench.folder)/f.npy", "\(bench.folder)/photos", "--batch-size", "1"]
    for (signal, status) in [(SIGINT, 130), (SIGKILL, 9)] as [(Int32, Int32)] {
      try Self.stop(bench, arguments, signal, status)
      #expect(!bench.exists("f.npy"))
      let again = try Tool.run(arguments)
      #expect(again.status == 1)
      #expect(again.errors.contains("going on after"), "\(again.errors)")
      #expect(again.errors.contains("150.ppm"))
      #expect(try bench.bytes("f.npy") == bench.bytes("whole.npy"))
      #expect(try bench.bytes("f.paths.txt") == bench.bytes("whole.paths.txt"))
      #expect(try bench.listing().filter { $0.contains("partial") } == [])
      try FileManager.default.removeItem(atPath: "\(bench.folder)/f.npy")
    }
  }

  /// A lost terminal ends a run as Ctrl-C does. What the run was started to ignore (nohup, `&` in a script) does not.
  @Test func signalsEndARunThatDoesNotIgnoreThem() throws {
    let bench = try Bench()
    defer { bench.remove() }
    try bench.photographs("photos", count: 150)
    let command = [Tool.path, "features", "--model", bench.model, "-o", "\(bench.folder)/f.npy", "\(bench.folder)/photos", "--batch-size", "1"]
    for (option, signal, status) in [("--default-signal=HUP", SIGHUP, 130), ("--ignore-signal=HUP", SIGHUP, 0), ("--ignore-signal=INT", SIGINT, 0)] as [(String, Int32, Int32)] {
      let run = try Tool.Run([option] + command, executable: "/usr/bin/env")
      var rows = 0
      while rows < 5, run.process.isRunning {
        usleep(500)
        rows = ((try? bench.bytes("f.npy.partial.log")) ?? []).count { $0 == 10 }
      }
      kill(run.process.processIdentifier, signal)
      let ended = run.wait()
      #expect(ended.status == status, "\(option): \(ended.errors)")
      #expect(bench.exists("f.npy") == (status == 0) && bench.exists("f.npy.partial") == (status != 0), "\(option)")
      for name in ["f.npy", "f.npy.partial", "f.npy.partial.log"] { try? FileManager.default.removeItem(atPath: "\(bench.folder)/\(name)") }
    }
  }

  /// Between the interruption and going on one that could not be read is repaired, one is changed, one goes and one comes in front.
  @Test func changedPhotographsAreReadAgain() throws {
    let bench = try Bench()
    defer { bench.remove() }
    try bench.photographs("photos", count: 250)
    let good = try bench.bytes("photos/003.ppm")
    try bench.write("photos/003.ppm", [0])
    let arguments = ["features", "--model", bench.model, "\(bench.folder)/photos", "--batch-size", "1", "-o"], out = "\(bench.folder)/f.npy"
    try Self.stop(bench, arguments + [out], SIGKILL, 9)
    try bench.write("photos/003.ppm", good)
    try bench.write("photos/010.ppm", Bench.photograph(seed: 999))
    try bench.write("photos/0.ppm", Bench.photograph(seed: 998))
    try FileManager.default.removeItem(atPath: "\(bench.folder)/photos/005.ppm")
    let again = try Tool.run(arguments + [out])
    #expect(again.status == 0 && again.errors.contains("going on after") && again.errors.contains("not used are 2 rows of that run"), "\(again.errors)")
    #expect(try Tool.run(arguments + ["\(bench.folder)/whole.npy"]).status == 0)
    #expect(try bench.bytes("f.npy") == bench.bytes("whole.npy") && bench.bytes("f.paths.txt") == bench.bytes("whole.paths.txt"))
  }

  @Test func saysWhatWasAssumed() throws {
    let bench = try Bench()
    defer { bench.remove() }
    try bench.photographs("photos", count: 1)
    #expect(try Tool.run(["convert", bench.model, "\(bench.folder)/plain.safetensors", "--plain"]).status == 0)
    func errors(_ model: String, _ more: [String]) throws -> String {
      let r = try Tool.run(["features", "--model", model, "--heads", "3", "-o", "\(bench.folder)/a.npy", "\(bench.folder)/photos"] + more)
      #expect(r.status == 0, "\(r.errors)")
      return r.errors
    }
    #expect(try errors("\(bench.folder)/plain.safetensors", []).contains("assumed"))
    #expect(try !errors(bench.model, []).contains("assumed"))
    try bench.write("pre.json", Array(#"{"resize":[32,40],"interpolation":"bilinear","crop":null,"mean":[0,0,0],"std":[1,1,1],"channel_order":"rgb"}"#.utf8))
    #expect(try !errors("\(bench.folder)/plain.safetensors", ["--preprocessing", "\(bench.folder)/pre.json"]).contains("assumed"))
  }
}
