// dinoctl init, inspect, convert and run: the same network through every command.

import DinoTensor
import Foundation
import NumPyArrays
import Safetensors
import TestSupport
import Testing

@Suite struct ModelCommandTests {
  @Test func initIsTheSameEachTime() throws {
    let bench = try Bench()
    defer { bench.remove() }
    for name in ["a", "b"] {
      #expect(try Tool.run(["init", "--arch", "vit_tiny", "--patch-size", "32", "--image-size", "64", "--seed", "9", "--dtype", "f16", "-o", "\(bench.folder)/\(name).safetensors"]).status == 0)
    }
    #expect(try bench.bytes("a.safetensors") == bench.bytes("b.safetensors"))
    let inspected = try JSONValue.parse(Tool.run(["inspect", "\(bench.folder)/a.safetensors", "--self-test", "--json"]).output)
    #expect(inspected["config"]?["num_heads"]?.integerValue == 3 && inspected["random_weights"]?.boolValue == true)
    #expect(inspected["self_test"]?.arrayValue?.count == 2)
    #expect(inspected["self_test"]?.arrayValue?.allSatisfy { $0["passed"]?.boolValue == true } == true)
    #expect(inspected["provenance"]?["chain"]?.arrayValue?.first?.stringValue?.contains("--seed 9") == true)
  }

  @Test func inspectTellsOfTraining() throws {
    let result = try Tool.run(["inspect", Fixtures.path("dino/vit/checkpoint.pth"), "--heads", "3", "--json"])
    #expect(result.status == 0, "\(result.errors)")
    let json = try JSONValue.parse(result.output)
    #expect(json["training"]?["epoch"]?.integerValue == 5)
    #expect(json["training"]?["args"]?["arch"]?.stringValue == "vit_small")
    #expect(json["training"]?["optimizer_tensors"]?.integerValue == 2)
    #expect(json["training"]?["center"]?.arrayValue?.compactMap(\.integerValue) == [1, 40])
    #expect(json["network"]?.stringValue == "teacher")
    #expect(json["config"]?["head"]?["out_dim"]?.integerValue == 40)
    #expect(json["problems"]?.arrayValue?.isEmpty == true)
  }

  /// Classifiers of transformers' DINOv2 are what they are in every command.
  @Test func classifiersOfFoldersAreUsed() throws {
    let bench = try Bench()
    defer { bench.remove() }
    try bench.photographs("photos", count: 2)
    let folder = Fixtures.path("classifiers/dinov2"), ours = "\(bench.folder)/m.safetensors", back = "\(bench.folder)/hf", onnx = "\(bench.folder)/m.onnx", small = "\(bench.folder)/q.safetensors"
    func ran(_ arguments: [String]) throws -> String {
      let result = try Tool.run(arguments)
      #expect(result.status == 0, "\(arguments): \(result.errors)")
      return result.output
    }
    _ = try ran(["convert", folder, ours])
    _ = try ran(["convert", ours, back, "--layout", "hf"])
    _ = try ran(["export", "--model", ours, "--onnx", onnx, "--outputs", "logits", "--verify"])
    _ = try ran(["quantize", "--model", back, "-o", small])
    let said = try ran(["classify", "--model", folder, "\(bench.folder)/photos"]), text = "classifier of 3 classes on the class token and the mean of the patches of the last block"
    #expect(said.contains("hat") || said.contains("shirt") || said.contains("shoe"))
    for file in [folder, ours, back, onnx, small] {
      #expect(try ran(["inspect", file]).contains(text), "\(file)")
      let names = try ran(["classify", "--model", file, "\(bench.folder)/photos"])
      #expect(file == small || names == said, "\(file)")
    }
    let told = try JSONValue.parse(ran(["inspect", folder, "--json"]))["classifier"]
    #expect(told?["classes"]?.integerValue == 3 && told?["tokens"]?.stringValue == "cls+mean" && told?["layers"]?.integerValue == 1)
  }

  /// What transformers has not is refused before anything is said of a folder or made.
  @Test func foldersOfOtherNetworksAreNotWritten() throws {
    let bench = try Bench()
    defer { bench.remove() }
    // Registers without layer scale.
    let stored = try SafetensorsFile(path: Fixtures.path("registers/transformers/model.safetensors"))
    let tensors = stored.names.filter { !$0.contains("layer_scale") }.map { (name: $0, tensor: stored.tensor($0)!) }
    try SafetensorsWriter.write(tensors, metadata: [:], to: "\(bench.folder)/m.safetensors")
    let result = try Tool.run(["convert", "\(bench.folder)/m.safetensors", "\(bench.folder)/hf", "--heads", "3", "--layout", "hf"])
    #expect(result.status == 69 && result.errors.contains("has layer scale; this model has none"), "\(result.errors)")
    #expect(!result.errors.contains("centre crop") && !bench.exists("hf"))
  }

  /// A folder of two shards is as large as they are.
  @Test func inspectCountsTheBytesOfShards() throws {
    let bench = try Bench()
    defer { bench.remove() }
    let folder = "\(bench.folder)/hf", whole = "\(folder)/model.safetensors"
    #expect(try Tool.run(["convert", bench.model, folder, "--layout", "hf"]).status == 0)
    let file = try SafetensorsFile(path: whole)
    let tensors = file.names.map { (name: $0, tensor: file.tensor($0)!) }
    var places: [JSONValue.Member] = [], bytes = 0
    for (i, part) in [tensors[..<5], tensors[5...]].enumerated() {
      try SafetensorsWriter.write(Array(part), metadata: ["format": "pt"], to: "\(folder)/part\(i).safetensors")
      bytes += try bench.bytes("hf/part\(i).safetensors").count
      places += part.map { JSONValue.Member($0.name, .string("part\(i).safetensors")) }
    }
    let index = JSONValue.object([JSONValue.Member("weight_map", .object(places))])
    try bench.write("hf/model.safetensors.index.json", Array(index.text.utf8))
    try FileManager.default.removeItem(atPath: whole)
    let result = try Tool.run(["inspect", folder, "--json"])
    #expect(result.status == 0, "\(result.errors)")
    #expect(try JSONValue.parse(result.output)["bytes"]?.integerValue == bytes)
  }

  @Test func inspectSaysWhatIsWrong() throws {
    // Well formed, but the number of heads is not in it.
    let result = try Tool.run(["inspect", Fixtures.path("dino/vit/backbone.pth")])
    #expect(result.status == 65 && result.errors.contains("--heads") && result.output.contains("problem"))
    let bench = try Bench()
    defer { bench.remove() }
    let file = try SafetensorsFile(path: bench.model)
    var tensors = file.names.map { (name: $0, tensor: file.tensor($0)!) }
    let at = try #require(tensors.firstIndex { $0.name == "norm.bias" })
    tensors[at].tensor = Tensor([Float](repeating: .nan, count: 24), shape: [24])
    try SafetensorsWriter.write(tensors, metadata: file.metadata, to: "\(bench.folder)/nan.safetensors")
    let damaged = try Tool.run(["inspect", "\(bench.folder)/nan.safetensors"])
    #expect(damaged.status == 65 && damaged.errors.contains("norm.bias") && damaged.errors.contains("24"))
  }

  @Test func convertKeepsTheNetwork() throws {
    let bench = try Bench()
    defer { bench.remove() }
    let input = Fixtures.path("dino/vit/wide_input.npy"), expected = try NumPyArray.read(path: Fixtures.path("dino/vit/wide_cls.npy")).floats()
    func cls(_ model: String, _ more: [String] = []) throws -> [Float] {
      let result = try Tool.run(["run", "--model", model, "--input", "pixel_values=\(input)", "--output-dir", "\(bench.folder)/out"] + more)
      #expect(result.status == 0, "\(result.errors)")
      return try NumPyArray.read(path: "\(bench.folder)/out/cls.npy").floats()
    }
    let steps: [(from: String, to: String, options: [String])] = [
      (Fixtures.path("dino/vit/checkpoint.pth"), "\(bench.folder)/ours.safetensors", ["--heads", "3"]),
      ("\(bench.folder)/ours.safetensors", "\(bench.folder)/bare.pth", []),
      ("\(bench.folder)/bare.pth", "\(bench.folder)/plain.safetensors", ["--heads", "3", "--plain"]),
      ("\(bench.folder)/plain.safetensors", "\(bench.folder)/again.safetensors", ["--heads", "3"]),
    ]
    for step in steps {
      let result = try Tool.run(["convert", step.from, step.to] + step.options)
      #expect(result.status == 0, "\(result.errors)")
      #expect(maxAbsoluteDifference(try cls(step.to, ["--heads", "3"]), expected) < 2e-5, "\(step.to)")
    }
    // Our record carries the heads, the origin and what the training was told.
    #expect(maxAbsoluteDifference(try cls("\(bench.folder)/ours.safetensors"), expected) < 2e-5)
    let metadata = try SafetensorsFile(path: "\(bench.folder)/ours.safetensors").metadata
    let provenance = try JSONValue.parse(#require(metadata["dino.provenance"]))
    #expect(provenance["source"]?["file"]?.stringValue == "checkpoint.pth" && provenance["source"]?["sha256"]?.stringValue?.count == 64)
    #expect(provenance["training"]?["arch"]?.stringValue == "vit_small")
    #expect(try Tool.run(["inspect", "\(bench.folder)/again.safetensors", "--self-test"]).status == 0)
    #expect(try Tool.run(["inspect", "\(bench.folder)/plain.safetensors", "--heads", "3", "--self-test"]).status == 69)
  }

  @Test func runWritesItsOutputs() throws {
    let bench = try Bench()
    defer { bench.remove() }
    let arguments = ["run", "--model", Fixtures.path("dino/vit/backbone.pth"), "--heads", "3", "--input", Fixtures.path("dino/vit/native_input.npy"), "--output-dir", "\(bench.folder)/o/p"]
    #expect(try Tool.run(arguments + ["--outputs", "cls,tokens.0,attention_cls"]).status == 0)
    #expect(try bench.listing("o/p") == ["attention_cls.npy", "cls.npy", "tokens.0.npy"])
    #expect(maxAbsoluteDifference(try NumPyArray.read(path: "\(bench.folder)/o/p/tokens.0.npy").floats(), try NumPyArray.read(path: Fixtures.path("dino/vit/native_tokens_0.npy")).floats()) < 2e-5)
    let unknown = try Tool.run(arguments + ["--outputs", "nonsense"])
    #expect(unknown.status == 64 && unknown.errors.contains("nonsense") && unknown.errors.contains("attention_cls"))
    let wrong = try Tool.run(arguments.map { $0.hasSuffix("native_input.npy") ? Fixtures.path("dino/vit/native_cls.npy") : $0 })
    #expect(wrong.status == 65 && wrong.errors.contains("[2, 18]"))
  }

  @Test func hostileFilesAreRefusedWithASentence() throws {
    let folder = Fixtures.path("torch/hostile")
    let files = try FileManager.default.contentsOfDirectory(atPath: folder).filter { $0.hasSuffix(".pth") }.sorted()
    #expect(files.count > 20)
    // A sample: the reader's own tests go through all of them.
    for name in files.enumerated().filter({ $0.offset % 7 == 0 }).map(\.element) {
      let result = try Tool.run(["inspect", "\(folder)/\(name)"])
      #expect(result.status == 65, "\(name): \(result.status) \(result.errors)")
      #expect(result.errors.hasPrefix("error: "), "\(name)")
    }
  }
}
