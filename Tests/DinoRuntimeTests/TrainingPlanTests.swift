// Plans of graphs whose constants change between runs: backward operators against their plain twins, new values seen without a new plan, the same bits with any
// number of threads.

import DinoGraph
import DinoKernels
@testable import DinoRuntime
import DinoTensor
import Testing
import TestSupport

@Suite struct TrainingPlanTests {
  /// The gradients of Σ r · op(operands), by a plan and by the twins.
  private static func compare(_ c: DifferentiationTests.Case, kernels: String, threads: Int) throws {
    var random = SplitMix64(seed: 21)
    var graph = Graph(), operands: [ValueID] = []
    for (i, shape) in c.shapes.enumerated() {
      operands.append(graph.constant("operand \(i)", Tensor(c.given[i] ?? random.floats(shape.count, in: c.positive.contains(i) ? 0.3...1.5 : -1...1), shape: shape)))
    }
    let y = graph.core(c.op, operands, name: "y")
    let shapes = try graph.inferShapes(inputs: [:])
    let seed = graph.constant("seed", Tensor(random.floats(shapes[y]!.count), shape: shapes[y]!))
    graph.output("y", y)
    let gradients = try graph.differentiate(y, by: c.by.map { operands[$0] }, seed: seed, shapes: shapes)
    for i in c.by { graph.output("d\(i)", gradients[operands[i]]!) }
    let names = ["y"] + c.by.map { "d\($0)" }
    let expected = try ReferenceEvaluator.run(graph, inputs: [:], outputs: names)
    let block = try ParameterBlock(shapes: names.map { expected[$0]!.shape })
    let sinks = Dictionary(uniqueKeysWithValues: zip(names, block.tensors))
    let plan = try TrainingPlan(graph, live: Set(operands + [seed]), outputs: sinks, options: SessionOptions(threads: threads, kernels: kernels))
    plan.run([])
    for name in names {
      let found = sinks[name]!.floats(), want = expected[name]!.floats()
      let scale = want.reduce(Float(1e-2)) { max($0, abs($1)) }
      #expect(maxAbsoluteDifference(found, want) < 2e-5 * scale, "\(c.testDescription) \(name), \(kernels)")
    }
  }

  @Test(arguments: DifferentiationTests.cases) func operatorsAgreeWithTheirTwins(_ c: DifferentiationTests.Case) throws {
    for table in KernelTable.available { try Self.compare(c, kernels: table.name, threads: 2) }
  }

  /// Sizes beyond one block, panel and chunk.
  @Test(arguments: [
    DifferentiationTests.Case(op: .linear(LinearEpilogue(bias: true)), shapes: [[2, 301, 70], [393, 70], [393]], by: [0, 1, 2]),
    DifferentiationTests.Case(op: .linear(LinearEpilogue(bias: false, transposedWeight: true)), shapes: [[130, 33], [33, 65]], by: [0, 1]),
    DifferentiationTests.Case(op: .linear(LinearEpilogue(bias: true, transposedWeight: true)), shapes: [[5, 130, 40], [40, 65], [65]], by: [0, 1, 2]),
    DifferentiationTests.Case(op: .layerNorm(epsilon: 1e-6), shapes: [[3, 131, 100], [100], [100]], by: [0, 1, 2]),
    DifferentiationTests.Case(op: .gate(.silu), shapes: [[3, 131, 2 * 101]], by: [0]),
    DifferentiationTests.Case(op: .attention(heads: 3, scale: 0.125), shapes: [[2, 67, 3 * 3 * 20]], by: [0]),
    DifferentiationTests.Case(op: .attention(heads: 3, scale: 0.125, queries: 1), shapes: [[2, 67, 3 * 3 * 20]], by: [0]),
    DifferentiationTests.Case(op: .attention(heads: 3, scale: 0.125, queries: 50), shapes: [[2, 67, 3 * 3 * 20]], by: [0]),
    DifferentiationTests.Case(op: .patchEmbedding(patch: 4), shapes: [[3, 3, 37, 24], [50, 3, 4, 4], [50]], by: [1, 2]),
    DifferentiationTests.Case(op: .positionEmbedding(patch: 4, special: 1, nativeRows: 7, nativeColumns: 7, resize: .officialOffset), shapes: [[1, 50, 40], [1, 3, 16, 16]], by: [0]),
    DifferentiationTests.Case(op: .weightNorm, shapes: [[301, 77], [301, 1]], by: [0, 1]),
    DifferentiationTests.Case(op: .training(.softCrossEntropy), shapes: [[50, 1000], [50, 1000], [1]], by: [0], positive: [1, 2]),
    DifferentiationTests.Case(op: .training(.koleo(groups: 2)), shapes: [[46, 100]], by: [0]),
    DifferentiationTests.Case(op: .training(.batchNorm(epsilon: 1e-5)), shapes: [[131, 101], [101], [101]], by: [0, 1, 2]),
    DifferentiationTests.Case(op: .add, shapes: [[3, 50, 40], [1, 50, 40]], by: [0, 1]),
    DifferentiationTests.Case(op: .training(.cosineDistance), shapes: [[5, 197, 193], [5, 197, 193]], by: [0]),
    DifferentiationTests.Case(op: .training(.gatherRows), shapes: [[7, 197, 101], [690]], by: [0], given: [1: (0..<690).map { Float(($0 * 1373) % 1379) }]),
    DifferentiationTests.Case(op: .training(.replaceRows), shapes: [[7, 196, 101], [690], [1, 101]], by: [0, 2], given: [1: (0..<690).map { Float(($0 * 1367) % 1372) }]),
  ]) func largeOperatorsAgreeWithTheirTwins(_ c: DifferentiationTests.Case) throws {
    for table in KernelTable.available { try Self.compare(c, kernels: table.name, threads: 3) }
  }

  /// No gradient goes through it: its values alone.
  @Test(arguments: [Shape([3, 5]), [64, 200], [9, 1030]]) func sinkhornAgreesWithItsTwinAndBalances(_ shape: Shape) throws {
    var random = SplitMix64(seed: 33)
    let x = random.floats(shape.count, in: -8...8), expected = Reference.sinkhorn(x, columns: shape[1], iterations: 3)
    for r in 0..<shape[0] { #expect(abs(expected[r * shape[1]..<(r + 1) * shape[1]].reduce(0, +) - 1) < 1e-5) }
    // Many turns end where every column has its share.
    let settled = Reference.sinkhorn(x, columns: shape[1], iterations: 400)
    for c in 0..<shape[1] { #expect(abs((0..<shape[0]).reduce(Float(0)) { $0 + settled[$1 * shape[1] + c] } - Float(shape[0]) / Float(shape[1])) < 2e-2 * Float(shape[0]) / Float(shape[1])) }
    for table in KernelTable.available {
      var graph = Graph()
      let input = graph.constant("x", Tensor(x, shape: shape))
      graph.output("y", graph.core(.training(.sinkhorn(iterations: 3)), [input], name: "y"))
      let block = try ParameterBlock(shapes: [shape])
      try TrainingPlan(graph, live: [input], outputs: ["y": block.tensors[0]], options: SessionOptions(threads: 2, kernels: table.name)).run([])
      #expect(maxAbsoluteDifference(block.tensors[0].floats(), expected) < 1e-5, "\(table.name)")
    }
  }

  /// Each output is wanted in memory of its own, those of one value too.
  @Test func outputsOfOneValueAreAllFilled() throws {
    var random = SplitMix64(seed: 41)
    let shape: Shape = [5, 33]
    let block = try ParameterBlock(shapes: [shape, shape, shape, shape, shape])
    var graph = Graph()
    let a = graph.constant("a", block.tensors[0]), b = graph.constant("b", block.tensors[1])
    let seed = graph.constant("seed", Tensor(random.floats(shape.count), shape: shape))
    let gradients = try graph.differentiate(graph.core(.activation(.gelu), [graph.core(.add, [a, b], name: "sum")], name: "y"), by: [a, b], seed: seed)
    graph.output("by a", gradients[a]!)
    graph.output("by b", gradients[b]!)
    graph.output("again", gradients[b]!)
    try TrainingPlan(graph, live: [a, b], outputs: ["by a": block.tensors[2], "by b": block.tensors[3], "again": block.tensors[4]], options: SessionOptions(threads: 2)).run([])
    // gelu'(0) is a half.
    for filled in block.tensors[2...] { #expect(maxAbsoluteDifference(filled.floats(), graph.constants[seed]!.tensor.floats().map { $0 / 2 }) < 1e-6) }
  }

  @Test func changedWeightsAreSeenAndThreadsChangeNoBit() throws {
    var random = SplitMix64(seed: 22), results: [[Float]] = []
    let weights = random.floats(200 * 90), other = random.floats(200 * 90), x = random.floats(600 * 90)
    for threads in 1...4 {
      var graph = Graph()
      let input = graph.input("x", dtype: .f32, dims: [.fixed(600), .fixed(90)])
      let block = try ParameterBlock(shapes: [[200, 90], [200, 90], [600, 200]])
      let w = graph.constant("w", block.tensors[0])
      let y = graph.core(.activation(.gelu), [graph.core(.linear(LinearEpilogue(bias: false)), [input, w], name: "linear")], name: "gelu")
      let seed = graph.constant("seed", Tensor(x.prefix(600 * 200).count == 600 * 200 ? Array(x.prefix(600 * 200)) : [Float](repeating: 0.5, count: 600 * 200), shape: [600, 200]))
      let gradient = try graph.differentiate(y, by: [w], seed: seed)[w]!
      graph.output("gradient", gradient)
      graph.output("y", y)
      let plan = try TrainingPlan(graph, live: [w], outputs: ["gradient": block.tensors[1], "y": block.tensors[2]], options: SessionOptions(threads: threads))
      var found: [Float] = []
      for values in [weights, other] {
        block.tensors[0].overwrite(with: values)
        plan.run([Tensor(x, shape: [600, 90])])
        found += block.tensors[1].floats() + block.tensors[2].floats()
        // y is gelu(x·wᵀ) of the weights of now.
        var row: Float = 0
        for i in 0..<90 { row += x[i] * values[i] }
        #expect(abs(block.tensors[2].floats()[0] - Reference.gelu(row)) < 1e-4)
      }
      results.append(found)
    }
    for r in results.dropFirst() { #expect(r == results[0]) }
  }

  /// An output is what it stays from the step that is named on, and not before; one that a later step reads is not given away before that.
  @Test(arguments: [Precision.f32, .bf16], [1, 3]) func outputsSettleWhenTheyAreSaidTo(_ precision: Precision, _ threads: Int) throws {
    var random = SplitMix64(seed: 23), graph = Graph()
    let block = try ParameterBlock(shapes: [[70, 90], [70], [50, 70], [50]]), names = ["w1", "b1", "w2", "b2"]
    for tensor in block.tensors { tensor.overwrite(with: random.floats(tensor.count)) }
    let x = graph.input("x", dtype: .f32, dims: [.fixed(1500), .fixed(90)])
    let p = zip(names, block.tensors).map { graph.constant($0, $1) }
    // Weights with several writers: the layers are used twice.
    func layers(_ x: ValueID, _ n: Int) -> ValueID {
      let h = graph.core(.activation(.gelu), [graph.core(.linear(LinearEpilogue(bias: true)), [x, p[0], p[1]], name: "first\(n)")], name: "gelu\(n)")
      return graph.core(.linear(LinearEpilogue(bias: true)), [h, p[2], p[3]], name: "second\(n)")
    }
    let half = graph.constant("half", Tensor([0.5], shape: [1]))
    let y = graph.core(.add, [layers(x, 1), layers(graph.core(.multiply, [x, half], name: "half"), 2)], name: "y")
    let seed = graph.constant("seed", Tensor(random.floats(1500 * 50), shape: [1500, 50]))
    let shapes = try graph.inferShapes(inputs: ["x": [1500, 90]]), gradients = try graph.differentiate(y, by: p, seed: seed, shapes: shapes)
    for (name, id) in zip(names, p) { graph.output(name, gradients[id]!) }
    // An output that others are made of.
    graph.output("doubled", graph.core(.add, [gradients[p[0]]!, gradients[p[0]]!], name: "doubled"))
    let found = try ParameterBlock(shapes: block.tensors.map(\.shape) + [block.tensors[0].shape]), all = names + ["doubled"]
    let sinks = Dictionary(uniqueKeysWithValues: zip(all, found.tensors)), input = Tensor(random.floats(1500 * 90), shape: [1500, 90])
    let plan = try TrainingPlan(graph, live: Set(p), outputs: sinks, options: SessionOptions(threads: threads, precision: precision))
    plan.run([input])
    let expected = found.tensors.map { $0.floats() }
    // As before any step.
    let poison = found.tensors.map { Tensor([Float](repeating: .nan, count: $0.count), shape: $0.shape) }
    for (tensor, p) in zip(found.tensors, poison) { tensor.overwrite(with: p.floats()) }
    var steps = 0, snapshots: [String: [Int: [Float]]] = [:]
    plan.run([input]) { step in
      steps += 1
      for (name, tensor) in zip(all, found.tensors) where step == plan.settled(name) || step == plan.settled(name) - 1 { snapshots[name, default: [:]][step] = tensor.floats() }
    }
    for (name, want) in zip(all, expected) {
      let settled = plan.settled(name)
      #expect(settled > 0 && settled < steps, "\(name)")
      #expect(snapshots[name]?[settled] == want, "\(name) after step \(settled) of \(steps)")
      // It is the last step that has to do with it: before it the value is not there, but for the one that is read again. Other threads do not wait for the caller to look.
      if threads == 1, name != "w1" { #expect(snapshots[name]?[settled - 1] != want, "\(name) was there before step \(settled)") }
    }
    #expect(plan.settled("w1") >= plan.settled("doubled"))
    #expect(plan.settled("w2") < plan.settled("w1"))
    // Nobody's business any more: what is done to an output once it has settled is not undone, and changes no other.
    for (tensor, p) in zip(found.tensors, poison) { tensor.overwrite(with: p.floats()) }
    plan.run([input]) { step in
      for (name, tensor) in zip(names, found.tensors) where step == plan.settled(name) { tensor.overwrite(with: [Float](repeating: 7, count: tensor.count)) }
    }
    for tensor in found.tensors.dropLast() { #expect(tensor.floats().allSatisfy { $0 == 7 }) }
    #expect(found.tensors.last?.floats() == expected.last)
  }

  @Test func outputsOfAnotherShapeAreRefused() throws {
    var graph = Graph()
    let x = graph.constant("x", Tensor([1, 2, 3], shape: [3]))
    graph.output("y", graph.core(.activation(.relu), [x], name: "y"))
    let block = try ParameterBlock(shapes: [[2]])
    #expect(throws: RuntimeError.self) { _ = try TrainingPlan(graph, live: [x], outputs: ["y": block.tensors[0]]) }
  }
}
