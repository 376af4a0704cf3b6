// Networks of unlike sizes, heads and file forms, and one photograph from its file to features and masks, against PyTorch, torchvision, transformers and timm. The cases
// are by Tests/Reference/make_dino_cases.py, which says what each is for.

import Dino
import DinoTensor
import Foundation
import NumPyArrays
import Safetensors
import TestSupport
import Testing

@Suite struct CaseTests {
  static func path(_ name: String, _ file: String) -> String { Fixtures.path("dino/cases/\(name)/\(file)") }
  static func array(_ name: String, _ file: String) throws -> Tensor { try NumPyArray.read(path: path(name, "\(file).npy")) }

  static func model(_ name: String, file: String, heads: Int?, key: String? = nil) throws -> DinoModel {
    var options = DinoModel.Options()
    options.heads = heads
    options.checkpointKey = key
    return try DinoModel(contentsOf: file.isEmpty ? Fixtures.path("dino/cases/\(name)") : path(name, file), options: options)
  }

  @Test(arguments: ["same_count", "pixels_differ", "remainder", "shrunk", "no_bias_bfloat16", "classifier", "head_batchnorm", "head_one_layer", "head_two_layers",
                    "resize_B", "resize_C", "resize_bilinear", "transformers", "timm"])
  func equalsPyTorch(name: String) throws {
    let text = try Data(contentsOf: URL(fileURLWithPath: Self.path(name, "case.json")))
    let about = try JSONValue.parse(String(decoding: text, as: UTF8.self))
    let model = try Self.model(name, file: #require(about["model"]?.stringValue), heads: about["heads"]?.integerValue, key: about["key"]?.stringValue)
    let outputs = try #require(about["outputs"]?.arrayValue).compactMap(\.stringValue)
    let results = try model.run([DinoModel.inputName: Self.array(name, "input")], outputs: outputs)
    for output in outputs {
      let found = try #require(results[output]), expected = try Self.array(name, output)
      #expect(found.shape == expected.shape, "\(name) \(output)")
      let difference = maxAbsoluteDifference(found.floats(), expected.floats())
      #expect(difference < 2e-5, "\(name) \(output): \(difference)")
    }
  }

  /// The names of vit_base_patch16_clip_224 are nearly all official, but it normalises before the first block.
  @Test(arguments: ["vit_base_patch16_clip_224.openai", "vit_base_patch16_rope_reg1_gap_256", "resnet50", "vit_small_patch16", ""])
  func refusesOtherFoldersOfTimm(architecture: String) throws {
    let folder = try Fixtures.temporaryFolder()
    defer { try? FileManager.default.removeItem(at: folder) }
    try FileManager.default.copyItem(atPath: Self.path("timm", "model.safetensors"), toPath: "\(folder.path)/model.safetensors")
    try Data("{\"architecture\": \"\(architecture)\", \"model_args\": {\"num_heads\": 3}}".utf8).write(to: folder.appendingPathComponent("config.json"))
    #expect { try DinoModel(contentsOf: folder.path) } throws: { ($0 as? DinoError)?.kind == .unavailable }
  }

  @Test func photographGivesTheEvaluationsFeatures() throws {
    let model = try Self.model("photograph", file: "model.pth", heads: 3)
    var changes = PreprocessingChanges()
    changes.size = .shorterSide(32)
    let image = try model.preparer(changes).prepare(DinoModel.image(at: Self.path("photograph", "photo.jpg")))
    for (settings, file) in [(FeatureSettings(tokens: .cls, layers: 2), "cls_last_two"), (FeatureSettings(tokens: .mean), "mean")] {
      let row = try FeatureExtractor(model: model, settings: settings).rows([image])[0]
      #expect(maxAbsoluteDifference(row, try Self.array("photograph", file).floats()) < 2e-5, "\(file)")
    }
  }

  @Test func photographGivesTheOriginalsAttentionAndMasks() throws {
    let model = try Self.model("photograph", file: "model.pth", heads: 3)
    var changes = PreprocessingChanges()
    changes.size = .exact(height: 42, width: 61)
    changes.interpolation = "bilinear"
    (changes.mean, changes.std) = ([0.5, 0.5, 0.5], [0.5, 0.5, 0.5])
    let maps = try model.attention(model.preparer(changes).prepare(DinoModel.image(at: Self.path("photograph", "photo.jpg"))))
    #expect(maximumDifference(maps, try Self.array("photograph", "attention").floats()) < 1e-5)
    let masks = try Self.array("photograph", "masks")
    #expect(masks.shape == [3, 40, 56])
    let expected = masks.withBytes { bytes in (0..<bytes.count).map { bytes[$0] } }
    for (h, map) in maps.heads.enumerated() {
      #expect(map.mask(holding: 0.6).pixels(patch: 8).values == Array(expected[h * 40 * 56..<(h + 1) * 40 * 56]), "head \(h)")
    }
  }

  private func maximumDifference(_ maps: AttentionMaps, _ expected: [Float]) -> Float {
    maxAbsoluteDifference(maps.heads.flatMap(\.values), expected)
  }
}
