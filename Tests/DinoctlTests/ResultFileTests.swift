// Where results go: never over what is read, never over each other, and all or none of them. Images in archives are looked at like files.

import DinoImaging
import Foundation
import Safetensors
import TestSupport
import Testing

@Suite struct ResultFileTests {
  private static func png(seed: UInt64, width: Int = 40, height: Int = 40) throws -> [UInt8] {
    try PNGEncoder.encode(ImageDecoder.decode(bytes: Bench.photograph(seed: seed, width: width, height: height)))
  }

  /// A mask of the left half, as a grey pixmap.
  private static func mask(_ width: Int, _ height: Int) -> [UInt8] { Array("P5\n\(width) \(height)\n255\n".utf8) + (0..<width * height).map { $0 % width < width / 2 ? 255 : 0 } }

  /// An archive beside `folder` of all that is in it.
  private static func tar(_ bench: Bench, _ folder: String) throws -> String {
    let tar = Process()
    tar.executableURL = URL(fileURLWithPath: "/bin/tar")
    tar.arguments = ["-C", "\(bench.folder)/\(folder)", "-cf", "\(bench.folder)/\(folder).tar"] + (try bench.listing(folder))
    try tar.run()
    tar.waitUntilExit()
    #expect(tar.terminationStatus == 0)
    return "\(bench.folder)/\(folder).tar"
  }

  private static func run(_ arguments: [String], status: Int32 = 0, input: Data? = nil) throws -> ToolResult {
    let result = try Tool.run(arguments, input: input)
    #expect(result.status == status, "\(arguments.joined(separator: " ")): \(result.errors)")
    return result
  }

  /// Every file below `folder` with its bytes.
  private static func contents(_ folder: String) throws -> [String: Data] {
    var files: [String: Data] = [:]
    for name in try FileManager.default.subpathsOfDirectory(atPath: folder) {
      var isFolder: ObjCBool = false
      _ = FileManager.default.fileExists(atPath: "\(folder)/\(name)", isDirectory: &isFolder)
      files[name] = try isFolder.boolValue ? Data() : Data(contentsOf: URL(fileURLWithPath: "\(folder)/\(name)"))
    }
    return files
  }

  @Test func nothingIsWrittenOverWhatIsRead() throws {
    let bench = try Bench()
    defer { bench.remove() }
    let f = bench.folder
    try bench.write("photos/a.png", Self.png(seed: 1))
    try bench.write("photos/a/attn-mean.png", Self.png(seed: 2))
    try bench.write("frames/0.png", Self.png(seed: 3))
    try bench.write("l.paths.txt", Array("\(f)/frames/0.png\n".utf8))
    try FileManager.default.createSymbolicLink(atPath: "\(f)/link", withDestinationPath: "photos")
    try bench.write("masks/0.png", Self.mask(40, 40))
    for i in 0..<3 {
      try bench.write("davis/JPEGImages/s/\(i).png", Self.png(seed: 4))
      try bench.write("davis/Annotations/s/\(i).png", Self.png(seed: 5))
    }
    try FileManager.default.copyItem(atPath: Fixtures.path("dino/vit/native_input.npy"), toPath: "\(f)/cls.npy")
    // A bank, classes, and a model where a result of training would be.
    for name in ["a/1", "a/2", "b/3", "b/4"] { try bench.write("classes/\(name).png", Self.png(seed: 6)) }
    try FileManager.default.createDirectory(atPath: "\(f)/tuned", withIntermediateDirectories: true)
    try FileManager.default.copyItem(atPath: bench.model, toPath: "\(f)/tuned/model.safetensors")
    _ = try Self.run(["index", "--model", bench.model, "-o", "\(f)/bank", "\(f)/photos"])
    let before = try Self.contents(f), model = ["--model", bench.model]
    for (arguments, name) in [
      (["linear", "--train", "\(f)/classes", "-o", bench.model], "model.safetensors"), (["features", "-o", bench.model, "\(f)/photos"], "model.safetensors"),
      (["finetune", "--data", "\(f)/classes", "--output-dir", "\(f)/tuned", "--model", "\(f)/tuned/model.safetensors", "--batch-size", "2", "--epochs", "1"], "tuned/model.safetensors"),
      (["search", "--bank", "\(f)/bank", "--like", "\(f)/photos/a.png", "--contact-sheet", "\(f)/bank/bank.json"], "bank.json"),
      (["index", "-o", "\(f)/bank", "--export-postgres", "\(f)/bank/bank.json"], "bank.json"),
      (["knn", "--train", "\(f)/classes", "--predictions", "\(f)/classes/a/1.png"], "a/1.png"),
      (["quantize", "-o", "\(f)/q.safetensors", "--calibration", "\(f)/photos", "--report", "\(f)/photos/a.png"], "photos/a.png"),
      (["evaluate", "video-segmentation", "-o", "\(f)/davis/Annotations", "\(f)/davis"], "Annotations/s/0.png"), (["run", "--input", "\(f)/cls.npy", "--output-dir", f], "cls.npy"),
      (["segment", "-o", "\(f)/photos", "\(f)/photos"], "a.png"), (["segment", "-o", "\(f)/link", "\(f)/photos"], "as \(f)/photos/a.png"),
      (["attention", "--output-dir", "\(f)/photos", "\(f)/photos"], "attn-mean.png"), (["video", "-o", "\(f)/photos", "\(f)/photos"], "a.png"),
      (["video", "--mask", "\(f)/masks/0.png", "-o", "\(f)/masks", "\(f)/frames"], "masks/0.png"), (["export", "--onnx", bench.model], "model.safetensors"),
      (["quantize", "-o", bench.model], "model.safetensors"), (["quantize", "-o", "\(f)/q.safetensors", "--report", "\(f)/./q.safetensors"], "q.safetensors"),
      (["features", "-o", "\(f)/l.npy", "\(f)/l.paths.txt"], "l.paths.txt"),
    ] as [([String], String)] {
      // Rows of a bank are asked and written without a model.
      let isComplete = arguments.contains("--model") || ["search", "index"].contains(arguments[0])
      let result = try Self.run(arguments + (isComplete ? [] : model), status: 64)
      #expect(result.errors.contains(name) && result.errors.contains("uses that file already"), "\(arguments): \(result.errors)")
      #expect(try Self.contents(f) == before, "\(arguments)")
    }
    #expect(try Self.run(["convert", bench.model, bench.model], status: 64).errors.contains("model.safetensors"))
    #expect(try Self.contents(f) == before)
  }

  /// Other names than the photographs have, so nothing is written over; but the next run would read them.
  @Test(arguments: ["photos", "photos/", "photos/new/out", "link", "link/new"]) func picturesStayOutOfThePhotographs(place: String) throws {
    let bench = try Bench()
    defer { bench.remove() }
    let f = bench.folder
    try bench.photographs("photos", count: 2)
    try FileManager.default.createSymbolicLink(atPath: "\(f)/link", withDestinationPath: "\(f)/photos")
    let before = try Self.contents(f)
    for command in [["segment", "-o"], ["attention", "--output-dir"], ["video", "-o"]] {
      let refused = try Self.run(command + ["\(f)/\(place)", "--model", bench.model, "\(f)/photos"], status: 64).errors
      #expect(refused.contains("the folder \(f)/photos that this command reads"), "\(command): \(refused)")
    }
    #expect(try Self.contents(f) == before)
    // A photograph by its name may have its results beside it.
    if place == "photos" { _ = try Self.run(["segment", "-o", "\(f)/photos", "--model", bench.model, "--image-size", "32x32", "\(f)/photos/000.ppm"]) }
  }

  @Test func resultsOfDifferentPhotographsHaveDifferentNames() throws {
    let bench = try Bench()
    defer { bench.remove() }
    for (i, name) in ["a", "a_overlay", "coco"].enumerated() { try bench.write("photos/\(name).ppm", Bench.photograph(seed: UInt64(i), width: 40 + i)) }
    _ = try Self.run(["segment", "--model", bench.model, "--image-size", "32x32", "-o", "\(bench.folder)/out", "\(bench.folder)/photos"])
    let names = ["a", "a_overlay-2", "coco-2"]
    var expected: Set<String> = ["coco.json"]
    for name in names { expected.formUnion(["\(name).png", "\(name).json", "\(name)_overlay.png"]) }
    #expect(try Set(bench.listing("out")) == expected)
    for (i, name) in names.enumerated() { #expect(try ImageDecoder.decode(path: "\(bench.folder)/out/\(name).png").width == 40 + i) }
    #expect(try JSONValue.parse(String(decoding: bench.bytes("out/coco.json"), as: UTF8.self))["images"]?.arrayValue?.count == 3)
  }

  @Test func aFailedCommandLeavesNoEmptyFolders() throws {
    let bench = try Bench()
    defer { bench.remove() }
    try bench.write("photos/3.ppm", Array(Bench.photograph(seed: 9, width: 64, height: 64).prefix(5000)))
    let before = try Self.contents(bench.folder), common = ["--model", bench.model, "\(bench.folder)/photos"]
    for (arguments, option) in [(["segment"], "-o"), (["attention", "--strict"], "--output-dir"), (["video", "--size", "64"], "-o")] as [([String], String)] {
      let result = try Self.run(arguments + [option, "\(bench.folder)/new/a/b"] + common, status: 65)
      #expect(result.errors.contains("3.ppm"))
      #expect(try Self.contents(bench.folder) == before, "\(arguments)")
    }
  }

  @Test func anInterruptedCommandLeavesWholeFiles() throws {
    let bench = try Bench()
    defer { bench.remove() }
    try bench.photographs("photos", count: 60)
    let run = try Tool.Run(["attention", "--model", bench.model, "--output-dir", "\(bench.folder)/new/out", "\(bench.folder)/photos"])
    // Stopped when the first photographs are done.
    while run.process.isRunning, !bench.exists("new/out/001") { usleep(500) }
    kill(run.process.processIdentifier, SIGINT)
    let stopped = run.wait()
    try #require(stopped.status == 130, "the run ended before it could be stopped: \(stopped.status)")
    let folders = try bench.listing("new/out")
    #expect(folders.count >= 1 && folders.count < 60)
    for folder in folders { #expect(try bench.listing("new/out/\(folder)") == ["attention.npy", "attn-head0.png", "attn-head1.png", "attn-head2.png", "attn-mean.png"]) }
  }

  /// Rows that are made when a run is stopped are in the bank, and it says how many.
  @Test func anInterruptedIndexKeepsItsRows() throws {
    let bench = try Bench()
    defer { bench.remove() }
    try bench.photographs("photos", count: 250)
    let arguments = ["index", "--model", bench.model, "--batch-size", "1", "--json", "-o"]
    // How far a run has come cannot be seen from outside: a later signal each time, until there are rows.
    for attempt in 1...10 {
      let bank = "\(bench.folder)/bank\(attempt)", run = try Tool.Run(arguments + [bank, "\(bench.folder)/photos"])
      while run.process.isRunning, !bench.exists("bank\(attempt)/bank.json") { usleep(500) }
      usleep(UInt32(30_000 * attempt))
      kill(run.process.processIdentifier, SIGINT)
      let stopped = run.wait(), words = stopped.errors.split(separator: " ").map(String.init)
      try #require(stopped.status == 130, "the run ended before it could be stopped: \(stopped.status)")
      guard let at = words.firstIndex(of: "rows"), at > 0, let rows = Int(words[at - 1]) else { continue }
      let again = try JSONValue.parse(Self.run(arguments + [bank, "\(bench.folder)/photos"]).output)
      #expect(rows > 0 && again["already_there"]?.integerValue == rows && again["rows"]?.integerValue == 250, "\(stopped.errors)")
      return
    }
    Issue.record("no run had rows when it was stopped")
  }

  /// Rows that are removed for others come back where these do not come.
  @Test func anInterruptedReplacementLeavesTheBankAsItWas() throws {
    let bench = try Bench()
    defer { bench.remove() }
    try bench.photographs("photos", count: 250)
    let photos = "\(bench.folder)/photos", arguments = ["index", "--model", bench.model, "--batch-size", "1", "-o", "\(bench.folder)/bank"]
    _ = try Self.run(arguments + [photos])
    // But for the number of the next file, which is never used again.
    func manifest() throws -> String { try String(decoding: bench.bytes("bank/bank.json"), as: UTF8.self).replacing(/"next":[0-9]+/, with: "") }
    let before = try manifest(), files = try bench.listing("bank")
    let run = try Tool.Run(arguments + ["--remove", photos, photos])
    // Stopped when they are removed.
    while run.process.isRunning, try bench.listing("bank").allSatisfy({ !$0.hasPrefix("removed-") || $0.hasSuffix(".tmp") }) { usleep(500) }
    kill(run.process.processIdentifier, SIGINT)
    let stopped = run.wait()
    #expect(stopped.status == 130 && stopped.errors.contains("bank is as it was before"), "\(stopped.status): \(stopped.errors)")
    #expect(try manifest() == before)
    #expect(try bench.listing("bank") == files)
  }

  @Test func namesDoNotLeadOutOfTheFolder() throws {
    let bench = try Bench()
    defer { bench.remove() }
    for name in ["x/...png", "x/a.ppm"] { try bench.write(name, Bench.photograph(seed: 1)) }
    let inputs = ["\(bench.folder)/x/...png", "\(bench.folder)/x/a.ppm"]
    _ = try Self.run(["attention", "--model", bench.model, "--image-size", "32x32", "--output-dir", "\(bench.folder)/ev/out"] + inputs)
    #expect(try bench.listing("ev") == ["out"] && bench.listing("ev/out") == ["_", "a"])
  }

  /// A check of the written file takes its time: what was written for it goes when it is stopped, and nothing comes into its place.
  @Test func anExportStopsAtOnce() throws {
    let bench = try Bench()
    defer { bench.remove() }
    let model = "\(bench.folder)/larger.safetensors"
    _ = try Self.run(["init", "--width", "192", "--depth", "12", "--heads", "3", "--patch-size", "8", "--image-size", "112", "-o", model])
    let before = try bench.listing()
    // On a busy machine the signal may come when all is done.
    for attempt in 1...5 {
      let run = try Tool.Run(["export", "--model", model, "--onnx", "\(bench.folder)/out.onnx", "--outputs", "tokens", "--verify"])
      while run.process.isRunning, try bench.listing().count == before.count { usleep(500) }
      kill(run.process.processIdentifier, SIGINT)
      let stopped = run.wait()
      if stopped.status == 0, attempt < 5 {
        try FileManager.default.removeItem(atPath: "\(bench.folder)/out.onnx")
        continue
      }
      #expect(stopped.status == 130 && stopped.errors.contains("interrupted"), "\(stopped.status): \(stopped.errors)")
      #expect(try bench.listing() == before)
      break
    }
  }

  @Test func theCopyToKeepIsFoundInAnArchiveToo() throws {
    let bench = try Bench()
    defer { bench.remove() }
    try bench.write("dup/a_small.png", Self.png(seed: 1, width: 32, height: 32))
    try bench.write("dup/b_large.png", Self.png(seed: 1, width: 128, height: 128))
    let archive = try Self.tar(bench, "dup"), bank = "\(bench.folder)/bank"
    _ = try Self.run(["index", archive, "--model", bench.model, "-o", bank])
    func groups(_ source: String) throws -> JSONValue? { try JSONValue.parse(Self.run(["duplicates", source, "--model", bench.model, "--threshold=-0.9", "--json"]).output)["groups"]?.arrayValue?.first }
    for source in ["\(bench.folder)/dup", archive, bank] {
      let group = try groups(source)
      #expect(group?["keep"]?.stringValue?.hasSuffix("b_large.png") == true && group?["copies"]?.arrayValue?.count == 1, "\(source)")
    }
    // What cannot be looked at is neither to be kept nor a copy.
    try FileManager.default.removeItem(atPath: archive)
    let group = try groups(bank)
    #expect(group?["keep"] == JSONValue.null && group?["copies"]?.arrayValue?.isEmpty == true && group?["members"]?.arrayValue?.count == 2)
    #expect(try Self.run(["duplicates", bank, "--threshold=-0.9"]).output.split(separator: "\n").allSatisfy { $0.hasPrefix("1\t-\t") })
  }

  /// From another folder a bank's paths lead to the pictures too; for those that are gone the sheet has squares, which are named.
  @Test func whatAContactSheetLacksIsNamed() throws {
    let bench = try Bench()
    defer { bench.remove() }
    try bench.photographs("set", count: 3)
    try FileManager.default.createDirectory(atPath: "\(bench.folder)/elsewhere", withIntermediateDirectories: false)
    let made = try Tool.run(["index", "set", "--model", bench.model, "-o", "bank"], folder: bench.folder)
    #expect(made.status == 0, "\(made.errors)")
    let search = ["search", "--bank", "\(bench.folder)/bank", "--like", "set/001.ppm", "--contact-sheet", "\(bench.folder)/s.png"]
    let there = try Tool.run(search, folder: bench.folder)
    #expect(there.status == 0 && !there.errors.contains("grey square"), "\(there.errors)")
    let sheet = try bench.bytes("s.png"), elsewhere = try Tool.run(search.map { $0 == "set/001.ppm" ? "../set/001.ppm" : $0 }, folder: "\(bench.folder)/elsewhere")
    #expect(try elsewhere.status == 0 && elsewhere.output.contains("/set/000.ppm") && bench.bytes("s.png") == sheet, "\(elsewhere.errors)")
    try FileManager.default.removeItem(atPath: "\(bench.folder)/set/000.ppm")
    let lacking = try Tool.run(search, folder: bench.folder)
    #expect(lacking.status == 1 && lacking.output == there.output)
    #expect(lacking.errors.contains("set/000.ppm: the picture is not there") && !lacking.errors.contains("set/002.ppm: the picture"), "\(lacking.errors)")
    #expect(try lacking.errors.contains("hint: names of rows lead from") && bench.bytes("s.png") != sheet)
  }

  @Test func aContactSheetShowsArchivesAndStandardInput() throws {
    let bench = try Bench()
    defer { bench.remove() }
    try bench.photographs("set", count: 4)
    let archive = try Self.tar(bench, "set"), photo = "\(bench.folder)/set/001.ppm"
    func sheet(_ name: String, _ arguments: [String], input: Data? = nil) throws -> [UInt8] {
      let model = arguments.contains("--like") ? [] : ["--model", bench.model]
      _ = try Self.run(["search", "-k", "3", "--contact-sheet", "\(bench.folder)/\(name).png"] + model + arguments, input: input)
      return try bench.bytes("\(name).png")
    }
    for (name, source) in [("folder", "\(bench.folder)/set"), ("archive", archive)] { _ = try Self.run(["index", source, "--model", bench.model, "-o", "\(bench.folder)/\(name)"]) }
    let expected = try sheet("1", ["--bank", "\(bench.folder)/folder", photo])
    #expect(try sheet("2", ["--bank", "\(bench.folder)/archive", photo]) == expected)
    #expect(try sheet("3", ["--bank", "\(bench.folder)/archive", "-"], input: Data(bench.bytes("set/001.ppm"))) == expected)
    let like = try sheet("4", ["--bank", "\(bench.folder)/folder", "--like", photo])
    #expect(try sheet("5", ["--bank", "\(bench.folder)/archive", "--like", "\(archive)/001.ppm"]) == like)
    // The query's own file is no place for the sheet.
    try bench.write("query.png", Self.png(seed: 5))
    let query = try bench.bytes("query.png")
    _ = try Self.run(["search", "--model", bench.model, "--bank", "\(bench.folder)/folder", "--contact-sheet", "\(bench.folder)/query.png", "\(bench.folder)/query.png"], status: 64)
    #expect(try bench.bytes("query.png") == query)
  }
}
