// Official outputs of recognised files whose own are others: networks with registers and rotary positions too.

import DinoGraph
import DinoRuntime
import DinoTensor
import Foundation
import ONNXFormat
import OnnxConverter
import TestSupport
import Testing

@Suite struct OfficialOutputTests {
  @Test(arguments: ["ts17_vit", "dynamo18_vit", "dynamo20_dinov2_reg", "dynamo18_dinov3", "hf_dinov2_ts17"]) func foundAndConsistent(_ name: String) throws {
    guard let folder = Fixtures.shared("reference/onnx/\(name)") else { return }
    let importer = try OnnxImporter(OnnxFile(path: folder + "/model.onnx")), input = importer.inputs[0]
    let side = 16 * 14
    let shape = Shape((input.dims ?? []).enumerated().map { axis, dimension in if case .fixed(let n) = dimension { n } else { [2, 3, side, side][axis] } })
    var random = SplitMix64(seed: 4)
    let x = Tensor(random.floats(shape.count), shape: shape)
    let recognised = Recognition.run(try importer.graph(shapes: [input.name: shape])).graph
    let names = OfficialOutputs.names, graph = try #require(OfficialOutputs.graph(recognised, outputs: names + [importer.outputs[0]]))
    let source = GraphSource(inputs: [.init(name: input.name, dtype: .f32)]) { (_, _, _) throws(GenericProblem) in graph }
    let found = try ShapedSession(source).run([input.name: x], outputs: names + [importer.outputs[0]])
    let cls = found["cls"]!, tokens = found["tokens"]!, attention = found["attention"]!, row = found["attention_cls"]!
    let b = tokens.shape[0], t = tokens.shape[1], d = tokens.shape[2], h = attention.shape[1]
    #expect(b == shape[0] && attention.shape == [b, h, t, t] && row.shape == [b, h, t] && cls.shape == [b, d])
    for image in 0..<b { #expect(Array(tokens.floats()[image * t * d..<image * t * d + d]) == Array(cls.floats()[image * d..<(image + 1) * d])) }
    let weights = attention.floats(), first = row.floats()
    for group in 0..<b * h {
      #expect(maxAbsoluteDifference(Array(weights[group * t * t..<group * t * t + t]), Array(first[group * t..<(group + 1) * t])) < 1e-6)
      for i in 0..<t { #expect(abs(weights[(group * t + i) * t..<(group * t + i + 1) * t].reduce(0, +) - 1) < 1e-4) }
    }
    // The file's own output is the tokens, or the class token, or (timm's DINOv3) the mean of the patches behind the class token and four registers.
    let own = found[importer.outputs[0]]!, values = tokens.floats()
    let mean = (0..<b).flatMap { image in (0..<d).map { c in (5..<max(t, 6)).reduce(Float(0)) { $0 + values[min((image * t + $1) * d + c, values.count - 1)] } / Float(t - 5) } }
    let wanted = own.shape.rank == 3 ? values : name == "dynamo18_dinov3" ? mean : cls.floats()
    #expect(maxAbsoluteDifference(own.floats(), wanted) < 1e-5)
  }

  @Test func networksWithoutAttentionHaveNone() throws {
    guard let folder = Fixtures.shared("reference/onnx/ts13_resnet") else { return }
    let importer = try OnnxImporter(OnnxFile(path: folder + "/model.onnx")), input = importer.inputs[0]
    let shape = Shape((input.dims ?? []).enumerated().map { axis, dimension in if case .fixed(let n) = dimension { n } else { [1, 3, 64, 64][axis] } })
    #expect(OfficialOutputs.graph(Recognition.run(try importer.graph(shapes: [input.name: shape])).graph, outputs: ["cls"]) == nil)
  }
}
