// DINOv3: a small network in the files of facebookresearch/dinov3, timm and transformers (Tests/Reference/make_dinov3.py) against what the original computes, through our own
// formats and ONNX, in each precision, and what of the family is refused.

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

@Suite struct RotaryTests {
  static let files = ["official.pth", "timm", "transformers"]
  private static let sizes = ["square", "wide"]
  private static let registers = 4, width = 36

  static func model(_ file: String = "official.pth", _ precision: Precision? = nil) throws -> DinoModel {
    try SmallNetworks.load(Fixtures.path("dinov3/\(file)"), precision)
  }

  static func array(_ name: String) throws -> Tensor { try NumPyArray.read(path: Fixtures.path("dinov3/\(name).npy")) }

  private static func tokens(_ model: DinoModel, _ size: String) throws -> [Float] {
    try model.run([DinoModel.inputName: array("\(size).input")], outputs: ["tokens"])["tokens"]!.floats()
  }

  private static func wide() throws -> PreparedImage {
    PreparedImage(tensor: try array("wide.input"), geometry: .init(height: 12, width: 24, resizedHeight: 12, resizedWidth: 24, top: 0, left: 0, rows: 3, columns: 6, patch: 4))
  }

  @Test(arguments: files, sizes) func equalsTheOriginal(file: String, size: String) throws {
    let model = try Self.model(file)
    #expect(model.config == (try Self.model()).config && model.config.rotaryBase == 100 && model.config.registerTokens == Self.registers && model.config.layerScale && model.config.normEpsilon == 1e-5)
    #expect(model.checkpoint.resolution.unmatched.isEmpty)
    // The keys are those of the qkv layer, before positions turn them, as the original's hooks give them.
    let results = try model.run([DinoModel.inputName: Self.array("\(size).input")], outputs: ["tokens", "attention_cls", "cls", "keys"])
    for name in ["tokens", "attention_cls", "keys"] {
      let found = try #require(results[name]), expected = try Self.array("\(size).\(name)")
      #expect(found.shape == expected.shape)
      let difference = maxAbsoluteDifference(found.floats(), expected.floats())
      #expect(difference < 2e-5, "\(file) \(size) \(name): \(difference)")
    }
    #expect(results["cls"]?.floats() == Array(results["tokens"]!.floats()[..<Self.width]))
  }

  /// The class token alone is computed by a shorter graph.
  @Test(arguments: sizes) func theClassTokenAloneIsTheSame(size: String) throws {
    let cls = try Self.model().run([DinoModel.inputName: Self.array("\(size).input")], outputs: ["cls"])["cls"]!.floats()
    #expect(maxAbsoluteDifference(cls, Array(try Self.array("\(size).tokens").floats()[..<Self.width])) < 2e-5)
  }

  /// The official file has a bias of keys that its mask takes away; the others have none.
  @Test func keysHaveNoBias() throws {
    let official = try Self.model().checkpoint, bias = try #require(try official.source.tensor("blocks.1.attn.qkv.bias")).floats()
    let keys = Self.width..<2 * Self.width
    #expect(bias[keys].allSatisfy { $0 != 0 })
    for file in Self.files {
      let weights = try Self.model(file).checkpoint.weights()
      for (name, tensor) in try official.weights() where name != "rope_embed.periods" { #expect(weights[name]?.floats() == tensor.floats() && weights[name]?.shape == tensor.shape, "\(file) \(name)") }
      // Read from a derived tensor where the file has the parts.
      #expect((weights["blocks.1.attn.qkv.weight"]?.storage.kind == .derived) == (file == "transformers"))
      let found = try #require(weights["blocks.1.attn.qkv.bias"]).floats()
      #expect(found[keys].allSatisfy { $0 == 0 } && Array(found[..<Self.width]) == Array(bias[..<Self.width]))
    }
  }

  /// Periods that a file holds are taken; those that it does not hold are base^(i/n).
  @Test func periodsAreTheFilesOrComputed() throws {
    let stored = try #require(try Self.model().checkpoint.weights()["rope_embed.periods"]).floats()
    let computed = try #require(try Self.model("timm").checkpoint.weights()["rope_embed.periods"]).floats()
    #expect(stored.count == 3 && zip(stored, computed).allSatisfy { abs($0 - $1) < 1e-5 * $0 })
    #expect(zip(computed, [1, 4.6415888, 21.5443469] as [Float]).allSatisfy { abs($0 - $1) < 1e-6 * $1 })
    try ModelTests.inFolder { folder in
      var weights = try Self.model().checkpoint.weights()
      weights["rope_embed.periods"] = Tensor([1, 4.625, 21.5], shape: [3])
      let path = "\(folder)/m.pth"
      let writer = ModelWriter(config: try Self.model().config, weights: weights, preprocessing: .imageNet, provenance: Provenance(tool: "test"))
      try writer.write(.torch, to: path)
      #expect(writer.losses(.plain).contains { $0.contains("the periods of its rotary positions") })
      let changed = try SmallNetworks.load(path)
      #expect(try changed.checkpoint.weights()["rope_embed.periods"]?.floats() == [1, 4.625, 21.5])
      #expect(try maxAbsoluteDifference(Self.tokens(changed, "wide"), Self.array("wide.tokens").floats()) > 1e-4)
    }
  }

  /// There is a period for four columns of a head.
  @Test func periodsTellTheHeads() throws {
    let model = try DinoModel(contentsOf: Fixtures.path("dinov3/official.pth"))
    #expect(model.config == (try Self.model()).config && model.checkpoint.headSource == .periods)
  }

  /// The original may have one; timm's names have no place for it.
  @Test func keysWithABiasAreNotTimms() throws {
    let model = try Self.model()
    var weights = try model.checkpoint.weights()
    weights["blocks.1.attn.qkv.bias"] = Tensor([Float](repeating: 1, count: 3 * Self.width), shape: [3 * Self.width])
    let writer = ModelWriter(config: model.config, weights: weights, preprocessing: .imageNet, provenance: Provenance(tool: "test"))
    #expect { try writer.checkPlace(layout: .plain) } throws: { ($0 as? DinoError)?.kind == .unavailable && "\($0)".contains("'blocks.1.attn.qkv.bias'") }
    try writer.checkPlace(layout: .torch)
  }

  /// Another base in config.json gives other periods.
  @Test func theFoldersBaseIsTaken() throws {
    let original = Fixtures.path("dinov3/transformers")
    for (to, base) in [("\"rope_theta\": 50.0", 50.0), ("\"rope_parameters\": {\"rope_theta\": 20.0}", 20.0), ("\"rope_theta\": null", 100.0), ("\"rope_theta\": 0", nil), ("\"rope_theta\": \"x\"", nil)] as [(String, Double?)] {
      try Self.changed(original, "\"rope_theta\": 100.0", to) { folder in
        guard let base else {
          #expect { try DinoModel(contentsOf: folder) } throws: { ($0 as? DinoError)?.kind == .data }
          return
        }
        let model = try DinoModel(contentsOf: folder)
        #expect(model.config.rotaryBase == base)
        let difference = try maxAbsoluteDifference(Self.tokens(model, "wide"), Self.array("wide.tokens").floats())
        #expect(base == 100 ? difference < 2e-5 : difference > 1e-3)
      }
    }
  }

  @Test func theFoldersPreprocessingIsFollowed() throws {
    let record = try #require(try Self.model("transformers").checkpoint.preprocessing)
    #expect(record.resize == .exact(height: 224, width: 224) && record.crop == nil && record.interpolation == .bilinear && record.mean == Preprocessing.imageNet.mean)
  }

  /// What a bare file leaves out is told: of rotary networks the preprocessing too, but nothing about positions, which have no grid.
  @Test(arguments: [ModelWriter.Layout.plain, .torch]) func bareFilesLeaveThePreprocessingOut(layout: ModelWriter.Layout) throws {
    let model = try Self.model("transformers"), record = try #require(model.checkpoint.preprocessing)
    let writer = ModelWriter(config: model.config, weights: try model.checkpoint.weights(), preprocessing: record, provenance: Provenance(tool: "test"))
    let losses = writer.losses(layout)
    #expect(losses.contains { $0.contains("its preprocessing") && $0.contains("--preprocessing FILE.json") })
    #expect(!losses.contains { $0.contains("positions") })
  }

  /// transformers' default is no registers, of which its folders hold an empty tensor: the network is that of the official names without them.
  @Test func foldersWithoutRegistersAreRead() throws {
    try Self.changed(Fixtures.path("dinov3/transformers"), "\"num_register_tokens\": 4", "\"num_register_tokens\": 0") { folder in
      let file = "\(folder)/model.safetensors", name = "embeddings.register_tokens"
      let stored = try SafetensorsFile(path: Fixtures.path("dinov3/transformers/model.safetensors"))
      var tensors = stored.names.compactMap { name in stored.tensor(name).map { (name: name, tensor: $0) } }
      let place = try #require(tensors.firstIndex { $0.name == name })
      tensors[place].tensor = Tensor([Float](), shape: [1, 0, Self.width])
      try SafetensorsWriter.write(tensors, metadata: ["format": "pt"], to: file)
      let model = try SmallNetworks.load(folder)
      #expect(model.config.registerTokens == 0 && model.config.rotaryBase == 100)
      #expect(model.checkpoint.resolution.ignored.contains { $0.name == name && $0.reason.contains("no elements") })
      let original = try Self.model().checkpoint.source
      var official = try original.tensors.compactMap { stored in try original.tensor(stored.name).map { (name: stored.name, tensor: $0) } }
      official.removeAll { $0.name == "storage_tokens" }
      let path = "\(folder)/plain.safetensors"
      try SafetensorsWriter.write(official, metadata: [:], to: path)
      let other = try SmallNetworks.load(path)
      #expect(other.config == model.config)
      for size in Self.sizes { #expect(try maxAbsoluteDifference(Self.tokens(model, size), Self.tokens(other, size)) < 2e-5) }
    }
  }

  @Test(arguments: ["dino.safetensors", "torch.pth", "plain.safetensors"]) func layoutsHoldTheSameNetwork(file: String) throws {
    try ModelTests.inFolder { folder in
      let model = try Self.model(), path = "\(folder)/\(file)", layout = try #require(ModelWriter.Layout(rawValue: String(file.prefix { $0 != "." })))
      var writer = ModelWriter(config: model.config, weights: try model.checkpoint.weights(), preprocessing: .imageNet, provenance: Provenance(tool: "test"))
      try writer.write(layout, to: path)
      let back = try SmallNetworks.load(path)
      #expect(back.config == model.config && back.checkpoint.resolution.unmatched.isEmpty)
      for size in Self.sizes {
        // timm's file leaves the periods to its reader, which computes them in other last bits.
        let found = try Self.tokens(back, size), expected = try Self.tokens(model, size)
        #expect(maxAbsoluteDifference(found, expected) <= (layout == .plain ? 2e-5 : 0), "\(file) \(size)")
      }
      if layout == .dino {
        #expect(try back.selfTest().allSatisfy { $0.comparison.passed == true })
      } else {
        // All that the original's network loads, or timm's.
        let written = back.checkpoint.source, theirs = try Self.model(layout == .plain ? "timm" : "official.pth").checkpoint.source
        #expect(Set(written.tensors.map(\.name)) == Set(theirs.tensors.map(\.name)))
        for stored in theirs.tensors where layout == .plain {
          let found = try written.tensor(stored.name), expected = try theirs.tensor(stored.name)
          #expect(found?.floats() == expected?.floats() && found?.shape == expected?.shape, "\(stored.name)")
        }
        for name in back.checkpoint.source.tensors.map(\.name) where name.hasSuffix("bias_mask") {
          #expect(try back.checkpoint.source.tensor(name)?.floats() == model.checkpoint.source.tensor(name)?.floats())
        }
      }
      // Halves of periods would be other places.
      try writer.convert(to: .bf16)
      #expect(writer.weights["rope_embed.periods"]?.dtype == .f32 && writer.weights["cls_token"]?.dtype == .bf16)
    }
  }

  @Test(arguments: [13, 17, 23], ["dynamic", "square", "wide"]) func onnxComputesTheSame(opset: Int, form: String) throws {
    try ModelTests.inFolder { folder in
      let model = try Self.model(), path = "\(folder)/m.onnx"
      var settings = OnnxExportSettings()
      settings.outputs = ["cls", "tokens"]
      settings.opset = opset
      if form != "dynamic" { settings.fixed = form == "wide" ? (1, 12, 24) : (1, 16, 16) }
      _ = try model.exportOnnx(to: path, settings: settings)
      for size in form == "dynamic" ? Self.sizes : [form] {
        let tokens = try #require(try OnnxNetwork(contentsOf: path).run(["pixel_values": Self.array("\(size).input")])["tokens"])
        let difference = maxAbsoluteDifference(tokens.floats(), try Self.array("\(size).tokens").floats())
        #expect(difference < 2e-5, "\(size): \(difference)")
      }
      // And it comes back.
      let back = try Checkpoint(path: path), weights = try back.weights()
      #expect(back.config == model.config && back.losses.isEmpty)
      for (name, tensor) in try model.checkpoint.weights() {
        #expect(weights[name]?.floats().map(\.bitPattern) == tensor.floats().map(\.bitPattern), "\(name)")
      }
    }
  }

  @Test func tokensBeforeThePatchesAreLeftOut() throws {
    let model = try Self.model(), tokens = try Self.array("wide.tokens").floats(), special = 1 + Self.registers, patches = Array(tokens[(special * Self.width)...])
    func row(_ choice: TokenChoice) throws -> [Float] { try FeatureExtractor(model: model, settings: FeatureSettings(tokens: choice)).rows([Self.wide()])[0] }
    #expect(maxAbsoluteDifference(try row(.patch), patches) < 2e-5)
    #expect(maxAbsoluteDifference(try row(.mean), (0..<Self.width).map { c in (0..<18).reduce(Float(0)) { $0 + patches[$1 * Self.width + c] } / 18 }) < 2e-5)
    #expect(try model.attention(Self.wide()).heads.allSatisfy { $0.values.count == 18 })
  }

  @Test(arguments: [DinoRuntime.Precision.bf16, .int8]) func narrowPrecisionsAreNear(precision: DinoRuntime.Precision) throws {
    for size in Self.sizes {
      let exact = try Self.array("\(size).tokens").floats(), found = try Self.tokens(Self.model("official.pth", precision), size)
      for t in 0..<exact.count / Self.width {
        let c = cosine(Array(found[t * Self.width..<(t + 1) * Self.width]), Array(exact[t * Self.width..<(t + 1) * Self.width]))
        #expect(c > 0.998, "\(precision.rawValue) \(size) token \(t): \(c)")
      }
    }
  }

  @Test func calibratedFilesAreNear() throws {
    try ModelTests.inFolder { folder in
      let model = try Self.model(), path = "\(folder)/q.safetensors"
      var quantizer = try ModelQuantizer(config: model.config, weights: model.checkpoint.weights(), kind: .int8, threads: 2)
      try quantizer.calibrate([Self.wide()])
      try quantizer.write(to: path, preprocessing: .imageNet, provenance: Provenance(tool: "test"), quality: nil)
      let back = try SmallNetworks.load(path)
      #expect(cosine(try Self.tokens(back, "wide"), try Self.array("wide.tokens").floats()) > 0.998)
      #expect(try back.checkpoint.weights()["rope_embed.periods"]?.floats() == model.checkpoint.weights()["rope_embed.periods"]?.floats())
    }
  }

  @Test func batchesAreTheirImages() throws {
    let model = try Self.model(), image = try Self.array("wide.input"), other = image.floats().map { 0.3 - $0 }
    let together = try model.run([DinoModel.inputName: Tensor(image.floats() + other, shape: [2, 3, 12, 24])], outputs: ["tokens"])["tokens"]!.floats()
    let second = try model.run([DinoModel.inputName: Tensor(other, shape: [1, 3, 12, 24])], outputs: ["tokens"])["tokens"]!.floats()
    #expect(maxAbsoluteDifference(Array(together[second.count...]), second) < 1e-5)
    #expect(maxAbsoluteDifference(Array(together[..<second.count]), try Self.array("wide.tokens").floats()) < 2e-5)
  }

  // MARK: Refused

  /// A folder with one change in its config.json.
  private static func changed(_ original: String, _ from: String, _ to: String, _ body: (String) throws -> Void) throws {
    try ModelTests.inFolder { folder in
      let copy = "\(folder)/copy", config = try String(contentsOfFile: "\(original)/config.json", encoding: .utf8)
      try FileManager.default.copyItem(atPath: original, toPath: copy)
      #expect(config.contains(from))
      try FileManager.default.removeItem(atPath: "\(copy)/config.json")
      try config.replacingOccurrences(of: from, with: to).write(toFile: "\(copy)/config.json", atomically: true, encoding: .utf8)
      try body(copy)
    }
  }

  @Test(arguments: [("transformers", "\"use_gated_mlp\": false", "\"use_gated_mlp\": true", "use_gated_mlp"), ("timm", "vit_small_patch16_dinov3_qkvb", "vit_small_patch16_rope_reg1_gap_256", "rope_reg1")])
  func otherFoldersAreRefused(_ row: (file: String, from: String, to: String, word: String)) throws {
    try Self.changed(Fixtures.path("dinov3/\(row.file)"), row.from, row.to) { folder in
      #expect { try DinoModel(contentsOf: folder) } throws: { ($0 as? DinoError)?.kind == (row.file == "timm" ? .unavailable : .data) && ($0 as? DinoError)?.message.contains(row.word) == true }
    }
  }

  /// Each is refused with the tensor's name, and not run without it: half of a gated MLP, a norm of the class token's own, a mask that is none, keys with a bias after all.
  @Test(arguments: [("blocks.0.mlp.w1.weight", "w1"), ("cls_norm.weight", "cls_norm"), ("blocks.0.attn.qkv.bias_mask", "zeros and ones"), ("layer.0.attention.k_proj.bias", "k_proj")])
  func otherTensorsAreRefused(_ row: (name: String, word: String)) throws {
    try ModelTests.inFolder { folder in
      let file = row.name.hasPrefix("layer.") ? "transformers" : "official.pth", path = "\(folder)/plain.safetensors", source = try Self.model(file).checkpoint.source
      var tensors = try source.tensors.compactMap { stored in try source.tensor(stored.name).map { (name: stored.name, tensor: $0) } }
      tensors.removeAll { $0.name == row.name }
      tensors.append((row.name, Tensor([Float](repeating: .nan, count: 108), shape: [108])))
      try SafetensorsWriter.write(tensors, metadata: [:], to: path)
      #expect { try SmallNetworks.load(path).checkpoint.weights() } throws: { "\($0)".contains(row.word) }
    }
  }
}
