// Commands on ONNX files: what `run` takes and writes, what comes back as a checkpoint, and that nothing a file needs is written over.

import DinoTensor
import Foundation
import NumPyArrays
import ONNXFormat
import TestSupport
import Testing

@Suite struct OnnxCommandTests {
  /// A file of one node from vectors of three floats to one of another type.
  private static func file(_ node: OnnxNode, _ type: OnnxDataType = .float) throws -> [UInt8] {
    func info(_ name: String, _ type: OnnxDataType) -> OnnxValueInfo { OnnxValueInfo(name: name, type: OnnxType(.tensor(type, shape: [OnnxDimension(.fixed(3))]))) }
    let graph = OnnxGraph(name: "graph", nodes: [node], inputs: node.inputs.map { info($0, .float) }, outputs: [info("y", type)])
    return try OnnxWriter.bytes(OnnxModel(irVersion: 8, operatorSets: [OnnxOperatorSet(version: 17)], graph: graph))
  }

  @Test func bf16ResultsAreWidened() throws {
    let bench = try Bench()
    defer { bench.remove() }
    try bench.write("m.onnx", Self.file(OnnxNode(operatorType: "Cast", inputs: ["x"], outputs: ["y"], attributes: [OnnxAttribute(name: "to", value: .int(16))]), .bfloat16))
    try NumPyArray.write(Tensor([1, 0.5, -3], shape: [3]), to: "\(bench.folder)/x.npy")
    let arguments = ["run", "--model", "\(bench.folder)/m.onnx", "--input", "\(bench.folder)/x.npy", "--output-dir", "\(bench.folder)/out"]
    // A name given twice is one output.
    let result = try Tool.run(arguments + ["--outputs", "y,y"])
    #expect(result.status == 0, "\(result.errors)")
    let y = try NumPyArray.read(path: "\(bench.folder)/out/y.npy")
    #expect(y.dtype == .f32 && y.floats() == [1, 0.5, -3])
    for option in [["--budget", "1MB"], ["--heads", "3"], ["--arch", "vit_small"], ["--checkpoint-key", "teacher"], ["--batch-size", "2"]] {
      let refused = try Tool.run(arguments + option)
      #expect(refused.status == 64 && refused.errors.contains(option[0]), "\(refused.status) \(refused.errors)")
    }
  }

  @Test func inspectListsTheTensors() throws {
    let bench = try Bench()
    defer { bench.remove() }
    func info(_ name: String) -> OnnxValueInfo { OnnxValueInfo(name: name, type: OnnxType(.tensor(.float, shape: [OnnxDimension(.fixed(3))]))) }
    let weight = try #require(OnnxTensor(name: "w", Tensor([1, 2, 3], shape: [3])))
    let graph = OnnxGraph(name: "graph", nodes: [OnnxNode(operatorType: "Add", inputs: ["x", "w"], outputs: ["y"])], inputs: [info("x")], outputs: [info("y")], initializers: [weight])
    try bench.write("m.onnx", OnnxWriter.bytes(OnnxModel(irVersion: 8, operatorSets: [OnnxOperatorSet(version: 17)], graph: graph)))
    let line = "\n  w  FLOAT [3]\n"
    #expect(try Tool.run(["inspect", "\(bench.folder)/m.onnx", "--tensors"]).output.contains(line))
    #expect(try !Tool.run(["inspect", "\(bench.folder)/m.onnx"]).output.contains(line))
  }

  /// Patches of 2 pixels with a number added to each of 4x4: the file declares any size, and nothing but 8x8 pixels can be computed.
  @Test func inspectLooksForASizeThatWorks() throws {
    let bench = try Bench()
    defer { bench.remove() }
    func info(_ name: String, _ channels: Int) -> OnnxValueInfo {
      let shape = [OnnxDimension(.fixed(1)), OnnxDimension(.fixed(Int64(channels))), OnnxDimension(.symbolic("h")), OnnxDimension(.symbolic("w"))]
      return OnnxValueInfo(name: name, type: OnnxType(.tensor(.float, shape: shape)))
    }
    func constant(_ name: String, _ shape: Shape) throws -> OnnxTensor { try #require(OnnxTensor(name: name, Tensor([Float](repeating: 0.5, count: shape.count), shape: shape))) }
    let strides = OnnxAttribute(name: "strides", value: .ints([2, 2]))
    let nodes = [OnnxNode(operatorType: "Conv", inputs: ["x", "w"], outputs: ["p"], attributes: [strides]), OnnxNode(operatorType: "Add", inputs: ["p", "b"], outputs: ["y"])]
    // The tables let the sizes 10x10 and 8x8 be guessed, in this order.
    let constants = try [constant("w", [4, 3, 2, 2]), constant("b", [1, 4, 4, 4]), constant("five", [1, 25, 4]), constant("four", [1, 16, 4])]
    let graph = OnnxGraph(name: "graph", nodes: nodes, inputs: [info("x", 3)], outputs: [info("y", 4)], initializers: constants)
    try bench.write("m.onnx", OnnxWriter.bytes(OnnxModel(irVersion: 8, operatorSets: [OnnxOperatorSet(version: 17)], graph: graph)))
    let found = try Tool.run(["inspect", "\(bench.folder)/m.onnx"])
    #expect(found.status == 0 && found.output.contains("[1, 3, 8, 8]"), "\(found.output) \(found.errors)")
    #expect(found.output.contains("8x8 is one, 10x10 is not"), "\(found.output)")
  }

  @Test func inspectCountsRegisters() throws {
    let found = try Tool.run(["inspect", Fixtures.path("onnx-networks/hf_dynamo18_dinov2_registers/model.onnx")])
    #expect(found.output.contains(" registers, MLP "), "\(found.output)")
  }

  @Test func severalInputsNeedNames() throws {
    let bench = try Bench()
    defer { bench.remove() }
    try bench.write("m.onnx", Self.file(OnnxNode(operatorType: "Add", inputs: ["a", "b"], outputs: ["y"])))
    let x = "\(bench.folder)/x.npy", arguments = ["run", "--model", "\(bench.folder)/m.onnx", "--output-dir", "\(bench.folder)/out"]
    try NumPyArray.write(Tensor([1, 2, 3], shape: [3]), to: x)
    let unnamed = try Tool.run(arguments + ["--input", x])
    #expect(unnamed.status == 64 && unnamed.errors.contains("NAME=") && unnamed.errors.contains("a, b"), "\(unnamed.errors)")
    #expect(try Tool.run(arguments + ["--input", "a=\(x)", "b=\(x)"]).status == 0)
    #expect(try NumPyArray.read(path: "\(bench.folder)/out/y.npy").floats() == [2, 4, 6])
  }

  @Test(arguments: ["f16", "bf16"]) func narrowWeightsComeBack(_ dtype: String) throws {
    let bench = try Bench()
    defer { bench.remove() }
    let file = "\(bench.folder)/m.onnx"
    #expect(try Tool.run(["export", "--model", bench.model, "--onnx", file, "--dtype", dtype, "--quiet"]).status == 0)
    let back = try Tool.run(["convert", file, "\(bench.folder)/back.safetensors", "--quiet"])
    #expect(back.status == 0, "\(back.errors)")
  }

  /// The last block's attention needs neither its values nor what comes after.
  @Test func aPartOfANetworkIsNoCheckpoint() throws {
    let bench = try Bench()
    defer { bench.remove() }
    let file = "\(bench.folder)/m.onnx"
    #expect(try Tool.run(["export", "--model", bench.model, "--onnx", file, "--outputs", "attention_cls", "--quiet"]).status == 0)
    let result = try Tool.run(["convert", file, "\(bench.folder)/back.safetensors"])
    #expect(result.status == 69 && !bench.exists("back.safetensors"), "\(result.status) \(result.errors)")
  }

  @Test func externalDataIsNotWrittenOver() throws {
    let bench = try Bench()
    defer { bench.remove() }
    let a = "\(bench.folder)/a.onnx", b = "\(bench.folder)/b.onnx"
    #expect(try Tool.run(["export", "--model", bench.model, "--onnx", a, "--external-data", "--quiet"]).status == 0)
    // b reads a's data.
    try bench.write("b.onnx", bench.bytes("a.onnx"))
    let before = try bench.bytes("a.onnx.data")
    for arguments in [["export", "--model", b, "--onnx", a, "--external-data", "--dtype", "f16"], ["convert", b, "\(a).data"]] {
      let result = try Tool.run(arguments)
      #expect(result.status == 64 && result.errors.contains("a.onnx.data"), "\(arguments[0]): \(result.status) \(result.errors)")
    }
    #expect(try bench.bytes("a.onnx.data") == before)
  }
}
