// The facade against PyTorch: every form of checkpoint, native and wide images, half precision, student and teacher, the projection head. The small fixtures are by
// Tests/Reference/make_dino_vit.py; where the shared golden data of the original code is there, it is held to the same.

import CheckpointNames
import Dino
import DinoModels
import DinoTensor
import Foundation
import NumPyArrays
import TestSupport
import Testing

@Suite struct GoldenTests {
  static func array(_ name: String) throws -> Tensor { try NumPyArray.read(path: Fixtures.path("dino/vit/\(name).npy")) }

  static func model(_ file: String, key: String? = nil, heads: Int? = 3) throws -> DinoModel {
    var options = DinoModel.Options()
    options.heads = heads
    options.checkpointKey = key
    return try DinoModel(contentsOf: Fixtures.path("dino/vit/\(file)"), options: options)
  }

  static func difference(_ model: DinoModel, _ size: String, _ outputs: [(String, String)]) throws -> Float {
    let results = try model.run([DinoModel.inputName: array("\(size)_input")], outputs: outputs.map(\.0))
    var worst: Float = 0
    for (output, file) in outputs {
      let found = try #require(results[output]), expected = try array("\(size)_\(file)")
      #expect(found.shape == expected.shape)
      worst = max(worst, maxAbsoluteDifference(found.floats(), expected.floats()))
    }
    return worst
  }

  @Test(arguments: ["checkpoint.pth", "backbone.pth", "backbone_legacy.pth", "backbone.safetensors"], ["native", "wide"])
  func equalsPyTorch(file: String, size: String) throws {
    let model = try Self.model(file)
    let worst = try Self.difference(model, size, [("cls", "cls"), ("tokens.0", "tokens_0"), ("tokens", "tokens_1"), ("attention", "attention")])
    #expect(worst < 2e-5, "\(worst)")
  }

  @Test(arguments: ["native", "wide"])
  func takesTheNetworkThatIsAskedFor(size: String) throws {
    #expect(try Self.difference(Self.model("checkpoint.pth", key: "student"), size, [("cls", "student_cls")]) < 2e-5)
    #expect(try Self.difference(Self.model("checkpoint.pth", key: "teacher"), size, [("cls", "cls")]) < 2e-5)
    // As in the official loader, the key means nothing for a file of one network.
    #expect(try Self.difference(Self.model("backbone.pth", key: "teacher"), size, [("cls", "cls")]) < 2e-5)
    #expect(try Self.model("backbone.pth", key: "student").notes.contains { $0.contains("no network of the name 'student'") })
    #expect(try !Self.model("checkpoint.pth", key: "student").notes.contains { $0.contains("no network") })
    #expect(try Self.difference(Self.model("checkpoint.pth"), size, [("head", "head")]) < 2e-5)
    #expect(try Self.difference(Self.model("backbone_half.pth"), size, [("cls", "half_cls")]) < 2e-5)
  }

  @Test func classRowIsTheFirstOfTheFullAttention() throws {
    let model = try Self.model("backbone.pth")
    let results = try model.run([DinoModel.inputName: Self.array("wide_input")], outputs: ["attention", "attention_cls"])
    let full = try #require(results["attention"]), row = try #require(results["attention_cls"])
    let t = row.shape[2]
    #expect(row.shape == [1, 3, t] && full.shape == [1, 3, t, t])
    let fullValues = full.floats(), rowValues = row.floats()
    for h in 0..<3 { #expect(maxAbsoluteDifference(Array(fullValues[h * t * t..<h * t * t + t]), Array(rowValues[h * t..<(h + 1) * t])) < 1e-6) }
  }

  @Test func saysWhereHeadsComeFrom() throws {
    #expect(try Self.model("backbone.pth").checkpoint.headSource == .option)
    #expect { try Self.model("backbone.pth", heads: nil) } throws: {
      guard let e = $0 as? DinoError else { return false }
      return e.kind == .data && e.description.contains("--heads")
    }
    #expect { try Self.model("backbone.pth", heads: 4) } throws: { ($0 as? DinoError)?.kind == .data }
  }

  @Test func refusesAttentionOverTheBudget() throws {
    var options = DinoModel.Options()
    options.heads = 3
    options.attentionBudget = 1000
    let model = try DinoModel(contentsOf: Fixtures.path("dino/vit/backbone.pth"), options: options)
    #expect { try model.run([DinoModel.inputName: Self.array("wide_input")], outputs: ["attention"]) } throws: { ($0 as? DinoError)?.kind == .unavailable }
    _ = try model.run([DinoModel.inputName: Self.array("wide_input")], outputs: ["attention_cls"])
  }

  @Test func tellsWrongRequests() throws {
    let model = try Self.model("backbone.pth")
    #expect { try model.run([DinoModel.inputName: Self.array("wide_input")], outputs: ["nonsense"]) } throws: { ($0 as? DinoError)?.kind == .usage }
    #expect { try model.run([:], outputs: ["cls"]) } throws: { ($0 as? DinoError)?.kind == .usage }
    #expect { try Self.model("nothing.pth") } throws: { ($0 as? DinoError)?.kind == .notFound }
    #expect { try Self.model("native_cls.npy") } throws: { ($0 as? DinoError)?.kind == .data }
  }

  // MARK: Against the shared golden data

  @Test(.enabled(if: Fixtures.shared("reference/dino_vit/case.json") != nil, "needs the shared golden data"),
        arguments: ["checkpoint.pth", "backbone.pth", "backbone_legacy.pth", "backbone.safetensors"])
  func equalsTheOriginal(file: String) throws {
    let folder = try #require(Fixtures.shared("reference/dino_vit"))
    var options = DinoModel.Options()
    options.heads = 3
    let model = try DinoModel(contentsOf: "\(folder)/\(file)", options: options)
    for size in ["native", "wide", "tall"] {
      let results = try model.run([DinoModel.inputName: NumPyArray.read(path: "\(folder)/\(size)_input.npy")], outputs: ["cls", "tokens", "tokens.1", "attention"])
      for (output, expected) in [("cls", "cls"), ("tokens", "tokens_1"), ("tokens.1", "tokens_0"), ("attention", "last_attention")] {
        let d = maxAbsoluteDifference(try #require(results[output]).floats(), try NumPyArray.read(path: "\(folder)/\(size)_\(expected).npy").floats())
        #expect(d < 1e-4, "\(file) \(size) \(output): \(d)")
      }
    }
  }

  @Test(.enabled(if: Fixtures.shared("reference/dino_vit/case.json") != nil, "needs the shared golden data"), arguments: ["half", "bfloat16"])
  func equalsTheOriginalInShortTypes(type: String) throws {
    let folder = try #require(Fixtures.shared("reference/dino_vit"))
    var options = DinoModel.Options()
    options.heads = 3
    let model = try DinoModel(contentsOf: "\(folder)/backbone_\(type).pth", options: options)
    let results = try model.run([DinoModel.inputName: NumPyArray.read(path: "\(folder)/wide_input.npy")], outputs: ["cls", "tokens", "attention"])
    for (output, expected) in [("cls", "cls"), ("tokens", "tokens_1"), ("attention", "last_attention")] {
      let d = maxAbsoluteDifference(try #require(results[output]).floats(), try NumPyArray.read(path: "\(folder)/\(type)_wide_\(expected).npy").floats())
      #expect(d < 1e-4, "\(type) \(output): \(d)")
    }
  }

  @Test(.enabled(if: Fixtures.shared("reference/dino_vit/case.json") != nil, "needs the shared golden data"))
  func headEqualsTheOriginal() throws {
    let folder = try #require(Fixtures.shared("reference/dino_vit"))
    var options = DinoModel.Options()
    options.heads = 3
    let model = try DinoModel(contentsOf: "\(folder)/checkpoint.pth", options: options)
    let found = try model.run([DinoModel.inputName: NumPyArray.read(path: "\(folder)/head_input.npy")], outputs: ["head"])["head"]
    #expect(maxAbsoluteDifference(try #require(found).floats(), try NumPyArray.read(path: "\(folder)/head_output.npy").floats()) < 1e-4)
  }

  @Test(.enabled(if: Fixtures.shared("reference/families/hf_vit/config.json") != nil, "needs the shared golden data"), arguments: ["hf_vit", "hf_dinov2", "hf_dinov2_registers", "hf_dinov2_wide", "hf_dinov3_vit"])
  func readsHuggingFaceFolders(name: String) throws {
    let folder = try #require(Fixtures.shared("reference/families/\(name)"))
    let model = try DinoModel(contentsOf: folder)
    #expect(model.checkpoint.headSource == .configFile)
    let found = try model.run([DinoModel.inputName: NumPyArray.read(path: "\(folder)/input.npy")], outputs: ["tokens"])["tokens"]
    #expect(maxAbsoluteDifference(try #require(found).floats(), try NumPyArray.read(path: "\(folder)/last_hidden_state.npy").floats()) < 1e-4)
  }

  /// timm's DINOv3 without a bias of queries, keys and values.
  @Test(.enabled(if: Fixtures.shared("reference/families/timm_dinov3/config.json") != nil, "needs the shared golden data"))
  func readsTimmsFolderOfDinov3() throws {
    let folder = try #require(Fixtures.shared("reference/families/timm_dinov3")), model = try DinoModel(contentsOf: folder)
    #expect(!model.config.qkvBias && model.config.rotaryBase == 100)
    let found = try model.run([DinoModel.inputName: NumPyArray.read(path: "\(folder)/input.npy")], outputs: ["tokens"])["tokens"]
    #expect(maxAbsoluteDifference(try #require(found).floats(), try NumPyArray.read(path: "\(folder)/forward_features.npy").floats()) < 2e-5)
  }
}
