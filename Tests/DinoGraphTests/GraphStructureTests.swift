// Verifier, printer, pruning and flops on small graphs.

import DinoGraph
import DinoTensor
import TestSupport
import Testing

/// x → linear → gelu → linear, with a second branch that only `other` needs.
private func sample() -> Graph {
  var g = Graph()
  let x = g.input("x", dtype: .f32, dims: [.free("B"), .fixed(2), .fixed(3)])
  _ = g.input("unused", dtype: .f32, dims: [.free("B")])
  let w1 = g.constant("fc1.weight", Tensor([Float](repeating: 1, count: 12), shape: [4, 3]))
  let b1 = g.constant("fc1.bias", Tensor([0, 0, 0, 0], shape: [4]))
  let w2 = g.constant("other.weight", Tensor([Float](repeating: 1, count: 15), shape: [5, 3]))
  let h = g.core(.linear(LinearEpilogue(bias: true)), [x, w1, b1], name: "fc1")
  let a = g.core(.activation(.gelu), [h], name: "act")
  let o = g.core(.linear(LinearEpilogue(bias: false)), [x, w2], name: "other")
  g.output("main", a)
  g.output("other", o)
  return g
}

@Suite struct GraphStructureTests {
  @Test func printsOneLineForEachPart() throws {
    let g = sample()
    let shapes = try g.inferShapes(inputs: ["x": [7, 2, 3], "unused": [7]])
    #expect(g.text(shapes: shapes) == """
      input   %0 x F32 [B, 2, 3]
      input   %1 unused F32 [B]
      const   %2 fc1.weight F32 [4, 3]
      const   %3 fc1.bias F32 [4]
      const   %4 other.weight F32 [5, 3]
      node    %5 = linear{bias}(%0, %2, %3) // fc1 [7, 2, 4]
      node    %6 = activation{gelu}(%5) // act [7, 2, 4]
      node    %7 = linear(%0, %4) // other [7, 2, 5]
      output  main = %6
      output  other = %7

      """)
    #expect(!g.text(constants: false).contains("const"))
  }

  @Test func printsEveryAttribute() {
    let resize = PositionResize(kernel: .bicubic, cubicA: -0.5, antialias: true, offset: nil)
    let expected: [(Core, String)] = [
      (.patchEmbedding(patch: 16), "patchEmbedding{patch=16}"),
      (.positionEmbedding(patch: 16, special: 1, nativeRows: 14, nativeColumns: 9, resize: resize),
       "positionEmbedding{patch=16 special=1 native=14x9 resize=bicubic,a=-0.5,antialias}"),
      (.positionEmbedding(patch: 8, special: 0, nativeRows: 2, nativeColumns: 2, resize: .officialOffset),
       "positionEmbedding{patch=8 special=0 native=2x2 resize=bicubic,a=-0.75,offset=0.1}"),
      (.layerNorm(epsilon: 1e-6), "layerNorm{epsilon=1e-06}"),
      (.linear(LinearEpilogue(bias: true, activation: .geluTanh, scale: true, residual: true)), "linear{bias gelu_tanh scale residual}"),
      (.attention(heads: 3, scale: 0.125), "attention{heads=3 scale=0.125}"),
      (.attention(heads: 3, scale: 0.125, queries: 1), "attention{heads=3 scale=0.125 queries=1}"),
      (.attentionWeights(heads: 3, scale: 0.125, firstRowOnly: true), "attentionWeights{heads=3 scale=0.125 firstRowOnly}"),
      (.selectToken(index: 0), "selectToken{index=0}"),
      (.sliceTokens(start: 1, count: nil), "sliceTokens{start=1}"),
      (.sliceTokens(start: 1, count: 2), "sliceTokens{start=1 count=2}"),
      (.l2Normalize(epsilon: 1e-12), "l2Normalize{epsilon=1e-12}"),
      (.rotaryAngles(patch: 8, special: 5, sine: true), "rotaryAngles{patch=8 special=5 sine}"),
      (.rotaryAngles(patch: 8, special: 5, sine: false), "rotaryAngles{patch=8 special=5 cosine}"),
      (.softmax, "softmax"),
    ]
    for (op, text) in expected { #expect(Operator.core(op).text == text) }
  }

  @Test func prunes() throws {
    let g = try sample().pruned(outputs: ["main", "main"])
    #expect(g.outputs.map(\.name) == ["main"])
    #expect(g.nodes.map(\.name) == ["fc1", "act"])
    #expect(Set(g.constants.values.map(\.name)) == ["fc1.weight", "fc1.bias"])
    #expect(g.inputs.map(\.name) == ["x", "unused"])
    try g.verify()
    #expect(throws: GraphError.unknownOutput(name: "none", known: ["main", "other"])) { try sample().pruned(outputs: ["none"]) }
  }

  @Test func countsProducts() throws {
    let g = sample()
    let shapes = try g.inferShapes(inputs: ["x": [7, 2, 3], "unused": [7]])
    #expect(g.flops(shapes: shapes) == [2 * 7 * 2 * 3 * 4, 0, 2 * 7 * 2 * 3 * 5])
    #expect(g.totalFlops(shapes: shapes) == 336 + 420)
  }

  @Test func countsAttentionAndPatches() throws {
    var g = Graph()
    let image = g.input("image", dtype: .f32, dims: [.free("B"), .fixed(3), .free("H"), .free("W")])
    let w = g.constant("w", Tensor([Float](repeating: 0, count: 12 * 3 * 4), shape: [12, 3, 2, 2]))
    let b = g.constant("b", Tensor([Float](repeating: 0, count: 12), shape: [12]))
    let qkv = g.core(.patchEmbedding(patch: 2), [image, w, b], name: "patches")
    _ = g.core(.attention(heads: 2, scale: 1), [qkv], name: "attention")
    _ = g.core(.attentionWeights(heads: 2, scale: 1, firstRowOnly: false), [qkv], name: "weights")
    _ = g.core(.attentionWeights(heads: 2, scale: 1, firstRowOnly: true), [qkv], name: "row")
    let shapes = try g.inferShapes(inputs: ["image": [5, 3, 4, 6]])
    // N = 6, d = 2, h = 2.
    #expect(g.flops(shapes: shapes) == [2 * 5 * 6 * 12 * 12, 5 * 2 * (2 * 6 * 6 * 2) * 2, 5 * 2 * (2 * 6 * 6 * 2), 5 * 2 * (2 * 6 * 2)])
  }

  // MARK: Verifier

  @Test func acceptsTheSample() throws { try sample().verify() }

  @Test func findsEachFault() {
    func fault(_ edit: (inout Graph) -> Void) -> GraphError? {
      var g = sample()
      edit(&g)
      do throws(GraphError) {
        try g.verify()
        return nil
      } catch { return error }
    }
    #expect(fault { $0.nodes.swapAt(0, 1) } == .undefinedValue(reader: "act", value: 5))
    #expect(fault { $0.nodes[1].inputs = [] } == .arity(node: "act", op: "activation{gelu}", expected: "1", found: 0))
    #expect(fault { $0.nodes[1].inputs = [ValueID(99)] } == .valueOutOfRange(owner: "act", value: 99, count: 8))
    #expect(fault { $0.nodes[1].output = ValueID(-1) } == .valueOutOfRange(owner: "act", value: -1, count: 8))
    #expect(fault { $0.nodes[1].output = ValueID(5) } == .producedTwice(value: 5, by: "act"))
    #expect(fault { $0.nodes[1].output = ValueID(0) } == .producedTwice(value: 0, by: "act"))
    #expect(fault { $0.inputs[1].value = ValueID(0) } == .producedTwice(value: 0, by: "unused"))
    #expect(fault { $0.inputs[1].name = "x" } == .duplicateName(kind: "input", name: "x"))
    #expect(fault { $0.outputs[1].name = "main" } == .duplicateName(kind: "output", name: "main"))
    #expect(fault { $0.nodes.removeLast() } == .undefinedValue(reader: "other", value: 7))
    #expect(fault { $0.inputs[0].dtype = .c64 } == .dtype(name: "x", found: .c64))
    #expect(fault { $0.constants[ValueID(3)]!.tensor = Tensor.copy([UInt64(0)], dtype: .c64, shape: [1]) } == .dtype(name: "fc1.bias", found: .c64))
    #expect(fault { $0.nodes.removeLast(); $0.outputs.removeLast() } == nil)
  }
}
