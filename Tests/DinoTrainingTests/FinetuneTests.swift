// Supervised training: a recorded run of PyTorch again, the published rule of rates, derivatives of the whole network by finite differences; threads, a stop and a resume change no bit.

import Dino
import DinoImaging
import DinoKernels
import DinoModels
import DinoTensor
@testable import DinoTraining
import Foundation
import Safetensors
import Testing
import TestSupport

@Suite struct FinetuneTests {
  /// The case that Tests/Reference/make_finetune_case.py recorded.
  struct Case {
    let folder = Fixtures.path("finetuning")
    let json: JSONValue
    var settings: FinetuneSettings
    let initial: [String: Tensor]

    init() throws {
      let recorded = try JSONValue.parse(String(contentsOfFile: "\(Fixtures.path("finetuning"))/case.json", encoding: .utf8))
      func number(_ key: String) throws -> Double { try #require(recorded["config"]?[key]?.doubleValue, "\(key)") }
      func integer(_ key: String) throws -> Int { Int(try number(key)) }
      let side = try integer("img") / integer("patch")
      var settings = FinetuneSettings(config: ViTConfig(patchSize: try integer("patch"), embedDim: try integer("dim"), depth: try integer("depth"), numHeads: try integer("heads"), nativeRows: side,
                                                    nativeColumns: side, head: .classifier(classes: try integer("classes"))))
      settings.batch = try integer("batch")
      settings.size = try integer("size")
      settings.rate = try number("lr")
      settings.leastRate = try number("min_lr")
      settings.epochs = try integer("epochs")
      settings.warmupEpochs = try integer("warmup_epochs")
      settings.weightDecay = try number("weight_decay")
      settings.layerDecay = try number("layer_decay")
      settings.labelSmoothing = try number("label_smoothing")
      settings.dropPath = try number("drop_path")
      settings.clipGradient = try number("clip_grad")
      json = recorded
      self.settings = settings
      initial = try Self.tensors("\(Fixtures.path("finetuning"))/initial.safetensors")
    }

    static func tensors(_ path: String) throws -> [String: Tensor] {
      let file = try SafetensorsFile(path: path)
      return Dictionary(uniqueKeysWithValues: file.names.compactMap { name in file.tensor(name).map { (name, $0) } })
    }

    var stepsPerEpoch: Int { json["config"]?["iterations_per_epoch"]?.integerValue ?? 0 }
    var losses: [Double] { (json["losses"]?.arrayValue ?? []).compactMap(\.doubleValue) }
    func labels(_ step: Int) -> [Int] { (json["labels"]?.arrayValue?[step].arrayValue ?? []).compactMap(\.integerValue) }

    func tuner(threads: Int = 2, kernels: String? = nil) throws -> Finetuner { try Finetuner(settings, stepsPerEpoch: stepsPerEpoch, weights: initial, threads: threads, kernels: kernels) }
  }

  private func distance(_ found: [Float], _ want: [Float]) -> Double { normalizedMeanSquaredError(found, reference: want).squareRoot() }

  /// A constant added to all keys changes no softmax: what moves keys' biases is rounding.
  private func withoutKeys(_ name: String, _ values: [Float]) -> [Float] {
    guard name.hasSuffix("attn.qkv.bias") else { return values }
    return Array(values[..<(values.count / 3)] + values[(values.count / 3 * 2)...])
  }

  @Test func agreesWithPyTorch() throws {
    let recorded = try Case(), crops = try Case.tensors("\(recorded.folder)/crops.safetensors"), gradients = try Case.tensors("\(recorded.folder)/step0_gradients.safetensors")
    let final = try Case.tensors("\(recorded.folder)/final.safetensors")
    for table in KernelTable.available {
      let tuner = try recorded.tuner(kernels: table.name)
      #expect(tuner.count == 6 && recorded.losses.count == 6)
      for step in 0..<6 {
        tuner.givenMasks = try (1..<3).flatMap { block in try (0..<2).map { try #require(crops["step\(step).drop_path.\(block).\($0)"]).floats() } }
        let report = try tuner.run(crops: try #require(crops["step\(step).crops"]), labels: recorded.labels(step))
        #expect(abs(report.loss - recorded.losses[step]) < 1e-5, "\(table.name): loss of step \(step): \(report.loss), recorded \(recorded.losses[step])")
        guard step == 0 else { continue }
        for (i, name) in tuner.names.enumerated() {
          let want = withoutKeys(name, try #require(gradients[name]).floats()), found = withoutKeys(name, tuner.gradients.tensors[i].floats())
          #expect(distance(found, want) < 1e-4, "\(table.name): gradient of \(name)")
        }
      }
      for (i, name) in tuner.names.enumerated() {
        #expect(distance(withoutKeys(name, tuner.weights.tensors[i].floats()), withoutKeys(name, try #require(final[name]).floats())) < 1e-3, "\(table.name): \(name) at the end")
      }
      #expect(distance(tuner.weights.tensors[0].floats(), recorded.initial[tuner.names[0]]!.floats()) > 1e-3)
    }
  }

  /// Rates and decay of every tensor, as MAE's param_groups_lrd groups them.
  @Test func groupsAreThePublishedOnes() throws {
    let recorded = try Case(), specs = recorded.settings.config.tensors
    #expect(recorded.json["groups"]?.objectValue?.count == specs.count)
    for spec in specs {
      let group = try #require(recorded.json["groups"]?[spec.name], "\(spec.name)")
      #expect(abs(recorded.settings.rateFactor(spec.name) - (group["lr_scale"]?.doubleValue ?? .nan)) < 1e-12, "\(spec.name)")
      #expect(FinetuneSettings.decays(spec) == (group["weight_decay"]?.doubleValue != 0), "\(spec.name)")
    }
    #expect(Set(specs.map { recorded.settings.rateFactor($0.name) }).count == recorded.settings.config.depth + 2)
  }

  /// Every tensor's derivative, by differences of the loss itself.
  @Test func gradientsAreTheLosssSlopes() throws {
    let recorded = try Case(), crops = try #require(try Case.tensors("\(recorded.folder)/crops.safetensors")["step1.crops"]), labels = recorded.labels(1)
    try checkSlopes(try recorded.tuner(), crops: crops, labels: labels)
  }

  /// The same with registers and layer scale, on crops of another grid than the positions are for.
  @Test(arguments: [ViTConfig.FeedForward.mlp, .swiglu]) func gradientsWithRegistersAreTheLosssSlopes(feedForward: ViTConfig.FeedForward) throws {
    var settings = FinetuneSettings(config: ViTConfig(patchSize: 4, embedDim: 12, depth: 2, numHeads: 3, mlpRatio: 2, feedForward: feedForward, registerTokens: 3, layerScale: true,
                                                      activation: feedForward.usualActivation, nativeRows: 3, nativeColumns: 3,
                                                      positionResize: .official(registerTokens: 3), head: .classifier(classes: 4)))
    (settings.batch, settings.size, settings.dropPath) = (3, 16, 0)
    var random = SplitMix64(seed: 9)
    let weights = Dictionary(uniqueKeysWithValues: settings.config.tensors.map { spec in
      let middle: Float = spec.name.contains("norm") && spec.name.hasSuffix("weight") || spec.name.hasSuffix("gamma") ? 1 : 0
      return (spec.name, Tensor(random.floats(spec.shape.count).map { middle + 0.4 * $0 }, shape: spec.shape))
    })
    let tuner = try Finetuner(settings, stepsPerEpoch: 1, weights: weights, threads: 2)
    #expect(tuner.names.contains("register_tokens") && settings.rateFactor("register_tokens") == settings.rateFactor("cls_token"))
    let crops = Tensor(random.floats(3 * 3 * 16 * 16), shape: [3, 3, 16, 16])
    _ = tuner.computeGradients(crops: crops, labels: [0, 3, 1])
    #expect(tuner.gradients.tensors[try #require(tuner.names.firstIndex(of: "register_tokens"))].floats().allSatisfy { $0 != 0 })
    try checkSlopes(tuner, crops: crops, labels: [0, 3, 1])
  }

  /// The same with rotary positions: the periods stand still, and the keys' bias, which is masked in the original.
  @Test(arguments: [TrainingSettings.Precision.f32, .bf16], [ViTConfig.FeedForward.mlp, .swiglu])
  func gradientsWithRotaryPositionsAreTheLosssSlopes(precision: TrainingSettings.Precision, feedForward: ViTConfig.FeedForward) throws {
    let config = ViTConfig(patchSize: 4, embedDim: 24, depth: 2, numHeads: 3, mlpRatio: 2, feedForward: feedForward, registerTokens: 3, layerScale: true, normEpsilon: 1e-5,
                           activation: feedForward.usualActivation, nativeRows: 1, nativeColumns: 1, head: .classifier(classes: 4)).rotary(base: 100)
    var settings = FinetuneSettings(config: config)
    (settings.batch, settings.size, settings.dropPath, settings.rate, settings.warmupEpochs) = (3, 16, 0, 0.01, 0)
    var random = SplitMix64(seed: 10), weights = Dictionary(uniqueKeysWithValues: try WeightInitializer.tensors(config: config, seed: 1).map { ($0.name, $0.tensor) })
    for spec in config.tensors where !spec.isComputed {
      let middle: Float = spec.name.contains("norm") && spec.name.hasSuffix("weight") || spec.name.hasSuffix("gamma") ? 1 : 0
      weights[spec.name] = Tensor(random.floats(spec.shape.count).map { middle + 0.4 * $0 }, shape: spec.shape)
    }
    let tuner = try Finetuner(settings, stepsPerEpoch: 1, weights: weights, threads: 2), crops = Tensor(random.floats(3 * 3 * 16 * 16), shape: [3, 3, 16, 16]), labels = [0, 3, 1]
    _ = tuner.computeGradients(crops: crops, labels: labels)
    let exact = tuner.gradients.tensors.map { $0.floats() }
    let bias = try #require(tuner.names.firstIndex(of: "blocks.0.attn.qkv.bias")), periods = try #require(tuner.names.firstIndex(of: "rope_embed.periods"))
    #expect(exact[bias][24..<48].allSatisfy { $0 == 0 } && exact[bias][..<24].allSatisfy { $0 != 0 } && exact[periods].allSatisfy { $0 == 0 })
    if precision == .f32 {
      // Gates bend the loss more: a wide step would see it.
      try checkSlopes(tuner, crops: crops, labels: labels, step: feedForward == .mlp ? 0.05 : 0.02)
      _ = try tuner.run(crops: crops, labels: labels)
      let after = tuner.weights.tensors[bias].floats(), before = weights[tuner.names[bias]]!.floats()
      #expect(Array(after[24..<48]) == Array(before[24..<48]) && zip(after[..<24], before).allSatisfy { $0 != $1 })
      #expect(tuner.weights.tensors[periods].floats() == weights["rope_embed.periods"]?.floats())
      return
    }
    settings.precision = precision
    let narrow = try Finetuner(settings, stepsPerEpoch: 1, weights: weights, threads: 2)
    _ = narrow.computeGradients(crops: crops, labels: labels)
    for (i, name) in tuner.names.enumerated() where i != periods { #expect(cosine(narrow.gradients.tensors[i].floats(), exact[i]) > 0.995, "\(name)") }
  }

  private func checkSlopes(_ tuner: Finetuner, crops: Tensor, labels: [Int], step: Double = 0.05) throws {
    var random = SplitMix64(seed: 8)
    for (i, name) in tuner.names.enumerated() {
      let values = tuner.weights.tensors[i].floats()
      var direction = random.floats(values.count)
      if tuner.settings.config.rotaryBase != nil, name.hasSuffix(".qkv.bias") { for k in values.count / 3..<values.count / 3 * 2 { direction[k] = 0 } }
      _ = tuner.computeGradients(crops: crops, labels: labels)
      let along = zip(tuner.gradients.tensors[i].floats(), direction).reduce(0.0) { $0 + Double($1.0) * Double($1.1) }
      let length = direction.reduce(0.0) { $0 + Double($1) * Double($1) }.squareRoot(), h = Float(step / length)
      func loss(_ times: Float) -> Double {
        tuner.weights.set(i, to: Tensor(zip(values, direction).map { $0 + times * h * $1 }, shape: tuner.weights.tensors[i].shape))
        return tuner.computeGradients(crops: crops, labels: labels)
      }
      let slope = (8 * (loss(1) - loss(-1)) - (loss(2) - loss(-2))) / (12 * Double(h))
      tuner.weights.set(i, to: Tensor(values, shape: tuner.weights.tensors[i].shape))
      // The loss is a 32-bit float: its last place over the step is what a slope can be told to.
      #expect(abs(slope - along) < 2e-3 * abs(along) + 3e-7 / Double(h), "\(name): \(along), by differences \(slope)")
    }
  }

  private static func everything(_ t: Finetuner) -> [[Float]] { (t.weights.tensors + t.moments.flatMap(\.tensors)).map { $0.floats() } }

  private static func run(_ t: Finetuner, to end: Int) throws -> [Double] {
    try (t.step..<end).map { step in
      var random = SplitMix64(seed: UInt64(70 + step))
      let s = t.settings, shape: Shape = [s.batch, 3, s.size, s.size]
      return try t.run(crops: Tensor(random.floats(shape.count), shape: shape), labels: (0..<s.batch).map { _ in Int.random(in: 0..<s.classes, using: &random) }).loss
    }
  }

  @Test(arguments: TrainingSettings.Precision.allCases) func threadsAndAResumeChangeNoBit(_ precision: TrainingSettings.Precision) throws {
    var recorded = try Case()
    recorded.settings.precision = precision
    let folder = try Fixtures.temporaryFolder(), path = folder.appendingPathComponent("s.safetensors").path
    defer { try? FileManager.default.removeItem(at: folder) }
    let one = try recorded.tuner(threads: 1), three = try recorded.tuner(threads: 3)
    let losses = try Self.run(one, to: 6)
    #expect(try Self.run(three, to: 6) == losses && Self.everything(one) == Self.everything(three))
    for stop in [1, 4] {
      let first = try recorded.tuner(), second = try recorded.tuner()
      _ = try Self.run(first, to: stop)
      try FinetuneState.save(first, data: "d", origin: "o", preprocessing: .imageNet, to: path)
      try FinetuneState.restore(second, data: "d", earlier: [""], origin: "o", preprocessing: .imageNet, from: path)
      _ = try Self.run(second, to: 6)
      #expect(Self.everything(second) == Self.everything(one))
    }
    recorded.settings.layerDecay = 0.7
    let other = try recorded.tuner()
    #expect { try FinetuneState.restore(other, data: "d", earlier: [""], origin: "o", preprocessing: .imageNet, from: path) } throws: { "\($0)".contains("--layer-decay") }
    #expect(throws: DinoError.self) { try FinetuneState.restore(one, data: "e", earlier: ["f"], origin: "o", preprocessing: .imageNet, from: path) }
    #expect { try FinetuneState.restore(one, data: "d", earlier: [""], origin: "p", preprocessing: .imageNet, from: path) } throws: { "\($0)".contains("began with other weights") }
    // What an earlier version called the images, and what it did not say.
    try FinetuneState.save(one, data: "old", origin: nil, preprocessing: .imageNet, to: path)
    try FinetuneState.restore(one, data: "new", earlier: ["old"], origin: "p", preprocessing: .imageNet, from: path)
  }

  @Test func bf16IsNearF32() throws {
    var recorded = try Case()
    let exact = try recorded.tuner()
    recorded.settings.precision = .bf16
    let rounded = try recorded.tuner(), crops = try #require(try Case.tensors("\(recorded.folder)/crops.safetensors")["step0.crops"]), labels = recorded.labels(0)
    let a = exact.computeGradients(crops: crops, labels: labels), b = rounded.computeGradients(crops: crops, labels: labels)
    #expect(abs(a - b) < 1e-2 && a != b)
    func all(_ t: Finetuner) -> [Float] { zip(t.names, t.gradients.tensors).flatMap { withoutKeys($0, $1.floats()) } }
    let x = all(exact), y = all(rounded)
    func dot(_ p: [Float], _ q: [Float]) -> Double { zip(p, q).reduce(0) { $0 + Double($1.0) * Double($1.1) } }
    #expect(dot(x, y) / (dot(x, x) * dot(y, y)).squareRoot() > 0.995)
  }

  @Test func badSettingsAndLossesAreRefused() throws {
    let recorded = try Case()
    for change in [{ $0.layerDecay = 0 }, { $0.layerDecay = 1.1 }, { $0.labelSmoothing = 1 }, { $0.dropPath = 1 }, { $0.warmupEpochs = 4 }, { $0.config.head = .classifier(classes: 1) }, { $0.size = 3 }] as [(inout FinetuneSettings) -> Void] {
      var s = recorded.settings
      change(&s)
      #expect(throws: DinoError.self) { try s.validate() }
    }
    let tuner = try recorded.tuner(), before = Self.everything(tuner), s = tuner.settings, shape: Shape = [s.batch, 3, s.size, s.size]
    #expect { try tuner.run(crops: Tensor([Float](repeating: .nan, count: shape.count), shape: shape), labels: [0, 1, 2, 3]) } throws: { "\($0)".contains("the loss is not a number at step 0") }
    #expect(Self.everything(tuner) == before && tuner.step == 0)
  }

  @Test func cropsFollowFromSeedAndStepAndKeepTheirLabels() throws {
    let folder = try Fixtures.temporaryFolder()
    defer { try? FileManager.default.removeItem(at: folder) }
    // Each photograph is of one grey, which names it.
    let images = try (0..<7).map { i in
      let path = folder.appendingPathComponent("\(i).ppm").path
      try Data(Array("P6\n20 16\n255\n".utf8) + [UInt8](repeating: UInt8(20 * i), count: 20 * 16 * 3)).write(to: URL(fileURLWithPath: path))
      return ImageInput(path: path)
    }
    let plain = Preprocessing(resize: .shorterSide(8), interpolation: .bicubic, crop: 8, mean: [0, 0, 0], std: [1, 1, 1])
    func loader(_ seed: UInt64, jitter: Double = 0) throws -> LabelledLoader {
      var a = LabelledAugmentation(size: 8)
      a.colorJitter = jitter
      return try LabelledLoader(images: images, labels: Array(0..<7), batch: 3, augmentation: a, preprocessing: plain, seed: seed)
    }
    let one = try loader(1), same = try loader(1), jittered = try loader(1, jitter: 0.4)
    #expect(one.stepsPerEpoch == 2)
    var seen: Set<Int> = []
    for step in 0..<4 {
      let batch = try one.make(step)
      #expect(batch.crops.shape == [3, 3, 8, 8])
      for (i, label) in batch.labels.enumerated() {
        let crop = batch.crops.floats()[i * 192..<(i + 1) * 192]
        #expect(crop.allSatisfy { abs($0 - Float(20 * label) / 255) < 1e-5 })
        if step < 2 { #expect(seen.insert(label).inserted) }
      }
      let again = try same.make(step), other = try jittered.make(step)
      #expect(again.labels == batch.labels && again.crops.floats() == batch.crops.floats())
      #expect(other.labels == batch.labels && other.crops.floats() != batch.crops.floats())
    }
    #expect(try loader(2).make(0).labels + loader(2).make(1).labels != one.make(0).labels + one.make(1).labels)
  }
}
