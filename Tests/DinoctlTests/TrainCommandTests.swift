// train as a person runs it: folders to a checkpoint, k-NN on the way, resumed runs, the original's checkpoint.pth, refusals.

import DinoTensor
import Foundation
import Safetensors
import TestSupport
import Testing

@Suite struct TrainCommandTests {
  /// Two classes that a random network tells apart: dark and bright pictures.
  private static func classes(_ bench: Bench) throws -> String {
    for i in 0..<6 {
      var random = SplitMix64(seed: UInt64(i))
      let dark = (0..<40 * 40 * 3).map { _ in UInt8.random(in: 0..<100, using: &random) }
      try bench.write("set/dark/\(i).ppm", Array("P6\n40 40\n255\n".utf8) + dark)
      try bench.write("set/light/\(i).ppm", Array("P6\n40 40\n255\n".utf8) + dark.map { 255 - $0 })
    }
    return "\(bench.folder)/set"
  }

  private static func arguments(_ set: String, _ out: String, _ more: [String] = []) -> [String] {
    ["train", "--data", set, "--output-dir", out, "--width", "16", "--depth", "1", "--heads", "2", "--patch-size", "8", "--out-dim", "32", "--head-hidden-dim", "24",
     "--head-bottleneck-dim", "8", "--global-size", "32", "--local-size", "16", "--local-crops-number", "2", "--batch-size", "4", "--epochs", "4", "--warmup-epochs", "1",
     "--threads", "1", "--quiet"] + more
  }

  /// A share as notes say it.
  private static func fixed(_ percent: Double) -> String { String(format: "%.2f", percent) }

  private static func lines(_ path: String) throws -> [JSONValue] {
    try String(contentsOfFile: path, encoding: .utf8).split(separator: "\n").map { try JSONValue.parse(String($0)) }
  }

  /// A state but for what it says that the run began with: its record, and the bytes behind the file's header.
  private static func stateWithoutStart(_ bench: Bench, _ name: String) throws -> [UInt8] {
    let path = "\(name)/checkpoint.safetensors", bytes = try bench.bytes(path), file = try SafetensorsFile(path: "\(bench.folder)/\(path)")
    let record = try JSONValue.parse(try #require(file.metadata["dino.training"])), members = try #require(record.objectValue)
    let rest: [JSONValue.Member] = members.filter { $0.key != "start" }
    let header = (0..<8).reduce(0) { (length: Int, i: Int) -> Int in length | Int(bytes[i]) << (8 * i) }
    return Array(JSONValue.object(rest).text.utf8) + bytes.dropFirst(8 + header)
  }

  private static func ran(_ arguments: [String], status: Int32 = 0) throws -> ToolResult {
    let result = try Tool.run(arguments)
    #expect(result.status == status, "\(arguments.joined(separator: " ")): \(result.errors)")
    return result
  }

  /// Whatever goes wrong, there is something to go on from, and lines of steps that are done again are not there twice.
  @Test func aRunThatDivergesKeepsItsLastGoodState() throws {
    let bench = try Bench()
    defer { bench.remove() }
    let set = try Self.classes(bench), out = "\(bench.folder)/out"
    try bench.write("out/log.jsonl", Array("{\"step\":0,\"epoch\":0,\"loss\":1}\n".utf8))
    // The first step of the warm-up moves nothing; the second goes astray.
    let arguments = Self.arguments(set, out, ["--lr", "1e30", "--warmup-epochs", "2"])
    _ = try Self.ran(arguments + ["--stop-after", "1", "--resume"])
    #expect(try Self.lines("\(out)/log.jsonl").count == 1)
    let state = try bench.bytes("out/checkpoint.safetensors"), model = try bench.bytes("out/teacher.safetensors")
    for _ in 0..<2 {
      #expect(try !Self.ran(arguments + ["--resume"], status: 65).errors.isEmpty)
      #expect(try bench.bytes("out/checkpoint.safetensors") == state && bench.bytes("out/teacher.safetensors") == model)
    }
  }

  @Test func neighboursAreAskedAndChangeNothing() throws {
    let bench = try Bench()
    defer { bench.remove() }
    let set = try Self.classes(bench), with = "\(bench.folder)/with", without = "\(bench.folder)/without"
    _ = try Self.ran(Self.arguments(set, with, ["--knn-train", set, "--knn-every", "3"]))
    _ = try Self.ran(Self.arguments(set, without))
    let steps = try Self.lines("\(with)/log.jsonl"), epochs = try Self.lines("\(with)/epochs.jsonl")
    // Every third epoch, and the last.
    #expect(epochs.map { $0["knn_top1"] != nil } == [false, false, true, true])
    #expect(steps.map { $0["knn_top1"] != nil } == (0..<12).map { $0 == 8 || $0 == 11 })
    #expect(epochs.allSatisfy { ($0["effective_rank"]?.doubleValue ?? 0) >= 1 })
    let report = try String(contentsOfFile: "\(with)/report.html", encoding: .utf8)
    #expect(report.contains("k-NN accuracy") && report.contains("<polyline") && !report.contains("http") && report.hasSuffix("</html>\n"))
    #expect(try !String(contentsOfFile: "\(without)/report.html", encoding: .utf8).contains("k-NN accuracy"))
    // What `knn` says of the same file.
    let asked = try JSONValue.parse(Self.ran(["knn", "--model", "\(with)/teacher.safetensors", "--train", set, "-k", "20", "--json"]).output)
    let expected = try #require(asked["results"]?.arrayValue?.first?["top1"]?.doubleValue), found = try #require(epochs[3]["knn_top1"]?.doubleValue)
    #expect(abs(100 * found - expected) < 1e-9)
    #expect(try bench.bytes("with/checkpoint.safetensors") == bench.bytes("without/checkpoint.safetensors"))
    #expect(try bench.listing("with") == bench.listing("without"))
    // A run that has no step left is asked all the same, and its log then says it.
    let late = try Self.ran(Self.arguments(set, without, ["--knn-train", set, "--resume"]).filter { $0 != "--quiet" }).errors
    #expect(late.contains("k-NN \(Self.fixed(100 * found)) %"), "\(late)")
    #expect(try bench.bytes("without/epochs.jsonl").split(separator: 10).last == bench.bytes("with/epochs.jsonl").split(separator: 10).last)
  }

  @Test func theOriginalsCheckpointIsWrittenAndGoneOnFrom() throws {
    let bench = try Bench()
    defer { bench.remove() }
    let set = try Self.classes(bench)
    _ = try Self.ran(Self.arguments(set, "\(bench.folder)/whole"))
    _ = try Self.ran(Self.arguments(set, "\(bench.folder)/first", ["--save-official", "--stop-after", "6"]))
    #expect(bench.exists("first/checkpoint.pth") && !bench.exists("whole/checkpoint.pth"))
    var arguments = Self.arguments(set, "\(bench.folder)/second", ["--resume", "\(bench.folder)/first/checkpoint.pth"])
    arguments.removeAll { $0 == "--quiet" }
    let resumed = try Self.ran(arguments)
    #expect(resumed.errors.contains("at step 6 of 12") && resumed.errors.contains("--seed"))
    let whole = try Self.stateWithoutStart(bench, "whole")
    #expect(try Self.stateWithoutStart(bench, "second") == whole)
    // That file is what the run began with.
    #expect(try SafetensorsFile(path: "\(bench.folder)/second/teacher.safetensors").metadata["dino.provenance"]?.contains("train started from checkpoint.pth") == true)
    let other = try Self.ran(Self.arguments(set, "\(bench.folder)/second", ["--resume", "--init", "\(bench.folder)/whole/teacher.safetensors"]), status: 64)
    #expect(other.errors.contains("began with the weights of checkpoint.pth"), "\(other.errors)")
    // The same command again goes on from the run's own state; what that is not of is refused.
    let again = try Self.ran(arguments).errors
    #expect(again.contains("going on from step 12 of 12"), "\(again)")
    try bench.write("other.pth", try bench.bytes("first/checkpoint.pth") + [0])
    let another = try Self.ran(Self.arguments(set, "\(bench.folder)/second", ["--resume", "\(bench.folder)/other.pth"]), status: 64).errors
    #expect(another.contains("not with the weights of other.pth"), "\(another)")
    #expect(try Self.ran(Self.arguments(set, "\(bench.folder)/second", ["--resume", "\(bench.folder)/no.pth"]), status: 66).errors.contains("no.pth"))
    // Its folder may be the run's own.
    let official = try bench.bytes("first/checkpoint.pth")
    try bench.write("own/checkpoint.pth", official)
    _ = try Self.ran(Self.arguments(set, "\(bench.folder)/own", ["--resume", "\(bench.folder)/own/checkpoint.pth", "--save-official"]))
    #expect(try Self.stateWithoutStart(bench, "own") == whole)
    #expect(try bench.bytes("own/checkpoint.pth") != official)
    #expect(try Self.ran(Self.arguments(set, "\(bench.folder)/third", ["\(bench.folder)/first/checkpoint.pth"]), status: 64).errors.contains("--resume"))
    #expect(try Self.ran(Self.arguments(set, "\(bench.folder)/third", ["--resume", "\(bench.folder)/no.pth"]), status: 66).errors.contains("no.pth"))
  }

  /// The meter reads the last quarter of an epoch: of twelve steps the last three, and the run stops between them.
  @Test func aStopWithinAnEpochIsNotSeenInItsReading() throws {
    let bench = try Bench()
    defer { bench.remove() }
    let set = try Self.classes(bench), how = ["--batch-size", "1", "--epochs", "2", "--saveckp-freq", "0"]
    _ = try Self.ran(Self.arguments(set, "\(bench.folder)/whole", how))
    _ = try Self.ran(Self.arguments(set, "\(bench.folder)/part", how + ["--stop-after", "11"]))
    #expect(try SafetensorsFile(path: "\(bench.folder)/part/checkpoint.safetensors").tensor("meter")?.dtype == .f64)
    _ = try Self.ran(Self.arguments(set, "\(bench.folder)/part", how + ["--resume"]))
    #expect(try Self.lines("\(bench.folder)/part/epochs.jsonl").count == 2)
    for name in ["epochs.jsonl", "checkpoint.safetensors"] { #expect(try bench.bytes("part/\(name)") == bench.bytes("whole/\(name)"), "\(name)") }
    // The loss is of the whole epoch, as the original's train_loss; what the meter read beside it of the last quarter.
    let steps = try Self.lines("\(bench.folder)/whole/log.jsonl").compactMap { $0["loss"]?.doubleValue }
    func mean(_ part: ArraySlice<Double>) -> Double { part.reduce(0, +) / Double(part.count) }
    for (epoch, line) in try Self.lines("\(bench.folder)/part/epochs.jsonl").enumerated() {
      let ofEpoch = steps[12 * epoch..<12 * epoch + 12]
      #expect(line["loss"]?.doubleValue == mean(ofEpoch))
      #expect(abs((line["loss_last_quarter"]?.doubleValue ?? 0) - mean(ofEpoch.suffix(3))) < 1e-12)
    }
    // At an epoch's end nothing is counted.
    #expect(try !SafetensorsFile(path: "\(bench.folder)/part/checkpoint.safetensors").names.contains("meter"))
  }

  @Test func aRunStartsFromTheWeightsOfAnother() throws {
    let bench = try Bench()
    defer { bench.remove() }
    let set = try Self.classes(bench)
    _ = try Self.ran(Self.arguments(set, "\(bench.folder)/first"))
    // With a rate of nothing the weights stay where they start.
    let still = ["--lr", "0", "--min-lr", "0", "--momentum-teacher", "1", "--stop-after", "1"]
    func tensors(_ name: String) throws -> SafetensorsFile { try SafetensorsFile(path: "\(bench.folder)/\(name)/checkpoint.safetensors") }
    _ = try Self.ran(Self.arguments(set, "\(bench.folder)/second", ["--init", "\(bench.folder)/first/checkpoint.safetensors"] + still))
    let first = try tensors("first"), second = try tensors("second")
    for name in first.names where name.hasPrefix("student.") || name.hasPrefix("teacher.") { #expect(first.tensor(name)?.floats() == second.tensor(name)?.floats(), "\(name)") }
    // A larger grid and another head: positions are resampled, the head is random.
    var arguments = Self.arguments(set, "\(bench.folder)/third", ["--init", "\(bench.folder)/first/checkpoint.safetensors"] + still).filter { $0 != "--quiet" }
    arguments[arguments.firstIndex(of: "--global-size")! + 1] = "48"
    arguments[arguments.firstIndex(of: "--out-dim")! + 1] = "40"
    let third = try Self.ran(arguments)
    #expect(third.errors.contains("from 4x4 to 6x6") && third.errors.contains("head"))
    #expect(try tensors("third").tensor("student.blocks.0.attn.qkv.weight")?.floats() == first.tensor("student.blocks.0.attn.qkv.weight")?.floats())
    arguments[arguments.firstIndex(of: "--width")! + 1] = "32"
    arguments[arguments.firstIndex(of: "--output-dir")! + 1] = "\(bench.folder)/fourth"
    #expect(try Self.ran(arguments, status: 65).errors.contains("--width"))
  }

  /// Of two runs in one folder the second is refused, and takes nothing away that the first is writing; nor does one with other flags after it.
  @Test func aFolderIsOneRunsAlone() throws {
    let bench = try Bench()
    defer { bench.remove() }
    let set = try Self.classes(bench), out = "\(bench.folder)/out", living = try Tool.Run(Self.arguments(set, out, ["--epochs", "100000"]))
    let end = Date().addingTimeInterval(60)
    while !bench.exists("out/teacher.safetensors"), living.process.isRunning, Date() < end { Thread.sleep(forTimeInterval: 0.02) }
    try bench.write("out/checkpoint.safetensors.1-0.tmp", [1])
    #expect(try Self.ran(Self.arguments(set, out, ["--epochs", "100000", "--resume"]), status: 74).errors.contains("another process"))
    #expect(try Self.ran(Self.arguments(set, out), status: 74).errors.contains("another process"))
    #expect(bench.exists("out/checkpoint.safetensors.1-0.tmp") && living.process.isRunning)
    living.process.terminate()
    #expect(living.wait().status == 130)
    #expect(try Self.ran(Self.arguments(set, out, ["--epochs", "100000", "--resume", "--lr", "1"]), status: 64).errors.contains("--lr"))
    #expect(bench.exists("out/checkpoint.safetensors.1-0.tmp"))
  }

  @Test func aModelWithoutItsCheckpointIsKept() throws {
    let bench = try Bench()
    defer { bench.remove() }
    let set = try Self.classes(bench), out = "\(bench.folder)/out"
    _ = try Self.ran(Self.arguments(set, out, ["--stop-after", "1"]))
    try FileManager.default.removeItem(atPath: "\(out)/checkpoint.safetensors")
    let model = try bench.bytes("out/teacher.safetensors"), log = try bench.bytes("out/log.jsonl")
    for more in [[], ["--resume"]] { #expect(try Self.ran(Self.arguments(set, out, more), status: 64).errors.contains("teacher.safetensors")) }
    #expect(try bench.bytes("out/teacher.safetensors") == model && bench.bytes("out/log.jsonl") == log)
  }

  /// Kept checkpoints, logs and a checkpoint.pth, in a folder without a state.
  @Test func whatAnotherRunLeftIsNotWrittenOver() throws {
    let bench = try Bench()
    defer { bench.remove() }
    let set = try Self.classes(bench), out = "\(bench.folder)/out", official = "\(out)/checkpoint.pth"
    _ = try Self.ran(Self.arguments(set, out, ["--save-official", "--saveckp-freq", "1"]))
    func takeAway(_ isGone: (String) -> Bool) throws {
      for name in try bench.listing("out") where isGone(name) { try FileManager.default.removeItem(atPath: "\(out)/\(name)") }
    }
    func refused(_ more: [String], _ named: String) throws {
      let names = try bench.listing("out"), before = try names.map { try bench.bytes("out/\($0)") }
      let errors = try Self.ran(Self.arguments(set, out, more), status: 64).errors
      #expect(errors.contains(named), "\(more): \(errors)")
      #expect(try bench.listing("out") == names, "\(more)")
      #expect(try names.map { try bench.bytes("out/\($0)") } == before, "\(more)")
    }
    let model = try bench.bytes("out/teacher.safetensors")
    try takeAway { $0 == "checkpoint.safetensors" || $0 == "teacher.safetensors" }
    for more in [[], ["--resume"]] {
      try refused(more, "\(out)/checkpoint0004.safetensors is of another run")
      try refused(more, "goes on with --resume from a copy of this file under that name")
    }
    try bench.write("again/checkpoint.safetensors", try bench.bytes("out/checkpoint0003.safetensors"))
    _ = try Self.ran(Self.arguments(set, "\(bench.folder)/again", ["--resume", "--saveckp-freq", "1"]))
    #expect(try bench.bytes("again/teacher.safetensors") == model)
    try takeAway { $0.hasPrefix("checkpoint0") }
    for more in [[], ["--resume"]] { try refused(more, "\(out)/log.jsonl is of another run") }
    try takeAway { $0.hasSuffix(".jsonl") }
    for more in [["--resume"], ["--save-official"], ["--resume", "--save-official"]] { try refused(more, "hint: --resume \(official) goes on from it") }
    try bench.write("other.pth", try bench.bytes("out/checkpoint.pth"))
    try refused(["--resume", "\(bench.folder)/other.pth", "--save-official"], "would write over it")
    _ = try Self.ran(Self.arguments(set, out, ["--resume", official]))
    #expect(bench.exists("out/teacher.safetensors"))
  }

  /// It began beside somebody's checkpoint.pth, which it does not write, and was killed before its first checkpoint.
  @Test func aRunBesideAnothersCheckpointBeginsAnew() throws {
    let bench = try Bench()
    defer { bench.remove() }
    let set = try Self.classes(bench), out = "\(bench.folder)/out"
    try bench.write("out/checkpoint.pth", [1])
    try bench.write("out/log.jsonl", Array("{\"step\":0,\"epoch\":0,\"loss\":1}\n".utf8))
    let plain = try Self.ran(Self.arguments(set, out, ["--stop-after", "1"]), status: 64).errors
    #expect(plain.contains("begins anew with --resume"), "\(plain)")
    _ = try Self.ran(Self.arguments(set, out, ["--stop-after", "1", "--resume"]))
    #expect(try bench.bytes("out/checkpoint.pth") == [1] && Self.lines("\(out)/log.jsonl").count == 1)
  }

  /// A run that is made longer keeps what --auto chose when it began; what is typed is still held against that.
  @Test func automaticFlagsAreThoseOfTheRun() throws {
    let bench = try Bench()
    defer { bench.remove() }
    let set = try Self.classes(bench), out = "\(bench.folder)/out"
    func settings() throws -> JSONValue? {
      let file = try SafetensorsFile(path: "\(out)/checkpoint.safetensors")
      return try JSONValue.parse(try #require(file.metadata["dino.training"]))["settings"]
    }
    _ = try Self.ran(Self.arguments(set, out, ["--auto", "--stop-after", "3"]))
    #expect(try settings()?["--freeze-last-layer"]?.stringValue == "1")
    // For so many epochs --auto would choose 10.
    let longer = ["--auto", "--epochs", "100", "--resume", "--stop-after", "4"]
    _ = try Self.ran(Self.arguments(set, out, longer))
    #expect(try settings()?["--freeze-last-layer"]?.stringValue == "1" && settings()?["--epochs"]?.stringValue == "100")
    let refused = try Self.ran(Self.arguments(set, out, longer + ["--freeze-last-layer", "3"]), status: 64).errors
    #expect(refused.contains("--freeze-last-layer 1, now it is 3"), "\(refused)")
    // Without --auto a default that does not go with the epochs is no flag that anybody gave: what differs is told.
    var plain = Self.arguments(set, out, ["--resume", "--epochs", "5"])
    let warmUp = try #require(plain.firstIndex(of: "--warmup-epochs"))
    plain.removeSubrange(warmUp...warmUp + 1)
    let without = try Self.ran(plain, status: 64).errors
    #expect(without.contains("now it is") && !without.contains("must be from"), "\(without)")
  }

  @Test func aReplayWritesOverNothing() throws {
    let bench = try Bench()
    defer { bench.remove() }
    let recorded = "\(bench.folder)/case"
    try FileManager.default.copyItem(atPath: Fixtures.path("training/adamw_no_locals"), toPath: recorded)
    let final = try bench.bytes("case/final.safetensors")
    #expect(try Self.ran(["train", "--replay", recorded, "--output-dir", recorded, "--threads", "1"], status: 64).errors.contains("uses that file"))
    #expect(try bench.bytes("case/final.safetensors") == final && !bench.exists("case/log.jsonl"))
    try bench.write("run/checkpoint.safetensors", [1])
    try bench.write("run/log.jsonl", [2])
    #expect(try Self.ran(["train", "--replay", recorded, "--output-dir", "\(bench.folder)/run", "--threads", "1"], status: 64).errors.contains("checkpoint"))
    #expect(try bench.bytes("run/log.jsonl") == [2] && bench.listing("run").count == 2)
    // Nor over the log of a run whose checkpoint is gone; but a replay is made again over its own.
    try FileManager.default.removeItem(atPath: "\(bench.folder)/run/checkpoint.safetensors")
    for name in ["", "checkpoint0001", "final"] {
      // Final weights are a replay's where there is no checkpoint of a training.
      if !name.isEmpty { try bench.write("run/\(name).safetensors", [3]) }
      let lost = try Self.ran(["train", "--replay", recorded, "--output-dir", "\(bench.folder)/run", "--threads", "1"], status: 64).errors
      #expect(lost.contains("run/log.jsonl is of another run"), "\(name): \(lost)")
      #expect(try bench.bytes("run/log.jsonl") == [2])
    }
    for _ in 0..<2 {
      #expect(try Self.ran(["train", "--replay", recorded, "--output-dir", "\(bench.folder)/new", "--threads", "1"]).output.contains("beside the recording"))
    }
  }

  /// 64 wide with 4 heads, where width / 64 would say one.
  @Test func ourOwnCheckpointsSayTheirHeadsAndPreprocessing() throws {
    let bench = try Bench()
    defer { bench.remove() }
    let set = try Self.classes(bench), out = "\(bench.folder)/out"
    _ = try Self.ran(Self.arguments(set, out, ["--width", "64", "--heads", "4", "--save-official", "--stop-after", "3"]))
    func features(_ name: String, _ more: [String] = []) throws -> ToolResult { try Self.ran(["features", "--model", "\(out)/\(name)", "-o", "\(bench.folder)/\(name).npy", "\(set)/dark", "--threads", "1"] + more) }
    _ = try features("teacher.safetensors")
    #expect(try !features("checkpoint.safetensors").errors.contains("assumed"))
    _ = try features("checkpoint.pth", ["--image-size", "32"])
    for name in ["checkpoint.safetensors", "checkpoint.pth"] { #expect(try bench.bytes("\(name).npy") == bench.bytes("teacher.safetensors.npy"), "\(name)") }
  }

  /// --init takes the centre of either kind of checkpoint, with its whole head only, and a teacher alone for both.
  @Test func theCentreComesWithItsHead() throws {
    let bench = try Bench()
    defer { bench.remove() }
    let set = try Self.classes(bench), first = "\(bench.folder)/first", state = "\(first)/checkpoint.safetensors"
    _ = try Self.ran(Self.arguments(set, first, ["--save-official", "--stop-after", "3"]))
    let file = try SafetensorsFile(path: state), center = try #require(file.tensor("center")).floats()
    let still = ["--center-momentum", "1", "--lr", "0", "--min-lr", "0", "--momentum-teacher", "1", "--stop-after", "1"]
    func started(_ out: String, from path: String, _ more: [String] = []) throws -> (file: SafetensorsFile, said: String) {
      let arguments = Self.arguments(set, "\(bench.folder)/\(out)", ["--init", path] + still + more).filter { $0 != "--quiet" }
      let said = try Self.ran(arguments).errors
      return (try SafetensorsFile(path: "\(bench.folder)/\(out)/checkpoint.safetensors"), said)
    }
    #expect(center.contains { $0 != 0 })
    for (out, path) in [("a", state), ("b", "\(first)/checkpoint.pth")] { #expect(try started(out, from: path).file.tensor("center")?.floats() == center, "\(path)") }
    let other = try started("c", from: state, ["--head-hidden-dim", "48"])
    #expect(other.said.contains("center") && other.file.tensor("center")?.floats().allSatisfy { $0 == 0 } == true)
    let alone = "\(bench.folder)/alone.safetensors", names = file.names.filter { $0.hasPrefix("teacher.") }
    try SafetensorsWriter.write(names.compactMap { name in file.tensor(name).map { (name: name, tensor: $0) } }, metadata: ["format": "pt"], to: alone)
    let both = try started("d", from: alone)
    #expect(both.said.contains("no student") && both.file.tensor("student.cls_token")?.floats() == file.tensor("teacher.cls_token")?.floats())
  }

  @Test func imagesThatCannotBeReadAreToldByTheExitCode() throws {
    let bench = try Bench()
    defer { bench.remove() }
    let set = try Self.classes(bench)
    try bench.write("set/dark/broken.ppm", [1, 2, 3])
    let result = try Self.ran(Self.arguments(set, "\(bench.folder)/out", ["--batch-size", "13", "--stop-after", "1"]), status: 1)
    #expect(result.errors.contains("broken.ppm") && result.errors.contains("1 image could not"))
    #expect(bench.exists("out/teacher.safetensors"))
    for i in 0..<5 { try bench.write("bad/\(i).ppm", [1, 2, 3]) }
    #expect(try Self.ran(Self.arguments("\(bench.folder)/bad", "\(bench.folder)/none"), status: 65).errors.contains("none of the 5 images"))
  }

  /// A limit on the size of files is a failed write, as a full disk is.
  @Test func aFileThatMayNotGrowIsAFailedWrite() throws {
    let bench = try Bench()
    defer { bench.remove() }
    let set = try Self.classes(bench), command = [Tool.path] + Self.arguments(set, "\(bench.folder)/out", ["--stop-after", "1"])
    let result = try Tool.Run(["-c", "ulimit -f 8; exec \"$@\"", "sh"] + command, executable: "/bin/sh").wait()
    #expect(result.status == 74, "\(result.errors)")
    #expect(try bench.listing("out").allSatisfy { !$0.hasSuffix(".tmp") })
  }

  @Test func whatARunWasAskedForIsInItsRecords() throws {
    let bench = try Bench()
    defer { bench.remove() }
    let set = try Self.classes(bench), out = "\(bench.folder)/out"
    _ = try Self.ran(Self.arguments(set, out, ["--local-crops-scale", "0.2", "0.3", "--stop-after", "3"]))
    let provenance = try SafetensorsFile(path: "\(out)/teacher.safetensors").metadata["dino.provenance"] ?? "", report = try String(contentsOfFile: "\(out)/report.html", encoding: .utf8)
    #expect(provenance.contains("--local-crops-scale 0.2 0.3") && report.contains("--local-crops-scale"))
    let distilled = "\(bench.folder)/student"
    _ = try Self.ran(["distill", "--teacher", "\(out)/checkpoint.safetensors", "--data", set, "--output-dir", distilled, "--width", "16", "--depth", "1", "--heads", "2", "--global-size", "32",
                      "--batch-size", "4", "--epochs", "1", "--warmup-epochs", "0", "--threads", "1", "--quiet"])
    let chain = try SafetensorsFile(path: "\(distilled)/student.safetensors").metadata["dino.provenance"] ?? ""
    #expect(chain.contains("--cls-loss-weight") && !chain.contains("--out-dim") && !chain.contains("--momentum-teacher"))
    // The student has the teacher's shape: its head and optimizer are not held against it.
    let sides = try JSONValue.parse(String(contentsOfFile: "\(distilled)/comparison.json", encoding: .utf8))
    #expect(sides["teacher"]?["parameters"]?.integerValue == sides["student"]?["parameters"]?.integerValue)
    let bytes = try #require(sides["teacher"]?["file_bytes"]?.integerValue), parameters = try #require(sides["teacher"]?["parameters"]?.integerValue)
    #expect(bytes == 4 * parameters)
  }

  /// What a run is refused for is what was given, and a state of an earlier version, whose rate was scaled and whose crops were words beside the images, is gone on with.
  @Test func statesSayWhatWasGiven() throws {
    let bench = try Bench()
    defer { bench.remove() }
    let set = try Self.classes(bench), whole = "\(bench.folder)/whole", part = "\(bench.folder)/part", rate = ["--lr", "0.01"]
    _ = try Self.ran(Self.arguments(set, whole, rate))
    _ = try Self.ran(Self.arguments(set, part, rate + ["--stop-after", "5"]))
    let chain = try SafetensorsFile(path: "\(whole)/teacher.safetensors").metadata["dino.provenance"] ?? ""
    #expect(chain.contains("--lr 0.01 ") && chain.contains("--batch-size-per-gpu 4 "), "\(chain)")
    #expect(try String(contentsOfFile: "\(whole)/report.html", encoding: .utf8).contains("0.01<"))
    func refuses(_ more: [String], _ said: String) throws {
      let errors = try Self.ran(Self.arguments(set, part, rate + ["--resume"] + more), status: 64).errors
      #expect(errors.contains("trained with \(said)"), "\(errors)")
    }
    try refuses(["--lr", "0.02"], "--lr 0.01, now it is 0.02")
    try refuses(["--blur-radius", "0.1", "1"], "--blur-radius 0.1 2.0, now it is 0.1 1.0")
    try refuses(["--negative-probability", "0.5"], "--negative-probability 0.0, now it is 0.5")
    try refuses(["--precision", "bf16"], "--precision f32, now it is bf16")
    // What other images or a default lead to is told as such.
    try refuses(["--batch-size", "64"], "--batch-size-per-gpu 4, now it is 64")
    try bench.photographs("few", count: 4)
    let few = try Self.ran(Self.arguments("\(bench.folder)/few", part, rate + ["--resume"]), status: 64).errors
    #expect(few.contains("trained on other images"), "\(few)")
    // As an earlier version wrote it.
    let path = "\(part)/checkpoint.safetensors", file = try SafetensorsFile(path: path), record = try JSONValue.parse(try #require(file.metadata["dino.training"]))
    let members = try #require(record.objectValue), settings = try #require(record["settings"]?.objectValue)
    let scaled = JSONValue.Member("--lr", .string("\(0.01 * 4.0 / 256)")), data = (record["data"]?.stringValue ?? "") + ", global crops 0.4...1.0, local crops 0.05...0.4"
    var earlier: [JSONValue.Member] = members.filter { !["step_images", "crops", "start", "data", "settings"].contains($0.key) }
    earlier.append(JSONValue.Member("data", .string(data)))
    earlier.append(JSONValue.Member("settings", .object(settings.filter { $0.key != "--lr" } + [scaled])))
    let tensors = file.names.compactMap { name in file.tensor(name).map { (name: name, tensor: $0) } }, old = "\(bench.folder)/old.safetensors"
    try SafetensorsWriter.write(tensors, metadata: ["format": "pt", "dino.training": JSONValue.object(earlier).text], to: old)
    try FileManager.default.removeItem(atPath: path)
    try FileManager.default.moveItem(atPath: old, toPath: path)
    #expect(try Self.ran(Self.arguments(set, part, rate + ["--resume", "--lr", "0.02"]), status: 64).errors.contains("--lr 0.01, now it is 0.02"))
    #expect(try Self.ran(Self.arguments(set, part, rate + ["--resume", "--blur-radius", "0.1", "1"]), status: 64).errors.contains("crops"))
    // It does not say what the run began with, and nothing is said of that which was not done.
    let claim = Self.arguments(set, part, rate + ["--resume", "--init", "\(whole)/teacher.safetensors", "--stop-after", "6"]).filter { $0 != "--quiet" }
    #expect(try Self.ran(claim).errors.contains("--init is passed over"))
    let stated = try SafetensorsFile(path: path), claimed = try JSONValue.parse(try #require(stated.metadata["dino.training"]))
    #expect(claimed["step"]?.integerValue == 6 && claimed["start"] == nil)
    _ = try Self.ran(Self.arguments(set, part, rate + ["--resume"]))
    #expect(try bench.bytes("part/teacher.safetensors") == bench.bytes("whole/teacher.safetensors"))
    #expect(try Self.stateWithoutStart(bench, "part") == Self.stateWithoutStart(bench, "whole"))
  }

  /// A run that goes on keeps what it began with in its record, and is not said to have begun with something else.
  @Test func whatARunBeganWithIsKept() throws {
    let bench = try Bench()
    defer { bench.remove() }
    let set = try Self.classes(bench), model = "\(bench.folder)/first/teacher.safetensors", other = "\(bench.folder)/second/teacher.safetensors"
    _ = try Self.ran(Self.arguments(set, "\(bench.folder)/first", ["--stop-after", "3"]))
    _ = try Self.ran(Self.arguments(set, "\(bench.folder)/second", ["--stop-after", "4", "--seed", "1"]))
    let whole = "\(bench.folder)/whole", part = "\(bench.folder)/part"
    _ = try Self.ran(Self.arguments(set, whole, ["--init", model]))
    _ = try Self.ran(Self.arguments(set, part, ["--init", model, "--stop-after", "5"]))
    #expect(try Self.ran(Self.arguments(set, part, ["--init", other, "--resume"]), status: 64).errors.contains("--init"))
    _ = try Self.ran(Self.arguments(set, part, ["--init", model, "--resume", "--stop-after", "6"]))
    // Without the flag, and where the file is gone.
    _ = try Self.ran(Self.arguments(set, part, ["--resume", "--stop-after", "7"]))
    try FileManager.default.removeItem(atPath: model)
    _ = try Self.ran(Self.arguments(set, part, ["--init", model, "--resume"]))
    #expect(try SafetensorsFile(path: "\(part)/teacher.safetensors").metadata["dino.provenance"]?.contains("train started from teacher.safetensors") == true)
    for name in ["checkpoint.safetensors", "teacher.safetensors"] { #expect(try bench.bytes("part/\(name)") == bench.bytes("whole/\(name)"), "\(name)") }
    #expect(try Self.ran(Self.arguments(set, "\(bench.folder)/second", ["--seed", "1", "--init", "\(whole)/teacher.safetensors", "--resume"]), status: 64).errors.contains("random weights"))
  }

  /// The network of `Bench.model`.
  private static let ofBench = ["--width": "24", "--depth": "2", "--heads": "3"]

  private static func arguments(_ set: String, _ out: String, changed: [String: String], _ more: [String]) -> [String] {
    var result = arguments(set, out, more)
    for (flag, value) in changed {
      if let i = result.firstIndex(of: flag) { result[i + 1] = value }
    }
    return result
  }

  /// Shapes do not tell heads, activation and epsilon, and what a file has besides is in no shape that is looked for.
  @Test func weightsOfAnotherNetworkAreNoStart() throws {
    let bench = try Bench()
    defer { bench.remove() }
    let set = try Self.classes(bench), folder = "\(bench.folder)/hf"
    func refused(_ start: String, _ changed: [String: String], status: Int32) throws -> String {
      let flags = Self.ofBench.merging(changed) { $1 }
      return try Self.ran(Self.arguments(set, "\(bench.folder)/out", changed: flags, ["--init", start, "--stop-after", "1"]), status: status).errors
    }
    #expect(try refused(bench.model, ["--heads": "2"], status: 64).contains("has 3 attention heads"))
    // The first blocks of a deeper network have the names and shapes of those that are trained.
    for depth in ["1", "3"] {
      let said = try refused(bench.model, ["--depth": depth], status: 64)
      #expect(said.contains("has 2 blocks, the network to be trained \(depth)") && said.contains("--width 24 --depth 2 --heads 3"), "\(said)")
    }
    let registers = try refused(Fixtures.path("registers/transformers"), ["--patch-size": "7", "--global-size": "28", "--local-size": "14"], status: 69)
    #expect(registers.contains("4 registers, not 0") && registers.contains("layer scale"), "\(registers)")
    // Of another width, which five heads do not divide: that is what the sentence is about, and not heads that nobody gave.
    let wide = ["--width": "40", "--heads": "5"]
    let rotary = try refused(Fixtures.path("dinov3/transformers"), wide, status: 69)
    #expect(rotary.contains("rotary positions of base 100.0") && !rotary.contains("'--heads'"), "\(rotary)")
    #expect(try refused(bench.model, wide, status: 65).contains("[1, 1, 24], here it is [1, 1, 40]"))
    _ = try Self.ran(["convert", bench.model, folder, "--layout", "hf", "--quiet"])
    let honest = String(decoding: try bench.bytes("hf/config.json"), as: UTF8.self)
    let relu = honest.replacingOccurrences(of: #""hidden_act":"gelu""#, with: #""hidden_act":"relu""#)
    try bench.write("hf/config.json", Array(relu.utf8))
    #expect(try refused(folder, [:], status: 69).contains("the activation relu, not gelu"))
    let rest: String = honest.replacingOccurrences(of: #""layer_norm_eps""#, with: #""other""#)
    let coarse = #"{"layer_norm_eps":0.001,"# + String(rest.dropFirst())
    try bench.write("hf/config.json", Array(coarse.utf8))
    #expect(try refused(folder, [:], status: 69).contains("epsilon 0.001"))
    #expect(!bench.exists("out/teacher.safetensors"))
  }

  /// A folder is known by its weights, not by its name.
  @Test func anotherFolderOfTheSameNameIsAnotherStart() throws {
    let bench = try Bench()
    defer { bench.remove() }
    let set = try Self.classes(bench), other = "\(bench.folder)/other.safetensors"
    _ = try Self.ran(["init", "--width", "24", "--depth", "2", "--heads", "3", "--patch-size", "8", "--image-size", "32", "--seed", "4", "-o", other, "--quiet"])
    for (folder, model) in [("a", bench.model), ("b", other)] {
      try FileManager.default.createDirectory(atPath: "\(bench.folder)/\(folder)", withIntermediateDirectories: true)
      _ = try Self.ran(["convert", model, "\(bench.folder)/\(folder)/hf", "--layout", "hf", "--quiet"])
    }
    func run(_ folder: String, _ more: [String], status: Int32 = 0) throws -> String {
      try Self.ran(Self.arguments(set, "\(bench.folder)/out", changed: Self.ofBench, ["--init", "\(bench.folder)/\(folder)/hf"] + more), status: status).errors
    }
    _ = try run("a", ["--stop-after", "1"])
    #expect(try run("b", ["--resume", "--stop-after", "2"], status: 64).contains("--init"))
    _ = try run("a", ["--resume", "--stop-after", "2"])
  }

  /// So is one whose weights are in shards.
  @Test func otherShardsAreAnotherStart() throws {
    let bench = try Bench()
    defer { bench.remove() }
    let set = try Self.classes(bench), folder = "\(bench.folder)/hf", whole = "\(folder)/model.safetensors"
    _ = try Self.ran(["convert", bench.model, folder, "--layout", "hf", "--quiet"])
    let file = try SafetensorsFile(path: whole)
    let tensors = file.names.compactMap { name in file.tensor(name).map { (name: name, tensor: $0) } }
    var places: [JSONValue.Member] = []
    for (i, part) in [tensors[..<5], tensors[5...]].enumerated() {
      try SafetensorsWriter.write(Array(part), metadata: ["format": "pt"], to: "\(folder)/part\(i).safetensors")
      places += part.map { JSONValue.Member($0.name, .string("part\(i).safetensors")) }
    }
    let index = JSONValue.object([JSONValue.Member("weight_map", .object(places))])
    try bench.write("hf/model.safetensors.index.json", Array(index.text.utf8))
    try FileManager.default.removeItem(atPath: whole)
    func run(_ more: [String], status: Int32 = 0) throws -> String {
      try Self.ran(Self.arguments(set, "\(bench.folder)/out", changed: Self.ofBench, ["--init", folder] + more), status: status).errors
    }
    _ = try run(["--stop-after", "1"])
    _ = try run(["--resume", "--stop-after", "2"])
    // One bit of the last shard is another.
    var shard = try bench.bytes("hf/part1.safetensors")
    shard[shard.count - 1] ^= 1
    try bench.write("hf/part1.safetensors", shard)
    #expect(try run(["--resume", "--stop-after", "3"], status: 64).contains("not with the weights of hf"))
  }

  @Test func badRequestsAreRefused() throws {
    let bench = try Bench()
    defer { bench.remove() }
    let set = try Self.classes(bench)
    try bench.photographs("flat", count: 3)
    try bench.photographs("other/strange", count: 2)
    let one = try Self.ran(Self.arguments(set, "\(bench.folder)/out", ["--knn-train", "\(bench.folder)/other"]), status: 65).errors
    #expect(one.contains("of one class"), "\(one)")
    // The original's own command lines: its booleans, its flags that there is nothing to choose for, its flags of other machines.
    func plain(_ out: String, _ more: [String]) -> [String] { Self.arguments(set, "\(bench.folder)/\(out)", ["--stop-after", "1"] + more) }
    for (i, more) in [["--norm_last_layer", "False"], ["--norm_last_layer=0", "--use_fp16", "false"], ["--norm_last_layer", "on", "--use_bn_in_head", "True"], ["--use_fp16", "OFF"]].enumerated() {
      _ = try Self.ran(plain("official\(i)", more))
    }
    let state = try SafetensorsFile(path: "\(bench.folder)/official1/checkpoint.safetensors").metadata["dino.training"] ?? ""
    #expect(state.contains(#""--norm-last-layer":"false""#), "\(state)")
    for (more, said) in [(["--use_fp16", "true"], "--precision bf16"), (["--dist_url", "env://"], "'--dist_url'"), (["--dist_url=env://"], "mpirun -n R"), (["--local_rank=0"], "'--local_rank'"),
                         (["--norm_last_layer", "maybe"], "--norm_last_layer")] {
      let errors = try Self.ran(plain("out", more), status: 64).errors
      #expect(errors.contains(said), "\(more): \(errors)")
    }
    let unlike = try Self.ran(Self.arguments(set, "\(bench.folder)/out", ["--knn-train", set, "--knn-test", "\(bench.folder)/other"]), status: 65)
    #expect(unlike.errors.contains("of no class of \(set)") && unlike.errors.contains("dark, light"), "\(unlike.errors)")
    for (more, status) in [(["--knn-test", set], 64), (["--knn-train", set, "--knn-every", "0"], 64), (["--knn-train", "\(bench.folder)/nowhere"], 66),
                           (["--out-dim", "1"], 64), (["--freeze-last-layer=-3"], 64), (["--centering", "sinkhorn_knopp", "--center-momentum", "0.5"], 64)] as [([String], Int32)] {
      _ = try Self.ran(Self.arguments(set, "\(bench.folder)/out", more), status: status)
    }
    #expect(try Self.ran(Self.arguments(set, "\(bench.folder)/out", ["--resume", "a.pth", "--init", "b.pth"]), status: 64).errors.contains("--init"))
    // Nothing has the size of local crops where there are none.
    _ = try Self.ran(Self.arguments(set, "\(bench.folder)/global", ["--local-crops-number", "0", "--local-size", "1", "--stop-after", "1"]))
    // What a run starts from is not what it writes, and what it cannot go on from stays.
    let own = "\(bench.folder)/own/checkpoint.pth"
    try bench.write("own/checkpoint.pth", [1])
    for (more, status) in [(["--init", own], 64), (["--resume", own], 65)] as [([String], Int32)] {
      #expect(try Self.ran(Self.arguments(set, "\(bench.folder)/own", ["--save-official"] + more), status: status).errors.contains("checkpoint.pth"))
      #expect(try bench.bytes("own/checkpoint.pth") == [1])
    }
  }
}
