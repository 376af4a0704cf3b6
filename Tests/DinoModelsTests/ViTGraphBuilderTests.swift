// The canonical graph: printed, with shapes; its outputs; what is computed for each; fused node counts; weights that do not fit.

import DinoGraph
import DinoModels
import DinoTensor
import Testing

/// Patch 4, width 6, two heads; what is not given is small.
func smallConfig(depth: Int = 1, layerScale: Bool = false, qkvBias: Bool = true, head: ViTConfig.Head? = nil) -> ViTConfig {
  ViTConfig(patchSize: 4, embedDim: 6, depth: depth, numHeads: 2, mlpRatio: 2, qkvBias: qkvBias, layerScale: layerScale, nativeRows: 3,
            nativeColumns: 3, head: head)
}

func weights(_ config: ViTConfig, seed: UInt64 = 0) throws -> [String: Tensor] {
  Dictionary(uniqueKeysWithValues: try WeightInitializer.tensors(config: config, seed: seed).map { ($0.name, $0.tensor) })
}

private let smallHead = ViTConfig.ProjectionHead(layers: 3, hiddenDim: 5, bottleneckDim: 4, outDim: 7)

private func text(_ config: ViTConfig, outputs: [String]) throws -> String {
  let graph = try ViTGraphBuilder.build(config: config, weights: weights(config), outputs: outputs)
  try graph.verify()
  let shapes = try graph.inferShapes(inputs: ["pixel_values": [2, 3, 8, 17]])
  return graph.text(shapes: shapes, constants: false)
}

@Suite struct ViTGraphBuilderTests {
  @Test func printedGraph() throws {
    #expect(try text(smallConfig(), outputs: ["cls", "attention_cls"]) == """
      input   %0 pixel_values F32 [B, 3, H, W]
      node    %3 = patchEmbedding{patch=4}(%0, %1, %2) // patch_embed [2, 8, 6]
      node    %5 = prependTokens(%4, %3) // cls_token [2, 9, 6]
      node    %7 = positionEmbedding{patch=4 special=1 native=3x3 resize=bicubic,a=-0.75,offset=0.1}(%6, %0) // pos_embed [1, 9, 6]
      node    %8 = add(%5, %7) // embedding [2, 9, 6]
      node    %11 = layerNorm{epsilon=1e-06}(%8, %9, %10) // blocks.0.norm1 [2, 9, 6]
      node    %14 = linear{bias}(%11, %12, %13) // blocks.0.attn.qkv [2, 9, 18]
      node    %15 = attention{heads=2 scale=0.5773502691896258}(%14) // blocks.0.attn [2, 9, 6]
      node    %17 = attentionWeights{heads=2 scale=0.5773502691896258 firstRowOnly}(%14) // blocks.0.attn.weights_cls [2, 2, 9]
      node    %20 = linear{bias}(%15, %18, %19) // blocks.0.attn.proj [2, 9, 6]
      node    %21 = add(%20, %8) // blocks.0.attn.residual [2, 9, 6]
      node    %24 = layerNorm{epsilon=1e-06}(%21, %22, %23) // blocks.0.norm2 [2, 9, 6]
      node    %27 = linear{bias}(%24, %25, %26) // blocks.0.mlp.fc1 [2, 9, 12]
      node    %28 = activation{gelu}(%27) // blocks.0.mlp.act [2, 9, 12]
      node    %31 = linear{bias}(%28, %29, %30) // blocks.0.mlp.fc2 [2, 9, 6]
      node    %32 = add(%31, %21) // blocks.0.mlp.residual [2, 9, 6]
      node    %36 = selectToken{index=0}(%32) // cls [2, 6]
      node    %37 = layerNorm{epsilon=1e-06}(%36, %33, %34) // norm [2, 6]
      output  cls = %37
      output  attention_cls = %17

      """.replacing("scale=0.5773502691896258", with: "scale=\(1 / Double(3).squareRoot())"))
  }

  /// Registers stand behind the class token, and have no positions.
  @Test func printedRegisters() throws {
    var config = smallConfig()
    config.registerTokens = 2
    let lines = try text(config, outputs: ["tokens"]).split(separator: "\n")
    #expect(lines[2..<8].joined(separator: "\n") == """
      node    %5 = positionEmbedding{patch=4 special=1 native=3x3 resize=bicubic,a=-0.75,offset=0.1}(%4, %0) // pos_embed [1, 9, 6]
      node    %7 = sliceTokens{start=0 count=1}(%5) // pos_embed.cls [1, 1, 6]
      node    %8 = add(%6, %7) // cls_token [1, 1, 6]
      node    %10 = prependTokens(%8, %9) // register_tokens [1, 3, 6]
      node    %11 = sliceTokens{start=1}(%5) // pos_embed.patches [1, 8, 6]
      node    %12 = add(%3, %11) // patch_embed.placed [2, 8, 6]
      """)
    #expect(lines[8].contains("prependTokens(%10, %12)") && lines[8].contains("[2, 11, 6]"))
    #expect(config.specialTokens == 3 && config.tensors.first { $0.name == "register_tokens" }?.shape == [1, 2, 6])
    config.registerTokens = 65
    #expect(throws: ModelError.self) { try config.validate() }
  }

  @Test func printedHead() throws {
    let lines = try text(smallConfig(head: .projection(smallHead)), outputs: ["head"]).split(separator: "\n").suffix(10)
    #expect(lines.joined(separator: "\n") == """
      node    %37 = layerNorm{epsilon=1e-06}(%36, %33, %34) // norm [2, 6]
      node    %40 = linear{bias}(%37, %38, %39) // head.mlp.0 [2, 5]
      node    %41 = activation{gelu}(%40) // head.mlp.0.act [2, 5]
      node    %44 = linear{bias}(%41, %42, %43) // head.mlp.2 [2, 5]
      node    %45 = activation{gelu}(%44) // head.mlp.2.act [2, 5]
      node    %48 = linear{bias}(%45, %46, %47) // head.mlp.4 [2, 4]
      node    %49 = l2Normalize{epsilon=1e-12}(%48) // head.normalize [2, 4]
      node    %52 = weightNorm(%50, %51) // head.last_layer.weight [7, 4]
      node    %53 = linear(%49, %52) // head.last_layer [2, 7]
      output  head = %53
      """)
  }

  @Test func everyNamedOutputIsThereWithItsShape() throws {
    let config = smallConfig(depth: 2, head: .classifier(classes: 11))
    let graph = try ViTGraphBuilder.build(config: config, weights: weights(config))
    try graph.verify()
    #expect(Set(graph.outputs.map(\.name)) == Set(ViTGraphBuilder.outputNames(of: config)))
    let shapes = try graph.inferShapes(inputs: ["pixel_values": [2, 3, 12, 21]])
    let found = Dictionary(uniqueKeysWithValues: graph.outputs.map { ($0.name, shapes[$0.value]!) })
    let t = 1 + 3 * 5
    #expect(found["cls"] == [2, 6])
    #expect(found["logits"] == [2, 11])
    for suffix in ["", ".0", ".1"] {
      #expect(found["tokens\(suffix)"] == [2, t, 6])
      #expect(found["attention\(suffix)"] == [2, 2, t, t])
      #expect(found["attention_cls\(suffix)"] == [2, 2, t])
      #expect(found["keys\(suffix)"] == [2, t, 6])
    }
    #expect(graph.outputs.first { $0.name == "tokens" }?.value == graph.outputs.first { $0.name == "tokens.1" }?.value)
  }

  /// A probe's weight is taken apart: each part reads its tokens, and the bias is added once.
  @Test(arguments: ViTConfig.Probe.Tokens.allCases, [1, 2]) func probesReadTheirTokens(tokens: ViTConfig.Probe.Tokens, layers: Int) throws {
    let probe = ViTConfig.Probe(classes: 5, tokens: tokens, layers: layers), config = smallConfig(depth: 3, head: .probe(probe)), parts = probe.parts(depth: 3)
    #expect(parts.count == ["cls": layers, "mean": layers, "cls+mean": 2 * layers, "cls+last-mean": layers + 1][tokens.rawValue])
    #expect(parts.map(\.block) == parts.map(\.block).sorted() && parts.last?.block == 2 && parts.last?.isMean == (tokens != .cls))
    let graph = try ViTGraphBuilder.build(config: config, weights: weights(config))
    try graph.verify()
    #expect(Set(graph.outputs.map(\.name)) == Set(ViTGraphBuilder.outputNames(of: config)))
    let only = try graph.pruned(outputs: ["logits"]), shapes = try only.inferShapes(inputs: ["pixel_values": [2, 3, 12, 21]])
    #expect(shapes[only.outputs[0].value] == [2, 5])
    let linears = only.nodes.filter { $0.name.hasPrefix("probe.") && $0.op.name == "linear" }
    #expect(linears.count == parts.count && linears.map(\.inputs.count) == [3] + [Int](repeating: 2, count: parts.count - 1))
    for (i, node) in linears.enumerated() {
      let columns = try #require(only.constants[node.inputs[1]]).tensor.floats(), all = try #require(weights(config)["probe.weight"]).floats()
      var expected: [Float] = []
      for row in 0..<5 {
        let start = 6 * (row * parts.count + i)
        expected += all[start..<start + 6]
      }
      #expect(columns == expected)
    }
  }

  /// The same angles for all blocks, on queries and keys; the keys that are an output come before them.
  @Test func rotaryPositionsTurnEachBlocksQueriesAndKeys() throws {
    var config = smallConfig(depth: 2)
    (config.embedDim, config.registerTokens) = (24, 2)
    config = config.rotary(base: 100)
    let graph = try ViTGraphBuilder.build(config: config, weights: weights(config))
    try graph.verify()
    let shapes = try graph.inferShapes(inputs: ["pixel_values": [2, 3, 12, 21]])
    let found = Dictionary(uniqueKeysWithValues: graph.outputs.map { ($0.name, shapes[$0.value]!) })
    #expect(found["tokens"] == [2, 18, 24] && found["attention"] == [2, 2, 18, 18] && found["keys"] == [2, 18, 24])
    let turns = graph.nodes.filter { $0.op == .core(.rotary(columns: 48)) }
    #expect(turns.count == 2 && Set(turns.map { Array($0.inputs.dropFirst()) }).count == 1)
    for node in graph.nodes where node.op.name.hasPrefix("attention") { #expect(turns.contains { $0.output == node.inputs[0] }) }
    #expect(graph.nodes.first { $0.name == "rope_embed.sin" }?.op == .core(.rotaryAngles(patch: 4, special: 3, sine: true)))
    let keys = try graph.pruned(outputs: ["keys.0"])
    #expect(!keys.nodes.contains { $0.op.name.hasPrefix("rotary") })
  }

  @Test func onlyWhatIsAskedForIsComputed() throws {
    let config = smallConfig(depth: 3, head: .projection(smallHead))
    let all = try weights(config)
    func build(_ outputs: [String]) throws -> Graph { try ViTGraphBuilder.build(config: config, weights: all, outputs: outputs) }
    let cls = try build(["cls"])
    #expect(!cls.nodes.contains { $0.op.name == "attentionWeights" })
    #expect(!cls.constants.values.contains { $0.name.hasPrefix("head.") })
    #expect(cls.nodes.count == 4 + 3 * 10 + 2)
    #expect(try build(["tokens.0"]).nodes.filter { $0.op.name == "attention" }.count == 1)
    // The last block's attention needs that block's qkv but not what comes after it.
    let attention = try build(["attention"])
    #expect(attention.nodes.last?.name == "blocks.2.attn.weights")
    #expect(!attention.nodes.contains { $0.name.hasPrefix("blocks.2.mlp") })
    // So do its keys, which are computed without its queries and values.
    let keys = try build(["keys"])
    #expect(keys.nodes.last?.name == "blocks.2.attn.k")
    #expect(!keys.nodes.contains { $0.name == "blocks.2.attn.qkv" || $0.name == "blocks.2.attn" })
    #expect(throws: ModelError.self) { try build(["tokens.3"]) }
    #expect(throws: ModelError.self) { try build(["logits"]) }
  }

  @Test func passesFuseEachBlockToItsNormsLinearsAndAttention() throws {
    for layerScale in [false, true] {
      let config = smallConfig(depth: 2, layerScale: layerScale)
      let graph = try ViTGraphBuilder.build(config: config, weights: weights(config), outputs: ["tokens"])
      let fused = PassList.standard.run(graph)
      try fused.verify()
      #expect(graph.nodes.count == 4 + 2 * (layerScale ? 12 : 10) + 1)
      // Embedding 4; each block norm, qkv, attention, proj, norm, fc1, fc2; the last norm.
      #expect(fused.nodes.count == 4 + 2 * 7 + 1)
      let scale = layerScale ? " scale" : ""
      #expect(fused.nodes.filter { $0.name.hasPrefix("blocks.0.") }.map(\.op.name) == ["layerNorm", "linear", "attention", "linear", "layerNorm", "linear", "linear"])
      #expect(fused.nodes.first { $0.name == "blocks.1.attn.proj" }?.op.text == "linear{bias\(scale) residual}")
      #expect(fused.nodes.first { $0.name == "blocks.1.mlp.fc1" }?.op.text == "linear{bias gelu}")
      #expect(fused.nodes.first { $0.name == "blocks.1.mlp.fc2" }?.op.text == "linear{bias\(scale) residual}")
    }
  }

  @Test func headsOfOtherForms() throws {
    func linears(_ head: ViTConfig.ProjectionHead) throws -> [String] {
      let config = smallConfig(head: .projection(head))
      let graph = try ViTGraphBuilder.build(config: config, weights: weights(config), outputs: ["head"])
      _ = try graph.inferShapes(inputs: ["pixel_values": [1, 3, 12, 12]])
      return graph.nodes.map(\.name).filter { $0.hasPrefix("head.") }
    }
    #expect(Set(try linears(.init(layers: 1, hiddenDim: 5, bottleneckDim: 4, outDim: 7))) == ["head.mlp", "head.normalize", "head.last_layer.weight", "head.last_layer"])
    #expect(try linears(.init(layers: 2, hiddenDim: 5, bottleneckDim: 4, outDim: 7)).contains("head.mlp.2"))
    #expect(try linears(.init(layers: 3, hiddenDim: 5, bottleneckDim: 4, outDim: 7, batchNorm: true)).filter { $0.hasPrefix("head.mlp") }
      == ["head.mlp.0", "head.mlp.0.act", "head.mlp.3", "head.mlp.3.act", "head.mlp.6"])
  }

  @Test func batchNormIsFoldedAsInEvaluation() throws {
    let config = smallConfig(head: .projection(.init(layers: 2, hiddenDim: 2, bottleneckDim: 3, outDim: 4, batchNorm: true)))
    var all = try weights(config)
    all["head.mlp.0.weight"] = Tensor([1, 2, 3, 4, 5, 6, -1, -2, -3, -4, -5, -6], shape: [2, 6])
    all["head.mlp.0.bias"] = Tensor([0.5, -1], shape: [2])
    all["head.mlp.1.weight"] = Tensor([2, 3], shape: [2])
    all["head.mlp.1.bias"] = Tensor([0.1, 0.2], shape: [2])
    all["head.mlp.1.running_mean"] = Tensor([0.3, 0.4], shape: [2])
    all["head.mlp.1.running_var"] = Tensor([4, 0.25], shape: [2])
    let graph = try ViTGraphBuilder.build(config: config, weights: all, outputs: ["head"])
    let weight = try #require(graph.constants.values.first { $0.name == "head.mlp.0.weight" }).tensor.floats()
    let bias = try #require(graph.constants.values.first { $0.name == "head.mlp.0.bias" }).tensor.floats()
    // (w·x + b - mean)/sqrt(var + 1e-5)·gamma + beta, by hand.
    let f0 = Float(2 / 4.00001.squareRoot()), f1 = Float(3 / 0.25001.squareRoot())
    for i in 0..<6 {
      #expect(abs(weight[i] - Float(i + 1) * f0) < 1e-5)
      #expect(abs(weight[6 + i] + Float(i + 1) * f1) < 1e-5)
    }
    #expect(abs(bias[0] - (0.2 * f0 + 0.1)) < 1e-6)
    #expect(abs(bias[1] - (-1.4 * f1 + 0.2)) < 1e-5)
  }

  @Test func namesTheTensorThatDoesNotFit() throws {
    let config = smallConfig()
    var all = try weights(config)
    let good = all["blocks.0.attn.proj.weight"]!
    all["blocks.0.attn.proj.weight"] = nil
    #expect(throws: ModelError.missingTensor(name: "blocks.0.attn.proj.weight", expected: [6, 6])) { try ViTGraphBuilder.build(config: config, weights: all) }
    all["blocks.0.attn.proj.weight"] = good.reshaped([4, 9])
    #expect(throws: ModelError.tensorShape(name: "blocks.0.attn.proj.weight", expected: [6, 6], found: [4, 9])) {
      try ViTGraphBuilder.build(config: config, weights: all)
    }
    all["blocks.0.attn.proj.weight"] = Tensor.copy([UInt64](repeating: 0, count: 36), dtype: .c64, shape: [6, 6])
    #expect(throws: ModelError.tensorType(name: "blocks.0.attn.proj.weight", found: .c64)) { try ViTGraphBuilder.build(config: config, weights: all) }
  }

  @Test func constantsShareTheirWeightsStorage() throws {
    let config = smallConfig()
    let all = try weights(config)
    let graph = try ViTGraphBuilder.build(config: config, weights: all)
    // The keys' layer is a view of qkv's.
    for constant in graph.constants.values {
      #expect(constant.tensor.storage === all[constant.name.replacing(".attn.k.", with: ".attn.qkv.")]?.storage)
    }
    let key = try #require(graph.constants.values.first { $0.name == "blocks.0.attn.k.weight" }).tensor
    #expect(key.floats() == Array(try #require(all["blocks.0.attn.qkv.weight"]).floats()[36..<72]))
  }

  @Test func aWithoutBiasModelHasNone() throws {
    let config = smallConfig(qkvBias: false)
    #expect(!config.tensors.contains { $0.name == "blocks.0.attn.qkv.bias" })
    let graph = try ViTGraphBuilder.build(config: config, weights: weights(config), outputs: ["cls"])
    #expect(graph.nodes.first { $0.name == "blocks.0.attn.qkv" }?.op.text == "linear")
  }

  @Test func sizesOfThePublishedModels() throws {
    let small = try Registry.configuration("vit_small", patchSize: 16)
    #expect(small.parameterCount == 21_665_664)
    #expect(small.tensors.count == 150)
    let head = try Registry.configuration("vit_small", head: .projection(.init()))
    #expect(head.parameterCount - small.parameterCount == 22_352_128)
    #expect(try Registry.configuration("dino_vitb8").parameterCount == 85_807_872)
  }
}
