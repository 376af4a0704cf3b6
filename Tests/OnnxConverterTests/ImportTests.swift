// What the importer makes of a file's own means of expression, and how it is written again.

import DinoGraph
import DinoRuntime
import DinoTensor
import ONNXFormat
import OnnxConverter
import Testing

@Suite struct ImportTests {
  private static func info(_ name: String, _ dims: [OnnxDimension]) -> OnnxValueInfo { OnnxValueInfo(name: name, type: OnnxType(.tensor(.float, shape: dims))) }

  private static func importer(_ node: OnnxNode, _ dims: [OnnxDimension], functions: [OnnxFunction] = []) throws -> OnnxImporter {
    let graph = OnnxGraph(name: "graph", nodes: [node], inputs: [info("x", dims)], outputs: [info("y", dims)])
    let model = OnnxModel(irVersion: 8, operatorSets: [OnnxOperatorSet(version: 17), OnnxOperatorSet(domain: "local", version: 1)], graph: graph, functions: functions)
    return try OnnxImporter(OnnxFile(bytes: OnnxWriter.bytes(model)))
  }

  /// A function may be called without its last inputs, or with empty names for them.
  @Test(arguments: [["x"], ["x", ""]]) func functionsTakeAbsentInputs(_ inputs: [String]) throws {
    let body = OnnxNode(operatorType: "Clip", inputs: ["a", "least", "most"], outputs: ["b"])
    let function = OnnxFunction(name: "Limited", domain: "local", inputs: ["a", "least", "most"], outputs: ["b"], nodes: [body], operatorSets: [OnnxOperatorSet(version: 17)])
    let importer = try Self.importer(OnnxNode(operatorType: "Limited", domain: "local", inputs: inputs, outputs: ["y"]), [OnnxDimension(.fixed(3))], functions: [function])
    let graph = try importer.graph(shapes: ["x": [3]]).graph
    let source = GraphSource(inputs: [.init(name: "x", dtype: .f32)]) { (_, _, _) throws(GenericProblem) in graph }
    let x = Tensor([-1, 0, 2], shape: [3])
    #expect(try ShapedSession(source).run(["x": x], outputs: ["y"])["y"]?.floats() == [-1, 0, 2])
  }

  /// Shapes that follow only from inputs' free extents stay as they were declared.
  @Test func writtenOutputsKeepTheirShapes() throws {
    let dims = [OnnxDimension(.symbolic("batch")), OnnxDimension(.fixed(3))]
    let importer = try Self.importer(OnnxNode(operatorType: "Relu", inputs: ["x"], outputs: ["y"]), dims)
    let written = try ForeignExporter.model(of: importer.graph(), inputs: importer.inputs, declared: importer.file.model.graph.outputs, operatorSet: 17, irVersion: 8)
    #expect(written.graph.outputs == [Self.info("y", dims)])
  }
}
