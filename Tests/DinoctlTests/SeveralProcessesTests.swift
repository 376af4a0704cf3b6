// mpirun -n 2 dinoctl train, and distill, beside one process at twice the batch. Needs Open MPI; without it there is nothing to test.

import DinoTensor
import Foundation
import Safetensors
import TestSupport
import Testing

@Suite struct SeveralProcessesTests {
  private static let mpirun = ["/usr/bin/mpirun", "/usr/local/bin/mpirun"].first { FileManager.default.isExecutableFile(atPath: $0) }

  enum Kind: CaseIterable { case train, ibot, distill }

  private static func arguments(_ kind: Kind, _ bench: Bench, _ out: String, batch: Int, _ more: [String] = []) -> [String] {
    let own = kind == .distill ? ["distill", "--teacher", bench.model, "--lr", "1"] : ["train", "--out-dim", "32", "--head-hidden-dim", "24", "--head-bottleneck-dim", "8", "--lr", "2"]
    // SGD: what AdamW makes of gradients that are zero but for rounding is not rounding.
    return own + (kind == .ibot ? ["--ibot-loss-weight", "1"] : []) + [
      "--data", "\(bench.folder)/set", "--output-dir", "\(bench.folder)/\(out)", "--width", "16", "--depth", "2", "--heads", "2", "--patch-size", "8",
      "--global-size", "32", "--local-size", "16", "--local-crops-number", "2", "--batch-size", "\(batch)", "--epochs", "3",
      "--warmup-epochs", "1", "--optimizer", "sgd", "--drop-path-rate", "0.2", "--threads", "1"] + more
  }

  private static func mpi(_ arguments: [String]) throws -> ToolResult {
    try Tool.Run(["--allow-run-as-root", "--oversubscribe", "-n", "2", Tool.path] + arguments, executable: try #require(mpirun)).wait()
  }

  @Test(arguments: Kind.allCases) func twoProcessesAreOneAtTwiceTheBatch(_ kind: Kind) throws {
    guard Self.mpirun != nil else {
      print("skipped: no mpirun")
      return
    }
    let bench = try Bench()
    defer { bench.remove() }
    try bench.photographs("set", count: 13)
    let one = try Tool.run(Self.arguments(kind, bench, "one", batch: 4))
    #expect(one.status == 0, "\(one.errors)")
    let two = try Self.mpi(Self.arguments(kind, bench, "two", batch: 2, ["--json"]))
    #expect(two.status == 0, "\(two.errors)")
    #expect(two.errors.contains("in each of 2 processes"))
    // One of them speaks and writes.
    #expect(two.output.split(separator: "\n").count == 1)
    func lines(_ name: String) throws -> [JSONValue] { try String(contentsOfFile: "\(bench.folder)/\(name)/log.jsonl", encoding: .utf8).split(separator: "\n").map { try JSONValue.parse(String($0)) } }
    let a = try lines("one"), b = try lines("two")
    #expect(a.count == 9 && b.count == 9)
    for (x, y) in zip(a, b) { #expect(abs((x["loss"]?.doubleValue ?? 0) - (y["loss"]?.doubleValue ?? 1)) < 1e-4 && x["lr"]?.doubleValue == y["lr"]?.doubleValue) }
    func tensors(_ name: String) throws -> SafetensorsFile { try SafetensorsFile(path: "\(bench.folder)/\(name)/checkpoint.safetensors") }
    let first = try tensors("one"), second = try tensors("two")
    #expect(Set(first.names) == Set(second.names))
    #expect(first.names.count { $0.hasSuffix("center") } == [.train: 1, .ibot: 2, .distill: 0][kind])
    for name in first.names where name.hasPrefix("student.") || name.hasPrefix("teacher.") || name.hasSuffix("center") {
      let x = try #require(first.tensor(name)).floats(), y = try #require(second.tensor(name)).floats()
      #expect(normalizedMeanSquaredError(y, reference: x).squareRoot() < 1e-4, "\(name)")
    }
    // The record is that of the one process which trains like the two, and so are the epochs' figures.
    let model = kind == .distill ? "student.safetensors" : "teacher.safetensors"
    func provenance(_ name: String) throws -> String? { try SafetensorsFile(path: "\(bench.folder)/\(name)/\(model)").metadata["dino.provenance"] }
    #expect(try provenance("one") == provenance("two"))
    let ofOne = try epochs("one", bench), ofTwo = try epochs("two", bench)
    #expect(ofOne.count == 3 && ofTwo.count == 3)
    for (x, y) in zip(ofOne, ofTwo) {
      for key in ["teacher_entropy", "kl", "marginal_entropy", "largest_share", "feature_spread", "effective_rank"] {
        let one = x[key]?.doubleValue ?? -1, two = y[key]?.doubleValue ?? -1
        #expect(abs(one - two) < 1e-3, "\(key): \(x.text), by two \(y.text)")
      }
      #expect(x["active_prototypes"]?.integerValue == y["active_prototypes"]?.integerValue)
    }
    let apart = try Tool.run(Self.arguments(kind, bench, "two", batch: 2, ["--resume"]))
    #expect(apart.status == 64 && apart.errors.contains("--batch-size-per-gpu 4, now it is 2"), "\(apart.errors)")
    // Stopped and gone on with: the same bits.
    _ = try Self.mpi(Self.arguments(kind, bench, "three", batch: 2, ["--stop-after", "4"]))
    let rest = try Self.mpi(Self.arguments(kind, bench, "three", batch: 2, ["--resume"]))
    #expect(rest.status == 0, "\(rest.errors)")
    #expect(try bench.bytes("three/checkpoint.safetensors") == bench.bytes("two/checkpoint.safetensors"))
  }

  private func epochs(_ name: String, _ bench: Bench) throws -> [JSONValue] {
    try String(contentsOfFile: "\(bench.folder)/\(name)/epochs.jsonl", encoding: .utf8).split(separator: "\n").map { try JSONValue.parse(String($0)) }
  }

  /// The others would wait for it for ever.
  @Test func oneThatFailsEndsAll() throws {
    guard Self.mpirun != nil else {
      print("skipped: no mpirun")
      return
    }
    let bench = try Bench()
    defer { bench.remove() }
    try bench.photographs("set", count: 4)
    try FileManager.default.createDirectory(atPath: "\(bench.folder)/full", withIntermediateDirectories: true)
    try FileManager.default.createSymbolicLink(atPath: "\(bench.folder)/full/log.jsonl", withDestinationPath: "/dev/full")
    let result = try Self.mpi(Self.arguments(.train, bench, "full", batch: 1, ["--resume"]))
    #expect(result.status != 0 && result.errors.contains("log.jsonl"), "\(result.status): \(result.errors)")
  }

  /// The run is done for all of them, whoever met the image; the first one says so.
  @Test func anUnreadableImageEndsNoProcessEarly() throws {
    guard Self.mpirun != nil else {
      print("skipped: no mpirun")
      return
    }
    let bench = try Bench()
    defer { bench.remove() }
    try bench.photographs("set", count: 3)
    try bench.write("set/broken.ppm", Array("P6 broken".utf8))
    let result = try Self.mpi(Self.arguments(.train, bench, "out", batch: 2))
    #expect(result.status == 1, "\(result.status): \(result.errors)")
    #expect(result.errors.components(separatedBy: "1 image could not be read; others took their places").count == 2, "\(result.errors)")
    #expect(!result.errors.contains("interrupted"), "\(result.errors)")
    #expect(bench.exists("out/teacher.safetensors"))
    #expect(try String(contentsOfFile: "\(bench.folder)/out/log.jsonl", encoding: .utf8).split(separator: "\n").count == 3)
  }

  /// As on machines that do not share the folder.
  @Test func oneWithoutTheCheckpointIsTold() throws {
    guard let mpirun = Self.mpirun else {
      print("skipped: no mpirun")
      return
    }
    let bench = try Bench()
    defer { bench.remove() }
    try bench.photographs("set", count: 4)
    func apart(_ more: [String]) throws -> ToolResult {
      try Tool.Run(["--allow-run-as-root", "--oversubscribe", "-n", "1", Tool.path] + Self.arguments(.train, bench, "a", batch: 1, more)
        + [":", "-n", "1", Tool.path] + Self.arguments(.train, bench, "b", batch: 1, more), executable: mpirun).wait()
    }
    let first = try apart(["--stop-after", "2"])
    #expect(first.status == 0, "\(first.errors)")
    let rest = try apart(["--resume"])
    #expect(rest.status != 0 && rest.errors.contains("process 1 is at step 0 of 6 and process 0 at step 2 of 6"), "\(rest.status): \(rest.errors)")
  }
}
