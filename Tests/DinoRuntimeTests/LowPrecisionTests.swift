// int8 and bf16 plans: near the plain evaluator, int8 the same bits on every kernel table and for any number of threads, images of a batch apart, channel outliers
// of norms without effect, attention outputs computed in f32.

import DinoGraph
import DinoKernels
import DinoRuntime
import DinoTensor
import Testing
import TestSupport

private let embeddings = ["tokens", "cls", "patches", "mean", "head"]

@Suite struct LowPrecisionTests {
  static let toys: [(ToyTransformer, Int, Int, Int)] = [
    (ToyTransformer(), 1, 12, 12), (ToyTransformer(), 2, 17, 30), (ToyTransformer(width: 40, heads: 2, layerScale: true), 1, 24, 8),
    (ToyTransformer(patch: 3, width: 20, depth: 1, heads: 1, nativeRows: 2, nativeColumns: 2, activation: .geluTanh), 3, 13, 41),
    (ToyTransformer(patch: 2, width: 130, depth: 1, heads: 2, channels: 1, activation: .silu), 1, 24, 26),
    (ToyTransformer(width: 36, depth: 2, heads: 3, layerScale: true, activation: .silu, isGated: true), 2, 12, 20),
    (ToyTransformer(width: 40, depth: 2, heads: 2, activation: .silu, isGated: true), 1, 24, 20),
    (ToyTransformer(patch: 16, width: 64, depth: 2, heads: 1, nativeRows: 14, nativeColumns: 14, activation: .relu), 1, 224, 224),
    (ToyTransformer(rotary: true), 2, 17, 30), (ToyTransformer(patch: 8, width: 128, heads: 2, rotary: true), 1, 72, 96), (ToyTransformer(patch: 2, width: 44, depth: 1, heads: 1, rotary: true), 2, 24, 26),
  ]

  @Test(arguments: KernelTable.available.map(\.name), toys) func nearThePlainEvaluator(table: String, toy: (ToyTransformer, Int, Int, Int)) throws {
    let graph = toy.0.graph(seed: 7), image = toy.0.image(batch: toy.1, height: toy.2, width: toy.3, seed: 3)
    let expected = try ReferenceEvaluator.run(graph, inputs: ["pixel_values": image], outputs: embeddings)
    for (precision, least) in [(Precision.int8, 0.9985), (.bf16, 0.9999)] {
      let session = try Session(graph, options: SessionOptions(threads: 2, precision: precision, kernels: table))
      let found = try session.run(["pixel_values": image], outputs: embeddings)
      for name in embeddings {
        #expect(found[name]!.shape == expected[name]!.shape)
        let c = cosine(found[name]!.floats(), expected[name]!.floats())
        #expect(c > least, "\(name), \(precision) on \(table): \(c)")
      }
    }
  }

  @Test(arguments: toys) func int8GivesTheSameBitsOnEveryTable(toy: (ToyTransformer, Int, Int, Int)) throws {
    let graph = toy.0.graph(seed: 7), image = toy.0.image(batch: toy.1, height: toy.2, width: toy.3, seed: 3)
    var first: [String: [UInt32]] = [:]
    for table in KernelTable.available.map(\.name) {
      let session = try Session(graph, options: SessionOptions(threads: 2, precision: .int8, kernels: table))
      let found = try session.run(["pixel_values": image], outputs: embeddings).mapValues { $0.floats().map(\.bitPattern) }
      if first.isEmpty { first = found }
      for name in embeddings { #expect(found[name] == first[name], "\(name) on \(table)") }
    }
  }

  @Test func threadsChangeNoBit() throws {
    for precision in [Precision.int8, .bf16] { for rotary in [false, true] {
      let toy = ToyTransformer(width: 96, depth: 2, heads: 3, rotary: rotary)
      let graph = toy.graph(seed: 2), image = toy.image(batch: 2, height: 48, width: 36, seed: 9)
      let one = try Session(graph, options: SessionOptions(threads: 1, precision: precision)).run(["pixel_values": image], outputs: ["tokens"])["tokens"]!.floats()
      for threads in [2, 3, 5] {
        let session = try Session(graph, options: SessionOptions(threads: threads, precision: precision))
        for _ in 0..<10 {
          let many = try session.run(["pixel_values": image], outputs: ["tokens"])["tokens"]!.floats()
          #expect(one.elementsEqual(many) { $0.bitPattern == $1.bitPattern }, "\(precision) on \(threads) threads, rotary \(rotary)")
        }
      }
    } }
  }

  @Test(arguments: [Precision.int8, .bf16]) func imagesOfABatchDoNotTouchEachOther(precision: Precision) throws {
    let toy = ToyTransformer()
    let session = try Session(toy.graph(seed: 4), options: SessionOptions(precision: precision))
    let both = toy.image(batch: 2, height: 12, width: 20, seed: 1), half = both.count / 2
    let parts = [both.floats()[..<half], both.floats()[half...]].map { Tensor(Array($0), shape: [1, 3, 12, 20]) }
    let together = try session.run(["pixel_values": both], outputs: ["cls"])["cls"]!.floats()
    let apart = try parts.flatMap { try session.run(["pixel_values": $0], outputs: ["cls"])["cls"]!.floats() }
    #expect(maxAbsoluteDifference(together, apart) == 0)
  }

  /// Queries and keys are turned where they are made: a plan with rotary positions has the steps of one without, unless somebody wants f32 queries and keys.
  @Test func rotaryPositionsAreTurnedInTheChain() throws {
    func steps(rotary: Bool, outputs: [String], _ precision: Precision = .int8) throws -> [String] {
      let toy = ToyTransformer(patch: 8, width: 128, heads: 2, rotary: rotary), session = try Session(toy.graph(seed: 3), options: SessionOptions(threads: 1, precision: precision))
      return try session.plan(shapes: ["pixel_values": [1, 3, 160, 160]], outputs: outputs).steps.map(\.name)
    }
    let turned = try steps(rotary: true, outputs: ["cls"])
    #expect(try turned == steps(rotary: false, outputs: ["cls"]) && turned.contains { $0.contains(".qkv") })
    #expect(try steps(rotary: true, outputs: ["cls"], .f32).filter { $0.hasSuffix(".rotary") }.count == 2)
    #expect(try steps(rotary: true, outputs: ["cls", "attention"]).contains { $0.hasSuffix(".rotary") })
  }

  /// A channel 50 times as large behind a norm, and its weights 50 times as small: the same network, which naive int8 loses.
  @Test func outliersOfNormsAreFolded() throws {
    let toy = ToyTransformer(width: 96, depth: 2, heads: 3)
    let graph = toy.graph(seed: 5), image = toy.image(batch: 1, height: 48, width: 36, seed: 9)
    let expected = try ReferenceEvaluator.run(graph, inputs: ["pixel_values": image], outputs: ["tokens"])["tokens"]!.floats()
    let plain = cosine(try Session(graph, options: SessionOptions(precision: .int8)).run(["pixel_values": image], outputs: ["tokens"])["tokens"]!.floats(), expected)
    var planted = graph
    for (id, c) in graph.constants where c.name.hasPrefix("blocks.") {
      var values = c.tensor.floats()
      let isNorm = c.name.contains(".norm1.") || c.name.contains(".norm2.")
      let isReader = c.name.hasSuffix(".qkv.weight") || c.name.hasSuffix(".fc1.weight")
      guard isNorm || isReader else { continue }
      for i in stride(from: 17, to: values.count, by: 96) { values[i] = isNorm ? values[i] * 50 : values[i] / 50 }
      planted.constants[id] = Constant(name: c.name, tensor: Tensor(values, shape: c.tensor.shape))
    }
    let found = cosine(try Session(planted, options: SessionOptions(precision: .int8)).run(["pixel_values": image], outputs: ["tokens"])["tokens"]!.floats(), expected)
    #expect(1 - found < 2 * (1 - plain), "planted \(found), plain \(plain)")
  }

  /// The block whose attention is asked for keeps f32 queries and keys; what is before it is quantized.
  @Test func attentionOutputs() throws {
    let toy = ToyTransformer(depth: 1)
    let graph = toy.graph(seed: 4), image = toy.image(batch: 1, height: 12, width: 20, seed: 1)
    let names = ["attention", "attention_cls", "tokens"]
    let expected = try ReferenceEvaluator.run(graph, inputs: ["pixel_values": image], outputs: names)
    let found = try Session(graph, options: SessionOptions(precision: .int8)).run(["pixel_values": image], outputs: names)
    for name in names { #expect(cosine(found[name]!.floats(), expected[name]!.floats()) > 0.999, "\(name)") }
    let row = found["attention"]!.floats().prefix(16)
    #expect(abs(row.reduce(0, +) - 1) < 1e-5 && Array(row) == Array(found["attention_cls"]!.floats().prefix(16)))
  }
}
