// Gradients of the graph pass against finite differences of the forward twins: every differentiable operator alone, and whole small networks.
// The twins store f32, so steps are wide and of four points; what a kink would spoil is left out of the inputs.

import DinoGraph
@testable import DinoRuntime
import DinoTensor
import Testing
import TestSupport

/// Knobs of one comparison.
private struct Check {
  /// Half width of the step.
  var step: Float = 0.02
  /// 2 or 4.
  var points = 4
  /// Elements of each parameter that are compared, spread over it.
  var most = 24
  /// Of the largest entry of a parameter's gradient.
  var tolerance = 2e-3

  /// The worst difference over all parameters, in units of the largest entry of the gradient concerned.
  func worst(_ graph: Graph, _ y: ValueID, by parameters: [ValueID], inputs: [String: Tensor], random: inout SplitMix64,
             tampered: (Float) -> Float = { $0 }) throws -> (difference: Double, name: String) {
    let shapes = try graph.inferShapes(inputs: inputs.mapValues(\.shape))
    let r = random.floats(shapes[y]!.count)
    var forward = graph
    forward.output("y", y)
    var backward = graph
    let seed = backward.constant("seed", Tensor(r, shape: shapes[y]!))
    let gradients = try backward.differentiate(y, by: parameters, seed: seed)
    for id in parameters { backward.output("\(id.index)", gradients[id]!) }
    try backward.verify()
    let results = try ReferenceEvaluator.run(backward, inputs: inputs, outputs: parameters.map { "\($0.index)" })
    var worst = (0.0, "")
    for id in parameters {
      let constant = graph.constants[id]!, values = constant.tensor.floats()
      let gradient = results["\(id.index)"]!
      #expect(gradient.shape == constant.tensor.shape)
      func value(_ i: Int, _ offset: Float) throws -> Double {
        var moved = values, g = forward
        moved[i] += offset
        g.constants[id]!.tensor = Tensor(moved, shape: constant.tensor.shape)
        let out = try ReferenceEvaluator.run(g, inputs: inputs, outputs: ["y"])["y"]!.floats()
        return zip(out, r).reduce(0.0) { $0 + Double($1.0) * Double($1.1) }
      }
      let g = gradient.floats().map(tampered), largest = g.reduce(1e-3) { max($0, abs(Double($1))) }
      for i in Swift.stride(from: 0, to: values.count, by: max(1, values.count / most)) {
        let h = Double(step)
        var slope = (try value(i, step) - value(i, -step)) / (2 * h)
        if points == 4 { slope = (4 * slope - (try value(i, 2 * step) - value(i, -2 * step)) / (4 * h)) / 3 }
        let difference = abs(slope - Double(g[i])) / largest
        if !(difference <= worst.0) { worst = (difference, "\(constant.name)[\(i)]: \(g[i]), by differences \(slope)") }
      }
    }
    return worst
  }

  func run(_ graph: Graph, _ y: ValueID, by parameters: [ValueID], inputs: [String: Tensor] = [:], seed: UInt64, _ what: String) throws {
    var random = SplitMix64(seed: seed)
    let found = try worst(graph, y, by: parameters, inputs: inputs, random: &random)
    #expect(found.difference < tolerance, "\(what): \(found.name)")
  }
}

@Suite struct DifferentiationTests {
  /// One operator, the shapes of its operands, and which of them it is differentiated by.
  struct Case: CustomTestStringConvertible, Sendable {
    var op: Core
    var shapes: [Shape]
    var by: [Int]
    /// Operands that must be positive and sum to something: targets, factors.
    var positive: [Int] = []
    /// Operands that are what they are: rows' numbers.
    var given: [Int: [Float]] = [:]
    var testDescription: String { "\(Operator.core(op).text) \(shapes)" }
  }

  static let cases: [Case] = [
    Case(op: .patchEmbedding(patch: 2), shapes: [[2, 3, 5, 4], [7, 3, 2, 2], [7]], by: [1, 2]),
    Case(op: .positionEmbedding(patch: 2, special: 1, nativeRows: 3, nativeColumns: 3, resize: .officialOffset), shapes: [[1, 10, 5], [1, 3, 4, 10]], by: [0]),
    Case(op: .positionEmbedding(patch: 2, special: 1, nativeRows: 4, nativeColumns: 4, resize: .antialiased), shapes: [[1, 17, 3], [1, 3, 4, 6]], by: [0]),
    Case(op: .positionEmbedding(patch: 2, special: 1, nativeRows: 2, nativeColumns: 2, resize: .officialOffset), shapes: [[1, 5, 3], [1, 3, 4, 4]], by: [0]),
    Case(op: .prependTokens, shapes: [[1, 2, 5], [3, 4, 5]], by: [0, 1]),
    Case(op: .add, shapes: [[2, 3, 4], [1, 3, 4]], by: [0, 1]),
    Case(op: .add, shapes: [[4], [2, 3, 4]], by: [0, 1]),
    Case(op: .multiply, shapes: [[2, 3, 4], [4]], by: [0, 1]),
    Case(op: .multiply, shapes: [[2, 3, 4], [2, 1, 1]], by: [0]),
    Case(op: .layerNorm(epsilon: 1e-2), shapes: [[3, 9], [9], [9]], by: [0, 1, 2]),
    Case(op: .linear(LinearEpilogue(bias: true)), shapes: [[2, 3, 5], [7, 5], [7]], by: [0, 1, 2]),
    Case(op: .linear(LinearEpilogue(bias: false, transposedWeight: true)), shapes: [[3, 5], [5, 7]], by: [0, 1]),
    Case(op: .activation(.gelu), shapes: [[3, 11]], by: [0]),
    Case(op: .activation(.geluTanh), shapes: [[3, 11]], by: [0]),
    Case(op: .activation(.silu), shapes: [[3, 11]], by: [0]),
    Case(op: .gate(.silu), shapes: [[2, 3, 22]], by: [0]),
    Case(op: .gate(.gelu), shapes: [[3, 6]], by: [0]),
    // Away from the kink.
    Case(op: .activation(.relu), shapes: [[3, 11]], by: [0], positive: [0]),
    Case(op: .attention(heads: 2, scale: 0.7), shapes: [[2, 5, 18]], by: [0]),
    Case(op: .attention(heads: 2, scale: 0.7, queries: 1), shapes: [[2, 5, 18]], by: [0]),
    Case(op: .attention(heads: 2, scale: 0.7, queries: 3), shapes: [[2, 5, 18]], by: [0]),
    // Any numbers for cosines and sines: the halves of a head need not agree.
    Case(op: .rotary(columns: 8), shapes: [[2, 3, 10], [3, 4], [3, 4]], by: [0]),
    Case(op: .rotary(columns: 8, transposed: true), shapes: [[2, 3, 10], [3, 4], [3, 4]], by: [0]),
    Case(op: .selectToken(index: 1), shapes: [[2, 3, 4]], by: [0]),
    Case(op: .sliceTokens(start: 1, count: 2), shapes: [[2, 4, 3]], by: [0]),
    Case(op: .meanTokens, shapes: [[2, 3, 4]], by: [0]),
    Case(op: .l2Normalize(epsilon: 1e-12), shapes: [[3, 6]], by: [0]),
    // Shorter than epsilon: the divisor is constant.
    Case(op: .l2Normalize(epsilon: 50), shapes: [[3, 6]], by: [0]),
    Case(op: .weightNorm, shapes: [[4, 6], [4, 1]], by: [0, 1]),
    Case(op: .softmax, shapes: [[3, 7]], by: [0]),
    Case(op: .training(.concatenateBatch), shapes: [[2, 3], [1, 3], [4, 3]], by: [0, 1, 2]),
    Case(op: .training(.softCrossEntropy), shapes: [[3, 6], [3, 6], [1]], by: [0], positive: [1, 2]),
    Case(op: .training(.koleo(groups: 2)), shapes: [[8, 6]], by: [0]),
    Case(op: .training(.cosineDistance), shapes: [[3, 7], [3, 7]], by: [0]),
    Case(op: .training(.cosineDistance), shapes: [[2, 3, 5], [2, 3, 5]], by: [0]),
    Case(op: .training(.gatherRows), shapes: [[2, 3, 4], [4]], by: [0], given: [1: [5, 0, 2, 3]]),
    Case(op: .training(.gatherRows), shapes: [[5, 17], [1]], by: [0], given: [1: [4]]),
    Case(op: .training(.gatherRows), shapes: [[2, 3, 4], [5]], by: [0], given: [1: [-1, 0, 2, 5, -1]]),
    Case(op: .training(.replaceRows), shapes: [[2, 3, 4], [3], [1, 4]], by: [0, 2], given: [1: [1, 5, 2]]),
    Case(op: .training(.replaceRows), shapes: [[2, 3, 4], [3], [1, 4]], by: [0, 2], given: [1: [3, -1, -1]]),
    Case(op: .training(.replaceRows), shapes: [[3, 5], [3], [5]], by: [0, 2], given: [1: [2, 0, 1]]),
    Case(op: .training(.batchNorm(epsilon: 1e-2)), shapes: [[5, 7], [7], [7]], by: [0, 1, 2]),
  ]

  @Test(arguments: cases) func operatorAgreesWithFiniteDifferences(_ c: Case) throws {
    var random = SplitMix64(seed: 3)
    var graph = Graph(), operands: [ValueID] = []
    for (i, shape) in c.shapes.enumerated() {
      let values = c.given[i] ?? random.floats(shape.count, in: c.positive.contains(i) ? 0.3...1.5 : -1...1)
      operands.append(graph.constant("operand \(i)", Tensor(values, shape: shape)))
    }
    let y = graph.core(c.op, operands, name: "y")
    try Check().run(graph, y, by: c.by.map { operands[$0] }, seed: 4, c.testDescription)
  }

  /// The check can fail: a gradient that is 1 % off is found.
  @Test func theCheckFindsAWrongGradient() throws {
    var graph = Graph()
    let x = graph.constant("x", Tensor([0.3, -0.8, 1.1], shape: [1, 3]))
    let y = graph.core(.activation(.gelu), [x], name: "y")
    for (factor, wrong) in [(Float(1), false), (1.01, true)] {
      var random = SplitMix64(seed: 5)
      let found = try Check().worst(graph, y, by: [x], inputs: [:], random: &random) { $0 * factor }
      #expect((found.difference > Check().tolerance) == wrong, "\(found)")
    }
  }

  @Test func attentionWeightsAndUnrelatedParametersAreRefused() throws {
    var graph = Graph()
    let qkv = graph.constant("qkv", Tensor([Float](repeating: 0.1, count: 2 * 6), shape: [1, 2, 6]))
    let other = graph.constant("other", Tensor([1], shape: [1]))
    let y = graph.core(.attentionWeights(heads: 1, scale: 1, firstRowOnly: true), [qkv], name: "weights")
    let seed = graph.constant("seed", Tensor([1, 1], shape: [1, 1, 2]))
    #expect(throws: DifferentiationError.self) { var g = graph; _ = try g.differentiate(y, by: [qkv], seed: seed) }
    let z = graph.core(.activation(.gelu), [qkv], name: "z")
    #expect(throws: DifferentiationError.independent(value: "other")) { var g = graph; _ = try g.differentiate(z, by: [other], seed: qkv) }
  }

  /// Two crop sizes through shared weights with drop path, the head once on both, the loss on top: every parameter.
  @Test(arguments: [UInt64(1), 2]) func wholeNetwork(_ seed: UInt64) throws {
    var random = SplitMix64(seed: seed)
    var g = Graph(), parameters: [ValueID] = []
    let width = 6, outputs = 8
    func weight(_ name: String, _ shape: Shape, _ spread: Float, around middle: Float = 0) -> ValueID {
      let id = g.constant(name, Tensor(random.floats(shape.count, in: middle - spread...middle + spread), shape: shape))
      parameters.append(id)
      return id
    }
    let patch = (weight("patch.weight", [width, 3, 2, 2], 0.5), weight("patch.bias", [width], 0.3))
    let cls = weight("cls", [1, 1, width], 1), positions = weight("positions", [1, 10, width], 1)
    let norm1 = (weight("norm1.weight", [width], 0.3, around: 1), weight("norm1.bias", [width], 0.3))
    let qkv = (weight("qkv.weight", [3 * width, width], 0.6), weight("qkv.bias", [3 * width], 0.3))
    let proj = weight("proj.weight", [width, width], 0.6), gamma = weight("gamma", [width], 0.3, around: 1)
    let fc1 = (weight("fc1.weight", [9, width], 0.6), weight("fc1.bias", [9], 0.3)), fc2 = weight("fc2.weight", [width, 9], 0.6)
    let v = weight("v", [outputs, width], 1), scale = weight("g", [outputs, 1], 0.2, around: 1)
    let mask = g.constant("mask", Tensor([1.25, 0], shape: [2, 1, 1]))
    func backbone(_ name: String) -> ValueID {
      let image = g.input(name, dtype: .f32, dims: [.fixed(2), .fixed(3), .free(name + ".H"), .free(name + ".W")])
      var x = g.core(.patchEmbedding(patch: 2), [image, patch.0, patch.1], name: "patch")
      x = g.core(.prependTokens, [cls, x], name: "prepend")
      x = g.core(.add, [x, g.core(.positionEmbedding(patch: 2, special: 1, nativeRows: 3, nativeColumns: 3, resize: .officialOffset), [positions, image], name: "pos")], name: "embedding")
      let n = g.core(.layerNorm(epsilon: 1e-2), [x, norm1.0, norm1.1], name: "norm1")
      let mixed = g.core(.attention(heads: 2, scale: 0.6), [g.core(.linear(LinearEpilogue(bias: true)), [n, qkv.0, qkv.1], name: "qkv")], name: "attn")
      let scaled = g.core(.multiply, [g.core(.linear(LinearEpilogue(bias: false)), [mixed, proj], name: "proj"), gamma], name: "ls")
      x = g.core(.add, [g.core(.multiply, [scaled, mask], name: "drop"), x], name: "residual")
      let hidden = g.core(.linear(LinearEpilogue(bias: true)), [x, fc1.0, fc1.1], name: "fc1")
      let fed = g.core(.linear(LinearEpilogue(bias: false)), [g.core(.activation(.gelu), [hidden], name: "act"), fc2], name: "fc2")
      return g.core(.selectToken(index: 0), [g.core(.add, [fed, x], name: "residual2")], name: "cls")
    }
    let features = [backbone("globals"), backbone("locals")]
    let unit = g.core(.l2Normalize(epsilon: 1e-12), [g.core(.training(.concatenateBatch), features, name: "concat")], name: "unit")
    let logits = g.core(.linear(LinearEpilogue(bias: false)), [unit, g.core(.weightNorm, [v, scale], name: "wn")], name: "last")
    let teacher = g.constant("teacher", Tensor(random.floats(2 * outputs), shape: [2, outputs]))
    let targets = g.core(.training(.crossViewTargets(views: 4)), [g.core(.softmax, [teacher], name: "q")], name: "targets")
    let factor = g.constant("factor", Tensor([2], shape: [1]))
    let loss = g.core(.training(.softCrossEntropy), [logits, targets, factor], name: "loss")
    let images = ["globals": Tensor(random.floats(2 * 3 * 36), shape: [2, 3, 6, 6]), "locals": Tensor(random.floats(2 * 3 * 16), shape: [2, 3, 4, 4])]
    try Check(step: 0.02, most: 6, tolerance: 5e-3).run(g, loss, by: parameters, inputs: images, seed: seed, "network")
  }
}
