// distill as a person runs it: a teacher's file and a folder to a student that other commands take; what is said at the end; resumed runs; refusals. And train with iBOT's term.

import DinoTensor
import Foundation
import Safetensors
import TestSupport
import Testing

@Suite struct DistillCommandTests {
  /// Two classes that a random network tells apart, and a teacher of another size than the student.
  private static func prepare(_ bench: Bench) throws -> (set: String, teacher: String) {
    for i in 0..<6 {
      var random = SplitMix64(seed: UInt64(i))
      let dark = (0..<40 * 40 * 3).map { _ in UInt8.random(in: 0..<100, using: &random) }
      try bench.write("set/dark/\(i).ppm", Array("P6\n40 40\n255\n".utf8) + dark)
      try bench.write("set/light/\(i).ppm", Array("P6\n40 40\n255\n".utf8) + dark.map { 255 - $0 })
    }
    let teacher = "\(bench.folder)/teacher.safetensors"
    _ = try ran(["init", "--width", "24", "--depth", "2", "--heads", "2", "--patch-size", "8", "--image-size", "32", "-o", teacher, "--quiet"])
    return ("\(bench.folder)/set", teacher)
  }

  private static func arguments(_ set: String, _ teacher: String, _ out: String, _ more: [String] = []) -> [String] {
    ["distill", "--teacher", teacher, "--data", set, "--output-dir", out, "--width", "16", "--depth", "1", "--heads", "2", "--global-size", "32", "--batch-size", "4", "--epochs", "4",
     "--warmup-epochs", "1", "--threads", "1", "--mean", "0.5,0.5,0.5", "--std", "0.25,0.5,0.5"] + more
  }

  private static func ran(_ arguments: [String], status: Int32 = 0) throws -> ToolResult {
    let result = try Tool.run(arguments)
    #expect(result.status == status, "\(arguments.joined(separator: " ")): \(result.errors)")
    return result
  }

  @Test func aStudentComesOutAndIsComparedWithItsTeacher() throws {
    let bench = try Bench()
    defer { bench.remove() }
    let (set, teacher) = try Self.prepare(bench), out = "\(bench.folder)/out", student = "\(out)/student.safetensors"
    let result = try Self.ran(Self.arguments(set, teacher, out, ["--knn-train", set, "--json"]))
    let json = try JSONValue.parse(result.output), comparison = try #require(json["comparison"])
    #expect(json["student"]?.stringValue == student && json["steps"]?.integerValue == 12)
    // Of the teacher's file with the same mean and deviation, and of the student's own.
    for (name, model, extra) in [("teacher", teacher, ["--mean", "0.5,0.5,0.5", "--std", "0.25,0.5,0.5"]), ("student", student, [])] {
      let asked = try JSONValue.parse(Self.ran(["knn", "--model", model, "--train", set, "-k", "20", "--json", "--quiet"] + extra).output)
      let expected = try #require(asked["results"]?.arrayValue?.first?["top1"]?.doubleValue), found = try #require(comparison[name]?["knn_top1"]?.doubleValue)
      #expect(abs(100 * found - expected) < 1e-9, "\(name)")
      #expect(comparison[name]?["file_bytes"]?.integerValue == (try FileManager.default.attributesOfItem(atPath: model)[.size] as? Int))
      #expect((comparison[name]?["images_per_second"]?.doubleValue ?? 0) > 0)
    }
    #expect(comparison["images"]?.integerValue == 12 && comparison["neighbour_overlap_10"]?.doubleValue.map { $0 > 0 && $0 <= 1 } == true && comparison["label_agreement"]?.doubleValue != nil)
    #expect(try JSONValue.parse(String(contentsOfFile: "\(out)/comparison.json", encoding: .utf8)) == comparison)
    // A student of fewer blocks does not begin with the teacher's first ones.
    #expect(try Self.ran(Self.arguments(set, teacher, "\(bench.folder)/deep", ["--width", "24", "--init", teacher]), status: 64).errors.contains("has 2 blocks, the network to be trained 1"))
    let report = try String(contentsOfFile: "\(out)/report.html", encoding: .utf8)
    #expect(report.contains("Student beside teacher") && report.contains("neighbours in common") && report.contains("Terms of the loss"))
    let steps = try String(contentsOfFile: "\(out)/log.jsonl", encoding: .utf8).split(separator: "\n").map { try JSONValue.parse(String($0)) }
    #expect(steps.count == 12 && steps.allSatisfy { $0["loss_cls"] != nil && $0["loss_patch"] != nil } && steps[11]["knn_top1"] != nil)
    // The record says how to read photographs; nothing of the training is in the model.
    let file = try SafetensorsFile(path: student)
    #expect(file.names.allSatisfy { !$0.hasPrefix("distill.") && !$0.hasPrefix("head.") })
    #expect(file.metadata["dino.preprocessing"]?.contains("0.25") == true)
    #expect(try Self.ran(["inspect", student, "--self-test"]).status == 0)
    _ = try Self.ran(["features", "--model", student, "-o", "\(bench.folder)/f.npy", set, "--quiet"])
    #expect(try Self.ran(["inspect", "\(out)/checkpoint.safetensors", "--heads", "2"]).status == 0)
  }

  /// Its size is that of its weights, as inspect says it, and not the folder's entry.
  @Test func aTeacherMayBeAFolder() throws {
    let bench = try Bench()
    defer { bench.remove() }
    let (set, teacher) = try Self.prepare(bench), folder = "\(bench.folder)/hf"
    _ = try Self.ran(["convert", teacher, folder, "--layout", "hf", "--quiet"])
    let json = try JSONValue.parse(Self.ran(Self.arguments(set, folder, "\(bench.folder)/out", ["--epochs", "1", "--warmup-epochs", "0", "--json", "--quiet"])).output)
    let found = json["comparison"]?["teacher"]?["file_bytes"]?.integerValue
    #expect(found == (try bench.bytes("hf/model.safetensors").count))
  }

  @Test func aStopChangesNothingAndAnotherTeacherIsRefused() throws {
    let bench = try Bench()
    defer { bench.remove() }
    let (set, teacher) = try Self.prepare(bench)
    func run(_ out: String, _ more: [String] = [], status: Int32 = 0, teacher: String = teacher) throws -> ToolResult { try Self.ran(Self.arguments(set, teacher, "\(bench.folder)/\(out)", ["--quiet"] + more), status: status) }
    #expect(try run("whole").output.contains("nearest neighbours in common"))
    // A run that stops before its end does not compare.
    #expect(try run("part", ["--stop-after", "5"]).output.isEmpty)
    let other = "\(bench.folder)/other.safetensors"
    _ = try Self.ran(["init", "--width", "24", "--depth", "2", "--heads", "2", "--patch-size", "8", "--image-size", "32", "--seed", "1", "-o", other, "--quiet"])
    #expect(try run("part", ["--resume"], status: 64, teacher: other).errors.contains("--teacher"))
    _ = try run("part", ["--resume"])
    for name in ["checkpoint.safetensors", "student.safetensors"] { #expect(try bench.bytes("part/\(name)") == bench.bytes("whole/\(name)")) }
    // What a run began with is in its record, and no other is taken for it.
    let start = "\(bench.folder)/whole/student.safetensors"
    _ = try run("began", ["--init", start, "--stop-after", "1"])
    _ = try run("began", ["--resume", "--stop-after", "2"])
    let chain = try SafetensorsFile(path: "\(bench.folder)/began/student.safetensors").metadata["dino.provenance"] ?? ""
    #expect(chain.contains("distill started from student.safetensors") && chain.contains("--mean 0.5,0.5,0.5"), "\(chain)")
    #expect(try run("part", ["--init", start, "--resume"], status: 64).errors.contains("random weights"))
    #expect(try run("part", ["--mean", "0.4,0.5,0.5", "--resume"], status: 64).errors.contains("trained with --mean 0.5,0.5,0.5, now it is 0.4,0.5,0.5"))
  }

  /// DINO's loss with the teacher of our own training checkpoint, whose centre goes on.
  @Test func theTeachersHeadTeachesToo() throws {
    let bench = try Bench()
    defer { bench.remove() }
    let (set, plain) = try Self.prepare(bench)
    _ = try Self.ran(["train", "--data", set, "--output-dir", "\(bench.folder)/first", "--width", "24", "--depth", "2", "--heads", "2", "--patch-size", "8", "--out-dim", "40", "--head-hidden-dim", "24",
                      "--head-bottleneck-dim", "8", "--global-size", "32", "--local-crops-number", "0", "--batch-size", "4", "--epochs", "2", "--warmup-epochs", "1", "--threads", "1", "--quiet",
                      "--ibot-loss-weight", "1", "--ibot-mask-ratio-min-max", "0.2", "0.4"])
    let checkpoint = "\(bench.folder)/first/checkpoint.safetensors", file = try SafetensorsFile(path: checkpoint)
    #expect(file.tensor("patch_center")?.shape == [1, 40] && file.tensor("student.mask_token")?.shape == [1, 24])
    #expect(try !SafetensorsFile(path: "\(bench.folder)/first/teacher.safetensors").names.contains("mask_token"))
    let steps = try String(contentsOfFile: "\(bench.folder)/first/log.jsonl", encoding: .utf8).split(separator: "\n").map { try JSONValue.parse(String($0)) }
    #expect(steps.allSatisfy { $0["loss_dino"] != nil && $0["loss_ibot"] != nil })
    // A file that says nothing of heads; our own checkpoint does.
    let bare = "\(bench.folder)/bare.safetensors"
    _ = try Self.ran(["convert", plain, bare, "--layout", "timm", "--quiet"])
    #expect(try Self.ran(Self.arguments(set, bare, "\(bench.folder)/zeroth"), status: 65).errors.contains("--teacher-heads"))
    let result = try Self.ran(Self.arguments(set, checkpoint, "\(bench.folder)/second", ["--loss", "dino", "--local-crops-number", "2", "--local-size", "16"]))
    #expect(result.errors.contains("centre") && result.output.contains("nearest neighbours in common"))
    let state = try SafetensorsFile(path: "\(bench.folder)/second/checkpoint.safetensors")
    #expect(state.tensor("student.head.last_layer.weight_v")?.shape == [40, 8] && !state.names.contains { $0.hasPrefix("teacher.") })
    #expect(try Self.ran(Self.arguments(set, plain, "\(bench.folder)/third", ["--loss", "dino"]), status: 64).errors.contains("no projection head"))
  }

  @Test func badRequestsAreRefused() throws {
    let bench = try Bench()
    defer { bench.remove() }
    let (set, teacher) = try Self.prepare(bench), out = "\(bench.folder)/out"
    for (more, status, word) in [
      (["--momentum-teacher", "0.9"], 64, "stands still"), (["--teacher-temp", "0.04"], 64, "--loss dino"), (["--patch-size", "16"], 64, "patch 16"), (["--projection", "none"], 64, "24 wide"),
      (["--koleo-loss-weight", "0.1"], 64, "--koleo-loss-weight"), (["--cls-loss-weight", "0", "--patch-loss-weight", "0"], 64, "nothing to learn"), (["--knn-train", "\(bench.folder)/nowhere"], 66, "nowhere"),
    ] as [([String], Int32, String)] {
      #expect(try Self.ran(Self.arguments(set, teacher, out, more), status: status).errors.contains(word), "\(more)")
    }
    #expect(try Self.ran(["distill", "--teacher", "\(bench.folder)/no.pth", "--data", set, "--output-dir", out, "--arch", "vit_tiny"], status: 66).errors.contains("no.pth"))
    #expect(try Self.ran(["distill", "--teacher", teacher, "--data", set, "--output-dir", out], status: 64).errors.contains("--arch"))
    for (flags, named) in [(["--student-temp", "0.2"], "--loss dino"), (["--centering=sinkhorn_knopp"], "--loss dino"), (["--loss", "dino", "--projection", "none"], "--loss features")] {
      #expect(try Self.ran(Self.arguments(set, teacher, out, flags), status: 64).errors.contains(named), "\(flags)")
    }
    #expect(try Self.ran(["train", "--data", set, "--output-dir", out, "--ibot-loss-weight", "1", "--save-official"], status: 64).errors.contains("--ibot-loss-weight"))
  }
}
