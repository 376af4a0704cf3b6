// A student that learns from a network which stands still: the number of threads, a stop and a resume change no bit, in either precision; the teacher does not move; what does not
// go together is said. That losses and gradients are PyTorch's is ReplayTests'.

import Dino
import DinoKernels
import DinoModels
import DinoTensor
@testable import DinoTraining
import Foundation
import Testing
import TestSupport

@Suite struct DistillationTests {
  private static let head = ViTConfig.ProjectionHead(hiddenDim: 20, bottleneckDim: 8, outDim: 30)

  private static func settings(_ loss: Distillation.Loss, _ change: (inout TrainingSettings) -> Void = { _ in }) -> TrainingSettings {
    let head = loss == .dino ? ViTConfig.Head.projection(Self.head) : nil
    var s = TrainingSettings(config: ViTConfig(patchSize: 4, embedDim: 16, depth: 1, numHeads: 2, nativeRows: 4, nativeColumns: 4, head: head))
    var d = Distillation(teacher: ViTConfig(patchSize: 4, embedDim: 40, depth: 2, numHeads: 2, nativeRows: 3, nativeColumns: 3, head: head), teacherDigest: "a")
    d.loss = loss
    s.distillation = d
    s.batch = 3
    s.globalSize = 16
    s.localSize = 8
    s.localCrops = 2
    s.rate = 0.01
    s.epochs = 10
    s.warmupEpochs = 0
    s.freezeLastLayer = 0
    s.dropPath = 0.2
    change(&s)
    return s
  }

  private static func trainer(_ s: TrainingSettings, threads: Int = 1, teacherSeed: UInt64 = 2) throws -> Trainer {
    let weights = Dictionary(uniqueKeysWithValues: try s.studentTensors.map { ($0.name, try WeightInitializer.tensor($0, seed: 1)) })
    var random = SplitMix64(seed: teacherSeed)
    let teacher = Dictionary(uniqueKeysWithValues: s.teacherTensors.map { ($0.name, Tensor(random.floats($0.shape.count, in: -0.3...0.3), shape: $0.shape)) })
    return try Trainer(s, stepsPerEpoch: 2, weights: weights, teacherWeights: teacher, threads: threads)
  }

  private static func run(_ t: Trainer, to end: Int, sameCrops: Bool = false) throws -> [Double] {
    let s = t.settings
    return try (t.step..<end).map { step in
      var random = SplitMix64(seed: UInt64(400 + (sameCrops ? 0 : step)))
      func make(_ views: Int, _ size: Int) -> Tensor { Tensor(random.floats(views * s.batch * 3 * size * size), shape: [views * s.batch, 3, size, size]) }
      let globals = make(2, s.globalSize), locals = s.localCrops > 0 ? make(s.localCrops, s.localSize) : nil
      return try t.run(globals: globals, locals: locals).loss
    }
  }

  private static func everything(_ t: Trainer) -> [[Float]] { (t.student.tensors + t.teacher.tensors + t.moments.flatMap(\.tensors) + t.centers.map(\.tensor)).map { $0.floats() } }

  @Test(arguments: Distillation.Loss.allCases, TrainingSettings.Precision.allCases) func threadsAndAStopChangeNoBit(_ loss: Distillation.Loss, _ precision: TrainingSettings.Precision) throws {
    let folder = try Fixtures.temporaryFolder()
    defer { try? FileManager.default.removeItem(at: folder) }
    let s = Self.settings(loss) { $0.precision = precision }, path = folder.appendingPathComponent("state.safetensors").path
    let one = try Self.trainer(s, threads: 1), three = try Self.trainer(s, threads: 3), first = try Self.trainer(s), second = try Self.trainer(s)
    let before = one.teacher.tensors.map { $0.floats() }
    let losses = try Self.run(one, to: 5)
    #expect(try Self.run(three, to: 5) == losses)
    #expect(Self.everything(three) == Self.everything(one))
    #expect(one.teacher.tensors.map { $0.floats() } == before)
    #expect(try Self.run(first, to: 2) == Array(losses[..<2]))
    try TrainingState.save(first, data: "d", to: path)
    try TrainingState.restore(second, data: "d", from: path)
    #expect(try Self.run(second, to: 5) == Array(losses[2...]))
    #expect(Self.everything(second) == Self.everything(one))
    let other = try Self.trainer(Self.settings(loss) { $0.precision = precision; $0.distillation?.teacherDigest = "b" })
    #expect { try TrainingState.restore(other, data: "d", from: path) } throws: { "\($0)".contains("--teacher") }
  }

  /// The loss is the weighted sum of what is told of it, and falls on crops that stay the same.
  @Test(arguments: Distillation.Projection.allCases) func theStudentComesNearer(_ projection: Distillation.Projection) throws {
    let s = Self.settings(.features) { s in
      s.distillation?.projection = projection
      if projection == .none { s.distillation?.teacher.embedDim = 16 }
      s.distillation?.patchWeight = 0.5
      s.dropPath = 0
    }
    let t = try Self.trainer(s)
    var random = SplitMix64(seed: 9)
    let globals = Tensor(random.floats(6 * 3 * 256), shape: [6, 3, 16, 16]), locals = Tensor(random.floats(6 * 3 * 64), shape: [6, 3, 8, 8])
    let reports = try (0..<20).map { _ in try t.run(globals: globals, locals: locals) }
    for r in reports {
      #expect(r.terms.map(\.name) == ["cls", "patch"] && abs(r.loss - r.terms[0].value - 0.5 * r.terms[1].value) < 1e-6)
    }
    #expect(reports[19].loss < 0.6 * reports[0].loss, "\(reports[0].loss) to \(reports[19].loss)")
    // The class token alone, the patches alone: the other projection does not exist.
    for (c, p) in [(1.0, 0.0), (0, 1)] {
      let alone = try Self.trainer(Self.settings(.features) { $0.distillation?.classWeight = c; $0.distillation?.patchWeight = p })
      #expect(alone.names.filter { $0.hasPrefix("distill.") } == ["distill.\(c > 0 ? "cls" : "patch").weight", "distill.\(c > 0 ? "cls" : "patch").bias"])
      let losses = try Self.run(alone, to: 8, sameCrops: true)
      #expect(losses[7] < losses[0])
    }
  }

  /// In bfloat16 the loss is f32's but for rounding.
  @Test(arguments: KernelTable.available.map(\.name)) func bf16IsNearF32(_ kernels: String) throws {
    let losses = try TrainingSettings.Precision.allCases.map { precision in
      let s = Self.settings(.features) { $0.precision = precision }
      let weights = Dictionary(uniqueKeysWithValues: try s.studentTensors.map { ($0.name, try WeightInitializer.tensor($0, seed: 1)) })
      var random = SplitMix64(seed: 3)
      let teacher = Dictionary(uniqueKeysWithValues: s.teacherTensors.map { ($0.name, Tensor(random.floats($0.shape.count, in: -0.3...0.3), shape: $0.shape)) })
      let t = try Trainer(s, stepsPerEpoch: 2, weights: weights, teacherWeights: teacher, threads: 2, kernels: kernels)
      return t.computeGradients(globals: Tensor(random.floats(6 * 3 * 256), shape: [6, 3, 16, 16]), locals: Tensor(random.floats(6 * 3 * 64), shape: [6, 3, 8, 8]))
    }
    #expect(losses[0] != losses[1] && abs(losses[0] - losses[1]) < 1e-2 * losses[0], "\(losses)")
  }

  @Test func contradictionsAreNamed() {
    func expect(_ loss: Distillation.Loss, _ word: String?, _ change: (inout TrainingSettings) -> Void) {
      var message: String?
      do { try Self.settings(loss, change).validate() } catch { message = "\(error)" }
      if let word { #expect(message?.contains(word) == true, "\(message ?? "nothing") instead of \(word)") } else { #expect(message == nil) }
    }
    expect(.features, nil) { _ in }
    expect(.dino, nil) { _ in }
    expect(.features, "2x2 patches") { $0.distillation?.teacher.patchSize = 8 }
    expect(.features, nil) { $0.distillation?.teacher.patchSize = 8; $0.distillation?.patchWeight = 0 }
    expect(.features, "40 wide") { $0.distillation?.projection = .none }
    expect(.features, "nothing to learn") { $0.distillation?.classWeight = 0; $0.distillation?.patchWeight = 0 }
    expect(.features, "--koleo-loss-weight") { $0.koleoWeight = 0.1 }
    expect(.dino, "no projection head") { $0.distillation?.teacher.head = nil }
    expect(.dino, "31 outputs") { $0.distillation?.teacher.head = .projection(.init(outDim: 31)) }
    expect(.dino, "--ibot-loss-weight") { $0.ibotWeight = 1 }
    #expect(throws: DinoError.self) {
      let s = Self.settings(.features)
      _ = try Trainer(s, stepsPerEpoch: 1, weights: Dictionary(uniqueKeysWithValues: try s.studentTensors.map { ($0.name, try WeightInitializer.tensor($0, seed: 1)) }))
    }
  }
}
