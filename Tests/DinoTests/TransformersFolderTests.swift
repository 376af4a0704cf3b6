// Folders that are written for transformers, of its types dinov2, dinov2_with_registers and dinov3_vit: the names, shapes, bits and values of folders that transformers wrote (Tests/Reference:
// make_registers.py, make_dinov3.py, make_classifiers.py), and what is refused or said. That transformers reads them as we do is checked by Tests/Reference/check_transformers_folders.py.

import CheckpointNames
@testable import Dino
import DinoGraph
import DinoModels
import DinoTensor
import Foundation
import Safetensors
import TestSupport
import Testing

@Suite struct TransformersFolderTests {
  static let folders = ["registers/transformers", "dinov3/transformers", "classifiers/dinov2", "classifiers/registers"]

  private static func writer(_ path: String, heads: Int? = nil) throws -> ModelWriter {
    let checkpoint = try Checkpoint(path: path, choices: CheckpointChoices(heads: heads))
    var writer = ModelWriter(config: checkpoint.config, weights: try checkpoint.weights(), preprocessing: checkpoint.preprocessing ?? .imageNet, provenance: Provenance(tool: "test"))
    if let head = try checkpoint.classifierHead(), !head.names.isEmpty { writer.setClassifier(head) }
    writer.maskToken = try checkpoint.maskToken()
    return writer
  }

  private static func expectSame(_ path: String, _ original: String, but left: Set<String> = []) throws {
    let found = try SafetensorsFile(path: "\(path)/model.safetensors"), expected = try SafetensorsFile(path: "\(original)/model.safetensors")
    #expect(Set(found.names) == Set(expected.names))
    for name in expected.names where !left.contains(name) {
      let a = try #require(found.tensor(name)), b = try #require(expected.tensor(name))
      #expect(a.shape == b.shape && a.dtype == b.dtype && a.storage.bytes(a.byteRange) == b.storage.bytes(b.byteRange), "\(name): \(a.shape) \(a.dtype), \(b.shape) \(b.dtype)")
    }
  }

  @Test(arguments: folders) func comeBackBitForBit(name: String) throws {
    try ModelTests.inFolder { folder in
      let original = Fixtures.path(name), writer = try Self.writer(original)
      #expect(!writer.losses(.huggingFace).contains { $0.contains("no place") || $0.contains("mask") || $0.contains("positions") }, "\(writer.losses(.huggingFace))")
      try writer.write(.huggingFace, to: "\(folder)/a")
      try Self.expectSame("\(folder)/a", original)
      // By way of our own format.
      try writer.write(.dino, to: "\(folder)/m.safetensors")
      try Self.writer("\(folder)/m.safetensors").write(.huggingFace, to: "\(folder)/b")
      try Self.expectSame("\(folder)/b", original)
      let found = try JSONValue.parse(FolderTests.text("\(folder)/b/config.json")), expected = try JSONValue.parse(FolderTests.text("\(original)/config.json"))
      for member in try #require(found.objectValue) {
        switch member.key {
        case "image_size": #expect(member.value.arrayValue?.count == 2 && (name.hasPrefix("dinov3") || member.value.arrayValue?.first?.integerValue == expected["image_size"]?.integerValue))
        case "torch_dtype": #expect(member.value.stringValue == "float16")
        case "id2label", "label2id": #expect(Set((member.value.objectValue ?? []).map { "\($0.key) \($0.value.text)" }) == Set((expected[member.key]?.objectValue ?? []).map { "\($0.key) \($0.value.text)" }))
        default: #expect(member.value == expected[member.key] || member.value.doubleValue.map { $0 == expected[member.key]?.doubleValue } == true, "\(member.key): \(member.value.text), \(expected[member.key]?.text ?? "-")")
        }
      }
      // Whose sizes are transformers' alone are the keys that say them.
      for key in ["hidden_size", "num_hidden_layers", "num_attention_heads", "mlp_ratio", "intermediate_size", "num_register_tokens", "patch_size", "layer_norm_eps", "hidden_act", "qkv_bias", "key_bias", "rope_theta"] {
        #expect((found[key] == nil) == (expected[key] == nil), "\(key)")
      }
    }
  }

  /// The originals' files give the folders that transformers would have of them; what is not as in the original is said.
  @Test(arguments: [("registers/official.pth", "registers/transformers"), ("dinov3/official.pth", "dinov3/transformers")]) func originalsBecomeTheSameFolders(file: String, folder theirs: String) throws {
    try ModelTests.inFolder { folder in
      let writer = try Self.writer(Fixtures.path(file), heads: 3)
      #expect(!writer.losses(.huggingFace).contains { $0.contains("mask") || $0.contains("positions") }, "\(writer.losses(.huggingFace))")
      try writer.write(.huggingFace, to: "\(folder)/m")
      try Self.expectSame("\(folder)/m", Fixtures.path(theirs))
    }
  }

  /// timm's files have no token of masked patches: zeros stand there, and that is said.
  @Test(arguments: [("registers/timm", "registers/transformers"), ("dinov3/timm", "dinov3/transformers")]) func unknownMaskTokensAreZeros(file: String, folder theirs: String) throws {
    try ModelTests.inFolder { folder in
      let writer = try Self.writer(Fixtures.path(file))
      #expect(writer.losses(.huggingFace).filter { $0.contains("embeddings.mask_token is zeros") }.count == 1)
      try writer.write(.huggingFace, to: "\(folder)/m")
      // timm's class token is a sum with its position.
      try Self.expectSame("\(folder)/m", Fixtures.path(theirs), but: ["embeddings.mask_token", "embeddings.cls_token", "embeddings.position_embeddings"])
      #expect(try SafetensorsFile(path: "\(folder)/m/model.safetensors").tensor("embeddings.mask_token")?.floats().allSatisfy { $0 == 0 } == true)
      let back = try Checkpoint(path: "\(folder)/m"), original = try Checkpoint(path: Fixtures.path(file))
      #expect(back.config == original.config)
      for (name, tensor) in try original.weights() { #expect(try back.weights()[name]?.floats() == tensor.floats(), "\(name)") }
    }
  }

  @Test func dinov3sVariantsComeBack() throws {
    try ModelTests.inFolder { folder in
      let original = try Self.writer(Fixtures.path("dinov3/transformers"))
      for form in ["a bias of keys", "no registers", "no bias", "another base"] {
        var writer = original, bias = [Float]()
        switch form {
        case "a bias of keys":
          bias = (0..<108).map { Float($0) / 64 }
          writer.weights["blocks.1.attn.qkv.bias"] = Tensor(bias, shape: [108])
        case "no registers":
          writer.config.registerTokens = 0
          writer.weights["register_tokens"] = nil
        case "no bias":
          writer.config.qkvBias = false
          for i in 0..<2 { writer.weights["blocks.\(i).attn.qkv.bias"] = nil }
        default:
          writer.config = writer.config.rotary(base: 50)
          writer.weights["rope_embed.periods"] = nil
          #expect(writer.changesInFolder.isEmpty)
          writer.weights["rope_embed.periods"] = Tensor([1, 2, 3], shape: [3])
          #expect(writer.changesInFolder.contains { $0.contains("those of base 50") })
          writer.weights["rope_embed.periods"] = nil
        }
        let path = "\(folder)/\(form)"
        try writer.write(.huggingFace, to: path)
        let back = try Checkpoint(path: path), config = try JSONValue.parse(FolderTests.text("\(path)/config.json"))
        #expect(back.config == writer.config && back.resolution.unmatched.isEmpty, "\(form)")
        #expect(config["key_bias"]?.boolValue == (form == "a bias of keys") && config["query_bias"]?.boolValue == (form != "no bias") && config["rope_theta"]?.doubleValue == (form == "another base" ? 50 : 100))
        for (name, tensor) in writer.weights where name != "rope_embed.periods" { #expect(try back.weights()[name]?.floats() == tensor.floats(), "\(form) \(name)") }
        if form == "no registers" { #expect(try SafetensorsFile(path: "\(path)/model.safetensors").tensor("embeddings.register_tokens")?.shape == [1, 0, 36]) }
      }
    }
  }

  @Test func whatTransformersHasNotIsRefusedOrSaid() throws {
    let original = try Self.writer(Fixtures.path("registers/official.pth"), heads: 3)
    func refused(_ word: String, _ change: (inout ViTConfig) -> Void) {
      var writer = original
      change(&writer.config)
      #expect { try writer.checkPlace(layout: .huggingFace) } throws: { ($0 as? DinoError)?.kind == .unavailable && "\($0)".contains(word) && "\($0)".contains("transformers' type 'dinov2") }
    }
    refused("has layer scale; this model has none") { $0.layerScale = false }
    refused("25 columns over 24") { $0.mlpRatio = 25.0 / 24 }
    refused("a square grid of positions; this model has 2x8") { ($0.nativeRows, $0.nativeColumns) = (2, 8) }
    // A classifier of DINOv3, which transformers has none of.
    try ModelTests.inFolder { folder in
      var writer = try Self.writer(Fixtures.path("dinov3/transformers"))
      writer.setClassifier(ClassifierHead(names: ["a", "b"], settings: FeatureSettings(), weight: Tensor([Float](repeating: 1, count: 72), shape: [2, 36]), bias: Tensor([0, 1], shape: [2])))
      #expect(writer.losses(.huggingFace).contains { $0.contains("no place for the classifier") })
      try writer.write(.huggingFace, to: "\(folder)/m")
      try Self.expectSame("\(folder)/m", Fixtures.path("dinov3/transformers"))
    }
    // The original's rule without registers is not transformers'; with registers it is.
    var other = original
    #expect(!other.changesInFolder.contains { $0.contains("resizes positions") })
    other.config.registerTokens = 0
    for (resize, isSaid) in [(PositionResize.officialOffset, true), (.antialiased, true), (.sized, false)] {
      other.config.positionResize = resize
      #expect(other.changesInFolder.contains { $0.contains("images that are not 28x28") } == isSaid)
    }
  }
}
