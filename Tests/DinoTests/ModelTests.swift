// Writing models and reading them back; records, self-tests, preprocessing and features of photographs. No command line.

import CheckpointNames
import Dino
import DinoImaging
import DinoModels
import DinoTensor
import Foundation
import Safetensors
import TestSupport
import Testing

@Suite struct ModelTests {
  /// A small random model of our format.
  static func writer(seed: UInt64 = 0, head: ViTConfig.Head? = nil) throws -> ModelWriter {
    let config = ViTConfig(patchSize: 8, embedDim: 24, depth: 2, numHeads: 3, nativeRows: 4, nativeColumns: 4, head: head)
    let weights = Dictionary(uniqueKeysWithValues: try WeightInitializer.tensors(config: config, seed: seed).map { ($0.name, $0.tensor) })
    let preprocessing = Preprocessing(resize: .shorterSide(36), interpolation: .bilinear, crop: 32, mean: [0.5, 0.4, 0.3], std: [0.2, 0.3, 0.4])
    return ModelWriter(config: config, weights: weights, preprocessing: preprocessing, provenance: Provenance(tool: "test", randomWeights: true))
  }

  static func photograph(width: Int, height: Int, seed: UInt64 = 1) -> Image {
    var random = SplitMix64(seed: seed)
    return Image(width: width, height: height, channels: 3, pixels: (0..<width * height * 3).map { _ in UInt8.random(in: 0...255, using: &random) })
  }

  static func inFolder<R>(_ body: (String) throws -> R) throws -> R {
    let folder = try Fixtures.temporaryFolder()
    defer { try? FileManager.default.removeItem(at: folder) }
    return try body(folder.path)
  }

  @Test func ourFormatComesBackWhole() throws {
    try Self.inFolder { folder in
      let writer = try Self.writer()
      try writer.write(.dino, to: "\(folder)/m.safetensors")
      let model = try DinoModel(contentsOf: "\(folder)/m.safetensors")
      #expect(model.config == writer.config)
      #expect(model.checkpoint.headSource == .record)
      #expect(model.preprocessing == writer.preprocessing && !model.preprocessingIsAssumed)
      #expect(model.hasRandomWeights)
      for (name, tensor) in try model.checkpoint.weights() { #expect(tensor.floats() == writer.weights[name]?.floats(), "\(name)") }
      let tests = try model.selfTest()
      #expect(tests.count == 2 && tests.allSatisfy { $0.comparison.passed == true })
      #expect(tests.contains { $0.entry.height != $0.entry.width })
    }
  }

  @Test func selfTestFindsAChangedWeight() throws {
    try Self.inFolder { folder in
      let path = "\(folder)/m.safetensors"
      try Self.writer().write(.dino, to: path)
      let file = try SafetensorsFile(path: path)
      let entry = try #require(file.entries.first { $0.name == "blocks.0.attn.qkv.weight" })
      var bytes = [UInt8](try Data(contentsOf: URL(fileURLWithPath: path)))
      #expect(bytes.count == file.entries.map(\.byteRange.upperBound).max())
      for i in 0..<256 { bytes[entry.byteRange.lowerBound + i * 4 + 3] = 0x3F }
      try Data(bytes).write(to: URL(fileURLWithPath: path))
      #expect(try DinoModel(contentsOf: path).selfTest().contains { $0.comparison.passed == false })
    }
  }

  @Test(arguments: [ModelWriter.Layout.dino, .plain, .torch, .huggingFace])
  func layoutsHoldTheSameNetwork(layout: ModelWriter.Layout) throws {
    try Self.inFolder { folder in
      let writer = try Self.writer(head: .classifier(classes: 5))
      let path = "\(folder)/m" + (layout == .torch ? ".pth" : layout == .huggingFace ? "" : ".safetensors")
      try writer.write(layout, to: path)
      var options = DinoModel.Options()
      options.heads = 3
      let model = try DinoModel(contentsOf: path, options: options)
      #expect(model.config.numHeads == 3 && model.config.head == writer.config.head)
      for (name, tensor) in try model.checkpoint.weights() { #expect(tensor.floats() == writer.weights[name]?.floats(), "\(name)") }
      #expect(try model.checkpoint.weights().count == writer.weights.count)
      var expected = writer.preprocessing
      expected.cropRounding = .floor  // transformers'
      if layout == .huggingFace { #expect(model.preprocessing == expected) }
    }
  }

  /// transformers takes the number of classes from the labels (two without them), and the element type from `torch_dtype`.
  @Test(arguments: [nil, 5])
  func foldersSayWhatTransformersAsks(classes: Int?) throws {
    try Self.inFolder { folder in
      var writer = try Self.writer(head: classes.map { .classifier(classes: $0) })
      try writer.convert(to: .bf16)
      try writer.write(.huggingFace, to: "\(folder)/m")
      let config = try JSONValue.parse(String(decoding: Data(contentsOf: URL(fileURLWithPath: "\(folder)/m/config.json")), as: UTF8.self))
      #expect(config["id2label"]?.objectValue?.count == classes)
      #expect(config["label2id"]?["LABEL_4"]?.integerValue == classes.map { $0 - 1 })
      #expect(config["torch_dtype"]?.stringValue == "bfloat16")
      #expect(config["architectures"]?.arrayValue == [.string(classes == nil ? "ViTModel" : "ViTForImageClassification")])
      let names = try SafetensorsFile(path: "\(folder)/m/model.safetensors").names
      #expect(names.contains((classes == nil ? "" : "vit.") + "embeddings.cls_token") && names.contains("classifier.weight") == (classes != nil))
    }
  }

  @Test func writesTheSameBytesTwice() throws {
    try Self.inFolder { folder in
      for name in ["a", "b"] { try Self.writer(seed: 5).write(.dino, to: "\(folder)/\(name).safetensors") }
      let a = try Data(contentsOf: URL(fileURLWithPath: "\(folder)/a.safetensors")), b = try Data(contentsOf: URL(fileURLWithPath: "\(folder)/b.safetensors"))
      #expect(a == b)
    }
  }

  @Test func halfPrecisionIsRefusedWhereItOverflows() throws {
    var writer = try Self.writer()
    writer.weights["norm.bias"] = Tensor([Float](repeating: 1e6, count: 24), shape: [24])
    #expect { try writer.convert(to: .f16) } throws: { ($0 as? DinoError)?.description.contains("norm.bias") == true }
    try writer.convert(to: .bf16)
    #expect(writer.weights.values.allSatisfy { $0.dtype == .bf16 })
  }

  @Test func namesWhatDoesNotMatch() throws {
    try Self.inFolder { folder in
      let writer = try Self.writer()
      // One block's tensors under other names: under 95 % match.
      let tensors = writer.weights.map { (name: $0.key.replacingOccurrences(of: "blocks.1.attn", with: "blocks.1.attention"), tensor: $0.value) }
      try SafetensorsWriter.write(tensors, metadata: [:], to: "\(folder)/m.safetensors")
      var options = DinoModel.Options()
      options.heads = 3
      #expect { try DinoModel(contentsOf: "\(folder)/m.safetensors", options: options) } throws: {
        guard let e = $0 as? DinoError else { return false }
        return e.kind == .data && e.message.contains("blocks.1.attn.qkv.weight") && e.message.contains("blocks.1.attention.qkv.weight")
      }
    }
  }

  @Test func featuresDoNotDependOnTheBatch() throws {
    try Self.inFolder { folder in
      try Self.writer().write(.dino, to: "\(folder)/m.safetensors")
      let model = try DinoModel(contentsOf: "\(folder)/m.safetensors")
      let preparer = try model.preparer()
      let images = try (0..<3).map { try preparer.prepare(Self.photograph(width: 50 + $0, height: 40, seed: UInt64($0))) }
      for tokens in TokenChoice.allCases {
        let extractor = try FeatureExtractor(model: model, settings: .init(tokens: tokens, layers: 2, normalized: true))
        let together = try extractor.rows(images)
        for (i, image) in images.enumerated() {
          let alone = try extractor.rows([image])[0]
          #expect(maxAbsoluteDifference(alone, together[i]) < 1e-5)
          #expect(alone.count == extractor.rowShape(patches: 16).reduce(1, *))
          let row = tokens == .patch ? Array(alone[..<48]) : alone
          #expect(abs(row.reduce(0) { $0 + $1 * $1 } - 1) < 1e-4)
        }
      }
      #expect(try model.features(Self.photograph(width: 50, height: 40, seed: 0)) == FeatureExtractor(model: model, settings: .init()).rows([images[0]])[0])
    }
  }

  @Test func layersAndMeansAreWhatTheySay() throws {
    try Self.inFolder { folder in
      try Self.writer().write(.dino, to: "\(folder)/m.safetensors")
      let model = try DinoModel(contentsOf: "\(folder)/m.safetensors")
      let image = try model.preparer().prepare(Self.photograph(width: 64, height: 64))
      let raw = try model.run([DinoModel.inputName: image.tensor], outputs: ["tokens.0", "tokens.1"])
      let first = try #require(raw["tokens.0"]).floats(), last = try #require(raw["tokens.1"]).floats()
      func mean(_ t: [Float]) -> [Float] { (0..<24).map { c in Float((1...16).reduce(0.0) { $0 + Double(t[$1 * 24 + c]) } / 16) } }
      func rows(_ s: FeatureSettings) throws -> [Float] { try FeatureExtractor(model: model, settings: s).rows([image])[0] }
      #expect(maxAbsoluteDifference(try rows(.init(tokens: .cls, layers: 2)), Array(first[..<24]) + Array(last[..<24])) < 1e-6)
      #expect(maxAbsoluteDifference(try rows(.init(tokens: .mean)), mean(last)) < 1e-5)
      #expect(maxAbsoluteDifference(try rows(.init(tokens: .clsAndMean)), Array(last[..<24]) + mean(last)) < 1e-5)
      let patches = try rows(.init(tokens: .patch, layers: 2))
      #expect(patches.count == 16 * 48)
      #expect(maxAbsoluteDifference(Array(patches[48..<96]), Array(first[48..<72]) + Array(last[48..<72])) < 1e-6)
      #expect { try rows(.init(layers: 3)) } throws: { ($0 as? DinoError)?.kind == .usage }
    }
  }

  @Test func changesGoOverTheRecord() throws {
    try Self.inFolder { folder in
      try Self.writer().write(.dino, to: "\(folder)/m.safetensors")
      let model = try DinoModel(contentsOf: "\(folder)/m.safetensors")
      var changes = PreprocessingChanges()
      changes.size = .exact(height: 45, width: 70)
      changes.mean = [0, 0, 0]
      let preparer = try model.preparer(changes)
      #expect(preparer.preprocessing.interpolation == .bilinear && preparer.preprocessing.std == [0.2, 0.3, 0.4])
      let prepared = try preparer.prepare(Self.photograph(width: 30, height: 90))
      #expect(prepared.shape == [1, 3, 40, 64])  // cut to whole patches
      #expect(prepared.geometry.resizedHeight == 45 && prepared.geometry.columns == 8)
      changes.size = .shorterSide(224)
      #expect(try model.preparer(changes).preprocessing.resize == .shorterSide(256))
    }
  }

  @Test func channelOrderSwapsPlanes() throws {
    var record = Preprocessing(resize: nil, interpolation: .bicubic, crop: nil, mean: [0.1, 0.2, 0.3], std: [1, 2, 4])
    let image = Self.photograph(width: 8, height: 8)
    let rgb = try ImagePreparer(record, patch: 8).prepare(image).tensor.floats()
    #expect(abs(rgb[0] - (Float(image.pixels[0]) / 255 - 0.1)) < 1e-6)
    record.channelOrder = .bgr
    let bgr = try ImagePreparer(record, patch: 8).prepare(image).tensor.floats()
    #expect(abs(bgr[0] - (Float(image.pixels[2]) / 255 - 0.1)) < 1e-6)
    #expect(abs(bgr[128] - (Float(image.pixels[0]) / 255 - 0.3) / 4) < 1e-6)
  }

  /// Three pixels too many: torchvision's crop begins at round(1.5), transformers' at 1.
  @Test func cropsBeginWhereTheRecordSays() throws {
    var record = Preprocessing(resize: nil, interpolation: .bicubic, crop: 2, mean: [0, 0, 0], std: [1, 1, 1])
    #expect(try ImagePreparer(record, patch: 1).geometry(height: 5, width: 5).left == 2)
    record.cropRounding = .floor
    #expect(try ImagePreparer(record, patch: 1).geometry(height: 5, width: 5).left == 1)
  }

  @Test func bestHeadPrefersOneObject() throws {
    let object: [Float] = [0, 0, 0, 0, 0, 9, 9, 0, 0, 9, 9, 0, 0, 0, 0, 0]
    let scattered: [Float] = [9, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 9]
    let corner: [Float] = [9, 9, 0, 0, 9, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
    let g = try ImagePreparer(Preprocessing(resize: nil, interpolation: .bicubic, crop: nil, mean: [0, 0, 0], std: [1, 1, 1]), patch: 1).geometry(height: 4, width: 4)
    let maps = AttentionMaps(heads: [scattered, corner, object].map { PatchMap(rows: 4, columns: 4, values: $0) }, geometry: g)
    #expect(maps.bestHead(mass: 0.9) == 2)
    #expect(throws: DinoError.self) { try HeadChoice.head(3).map(of: maps, mass: 0.6) }
  }

  @Test func digestsAreThoseOfTheStandard() {
    #expect(SHA256.hexDigest([]) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
    #expect(SHA256.hexDigest(Array("abc".utf8)) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
    #expect(SHA256.hexDigest(Array("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq".utf8)) == "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1")
  }

  /// One hidden value that is hundreds of times larger than the others, as trained networks have: its layer, and no other, stays float.
  @Test func massiveActivationsAreFoundAndLeftInFloat() throws {
    try Self.inFolder { folder in
      var writer = try Self.writer(seed: 4)
      var bias = writer.weights["blocks.1.mlp.fc1.bias"]!.floats(), weight = writer.weights["blocks.1.mlp.fc2.weight"]!.floats()
      bias[5] = 5000
      for i in weight.indices { weight[i] = i % 96 == 5 ? weight[i] * 1e-4 : weight[i] * 20 }
      writer.weights["blocks.1.mlp.fc1.bias"] = Tensor(bias, shape: [96])
      writer.weights["blocks.1.mlp.fc2.weight"] = Tensor(weight, shape: [24, 96])
      try writer.write(.dino, to: "\(folder)/m.safetensors")
      let model = try DinoModel(contentsOf: "\(folder)/m.safetensors")
      let images = try (0..<3).map { try model.preparer().prepare(Self.photograph(width: 40, height: 44, seed: $0)).tensor }
      for quantization in [OnnxExportSettings.Quantization.dynamic([]), .calibrated(images)] {
        var settings = OnnxExportSettings()
        settings.quantization = quantization
        settings.verification = .byForm
        let choice = try #require(try model.exportOnnx(to: "\(folder)/m.onnx", settings: settings).precision)
        #expect(choice.floatLayers.first == "blocks.1.mlp.fc2", "\(choice)")
        #expect(choice.cosine >= OnnxExportSettings.defaultCosine && choice.cosineOfAll < choice.cosine, "\(choice)")
      }
      var settings = OnnxExportSettings()
      settings.quantization = .weights
      #expect(try model.exportOnnx(to: "\(folder)/m.onnx", settings: settings).precision == nil)
    }
  }

  /// Only what writes is shielded from a stop; building and checking are not.
  @Test func anExportShieldsItsWritesAlone() throws {
    try Self.inFolder { folder in
      try Self.writer(seed: 4).write(.dino, to: "\(folder)/m.safetensors")
      let model = try DinoModel(contentsOf: "\(folder)/m.safetensors"), path = "\(folder)/m.onnx"
      var settings = OnnxExportSettings()
      settings.verification = .byForm
      var isInPlace: [Bool] = [], temporary: [String] = []
      let shield: (() throws -> Void) throws -> Void = { write in
        try write()
        isInPlace.append(FileManager.default.fileExists(atPath: path))
      }
      _ = try model.exportOnnx(to: path, settings: settings, shield: shield, temporary: { temporary.append($0) })
      #expect(isInPlace == [false, true])
      #expect(temporary.count == 1 && temporary.allSatisfy { $0.hasPrefix(path) && !FileManager.default.fileExists(atPath: $0) })
    }
  }
}
