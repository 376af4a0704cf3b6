// Each shape rule: one accepted form and the rejected ones, each rejection with its typed error and a sentence that names the node.

import DinoGraph
import DinoTensor
import Testing

/// The shape that one operator gives, in a graph whose inputs have these shapes.
private func infer(_ op: Core, _ shapes: [Shape]) throws(GraphError) -> Shape {
  var graph = Graph()
  var inputs: [ValueID] = []
  var given: [String: Shape] = [:]
  for (i, shape) in shapes.enumerated() {
    inputs.append(graph.input("in\(i)", dtype: .f32, dims: shape.dims.indices.map { .free("d\(i)_\($0)") }))
    given["in\(i)"] = shape
  }
  let result = graph.core(op, inputs, name: "node")
  graph.output("out", result)
  guard let shape = try graph.inferShapes(inputs: given)[result] else { throw .undefinedValue(reader: "out", value: result.index) }
  return shape
}

private let position = Core.positionEmbedding(patch: 8, special: 1, nativeRows: 2, nativeColumns: 3, resize: .officialOffset)
private let full = Core.linear(LinearEpilogue(bias: true, activation: .gelu, scale: true, residual: true))

@Suite struct ShapeInferenceTests {
  static let accepted: [(Core, [Shape], Shape)] = [
    (.patchEmbedding(patch: 8), [[2, 3, 17, 31], [5, 3, 8, 8], [5]], [2, 6, 5]),
    (position, [[1, 7, 5], [2, 3, 24, 40]], [1, 16, 5]),
    (.prependTokens, [[1, 2, 5], [3, 6, 5]], [3, 8, 5]),
    (.add, [[2, 7, 5], [1, 7, 5]], [2, 7, 5]),
    (.add, [[5], [2, 7, 5]], [2, 7, 5]),
    (.add, [[2, 1], [1, 3]], [2, 3]),
    (.multiply, [[2, 7, 5], [5]], [2, 7, 5]),
    (.layerNorm(epsilon: 1e-6), [[2, 7, 5], [5], [5]], [2, 7, 5]),
    (.linear(LinearEpilogue(bias: false)), [[2, 7, 5], [4, 5]], [2, 7, 4]),
    (.linear(LinearEpilogue(bias: true)), [[5], [4, 5], [4]], [4]),
    (full, [[2, 7, 5], [4, 5], [4], [4], [2, 7, 4]], [2, 7, 4]),
    (.linear(LinearEpilogue(bias: false, residual: true)), [[2, 5], [4, 5], [2, 4]], [2, 4]),
    (.activation(.gelu), [[2, 3]], [2, 3]),
    (.gate(.silu), [[2, 7, 6]], [2, 7, 3]),
    (.attention(heads: 2, scale: 1), [[2, 7, 12]], [2, 7, 4]),
    (.attention(heads: 2, scale: 1), [[2, 7, 4], [2, 7, 4], [2, 7, 4]], [2, 7, 4]),
    (.attention(heads: 2, scale: 1, queries: 3), [[2, 7, 12]], [2, 3, 4]),
    (.attentionWeights(heads: 2, scale: 1, firstRowOnly: false), [[2, 7, 12]], [2, 2, 7, 7]),
    (.attentionWeights(heads: 2, scale: 1, firstRowOnly: true), [[2, 7, 12]], [2, 2, 7]),
    (.selectToken(index: 6), [[2, 7, 5]], [2, 5]),
    (.sliceTokens(start: 1, count: nil), [[2, 7, 5]], [2, 6, 5]),
    (.sliceTokens(start: 5, count: 2), [[2, 7, 5]], [2, 2, 5]),
    (.meanTokens, [[2, 7, 5]], [2, 5]),
    (.l2Normalize(epsilon: 1e-12), [[2, 5]], [2, 5]),
    (.weightNorm, [[4, 5], [4, 1]], [4, 5]),
    (.softmax, [[2, 5]], [2, 5]),
  ]

  @Test(arguments: accepted.indices) func givesTheShape(_ i: Int) throws {
    let (op, inputs, expected) = Self.accepted[i]
    #expect(try infer(op, inputs) == expected, "\(op)")
  }

  static let rejected: [(Core, [Shape])] = [
    (.patchEmbedding(patch: 8), [[2, 3, 16], [5, 3, 8, 8], [5]]),
    (.patchEmbedding(patch: 8), [[2, 4, 16, 16], [5, 3, 8, 8], [5]]),
    (.patchEmbedding(patch: 8), [[2, 3, 16, 16], [5, 3, 8, 16], [5]]),
    (.patchEmbedding(patch: 8), [[2, 3, 16, 16], [5, 3, 8, 8], [6]]),
    (.patchEmbedding(patch: 8), [[2, 3, 7, 16], [5, 3, 8, 8], [5]]),
    (position, [[1, 6, 5], [2, 3, 24, 40]]),
    (position, [[2, 7, 5], [2, 3, 24, 40]]),
    (position, [[1, 7, 5], [2, 3, 24, 7]]),
    (.rotaryAngles(patch: 8, special: 1, sine: true), [[2, 1], [2, 3, 24, 40]]),
    (.rotaryAngles(patch: 8, special: 1, sine: true), [[2], [2, 3, 24, 7]]),
    (.prependTokens, [[1, 2, 5], [3, 6, 4]]),
    (.prependTokens, [[2, 2, 5], [2, 6, 5]]),
    (.add, [[2, 7, 5], [2, 6, 5]]),
    (.multiply, [[2, 7, 5], [4]]),
    (.layerNorm(epsilon: 1e-6), [[2, 7, 5], [4], [4]]),
    (.layerNorm(epsilon: 1e-6), [[2, 7, 5], [5], [4]]),
    (.linear(LinearEpilogue(bias: true)), [[2, 7, 5], [4, 6], [4]]),
    (.linear(LinearEpilogue(bias: true)), [[2, 7, 5], [4, 5], [5]]),
    (full, [[2, 7, 5], [4, 5], [4], [5], [2, 7, 4]]),
    (full, [[2, 7, 5], [4, 5], [4], [4], [1, 7, 4]]),
    (.gate(.silu), [[2, 7, 5]]),
    (.gate(.silu), [[]]),
    (.attention(heads: 5, scale: 1), [[2, 7, 12]]),
    (.attention(heads: 2, scale: 1), [[2, 7, 13]]),
    (.attention(heads: 2, scale: 1), [[2, 7, 4], [2, 6, 4], [2, 7, 4]]),
    (.attentionWeights(heads: 3, scale: 1, firstRowOnly: true), [[2, 7, 12]]),
    (.selectToken(index: 7), [[2, 7, 5]]),
    (.sliceTokens(start: 7, count: nil), [[2, 7, 5]]),
    (.sliceTokens(start: 5, count: 3), [[2, 7, 5]]),
    (.meanTokens, [[2, 7]]),
    (.weightNorm, [[4, 5], [4]]),
    (.weightNorm, [[4, 5], [5, 1]]),
  ]

  @Test(arguments: rejected.indices) func rejectsShapes(_ i: Int) {
    let (op, inputs) = Self.rejected[i]
    #expect("\(op) \(inputs)") { try infer(op, inputs) } throws: { error in
      guard case .shapes(let node, _, _, let found)? = error as? GraphError else { return false }
      let sentence = "\(error)"
      return node == "node" && found == inputs && sentence.contains("'node'") && inputs.allSatisfy { sentence.contains("\($0)") }
    }
  }

  static let badAttributes: [(Core, [Shape])] = [
    (.patchEmbedding(patch: 0), [[2, 3, 16, 16], [5, 3, 8, 8], [5]]),
    (.positionEmbedding(patch: -1, special: 1, nativeRows: 2, nativeColumns: 3, resize: .sized), [[1, 7, 5], [2, 3, 24, 40]]),
    (.positionEmbedding(patch: 8, special: -1, nativeRows: 2, nativeColumns: 3, resize: .sized), [[1, 7, 5], [2, 3, 24, 40]]),
    (.positionEmbedding(patch: 8, special: 1, nativeRows: .max, nativeColumns: 3, resize: .sized), [[1, 7, 5], [2, 3, 24, 40]]),
    (.positionEmbedding(patch: 8, special: 1, nativeRows: 2, nativeColumns: 3,
                        resize: PositionResize(kernel: .bicubic, cubicA: .nan, antialias: false, offset: nil)), [[1, 7, 5], [2, 3, 24, 40]]),
    (.rotaryAngles(patch: 0, special: 1, sine: true), [[2], [2, 3, 24, 40]]),
    (.rotaryAngles(patch: 8, special: -1, sine: true), [[2], [2, 3, 24, 40]]),
    (.layerNorm(epsilon: .nan), [[2, 5], [5], [5]]),
    (.attention(heads: 0, scale: 1), [[2, 7, 12]]),
    (.attention(heads: 2, scale: 1, queries: 0), [[2, 7, 12]]),
    (.attention(heads: 2, scale: 1, queries: 8), [[2, 7, 12]]),
    (.attention(heads: 2, scale: .infinity), [[2, 7, 12]]),
    (.selectToken(index: -1), [[2, 7, 5]]),
    (.sliceTokens(start: -1, count: nil), [[2, 7, 5]]),
    (.sliceTokens(start: 0, count: 0), [[2, 7, 5]]),
    (.l2Normalize(epsilon: -1), [[2, 5]]),
  ]

  @Test(arguments: badAttributes.indices) func rejectsAttributes(_ i: Int) {
    let (op, inputs) = Self.badAttributes[i]
    #expect("\(op)") { try infer(op, inputs) } throws: { error in
      if case .attribute("node", _, _, _)? = error as? GraphError { true } else { false }
    }
  }

  @Test func rejectsResultsThatCannotBeCounted() {
    // T is accepted as an input extent, but T·T overflows.
    let t = 4_000_000_000
    #expect(throws: GraphError.self) { try infer(.attentionWeights(heads: 1, scale: 1, firstRowOnly: false), [[1, t, 3]]) }
    #expect { try infer(.add, [[1 << 40, 1], [1, 1 << 40]]) } throws: { error in
      if case .tooLarge("node", _, _)? = error as? GraphError { true } else { false }
    }
  }

  @Test func rejectsWrongArity() {
    #expect { try infer(.attention(heads: 1, scale: 1), [[1, 2, 3], [1, 2, 3]]) } throws: { error in
      if case .arity("node", _, "1 or 3", 2)? = error as? GraphError { true } else { false }
    }
  }

  private func twoInputs() -> Graph {
    var graph = Graph()
    let a = graph.input("a", dtype: .f32, dims: [.free("B"), .fixed(3)])
    let b = graph.input("b", dtype: .f32, dims: [.free("B"), .fixed(3)])
    graph.output("sum", graph.core(.add, [a, b], name: "sum"))
    return graph
  }

  @Test func bindsFreeNamesOnceForAllInputs() throws {
    let graph = twoInputs()
    #expect(try graph.inferShapes(inputs: ["a": [4, 3], "b": [4, 3]])[graph.outputs[0].value] == [4, 3])
    #expect(throws: GraphError.freeDimension(name: "B", first: 4, second: 1, input: "b")) { try graph.inferShapes(inputs: ["a": [4, 3], "b": [1, 3]]) }
  }

  @Test func checksInputsAgainstTheirDeclaration() {
    let graph = twoInputs()
    #expect(throws: GraphError.missingInput(name: "b")) { try graph.inferShapes(inputs: ["a": [4, 3]]) }
    #expect(throws: GraphError.unknownInput(name: "c", known: ["a", "b"])) { try graph.inferShapes(inputs: ["a": [4, 3], "b": [4, 3], "c": [1]]) }
    #expect(throws: GraphError.inputDimension(name: "a", axis: 1, expected: 3, found: 5)) { try graph.inferShapes(inputs: ["a": [4, 5], "b": [4, 3]]) }
    #expect(throws: GraphError.inputShape(name: "a", declared: "[B, 3]", found: [4])) { try graph.inferShapes(inputs: ["a": [4], "b": [4, 3]]) }
    #expect(throws: GraphError.inputShape(name: "a", declared: "[B, 3]", found: [0, 3])) { try graph.inferShapes(inputs: ["a": [0, 3], "b": [4, 3]]) }
    #expect(throws: GraphError.inputShape(name: "a", declared: "[B, 3]", found: [.max, 3])) { try graph.inferShapes(inputs: ["a": [.max, 3], "b": [4, 3]]) }
  }
}
