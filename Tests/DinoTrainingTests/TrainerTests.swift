// Steps of a tiny network on made-up crops: the number of threads, a stop and a resume change no bit; what must not be trained stands still.

import Dino
import DinoImaging
import DinoKernels
import DinoModels
import DinoTensor
@testable import DinoTraining
import Foundation
import Testing
import TestSupport

@Suite struct TrainerTests {
  private static func settings(_ change: (inout TrainingSettings) -> Void = { _ in }) -> TrainingSettings {
    var s = TrainingSettings(config: ViTConfig(patchSize: 4, embedDim: 16, depth: 2, numHeads: 2, nativeRows: 4, nativeColumns: 4,
                                               head: .projection(.init(hiddenDim: 20, bottleneckDim: 8, outDim: 30))))
    s.batch = 3
    s.globalSize = 16
    s.localSize = 8
    s.localCrops = 2
    s.rate = 0.01
    s.epochs = 3
    s.warmupEpochs = 1
    change(&s)
    return s
  }

  private static func trainer(_ s: TrainingSettings, threads: Int = 1) throws -> Trainer {
    let weights = Dictionary(uniqueKeysWithValues: try WeightInitializer.tensors(config: s.config, seed: 1).map { ($0.name, $0.tensor) })
    return try Trainer(s, stepsPerEpoch: 2, weights: weights, threads: threads)
  }

  private static func crops(_ s: TrainingSettings, _ step: Int) -> (globals: Tensor, locals: Tensor?) {
    var random = SplitMix64(seed: UInt64(100 + step))
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

  @Test(arguments: TrainingSettings.Optimizer.allCases) func threadsChangeNoBit(_ optimizer: TrainingSettings.Optimizer) throws {
    let s = Self.settings { $0.optimizer = optimizer; $0.dropPath = 0.3 }
    let one = try Self.trainer(s, threads: 1), three = try Self.trainer(s, threads: 3)
    #expect(try Self.run(one, to: 6) == Self.run(three, to: 6))
    #expect(Self.everything(one) == Self.everything(three))
  }

  @Test(arguments: 1...5) func resumeChangesNoBit(_ stop: Int) throws {
    let folder = try Fixtures.temporaryFolder()
    defer { try? FileManager.default.removeItem(at: folder) }
    let s = Self.settings { $0.dropPath = 0.2 }, path = folder.appendingPathComponent("state.safetensors").path
    let whole = try Self.trainer(s)
    _ = try Self.run(whole, to: 6)
    let first = try Self.trainer(s)
    _ = try Self.run(first, to: stop)
    try TrainingState.save(first, data: "d", to: path)
    let second = try Self.trainer(s)
    try TrainingState.restore(second, data: "d", from: path)
    _ = try Self.run(second, to: 6)
    #expect(Self.everything(whole) == Self.everything(second))
    // Other settings or other images are refused by name.
    let other = try Self.trainer(Self.settings { $0.dropPath = 0.2; $0.teacherMomentum = 0.9 })
    #expect { try TrainingState.restore(other, data: "d", from: path) } throws: { "\($0)".contains("--momentum-teacher") }
    #expect(throws: DinoError.self) { try TrainingState.restore(second, data: "e", from: path) }
    // Another number of epochs is taken, and the schedules are its own from there; one that is over already is refused.
    let longer = try Self.trainer(Self.settings { $0.dropPath = 0.2; $0.epochs = s.epochs + 2 })
    #expect(try TrainingState.restore(longer, data: "d", from: path).epochs == s.epochs && longer.step == stop && Self.everything(longer) == Self.everything(first))
    #expect(longer.schedule.count == whole.schedule.count / s.epochs * (s.epochs + 2))
    #expect(try Self.run(longer, to: longer.schedule.count).allSatisfy { $0.isFinite })
    #expect(Self.everything(longer) != Self.everything(whole))
    let shorter = try Self.trainer(Self.settings { $0.dropPath = 0.2; $0.epochs = 1 })
    if stop > shorter.schedule.count {
      #expect { try TrainingState.restore(shorter, data: "d", from: path) } throws: { "\($0)".contains("--epochs 1") }
    } else {
      #expect(try TrainingState.restore(shorter, data: "d", from: path).epochs == s.epochs)
    }
  }

  @Test func aLossThatIsNoNumberIsCalledSo() throws {
    let s = Self.settings(), t = try Self.trainer(s), globals: Shape = [2 * s.batch, 3, 16, 16], locals: Shape = [2 * s.batch, 3, 8, 8]
    func nothing(_ shape: Shape) -> Tensor { Tensor([Float](repeating: .nan, count: shape.count), shape: shape) }
    #expect { _ = try t.run(globals: nothing(globals), locals: nothing(locals)) } throws: { "\($0)".contains("the loss is not a number at step 0") }
  }

  /// The flag's name is said, and the rate as it was given, not as it is scaled to the batch.
  @Test func theRateIsListedAsItWasGiven() throws {
    let folder = try Fixtures.temporaryFolder()
    defer { try? FileManager.default.removeItem(at: folder) }
    let path = folder.appendingPathComponent("state.safetensors").path, given = Self.settings { $0.scaleRate(0.0005, images: 3) }
    let listed = given.listed(stepsPerEpoch: 2, processes: 4)
    #expect(given.rate == 0.0005 * 3 / 256)
    #expect(listed.first { $0.flag == "--lr" }?.value == "0.0005")
    #expect(listed.first { $0.flag == "--batch-size-per-gpu" }?.value == "12")
    try TrainingState.save(try Self.trainer(given), data: "d", to: path)
    let other = try Self.trainer(Self.settings { $0.scaleRate(0.001, images: 3) })
    #expect { try TrainingState.restore(other, data: "d", from: path) } throws: { "\($0)".contains("trained with --lr 0.0005, now it is 0.001") }
    let rounded = try Self.trainer(Self.settings { $0.scaleRate(0.0005, images: 3); $0.precision = .bf16 })
    #expect { try TrainingState.restore(rounded, data: "d", from: path) } throws: { "\($0)".contains("trained with --precision f32, now it is bf16") }
  }

  /// DINOv3's kind of network: crops of two sizes have angles of their own, periods and the keys' bias stand still, threads and a stop change no bit, and the state is a checkpoint.
  @Test func rotaryNetworksTrain() throws {
    let folder = try Fixtures.temporaryFolder()
    defer { try? FileManager.default.removeItem(at: folder) }
    let path = folder.appendingPathComponent("state.safetensors").path
    let s = Self.settings {
      ($0.config.registerTokens, $0.config.layerScale, $0.config.normEpsilon, $0.dropPath) = (2, true, 1e-5, 0.2)
      $0.config = $0.config.rotary(base: 100)
    }
    let one = try Self.trainer(s), three = try Self.trainer(s, threads: 3), first = try Self.trainer(s), second = try Self.trainer(s)
    let start = one.student.tensors.map { $0.floats() }, losses = try Self.run(one, to: 6)
    #expect(try Self.run(three, to: 6) == losses && Self.everything(one) == Self.everything(three))
    _ = try Self.run(first, to: 3)
    try TrainingState.save(first, data: "d", to: path)
    try TrainingState.restore(second, data: "d", from: path)
    _ = try Self.run(second, to: 6)
    #expect(Self.everything(one) == Self.everything(second))
    for (i, name) in one.names.enumerated() {
      let now = one.student.tensors[i].floats()
      if name == "rope_embed.periods" { #expect(!one.isTrainable(i) && now == start[i] && one.teacher.tensors[i].floats() == start[i]) }
      if name.hasSuffix("qkv.bias") { #expect(now[16..<32].allSatisfy { $0 == 0 } && (now[..<16] + now[32...]).allSatisfy { $0 != 0 }) }
    }
    let state = try Checkpoint(path: path)
    #expect(state.config == s.config && state.config.rotaryBase == 100)
  }

  /// Flags that are on in the first run alone are asked for by name, not left out in silence.
  @Test func whatTheFirstRunHadOnIsAskedFor() throws {
    let folder = try Fixtures.temporaryFolder()
    defer { try? FileManager.default.removeItem(at: folder) }
    let path = folder.appendingPathComponent("state.safetensors").path, plain = try Self.trainer(Self.settings())
    func refuses(_ flag: String, _ change: (inout TrainingSettings) -> Void) throws {
      try TrainingState.save(try Self.trainer(Self.settings(change)), data: "d", to: path)
      #expect { try TrainingState.restore(plain, data: "d", from: path) } throws: { "\($0)".contains("trained with \(flag)") }
    }
    try refuses("--precision bf16") { $0.precision = .bf16 }
    try refuses("--koleo-loss-weight") { $0.koleoWeight = 0.1 }
    try refuses("--centering sinkhorn_knopp") { $0.centering = .sinkhornKnopp }
    try refuses("--use-bn-in-head") { $0.config.head = .projection(.init(hiddenDim: 20, bottleneckDim: 8, outDim: 30, batchNorm: true)) }
    // What earlier versions said of the same images is taken.
    try TrainingState.save(plain, data: "old", to: path)
    #expect(throws: DinoError.self) { try TrainingState.restore(plain, data: "new", from: path) }
    try TrainingState.restore(plain, data: "new", earlier: ["old"], from: path)
  }

  @Test func imagesAreKnownByNameAndSize() throws {
    let folder = try Fixtures.temporaryFolder()
    defer { try? FileManager.default.removeItem(at: folder) }
    func fingerprint(_ root: String, _ files: [(name: String, bytes: Int)]) throws -> String {
      let images = try files.map { file in
        let url = folder.appendingPathComponent(root).appendingPathComponent(file.name)
        try FileManager.default.createDirectory(at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
        try Data(count: file.bytes).write(to: url)
        return ImageInput(path: url.path)
      }
      return Fingerprint(of: images).text
    }
    let first = try fingerprint("a", [("x/1.ppm", 3), ("y/1.ppm", 4)])
    // Moved they are the same.
    #expect(try first == fingerprint("b/c", [("x/1.ppm", 3), ("y/1.ppm", 4)]))
    #expect(try first != fingerprint("d", [("x/1.ppm", 3), ("y/1.ppm", 5)]))
    #expect(try first != fingerprint("e", [("x/1.ppm", 3), ("z/1.ppm", 4)]))
    #expect(try first != fingerprint("f", [("y/1.ppm", 4), ("x/1.ppm", 3)]))
    #expect(Fingerprint(of: []).text == Fingerprint().text)
  }

  @Test func aFolderIsLockedOnce() throws {
    let folder = try Fixtures.temporaryFolder()
    defer { try? FileManager.default.removeItem(at: folder) }
    var lock: RunLock? = try RunLock(folder.path)
    #expect { _ = try RunLock(folder.path) } throws: { ($0 as? DinoError)?.kind == .io }
    withExtendedLifetime(lock) {}
    lock = nil
    _ = try RunLock(folder.path)
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path).isEmpty)
  }

  /// A step of more than any machine's memory is refused in one sentence that says what makes it smaller.
  @Test func aStepThatDoesNotFitSaysWhatToLower() throws {
    #expect { _ = try Self.trainer(Self.settings { $0.batch = 60_000; $0.globalSize = 256; $0.localCrops = 0 }) } throws: { error in
      guard let error = error as? DinoError else { return false }
      return error.kind == .unavailable && error.message.contains("60000 images") && error.message.count < 200 && error.hint?.contains("--batch-size-per-gpu") == true
    }
  }

  @Test func aMeterThatDoesNotFitIsNotTaken() throws {
    let s = Self.settings(), t = try Self.trainer(s)
    var meter = CollapseMeter()
    #expect(meter.counted(outputs: 30).isEmpty)
    for step in 0..<3 {
      let c = Self.crops(s, step)
      try meter.add(t.run(globals: c.globals, locals: c.locals), of: t)
    }
    let counted = meter.counted(outputs: 30)
    for (k, d, x) in [(31, 16, counted), (30, 15, counted), (30, 16, Array(counted.dropLast())), (30, 16, [-1] + counted.dropFirst()), (30, 16, [.nan] + counted.dropFirst()), (30, 16, [])] {
      #expect(CollapseMeter(counted: x, outputs: k, width: d) == nil)
    }
    var again = try #require(CollapseMeter(counted: counted, outputs: 30, width: 16))
    let reading = again.read()
    #expect(reading == meter.read() && reading.steps == 3 && reading.activePrototypes > 0 && reading.effectiveRank > 1)
  }

  @Test func frozenAndNormedLayersStandStill() throws {
    let t = try Self.trainer(Self.settings { $0.freezeLastLayer = 1; $0.weightDecay = 0.5 })
    let g = t.names.firstIndex(of: "head.last_layer.weight_g")!, v = t.names.firstIndex(of: "head.last_layer.weight_v")!
    let before = (t.student.tensors[g].floats(), t.student.tensors[v].floats())
    _ = try Self.run(t, to: 2)
    #expect(t.student.tensors[v].floats() == before.1 && t.updates[v] == 0)
    _ = try Self.run(t, to: 4)
    #expect(t.student.tensors[v].floats() != before.1 && t.updates[v] == 2)
    #expect(t.student.tensors[g].floats() == before.0)
  }

  @Test func aLossThatIsNotANumberStopsAndChangesNothing() throws {
    let t = try Self.trainer(Self.settings()), before = Self.everything(t)
    let c = Self.crops(t.settings, 0)
    var values = c.globals.floats()
    values[5] = .nan
    #expect { try t.run(globals: Tensor(values, shape: c.globals.shape), locals: c.locals) } throws: { "\($0)".contains("step 0") }
    #expect(Self.everything(t) == before && t.step == 0)
  }

  /// What DINOv2 adds: any number of threads gives the same bits, and the centre has no part in Sinkhorn-Knopp.
  @Test func otherTermsKeepTheirWord() throws {
    let s = Self.settings { $0.centering = .sinkhornKnopp; $0.koleoWeight = 0.1 }
    let one = try Self.trainer(s, threads: 1), three = try Self.trainer(s, threads: 3)
    #expect(try Self.run(one, to: 6) == Self.run(three, to: 6))
    #expect(Self.everything(one) == Self.everything(three))
    let rows = try #require(one.teacherProbabilities).floats(), k = s.outDim
    for r in 0..<2 * s.batch { #expect(abs(rows[r * k..<(r + 1) * k].reduce(0, +) - 1) < 1e-5) }
    let still = try Self.trainer(Self.settings { $0.centering = .sinkhornKnopp; $0.koleoWeight = 0.1; $0.centerMomentum = 1 })
    _ = try Self.run(still, to: 6)
    #expect(zip(still.student.tensors, one.student.tensors).allSatisfy { $0.floats() == $1.floats() })
    #expect(throws: DinoError.self) { try Self.trainer(Self.settings { $0.koleoWeight = 0.1; $0.batch = 1 }) }
  }

  @Test func withoutLocalCrops() throws {
    let t = try Self.trainer(Self.settings { $0.localCrops = 0 })
    let losses = try Self.run(t, to: 6)
    #expect(losses.allSatisfy { $0.isFinite })
  }

  /// A centre that stands still lets the teacher fall onto one prototype: the meter says so.
  @Test func theMeterNamesACollapse() throws {
    let s = Self.settings { $0.centerMomentum = 1; $0.epochs = 40; $0.rate = 0.05; $0.leastRate = 0.05; $0.teacherMomentum = 0.5; $0.warmupEpochs = 0; $0.freezeLastLayer = 0 }
    let t = try Self.trainer(s)
    var meter = CollapseMeter()
    for step in 0..<80 {
      let c = Self.crops(s, step), report = try t.run(globals: c.globals, locals: c.locals)
      if step >= 70 { try meter.add(report, of: t) }
    }
    let reading = meter.read()
    #expect(reading.verdict != .healthy, "\(reading)")
  }

  @Test func schedulesAreTheOriginals() {
    // numpy: np.linspace(0, 1e-3, 2) and the cosine of utils.cosine_scheduler(1e-3, 1e-5, 3, 2, 1).
    let rates = Schedules.cosine(base: 0.001, end: 1e-5, count: 6, warmup: 2)
    for (a, b) in zip(rates, [0, 0.001, 0.001, 0.000855017856687341, 0.000505, 0.000154982143312659]) { #expect(abs(a - b) < 1e-15) }
  }
}

@Suite struct AugmentationTests {
  private static func picture() -> Image {
    var random = SplitMix64(seed: 5)
    return Image(width: 60, height: 45, channels: 3, pixels: (0..<60 * 45 * 3).map { _ in UInt8.random(in: 0...255, using: &random) })
  }

  @Test func cropsFollowFromTheGenerator() throws {
    let a = MultiCropAugmentation(globalSize: 32, localSize: 16, localCrops: 3), picture = Self.picture()
    var one = Generator(seed: 1, 2, 3), same = Generator(seed: 1, 2, 3), other = Generator(seed: 1, 2, 4)
    let crops = try a.crops(of: picture, random: &one)
    #expect(crops.map(\.width) == [32, 32, 16, 16, 16] && crops.allSatisfy { $0.channels == 3 && $0.width == $0.height })
    #expect(try a.crops(of: picture, random: &same) == crops)
    #expect(try a.crops(of: picture, random: &other) != crops)
  }

  @Test func boxesKeepToScaleAndRatio() {
    var random = Generator(seed: 9)
    for (w, h) in [(60, 45), (45, 60), (200, 20), (7, 7)] {
      for _ in 0..<200 {
        let b = MultiCropAugmentation.box(width: w, height: h, scale: 0.05...0.4, &random)
        #expect(b.x >= 0 && b.y >= 0 && b.x + b.width <= w && b.y + b.height <= h && b.width > 0 && b.height > 0)
        let ratio = Double(b.width) / Double(b.height)
        // Rounding moves small boxes.
        if b.width > 10, b.height > 10 { #expect(ratio > 0.65 && ratio < 1.55) }
      }
    }
  }
}
