// Files that the onnx library wrote (Tests/Reference/make_onnx_fixtures.py): every element type, attribute, type, function. What is read and
// written again must be the same bytes, and tensors must hold what that library says.

import DinoTensor
import Foundation
import ONNXFormat
import TestSupport
import Testing

/// What the onnx library says of a tensor, in the form that it has in memory here.
struct ExpectedTensor: Decodable {
  let type: String
  let shape: [Int]
  /// Hexadecimal; nil where there is no such form.
  let bytes: String?

  static func all() throws -> [String: ExpectedTensor] {
    try JSONDecoder().decode([String: ExpectedTensor].self, from: Data(contentsOf: URL(fileURLWithPath: Fixtures.path("onnx/expected.json"))))
  }
}

func hexadecimal(_ tensor: Tensor) -> String {
  tensor.withBytes { span in
    var text = ""
    for i in 0..<span.count { text += (span[i] < 16 ? "0" : "") + String(span[i], radix: 16) }
    return text
  }
}

@Suite struct OnnxFixtureTests {
  @Test(arguments: ["element_types", "attributes", "types", "functions", "subgraphs", "external"])
  func writtenAgainByteForByte(_ name: String) throws {
    let path = Fixtures.path("onnx/\(name).onnx")
    let file = try OnnxFile(path: path)
    let original = [UInt8](try Data(contentsOf: URL(fileURLWithPath: path)))
    #expect(try OnnxWriter.bytes(file.model) == original)
    #expect(try OnnxFile(bytes: original).model.graph.name == file.model.graph.name)
  }

  @Test func everyElementTypeHasItsValues() throws {
    let expected = try ExpectedTensor.all()
    let file = try OnnxFile(path: Fixtures.path("onnx/element_types.onnx"))
    var seen: Set<String> = []
    for tensor in file.model.graph.initializers where tensor.dataType != .string {
      let want = try #require(expected[tensor.name])
      #expect(tensor.dataType.description == want.type)
      seen.insert(want.type)
      guard let bytes = want.bytes else {
        #expect(throws: OnnxError.invalidTensor(path: file.path, tensor: tensor.name, .unsupportedType(.complex128))) { try file.tensor(tensor) }
        continue
      }
      let values = try file.tensor(tensor)
      #expect(values.shape.dims == want.shape && values.dtype == tensor.dataType.dtype)
      #expect(hexadecimal(values) == bytes, "\(tensor.name)")
    }
    #expect(seen.count == 25)
    let strings = try #require(file.model.graph.initializers.first { $0.dataType == .string })
    #expect(try strings.strings() == [Array("a".utf8), [], Array("ü".utf8)])
  }

  @Test func emptyRawDataBesideATypedField() throws {
    let file = try OnnxFile(path: Fixtures.path("onnx/typed_beside_empty_raw.onnx"))
    #expect(try file.tensor(file.model.graph.initializers[0]).floats() == [1, 2])
  }

  @Test func attributesOfEveryKind() throws {
    let model = try OnnxFile(path: Fixtures.path("onnx/attributes.onnx")).model
    let node = model.graph.nodes[0]
    #expect(node.domain == "some.domain" && node.overload == "second" && node.operatorType == "Everything" && node.docString == "note")
    #expect(node.inputs == ["", "x"] && node.outputs == ["y", ""])
    #expect(node.metadata == [OnnxProperty(key: "namespace", value: "blocks.0.attn")])
    #expect(node.attribute("f") == .float(1.5) && node.attribute("f_zero") == .float(0))
    #expect(node.attribute("i") == .int(-7) && node.attribute("i_zero") == .int(0))
    #expect(node.attribute("s")?.text == "text" && node.attribute("s_empty")?.text == "" && node.attribute("s_bytes") == .string([0xFF, 0, 0xFE]))
    #expect(node.attribute("floats") == .floats([0, -1.25, .infinity]) && node.attribute("ints") == .ints([0, -1, 1 << 62]))
    #expect(node.attribute("strings") == .strings([[97], [], [0xFF]]) && node.attribute("nothing_in_a_list") == .ints([]))
    let shape: [OnnxDimension] = [OnnxDimension(.fixed(1)), OnnxDimension(.symbolic("n")), OnnxDimension(.unknown)]
    #expect(node.attribute("kind") == .type(OnnxType(.tensor(.float, shape: shape))))
    guard case .tensor(let tensor)? = node.attribute("t"), case .graph(let graph)? = node.attribute("g"),
          case .sparseTensor(let sparse)? = node.attribute("sparse"), case .graphs(let graphs)? = node.attribute("graphs") else {
      Issue.record("attributes of the wrong kind")
      return
    }
    #expect(try tensor.tensor().floats() == [0, 1, 2, 3])
    #expect(graph.nodes[0].attribute("value_float") == .float(2.5) && graphs.count == 2)
    #expect(sparse.dims == [4] && sparse.values.name == "v")
    #expect(node.attribute("absent") == nil)
    #expect(model.graph.metadata == [OnnxProperty(key: "k", value: "v")] && model.metadata == [OnnxProperty(key: "author", value: "nobody")])
    #expect(model.producerName == "fixtures" && model.producerVersion == "1.2" && model.modelVersion == 3 && model.irVersion == 11)
    #expect(model.graph.quantizationAnnotations == [OnnxTensorAnnotation(tensorName: "x", parameters: [OnnxProperty(key: "SCALE_TENSOR", value: "s")])])
    #expect(model.graph.sparseInitializers.count == 1)
  }

  @Test func typesOfEveryForm() throws {
    let graph = try OnnxFile(path: Fixtures.path("onnx/types.onnx")).model.graph
    let shape = [OnnxDimension(.fixed(3)), OnnxDimension(.symbolic("height")), OnnxDimension(.unknown)]
    let named = [OnnxDimension(.fixed(3), denotation: "DATA_CHANNEL")] + shape.dropFirst()
    let tensor = OnnxType(.tensor(.float8e4m3fn, shape: shape))
    #expect(graph.inputs[0].type == OnnxType(.tensor(.float8e4m3fn, shape: named)) && graph.inputs[0].docString == "note")
    #expect(graph.inputs[0].metadata == [OnnxProperty(key: "a", value: "b")])
    #expect(graph.inputs[1].type == OnnxType(.tensor(.float, shape: [])))
    #expect(graph.outputs[0].type == OnnxType(.tensor(.float, shape: nil)))
    #expect(graph.outputs[1].type == OnnxType(.sparseTensor(.float, shape: [OnnxDimension(.fixed(2)), OnnxDimension(.symbolic("n"))])))
    #expect(graph.valueInfo.map(\.type) == [
      OnnxType(.sequence(OnnxType(.sequence(tensor)))), OnnxType(.optional(OnnxType(.sequence(tensor)))),
      OnnxType(.map(key: .string, value: tensor)), nil, OnnxType(.unknown, denotation: "IMAGE"),
    ])
  }

  @Test func functionsWithLaterFields() throws {
    let model = try OnnxFile(path: Fixtures.path("onnx/functions.onnx")).model
    #expect(model.operatorSetVersion() == 23 && model.operatorSetVersion(domain: "ai.onnx") == 23 && model.operatorSetVersion(domain: "local") == 1)
    #expect(model.operatorSetVersion(domain: "elsewhere") == nil)
    let function = try #require(model.functions.first)
    #expect(function.name == "Scale" && function.domain == "local" && function.overload == "o" && function.docString == "note")
    #expect(function.attributeNames == ["beta"])
    #expect(function.attributeDefaults == [OnnxAttribute(name: "alpha", value: .float(1.5))])
    #expect(function.nodes[0].attribute("value_float") == .reference(to: "alpha", .float))
    #expect(function.valueInfo == [OnnxValueInfo(name: "a", type: OnnxType(.tensor(.float, shape: [])))])
    #expect(function.metadata == [OnnxProperty(key: "origin", value: "torch")])
  }

  @Test func tensorsOfBranchesAreFound() throws {
    let model = try OnnxFile(path: Fixtures.path("onnx/subgraphs.onnx")).model
    var names: [String: Int] = [:]
    for tensor in model.tensors { names[tensor.name, default: 0] += 1 }
    // Levels 0 to 5, each If with a branch one and a branch two levels down: as many as the Fibonacci numbers.
    #expect(names["weight0"] == 1 && names["weight1"] == 1 && names["weight2"] == 2 && names["weight3"] == 3 && names["weight4"] == 5)
    #expect(names["value"] == 8)
    let renamed = try model.mapTensors { tensor in
      var tensor = tensor
      tensor.name += "!"
      return tensor
    }
    for tensor in renamed.tensors { #expect(tensor.name.hasSuffix("!")) }
  }

  @Test func externalDataAreMapped() throws {
    let expected = try ExpectedTensor.all()
    let file = try OnnxFile(path: Fixtures.path("onnx/external.onnx"))
    #expect(file.externalLocations == ["external/weights.bin"])
    try file.checkExternalData()
    for tensor in file.model.graph.initializers {
      let values = try file.tensor(tensor)
      #expect(hexadecimal(values) == expected["external_" + tensor.name]?.bytes)
      #expect(values.storage.kind == .mapped)
    }
    #expect(try file.tensor(file.model.graph.initializers[0]).storage === file.tensor(file.model.graph.initializers[1]).storage)
    let embedded = try OnnxFile(bytes: try OnnxWriter.bytes(try file.modelWithExternalData()))
    for (tensor, original) in zip(embedded.model.graph.initializers, file.model.graph.initializers) {
      #expect(try hexadecimal(embedded.tensor(tensor)) == hexadecimal(file.tensor(original)))
    }
  }

  @Test func rawDataStayInTheFile() throws {
    let file = try OnnxFile(path: Fixtures.path("onnx/element_types.onnx"))
    let tensor = try #require(file.model.graph.initializers.first { $0.name == "FLOAT_raw_2x3" })
    #expect(try file.tensor(tensor).storage.kind == .mapped)
  }
}
