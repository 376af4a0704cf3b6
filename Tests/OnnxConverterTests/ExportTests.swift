// What the exporter writes: the same bytes each time, the forms of each operator set, names that users see, and what it refuses. That the files compute the
// right thing is checked in ONNX Runtime by Tests/Reference/check_onnx_export.py.

import DinoGraph
import DinoTensor
import ONNXFormat
import OnnxConverter
import Testing

/// Norm, linear and GELU behind a patch embedding with positions: each form that changes between operator sets.
private func smallGraph(fused: Bool = false) -> Graph {
  var g = Graph()
  func weight(_ name: String, _ shape: Shape) -> ValueID { g.constant(name, Tensor((0..<shape.count).map { Float($0 % 7) / 7 - 0.4 }, shape: shape)) }
  let image = g.input("pixel_values", dtype: .f32, dims: [.free("B"), .fixed(3), .free("H"), .free("W")])
  var x = g.core(.patchEmbedding(patch: 4), [image, weight("patch.weight", [6, 3, 4, 4]), weight("patch.bias", [6])], name: "patch")
  x = g.core(.prependTokens, [weight("cls_token", [1, 1, 6]), x], name: "prepend")
  let positions = g.core(.positionEmbedding(patch: 4, special: 1, nativeRows: 2, nativeColumns: 2, resize: .officialOffset), [weight("pos_embed", [1, 5, 6]), image], name: "positions")
  x = g.core(.add, [x, positions], name: "add")
  x = g.core(.layerNorm(epsilon: 1e-6), [x, weight("norm.weight", [6]), weight("norm.bias", [6])], name: "norm")
  let qkv = g.core(.linear(LinearEpilogue(bias: true)), [x, weight("qkv.weight", [18, 6]), weight("qkv.bias", [18])], name: "qkv")
  x = g.core(.attention(heads: 2, scale: 0.5), [qkv], name: "attn")
  x = g.core(.linear(LinearEpilogue(bias: true, activation: fused ? .gelu : nil)), [x, weight("fc.weight", [8, 6]), weight("fc.bias", [8])], name: "fc")
  x = g.core(.activation(.gelu), [x], name: "gelu")
  g.output("tokens", x)
  g.output("attention", g.core(.attentionWeights(heads: 2, scale: 0.5, firstRowOnly: false), [qkv], name: "weights"))
  return g
}

@Suite struct ExportTests {
  private func model(_ opset: Int, _ graph: Graph = smallGraph()) throws -> OnnxModel {
    try OnnxExporter.model(of: graph, outputDims: ["tokens": [.free("B"), .free("tokens"), .fixed(8)]], options: OnnxExportOptions(opset: opset))
  }
  private func count(_ type: String, _ model: OnnxModel) -> Int { model.graph.nodes.count { $0.operatorType == type } }

  @Test func sameBytesEachTime() throws {
    #expect(try OnnxWriter.bytes(model(17)) == OnnxWriter.bytes(model(17)))
    #expect(try OnnxWriter.bytes(model(17)) != OnnxWriter.bytes(model(18)))
  }

  @Test(arguments: Array(OnnxExportOptions.opsets)) func formsOfTheOperatorSet(opset: Int) throws {
    let m = try model(opset)
    #expect(m.operatorSetVersion() == Int64(opset))
    #expect(m.irVersion <= 10)
    #expect(count("LayerNormalization", m) == (opset >= 17 ? 1 : 0))
    #expect(count("Gelu", m) == (opset >= 20 ? 1 : 0))
    #expect(count("Erf", m) == (opset >= 20 ? 0 : 1))
    #expect(count("Resize", m) == 0)
    // One softmax serves attention and its weights.
    #expect(count("Softmax", m) == 1)
    for node in m.graph.nodes where node.operatorType == "ReduceMean" { #expect(node.inputs.count == (opset >= 18 ? 2 : 1)) }
  }

  @Test func namesAndOrder() throws {
    let m = try model(17)
    #expect(m.graph.inputs.map(\.name) == ["pixel_values"])
    #expect(m.graph.outputs.map(\.name) == ["tokens", "attention"])
    let initializers = m.graph.initializers.map(\.name)
    for name in ["patch.weight", "cls_token", "norm.weight", "qkv.weight.transposed", "qkv.bias"] { #expect(initializers.contains(name)) }
    var known = Set(initializers + ["pixel_values"])
    for node in m.graph.nodes {
      for input in node.inputs { #expect(known.contains(input), "\(node.name) reads \(input) before it is there") }
      for output in node.outputs { #expect(known.insert(output).inserted, "\(output) is made twice") }
    }
  }

  @Test func fixedSizesNeedNoArithmetic() throws {
    var graph = smallGraph()
    graph.inputs[0].dims = [.fixed(1), .fixed(3), .fixed(12), .fixed(20)]
    let m = try model(17, graph)
    #expect(count("Range", m) == 0)
    #expect(m.graph.initializers.first { $0.name == "pos_embed" }?.dims == [1, 16, 6])
    #expect(count("Range", try model(17)) == 2)
  }

  @Test func refusals() throws {
    for opset in [12, 24] { #expect(throws: OnnxExportError.opset(opset)) { try model(opset) } }
    #expect(throws: OnnxExportError.notCanonical(node: "fc", reason: "it is fused; export the graph before the runtime's passes")) { try model(17, smallGraph(fused: true)) }
  }
}
