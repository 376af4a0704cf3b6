// What a run will take, said from shapes alone: the same numbers as the plan that is then made; nothing is read. Feed-forward rows that take turns give the same bits.

import DinoGraph
import DinoRuntime
import DinoTensor
import Testing
import TestSupport

@Suite struct MemoryEstimateTests {
  @Test(arguments: [Precision.f32, .bf16, .int8], [false, true]) func agreesWithThePlan(precision: Precision, manyImages: Bool) throws {
    for (toy, batch, height, width) in [(ToyTransformer(), 1, 12, 12), (ToyTransformer(width: 40, heads: 2, layerScale: true), 3, 24, 8), (ToyTransformer(patch: 2, width: 130, depth: 1, heads: 2, channels: 1, activation: .silu), 2, 24, 26),
                                        (ToyTransformer(width: 40, heads: 2, activation: .silu, isGated: true), 2, 24, 20)] {
      let graph = toy.graph(seed: 7), shape = toy.image(batch: batch, height: height, width: width, seed: 3).shape
      for outputs in [["tokens"], ["cls", "mean"]] {
        var options = SessionOptions(threads: 2, precision: precision)
        options.manyImages = manyImages
        let estimate = try MemoryEstimate(graph, shapes: ["pixel_values": shape], outputs: outputs, options: options)
        let plan = try Session(graph, options: options).plan(shapes: ["pixel_values": shape], outputs: outputs)
        #expect(estimate.values + estimate.scratch == plan.arenaBytes, "\(precision) \(outputs)")
        #expect(estimate.weights == plan.weightBytes, "\(precision) \(outputs)")
        #expect(estimate.weightPages >= estimate.weights && estimate.peak(layer: 0) >= estimate.weightPages + estimate.values)
        #expect(estimate.peak(layer: 1 << 30) == estimate.weightPages + (1 << 30))
      }
    }
  }

  @Test func rowsThatTakeTurns() throws {
    for (precision, manyImages, isGated) in [(Precision.f32, false, false), (.f32, true, false), (.int8, false, false), (.f32, false, true), (.f32, true, true), (.int8, false, true)] {
      let toy = ToyTransformer(width: 40, heads: 2, layerScale: true, isGated: isGated), graph = toy.graph(seed: 7), image = toy.image(batch: 2, height: 48, width: 60, seed: 3)
      var options = SessionOptions(threads: 2, precision: precision)
      options.manyImages = manyImages
      if precision == .int8 { options.keptInF32 = Set(graph.constants.values.map(\.name).filter { $0.contains(".fc") }) }
      let whole = try Session(graph, options: options).run(["pixel_values": image], outputs: ["tokens"])["tokens"]!.floats()
      let all = try MemoryEstimate(graph, shapes: ["pixel_values": image.shape], outputs: ["tokens"], options: options)
      for bytes in [1, 4_000, 20_000] {
        options.hiddenBytes = bytes
        let parts = try Session(graph, options: options).run(["pixel_values": image], outputs: ["tokens"])["tokens"]!.floats()
        #expect(whole.elementsEqual(parts) { $0.bitPattern == $1.bitPattern }, "\(precision), \(bytes)")
        #expect(try MemoryEstimate(graph, shapes: ["pixel_values": image.shape], outputs: ["tokens"], options: options).values < all.values)
      }
    }
  }

  /// A layer that is kept computes in f32, the others as before.
  @Test func keptLayersAreNearer() throws {
    let toy = ToyTransformer(width: 96, depth: 2, heads: 3), graph = toy.graph(seed: 5), image = toy.image(batch: 1, height: 48, width: 36, seed: 9)
    let exact = try Session(graph).run(["pixel_values": image], outputs: ["tokens"])["tokens"]!.floats()
    func loss(_ kept: Set<String>) throws -> Double {
      var options = SessionOptions(precision: .int8)
      options.keptInF32 = kept
      return try 1 - cosine(Session(graph, options: options).run(["pixel_values": image], outputs: ["tokens"])["tokens"]!.floats(), exact)
    }
    let names = Set(graph.constants.values.map(\.name).filter { $0.hasSuffix(".weight") })
    let none = try loss([]), some = try loss(names.filter { $0.hasPrefix("blocks.1.") }), all = try loss(names)
    #expect(all < 1e-6 && some < none && none > 1e-6, "\(none) \(some) \(all)")
  }
}
