// Every form that we write, before libonnx's own checker and strict shape inference, at the operator sets that this libonnx knows. Above them,
// Tests/Reference/check_onnx_export.py does the same with PyPI's onnx.

import COnnxChecker
import DinoGraph
import DinoModels
import DinoTensor
import ONNXFormat
import OnnxConverter
import TestSupport
import Testing

@Suite struct OnnxCheckerTests {
  /// What libonnx has against a model; nil where nothing.
  private static func complaint(_ model: OnnxModel) throws -> String? {
    let bytes = try OnnxWriter.bytes(model)
    var message = [CChar](repeating: 0, count: 2048)
    guard onnx_checker_check(bytes, bytes.count, &message, message.count) != 0 else { return nil }
    return String(decoding: message.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
  }

  static let forms: [(name: String, change: @Sendable (inout OnnxExportOptions) -> Void)] = [
    ("fused qkv", { _ in }), ("split qkv", { $0.splitsQKV = true }), ("f16", { $0.weightType = .f16 }), ("bf16", { $0.weightType = .bf16 }),
    ("int8 weights", { $0.quantization = .weights }), ("dynamic", { $0.quantization = .dynamic }),
  ]

  /// As dinoctl declares them.
  private static let outputDims: [String: [Dimension]] = [
    "cls": [.free("batch"), .fixed(24)], "tokens": [.free("batch"), .free("tokens"), .fixed(24)], "tokens.0": [.free("batch"), .free("tokens"), .fixed(24)],
    "attention": [.free("batch"), .fixed(3), .free("tokens"), .free("tokens")], "attention_cls": [.free("batch"), .fixed(3), .free("tokens")],
    "logits": [.free("batch"), .fixed(5)],
  ]

  private static func graph(_ outputs: [String]) throws -> Graph {
    let config = ViTConfig(patchSize: 4, embedDim: 24, depth: 2, numHeads: 3, layerScale: true, nativeRows: 3, nativeColumns: 3, head: .classifier(classes: 5))
    var generator = SplitMix64(seed: 1)
    let weights = Dictionary(uniqueKeysWithValues: config.tensors.map { spec in
      (spec.name, Tensor((0..<spec.shape.count).map { _ in Float.random(in: -0.5...0.5, using: &generator) }, shape: spec.shape))
    })
    return try ViTGraphBuilder.build(config: config, weights: weights, outputs: outputs)
  }

  @Test(arguments: [13, 14, 15, 16, 17], forms.indices) func libonnxAccepts(opset: Int, form: Int) throws {
    try #require(onnx_checker_newest_opset() >= 17, "this libonnx is older than 1.12")
    var options = OnnxExportOptions(opset: opset)
    options.floatNodes = ["head"]
    Self.forms[form].change(&options)
    let model = try OnnxExporter.model(of: Self.graph(["cls", "tokens", "tokens.0", "attention", "attention_cls", "logits"]), outputDims: Self.outputDims, options: options)
    let complaint = try Self.complaint(model)
    #expect(complaint == nil, "\(Self.forms[form].name), opset \(opset)")
  }

  /// The checker finds what is wrong: a value that nobody gives, an operator that is none.
  @Test func libonnxObjects() throws {
    let sound = try OnnxExporter.model(of: Self.graph(["cls"]), outputDims: Self.outputDims, options: OnnxExportOptions(opset: 17))
    let complaint = try Self.complaint(sound)
    try #require(complaint == nil)
    func broken(_ change: (inout OnnxModel) -> Void) throws -> String? {
      var model = sound
      change(&model)
      return try Self.complaint(model)
    }
    #expect(try broken { $0.graph.nodes[3].inputs[0] = "nothing" } != nil)
    #expect(try broken { $0.graph.nodes[3].operatorType = "Multiplication" } != nil)
  }
}
