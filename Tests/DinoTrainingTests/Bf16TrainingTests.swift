// Training steps with products in bfloat16 beside the same in f32: how far losses and gradients are apart; and what holds in f32 holds here: the number of threads, a stop
// and a resume change no bit, and the loss falls.

import Dino
import DinoKernels
import DinoModels
import DinoTensor
@testable import DinoTraining
import Foundation
import Testing
import TestSupport

@Suite struct Bf16TrainingTests {
  private static func settings(_ change: (inout TrainingSettings) -> Void = { _ in }) -> TrainingSettings {
    var s = TrainingSettings(config: ViTConfig(patchSize: 4, embedDim: 48, depth: 2, numHeads: 3, nativeRows: 8, nativeColumns: 8,
                                               head: .projection(.init(hiddenDim: 70, bottleneckDim: 20, outDim: 60))))
    s.batch = 4
    s.globalSize = 32
    s.localSize = 16
    s.localCrops = 3
    s.rate = 0.002
    s.epochs = 20
    s.warmupEpochs = 0
    s.freezeLastLayer = 0
    s.dropPath = 0
    s.precision = .bf16
    change(&s)
    return s
  }

  private static func trainer(_ s: TrainingSettings, threads: Int = 2, kernels: String? = nil) throws -> Trainer {
    // Weights of a trained network's size: those that training starts from make all images look alike.
    var random = SplitMix64(seed: 6)
    let weights = Dictionary(uniqueKeysWithValues: try WeightInitializer.tensors(config: s.config, seed: 1).map { entry in
      (entry.name, entry.tensor.shape.rank == 2 && !entry.name.contains("weight_g") ? Tensor(random.floats(entry.tensor.count, in: -0.2...0.2), shape: entry.tensor.shape) : entry.tensor)
    })
    return try Trainer(s, stepsPerEpoch: 2, weights: weights, threads: threads, kernels: kernels)
  }

  private static func crops(_ s: TrainingSettings, _ step: Int) -> (globals: Tensor, locals: Tensor?) {
    var random = SplitMix64(seed: UInt64(200 + step))
    func make(_ views: Int, _ size: Int) -> Tensor { Tensor(random.floats(views * s.batch * 3 * size * size), shape: [views * s.batch, 3, size, size]) }
    return (make(2, s.globalSize), s.localCrops > 0 ? make(s.localCrops, s.localSize) : nil)
  }

  private static func run(_ t: Trainer, to end: Int) throws -> [Double] {
    try (t.step..<end).map { step in
      let c = crops(t.settings, step)
      return try t.run(globals: c.globals, locals: c.locals).loss
    }
  }

  private static func everything(_ t: Trainer) -> [[Float]] { (t.student.tensors + t.teacher.tensors + t.moments.flatMap(\.tensors) + t.centers.map(\.tensor)).map { $0.floats() } }

  /// The gradient of keys' biases is zero but for rounding (softmax does not see a constant added to its scores): there is no direction to compare.
  private static func compared(_ name: String, _ values: [Float]) -> [Float] {
    guard name.hasSuffix("attn.qkv.bias") else { return values }
    let third = values.count / 3
    return Array(values[..<third] + values[(2 * third)...])
  }

  @Test(arguments: KernelTable.available.map(\.name)) func aStepIsThatOfF32ButForRounding(_ kernels: String) throws {
    let s = Self.settings(), c = Self.crops(s, 0)
    let rounded = try Self.trainer(s, kernels: kernels), plain = try Self.trainer(Self.settings { $0.precision = .f32 }, kernels: kernels)
    let loss = rounded.computeGradients(globals: c.globals, locals: c.locals), expected = plain.computeGradients(globals: c.globals, locals: c.locals)
    #expect(abs(loss - expected) < 2e-3 * expected, "\(loss), in f32 \(expected)")
    #expect(loss != expected)
    for (a, b) in zip(rounded.namedGradients(), plain.namedGradients()) {
      let found = Self.compared(a.name, a.tensor.floats()), want = Self.compared(b.name, b.tensor.floats())
      #expect(cosine(found, want) > 0.995, "\(a.name)")
      let length = found.reduce(0.0) { $0 + Double($1 * $1) }.squareRoot(), wanted = want.reduce(0.0) { $0 + Double($1 * $1) }.squareRoot()
      #expect(abs(length - wanted) < 0.03 * wanted, "\(a.name): \(length), in f32 \(wanted)")
    }
  }

  @Test func threadsChangeNoBit() throws {
    // Images and crops enough for more than one slab of a weight's gradient.
    let s = Self.settings { $0.dropPath = 0.3; $0.batch = 5; $0.koleoWeight = 0.1 }
    let one = try Self.trainer(s, threads: 1)
    let losses = try Self.run(one, to: 3)
    for threads in 2...4 {
      let other = try Self.trainer(s, threads: threads)
      #expect(try Self.run(other, to: 3) == losses)
      #expect(Self.everything(other) == Self.everything(one), "\(threads) threads")
    }
  }

  @Test func resumeChangesNoBitAndPrecisionIsASetting() throws {
    let folder = try Fixtures.temporaryFolder()
    defer { try? FileManager.default.removeItem(at: folder) }
    let s = Self.settings { $0.dropPath = 0.2 }, path = folder.appendingPathComponent("state.safetensors").path
    let whole = try Self.trainer(s), first = try Self.trainer(s), second = try Self.trainer(s)
    _ = try Self.run(whole, to: 5)
    _ = try Self.run(first, to: 2)
    try TrainingState.save(first, data: "d", to: path)
    try TrainingState.restore(second, data: "d", from: path)
    _ = try Self.run(second, to: 5)
    #expect(Self.everything(whole) == Self.everything(second))
    let f32 = try Self.trainer(Self.settings { $0.dropPath = 0.2; $0.precision = .f32 })
    _ = try Self.run(f32, to: 1)
    let other = folder.appendingPathComponent("f32.safetensors").path
    try TrainingState.save(f32, data: "d", to: other)
    #expect { try TrainingState.restore(second, data: "d", from: other) } throws: { "\($0)".contains("--precision") }
  }

  /// Towards a teacher that stands still, on one batch.
  @Test func theLossFallsAsInF32() throws {
    var ends: [Double] = []
    for precision in TrainingSettings.Precision.allCases {
      let t = try Self.trainer(Self.settings { $0.precision = precision; $0.teacherMomentum = 1; $0.centerMomentum = 1 }), c = Self.crops(t.settings, 0)
      let losses = try (0..<30).map { _ in try t.run(globals: c.globals, locals: c.locals).loss }
      #expect(losses[29] < losses[0] - 0.5, "\(precision): \(losses[0]) to \(losses[29])")
      ends.append(losses[29])
    }
    #expect(abs(ends[0] - ends[1]) < 0.1 * ends[0], "\(ends)")
  }
}
