// dinoctl compare, quantize and plan, as a person would use them.

import DinoTensor
import Foundation
import NumPyArrays
import Safetensors
import TestSupport
import Testing

@Suite struct QuantizeCommandTests {
  private func json(_ arguments: [String]) throws -> JSONValue {
    let result = try Tool.run(arguments + ["--json"])
    try #require(result.status == 0, "\(result.errors)")
    return try JSONValue.parse(result.output)
  }

  @Test func compareTellsPrecisionsApart() throws {
    let bench = try Bench()
    defer { bench.remove() }
    try bench.photographs("photos/a", count: 4)
    try bench.photographs("photos/b", count: 3)
    let same = try json(["compare", bench.model, bench.model, "--images", "\(bench.folder)/photos"])
    #expect(same["cosine_least"]?.doubleValue ?? 0 > 0.99999 && same["mask_iou_mean"]?.doubleValue == 1 && same["images"]?.integerValue == 7)
    #expect(same["votes_k"]?.integerValue == 6 && same["label_agreement"]?.doubleValue == 1 && same["neighbour_overlap_1"]?.doubleValue == 1)
    let int8 = try json(["compare", bench.model, bench.model, "--precision", "f32", "--precision-b", "int8", "--images", "\(bench.folder)/photos", "--limit", "3"])
    let cosine = try #require(int8["cosine_mean"]?.doubleValue)
    #expect(cosine > 0.99 && cosine < 1 && int8["images"]?.doubleValue == 3)
    #expect(int8["second_cost"]?["memory_bytes"]?.integerValue ?? 0 > 10_000 && int8["first_cost"]?["milliseconds_per_image"]?.doubleValue ?? 0 > 0)
    let text = try Tool.run(["compare", bench.model, bench.model, "--images", "\(bench.folder)/photos/a"])
    #expect(text.status == 0 && text.output.contains("neighbours in common") && !text.output.contains("vote"))
    #expect(try Tool.run(["compare", bench.model, bench.model]).status == 64)
    #expect(try Tool.run(["compare", bench.model, "\(bench.folder)/none.pth", "--images", "\(bench.folder)/photos"]).status == 66)
    try bench.write("photos/a/bad.png", [1, 2, 3])
    #expect(try Tool.run(["compare", bench.model, bench.model, "--images", "\(bench.folder)/photos"]).status == 1)
  }

  @Test func whatIsSkippedOrImpossibleIsTold() throws {
    let bench = try Bench()
    defer { bench.remove() }
    try bench.photographs("photos", count: 3)
    try bench.write("photos/bad.png", [1, 2, 3])
    let out = "\(bench.folder)/q.safetensors", photographs = "\(bench.folder)/photos"
    let skipped = try Tool.run(["quantize", "--model", bench.model, "-o", out, "--calibration", photographs, "--steps", "none"])
    #expect(skipped.status == 1 && skipped.errors.contains("skipped 1 of 4") && bench.exists("q.safetensors"), "\(skipped.errors)")
    for wrong in [["--limit", "0"], ["--limit=-1"], ["--most-kept=-3"]] {
      #expect(try Tool.run(["quantize", "--model", bench.model, "-o", out, "--calibration", photographs] + wrong).status == 64)
    }
    #expect(try Tool.run(["train", "--data", photographs, "--output-dir", "\(bench.folder)/run", "--auto", "--batch-size", "0"]).status == 64 && !bench.exists("run"))
    // One patch has no components.
    let one = try Tool.run(["segment", "--model", bench.model, "--method", "pca", "--image-size", "8x8", "-o", "\(bench.folder)/masks", "\(photographs)/000.ppm"])
    #expect(one.status == 0, "\(one.errors)")
  }

  /// The keys are a layer of their own over a third of qkv, with its third of the scales; one that stays in floats does so there too.
  @Test(arguments: [[], ["--keep", "blocks.1.attn.qkv"]] as [[String]]) func keysOfAQuantizedFileAreTheNetworks(_ more: [String]) throws {
    let bench = try Bench()
    defer { bench.remove() }
    let small = "\(bench.folder)/small.safetensors"
    #expect(try Tool.run(["quantize", "--model", bench.model, "-o", small] + more).status == 0)
    var random = SplitMix64(seed: 2)
    try NumPyArray.write(Tensor(random.floats(3 * 32 * 32), shape: [1, 3, 32, 32]), to: "\(bench.folder)/x.npy")
    func keys(_ model: String, _ precision: String) throws -> [Float] {
      let result = try Tool.run(["run", "--model", model, "--precision", precision, "--input", "\(bench.folder)/x.npy", "--outputs", "keys", "--output-dir", "\(bench.folder)/\(precision)"])
      #expect(result.status == 0, "\(result.errors)")
      return try NumPyArray.read(path: "\(bench.folder)/\(precision)/keys.npy").floats()
    }
    let exact = try keys(bench.model, "f32")
    #expect(try normalizedMeanSquaredError(keys(small, "int8"), reference: exact).squareRoot() < 0.03)
  }

  @Test func tensorsThatTakePartAreNotLeftOut() throws {
    let bench = try Bench()
    defer { bench.remove() }
    try bench.photographs("photos", count: 1)
    let file = try SafetensorsFile(path: bench.model), strange = "\(bench.folder)/strange.safetensors"
    for (name, shape) in [("register_tokens", [1, 4, 24]), ("blocks.0.attn.q_norm.weight", [8]), ("norm_pre.weight", [24]), ("attn_pool.latent", [1, 1, 24]), ("patch_embed.backbone.conv.weight", [8, 3, 7, 7]),
                          ("adapter.weight", [24, 24])] as [(String, Shape)] {
      try SafetensorsWriter.write(file.names.map { ($0, file.tensor($0)!) } + [(name, Tensor([Float](repeating: 1, count: shape.count), shape: shape))], metadata: file.metadata, to: strange)
      let refused = try Tool.run(["features", "--model", strange, "-o", "\(bench.folder)/f.npy", "\(bench.folder)/photos"])
      #expect(refused.status == 69 && refused.errors.contains(name), "\(name): \(refused.errors)")
      let inspected = try Tool.run(["inspect", strange])
      #expect(inspected.output.contains(name) && inspected.status == 69)
    }
    // What has no part in it is only told.
    for (name, shape) in [("bias_mask", [1]), ("logit_scale", [1]), ("decoder.0.weight", [48, 24, 1, 1]), ("decoder_blocks.0.norm1.weight", [24]), ("ibot_head.mlp.0.weight", [8, 24]), ("fc.weight", [3, 24])] as [(String, Shape)] {
      try SafetensorsWriter.write(file.names.map { ($0, file.tensor($0)!) } + [(name, Tensor([Float](repeating: 1, count: shape.count), shape: shape))], metadata: file.metadata, to: strange)
      let read = try Tool.run(["features", "--model", strange, "-o", "\(bench.folder)/f.npy", "\(bench.folder)/photos"])
      #expect(read.status == 0 && read.errors.contains(name), "\(name): \(read.errors)")
    }
  }

  @Test func timmsArgumentsAreHeeded() throws {
    let bench = try Bench()
    defer { bench.remove() }
    try bench.photographs("photos", count: 1)
    #expect(try Tool.run(["convert", bench.model, "\(bench.folder)/timm/model.safetensors", "--plain"]).status == 74) // the folder is not there
    try bench.write("timm/config.json", Array(#"{"architecture":"vit_tiny_patch8_32","model_args":{"num_heads":3,"act_layer":"gelu"}}"#.utf8))
    #expect(try Tool.run(["convert", bench.model, "\(bench.folder)/timm/model.safetensors", "--plain"]).status == 0)
    func features(_ arguments: String, status: Int32 = 0) throws -> [Float] {
      try bench.write("timm/config.json", Array(#"{"architecture":"vit_tiny_patch8_32","model_args":{"num_heads":3\#(arguments)}}"#.utf8))
      let result = try Tool.run(["features", "--model", "\(bench.folder)/timm", "-o", "\(bench.folder)/f.npy", "\(bench.folder)/photos"])
      #expect(result.status == status, "\(result.errors)")
      return status == 0 ? try NumPyArray.read(path: "\(bench.folder)/f.npy").floats() : []
    }
    let plain = try features("")
    #expect(try features(#","act_layer":"gelu""#) == plain)
    #expect(try features(#","act_layer":"relu""#) != plain)
    _ = try features(#","qk_norm":true"#, status: 69)
  }

  @Test func damagedWeightsAreNotPassedOn() throws {
    let bench = try Bench()
    defer { bench.remove() }
    try bench.photographs("photos", count: 2)
    try bench.write("bad.safetensors", try bench.bytes("model.safetensors").dropLast(4) + [0, 0, 0xC0, 0x7F])
    let bad = "\(bench.folder)/bad.safetensors"
    for arguments in [["export", "--model", bad, "--onnx", "\(bench.folder)/bad.onnx"], ["export", "--model", bad, "--onnx", "\(bench.folder)/bad.onnx", "--verify"],
                      ["compare", bench.model, bad, "--images", "\(bench.folder)/photos"]] {
      let result = try Tool.run(arguments)
      #expect(result.status == 65 && result.errors.contains("not finite") && !result.errors.contains("report it"), "\(arguments): \(result.status) \(result.errors)")
    }
    #expect(!bench.exists("bad.onnx"))
  }

  @Test func quantizedFilesGoThroughEveryCommand() throws {
    let bench = try Bench()
    defer { bench.remove() }
    try bench.photographs("photos", count: 5)
    let small = "\(bench.folder)/small.safetensors"
    let plain = try Tool.run(["quantize", "--model", bench.model, "-o", small])
    #expect(plain.status == 0, "\(plain.errors)")
    for (model, more, out) in [(small, [], "a.npy"), (bench.model, ["--precision", "int8"], "b.npy")] {
      #expect(try Tool.run(["features", "--model", model, "-o", "\(bench.folder)/\(out)", "\(bench.folder)/photos"] + more).status == 0)
    }
    #expect(try NumPyArray.read(path: "\(bench.folder)/a.npy").floats() == NumPyArray.read(path: "\(bench.folder)/b.npy").floats())
    let calibrated = try Tool.run(["quantize", "--model", bench.model, "-o", small, "--calibration", "\(bench.folder)/photos", "--report", "\(bench.folder)/report.json"])
    #expect(calibrated.status == 0 && calibrated.output.contains("cosine of class tokens"), "\(calibrated.errors)")
    let report = try JSONValue.parse(String(decoding: bench.bytes("report.json"), as: UTF8.self))
    #expect(report["layers"]?.objectValue?.isEmpty == false && report["cosine_mean"]?.doubleValue ?? 0 > 0.99)
    let inspected = try json(["inspect", small, "--self-test", "--precision", "f32"])
    #expect(inspected["quantization"]?["quality"]?["cosine_mean"]?.doubleValue == report["cosine_mean"]?.doubleValue)
    #expect(inspected["self_test"]?.arrayValue?.allSatisfy { $0["passed"]?.boolValue == true } == true)
    #expect(try Tool.run(["inspect", small]).output.contains("quantized"))
    for command in [["attention", "--model", small, "--output-dir", "\(bench.folder)/att", "\(bench.folder)/photos"], ["convert", small, "\(bench.folder)/back.safetensors"],
                    ["bench", "--model", small, "--repeat", "1"], ["knn", "--model", small, "--train", "\(bench.folder)"], ["export", "--model", small, "--onnx", "\(bench.folder)/m.onnx"]] {
      let result = try Tool.run(command)
      #expect(result.status == 0, "\(command): \(result.errors)")
    }
    // A bank of the float network takes rows and questions of its int8 form.
    let bank = "\(bench.folder)/bank", one = "\(bench.folder)/photos/\(try #require(FileManager.default.contentsOfDirectory(atPath: "\(bench.folder)/photos").min()))"
    #expect(try Tool.run(["index", "--model", bench.model, "-o", bank, "\(bench.folder)/photos"]).status == 0)
    let asked = try Tool.run(["search", "--model", small, "--bank", bank, one, "-k", "1"])
    #expect(asked.status == 0 && (Double(asked.output.prefix(6)) ?? 0) > 0.99 && asked.errors.contains("made in f32, the other features are in int8"), "\(asked.errors)\(asked.output)")
    #expect(try Tool.run(["index", "--model", small, "-o", bank, "\(bench.folder)/photos"]).status == 0)
    // Back in floats it is the same network.
    let same = try json(["compare", "\(bench.folder)/back.safetensors", small, "--precision", "f32", "--images", "\(bench.folder)/photos"])
    #expect(same["cosine_least"]?.doubleValue ?? 0 > 0.99999)
    #expect(try Tool.run(["quantize", "--model", small, "-o", "\(bench.folder)/again.safetensors"]).status == 64)
    #expect(try Tool.run(["quantize", "--model", bench.model, "-o", "\(bench.folder)/x.safetensors", "--keep", "blocks.7.attn"]).status == 64)
    #expect(!bench.exists("x.safetensors"))
    let four = "\(bench.folder)/four.safetensors"
    #expect(try Tool.run(["quantize", "--model", bench.model, "-o", four, "--weights", "int4", "--calibration", "\(bench.folder)/photos"]).status == 0)
    #expect(try Tool.run(["search", "--model", four, "--bank", bank, one]).status == 65)
    #expect(try json(["compare", bench.model, four, "--images", "\(bench.folder)/photos"])["cosine_mean"]?.doubleValue ?? 0 > 0.9)
  }

  /// The prediction against what `features` then takes, of a network and photographs that are not small beside the program.
  /// The folder has queries, keys and values apart: joined, they take no memory beside what is packed of them.
  @Test(arguments: [("f32", 1, false), ("bf16", 8, false), ("int8", 8, false), ("f32", 1, true), ("int8", 1, true)]) func planPredictsMemory(precision: String, batch: Int, isFolder: Bool) throws {
    let bench = try Bench()
    defer { bench.remove() }
    try bench.photographs("photos", count: 3 * batch + 4)
    var model = "\(bench.folder)/tiny.safetensors"
    #expect(try Tool.run(["init", "--arch", "vit_tiny", "--patch-size", "16", "-o", model]).status == 0)
    if isFolder {
      #expect(try Tool.run(["convert", model, "\(bench.folder)/folder", "--layout", "hf"]).status == 0)
      model = "\(bench.folder)/folder"
    }
    let options = ["--model", model, "--precision", precision, "--image-size", "288x320", "--threads", "2"]
    let predicted = try #require(try json(["plan"] + options + ["--batch", "\(batch)"])["peak_memory_bytes"]?.doubleValue)
    let taken = try #require(try json(["features"] + options + ["--batch-size", "\(batch)", "-o", "\(bench.folder)/f.npy", "\(bench.folder)/photos"])["peak_memory_bytes"]?.doubleValue)
    #expect(abs(predicted / taken - 1) < 0.05, "predicted \(predicted), taken \(taken)")
  }

  @Test func planAndBudget() throws {
    let bench = try Bench()
    defer { bench.remove() }
    try bench.photographs("photos", count: 5)
    let one = try json(["plan", "--model", bench.model]), eight = try json(["plan", "--model", bench.model, "--batch", "8"])
    #expect(one["tokens"]?.integerValue == 17)
    #expect(try json(["plan", "--model", bench.model, "--batch-size", "8"])["value_bytes"] == eight["value_bytes"])
    let values = try #require(one["value_bytes"]?.integerValue)
    #expect(eight["value_bytes"]?.integerValue ?? 0 > 6 * values && eight["weight_bytes"] == one["weight_bytes"])
    // A published name says its patch.
    #expect(try json(["plan", "--arch", "dino_vits8"])["tokens"]?.integerValue == 785)
    #expect(try json(["plan", "--arch", "dino_vits8", "--patch-size", "16"])["tokens"]?.integerValue == 197)
    #expect(try json(["plan", "--arch", "vit_small"])["tokens"]?.integerValue == 197)
    // No machine holds this one; it is asked about all the same.
    let giant = try json(["plan", "--width", "4096", "--depth", "40", "--heads", "32", "--image-size", "224"])
    #expect(giant["weight_bytes"]?.integerValue ?? 0 > 30_000_000_000 && giant["program_bytes"]?.integerValue ?? .max < 200_000_000)
    let total = try #require(one["peak_memory_bytes"]?.integerValue)
    #expect(try json(["plan", "--model", bench.model, "--batch", "64", "--budget", "\(total + 40_000_000)"])["batch_within_budget"]?.integerValue ?? 0 >= 1)
    for command in [["plan", "--model", bench.model, "--budget", "1MB"], ["features", "--model", bench.model, "-o", "\(bench.folder)/f.npy", "\(bench.folder)/photos", "--budget", "1MB"]] {
      let refused = try Tool.run(command)
      #expect(refused.status == 69 && refused.errors.contains("over the budget of 1.0 MB"), "\(refused.errors)")
    }
    #expect(!bench.exists("f.npy"))
    #expect(try Tool.run(["features", "--model", bench.model, "-o", "\(bench.folder)/f.npy", "\(bench.folder)/photos", "--budget", "2GB"]).status == 0)
    #expect(try Tool.run(["plan"]).status == 64 && Tool.run(["plan", "--arch", "vit_small", "--budget", "none"]).status == 64)
  }
}
