// DINOv2 with registers: a small network in the files of facebookresearch/dinov2, timm and transformers (Tests/Reference/make_registers.py) against what the original computes, through
// our own formats and ONNX and back, in each precision, and in what leaves out the tokens before the patches.

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

@Suite struct RegisterTests {
  static let files = ["official.pth", "timm", "transformers", "memory.pth"]
  private static let sizes = ["native", "other"]
  private static let registers = 4

  static func model(_ file: String = "official.pth", _ precision: Precision? = nil) throws -> DinoModel {
    try SmallNetworks.load(Fixtures.path("registers/\(file)"), precision)
  }

  static func array(_ name: String) throws -> Tensor { try NumPyArray.read(path: Fixtures.path("registers/\(name).npy")) }

  private static func bits(_ model: DinoModel, _ size: String) throws -> [UInt32] {
    try model.run([DinoModel.inputName: array("\(size).input")], outputs: ["tokens"])["tokens"]!.floats().map(\.bitPattern)
  }

  @Test(arguments: files, sizes) func equalsTheOriginal(file: String, size: String) throws {
    let model = try Self.model(file)
    #expect(model.config.registerTokens == Self.registers && model.config.layerScale && model.config.positionResize == .antialiased && model.config.nativeRows == 4)
    #expect(model.checkpoint.resolution.unmatched.isEmpty)
    let results = try model.run([DinoModel.inputName: Self.array("\(size).input")], outputs: ["tokens", "attention_cls", "cls"])
    for name in ["tokens", "attention_cls"] {
      let found = try #require(results[name]), expected = try Self.array("\(size).\(name)")
      #expect(found.shape == expected.shape)
      let difference = maxAbsoluteDifference(found.floats(), expected.floats())
      #expect(difference < 2e-5, "\(file) \(size) \(name): \(difference)")
    }
    #expect(results["cls"]?.floats() == Array(results["tokens"]!.floats()[..<24]))
  }

  /// timm's class token holds its position; the official name of what it leaves out is filled with zeros.
  @Test func timmsClassTokenHoldsItsPosition() throws {
    let official = try Self.model().checkpoint.weights(), timm = try Self.model("timm").checkpoint.weights()
    let cls = official["cls_token"]!.floats(), positions = official["pos_embed"]!.floats()
    #expect(timm["cls_token"]!.floats() == zip(cls, positions).map(+))
    #expect(timm["pos_embed"]!.floats() == [Float](repeating: 0, count: 24) + positions[24...])
    #expect(timm["register_tokens"]!.floats() == official["register_tokens"]!.floats())
  }

  @Test(arguments: ["dino.safetensors", "torch.pth", "plain.safetensors"]) func layoutsHoldTheSameNetwork(file: String) throws {
    try ModelTests.inFolder { folder in
      let model = try Self.model(), path = "\(folder)/\(file)", layout = try #require(ModelWriter.Layout(rawValue: String(file.prefix { $0 != "." })))
      let writer = ModelWriter(config: model.config, weights: try model.checkpoint.weights(), preprocessing: .imageNet, provenance: Provenance(tool: "test"))
      try writer.write(layout, to: path)
      let back = try SmallNetworks.load(path)
      #expect(back.config == model.config && back.checkpoint.resolution.unmatched.isEmpty)
      for size in Self.sizes { #expect(try Self.bits(back, size) == Self.bits(model, size), "\(file) \(size)") }
      if layout == .dino { #expect(try back.selfTest().allSatisfy { $0.comparison.passed == true }) }
      guard layout == .plain else { return }
      let written = try SafetensorsFile(path: path), theirs = try SafetensorsFile(path: Fixtures.path("registers/timm/model.safetensors"))
      #expect(Set(written.names) == Set(theirs.names))
      for name in theirs.names { #expect(written.tensor(name)?.floats() == theirs.tensor(name)?.floats() && written.tensor(name)?.shape == theirs.tensor(name)?.shape && written.tensor(name)?.dtype == theirs.tensor(name)?.dtype, "\(name)") }
    }
  }

  @Test(arguments: [13, 17, 23], [false, true]) func onnxComesBackBitForBit(opset: Int, isFixed: Bool) throws {
    try ModelTests.inFolder { folder in
      let model = try Self.model(), path = "\(folder)/m.onnx"
      var settings = OnnxExportSettings()
      settings.outputs = ["cls", "tokens"]
      settings.opset = opset
      settings.verification = .byForm
      if isFixed { settings.fixed = (1, 28, 28) }
      _ = try model.exportOnnx(to: path, settings: settings)
      let back = try DinoModel(contentsOf: path), weights = try model.checkpoint.weights(), found = try back.checkpoint.weights()
      #expect(back.config == model.config)
      #expect(Set(found.keys) == Set(weights.keys).intersection(model.config.tensors.map(\.name)))
      for (name, tensor) in found { #expect(tensor.floats() == weights[name]?.floats(), "\(name)") }
      for size in isFixed ? ["native"] : Self.sizes {
        let tokens = try #require(try OnnxNetwork(contentsOf: path).run(["pixel_values": Self.array("\(size).input")])["tokens"])
        #expect(maxAbsoluteDifference(tokens.floats(), try Self.array("\(size).tokens").floats()) < 2e-5)
      }
    }
  }

  /// Nothing but patches is in a mean of patches, in the rows of patches and in a map of attention.
  @Test func tokensBeforeThePatchesAreLeftOut() throws {
    let model = try Self.model(), tokens = try Self.array("other.tokens").floats(), attention = try Self.array("other.attention_cls").floats(), special = 1 + Self.registers
    let geometry = PreparedImage.Geometry(height: 21, width: 42, resizedHeight: 21, resizedWidth: 42, top: 0, left: 0, rows: 3, columns: 6, patch: 7)
    let image = PreparedImage(tensor: try Self.array("other.input"), geometry: geometry), patches = Array(tokens[(special * 24)...])
    let mean = (0..<24).map { c in (0..<18).reduce(Float(0)) { $0 + patches[$1 * 24 + c] } / 18 }
    func row(_ choice: TokenChoice) throws -> [Float] { try FeatureExtractor(model: model, settings: FeatureSettings(tokens: choice)).rows([image])[0] }
    #expect(maxAbsoluteDifference(try row(.mean), mean) < 2e-5)
    #expect(maxAbsoluteDifference(try row(.patch), patches) < 2e-5)
    #expect(maxAbsoluteDifference(try row(.clsAndMean), Array(tokens[..<24]) + mean) < 2e-5)
    let maps = try model.attention(image).heads
    #expect(maps.count == 3)
    for (h, map) in maps.enumerated() { #expect(maxAbsoluteDifference(map.values, Array(attention[h * 23 + special..<(h + 1) * 23])) < 2e-5) }
    #expect(try model.copyFeatures([image])[0].count == 48)
  }

  @Test(arguments: [DinoRuntime.Precision.bf16, .int8]) func narrowPrecisionsAreNear(precision: DinoRuntime.Precision) throws {
    for size in Self.sizes {
      let exact = try Self.array("\(size).tokens").floats()
      let found = try Self.model("official.pth", precision).run([DinoModel.inputName: Self.array("\(size).input")], outputs: ["tokens"])["tokens"]!.floats()
      for t in 0..<exact.count / 24 {
        let c = cosine(Array(found[t * 24..<(t + 1) * 24]), Array(exact[t * 24..<(t + 1) * 24]))
        #expect(c > 0.998, "\(precision.rawValue) \(size) token \(t): \(c)")
      }
    }
  }

  /// Calibration looks at what the blocks add to the tokens that enter them, registers among these; the file that it writes is near.
  @Test func calibratedFilesAreNear() throws {
    try ModelTests.inFolder { folder in
      let model = try Self.model(), path = "\(folder)/q.safetensors"
      let geometry = PreparedImage.Geometry(height: 21, width: 42, resizedHeight: 21, resizedWidth: 42, top: 0, left: 0, rows: 3, columns: 6, patch: 7)
      var quantizer = try ModelQuantizer(config: model.config, weights: model.checkpoint.weights(), kind: .int8, threads: 2)
      try quantizer.calibrate([PreparedImage(tensor: Self.array("other.input"), geometry: geometry)])
      try quantizer.write(to: path, preprocessing: .imageNet, provenance: Provenance(tool: "test"), quality: nil)
      let found = try SmallNetworks.load(path).run([DinoModel.inputName: Self.array("other.input")], outputs: ["tokens"])["tokens"]!.floats()
      #expect(cosine(found, try Self.array("other.tokens").floats()) > 0.998)
    }
  }

  /// Several images at once are each as alone.
  @Test func batchesAreTheirImages() throws {
    let model = try Self.model(), image = try Self.array("other.input"), other = image.floats().map { 0.3 - $0 }
    let together = try model.run([DinoModel.inputName: Tensor(image.floats() + other, shape: [2, 3, 21, 42])], outputs: ["tokens"])["tokens"]!.floats()
    let second = try model.run([DinoModel.inputName: Tensor(other, shape: [1, 3, 21, 42])], outputs: ["tokens"])["tokens"]!.floats()
    #expect(maxAbsoluteDifference(Array(together[second.count...]), second) < 1e-5)
    #expect(maxAbsoluteDifference(Array(together[..<second.count]), try Self.array("other.tokens").floats()) < 2e-5)
  }

  /// A folder of transformers whose parts are of two networks.
  @Test func contradictingFoldersAreRefused() throws {
    try ModelTests.inFolder { folder in
      for (from, to, word) in [("\"num_register_tokens\": 4", "\"num_register_tokens\": 3", "num_register_tokens"), ("\"use_swiglu_ffn\": false", "\"use_swiglu_ffn\": true", "use_swiglu_ffn"),
                               ("dinov2_with_registers", "dinov3_convnext", "dinov3_convnext")] {
        let changed = "\(folder)/\(word)", original = Fixtures.path("registers/transformers")
        try FileManager.default.copyItem(atPath: original, toPath: changed)
        let config = try String(contentsOfFile: "\(original)/config.json", encoding: .utf8)
        #expect(config.contains(from))
        try FileManager.default.removeItem(atPath: "\(changed)/config.json")
        try config.replacingOccurrences(of: from, with: to).write(toFile: "\(changed)/config.json", atomically: true, encoding: .utf8)
        #expect { try DinoModel(contentsOf: changed) } throws: { ($0 as? DinoError)?.message.contains(word) == true }
      }
    }
  }
}
