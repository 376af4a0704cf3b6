// checkpoint.pth of the original both ways: what ours writes goes on to the same bits, what the original wrote is taken with a word on what it lacks.
// Tests/Reference/check_official_checkpoint.py shows a written file to PyTorch.

import Dino
import DinoKernels
import DinoModels
import DinoTensor
@testable import DinoTraining
import Foundation
import Testing
import TestSupport
import TorchArchive

@Suite struct OfficialCheckpointTests {
  private static func settings(_ optimizer: TrainingSettings.Optimizer, batchNorm: Bool = false) -> TrainingSettings {
    var s = TrainingSettings(config: ViTConfig(patchSize: 4, embedDim: 16, depth: 2, numHeads: 2, nativeRows: 4, nativeColumns: 4,
                                               head: .projection(.init(hiddenDim: 20, bottleneckDim: 8, outDim: 30, batchNorm: batchNorm))))
    s.batch = 3
    s.globalSize = 16
    s.localSize = 8
    s.localCrops = 2
    s.rate = 0.01
    s.epochs = 3
    s.warmupEpochs = 1
    s.optimizer = optimizer
    return s
  }

  private static func trainer(_ s: TrainingSettings) throws -> Trainer {
    let weights = Dictionary(uniqueKeysWithValues: try WeightInitializer.tensors(config: s.config, seed: 1).map { ($0.name, $0.tensor) })
    return try Trainer(s, stepsPerEpoch: 2, weights: weights, threads: 1)
  }

  private static func run(_ t: Trainer, to end: Int) throws {
    for step in t.step..<end {
      var random = SplitMix64(seed: UInt64(100 + step))
      func crops(_ views: Int, _ size: Int) -> Tensor { Tensor(random.floats(views * t.settings.batch * 3 * size * size), shape: [views * t.settings.batch, 3, size, size]) }
      _ = try t.run(globals: crops(2, t.settings.globalSize), locals: crops(t.settings.localCrops, t.settings.localSize))
    }
  }

  private static func everything(_ t: Trainer) -> [[Float]] { (t.student.tensors + t.teacher.tensors + t.moments.flatMap(\.tensors) + t.centers.map(\.tensor)).map { $0.floats() } }

  @Test(arguments: TrainingSettings.Optimizer.allCases, [false, true]) func whatIsWrittenGoesOnToTheSameBits(_ optimizer: TrainingSettings.Optimizer, _ batchNorm: Bool) throws {
    let folder = try Fixtures.temporaryFolder()
    defer { try? FileManager.default.removeItem(at: folder) }
    let s = Self.settings(optimizer, batchNorm: batchNorm), path = folder.appendingPathComponent("checkpoint.pth").path
    // After the first epoch the frozen last layer has no moments yet; after the second everything has.
    for epoch in 1...2 {
      let whole = try Self.trainer(s), second = try Self.trainer(s)
      try Self.run(whole, to: 2 * epoch)
      try OfficialCheckpoint.save(whole, to: path)
      let notes = try OfficialCheckpoint.restore(second, from: path)
      #expect(notes.contains { $0.contains("--seed") } && !notes.contains { $0.contains("differ") || $0.contains("no centre") })
      #expect(notes.contains { $0.contains("moments") } == (epoch == 1 && optimizer == .adamw), "\(notes)")
      #expect(second.step == 2 * epoch)
      try Self.run(whole, to: 6)
      try Self.run(second, to: 6)
      #expect(Self.everything(whole) == Self.everything(second))
    }
    // Kept where the environment says, to be shown to PyTorch.
    if let target = ProcessInfo.processInfo.environment["DINO_OFFICIAL_OUTPUT"] {
      try? FileManager.default.removeItem(atPath: "\(target)/\(optimizer.rawValue)\(batchNorm ? "_bn" : "").pth")
      try FileManager.default.copyItem(atPath: path, toPath: "\(target)/\(optimizer.rawValue)\(batchNorm ? "_bn" : "").pth")
    }
  }

  @Test func theOriginalsKeysAreThere() throws {
    let folder = try Fixtures.temporaryFolder()
    defer { try? FileManager.default.removeItem(at: folder) }
    let t = try Self.trainer(Self.settings(.adamw)), path = folder.appendingPathComponent("checkpoint.pth").path
    try Self.run(t, to: 4)
    try OfficialCheckpoint.save(t, to: path)
    let archive = try TorchArchive(path: path)
    #expect(archive.root.keys == ["student", "teacher", "optimizer", "epoch", "args", "dino_loss"])
    #expect(archive["student"]?["module.backbone.cls_token"] != nil && archive["student"]?["module.head.mlp.0.weight"] != nil)
    #expect(archive["teacher"]?["backbone.cls_token"] != nil && archive["teacher"]?["head.last_layer.weight_v"] != nil)
    #expect(archive["epoch"]?.intValue == 2 && archive["args"]?["lr"]?.doubleValue.map { abs($0 - 0.01 * 256 / 3) < 1e-12 } == true)
    #expect(archive["dino_loss"]?["center"]?.tensorValue?.shape == [1, 30])
    // Crops that are not those of the first run are told.
    var crops = MultiCropAugmentation(globalSize: 16, localSize: 8, localCrops: 2)
    try OfficialCheckpoint.save(t, augmentation: crops, to: path)
    let again = try Self.trainer(Self.settings(.adamw))
    #expect(try !OfficialCheckpoint.restore(again, from: path, augmentation: crops).contains { $0.contains("differ") })
    crops.localScale = 0.1...0.5
    let notes = try OfficialCheckpoint.restore(again, from: path, augmentation: crops)
    #expect(notes.contains { $0.contains("local_crops_scale (0.05, 0.4)") } && !notes.contains { $0.contains("global_crops_scale") }, "\(notes)")
  }

  @Test func otherNetworksAndDamagedFilesAreRefusedAndChangeNothing() throws {
    let folder = try Fixtures.temporaryFolder()
    defer { try? FileManager.default.removeItem(at: folder) }
    let t = try Self.trainer(Self.settings(.adamw)), path = folder.appendingPathComponent("checkpoint.pth").path
    try Self.run(t, to: 4)
    try OfficialCheckpoint.save(t, to: path)
    func refused(_ s: TrainingSettings, _ path: String, naming word: String) throws {
      let other = try Self.trainer(s), before = Self.everything(other)
      #expect { _ = try OfficialCheckpoint.restore(other, from: path) } throws: { "\($0)".contains(word) }
      #expect(Self.everything(other) == before && other.step == 0)
    }
    var wider = Self.settings(.adamw)
    wider.config.head = .projection(.init(hiddenDim: 20, bottleneckDim: 8, outDim: 31))
    try refused(wider, path, naming: "last_layer")
    // Its optimizer is not this one.
    try refused(Self.settings(.sgd), path, naming: "momentum_buffer")
    var free = Self.settings(.adamw)
    free.normLastLayer = false
    try refused(free, path, naming: "groups")
    var shorter = Self.settings(.adamw)
    shorter.epochs = 1
    try refused(shorter, path, naming: "--epochs")
    let bytes = try Data(contentsOf: URL(fileURLWithPath: path))
    let cut = folder.appendingPathComponent("cut.pth").path
    try bytes.prefix(bytes.count / 2).write(to: URL(fileURLWithPath: cut))
    try refused(Self.settings(.adamw), cut, naming: "cut.pth")
    let plain = folder.appendingPathComponent("plain.pth").path
    try TorchArchiveWriter.write([("cls_token", Tensor([1], shape: [1]))], to: plain)
    try refused(Self.settings(.adamw), plain, naming: "student")
  }

  /// Written by PyTorch: a full checkpoint whose optimizer has not stepped.
  @Test func aFileOfTheOriginalIsTaken() throws {
    guard let path = Fixtures.shared("reference/dino_vit/checkpoint.pth") else {
      print("skipped: no golden data reference/dino_vit")
      return
    }
    let found = try Checkpoint(path: path, choices: CheckpointChoices(key: "student", heads: 3))
    var s = TrainingSettings(config: found.config)
    s.batch = 2
    s.globalSize = found.config.nativeRows * found.config.patchSize
    s.localSize = found.config.patchSize * 2
    s.localCrops = 1
    s.epochs = 3
    s.warmupEpochs = 0
    let weights = Dictionary(uniqueKeysWithValues: try WeightInitializer.tensors(config: s.config, seed: 1).map { ($0.name, $0.tensor) })
    let t = try Trainer(s, stepsPerEpoch: 2, weights: weights, threads: 1)
    let notes = try OfficialCheckpoint.restore(t, from: path)
    #expect(t.step == 4)
    #expect(notes.contains { $0.contains("no moments of") }, "\(notes)")
    let student = try found.weights(), teacher = try Checkpoint(path: path, choices: CheckpointChoices(key: "teacher", heads: 3)).weights()
    for (i, name) in t.names.enumerated() {
      #expect(t.student.tensors[i].floats() == student[name]?.floats(), "\(name)")
      #expect(t.teacher.tensors[i].floats() == teacher[name]?.floats(), "\(name)")
    }
    #expect((t.center?.floats() ?? []).contains { $0 != 0 } || notes.contains { $0.contains("no centre") })
    try Self.run(t, to: 6)
  }
}
