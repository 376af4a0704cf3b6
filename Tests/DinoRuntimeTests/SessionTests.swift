// Plans against the plain evaluator: all outputs, all kernel tables, sizes that leave remainders in every tile, any number of threads.

import DinoGraph
import DinoKernels
import DinoRuntime
import DinoTensor
import Testing
import TestSupport

private let allOutputs = ["attention", "attention_cls", "tokens", "cls", "patches", "mean", "head", "probabilities"]

@Suite struct SessionTests {
  /// Rows of a value that was computed are apart from each other; those of an input are not.
  @Test(arguments: [17, 24, 32, 40, 224]) func patchesOfAComputedImage(width: Int) throws {
    var random = SplitMix64(seed: 6)
    let image = Tensor(random.floats(3 * 16 * width), shape: [1, 3, 16, width]), weight = Tensor(random.floats(20 * 3 * 64), shape: [20, 3, 8, 8]), bias = Tensor(random.floats(20), shape: [20])
    func embedded(_ image: Tensor, by factor: Float?, _ precision: Precision) throws -> [Float] {
      var graph = Graph()
      let x = graph.input("x", dtype: .f32, dims: image.shape.dims.map(Dimension.fixed))
      let y = factor.map { graph.core(.multiply, [x, graph.constant("factor", Tensor([$0], shape: [1]))], name: "scaled") } ?? x
      let operands = [y, graph.constant("weight", weight), graph.constant("bias", bias)]
      graph.output("y", graph.core(.patchEmbedding(patch: 8), operands, name: "patches"))
      return try Session(graph, options: SessionOptions(threads: 2, precision: precision)).run(["x": image], outputs: ["y"])["y"]!.floats()
    }
    for precision in [Precision.f32, .bf16, .int8] {
      #expect(try embedded(image, by: 2, precision) == embedded(Tensor(image.floats().map { 2 * $0 }, shape: image.shape), by: nil, precision), "\(precision)")
    }
  }

  @Test(arguments: KernelTable.available.map(\.name), [
    (ToyTransformer(), 1, 12, 12), (ToyTransformer(), 2, 17, 30), (ToyTransformer(width: 40, heads: 2, layerScale: true), 1, 24, 8),
    (ToyTransformer(patch: 3, width: 20, depth: 1, heads: 1, nativeRows: 2, nativeColumns: 2, activation: .geluTanh), 3, 13, 41),
    (ToyTransformer(patch: 2, width: 130, depth: 1, heads: 2, channels: 1, activation: .silu), 1, 24, 26),
    (ToyTransformer(width: 36, depth: 2, heads: 3, layerScale: true, activation: .silu, isGated: true), 2, 12, 20),
    (ToyTransformer(patch: 16, width: 64, depth: 1, heads: 1, nativeRows: 14, nativeColumns: 14, activation: .relu), 1, 224, 224),
  ])
  func agreesWithThePlainEvaluator(table: String, toy: (ToyTransformer, Int, Int, Int)) throws {
    let graph = toy.0.graph(seed: 7)
    let image = toy.0.image(batch: toy.1, height: toy.2, width: toy.3, seed: 3)
    let expected = try ReferenceEvaluator.run(graph, inputs: ["pixel_values": image], outputs: allOutputs)
    let session = try Session(graph, options: SessionOptions(threads: 2, kernels: table))
    #expect(session.instructionSet == table)
    let found = try session.run(["pixel_values": image], outputs: allOutputs)
    for name in allOutputs {
      #expect(found[name]!.shape == expected[name]!.shape)
      let d = maxAbsoluteDifference(found[name]!.floats(), expected[name]!.floats())
      #expect(d < 3e-5, "\(name) on \(table): \(d)")
    }
  }

  @Test func fusedEqualsUnfused() throws {
    let toy = ToyTransformer(layerScale: true)
    let graph = toy.graph(seed: 11), image = toy.image(batch: 2, height: 20, width: 12, seed: 5)
    let fused = try Session(graph), plain = try Session(graph, options: SessionOptions(disabledPasses: Set(PassList.standard.names)))
    let a = try fused.run(["pixel_values": image], outputs: allOutputs), b = try plain.run(["pixel_values": image], outputs: allOutputs)
    for name in allOutputs { #expect(maxAbsoluteDifference(a[name]!.floats(), b[name]!.floats()) < 2e-5, "\(name)") }
    let few = try fused.plan(shapes: ["pixel_values": image.shape], outputs: ["cls"]).steps.count
    let many = try plain.plan(shapes: ["pixel_values": image.shape], outputs: ["cls"]).steps.count
    // Each block loses its activation, two layer scales and two additions; that of the class token alone takes its row of the residual out.
    #expect(many - few == 5 * toy.depth - 1)
  }

  /// Asked for alone, the class token is made without the other rows of the last block: the same bits, fewer operations.
  @Test(arguments: KernelTable.available.map(\.name)) func theFirstTokenAloneIsTheSame(_ table: String) throws {
    let toy = ToyTransformer(width: 96, depth: 3, heads: 3, layerScale: true)
    let graph = toy.graph(seed: 12), outputs = ["cls", "head", "probabilities", "attention_cls"]
    for precision in [Precision.f32, .bf16, .int8] {
      let narrow = try Session(graph, options: SessionOptions(threads: 3, precision: precision, kernels: table))
      let whole = try Session(graph, options: SessionOptions(threads: 2, precision: precision, disabledPasses: ["narrow-to-first-token"], kernels: table))
      for (batch, height) in [(1, 20), (2, 12), (5, 36), (8, 16)] {
        let image = ["pixel_values": toy.image(batch: batch, height: height, width: 24, seed: 6)]
        for outputs in [["cls"], outputs] {
          let a = try narrow.run(image, outputs: outputs), b = try whole.run(image, outputs: outputs)
          for name in outputs { #expect(a[name]!.floats().elementsEqual(b[name]!.floats()) { $0.bitPattern == $1.bitPattern }, "\(name), \(precision), batch \(batch)") }
        }
        let shape = ["pixel_values": image["pixel_values"]!.shape]
        let few = try narrow.plan(shapes: shape, outputs: ["cls"]).flops, many = try whole.plan(shapes: shape, outputs: ["cls"]).flops
        #expect(few < 0.85 * many)
      }
    }
  }

  @Test(arguments: [false, true]) func threadsChangeNoBit(manyImages: Bool) throws {
    let toy = ToyTransformer(width: 96, depth: 2, heads: 3)
    let graph = toy.graph(seed: 2), image = toy.image(batch: 2, height: 48, width: 36, seed: 9)
    func options(_ threads: Int) -> SessionOptions {
      var options = SessionOptions(threads: threads)
      options.manyImages = manyImages
      return options
    }
    let one = try Session(graph, options: options(1)).run(["pixel_values": image], outputs: ["tokens"])["tokens"]!.floats()
    for threads in [2, 3, 5] {
      let session = try Session(graph, options: options(threads))
      for _ in 0..<20 {
        let many = try session.run(["pixel_values": image], outputs: ["tokens"])["tokens"]!.floats()
        #expect(one.elementsEqual(many) { $0.bitPattern == $1.bitPattern })
      }
    }
  }

  @Test(arguments: [false, true]) func imagesOfABatchDoNotTouchEachOther(manyImages: Bool) throws {
    let toy = ToyTransformer()
    var options = SessionOptions()
    options.manyImages = manyImages
    let session = try Session(toy.graph(seed: 4), options: options)
    let both = toy.image(batch: 2, height: 12, width: 20, seed: 1)
    let half = both.count / 2
    let first = Tensor(Array(both.floats()[..<half]), shape: [1, 3, 12, 20]), second = Tensor(Array(both.floats()[half...]), shape: [1, 3, 12, 20])
    let together = try session.run(["pixel_values": both], outputs: ["cls"])["cls"]!.floats()
    let apart = try session.run(["pixel_values": first], outputs: ["cls"])["cls"]!.floats() + session.run(["pixel_values": second], outputs: ["cls"])["cls"]!.floats()
    #expect(maxAbsoluteDifference(together, apart) == 0)
  }

  /// Plans are forgotten beyond the bound, and made again.
  @Test(arguments: [false, true]) func manySizes(manyImages: Bool) throws {
    let toy = ToyTransformer(depth: 1)
    let graph = toy.graph(seed: 6)
    var options = SessionOptions(maxPlans: 2)
    options.manyImages = manyImages
    let session = try Session(graph, options: options)
    for round in 0..<2 {
      for size in [8, 12, 16, 20] {
        let image = toy.image(batch: 1, height: size, width: size + 4, seed: UInt64(size))
        let expected = try ReferenceEvaluator.run(graph, inputs: ["pixel_values": image], outputs: ["cls"])["cls"]!.floats()
        #expect(maxAbsoluteDifference(try session.run(["pixel_values": image], outputs: ["cls"])["cls"]!.floats(), expected) < 2e-5, "round \(round)")
      }
    }
  }

  @Test func weightsOfAnyType() throws {
    let toy = ToyTransformer()
    var graph = toy.graph(seed: 8)
    for (id, c) in graph.constants { graph.constants[id] = Constant(name: c.name, tensor: try c.tensor.converted(to: .f16)) }
    let image = toy.image(batch: 1, height: 12, width: 12, seed: 2)
    let expected = try ReferenceEvaluator.run(graph, inputs: ["pixel_values": image], outputs: ["cls"])["cls"]!.floats()
    #expect(maxAbsoluteDifference(try Session(graph).run(["pixel_values": image], outputs: ["cls"])["cls"]!.floats(), expected) < 2e-5)
  }

  @Test func refusals() throws {
    let toy = ToyTransformer()
    let session = try Session(toy.graph(seed: 1))
    let image = toy.image(batch: 1, height: 12, width: 12, seed: 2)
    #expect(throws: RuntimeError.missingInput(name: "pixel_values", expected: ["pixel_values"])) { try session.run([:], outputs: ["cls"]) }
    #expect(throws: RuntimeError.unknownInput(name: "x", expected: ["pixel_values"])) { try session.run(["x": image], outputs: ["cls"]) }
    #expect(throws: RuntimeError.self) { try session.run(["pixel_values": image], outputs: ["nothing"]) }
    #expect(throws: RuntimeError.self) { try session.run(["pixel_values": toy.image(batch: 1, height: 3, width: 12, seed: 2)], outputs: ["cls"]) }
    #expect(throws: RuntimeError.self) { try Session(toy.graph(seed: 1), options: SessionOptions(kernels: "abacus")) }
  }

  @Test func sessionsRunFromManyThreads() async throws {
    let toy = ToyTransformer()
    let session = try Session(toy.graph(seed: 4), options: SessionOptions(threads: 2))
    let image = toy.image(batch: 1, height: 12, width: 20, seed: 1)
    let expected = try session.run(["pixel_values": image], outputs: ["cls"])["cls"]!.floats()
    try await withThrowingTaskGroup(of: [Float].self) { group in
      for _ in 0..<24 { group.addTask { try session.run(["pixel_values": image], outputs: ["cls"])["cls"]!.floats() } }
      for try await found in group { #expect(found == expected) }
    }
  }
}
