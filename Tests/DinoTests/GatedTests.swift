// Gated feed-forward parts: small networks like DINOv2's giant and DINOv3's S+, H+ and 7B in the files of their authors, timm and transformers (Tests/Reference/make_gated.py) against what
// the originals compute, through our own formats and ONNX and back, in each precision; and what contradicts itself.

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

@Suite struct GatedTests {
  static let kinds = ["dinov2", "dinov3", "dinov3l"]
  static let files = kinds.flatMap { kind in (["official.pth", "timm", "transformers"] + (kind == "dinov2" ? ["memory.pth"] : [])).map { "\(kind)/\($0)" } }
  private static let sizes = ["native", "other"]
  private static let width = 24

  static func model(_ file: String, _ precision: Precision? = nil) throws -> DinoModel { try SmallNetworks.load(Fixtures.path("gated/\(file)"), precision) }

  static func array(_ name: String) throws -> Tensor { try NumPyArray.read(path: Fixtures.path("gated/\(name).npy")) }

  private static func tokens(_ model: DinoModel, _ image: String) throws -> [Float] {
    try model.run([DinoModel.inputName: array("\(image).input")], outputs: ["tokens"])["tokens"]!.floats()
  }

  @Test(arguments: files, sizes) func equalsTheOriginal(file: String, size: String) throws {
    let model = try Self.model(file), kind = String(file.prefix { $0 != "/" }), config = model.config
    #expect(config.feedForward == .swiglu && config.activation == .silu && config.mlpHiddenDim == (kind == "dinov3l" ? 64 : 32) && config.registerTokens == 4 && config.layerScale)
    #expect((config.rotaryBase != nil) == (kind != "dinov2") && config.qkvBias == (kind != "dinov3l"))
    #expect(model.checkpoint.resolution.unmatched.isEmpty)
    let results = try model.run([DinoModel.inputName: Self.array("\(kind)/\(size).input")], outputs: ["tokens", "attention_cls", "cls"])
    for name in ["tokens", "attention_cls"] {
      let found = try #require(results[name]), expected = try Self.array("\(kind)/\(size).\(name)")
      #expect(found.shape == expected.shape)
      let difference = maxAbsoluteDifference(found.floats(), expected.floats())
      #expect(difference < 2e-5, "\(file) \(size) \(name): \(difference)")
    }
    // The class token alone is computed by a shorter graph.
    let cls = try model.run([DinoModel.inputName: Self.array("\(kind)/\(size).input")], outputs: ["cls"])["cls"]!.floats()
    #expect(maxAbsoluteDifference(cls, Array(results["tokens"]!.floats()[..<Self.width])) < 2e-5)
  }

  /// Gate and value that a file has apart are joined when somebody reads them.
  @Test func joinedOnlyWhenRead() throws {
    for file in Self.files {
      let kind = String(file.prefix { $0 != "/" }), official = try Self.model("\(kind)/official.pth").checkpoint.weights(), weights = try Self.model(file).checkpoint.weights()
      let isApart = kind != "dinov2" || file.hasSuffix("memory.pth")
      #expect((weights["blocks.1.mlp.w12.weight"]?.storage.kind == .derived) == isApart, "\(file)")
      for (name, tensor) in official where name.contains(".mlp.") { #expect(weights[name]?.floats() == tensor.floats() && weights[name]?.shape == tensor.shape, "\(file) \(name)") }
    }
  }

  @Test(arguments: kinds, ["dino.safetensors", "torch.pth", "plain.safetensors"]) func layoutsHoldTheSameNetwork(kind: String, file: String) throws {
    try ModelTests.inFolder { folder in
      let model = try Self.model("\(kind)/official.pth"), path = "\(folder)/\(file)", layout = try #require(ModelWriter.Layout(rawValue: String(file.prefix { $0 != "." })))
      let writer = ModelWriter(config: model.config, weights: try model.checkpoint.weights(), preprocessing: .imageNet, provenance: Provenance(tool: "test"))
      try writer.write(layout, to: path)
      let back = try SmallNetworks.load(path)
      #expect(back.config == model.config && back.checkpoint.resolution.unmatched.isEmpty)
      #expect(!writer.losses(layout).contains { $0.contains("activation") })
      for size in Self.sizes {
        // timm's files leave periods to their reader, which computes them in other last bits.
        let difference = try maxAbsoluteDifference(Self.tokens(back, "\(kind)/\(size)"), Self.array("\(kind)/\(size).tokens").floats())
        #expect(difference < 2e-5, "\(kind) \(file) \(size): \(difference)")
      }
      if layout == .dino { #expect(try back.selfTest().allSatisfy { $0.comparison.passed == true }) } else {
        // All that the original's network loads, or timm's; what only training on local crops reads was not kept.
        let written = back.checkpoint.source, theirs = try Self.model(layout == .plain ? "\(kind)/timm" : "\(kind)/official.pth").checkpoint.source
        #expect(Set(written.tensors.map(\.name)) == Set(theirs.tensors.map(\.name)).filter { !$0.hasPrefix("local_cls_norm.") })
        for stored in theirs.tensors where stored.name.contains(".mlp.") {
          #expect(try written.tensor(stored.name)?.floats() == theirs.tensor(stored.name)?.floats() && written.tensor(stored.name)?.shape == theirs.tensor(stored.name)?.shape, "\(stored.name)")
        }
      }
    }
  }

  /// Folders have the names and values of those that transformers wrote, and come back as the same network.
  @Test(arguments: kinds, ["official.pth", "transformers"]) func foldersAreTransformers(kind: String, file: String) throws {
    try ModelTests.inFolder { folder in
      let model = try Self.model("\(kind)/\(file)"), weights = try model.checkpoint.weights()
      var writer = ModelWriter(config: model.config, weights: weights, preprocessing: .imageNet, provenance: Provenance(tool: "test"))
      writer.maskToken = try model.checkpoint.maskToken()
      try writer.write(.huggingFace, to: "\(folder)/hf")
      let found = try SafetensorsFile(path: "\(folder)/hf/model.safetensors"), theirs = try SafetensorsFile(path: Fixtures.path("gated/\(kind)/transformers/model.safetensors"))
      #expect(Set(found.names) == Set(theirs.names))
      for name in theirs.names where !name.hasSuffix("mask_token") {
        let a = try #require(found.tensor(name)), b = try #require(theirs.tensor(name))
        #expect(a.shape == b.shape && a.floats() == b.floats(), "\(name)")
      }
      let back = try SmallNetworks.load("\(folder)/hf"), text = try String(contentsOfFile: "\(folder)/hf/config.json", encoding: .utf8)
      #expect(back.config == model.config && back.checkpoint.resolution.unmatched.isEmpty)
      #expect(text.contains(kind == "dinov2" ? "\"use_swiglu_ffn\":true" : "\"use_gated_mlp\":true"), "\(text)")
    }
  }

  /// A width that no whole ratio gives, gates of another function, and no layer scale are not of transformers' types.
  @Test func foldersThatTransformersHasNotAreRefused() throws {
    let model = try Self.model("dinov2/official.pth")
    for (word, change) in [("two thirds", { $0.mlpRatio = 44.0 / 24 }), ("gates of silu", { $0.activation = .relu }), ("plain MLPs", { ($0.layerScale, $0.registerTokens) = (false, 0) })] as [(String, (inout ViTConfig) -> Void)] {
      var config = model.config
      change(&config)
      let writer = ModelWriter(config: config, weights: try model.checkpoint.weights(), preprocessing: .imageNet, provenance: Provenance(tool: "test"))
      #expect { try writer.checkPlace(layout: .huggingFace) } throws: { ($0 as? DinoError)?.kind == .unavailable && "\($0)".contains(word) }
    }
  }

  /// DINOv2's giant without registers: timm calls its packed gates as it does a plain part.
  @Test func withoutRegistersTimmsNamesAreWritten() throws {
    try ModelTests.inFolder { folder in
      var config = try Self.model("dinov2/official.pth").config
      config.registerTokens = 0
      config.positionResize = .antialiased
      let weights = Dictionary(uniqueKeysWithValues: try WeightInitializer.tensors(config: config, seed: 4).map { ($0.name, $0.tensor) }), path = "\(folder)/plain.safetensors"
      try ModelWriter(config: config, weights: weights, preprocessing: .imageNet, provenance: Provenance(tool: "test")).write(.plain, to: path)
      let names = Set(try SafetensorsFile(path: path).names), back = try SmallNetworks.load(path)
      #expect(names.contains("blocks.1.mlp.fc1.weight") && !names.contains { $0.contains("w12") })
      #expect(back.config == config)
      for (name, tensor) in try back.checkpoint.weights() { #expect(tensor.floats() == weights[name]?.floats(), "\(name)") }
    }
  }

  @Test(arguments: kinds, [13, 17, 18]) func onnxComesBackBitForBit(kind: String, opset: Int) throws {
    try ModelTests.inFolder { folder in
      let model = try Self.model("\(kind)/official.pth"), path = "\(folder)/m.onnx"
      var settings = OnnxExportSettings()
      settings.outputs = ["cls", "tokens"]
      settings.opset = opset
      settings.verification = .byForm
      _ = try model.exportOnnx(to: path, settings: settings)
      for size in Self.sizes {
        let tokens = try #require(try OnnxNetwork(contentsOf: path).run(["pixel_values": Self.array("\(kind)/\(size).input")])["tokens"])
        let difference = maxAbsoluteDifference(tokens.floats(), try Self.array("\(kind)/\(size).tokens").floats())
        #expect(difference < 2e-5, "\(size): \(difference)")
      }
      let summary = try OnnxSummary(path: path)
      #expect(summary.foreign.isEmpty && summary.rules.contains { $0.name == "gate" && $0.matches == 2 })
      let back = try Checkpoint(path: path), weights = try back.weights()
      #expect(back.config == model.config && back.losses.isEmpty)
      for (name, tensor) in try model.checkpoint.weights() { #expect(weights[name]?.floats().map(\.bitPattern) == tensor.floats().map(\.bitPattern), "\(name)") }
    }
  }

  @Test(arguments: kinds) func quantizedExportsAreNear(kind: String) throws {
    try ModelTests.inFolder { folder in
      let model = try Self.model("\(kind)/official.pth"), path = "\(folder)/q.onnx"
      var settings = OnnxExportSettings()
      settings.outputs = ["tokens"]
      settings.quantization = .dynamic([])
      settings.verification = .byForm
      _ = try model.exportOnnx(to: path, settings: settings)
      let tokens = try #require(try OnnxNetwork(contentsOf: path).run(["pixel_values": Self.array("\(kind)/other.input")])["tokens"])
      #expect(cosine(tokens.floats(), try Self.array("\(kind)/other.tokens").floats()) > 0.99)
    }
  }

  @Test(arguments: kinds, [DinoRuntime.Precision.bf16, .int8]) func narrowPrecisionsAreNear(kind: String, precision: DinoRuntime.Precision) throws {
    for size in Self.sizes {
      let exact = try Self.array("\(kind)/\(size).tokens").floats(), found = try Self.tokens(Self.model("\(kind)/official.pth", precision), "\(kind)/\(size)")
      for t in 0..<exact.count / Self.width {
        let c = cosine(Array(found[t * Self.width..<(t + 1) * Self.width]), Array(exact[t * Self.width..<(t + 1) * Self.width]))
        #expect(c > 0.995, "\(kind) \(precision.rawValue) \(size) token \(t): \(c)")
      }
    }
  }

  @Test(arguments: kinds) func calibratedFilesAreNear(kind: String) throws {
    try ModelTests.inFolder { folder in
      let model = try Self.model("\(kind)/official.pth"), path = "\(folder)/q.safetensors"
      let image = PreparedImage(tensor: try Self.array("\(kind)/other.input"), geometry: .init(height: 12, width: 24, resizedHeight: 12, resizedWidth: 24, top: 0, left: 0, rows: 3, columns: 6, patch: 4))
      var quantizer = try ModelQuantizer(config: model.config, weights: model.checkpoint.weights(), kind: .int8, threads: 2)
      try quantizer.calibrate([image])
      try quantizer.write(to: path, preprocessing: .imageNet, provenance: Provenance(tool: "test"), quality: nil)
      let back = try SmallNetworks.load(path)
      #expect(back.checkpoint.storedTensors.first { $0.name == "blocks.0.mlp.w12.weight" }?.dtype == .i8)
      #expect(cosine(try Self.tokens(back, "\(kind)/other"), try Self.array("\(kind)/other.tokens").floats()) > 0.998)
    }
  }

  @Test(arguments: kinds) func batchesAreTheirImages(kind: String) throws {
    let model = try Self.model("\(kind)/official.pth"), image = try Self.array("\(kind)/other.input"), other = image.floats().map { 0.3 - $0 }
    let together = try model.run([DinoModel.inputName: Tensor(image.floats() + other, shape: [2, 3, 12, 24])], outputs: ["tokens"])["tokens"]!.floats()
    let second = try model.run([DinoModel.inputName: Tensor(other, shape: [1, 3, 12, 24])], outputs: ["tokens"])["tokens"]!.floats()
    #expect(maxAbsoluteDifference(Array(together[second.count...]), second) < 1e-5)
    #expect(maxAbsoluteDifference(Array(together[..<second.count]), try Self.array("\(kind)/other.tokens").floats()) < 2e-5)
  }

  /// The published networks, whose heads and widths names tell.
  @Test(arguments: [("dinov2_vitg14", 24, 4096), ("dinov2_vitg14_reg", 24, 4096), ("dinov3_vits16plus", 6, 1536), ("dinov3_vith16plus", 20, 5120), ("dinov3_vit7b16", 32, 8192)])
  func publishedNetworks(_ row: (name: String, heads: Int, hidden: Int)) throws {
    let config = try Registry.configuration(row.name)
    #expect(config.feedForward == .swiglu && config.activation == .silu && config.numHeads == row.heads && config.mlpHiddenDim == row.hidden)
    // H+ is as wide and deep as ViT-H, which has other heads: its periods tell them.
    let periods = row.name == "dinov3_vith16plus" ? config.tensors.first { $0.name == "rope_embed.periods" }?.shape[0] : nil
    #expect(try HeadCount.resolve(width: config.embedDim, depth: config.depth, periods: periods).heads == row.heads)
    #expect(config.qkvBias == (row.name != "dinov3_vit7b16"))
    #expect(try ViTConfig(json: config.json()) == config)
  }

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

  @Test(arguments: [("dinov2/transformers", "\"use_swiglu_ffn\": true", "\"use_swiglu_ffn\": false", DinoError.Kind.data, "gated"),
                    ("dinov3/transformers", "\"use_gated_mlp\": true", "\"use_gated_mlp\": 1", .data, "gated"),
                    ("dinov3/transformers", "\"mlp_bias\": true", "\"mlp_bias\": false", .unavailable, "mlp_bias"),
                    ("dinov3/timm", "vit_small_plus_patch16_dinov3_qkvb", "vit_small_plus_patch16_clip", .unavailable, "clip")])
  func contradictionsAreRefused(_ row: (file: String, from: String, to: String, kind: DinoError.Kind, word: String)) throws {
    try Self.changed(Fixtures.path("gated/\(row.file)"), row.from, row.to) { folder in
      #expect { try DinoModel(contentsOf: folder) } throws: { ($0 as? DinoError)?.kind == row.kind && ($0 as? DinoError)?.message.contains(row.word) == true }
    }
  }

  /// DINOv3's folders say what the gate is; DINOv2's are silu whatever they say.
  @Test func theFoldersActivationIsTheGates() throws {
    for (kind, from, to, expected) in [("dinov3", "silu", "gelu", Activation.gelu), ("dinov2", "gelu", "relu", .silu)] {
      try Self.changed(Fixtures.path("gated/\(kind)/transformers"), "\"hidden_act\": \"\(from)\"", "\"hidden_act\": \"\(to)\"") { folder in
        let model = try DinoModel(contentsOf: folder)
        #expect(model.config.activation == expected)
      }
    }
  }

  /// Names of both forms, an odd number of rows, halves that do not fit: each a sentence that names the tensor.
  @Test(arguments: [("blocks.0.mlp.w12.weight", [63, 24], "w12"), ("blocks.1.mlp.w12.weight", [62, 24], "blocks.1.mlp.w12.weight"), ("blocks.0.mlp.w2.weight", [32, 24], "blocks.0.mlp."), ("blocks.0.mlp.fc1.weight", [64, 24], "fc1")])
  func hostileShapes(_ row: (name: String, shape: [Int], word: String)) throws {
    try ModelTests.inFolder { folder in
      let source = try Self.model("dinov2/official.pth").checkpoint.source, path = "\(folder)/plain.safetensors"
      var tensors = try source.tensors.compactMap { stored in try source.tensor(stored.name).map { (name: stored.name, tensor: $0) } }
      tensors.removeAll { $0.name == row.name }
      tensors.append((row.name, Tensor([Float](repeating: 0, count: row.shape.reduce(1, *)), shape: Shape(row.shape))))
      try SafetensorsWriter.write(tensors, metadata: [:], to: path)
      #expect { try SmallNetworks.load(path).checkpoint.weights() } throws: { "\($0)".contains(row.word) }
    }
  }
}
