// Configurations from names and shapes, the registry, and the order in which the number of heads is found.

import CheckpointNames
import DinoGraph
import DinoModels
import DinoTensor
import Testing

private func shapes(_ config: ViTConfig) -> [String: [Int]] {
  Dictionary(uniqueKeysWithValues: config.tensors.map { ($0.name, $0.shape.dims) })
}

@Suite struct InferenceTests {
  @Test func recoversConfigurations() throws {
    let heads: [ViTConfig.Head?] = [
      nil, .classifier(classes: 10), .projection(.init(layers: 3, hiddenDim: 20, bottleneckDim: 8, outDim: 30)),
      .projection(.init(layers: 4, hiddenDim: 20, bottleneckDim: 8, outDim: 30, batchNorm: true)),
      .projection(.init(layers: 1, hiddenDim: 8, bottleneckDim: 8, outDim: 30)), .probe(.init(classes: 9, tokens: .clsAndMean)), .probe(.init(classes: 9, tokens: .clsAndLastMean, layers: 4)),
    ]
    for head in heads {
      for bias in [true, false] {
        for scale in [true, false] {
          for registers in [0, 4] {
            let config = ViTConfig(patchSize: 14, inChannels: 4, embedDim: 12, depth: 5, numHeads: 3, mlpRatio: 3, qkvBias: bias, registerTokens: registers, layerScale: scale,
                                   nativeRows: 6, nativeColumns: 6, positionResize: registers > 0 ? .antialiased : .officialOffset, head: head)
            #expect(try ViTInference(shapes: shapes(config)).config(heads: 3) == config)
          }
        }
      }
    }
  }

  /// What a shape does not say of a classifier is not guessed.
  @Test func otherProbesAreNoHead() throws {
    let config = ViTConfig(patchSize: 14, embedDim: 12, depth: 3, numHeads: 3, nativeRows: 6, nativeColumns: 6)
    for width in [0, 11, 12, 36, 60, Int.max] {
      var all = shapes(config)
      all["probe.weight"] = [9, width]
      if width == 0 { #expect(throws: ModelError.self) { try ViTInference(shapes: all) } } else { #expect(try ViTInference(shapes: all).config(heads: 3) == config) }
    }
  }

  /// Without pos_embed: where periods are there, or the names say that there need be none.
  @Test func recoversRotaryConfigurations() throws {
    var config = ViTConfig(patchSize: 14, inChannels: 4, embedDim: 24, depth: 5, numHeads: 3, mlpRatio: 3, registerTokens: 4, layerScale: true, normEpsilon: 1e-5, nativeRows: 1, nativeColumns: 1)
    config = config.rotary(base: 100)
    var all = shapes(config)
    #expect(all["rope_embed.periods"] == [2] && all["pos_embed"] == nil && config.nativeRows == 16)
    #expect(try ViTInference(shapes: all).config(heads: 3) == config)
    all["rope_embed.periods"] = nil
    #expect(try ViTInference(shapes: all, isRotary: true).config(heads: 3) == config)
    #expect(try ViTInference(shapes: all, isRotary: true).config(heads: 3, normEpsilon: 1e-3, rotaryBase: 7).rotaryBase == 7)
    #expect(throws: ModelError.self) { try ViTInference(shapes: all) }
    // 24 columns are 12 heads of 2, which have no quarters.
    #expect(throws: ModelError.self) { try ViTInference(shapes: all, isRotary: true).config(heads: 12) }
    all["register_tokens"] = nil
    #expect(throws: ModelError.self) { try ViTInference(shapes: all, isRotary: true) }
    all["pos_embed"] = [1, 10, 24]
    #expect(try ViTInference(shapes: all, isRotary: true).config(heads: 3).rotaryBase == nil)
  }

  @Test func keepsTheFeedForwardWidthWhateverItsRatio() throws {
    for hidden in [1, 7, 100, 2048, 3071, 3072] {
      var all = shapes(smallConfig())
      all["patch_embed.proj.weight"] = [768, 3, 16, 16]
      all["pos_embed"] = [1, 197, 768]
      all["blocks.0.mlp.fc1.weight"] = [hidden, 768]
      #expect(try ViTInference(shapes: all).config(heads: 12).mlpHiddenDim == hidden)
    }
  }

  @Test func gridsThatAreNotSquareNeedARecord() throws {
    var config = smallConfig()
    config.nativeRows = 2
    config.nativeColumns = 5
    let inference = try ViTInference(shapes: shapes(config))
    #expect(throws: ModelError.self) { try inference.config(heads: 2) }
    #expect(try inference.config(heads: 2, grid: (2, 5)) == config)
    #expect(throws: ModelError.self) { try inference.config(heads: 2, grid: (3, 5)) }
    #expect(throws: ModelError.self) { try inference.config(heads: 2, grid: (.max, .max)) }
    #expect(throws: ModelError.self) { try inference.config(heads: 2, grid: (-2, -5)) }
  }

  @Test func refusesWhatIsNoVisionTransformer() {
    let good = shapes(smallConfig())
    let edits: [(String, [Int]?)] = [
      ("patch_embed.proj.weight", nil), ("patch_embed.proj.weight", [6, 3, 4]), ("patch_embed.proj.weight", [6, 3, 4, 5]),
      ("patch_embed.proj.weight", [0, 3, 4, 4]), ("pos_embed", nil), ("pos_embed", [1, 1, 6]), ("pos_embed", [1, 10, 7]), ("pos_embed", [1, .max, 6]),
      ("blocks.0.norm1.weight", nil), ("blocks.0.mlp.fc1.weight", nil), ("blocks.0.mlp.fc1.weight", [-4, 6]),
    ]
    for (name, shape) in edits {
      var all = good
      all[name] = shape
      #expect("\(name)") { try ViTInference(shapes: all) } throws: { error in
        if case .notAVisionTransformer? = error as? ModelError { "\(error)".contains("'\(name)'") || shape?.last == 5 } else { false }
      }
    }
  }

  @Test func hugeExtentsAreErrors() throws {
    var all = shapes(smallConfig())
    all["patch_embed.proj.weight"] = [.max, .max, .max, .max]
    all["pos_embed"] = [1, 10, .max]
    #expect(throws: ModelError.self) { try ViTInference(shapes: all).config(heads: 1) }
  }

  @Test func headsAreFoundInOrder() throws {
    typealias Source = HeadCountSource
    func found(_ width: Int, _ depth: Int = 12, option: Int? = nil, record: Int? = nil, file: Int? = nil, trained: Int? = nil, arch: String? = nil, periods: Int? = nil) throws -> (Int, Source) {
      let r = try HeadCount.resolve(width: width, depth: depth, option: option, record: record, configFile: file, argumentsHeads: trained, argumentsArchitecture: arch, periods: periods)
      return (r.heads, r.source)
    }
    #expect(try found(384, option: 3, record: 4, file: 8, arch: "vit_small") == (3, .option))
    #expect(try found(384, record: 4, file: 8, arch: "vit_small") == (4, .record))
    #expect(try found(384, file: 8, arch: "vit_small") == (8, .configFile))
    #expect(try found(384, 7, arch: "deit_small") == (6, .arguments))
    #expect(try found(384, trained: 4, arch: "vit_small") == (4, .arguments))
    #expect(try found(384, file: 8, trained: 4) == (8, .configFile))
    for wrong in [0, -3, 5, 768, Int.max, Int.min] { #expect(try found(384, trained: wrong) == (6, .registry)) }
    #expect(try found(384, arch: "vit_base") == (6, .registry))
    #expect(try found(384, trained: 4, periods: 8) == (4, .arguments))
    #expect(try found(384, periods: 8) == (12, .periods) && found(60, 3, periods: 3) == (5, .periods))
    for wrong in [0, -3, 5, 97, Int.max, Int.min] { #expect(try found(384, periods: wrong) == (6, .registry)) }
    #expect(try found(192) == (3, .registry))
    #expect(try found(1024, 24) == (16, .registry) && found(1024, 23) == (16, .width))
    #expect(try found(1536, 40) == (24, .registry) && found(1536, 39) == (24, .width) && found(4096, 40) == (32, .registry))
    // ViT-H, ViT-g and ViT-G have 16 heads, which their width does not say.
    for width in [1280, 1408, 1664] {
      #expect(throws: ModelError.unknownHeads(width: width, depth: 32)) { try found(width, 32) }
      #expect(try found(width, 32, file: 16) == (16, .configFile))
    }
    #expect(throws: ModelError.unknownHeads(width: 60, depth: 3)) { try found(60, 3, arch: "vit_micro") }
    #expect("\(ModelError.unknownHeads(width: 60, depth: 3))".contains("--heads"))
    #expect(throws: ModelError.self) { try found(60, option: 7) }
    #expect(throws: ModelError.self) { try found(60, record: 0) }
    #expect(throws: ModelError.self) { try found(60, file: -3) }
  }

  @Test func registryNames() throws {
    let s8 = try Registry.configuration("dino_vits8")
    #expect(s8.patchSize == 8 && s8.embedDim == 384 && s8.nativeRows == 28)
    #expect(try Registry.configuration("deit_tiny").numHeads == 3)
    #expect(try Registry.configuration("vit_base", patchSize: 5).nativeRows == 44)
    let registers = try Registry.configuration("dinov2_vitl14_reg"), other = try Registry.configuration("dinov2_vits14_reg", patchSize: 7, imageSize: 28)
    #expect(registers.patchSize == 14 && registers.embedDim == 1024 && registers.depth == 24 && registers.numHeads == 16 && registers.nativeRows == 37)
    #expect(registers.registerTokens == 4 && registers.layerScale && registers.positionResize == .antialiased && registers.parameterCount == 304_371_712)
    #expect(other.nativeRows == 4 && other.registerTokens == 4)
    #expect(try Registry.configuration("dinov2_vits14").registerTokens == 0 && Registry.configuration("dinov2_vits14").positionResize == .officialOffset)
    let rotary = try Registry.configuration("dinov3_vits16")
    #expect(rotary.rotaryBase == 100 && rotary.registerTokens == 4 && rotary.normEpsilon == 1e-5 && rotary.nativeRows == 14 && rotary.parameterCount == 21_600_784)
    // As published, DINOv2's less the mask token.
    for (name, count) in [("dinov2_vitg14", 1_136_480_768 - 1536), ("dinov2_vitg14_reg", 1_136_486_912 - 1536), ("dinov3_vits16plus", 28_697_104), ("dinov3_vith16plus", 840_632_336), ("dinov3_vit7b16", 6_716_031_008)] {
      #expect(try Registry.configuration(name).parameterCount == count, "\(name)")
    }
    #expect(throws: ModelError.self) { try Registry.configuration("vit_huge") }
    #expect(throws: ModelError.self) { try Registry.configuration("vit_small", patchSize: 225) }
    #expect(throws: ModelError.self) { try Registry.configuration("vit_small", patchSize: 0) }
    for model in Registry.published { #expect(throws: Never.self) { try Registry.configuration(model.name) } }
  }

  /// Width 60 in the file, as published: three heads must be told.
  @Test func aTorchStyleNameListResolvesEndToEnd() throws {
    let config = ViTConfig(patchSize: 8, embedDim: 60, depth: 3, numHeads: 3, nativeRows: 8, nativeColumns: 8)
    let file = Dictionary(uniqueKeysWithValues: shapes(config).map { ("teacher.backbone." + $0.key, $0.value) })
    let mapping = try CheckpointNames.map(shapes: file)
    let inferred = try ViTInference(shapes: mapping.shapes).config(heads: 3)
    #expect(inferred == config)
    let resolution = try CheckpointNames.resolve(mapping, expected: inferred.tensors.map { ($0.name, $0.shape.dims) })
    #expect(resolution.missing.isEmpty && resolution.unmatched.isEmpty && resolution.matchedCount == config.tensors.count)
  }
}
