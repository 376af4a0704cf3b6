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

  private static func lines(_ path: String) throws -> [JSONValue] {
    try String(contentsOfFile: path, encoding: .utf8).split(separator: "\n").map { try JSONValue.parse(String($0)) }
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
    _ = try Self.ran(arguments + ["--stop-after", "1"])
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
    #expect(try bench.bytes("second/checkpoint.safetensors") == bench.bytes("whole/checkpoint.safetensors"))
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

  @Test func badRequestsAreRefused() throws {
    let bench = try Bench()
    defer { bench.remove() }
    let set = try Self.classes(bench)
    try bench.photographs("flat", count: 3)
    for (more, status) in [(["--knn-test", set], 64), (["--knn-train", set, "--knn-every", "0"], 64), (["--knn-train", "\(bench.folder)/nowhere"], 66)] as [([String], Int32)] {
      _ = try Self.ran(Self.arguments(set, "\(bench.folder)/out", more), status: status)
    }
  }
}
