// Models of real exporters, where the shared golden data are there: each is read, its tensors have values, and it is written and read again.

import DinoTensor
import Foundation
import ONNXFormat
import TestSupport
import Testing

struct ReferenceModel: CustomTestStringConvertible, Sendable {
  let name, path: String
  var testDescription: String { name }

  static let all: [ReferenceModel] = {
    guard let folder = Fixtures.shared("reference/onnx") else { return [] }
    let names = ((try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []).sorted()
    return names.map { ReferenceModel(name: $0, path: "\(folder)/\($0)/model.onnx") }.filter { FileManager.default.fileExists(atPath: $0.path) }
  }()
}

/// The parts of case.json that the wire format can be held against.
private struct Case: Decodable {
  let ops: [String: Int]
  let shapes: [String: [Int]]
}

@Suite(.enabled(if: !ReferenceModel.all.isEmpty, "needs the shared golden data")) struct OnnxReferenceTests {
  @Test(arguments: ReferenceModel.all) func isReadWholly(_ reference: ReferenceModel) throws {
    let file = try OnnxFile(path: reference.path)
    let folder = (reference.path as NSString).deletingLastPathComponent
    let expected = try JSONDecoder().decode(Case.self, from: Data(contentsOf: URL(fileURLWithPath: folder + "/case.json")))
    var operators: [String: Int] = [:]
    for node in file.model.graph.nodes { operators[node.operatorType, default: 0] += 1 }
    #expect(operators == expected.ops)
    for name in expected.shapes.keys {
      let plain = name.split(separator: ".", maxSplits: 1).last.map(String.init)
      #expect((file.model.graph.inputs + file.model.graph.outputs).contains { $0.name == plain })
    }
    try file.checkExternalData()
    for tensor in file.model.tensors {
      let values = try file.tensor(tensor)
      #expect(values.shape.dims == tensor.dims.map(Int.init))
    }
  }

  @Test(arguments: ReferenceModel.all) func isTheSameWhenWrittenAndRead(_ reference: ReferenceModel) throws {
    let file = try OnnxFile(path: reference.path)
    let written = try OnnxWriter.bytes(file.model)
    let again = try OnnxFile(bytes: written)
    #expect(again.model == file.model)
    #expect(try OnnxWriter.bytes(again.model) == written)
  }

  @Test(.enabled(if: Fixtures.shared("weights/dinov2_small_14_graph_only.onnx") != nil, "needs the shared weights"))
  func aGraphWithoutItsWeightsCanBeLookedAt() throws {
    let path = try #require(Fixtures.shared("weights/dinov2_small_14_graph_only.onnx"))
    let file = try OnnxFile(path: path)
    #expect(file.model.graph.nodes.count > 100 && file.model.graph.initializers.count > 100 && !file.externalLocations.isEmpty)
    let first = try #require(file.model.graph.initializers.first { $0.externalReference != nil })
    let error = #expect(throws: OnnxError.self) { try file.checkExternalData() }
    #expect(error == .externalDataMissing(path: path, location: file.externalLocations[0], tensor: first.name))
    #expect(error?.description.contains(file.externalLocations[0]) == true)
    #expect(throws: OnnxError.self) { try file.tensor(first) }
  }
}
