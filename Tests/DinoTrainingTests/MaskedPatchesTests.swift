// iBOT: how many patches are masked, in what shapes; that nothing depends on threads, a stop or how losses are told; that the masked patches, and only these, are not seen.
// That losses and gradients are PyTorch's is ReplayTests'.

import Dino
import DinoKernels
import DinoModels
import DinoTensor
@testable import DinoTraining
import Foundation
import Testing
import TestSupport

@Suite struct MaskedPatchesTests {
  private static func settings(_ change: (inout TrainingSettings) -> Void = { _ in }) -> TrainingSettings {
    var s = TrainingSettings(config: ViTConfig(patchSize: 4, embedDim: 16, depth: 2, numHeads: 2, nativeRows: 4, nativeColumns: 4, head: .projection(.init(hiddenDim: 20, bottleneckDim: 8, outDim: 30))))
    s.batch = 3
    s.globalSize = 16
    s.localSize = 8
    s.localCrops = 2
    s.rate = 0.01
    s.epochs = 10
    s.warmupEpochs = 0
    s.freezeLastLayer = 0
    s.dropPath = 0.2
    s.ibotWeight = 0.5
    change(&s)
    return s
  }

  private static func trainer(_ s: TrainingSettings, threads: Int = 1) throws -> Trainer {
    let weights = Dictionary(uniqueKeysWithValues: try s.studentTensors.map { ($0.name, try WeightInitializer.tensor($0, seed: 1)) })
    return try Trainer(s, stepsPerEpoch: 2, weights: weights, threads: threads)
  }

  private static func crops(_ s: TrainingSettings, _ step: Int) -> (globals: Tensor, locals: Tensor?) {
    var random = SplitMix64(seed: UInt64(500 + step))
    func make(_ views: Int, _ size: Int) -> Tensor { Tensor(random.floats(views * s.batch * 3 * size * size), shape: [views * s.batch, 3, size, size]) }
    return (make(2, s.globalSize), s.localCrops > 0 ? make(s.localCrops, s.localSize) : nil)
  }

  private static func run(_ t: Trainer, to end: Int) throws -> [StepReport] {
    try (t.step..<end).map { step in
      let c = crops(t.settings, step)
      return try t.run(globals: c.globals, locals: c.locals)
    }
  }

  private static func everything(_ t: Trainer) -> [[Float]] { (t.student.tensors + t.teacher.tensors + t.moments.flatMap(\.tensors) + t.centers.map(\.tensor)).map { $0.floats() } }

  @Test(arguments: [(7, 7), (14, 14), (1, 9), (3, 5), (2, 2)], TrainingSettings.MaskShape.allCases) func asManyAsPromisedAndNoneTwice(_ grid: (Int, Int), _ shape: TrainingSettings.MaskShape) {
    let m = MaskedPatches(crops: 10, rows: grid.0, columns: grid.1, probability: 0.5, ratios: 0.1...0.5, shape: shape), size = grid.0 * grid.1
    #expect(m.counts.count == 5 && m.counts == m.counts.sorted() && m.counts[0] >= 1)
    var seen: Set<Int> = []
    for step in 0..<50 {
      var random = Generator(seed: 4, step)
      let chosen = m.draw(&random), patches = chosen.map(\.patch)
      #expect(patches == Set(patches).sorted() && patches.count == m.count && patches.allSatisfy { $0 >= 0 && $0 < 10 * size })
      // Each crop's weights are one together.
      let byCrop = Dictionary(grouping: chosen) { $0.patch / size }
      #expect(byCrop.count == 5 && byCrop.values.map(\.count).sorted() == m.counts && byCrop.values.allSatisfy { abs($0.reduce(0) { $0 + $1.weight } - 1) < 1e-9 })
      seen.formUnion(patches)
    }
    // Every crop and nearly every place has its turn; corners of blocks are rare.
    #expect(seen.count > 9 * size)
    // A half of the ratios' range: (0.1 + 0.5) / 2 of half of all patches, where no crop's share rounds to nothing.
    if size > 40 { #expect(abs(Double(m.count) - 0.3 * 5 * Double(size)) <= 2.5) }
  }

  /// Every patch of the whole batch in one part, at the same place of the same image's crop; no part has more than there is room for.
  @Test(arguments: TrainingSettings.MaskShape.allCases) func partsOfABatchAreTheWhole(_ shape: TrainingSettings.MaskShape) {
    let m = MaskedPatches(crops: 12, rows: 3, columns: 5, probability: 0.4, ratios: 0.1...0.6, shape: shape), images = 6, size = 15
    var most = 0
    for step in 0..<400 {
      var random = Generator(seed: 9, step)
      let chosen = m.draw(&random)
      var found: [Int: Double] = [:]
      for part in [0..<1, 1..<4, 4..<6] {
        let own = m.part(chosen, images: part)
        #expect(own.map(\.patch) == own.map(\.patch).sorted() && own.count <= m.most(crops: 2 * part.count))
        for (patch, weight) in own {
          let crop = patch / size, view = crop / part.count, image = part.lowerBound + crop % part.count
          #expect(view < 2 && found.updateValue(weight, forKey: (view * images + image) * size + patch % size) == nil)
        }
        if part.count == 1 { most = max(most, own.count) }
      }
      #expect(found == Dictionary(uniqueKeysWithValues: chosen.map { ($0.patch, $0.weight) }))
      #expect(m.part(chosen, images: 0..<6).map(\.patch) == chosen.map(\.patch))
    }
    // The room is used: both crops of the image had the two largest shares.
    #expect(most == m.most(crops: 2))
  }

  /// Rectangles hang together: far more of the neighbours of a masked patch are masked than of patches drawn one by one.
  @Test func blocksAreBlocks() {
    func neighbours(_ shape: TrainingSettings.MaskShape) -> Double {
      let m = MaskedPatches(crops: 1, rows: 14, columns: 14, probability: 1, ratios: 0.3...0.3, shape: shape)
      var pairs = 0
      for step in 0..<100 {
        var random = Generator(seed: 5, step)
        let masked = Set(m.draw(&random).map(\.patch))
        pairs += masked.count { $0 % 14 < 13 && masked.contains($0 + 1) }
      }
      return Double(pairs) / Double(100 * m.count)
    }
    #expect(neighbours(.block) > 0.6 && neighbours(.random) < 0.4, "\(neighbours(.block)), \(neighbours(.random))")
  }

  @Test(arguments: TrainingSettings.Precision.allCases, TrainingSettings.Centering.allCases) func threadsAndAStopChangeNoBit(_ precision: TrainingSettings.Precision, _ centering: TrainingSettings.Centering) throws {
    let folder = try Fixtures.temporaryFolder()
    defer { try? FileManager.default.removeItem(at: folder) }
    let s = Self.settings { $0.precision = precision; $0.centering = centering }, path = folder.appendingPathComponent("state.safetensors").path
    let one = try Self.trainer(s, threads: 1), three = try Self.trainer(s, threads: 3), first = try Self.trainer(s), second = try Self.trainer(s)
    let losses = try Self.run(one, to: 5).map(\.loss)
    #expect(try Self.run(three, to: 5).map(\.loss) == losses)
    #expect(Self.everything(three) == Self.everything(one))
    _ = try Self.run(first, to: 2)
    try TrainingState.save(first, data: "d", to: path)
    try TrainingState.restore(second, data: "d", from: path)
    #expect(try Self.run(second, to: 5).map(\.loss) == Array(losses[2...]))
    #expect(Self.everything(second) == Self.everything(one))
    #expect(one.centers.map(\.name) == ["center", "patch_center"] && one.centers.allSatisfy { $0.tensor.floats().contains { $0 != 0 } })
    let token = try #require(one.names.firstIndex(of: "mask_token"))
    #expect(one.student.tensors[token].floats().contains { $0 != 0 })
    let other = try Self.trainer(Self.settings { $0.precision = precision; $0.centering = centering; $0.maskRatios = 0.1...0.6 })
    #expect { try TrainingState.restore(other, data: "d", from: path) } throws: { "\($0)".contains("--ibot-mask-ratio-min-max") }
    // Of the order of tensors before: refused, not misread.
    var bytes = [UInt8](try Data(contentsOf: URL(fileURLWithPath: path)))
    let mark = Array(#"\"version\":2"#.utf8), at = try #require(bytes.indices.first { bytes[$0...].starts(with: mark) })
    bytes[at + mark.count - 1] = UInt8(ascii: "1")
    try Data(bytes).write(to: URL(fileURLWithPath: path))
    #expect { try TrainingState.restore(second, data: "d", from: path) } throws: { "\($0)".contains("version") }
  }

  /// What is masked is not seen: a pixel of a masked patch changes no output of the student but through the teacher's; here the teacher stands still on the old pixels.
  @Test func theTermsAreToldAndTheMeterReadsOnlyDINOs() throws {
    let s = Self.settings { $0.koleoWeight = 0.1; $0.dropPath = 0 }, t = try Self.trainer(s)
    let reports = try Self.run(t, to: 3)
    for r in reports {
      #expect(r.terms.map(\.name) == ["dino", "koleo", "ibot"])
      #expect(abs(r.loss - r.terms[0].value - 0.1 * r.terms[1].value - 0.5 * r.terms[2].value) < 1e-5)
    }
    var meter = CollapseMeter()
    try meter.add(reports[2], of: t)
    let reading = meter.read()
    #expect(abs(reading.divergence - (reports[2].terms[0].value - reading.teacherEntropy)) < 1e-9 && reading.loss == reports[2].loss)
    // Without any weight of it the masks remain: the loss is DINO's of masked crops.
    #expect(reports[0].terms[2].value > 0)
  }

  /// Masks of all patches of one crop, by hand: the student then cannot tell two images apart by that crop, and its class token is that of the mask token alone.
  @Test func aMaskedCropIsNotSeen() throws {
    let s = Self.settings { $0.batch = 1; $0.localCrops = 0; $0.maskProbability = 0.5; $0.maskRatios = 1...1; $0.dropPath = 0; $0.rate = 0; $0.leastRate = 0 }
    // With the second view masked whole, what remains is the first view's part of the loss and a constant: two images that share the first view differ only by the teacher.
    let t = try Self.trainer(s)
    t.givenPatches = (16..<32).map { ($0, 1.0 / 16) }
    var random = SplitMix64(seed: 8)
    let image = 3 * 256, first = random.floats(image), second = random.floats(image)
    _ = t.computeGradients(globals: Tensor(first + second, shape: [2, 3, 16, 16]), locals: nil)
    let patch = try #require(t.namedGradients().first { $0.name == "patch_embed.proj.weight" }).tensor.floats()
    // By the masked view the student's patch embedding has no gradient: with the other masked too it is zero.
    #expect(patch.contains { abs($0) > 1e-7 })
    let both = try Self.trainer(Self.settings { $0.batch = 1; $0.localCrops = 0; $0.maskProbability = 1; $0.maskRatios = 1...1; $0.dropPath = 0 })
    _ = both.computeGradients(globals: Tensor(first + second, shape: [2, 3, 16, 16]), locals: nil)
    #expect(try #require(both.namedGradients().first { $0.name == "patch_embed.proj.weight" }).tensor.floats().allSatisfy { $0 == 0 })
    #expect(try #require(both.namedGradients().first { $0.name == "mask_token" }).tensor.floats().contains { $0 != 0 })
  }

  @Test func contradictionsAreNamed() {
    func message(_ change: @escaping (inout TrainingSettings) -> Void) -> String {
      do { try Self.settings(change).validate() } catch { return "\(error)" }
      return ""
    }
    #expect(message { _ in } == "")
    #expect(message { $0.maskProbability = 0.05 }.contains("--ibot-mask-sample-probability"))
    #expect(message { $0.maskRatios = 0...0.5 }.contains("--ibot-mask-ratio-min-max"))
    #expect(message { $0.config.head = .projection(.init(outDim: 30, batchNorm: true)) }.contains("--use-bn-in-head"))
    #expect(message { $0.ibotWeight = -1 }.contains("--ibot-loss-weight"))
  }
}
