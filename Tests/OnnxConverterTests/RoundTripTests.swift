// Graph → ONNX → graph: what the exporter writes is recognised again, whole, and computes the same.

import DinoGraph
import DinoModels
import DinoRuntime
import DinoTensor
import ONNXFormat
import OnnxConverter
import TestSupport
import Testing

private let config = ViTConfig(patchSize: 4, embedDim: 24, depth: 2, numHeads: 3, layerScale: true, nativeRows: 3, nativeColumns: 3, head: .classifier(classes: 5))

private func weights(_ config: ViTConfig, seed: UInt64) -> [String: Tensor] {
  var generator = SplitMix64(seed: seed)
  return Dictionary(uniqueKeysWithValues: config.tensors.map { spec in
    (spec.name, Tensor((0..<spec.shape.count).map { _ in Float.random(in: -0.5...0.5, using: &generator) }, shape: spec.shape))
  })
}

private func file(_ graph: Graph, opset: Int, metadata: [String: String] = [:]) throws -> OnnxFile {
  var options = OnnxExportOptions(opset: opset)
  options.metadata = metadata
  let dims = Dictionary(uniqueKeysWithValues: graph.outputs.map { ($0.name, [Dimension?]()) })
  return try OnnxFile(bytes: try OnnxWriter.bytes(OnnxExporter.model(of: graph, outputDims: dims.mapValues { _ in [nil] }, options: options)))
}

private func image(_ shape: Shape, seed: UInt64 = 3) -> Tensor {
  var generator = SplitMix64(seed: seed)
  return Tensor((0..<shape.count).map { _ in Float.random(in: -1...1, using: &generator) }, shape: shape)
}

@Suite struct RoundTripTests {
  @Test(arguments: [13, 17, 20, 23]) func recognisedWhole(opset: Int) throws {
    let graph = try ViTGraphBuilder.build(config: config, weights: weights(config, seed: 1), outputs: ["cls", "tokens", "logits"])
    let importer = try OnnxImporter(file(graph, opset: opset))
    for shape: Shape in [[1, 3, 12, 12], [2, 3, 16, 24]] {
      let (recognised, steps) = Recognition.run(try importer.graph(shapes: ["pixel_values": shape]))
      let foreign = recognised.graph.nodes.filter { if case .generic = $0.op { true } else { false } }.map(\.name)
      #expect(foreign.isEmpty)
      #expect(steps.first { $0.rule == "attention" }?.matches == 2)
      let x = image(shape), names = ["cls", "tokens", "logits"]
      let expected = try Session(graph).run(["pixel_values": x], outputs: names), found = try Session(recognised.graph).run(["pixel_values": x], outputs: names)
      for name in names { #expect(maxAbsoluteDifference(found[name]!.floats(), expected[name]!.floats()) < 1e-5, "\(name) \(shape)") }
    }
  }

  /// Rotary positions of any size, and of one that the file is fixed to.
  @Test(arguments: [13, 17, 20, 23], [false, true]) func rotaryIsRecognisedWhole(opset: Int, isFixed: Bool) throws {
    var config = config
    config.registerTokens = 2
    config = config.rotary(base: 100)
    var original = weights(config, seed: 1)
    original["rope_embed.periods"] = Tensor([1, 10], shape: [2])
    let graph = try ViTGraphBuilder.build(config: config, weights: original, outputs: ["tokens", "logits"])
    var written = graph
    if isFixed { written.inputs[0].dims = [1, 3, 16, 24].map { .fixed($0) } }
    let importer = try OnnxImporter(file(written, opset: opset))
    for shape: Shape in isFixed ? [[1, 3, 16, 24]] : [[1, 3, 12, 12], [2, 3, 16, 24]] {
      let (recognised, steps) = Recognition.run(try importer.graph(shapes: ["pixel_values": shape]))
      #expect(recognised.graph.nodes.allSatisfy { if case .generic = $0.op { false } else { true } })
      #expect(steps.first { $0.rule == "rotary" }?.matches == 2 && recognised.graph.nodes.filter { $0.op == .core(.rotary(columns: 48)) }.count == 2)
      let x = image(shape), names = ["tokens", "logits"]
      let expected = try Session(graph).run(["pixel_values": x], outputs: names), found = try Session(recognised.graph).run(["pixel_values": x], outputs: names)
      for name in names { #expect(maxAbsoluteDifference(found[name]!.floats(), expected[name]!.floats()) < 1e-5, "\(name) \(shape)") }
    }
    let found = try CheckpointReader.read(importer)
    #expect(found.config == config && found.losses.isEmpty && !found.notes.contains { $0.contains("computed from the base") })
    #expect(Set(found.tensors.keys) == Set(original.keys))
    for (name, tensor) in original { #expect(found.tensors[name]?.floats().map(\.bitPattern) == tensor.floats().map(\.bitPattern), "\(name)") }
  }

  /// Periods of no base are in the file as they are; without registers, too.
  @Test(arguments: [13, 23]) func rotaryCheckpointBitForBit(opset: Int) throws {
    var config = config
    config.head = nil
    config = config.rotary(base: 30)
    var original = weights(config, seed: 3)
    original["rope_embed.periods"] = Tensor([1.25, 7.375], shape: [2])
    let graph = try ViTGraphBuilder.build(config: config, weights: original, outputs: ["cls"])
    let found = try CheckpointReader.read(OnnxImporter(file(graph, opset: opset, metadata: ["dino.config": config.json()])))
    #expect(found.config == config && found.losses.isEmpty)
    for (name, tensor) in original { #expect(found.tensors[name]?.floats().map(\.bitPattern) == tensor.floats().map(\.bitPattern), "\(name)") }
  }

  /// A file for one size has cosines and sines alone. Ours say which periods gave them; others' are those of a base, stated or not, rounded as in the authors' files or not.
  @Test(arguments: [
    ([1, 4.65625, 21.5], true, 100, ""), ([1.5, 4, 9], true, 100, ""), ([1, 4.65625, 21.5], false, 100, "the base 100.0, rounded to bfloat16,"), ([1, 3.6840315, 13.572088], false, 50, "the base 50.0, as"),
  ] as [([Float], Bool, Double, String)]) func periodsOfOneSizeComeBack(_ periods: [Float], _ isOurs: Bool, _ base: Double, _ said: String) throws {
    var config = config
    (config.head, config.numHeads) = (nil, 2)
    config = config.rotary(base: 100)
    var original = weights(config, seed: 3)
    original["rope_embed.periods"] = Tensor(periods, shape: [3])
    var graph = try ViTGraphBuilder.build(config: config, weights: original, outputs: ["cls"])
    graph.inputs[0].dims = [1, 3, 16, 24].map { .fixed($0) }
    let options = OnnxExportOptions(opset: 17, metadata: ["dino.config": try config.json()])
    var model = try OnnxExporter.model(of: graph, outputDims: ["cls": [nil]], options: options)
    if !isOurs { model.metadata.removeAll { $0.key == "dino.rotary_periods" } }
    let found = try CheckpointReader.read(OnnxImporter(OnnxFile(bytes: try OnnxWriter.bytes(model))))
    #expect(found.config == config.rotary(base: base) && found.losses.isEmpty)
    let back = try #require(found.tensors["rope_embed.periods"]).floats()
    #expect(back.count == 3 && maxAbsoluteDifference(back, periods) <= (isOurs ? 0 : 2e-6), "\(back)")
    let note = found.notes.first { $0.contains("periods") } ?? ""
    #expect(isOurs ? note.isEmpty : note.contains(said), "\(note)")
  }

  /// Angles that are no patch's are no rotary positions of ours.
  @Test func otherAnglesAreRefused() throws {
    let rotary = config.rotary(base: 100)
    var original = weights(rotary, seed: 1)
    original["rope_embed.periods"] = Tensor([1, 10], shape: [2])
    var graph = try ViTGraphBuilder.build(config: rotary, weights: original, outputs: ["cls"])
    graph.inputs[0].dims = [1, 3, 16, 24].map { .fixed($0) }
    var model = try OnnxExporter.model(of: graph, outputDims: ["cls": [nil]], options: OnnxExportOptions(opset: 17))
    let index = try #require(model.graph.initializers.firstIndex { $0.name == "rope_embed.cos" })
    model.graph.initializers[index] = try #require(OnnxTensor(name: "rope_embed.cos", Tensor([Float](repeating: 0.5, count: 25 * 8), shape: [1, 25, 1, 8])))
    #expect { try CheckpointReader.read(OnnxImporter(OnnxFile(bytes: try OnnxWriter.bytes(model)))) } throws: { "\($0)".contains("rotary positions follow no known rule") }
  }

  /// Classifiers of other features than the class token, with and without registers.
  @Test(arguments: ViTConfig.Probe.Tokens.allCases, [1, 2]) func probesComeBack(tokens: ViTConfig.Probe.Tokens, layers: Int) throws {
    for (registers, opset) in [(0, 13), (3, 17), (0, 20)] {
      var config = config
      (config.depth, config.registerTokens, config.head) = (3, registers, .probe(.init(classes: 5, tokens: tokens, layers: layers)))
      config.positionResize = .official(registerTokens: registers)
      let original = weights(config, seed: 9), graph = try ViTGraphBuilder.build(config: config, weights: original, outputs: ["logits"])
      let found = try CheckpointReader.read(OnnxImporter(file(graph, opset: opset)))
      switch (tokens, layers) {
      case (.cls, 1):
        // That is the network's own head.
        #expect(found.config.head == .classifier(classes: 5) && found.tensors["head.weight"]?.floats() == original["probe.weight"]?.floats())
        continue
      case (.clsAndLastMean, 1): config.head = .probe(.init(classes: 5, tokens: .clsAndMean))
      default: break
      }
      #expect(found.config == config && found.losses.isEmpty && found.outputs == ["logits": "logits"], "\(found.config) \(found.losses)")
      // With registers the class token holds its position where nothing says otherwise.
      for (name, tensor) in original where registers == 0 || name.hasPrefix("probe.") { #expect(found.tensors[name]?.floats().map(\.bitPattern) == tensor.floats().map(\.bitPattern), "\(name)") }
    }
  }

  /// A sum of itself, over and over, is no classifier, and costs nothing to look at; nor is one of tokens that are no features.
  @Test func sumsThatAreNoClassifierAreLeftOut() throws {
    var config = config
    config.head = .probe(.init(classes: 5, tokens: .clsAndMean))
    let original = weights(config, seed: 9)
    var doubled = try ViTGraphBuilder.build(config: config, weights: original, outputs: ["logits"])
    for i in 0..<64 { doubled.outputs[0].value = doubled.core(.add, [doubled.outputs[0].value, doubled.outputs[0].value], name: "double.\(i)") }
    var part = try ViTGraphBuilder.build(config: config, weights: original, outputs: ["logits"])
    let place = try #require(part.nodes.firstIndex { $0.op.name == "sliceTokens" })
    part.nodes[place].op = .core(.sliceTokens(start: 2, count: nil))
    for graph in [doubled, part] {
      let found = try CheckpointReader.read(OnnxImporter(file(graph, opset: 17)))
      #expect(found.config.head == nil && found.losses.contains { $0.contains("'logits'") }, "\(found.losses)")
    }
  }

  @Test(arguments: [13, 17, 20, 23]) func checkpointBitForBit(opset: Int) throws {
    var config = config
    for (resize, rows, columns) in [(PositionResize.officialOffset, 3, 3), (.antialiased, 4, 4), (.sized, 5, 5)] {
      (config.positionResize, config.nativeRows, config.nativeColumns) = (resize, rows, columns)
      let original = weights(config, seed: 7)
      let found = try CheckpointReader.read(OnnxImporter(file(ViTGraphBuilder.build(config: config, weights: original, outputs: ["logits"]), opset: opset)))
      #expect(found.config == config)
      #expect(found.losses.isEmpty)
      #expect(Set(found.tensors.keys) == Set(original.keys))
      for (name, tensor) in original { #expect(found.tensors[name]?.floats().map(\.bitPattern) == tensor.floats().map(\.bitPattern), "\(name)") }
    }
  }

  /// As training starts: biases of zeros and norms of ones do nothing, and are there all the same.
  @Test(arguments: [13, 17, 20, 23], [1, 2]) func freshNetworkBitForBit(opset: Int, batch: Int) throws {
    let original = Dictionary(uniqueKeysWithValues: weights(config, seed: 9).map { name, tensor in
      let still: Float? = name.hasSuffix(".bias") ? 0 : name.contains("norm") ? 1 : nil
      return (name, still.map { Tensor([Float](repeating: $0, count: tensor.count), shape: tensor.shape) } ?? tensor)
    })
    let importer = try OnnxImporter(file(ViTGraphBuilder.build(config: config, weights: original, outputs: ["cls", "logits"]), opset: opset))
    let recognised = Recognition.run(try importer.graph(shapes: ["pixel_values": [batch, 3, 12, 16]])).graph.graph
    #expect(recognised.nodes.allSatisfy { if case .core = $0.op { true } else { false } })
    let found = try CheckpointReader.read(importer)
    #expect(found.config == config && found.losses.isEmpty)
    for (name, tensor) in original { #expect(found.tensors[name]?.floats().map(\.bitPattern) == tensor.floats().map(\.bitPattern), "\(name)") }
  }

  @Test func attentionIsRecognisedBesideItsWeights() throws {
    let graph = try ViTGraphBuilder.build(config: config, weights: weights(config, seed: 1), outputs: ["cls", "attention"])
    let shape: Shape = [2, 3, 12, 16], x = image(shape)
    let recognised = Recognition.run(try OnnxImporter(file(graph, opset: 17)).graph(shapes: ["pixel_values": shape])).graph.graph
    #expect(recognised.nodes.contains { if case .core(.attentionWeights) = $0.op { true } else { false } })
    let names = ["cls", "attention"]
    let expected = try Session(graph).run(["pixel_values": x], outputs: names), found = try Session(recognised).run(["pixel_values": x], outputs: names)
    for name in names { #expect(maxAbsoluteDifference(found[name]!.floats(), expected[name]!.floats()) < 1e-5) }
  }

  /// A block that is none of ours ends nothing: its first norm is not the last of the network.
  @Test func partlyRecognisedIsRefused() throws {
    let graph = try ViTGraphBuilder.build(config: config, weights: weights(config, seed: 1), outputs: ["cls"])
    var model = try OnnxExporter.model(of: graph, outputDims: ["cls": [nil]], options: OnnxExportOptions(opset: 17))
    let at = try #require(model.graph.nodes.lastIndex { $0.operatorType == "Softmax" }), scores = model.graph.nodes[at].inputs[0]
    model.graph.initializers.append(try #require(OnnxTensor(name: "mask", Tensor([1, 2, 3] as [Float], shape: [1, 3, 1, 1]))))
    model.graph.nodes[at].inputs[0] = "masked"
    model.graph.nodes.insert(OnnxNode(name: "masked", operatorType: "Mul", inputs: [scores, "mask"], outputs: ["masked"], attributes: []), at: at)
    let importer = try OnnxImporter(OnnxFile(bytes: try OnnxWriter.bytes(model)))
    #expect(throws: RecoveryError.self) { _ = try CheckpointReader.read(importer) }
  }

  /// What is computed of the last norm's tokens, and of those beside it, is no further block.
  @Test(arguments: ["similarities", "beside the norm"]) func comparedFeaturesEndNothing(kind: String) throws {
    let original = weights(config, seed: 1)
    let graph = try ViTGraphBuilder.build(config: config, weights: original, outputs: ["cls", "tokens"])
    var model = try OnnxExporter.model(of: graph, outputDims: ["cls": [nil], "tokens": [nil]], options: OnnxExportOptions(opset: 17))
    // Takes out the class token before the last norm.
    let taken = try #require(model.graph.nodes.last { $0.operatorType == "Gather" })
    if kind == "similarities" {
      let order = OnnxAttribute(name: "perm", value: .ints([0, 2, 1]))
      model.graph.nodes.append(OnnxNode(name: "flip", operatorType: "Transpose", inputs: ["tokens"], outputs: ["flipped"], attributes: [order]))
      model.graph.nodes.append(OnnxNode(name: "compare", operatorType: "MatMul", inputs: ["tokens", "flipped"], outputs: ["more"]))
    } else {
      let axes = OnnxAttribute(name: "axes", value: .ints([1])), keep = OnnxAttribute(name: "keepdims", value: .int(0))
      model.graph.nodes.append(OnnxNode(name: "pool", operatorType: "ReduceMean", inputs: [taken.inputs[0]], outputs: ["pooled"], attributes: [axes, keep]))
      model.graph.nodes.append(OnnxNode(name: "join", operatorType: "Concat", inputs: ["cls", "pooled"], outputs: ["more"], attributes: [OnnxAttribute(name: "axis", value: .int(1))]))
    }
    model.graph.outputs.append(OnnxValueInfo(name: "more", type: OnnxType(.tensor(.float, shape: nil))))
    let found = try CheckpointReader.read(OnnxImporter(OnnxFile(bytes: try OnnxWriter.bytes(model))))
    #expect(found.config.depth == 2 && found.losses.isEmpty && found.notes.contains { $0.contains("'more'") })
    #expect(found.outputs["cls"] == "cls" && found.outputs["tokens"] == "tokens")
    #expect(found.tensors["norm.weight"]?.floats() == original["norm.weight"]?.floats())
  }

  /// Outputs that need a part of the network leave the rest out of the file. What attention compares is told without a record, keys and inner tokens are not.
  @Test(arguments: ["attention", "attention_cls", "keys", "tokens.0"]) func partOfANetworkIsRefused(output: String) throws {
    let graph = try ViTGraphBuilder.build(config: config, weights: weights(config, seed: 1), outputs: [output])
    let record = try config.json(), metadata: [String: String] = output.hasPrefix("attention") ? [:] : ["dino.config": record]
    let importer = try OnnxImporter(file(graph, opset: 17, metadata: metadata))
    #expect(throws: RecoveryError.self) { _ = try CheckpointReader.read(importer) }
    guard output.hasPrefix("attention") else { return }
    let recognised = Recognition.run(try importer.graph(shapes: ["pixel_values": [1, 3, 12, 12]])).graph
    #expect(OfficialOutputs.graph(recognised, outputs: ["cls"]) == nil)
  }
}
