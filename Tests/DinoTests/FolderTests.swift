// Folders of transformers and timm: what their files say, and take for granted, about preprocessing and heads; and what plain files cannot say.

import CheckpointNames
import Dino
import DinoGraph
import DinoModels
import DinoTensor
import Foundation
import Safetensors
import Testing

@Suite struct FolderTests {
  /// A small random network in folder/name.
  static func write(_ layout: ModelWriter.Layout, to path: String, width: Int = 24, heads: Int = 3) throws {
    let config = ViTConfig(patchSize: 8, embedDim: width, depth: 1, numHeads: heads, nativeRows: 2, nativeColumns: 2)
    let weights = Dictionary(uniqueKeysWithValues: try WeightInitializer.tensors(config: config, seed: 1).map { ($0.name, $0.tensor) })
    try ModelWriter(config: config, weights: weights, preprocessing: .imageNet, provenance: Provenance(tool: "test", randomWeights: true)).write(layout, to: path)
  }

  static func put(_ text: String, _ path: String) throws { try Data(text.utf8).write(to: URL(fileURLWithPath: path)) }

  static func text(_ path: String) throws -> String { String(decoding: try Data(contentsOf: URL(fileURLWithPath: path)), as: UTF8.self) }

  @Test func whatProcessorsTakeForGrantedIsKnown() throws {
    let halves = [0.5, 0.5, 0.5], clipMean = [0.48145466, 0.4578275, 0.40821073], clipDeviation = [0.26862954, 0.26130258, 0.27577711]
    let vit = Preprocessing(resize: .exact(height: 224, width: 224), interpolation: .bilinear, crop: nil, mean: halves, std: halves, cropRounding: .floor)
    let bit = Preprocessing(resize: .shorterSide(224), interpolation: .bicubic, crop: 224, mean: clipMean, std: clipDeviation, cropRounding: .floor)
    var small = vit
    small.resize = .exact(height: 48, width: 48)
    var fixed = bit
    fixed.resize = .shorterSide(40)
    fixed.crop = 32
    fixed.mean = [0.2, 0.4, 0.6]
    fixed.std = [0.2, 0.2, 0.2]
    var factor = vit
    factor.mean = halves.map { $0 / 1.9921875 }  // 255/128
    factor.std = factor.mean
    var plain = bit
    plain.resize = nil
    plain.crop = nil
    plain.mean = [0, 0, 0]
    plain.std = [1, 1, 1]
    let cases: [(json: String, expected: Preprocessing)] = [
      ("{}", vit),
      (#"{"feature_extractor_type":"ViTFeatureExtractor","size":48}"#, small),
      (#"{"image_processor_type":"ViTImageProcessor","rescale_factor":0.0078125}"#, factor),
      (#"{"image_processor_type":"BitImageProcessor","rescale_factor":0.00392156862745098}"#, bit),
      (#"{"image_processor_type":"BitImageProcessorFast","size":40,"crop_size":{"height":32,"width":32},"do_rescale":false,"image_mean":[51,102,153],"image_std":[51,51,51]}"#, fixed),
      (#"{"image_processor_type":"BitImageProcessor","do_resize":false,"do_center_crop":false,"do_normalize":false}"#, plain),
    ]
    try ModelTests.inFolder { folder in
      try Self.write(.huggingFace, to: "\(folder)/m")
      for (json, expected) in cases {
        try Self.put(json, "\(folder)/m/preprocessor_config.json")
        #expect(try Checkpoint(path: "\(folder)/m").preprocessing == expected, "\(json)")
      }
    }
  }

  @Test(arguments: [#""crop_size":{"height":32,"width":24}"#, #""image_processor_type":"ConvNextImageProcessor""#, #""resample":5"#, #""image_mean":[0.5]"#, #""do_pad":true"#,
                    #""rescale_factor":0"#])
  func whatIsNotUnderstoodIsSaid(member: String) throws {
    try ModelTests.inFolder { folder in
      try Self.write(.huggingFace, to: "\(folder)/m")
      let type = member.contains("processor_type") ? "" : #""image_processor_type":"BitImageProcessor","#
      try Self.put("{\(type)\(member)}", "\(folder)/m/preprocessor_config.json")
      let checkpoint = try Checkpoint(path: "\(folder)/m")
      #expect(checkpoint.preprocessing == nil)
      #expect(checkpoint.notes.contains { $0.contains("preprocessor_config.json is not followed") }, "\(checkpoint.notes)")
    }
  }

  @Test func timmsPreprocessingIsRead() throws {
    try ModelTests.inFolder { folder in
      try FileManager.default.createDirectory(atPath: "\(folder)/m", withIntermediateDirectories: true)
      try Self.write(.plain, to: "\(folder)/m/model.safetensors")
      func checkpoint(_ members: String) throws -> Checkpoint {
        try Self.put(#"{"architecture":"vit_tiny_patch8_32","pretrained_cfg":{\#(members)}}"#, "\(folder)/m/config.json")
        return try Checkpoint(path: "\(folder)/m")
      }
      let stated = #""input_size":[3,32,32],"mean":[0.5,0.4,0.3],"std":[0.2,0.3,0.4],"#
      let found = try checkpoint(stated + #""crop_pct":0.9,"crop_mode":"center","interpolation":"bilinear""#).preprocessing
      #expect(found == Preprocessing(resize: .shorterSide(35), interpolation: .bilinear, crop: 32, mean: [0.5, 0.4, 0.3], std: [0.2, 0.3, 0.4]))
      #expect(try checkpoint("").preprocessing == .imageNet)
      let squashed = try checkpoint(stated + #""crop_mode":"squash""#)
      #expect(squashed.preprocessing == nil && squashed.notes.contains { $0.contains("'squash'") })
    }
  }

  @Test func headsOfLargeModelsComeFromTheName() throws {
    try ModelTests.inFolder { folder in
      try FileManager.default.createDirectory(atPath: "\(folder)/m", withIntermediateDirectories: true)
      try Self.write(.plain, to: "\(folder)/m/model.safetensors", width: 64, heads: 16)
      try Self.put(#"{"architecture":"vit_huge_patch8_16.tag"}"#, "\(folder)/m/config.json")
      let named = try Checkpoint(path: "\(folder)/m")
      #expect(named.config.numHeads == 16 && named.headSource == .configFile && named.notes.isEmpty)
      let file = try Checkpoint(path: "\(folder)/m/model.safetensors")
      #expect(file.config == named.config && file.headSource == .configFile && file.preprocessing == named.preprocessing)
      // Without the name, 64 columns a head are a guess, and called one.
      try FileManager.default.copyItem(atPath: "\(folder)/m/model.safetensors", toPath: "\(folder)/m/other.safetensors")
      let guessed = try Checkpoint(path: "\(folder)/m/other.safetensors")
      #expect(guessed.config.numHeads == 1 && guessed.headSource == .width)
      #expect(guessed.notes.contains { $0.contains("--heads") })
    }
  }

  @Test func headsOfTransformersAreTwelveUnlessStated() throws {
    try ModelTests.inFolder { folder in
      try Self.write(.huggingFace, to: "\(folder)/m")
      let honest = try Self.text("\(folder)/m/config.json")
      func checkpoint(_ member: String) throws -> Checkpoint {
        try Self.put(honest.replacingOccurrences(of: #""num_attention_heads":3,"#, with: member), "\(folder)/m/config.json")
        return try Checkpoint(path: "\(folder)/m")
      }
      #expect(try checkpoint("").config.numHeads == 12)
      for wrong in [#""num_attention_heads":"3","#, #""num_attention_heads":5,"#] {
        #expect { try checkpoint(wrong) } throws: { ($0 as? DinoError)?.kind == .data && "\($0)".contains("num_attention_heads") }
      }
    }
  }

  /// What older transformers wrote: the same folder, and the same file named itself.
  @Test func aFolderOfPyTorchWeightsIsRead() throws {
    try ModelTests.inFolder { folder in
      try Self.write(.huggingFace, to: "\(folder)/m", width: 64, heads: 4)
      let expected = try Checkpoint(path: "\(folder)/m")
      try FileManager.default.removeItem(atPath: "\(folder)/m/model.safetensors")
      #expect { try Checkpoint(path: "\(folder)/m") } throws: { ($0 as? DinoError)?.kind == .notFound && "\($0)".contains("pytorch_model.bin") }
      try Self.write(.torch, to: "\(folder)/m/pytorch_model.bin", width: 64, heads: 4)
      let whole = try Checkpoint(path: "\(folder)/m"), file = try Checkpoint(path: "\(folder)/m/pytorch_model.bin")
      for found in [whole, file] {
        #expect(found.config == expected.config && found.headSource == .configFile && found.preprocessing == expected.preprocessing)
        #expect(try found.weights()["cls_token"]?.floats() == expected.weights()["cls_token"]?.floats())
        #expect(found.fileBytes > 64 * 64 * 4)
      }
      #expect(whole.format == .huggingFace && file.notes.contains { $0.contains("config.json beside it") })
      #expect(try whole.sourceDigest()?.file == "pytorch_model.bin")
    }
  }

  @Test func theFileOfAFolderIsTheSameModel() throws {
    try ModelTests.inFolder { folder in
      try Self.write(.huggingFace, to: "\(folder)/m")
      let whole = try Checkpoint(path: "\(folder)/m"), file = try Checkpoint(path: "\(folder)/m/model.safetensors")
      #expect(file.config == whole.config && file.headSource == .configFile && file.preprocessing == whole.preprocessing)
      try FileManager.default.copyItem(atPath: "\(folder)/m/model.safetensors", toPath: "\(folder)/m/other.safetensors")
      // 24 columns tell no number of heads.
      #expect { try Checkpoint(path: "\(folder)/m/other.safetensors") } throws: { "\($0)".contains("--heads") }
    }
  }

  @Test func adaptersUnderTransformersNamesAreRefused() throws {
    try ModelTests.inFolder { folder in
      try Self.write(.huggingFace, to: "\(folder)/m")
      let path = "\(folder)/m/model.safetensors", file = try SafetensorsFile(path: path)
      let name = "encoder.layer.0.attention.attention.query.lora_A.weight"
      let tensors = file.names.map { (name: $0, tensor: file.tensor($0)!) } + [(name: name, tensor: Tensor([Float](repeating: 1, count: 48), shape: [2, 24]))]
      try SafetensorsWriter.write(tensors, metadata: file.metadata, to: path)
      let checkpoint = try Checkpoint(path: "\(folder)/m")
      #expect { try checkpoint.weights() } throws: { ($0 as? DinoError)?.kind == .unavailable && "\($0)".contains(name) }
    }
  }

  @Test func whatAPlainFileCannotSayIsNamed() throws {
    var usual = try ModelTests.writer()
    usual.preprocessing = .imageNet
    for layout in [ModelWriter.Layout.plain, .torch] {
      let lost = usual.losses(layout)
      #expect(lost.count == 1 && lost[0].contains("--heads 3"), "\(lost)")
    }
    #expect(usual.losses(.dino).isEmpty)
    var other = usual
    other.config = ViTConfig(patchSize: 8, embedDim: 192, depth: 12, numHeads: 3, normEpsilon: 1e-12, activation: .relu, nativeRows: 2, nativeColumns: 4, positionResize: .sized)
    let lost = other.losses(.plain)
    #expect(lost.count == 4, "\(lost)")
    for word in ["epsilon", "relu", "2x4", "resized"] { #expect(lost.contains { $0.contains(word) }, "\(word)") }
    // How images become the input, in the words that bring it back.
    var small = usual
    (small.preprocessing.resize, small.preprocessing.crop) = (.shorterSide(55), 48)
    let json = try small.preprocessing.json()
    for layout in [ModelWriter.Layout.plain, .torch] {
      let said = small.losses(layout).filter { $0.contains("--preprocessing") }
      #expect(said.count == 1 && said[0].contains(json), "\(said)")
    }
    #expect(small.losses(.dino).isEmpty && !small.losses(.huggingFace).contains { $0.contains("--preprocessing") })
    // transformers crops one pixel beside torchvision where half a pixel is left.
    #expect(usual.losses(.huggingFace).contains { $0.contains("centre crop") })
    var floored = usual
    floored.preprocessing.cropRounding = .floor
    #expect(floored.losses(.huggingFace).count == 1 && floored.losses(.huggingFace)[0].contains("resizes positions"))
    floored.config.positionResize = .sized
    #expect(floored.losses(.huggingFace).isEmpty)
  }

  /// Without registers DINOv2 has the same names in the original's files and in timm's, which resize positions otherwise; only the original's have the token of training.
  @Test func theMaskTokenTellsTheOriginalFromTimm() throws {
    try ModelTests.inFolder { folder in
      let config = ViTConfig(patchSize: 8, embedDim: 24, depth: 2, numHeads: 3, layerScale: true, nativeRows: 4, nativeColumns: 4)
      let tensors = try WeightInitializer.tensors(config: config, seed: 3)
      let weights = Dictionary(uniqueKeysWithValues: tensors.map { ($0.name, $0.tensor) })
      let writer = ModelWriter(config: config, weights: weights, preprocessing: .imageNet, provenance: Provenance(tool: "test")), choices = CheckpointChoices(heads: 3)
      try writer.write(.torch, to: "\(folder)/m.pth")
      let original = try Checkpoint(path: "\(folder)/m.pth", choices: choices)
      #expect(original.config == config && original.resolution.unmatched.isEmpty)
      #expect(original.storedTensors.contains { $0.name == "mask_token" && $0.shape == [1, 24] })
      #expect(!writer.losses(.torch).contains { $0.contains("positions") })
      try writer.write(.plain, to: "\(folder)/m.safetensors")
      let timm = try Checkpoint(path: "\(folder)/m.safetensors", choices: choices)
      #expect(timm.config.positionResize == .antialiased && !timm.storedTensors.contains { $0.name == "mask_token" })
      #expect(writer.losses(.plain).contains { $0.contains("as timm does") })
      // A checkpoint of a training is never timm's.
      try SafetensorsWriter.write(tensors.map { (name: "teacher.backbone.\($0.name)", tensor: $0.tensor) }, metadata: [:], to: "\(folder)/t.safetensors")
      #expect(try Checkpoint(path: "\(folder)/t.safetensors", choices: choices).config == config)
    }
  }
}
