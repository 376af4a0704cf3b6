// Quantized files, both ways: recognised as products of integers they compute what the file says; as a checkpoint they give the floats that their weights stand for, and say so.

import DinoGraph
import DinoModels
import DinoRuntime
import DinoTensor
import Foundation
import ONNXFormat
@testable import OnnxConverter
import TestSupport
import Testing

@Suite struct QuantizedFileTests {
  private static let config = ViTConfig(patchSize: 4, embedDim: 24, depth: 2, numHeads: 3, nativeRows: 3, nativeColumns: 3, head: .classifier(classes: 5))
  private static let shape: Shape = [2, 3, 16, 20]
  enum Form: CaseIterable { case weights, dynamic, calibrated, partly }

  private static func weights() -> [String: Tensor] {
    var generator = SplitMix64(seed: 1)
    return Dictionary(uniqueKeysWithValues: config.tensors.map { ($0.name, Tensor(generator.floats($0.shape.count, in: -0.5...0.5), shape: $0.shape)) })
  }

  private static func image() -> Tensor {
    var generator = SplitMix64(seed: 3)
    return Tensor(generator.floats(shape.count), shape: shape)
  }

  private func made(_ form: Form, opset: Int = 17, split: Bool = false) throws -> (graph: Graph, options: OnnxExportOptions, importer: OnnxImporter) {
    let graph = try ViTGraphBuilder.build(config: Self.config, weights: Self.weights(), outputs: ["cls", "tokens"])
    var options = OnnxExportOptions(opset: opset)
    options.splitsQKV = split
    let values = graph.nodes.filter { if case .core(.linear) = $0.op { true } else { false } }.map { $0.inputs[0] }
    switch form {
    case .weights: options.quantization = .weights
    case .dynamic: options.quantization = .dynamic
    case .calibrated, .partly:
      var calibrator = try Calibrator(graph, values: values)
      try calibrator.observe(["pixel_values": Self.image()])
      options.quantization = .calibrated(calibrator.statistics.mapValues { OnnxActivationRange(lower: $0.minimum, upper: $0.maximum) })
      if form == .partly { options.floatActivations = [values[3], values[5]] }
    }
    return (graph, options, try OnnxImporter(OnnxFile(bytes: OnnxWriter.bytes(OnnxExporter.model(of: graph, outputDims: [:], options: options)))))
  }

  private func integerProducts(_ graph: Graph) -> Int {
    graph.nodes.count { if case .core(.linear(let e)) = $0.op { e.integers != nil } else { false } }
  }

  /// Without their zero point the integers of DynamicQuantizeLinear stand for other reals: such products stay what they are.
  @Test func integersWithoutTheirZeroPointAreOthers() throws {
    var options = OnnxExportOptions(opset: 17)
    options.quantization = .dynamic
    var model = try OnnxExporter.model(of: try ViTGraphBuilder.build(config: Self.config, weights: Self.weights(), outputs: ["cls"]), outputDims: [:], options: options)
    var changed = 0
    for i in model.graph.nodes.indices where model.graph.nodes[i].operatorType == "MatMulInteger" {
      model.graph.nodes[i].inputs[2] = ""
      changed += 1
    }
    let importer = try OnnxImporter(OnnxFile(bytes: OnnxWriter.bytes(model)))
    let recognised = Recognition.run(try importer.graph(shapes: ["pixel_values": Self.shape])).graph.graph
    #expect(changed > 0 && integerProducts(recognised) == 0)
  }

  @Test(arguments: Form.allCases, [false, true]) func recognisedAsWhatItComputes(form: Form, split: Bool) throws {
    let (graph, options, importer) = try made(form, split: split)
    let recognised = Recognition.run(try importer.graph(shapes: ["pixel_values": Self.shape])).graph.graph
    let foreign = recognised.nodes.count { if case .generic = $0.op { true } else { false } }, roundings = recognised.nodes.count { if case .core(.round) = $0.op { true } else { false } }
    #expect(foreign == 0 && roundings == 0)
    let products = form == .weights ? 0 : form == .partly ? 6 : 8
    #expect(integerProducts(recognised) == products + (split && products > 0 ? 4 : 0))
    let x = ["pixel_values": Self.image()], names = ["cls", "tokens"]
    let rounded = try RoundedGraphs(graph, options: options)
    let wanted = try Session(rounded.graph(rounding: Set(rounded.values.map(\.value)))).run(x, outputs: names), found = try Session(recognised).run(x, outputs: names)
    // A value at the middle of a step may fall to the other side: single steps are no difference of meaning.
    for name in names { #expect(cosine(found[name]!.floats(), wanted[name]!.floats()) > 0.9999, "\(name)") }
  }

  /// The operators one by one, each by its own twin.
  @Test(arguments: [Form.dynamic, .calibrated]) func unrecognisedGivesTheSame(form: Form) throws {
    let importer = try made(form).importer, x = ["pixel_values": Self.image()]
    let imported = try importer.graph(shapes: ["pixel_values": Self.shape])
    func run(_ graph: Graph) throws -> [Float] {
      let source = GraphSource(inputs: [.init(name: "pixel_values", dtype: .f32)]) { (_, _, _) throws(GenericProblem) in graph }
      return try ShapedSession(source).run(x, outputs: ["tokens"])["tokens"]!.floats()
    }
    #expect(try cosine(run(imported.graph), run(Recognition.run(imported).graph.graph)) > 0.9999)
  }

  @Test(arguments: Form.allCases, [13, 17, 21]) func checkpointOfTheFloatsThatWeightsStandFor(form: Form, opset: Int) throws {
    let (graph, options, importer) = try made(form, opset: opset)
    let found = try CheckpointReader.read(importer)
    #expect(found.config == Self.config.withoutHead)
    #expect(found.losses.count == (form == .weights ? 1 : 2) && found.losses[0].contains("8 tensors of type") && found.losses[0].contains("INT8"), "\(found.losses)")
    let stored = try OnnxExporter.asStored(graph, options: options)
    let byName = Dictionary(stored.constants.values.map { ($0.name, $0.tensor) }, uniquingKeysWith: { first, _ in first })
    for (name, tensor) in found.tensors {
      let wanted = try #require(byName[name], "\(name)")
      #expect(tensor.floats().map(\.bitPattern) == wanted.floats().map(\.bitPattern), "\(name)")
    }
    // As floats it is the float model, but for the rounding of its weights.
    let x = ["pixel_values": Self.image()]
    let again = try Session(ViTGraphBuilder.build(config: found.config, weights: found.tensors, outputs: ["cls"])).run(x, outputs: ["cls"])["cls"]!.floats()
    #expect(try cosine(again, Session(graph).run(x, outputs: ["cls"])["cls"]!.floats()) > 0.999)
  }

  /// ONNX Runtime's four kinds (2 blocks, 48 wide): every one comes back as the network that it was made of.
  @Test(arguments: ["quant_dynamic", "quant_qdq", "quant_qdq_s8", "quant_qoperator"]) func filesOfOnnxRuntime(_ name: String) throws {
    guard let folder = Fixtures.shared("reference/onnx/\(name)"), let float = Fixtures.shared("reference/onnx/ts17_vit") else { return }
    let importer = try OnnxImporter(OnnxFile(path: folder + "/model.onnx"))
    let found = try CheckpointReader.read(importer), original = try CheckpointReader.read(OnnxImporter(OnnxFile(path: float + "/model.onnx")))
    #expect(found.losses.count == 2 && Set(found.tensors.keys) == Set(original.tensors.keys))
    for (key, tensor) in original.tensors { #expect(cosine(found.tensors[key]!.floats(), tensor.floats()) > 0.999, "\(key)") }
    let recognised = Recognition.run(try importer.graph(shapes: ["input": [2, 3, 64, 64]])).graph.graph
    #expect(integerProducts(recognised) == 8)
    let scaled = recognised.nodes.count { if case .generic(let op) = $0.op, case .quantization(let kind) = op.kind { kind != .dynamicQuantize } else { false } }
    #expect(scaled == 0)
  }

  /// The same integers under other steps mean something else: no forwarding.
  @Test func differentStepsAreNotTakenForTheSame() throws {
    func scalar(_ name: String, _ value: Float) -> OnnxTensor { OnnxTensor(name: name, Tensor(value == value ? [value] : [0], shape: []))! }
    func node(_ type: String, _ inputs: [String], _ output: String) -> OnnxNode { OnnxNode(name: output, operatorType: type, inputs: inputs, outputs: [output], attributes: []) }
    func info(_ name: String) -> OnnxValueInfo { OnnxValueInfo(name: name, type: OnnxType(.tensor(.float, shape: [OnnxDimension(.fixed(4))]))) }
    let zero = OnnxTensor(name: "z", Tensor.copy([UInt8(128)], dtype: .u8, shape: []))!
    let model = OnnxModel(irVersion: 8, operatorSets: [OnnxOperatorSet(version: 17)], producerName: "test", producerVersion: "", graph: OnnxGraph(
      name: "g", nodes: [node("QuantizeLinear", ["x", "a", "z"], "q"), node("DequantizeLinear", ["q", "b", "z"], "y")], inputs: [info("x")], outputs: [info("y")],
      initializers: [scalar("a", 0.5), scalar("b", 0.25), zero]), metadata: [])
    let graph = Recognition.run(try OnnxImporter(OnnxFile(bytes: OnnxWriter.bytes(model))).graph(shapes: ["x": [4]])).graph.graph
    let source = GraphSource(inputs: [.init(name: "x", dtype: .f32)]) { (_, _, _) throws(GenericProblem) in graph }
    let y = try ShapedSession(source).run(["x": Tensor([1, -2, 0.75, 3], shape: [4])], outputs: ["y"])["y"]!.floats()
    #expect(y == [0.5, -1, 0.5, 1.5])
  }
}

extension ViTConfig {
  fileprivate var withoutHead: ViTConfig {
    var config = self
    config.head = nil
    return config
  }
}
