// Classifiers of other features than the last class token (Tests/Reference/make_classifiers.py): those of transformers' Dinov2ForImageClassification, of facebookresearch/dinov2's linear heads and of
// timm's DINOv3 give the scores of their makers, through our format, int8 files, ONNX and back.

import CheckpointNames
@testable import Dino
import DinoGraph
import DinoModels
import DinoRuntime
import DinoTensor
import Foundation
import NumPyArrays
import Safetensors
import TestSupport
import Testing

@Suite struct ClassifierTests {
  private static let width = 12, sizes = ["native", "other"]
  private static let files: [(name: String, probe: ViTConfig.Probe)] = [
    ("dinov2", .init(classes: 3, tokens: .clsAndMean)), ("registers", .init(classes: 3, tokens: .clsAndMean)), ("linear.pth", .init(classes: 3, tokens: .clsAndMean)),
    ("four.pth", .init(classes: 3, tokens: .clsAndLastMean, layers: 4)), ("timm", .init(classes: 3, tokens: .mean)),
  ]

  private static func model(_ file: String, _ precision: DinoRuntime.Precision? = nil) throws -> DinoModel { try load(Fixtures.path("classifiers/\(file)"), precision) }

  private static func load(_ path: String, _ precision: DinoRuntime.Precision? = nil) throws -> DinoModel {
    var options = DinoModel.Options()
    options.precision = precision
    if path.hasSuffix(".pth") { options.heads = 3 }
    return try DinoModel(contentsOf: path, options: options)
  }

  private static func array(_ file: String, _ size: String, _ kind: String) throws -> Tensor {
    try NumPyArray.read(path: Fixtures.path("classifiers/\(file.prefix { $0 != "." }).\(size).\(kind).npy"))
  }

  private static func logits(_ model: DinoModel, _ file: String, _ size: String) throws -> Tensor {
    try #require(try model.run([DinoModel.inputName: array(file, size, "input")], outputs: ["logits"])["logits"])
  }

  private static func writer(_ model: DinoModel) throws -> ModelWriter {
    var writer = ModelWriter(config: model.config, weights: try model.checkpoint.weights(), preprocessing: .imageNet, provenance: Provenance(tool: "test"))
    if let head = try model.checkpoint.classifierHead(), !head.names.isEmpty { writer.setClassifier(head) }
    writer.maskToken = try model.checkpoint.maskToken()
    return writer
  }

  @Test(arguments: files.map(\.name), sizes) func equalsTheOriginal(file: String, size: String) throws {
    let model = try Self.model(file), probe = try #require(Self.files.first { $0.name == file }?.probe)
    #expect(model.config.head == .probe(probe) && model.outputNames.contains("logits") && model.checkpoint.resolution.unmatched.isEmpty && model.notes.isEmpty)
    let found = try Self.logits(model, file, size), expected = try Self.array(file, size, "logits")
    #expect(found.shape == expected.shape)
    #expect(maxAbsoluteDifference(found.floats(), expected.floats()) < 2e-5, "\(file) \(size): \(maxAbsoluteDifference(found.floats(), expected.floats()))")
    // And as `classify` computes it: features, then the classifier.
    let head = try #require(try model.checkpoint.classifierHead())
    #expect(head.names == (["dinov2", "registers"].contains(file) ? ["hat", "shirt", "shoe"] : []) && head.settings.tokens.rawValue == probe.tokens.rawValue && head.settings.layers == probe.layers)
    let image = try Self.array(file, size, "input"), one = image.count / 2, h = image.shape[2], w = image.shape[3]
    let geometry = PreparedImage.Geometry(height: h, width: w, resizedHeight: h, resizedWidth: w, top: 0, left: 0, rows: h / 4, columns: w / 4, patch: 4)
    let images = (0..<2).map { PreparedImage(tensor: Tensor(Array(image.floats()[$0 * one..<($0 + 1) * one]), shape: [1, 3, h, w]), geometry: geometry) }
    let weight = head.weight.floats(), bias = head.bias.floats()
    var scores: [Float] = []
    for row in try FeatureExtractor(model: model, settings: head.settings).rows(images) {
      for k in bias.indices {
        var sum = bias[k]
        for (x, w) in zip(row, weight[(k * row.count)...]) { sum += x * w }
        scores.append(sum)
      }
    }
    #expect(maxAbsoluteDifference(scores, expected.floats()) < 2e-5)
  }

  /// The files of facebookresearch/dino's eval_linear.py (Tests/Reference/make_official_classifiers.py): the scores that the script gives, from their width alone.
  @Test(arguments: ["two", "mean"]) func theOriginalsLinearClassifiersAreRead(name: String) throws {
    let model = try Self.load(Fixtures.path("dino/vit/backbone.pth")), input = try GoldenTests.array("native_input")
    let official = try OfficialClassifier(path: Fixtures.path("classifiers/official/\(name).pth")), isMean = name == "mean", d = model.config.embedDim
    // Of twice the width it is taken for the published one; two blocks are said.
    let head = try official.head(for: model.config, withMean: isMean ? nil : false)
    #expect(head.settings == FeatureSettings(tokens: isMean ? .clsAndMean : .cls, layers: isMean ? 1 : 2))
    let expected = try NumPyArray.read(path: Fixtures.path("classifiers/official/\(name).logits.npy")), count = input.shape[0], one = input.count / count
    let h = input.shape[2], w = input.shape[3], patch = model.config.patchSize
    let geometry = PreparedImage.Geometry(height: h, width: w, resizedHeight: h, resizedWidth: w, top: 0, left: 0, rows: h / patch, columns: w / patch, patch: patch)
    let images = (0..<count).map { PreparedImage(tensor: Tensor(Array(input.floats()[$0 * one..<($0 + 1) * one]), shape: [1, 3, h, w]), geometry: geometry) }
    let weight = head.weight.floats(), bias = head.bias.floats()
    var scores: [Float] = []
    for row in try FeatureExtractor(model: model, settings: head.settings).rows(images) {
      #expect(row.count == 2 * d)
      for k in bias.indices { scores.append(zip(row, weight[(k * row.count)...]).reduce(bias[k]) { $0 + $1.0 * $1.1 }) }
    }
    #expect(maxAbsoluteDifference(scores, expected.floats()) < 2e-5)
    var other = model.config
    other.embedDim = d + 1
    #expect(throws: DinoError.self) { try official.head(for: other) }
    #expect(!OfficialClassifier.isOne(Fixtures.path("dino/vit/backbone.pth")) && !OfficialClassifier.isOne(Fixtures.path("classifiers/linear.pth")))
  }

  @Test(arguments: files.map(\.name)) func ourFormatHoldsIt(file: String) throws {
    try ModelTests.inFolder { folder in
      let model = try Self.model(file), path = "\(folder)/m.safetensors"
      try Self.writer(model).write(.dino, to: path)
      let back = try Self.load(path), stored = try SafetensorsFile(path: path)
      #expect(back.config == model.config && back.notes.isEmpty && back.checkpoint.record?.config.head == nil)
      #expect(try back.checkpoint.classifierHead()?.names == model.checkpoint.classifierHead()?.names)
      #expect(stored.names.contains("probe.weight") && !stored.names.contains("head.weight"))
      // What training had comes along.
      let hasToken = try model.checkpoint.maskToken() != nil
      #expect(stored.names.contains("mask_token") == hasToken && hasToken == (file != "timm"))
      for size in Self.sizes { #expect(try Self.logits(back, file, size).floats() == Self.logits(model, file, size).floats()) }
      #expect(try back.selfTest().allSatisfy { $0.comparison.passed == true })
      // int8: the classifier stays as it is.
      var quantizer = try ModelQuantizer(config: back.config, weights: back.checkpoint.weights(), kind: .int8, threads: 2)
      try quantizer.roundWeights()
      try quantizer.write(to: "\(folder)/q.safetensors", preprocessing: .imageNet, provenance: Provenance(tool: "test"), quality: nil, other: Self.writer(back).other)
      let small = try Self.load("\(folder)/q.safetensors"), kept = try SafetensorsFile(path: "\(folder)/q.safetensors").tensor("probe.weight")
      #expect(small.config == model.config && kept?.floats() == stored.tensor("probe.weight")?.floats())
      for size in Self.sizes { #expect(cosine(try Self.logits(small, file, size).floats(), try Self.array(file, size, "logits").floats()) > 0.98) }
    }
  }

  @Test(arguments: files.map(\.name), [13, 17, 23]) func onnxGivesTheScoresAndComesBack(file: String, opset: Int) throws {
    try ModelTests.inFolder { folder in
      let model = try Self.model(file), path = "\(folder)/m.onnx"
      var settings = OnnxExportSettings()
      settings.outputs = opset == 17 ? ["tokens", "logits"] : ["logits"]
      settings.opset = opset
      settings.verification = .byForm
      _ = try model.exportOnnx(to: path, settings: settings)
      for size in Self.sizes {
        let found = try #require(try OnnxNetwork(contentsOf: path).run(["pixel_values": Self.array(file, size, "input")])["logits"])
        #expect(maxAbsoluteDifference(found.floats(), try Self.array(file, size, "logits").floats()) < 2e-5)
      }
      let back = try DinoModel(contentsOf: path), weights = try back.checkpoint.weights()
      #expect(back.config == model.config && back.notes == back.checkpoint.notes && back.checkpoint.losses.isEmpty, "\(back.config) \(back.notes)")
      #expect(try back.checkpoint.classifierHead()?.names == model.checkpoint.classifierHead()?.names)
      for (name, tensor) in try model.checkpoint.weights() { #expect(weights[name]?.floats().map(\.bitPattern) == tensor.floats().map(\.bitPattern), "\(name)") }
      // One that has no classifier says nothing of one.
      settings.outputs = ["cls"]
      _ = try model.exportOnnx(to: path, settings: settings)
      #expect(try Checkpoint(path: path).classifierHead() == nil)
    }
  }

  /// As others write it: the features side by side, then one linear layer.
  @Test func onnxOfTransformersComesBack() throws {
    let path = Fixtures.path("classifiers/dinov2.onnx"), back = try DinoModel(contentsOf: path), original = try Self.model("dinov2")
    #expect(back.config == original.config && back.checkpoint.losses.isEmpty)
    let found = try back.checkpoint.weights(), stored = try original.checkpoint.weights()
    for name in ["probe.weight", "probe.bias"] { #expect(found[name]?.floats() == stored[name]?.floats()) }
    for size in Self.sizes {
      let expected = try Self.array("dinov2", size, "logits").floats(), own = try #require(try OnnxNetwork(contentsOf: path).run(["pixel_values": Self.array("dinov2", size, "input")])["logits"])
      let again = try Self.logits(back, "dinov2", size).floats()
      #expect(maxAbsoluteDifference(own.floats(), expected) < 2e-5 && maxAbsoluteDifference(again, expected) < 2e-5)
    }
  }

  @Test func quantizedOnnxKeepsTheClassifierFloat() throws {
    try ModelTests.inFolder { folder in
      var settings = OnnxExportSettings()
      settings.outputs = ["logits"]
      settings.quantization = .weights
      settings.verification = .byForm
      _ = try Self.model("dinov2").exportOnnx(to: "\(folder)/m.onnx", settings: settings)
      let found = try #require(try OnnxNetwork(contentsOf: "\(folder)/m.onnx").run(["pixel_values": Self.array("dinov2", "native", "input")])["logits"])
      #expect(cosine(found.floats(), try Self.array("dinov2", "native", "logits").floats()) > 0.99)
    }
  }

  /// The folder of a classifier that transformers has as it is is the same folder again; one that reads less has zeros; one that reads more is left out, and said.
  @Test func foldersHoldWhatTransformersHas() throws {
    try ModelTests.inFolder { folder in
      let linear = try Self.model("linear.pth"), path = "\(folder)/linear"
      try Self.writer(linear).write(.huggingFace, to: path)
      let back = try Self.load(path)
      let config = try JSONValue.parse(FolderTests.text("\(path)/config.json"))
      #expect(back.config.head == linear.config.head && config["architectures"]?.arrayValue == [.string("Dinov2ForImageClassification")])
      #expect(maxAbsoluteDifference(try Self.logits(back, "linear.pth", "native").floats(), try Self.array("linear.pth", "native", "logits").floats()) < 2e-5)
      // Of the class token alone.
      var writer = try Self.writer(linear)
      let weight = Tensor((0..<2 * Self.width).map { Float($0) / 8 }, shape: [2, Self.width])
      writer.setClassifier(ClassifierHead(names: ["a", "b"], settings: FeatureSettings(), weight: weight, bias: Tensor([1, 2], shape: [2])))
      #expect(writer.losses(.huggingFace).contains { $0.contains("those columns are zeros") })
      try writer.write(.huggingFace, to: "\(folder)/cls")
      let widened = try #require(try Checkpoint(path: "\(folder)/cls").classifierHead())
      let zeros = [Float](repeating: 0, count: Self.width), values = weight.floats(), expected: [Float] = values[..<Self.width] + zeros + values[Self.width...] + zeros
      #expect(widened.names == ["a", "b"] && widened.weight.floats() == expected)
      for file in ["four.pth", "timm"] {
        let writer = try Self.writer(Self.model(file))
        #expect(writer.losses(.huggingFace).contains { $0.contains("no place for the classifier of") }, "\(writer.losses(.huggingFace))")
        try writer.write(.huggingFace, to: "\(folder)/\(file)")
        #expect(try Self.load("\(folder)/\(file)").config.head == nil)
      }
    }
  }

  /// Without its config.json the file of timm's DINOv3 says nothing of what its classifier reads; timm reads the mean of the patches. Written with timm's names it has the head that timm expects.
  @Test(arguments: sizes) func timmsFileAloneIsTimmsNetwork(size: String) throws {
    try ModelTests.inFolder { folder in
      let path = "\(folder)/m.safetensors"
      try FileManager.default.copyItem(atPath: Fixtures.path("classifiers/timm/model.safetensors"), toPath: path)
      let checkpoint = try Checkpoint(path: path, choices: CheckpointChoices(heads: 3))
      #expect(checkpoint.config.head == .probe(.init(classes: 3, tokens: .mean)) && checkpoint.notes.contains { $0.contains("does not say what its classifier reads") })
      #expect(maxAbsoluteDifference(try Self.logits(DinoModel(checkpoint: checkpoint), "timm", size).floats(), try Self.array("timm", size, "logits").floats()) < 2e-5)
      let writer = try Self.writer(Self.model("timm")), original = try SafetensorsFile(path: path)
      #expect(!writer.losses(.plain).contains { $0.contains("classifier") })
      try writer.write(.plain, to: "\(folder)/back.safetensors")
      let back = try SafetensorsFile(path: "\(folder)/back.safetensors")
      #expect(Set(back.names) == Set(original.names))
      for name in original.names { #expect(back.tensor(name)?.floats().map(\.bitPattern) == original.tensor(name)?.floats().map(\.bitPattern), "\(name)") }
      // One of the class token is in the same place, and not read as it is meant.
      var other = writer
      other.setClassifier(ClassifierHead(names: [], settings: FeatureSettings(), weight: Tensor([Float](repeating: 1, count: writer.config.embedDim), shape: [1, writer.config.embedDim]), bias: Tensor([1], shape: [1])))
      #expect(other.losses(.plain).contains { $0.contains("what its classifier reads, the class token") })
      // Other features have no place.
      other.config.head = .probe(.init(classes: 3, tokens: .clsAndMean))
      #expect(other.losses(.plain).contains { $0.contains("no place for the classifier of 3 classes") })
    }
  }

  @Test func whatContradictsItselfIsRefused() throws {
    try ModelTests.inFolder { folder in
      // timm pools by other rules too.
      let timm = "\(folder)/timm"
      try FileManager.default.copyItem(atPath: Fixtures.path("classifiers/timm"), toPath: timm)
      for (pooling, tokens) in [("token", nil), ("avg", .mean)] as [(String, ViTConfig.Probe.Tokens?)] {
        try FolderTests.put(FolderTests.text(Fixtures.path("classifiers/timm/config.json")).replacingOccurrences(of: "\"avg\"", with: "\"\(pooling)\""), "\(timm)/config.json")
        #expect(try Checkpoint(path: timm).config.head == (tokens.map { .probe(.init(classes: 3, tokens: $0)) } ?? .classifier(classes: 3)))
      }
      try FolderTests.put(FolderTests.text(Fixtures.path("classifiers/timm/config.json")).replacingOccurrences(of: "\"avg\"", with: "\"avgmax\""), "\(timm)/config.json")
      #expect { try Checkpoint(path: timm) } throws: { ($0 as? DinoError)?.kind == .unavailable && "\($0)".contains("'avgmax'") }
      // A record that is of another classifier.
      let path = "\(folder)/m.safetensors"
      try Self.writer(Self.model("linear.pth")).write(.dino, to: path)
      let stored = try SafetensorsFile(path: path)
      let tensors = stored.names.map { (name: $0, tensor: stored.tensor($0)!) }
      func check(_ record: String, _ word: String, without: String = "") throws {
        try SafetensorsWriter.write(tensors.filter { $0.name != without }, metadata: stored.metadata.merging([ClassifierHead.metadataKey: record]) { $1 }, to: path)
        #expect { try Checkpoint(path: path).classifierHead() } throws: { ($0 as? DinoError)?.kind == .data && "\($0)".contains(word) }
      }
      try check(#"{"names":[],"tensors":"probe","tokens":"cls+mean","layers":2}"#, "[3, 24]")
      try check(#"{"names":[],"tensors":"probe","tokens":"cls+mean","layers":6}"#, "how many layers of 5")
      try check(#"{"names":[],"tensors":"probe","tokens":"all","layers":1}"#, "which tokens (cls, mean, cls+mean, cls+last-mean)")
      try check(#"{"names":["a"],"tensors":"probe","tokens":"cls+mean","layers":1}"#, "1 names for a classifier of 3 classes")
      try check(#"{"names":[],"tensors":"probe","tokens":"cls+mean","layers":1}"#, "probe.bias", without: "probe.bias")
      try check(#"{"names":[],"tensors":"probe","tokens":"cls+mean","layers":1}"#, "'probe.weight'", without: "probe.weight")
      try check("{", "no valid JSON")
    }
  }

  /// The same whatever other outputs the run has, and alone.
  @Test(arguments: files.map(\.name)) func otherOutputsChangeNothing(file: String) throws {
    let model = try Self.model(file), image = try Self.array(file, "other", "input")
    let all = try model.run([DinoModel.inputName: image], outputs: ["logits", "tokens", "cls", "attention"])
    #expect(maxAbsoluteDifference(try #require(all["logits"]).floats(), try Self.logits(model, file, "other").floats()) < 1e-5)
  }
}
