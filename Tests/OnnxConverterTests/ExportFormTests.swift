// The forms that a file can have beyond plain floats: split qkv, narrow weights, the three kinds of quantization. Each must hold the constants that it
// says it holds, and what it computes must come back through the importer.

import DinoGraph
import DinoModels
import DinoRuntime
import DinoTensor
import ONNXFormat
import OnnxConverter
import TestSupport
import Testing

@Suite struct ExportFormTests {
  private static let config = ViTConfig(patchSize: 4, embedDim: 24, depth: 2, numHeads: 3, layerScale: true, nativeRows: 3, nativeColumns: 3, head: .classifier(classes: 5))

  private static func weights(seed: UInt64 = 1) -> [String: Tensor] {
    var generator = SplitMix64(seed: seed)
    return Dictionary(uniqueKeysWithValues: config.tensors.map { spec in
      (spec.name, Tensor((0..<spec.shape.count).map { _ in Float.random(in: -0.5...0.5, using: &generator) }, shape: spec.shape))
    })
  }

  private func graph() throws -> Graph { try ViTGraphBuilder.build(config: Self.config, weights: Self.weights(), outputs: ["cls", "tokens", "logits"]) }

  private func options(opset: Int = 17, _ change: (inout OnnxExportOptions) -> Void = { _ in }) -> OnnxExportOptions {
    var options = OnnxExportOptions(opset: opset)
    options.floatNodes = ["head"]
    change(&options)
    return options
  }

  private func model(_ graph: Graph, _ options: OnnxExportOptions) throws -> OnnxModel { try OnnxExporter.model(of: graph, outputDims: [:], options: options) }

  private func count(_ type: String, _ model: OnnxModel) -> Int { model.graph.nodes.count { $0.operatorType == type } }

  private static func image(_ shape: Shape = [2, 3, 16, 20]) -> Tensor {
    var generator = SplitMix64(seed: 3)
    return Tensor((0..<shape.count).map { _ in Float.random(in: -1...1, using: &generator) }, shape: shape)
  }

  /// The file's results by the importer.
  private func imported(_ model: OnnxModel) throws -> [String: [Float]] {
    let x = Self.image()
    let graph = Recognition.run(try OnnxImporter(OnnxFile(bytes: OnnxWriter.bytes(model))).graph(shapes: ["pixel_values": x.shape])).graph.graph
    let source = GraphSource(inputs: [.init(name: "pixel_values", dtype: .f32)]) { (_, _, _) throws(GenericProblem) in graph }
    return try ShapedSession(source).run(["pixel_values": x], outputs: ["cls", "tokens", "logits"]).mapValues { $0.floats() }
  }

  private func expected(_ graph: Graph) throws -> [String: [Float]] {
    try Session(graph).run(["pixel_values": Self.image()], outputs: ["cls", "tokens", "logits"]).mapValues { $0.floats() }
  }

  private func ranges(_ graph: Graph) throws -> [ValueID: OnnxActivationRange] {
    let values = graph.nodes.filter { if case .core(.linear) = $0.op { $0.name != "head" } else { false } }.map { $0.inputs[0] }
    var calibrator = try Calibrator(graph, values: values)
    try calibrator.observe(["pixel_values": Self.image()])
    return calibrator.statistics.compactMapValues { $0.bestRange().map { OnnxActivationRange(lower: $0.lowerBound, upper: $0.upperBound) } }
  }

  @Test(arguments: [13, 17, 20, 23]) func splitAttentionComputesTheSame(opset: Int) throws {
    let graph = try graph()
    let m = try model(graph, options(opset: opset) { $0.splitsQKV = true })
    let names = m.graph.initializers.map(\.name)
    for letter in ["q", "k", "v"] {
      #expect(names.contains("blocks.0.attn.qkv.weight.\(letter).transposed") && names.contains("blocks.1.attn.qkv.bias.\(letter)"))
    }
    #expect(!names.contains("blocks.0.attn.qkv.weight.transposed"))
    // Two more products for each block, and no Gather that cuts qkv.
    let fused = try model(graph, options(opset: opset))
    #expect(count("MatMul", m) == count("MatMul", fused) + 4 && count("Gather", m) == count("Gather", fused) - 6)
    let found = try imported(m), wanted = try expected(graph)
    for (name, values) in wanted { #expect(maxAbsoluteDifference(found[name]!, values) < 1e-5, "\(name)") }
  }

  @Test func splitComesBackAsTheCheckpoint() throws {
    let bytes = try OnnxWriter.bytes(model(graph(), options { $0.splitsQKV = true }))
    let found = try CheckpointReader.read(OnnxImporter(OnnxFile(bytes: bytes)))
    #expect(found.losses.isEmpty)
    for (name, tensor) in Self.weights() { #expect(found.tensors[name]?.floats().map(\.bitPattern) == tensor.floats().map(\.bitPattern), "\(name)") }
  }

  @Test(arguments: [(OnnxWeightType.f16, OnnxDataType.float16), (.bf16, .bfloat16)]) func narrowWeights(type: OnnxWeightType, stored: OnnxDataType) throws {
    let graph = try graph(), o = options { $0.weightType = type }
    let m = try model(graph, o)
    let byName = Dictionary(uniqueKeysWithValues: m.graph.initializers.map { ($0.name, $0.dataType) })
    #expect(byName["patch_embed.proj.weight"] == stored && byName["blocks.0.mlp.fc1.weight.transposed"] == stored && byName["pos_embed.grid"] == stored)
    #expect(byName["norm.weight"] == .float && byName["blocks.0.mlp.fc1.bias"] == .float)
    let found = try imported(m), same = try expected(OnnxExporter.asStored(graph, options: o)), exact = try expected(graph)
    for (name, values) in same {
      #expect(maxAbsoluteDifference(found[name]!, values) < 1e-5, "\(name)")
      #expect(maxAbsoluteDifference(values, exact[name]!) > 1e-5, "\(name): nothing was rounded")
    }
  }

  @Test func halfRefusesWhatItCannotHold() throws {
    var weights = Self.weights()
    weights["blocks.1.mlp.fc2.weight"] = Tensor([Float](repeating: 70_000, count: 24 * 96), shape: [24, 96])
    let large = try ViTGraphBuilder.build(config: Self.config, weights: weights, outputs: ["cls"])
    #expect(throws: OnnxExportError.weightTooLarge(name: "blocks.1.mlp.fc2.weight.transposed", value: 70_000, type: "f16")) { try model(large, options { $0.weightType = .f16 }) }
    _ = try model(large, options { $0.weightType = .bf16 })
    weights["blocks.1.mlp.fc2.weight"] = Tensor([Float](repeating: .nan, count: 24 * 96), shape: [24, 96])
    let damaged = try ViTGraphBuilder.build(config: Self.config, weights: weights, outputs: ["cls"])
    #expect(throws: OnnxExportError.weightNotFinite(name: "blocks.1.mlp.fc2.weight")) { try model(damaged, options { $0.quantization = .weights }) }
  }

  @Test(arguments: [13, 17, 21]) func int8Weights(opset: Int) throws {
    let graph = try graph(), o = options(opset: opset) { $0.quantization = .weights }
    let m = try model(graph, o)
    // Four layers of two blocks; the classifier stays float.
    #expect(count("DequantizeLinear", m) == 8 && count("QuantizeLinear", m) == 0)
    #expect(m.graph.initializers.count { $0.dataType == .int8 } == 8)
    let scale = try #require(m.graph.initializers.first { $0.name == "blocks.0.mlp.fc1.weight_scale" })
    #expect(scale.dims == [96])
    #expect(m.graph.initializers.first { $0.name == "head.weight.transposed" }?.dataType == .float)
    let found = try imported(m), same = try expected(OnnxExporter.asStored(graph, options: o)), exact = try expected(graph)
    for (name, values) in same {
      #expect(maxAbsoluteDifference(found[name]!, values) < 1e-5, "\(name)")
      #expect(cosine(values, exact[name]!) > 0.999, "\(name)")
    }
  }

  @Test func dynamicActivations() throws {
    let graph = try graph(), m = try model(graph, options { $0.quantization = .dynamic })
    #expect(count("MatMulInteger", m) == 8 && count("DynamicQuantizeLinear", m) == 8)
    // Unsigned weights: signed ones saturate in ONNX Runtime where the CPU has no VNNI.
    #expect(m.graph.initializers.count { $0.dataType == .uint8 && $0.dims.count == 2 } == 8)
    // Split layers read one input, which is quantized once.
    let split = try model(graph, options { ($0.quantization, $0.splitsQKV) = (.dynamic, true) })
    #expect(count("MatMulInteger", split) == 12 && count("DynamicQuantizeLinear", split) == 8)
    let wanted = try expected(graph)
    for m in [m, split] {
      let found = try imported(m)
      for (name, values) in wanted { #expect(cosine(found[name]!, values) > 0.995, "\(name)") }
    }
  }

  @Test func calibratedActivations() throws {
    let graph = try graph(), ranges = try ranges(graph)
    #expect(ranges.count == 8)
    let m = try model(graph, options { $0.quantization = .calibrated(ranges) })
    #expect(count("QuantizeLinear", m) == 8 && count("DequantizeLinear", m) == 16)
    let found = try imported(m), wanted = try expected(graph)
    for (name, values) in wanted { #expect(cosine(found[name]!, values) > 0.995, "\(name)") }
    // A layer without a range stays float.
    let some = Dictionary(uniqueKeysWithValues: ranges.sorted { $0.key < $1.key }.prefix(3).map { ($0.key, $0.value) })
    let partial = try model(graph, options { $0.quantization = .calibrated(some) })
    #expect(count("QuantizeLinear", partial) == 3 && partial.graph.initializers.count { $0.dataType == .uint8 && $0.dims.count == 2 } == 3)
    // A layer whose activations are to stay float has int8 weights all the same.
    let first = ranges.keys.sorted()[0]
    let kept = try model(graph, options { ($0.quantization, $0.floatActivations) = (.calibrated(ranges), [first]) })
    #expect(count("QuantizeLinear", kept) == 7 && count("DequantizeLinear", kept) == 15 && kept.graph.initializers.count { $0.dataType == .int8 } == 1)
  }

  @Test func sameBytesInEveryForm() throws {
    let graph = try graph(), ranges = try ranges(graph)
    let forms: [(inout OnnxExportOptions) -> Void] = [
      { $0.splitsQKV = true }, { $0.weightType = .f16 }, { $0.quantization = .weights }, { $0.quantization = .dynamic }, { $0.quantization = .calibrated(ranges) },
    ]
    var seen: Set<[UInt8]> = []
    for form in forms {
      let bytes = try OnnxWriter.bytes(model(graph, options(form)))
      #expect(try bytes == OnnxWriter.bytes(model(graph, options(form))))
      let isNew = seen.insert(bytes).inserted
      #expect(isNew)
    }
  }
}
