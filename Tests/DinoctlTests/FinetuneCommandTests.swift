// finetune as a person runs it: a labelled folder to a checkpoint that classify uses, resumed runs, the twin from random weights, heads that other commands carry along, refusals.

import DinoTensor
import Foundation
import Safetensors
import TestSupport
import Testing

@Suite struct FinetuneCommandTests {
  /// Two classes: dark and bright pictures.
  private static func classes(_ bench: Bench) throws -> String {
    for i in 0..<6 {
      var random = SplitMix64(seed: UInt64(i))
      let dark = (0..<40 * 40 * 3).map { _ in UInt8.random(in: 0..<100, using: &random) }
      try bench.write("set/dark/\(i).ppm", Array("P6\n40 40\n255\n".utf8) + dark)
      try bench.write("set/light/\(i).ppm", Array("P6\n40 40\n255\n".utf8) + dark.map { 255 - $0 })
    }
    return "\(bench.folder)/set"
  }

  private static func arguments(_ set: String, _ out: String, _ more: [String]) -> [String] {
    ["finetune", "--data", set, "--output-dir", out, "--image-size", "32", "--batch-size", "4", "--epochs", "4", "--lr", "0.1", "--drop-path-rate", "0.2", "--threads", "1"] + more
  }

  private static func ran(_ arguments: [String], status: Int32 = 0) throws -> ToolResult {
    let result = try Tool.run(arguments)
    #expect(result.status == status, "\(arguments.joined(separator: " ")): \(result.errors)")
    return result
  }

  @Test func goingOnMakesTheModelAndKeepsItsPreprocessing() throws {
    let bench = try Bench()
    defer { bench.remove() }
    let set = try Self.classes(bench), out = "\(bench.folder)/out", arguments = Self.arguments(set, out, ["--model", bench.model, "--mean", "0.5,0.5,0.5"])
    _ = try Self.ran(arguments)
    let model = try bench.bytes("out/model.safetensors")
    // As after a kill between the state and the model.
    try FileManager.default.removeItem(atPath: "\(out)/model.safetensors")
    _ = try Self.ran(arguments + ["--resume"])
    #expect(try bench.bytes("out/model.safetensors") == model)
    _ = try Self.ran(arguments.dropLast() + ["0.1,0.5,0.5", "--resume"], status: 64)
    // It goes on from what it began with.
    let other = "\(bench.folder)/other.safetensors"
    _ = try Self.ran(["init", "--width", "24", "--depth", "2", "--heads", "3", "--patch-size", "8", "--image-size", "32", "--seed", "4", "-o", other, "--quiet"])
    #expect(try Self.ran(Self.arguments(set, out, ["--model", other, "--mean", "0.5,0.5,0.5", "--resume"]), status: 64).errors.contains("other weights"))
    // How the model reads photographs is of the run too, and what follows from other images or from a default is told as such.
    let more = "\(bench.folder)/more"
    for name in ["dark", "light", "other"] { try bench.photographs("more/\(name)", count: 4) }
    for (changed, named) in [(["--interpolation", "bilinear"], "with --interpolation bicubic, now it is bilinear"), (["--image-size", "32x32"], "with resize 37, now it is 32x32"), (["--data", more], "other images"),
                             (["--batch-size", "64"], "with --batch-size 4, now it is 64")] {
      let refused = try Self.ran(arguments + changed + ["--resume"], status: 64).errors
      #expect(refused.contains(named), "\(changed): \(refused)")
    }
    #expect(try bench.bytes("out/model.safetensors") == model)
    // A model without its checkpoint is kept.
    try FileManager.default.removeItem(atPath: "\(out)/checkpoint.safetensors")
    for more in [[], ["--resume"]] { #expect(try Self.ran(arguments + more, status: 64).errors.contains("model.safetensors")) }
    #expect(try bench.bytes("out/model.safetensors") == model)
    // And so are its logs.
    try FileManager.default.removeItem(atPath: "\(out)/model.safetensors")
    let log = try bench.bytes("out/log.jsonl")
    for more in [[], ["--resume"]] { #expect(try Self.ran(arguments + more, status: 64).errors.contains("log.jsonl is of another run")) }
    #expect(try bench.bytes("out/log.jsonl") == log)
  }

  @Test func aNetworkLearnsAndItsClassifierIsUsed() throws {
    let bench = try Bench()
    defer { bench.remove() }
    let set = try Self.classes(bench), out = "\(bench.folder)/out", model = "\(bench.folder)/out/model.safetensors"
    let result = try JSONValue.parse(Self.ran(Self.arguments(set, out, ["--model", bench.model, "--test", set, "--json"])).output)
    #expect(result["test_top1"]?.doubleValue == 100 && result["steps"]?.integerValue == 12)
    #expect(result["classes"]?.arrayValue?.compactMap(\.stringValue) == ["dark", "light"])
    #expect(try bench.listing("out") == ["checkpoint.safetensors", "epochs.jsonl", "log.jsonl", "model.safetensors"])
    for line in try Self.ran(["classify", "--model", model, set]).output.split(separator: "\n") {
      let fields = line.split(separator: "\t")
      #expect(fields.count == 3 && fields[0].contains("/\(fields[1])/"), "\(line)")
    }
    // The state is used as the model.
    let byState = try Self.ran(["classify", "--model", "\(out)/checkpoint.safetensors", set]).output, byModel = try Self.ran(["classify", "--model", model, set]).output
    #expect(byState == byModel)
    // What was asked for is in the record.
    let chain = try SafetensorsFile(path: model).metadata["dino.provenance"] ?? ""
    #expect(chain.contains("--lr 0.1 ") && chain.contains("--crop-scale 0.08 1.0"), "\(chain)")
    #expect(try Self.ran(["inspect", model, "--self-test"]).status == 0)
    // The whole network was trained, not the classifier alone, and earlier blocks less.
    let before = try SafetensorsFile(path: bench.model), after = try SafetensorsFile(path: model)
    func moved(_ name: String) throws -> Double {
      let a = try #require(before.tensor(name)).floats(), b = try #require(after.tensor(name)).floats()
      return (zip(a, b).reduce(0.0) { $0 + Double($1.0 - $1.1) * Double($1.0 - $1.1) } / Double(a.count)).squareRoot()
    }
    #expect(try moved("blocks.0.mlp.fc1.weight") > 0 && moved("blocks.0.mlp.fc1.weight") < moved("blocks.1.mlp.fc1.weight"))
    // Trained on from here, the classifier is where it was: a rate of nothing changes nothing.
    let still = try Self.ran(Self.arguments(set, "\(bench.folder)/still", ["--model", model, "--lr", "0", "--min-lr", "0", "--stop-after", "1"]))
    #expect(still.errors.contains("the classifier starts from the one of"))
    #expect(try SafetensorsFile(path: "\(bench.folder)/still/model.safetensors").tensor("head.weight")?.floats() == after.tensor("head.weight")?.floats())
  }

  @Test(arguments: [["--precision", "f32"], ["--precision", "bf16", "--color-jitter", "0.3", "--crop-scale", "0.3", "1"]]) func aResumedRunEndsAtTheSameBytes(_ how: [String]) throws {
    let bench = try Bench()
    defer { bench.remove() }
    let set = try Self.classes(bench), how = ["--model", bench.model, "--quiet"] + how
    _ = try Self.ran(Self.arguments(set, "\(bench.folder)/whole", how))
    _ = try Self.ran(Self.arguments(set, "\(bench.folder)/parts", how + ["--stop-after", "5"]))
    #expect(try Self.ran(Self.arguments(set, "\(bench.folder)/parts", how), status: 64).errors.contains("--resume"))
    #expect(try Self.ran(Self.arguments(set, "\(bench.folder)/parts", how + ["--resume", "--layer-decay", "0.5"]), status: 64).errors.contains("--layer-decay"))
    #expect(try Self.ran(Self.arguments(set, "\(bench.folder)/parts", how + ["--resume", "--lr", "0.2"]), status: 64).errors.contains("trained with --lr 0.1, now it is 0.2"))
    #expect(try Self.ran(Self.arguments(set, "\(bench.folder)/parts", how + ["--resume", "--color-jitter", "0.5"]), status: 64).errors.contains("now it is 0.5"))
    _ = try Self.ran(Self.arguments(set, "\(bench.folder)/parts", how + ["--resume"]))
    for name in ["checkpoint.safetensors", "model.safetensors", "epochs.jsonl"] { #expect(try bench.bytes("whole/\(name)") == bench.bytes("parts/\(name)"), "\(name)") }
    func steps(_ name: String) throws -> [Int] { try String(decoding: bench.bytes("\(name)/log.jsonl"), as: UTF8.self).split(separator: "\n").compactMap { try JSONValue.parse(String($0))["step"]?.integerValue } }
    #expect(try steps("parts") == Array(0..<12) && steps("whole") == Array(0..<12))
  }

  /// What is told of a step is measured at that step, also where the run stops within an epoch or has no step left.
  @Test func testsAreOfTheStepThatTheyAreToldOf() throws {
    let bench = try Bench()
    defer { bench.remove() }
    let set = try Self.classes(bench), out = "\(bench.folder)/out", base = ["--model", bench.model, "--quiet"]
    func run(_ more: [String]) throws -> JSONValue { try JSONValue.parse(Self.ran(Self.arguments(set, out, base + ["--json"] + more)).output) }
    func asked() throws -> Double {
      let lines = try Self.ran(["classify", "--model", "\(out)/model.safetensors", "--quiet", set]).output.split(separator: "\n").map { $0.split(separator: "\t") }
      return 100 * Double(lines.count { $0[0].contains("/\($0[1])/") }) / Double(lines.count)
    }
    let part = try run(["--test", set, "--stop-after", "4"])
    #expect(try part["steps"]?.integerValue == 4 && part["test_top1"]?.doubleValue == asked())
    // Trained without a test, and asked at its end.
    let done = try run(["--resume"])
    #expect(done["test_top1"] == nil && done["training_top1"]?.doubleValue != nil)
    for _ in 0..<2 {
      let late = try run(["--resume", "--test", set])
      #expect(try late["test_top1"]?.doubleValue == asked() && late["training_top1"] == done["training_top1"])
    }
    let last = try String(decoding: bench.bytes("out/epochs.jsonl"), as: UTF8.self).split(separator: "\n").map { try JSONValue.parse(String($0)) }
    #expect(try last.count == 4 && last[3]["test_top1"]?.doubleValue == asked() / 100)
  }

  @Test func theTwinStartsFromRandomWeightsOfThatShape() throws {
    let bench = try Bench()
    defer { bench.remove() }
    let set = try Self.classes(bench), still = ["--from-scratch", "--lr", "0", "--min-lr", "0", "--stop-after", "1"]
    _ = try Self.ran(Self.arguments(set, "\(bench.folder)/a", still + ["--model", bench.model, "--seed", "3"]))
    _ = try Self.ran(Self.arguments(set, "\(bench.folder)/b", still + ["--width", "24", "--depth", "2", "--heads", "3", "--patch-size", "8", "--seed", "3"]))
    _ = try Self.ran(Self.arguments(set, "\(bench.folder)/c", still + ["--arch", "vit_tiny", "--patch-size", "16", "--image-size", "32"]))
    let a = try SafetensorsFile(path: "\(bench.folder)/a/model.safetensors"), b = try SafetensorsFile(path: "\(bench.folder)/b/model.safetensors"), start = try SafetensorsFile(path: bench.model)
    // The model of the bench was made by `init --seed 3`: the same random numbers.
    for name in start.names { #expect(a.tensor(name)?.floats() == start.tensor(name)?.floats() && b.tensor(name)?.floats() == start.tensor(name)?.floats(), "\(name)") }
    #expect(try SafetensorsFile(path: "\(bench.folder)/c/model.safetensors").tensor("pos_embed")?.shape == [1, 5, 192])
    _ = try Self.ran(Self.arguments(set, "\(bench.folder)/d", ["--from-scratch"]), status: 64)
    _ = try Self.ran(Self.arguments(set, "\(bench.folder)/d", ["--from-scratch", "--arch", "vit_none"]), status: 64)
  }

  /// Heads go through quantize and convert: names of classes, the classifier, and the segmentation head bit for bit.
  @Test func headsAreCarriedAlong() throws {
    let bench = try Bench()
    defer { bench.remove() }
    let set = try Self.classes(bench)
    _ = try Self.ran(Self.arguments(set, "\(bench.folder)/out", ["--model", bench.model, "--quiet"]))
    for i in 0..<4 {
      let header = Array("P5\n40 40\n255\n".utf8)
      try bench.write("photos/\(i).ppm", try bench.bytes("set/light/\(i).ppm"))
      try bench.write("masks/\(i).pgm", header + (0..<1600).map { $0 % 40 < 20 ? 0 : 255 })
    }
    let both = "\(bench.folder)/both.safetensors"
    _ = try Self.ran(["finetune", "--task", "segmentation", "--model", "\(bench.folder)/out/model.safetensors", "--data", "\(bench.folder)/photos", "--masks", "\(bench.folder)/masks", "--image-size", "32x32", "-o", both])
    let few = try JSONValue.parse(Self.ran(["finetune", "--task", "segmentation", "--model", bench.model, "--data", "\(bench.folder)/photos", "--masks", "\(bench.folder)/masks", "--image-size", "32x32", "--patches", "8",
                                            "-o", "\(bench.folder)/few.safetensors", "--json", "--quiet"]).output)
    #expect(few["patches"]?.integerValue.map { $0 <= 8 } == true)
    let original = try SafetensorsFile(path: both)
    #expect(original.metadata["dino.classes"] != nil && original.metadata["dino.segmentation"] != nil)
    let plain = try Self.ran(["classify", "--model", both, set]).output.split(separator: "\n").map { $0.split(separator: "\t")[1] }
    for (command, name) in [(["convert", both], "c"), (["convert", both, "--dtype", "bf16"], "h"), (["quantize", "--model", both, "-o"], "q"), (["quantize", "--model", both, "--calibration", "\(bench.folder)/photos", "-o"], "k"),
                            (["quantize", "--model", both, "--weights", "int4", "-o"], "4")] {
      let path = "\(bench.folder)/\(name).safetensors"
      _ = try Self.ran(command.last == "-o" ? command + [path] : [command[0], command[1], path] + command[2...])
      let file = try SafetensorsFile(path: path)
      #expect(file.metadata["dino.classes"] == original.metadata["dino.classes"] && file.metadata["dino.segmentation"] == original.metadata["dino.segmentation"], "\(name)")
      for tensor in ["seg_head.weight", "seg_head.bias"] { #expect(file.tensor(tensor)?.floats() == original.tensor(tensor)?.floats(), "\(name) \(tensor)") }
      #expect(try Self.ran(["classify", "--model", path, set]).output.split(separator: "\n").map { $0.split(separator: "\t")[1] } == plain, "\(name)")
      _ = try Self.ran(["segment", "--model", path, "--method", "head", "--image-size", "32x32", "-o", "\(bench.folder)/seg-\(name)", "\(bench.folder)/photos"])
      _ = try Self.ran(["inspect", path, "--self-test"])
    }
    // A probe of several blocks is kept beside the network: it too comes along.
    _ = try Self.ran(["linear", "--train", set, "--model", bench.model, "--tokens", "cls+mean", "--layers", "2", "-o", "\(bench.folder)/probe.safetensors"])
    _ = try Self.ran(["quantize", "--model", "\(bench.folder)/probe.safetensors", "-o", "\(bench.folder)/pq.safetensors"])
    let probe = try SafetensorsFile(path: "\(bench.folder)/pq.safetensors")
    #expect(probe.tensor("probe.weight")?.shape == [2, 96] && probe.metadata["dino.classes"]?.contains("cls+mean") == true)
    #expect(try Self.ran(["classify", "--model", "\(bench.folder)/pq.safetensors", set]).output.contains("\tdark\t"))
  }

  /// A segmentation head reads photographs as those that it was trained on, where nothing else is said.
  @Test func aSegmentationHeadKeepsItsSize() throws {
    let bench = try Bench()
    defer { bench.remove() }
    try bench.photographs("photos", count: 2)
    for i in 0..<2 {
      let w = 40 + i, h = 50 - i, pixels: [UInt8] = (0..<w * h).map { $0 % w < 20 ? 0 : 255 }
      try bench.write("masks/00\(i).pgm", Array("P5\n\(w) \(h)\n255\n".utf8) + pixels)
    }
    let photos = "\(bench.folder)/photos", masks = "\(bench.folder)/masks", model = "\(bench.folder)/head.safetensors", carried = "\(bench.folder)/carried.safetensors"
    _ = try Self.ran(["finetune", "--task", "segmentation", "--model", bench.model, "--data", photos, "--masks", masks, "--image-size", "48x64", "--interpolation", "nearest", "-o", model])
    _ = try Self.ran(["convert", model, carried])
    let how = ["segment", "--method", "head", "--size", "model", "--no-overlay", photos]
    _ = try Self.ran(how + ["--model", carried, "-o", "\(bench.folder)/a"])
    _ = try Self.ran(how + ["--model", model, "-o", "\(bench.folder)/b", "--image-size", "48x64", "--interpolation", "nearest"])
    _ = try Self.ran(how + ["--model", model, "-o", "\(bench.folder)/c", "--image-size", "32x32"])
    for i in 0..<2 {
      #expect(try bench.bytes("a/00\(i)_labels.png") == bench.bytes("b/00\(i)_labels.png"))
      #expect(try bench.bytes("a/00\(i)_labels.png") != bench.bytes("c/00\(i)_labels.png"))
    }
    let evaluate = ["evaluate", "segmentation", "--model", model, "--images", photos, "--masks", masks, "--methods"]
    #expect(try !Self.ran(evaluate + ["head"]).errors.contains("was trained on"))
    #expect(try Self.ran(evaluate + ["head,attention"]).errors.contains("was trained on"))
  }

  /// The patches that are learnt from are of all photographs, also where the first is the smallest: the one class of the last is among them.
  @Test func patchesAreOfAllPhotographs() throws {
    let bench = try Bench()
    defer { bench.remove() }
    try bench.write("own.json", Array(#"{"resize":null,"interpolation":"bilinear","crop":null,"mean":[0.485,0.456,0.406],"std":[0.229,0.224,0.225],"channel_order":"rgb"}"#.utf8))
    for i in 0..<6 {
      let side = i == 0 ? 40 : 160, level: UInt8 = i == 5 ? 7 : 3
      try bench.write("photos/\(i).ppm", Bench.photograph(seed: UInt64(i), width: side, height: side))
      try bench.write("masks/\(i).pgm", Array("P5\n\(side) \(side)\n255\n".utf8) + (0..<side * side).map { $0 % side < side / 2 ? 0 : level })
    }
    let learnt = try JSONValue.parse(Self.ran(["finetune", "--task", "segmentation", "--model", bench.model, "--data", "\(bench.folder)/photos", "--masks", "\(bench.folder)/masks", "--preprocessing", "\(bench.folder)/own.json",
                                               "--patches", "60", "-o", "\(bench.folder)/h.safetensors", "--json"]).output)
    #expect(learnt["labels"]?.arrayValue?.map(\.integerValue) == [0, 3, 7])
    #expect((50...60).contains(learnt["patches"]?.integerValue ?? 0), "\(learnt.text)")
  }

  @Test func howPhotographsAreReadIsHeeded() throws {
    let bench = try Bench()
    defer { bench.remove() }
    let set = try Self.classes(bench), turned = ["--model", bench.model, "--exif-orientation"]
    _ = try Self.ran(Self.arguments(set, "\(bench.folder)/turned", turned + ["--stop-after", "1"]))
    #expect(try Self.ran(Self.arguments(set, "\(bench.folder)/turned", ["--model", bench.model, "--resume"]), status: 64).errors.contains("trained with --exif-orientation, now without it"))
    try bench.write("set/dark/broken.ppm", [1, 2, 3])
    #expect(try Self.ran(Self.arguments(set, "\(bench.folder)/strict", ["--model", bench.model, "--strict"]), status: 65).errors.contains("broken.ppm"))
  }

  @Test func badRequestsAreRefused() throws {
    let bench = try Bench()
    defer { bench.remove() }
    let set = try Self.classes(bench)
    try bench.photographs("flat", count: 5)
    try bench.photographs("other/strange", count: 2)
    let out = "\(bench.folder)/new", before = try bench.listing()
    for (more, status) in [
      ([], 64), (["--model", bench.model, "--width", "24"], 64), (["--model", bench.model, "-o", "x.safetensors"], 64), (["--model", bench.model, "--batch-size", "64"], 64), (["--model", bench.model, "--precision", "int8"], 69),
      (["--model", bench.model, "--layer-decay", "0"], 64), (["--model", bench.model, "--test", "\(bench.folder)/other"], 65), (["--model", bench.model, "--image-size", "32x40"], 64),
      (["--model", bench.model, "--data", "\(bench.folder)/flat"], 65), (["--model", bench.model, "--data", "\(bench.folder)/other"], 65), (["--model", "\(bench.folder)/none.pth"], 66),
      (["--model", bench.model, "--crop-scale", "0.5"], 64),
    ] as [([String], Int32)] {
      _ = try Self.ran(Self.arguments(set, out, more), status: status)
      #expect(try bench.listing() == before, "\(more)")
    }
    _ = try Self.ran(["finetune", "--data", set, "--model", bench.model], status: 64)
    _ = try Self.ran(["finetune", "--task", "segmentation", "--data", set, "--model", bench.model], status: 64)
  }
}
