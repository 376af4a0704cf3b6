// A supervised training from its first step, or from a checkpoint, to its last: steps, log, checkpoints, the model. What a person sees of it is told to an observer; nothing is
// printed here.

public import Dino
public import DinoModels
internal import DinoKernels
internal import DinoTensor
internal import Safetensors
#if canImport(FoundationEssentials)
internal import FoundationEssentials
#else
internal import Foundation
#endif

public final class FinetuneRun {
  public enum Event {
    case step(FinetuneReport)
    /// The epoch's number, its mean loss, the share of its crops that were given their class, and that of the test images.
    case epoch(Int, loss: Double, training: Double, test: Double?)
    case replaced(name: String, reason: String)
  }

  public let tuner: Finetuner
  public let loader: LabelledLoader
  public let folder: String
  /// Names of the classes.
  public let classes: [String]
  public let preprocessing: Preprocessing
  public var provenance: Provenance
  /// Seconds from one checkpoint to the next; one is also written after every epoch.
  public var saveSeconds = 600.0
  /// Runs each write: whoever takes signals can keep them off meanwhile.
  public var shield: (() throws -> Void) throws -> Void = { try $0() }
  /// Steps after which `run` returns, with a checkpoint; nil for the last.
  public var stopAfter: Int?
  /// The share of test images that the model in a file names rightly, asked for after every so many epochs and the last. How is the caller's.
  public var accuracy: (everyEpochs: Int, of: (String) throws -> Double)?

  public static let modelName = "model.safetensors"
  private static let evaluatedName = "model.evaluated.safetensors"
  private let data: String

  public init(tuner: Finetuner, loader: LabelledLoader, folder: String, classes: [String], preprocessing: Preprocessing, provenance: Provenance) {
    self.tuner = tuner
    self.loader = loader
    self.folder = folder
    self.classes = classes
    self.preprocessing = preprocessing
    self.provenance = provenance
    // The same files of the same classes in the same order.
    var names = Fingerprint()
    for (image, label) in zip(loader.images, loader.labels) { names.add("\(classes[label])/\(image.stem)\n") }
    let a = loader.augmentation
    data = "\(loader.images.count) images \(names.text), crops \(a.scale), colour jitter \(a.colorJitter)\(loader.followsOrientation ? ", orientation followed" : "")\(TrainingRun.differing(preprocessing))"
  }

  /// Goes on from the folder's checkpoint. False where there is none.
  public func resume() throws(DinoError) -> Bool {
    for name in (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
    where name == Self.evaluatedName || name.hasSuffix(".tmp") && ["checkpoint", "model", "log.jsonl", "epochs.jsonl"].contains(where: { name.hasPrefix($0) }) {
      try? FileManager.default.removeItem(atPath: "\(folder)/\(name)")
    }
    let path = "\(folder)/\(TrainingRun.checkpointName)"
    guard FileManager.default.fileExists(atPath: path) else { return false }
    try FinetuneState.restore(tuner, data: data, from: path)
    // A run that was killed in between has the model of an earlier step, or none.
    do { try shield { try writer().write(.dino, to: "\(folder)/\(Self.modelName)") } } catch { throw (error as? DinoError) ?? DinoError(error, path: folder) }
    return true
  }

  /// - Parameter workers: threads that decode and augment; 0 does it between the steps.
  public func run(workers: Int, observe: (Event) throws -> Void) throws {
    let total = min(tuner.count, stopAfter ?? .max), perEpoch = tuner.stepsPerEpoch
    loader.start(at: tuner.step, count: max(0, total - tuner.step), workers: workers, ahead: max(2, 2 * workers))
    // Lines of steps that are done again: of a run that was stopped after its last checkpoint, or before its first.
    try LogFile.trim("\(folder)/\(TrainingRun.logName)", key: "step", below: tuner.step)
    try LogFile.trim("\(folder)/\(TrainingRun.epochsName)", key: "epoch", below: tuner.step / perEpoch)
    let log = try LogFile("\(folder)/\(TrainingRun.logName)"), epochs = try LogFile("\(folder)/\(TrainingRun.epochsName)")
    var lastSave = monotonicSeconds(), lastStep = monotonicSeconds(), sum = (loss: 0.0, correct: 0, steps: 0)
    while let batch = try loader.next() {
      for r in batch.replaced { try observe(.replaced(name: r.name, reason: r.reason)) }
      let report = try tuner.run(crops: batch.crops, labels: batch.labels)
      let now = monotonicSeconds(), endsEpoch = tuner.step % perEpoch == 0
      sum = (sum.loss + report.loss, sum.correct + report.correct, sum.steps + 1)
      try log.append(.object([
        .init("step", .integer(report.step)), .init("epoch", .integer(report.epoch)), .init("loss", .number(report.loss)), .init("lr", .number(report.rate)),
        .init("correct", .integer(report.correct)), .init("images_per_second", .number(Double(loader.batch) / max(now - lastStep, 1e-9))),
      ]))
      try observe(.step(report))
      if endsEpoch {
        // Of the steps since this process began, where it went on in the middle of an epoch.
        let loss = sum.loss / Double(sum.steps), training = Double(sum.correct) / Double(sum.steps * loader.batch), test = try testAccuracy(afterEpochs: tuner.step / perEpoch)
        sum = (0, 0, 0)
        try epochs.append(.object([.init("epoch", .integer(report.epoch)), .init("loss", .number(loss)), .init("training_top1", .number(training))] + (test.map { [.init("test_top1", .number($0))] } ?? [])))
        try observe(.epoch(report.epoch, loss: loss, training: training, test: test))
      }
      if endsEpoch || tuner.step == total || monotonicSeconds() - lastSave > saveSeconds {
        // The state first: a model without it would be from a step that cannot be gone on from. But not one whose model its own test refuses.
        try writer().check()
        try shield {
          try FinetuneState.save(tuner, data: data, to: "\(folder)/\(TrainingRun.checkpointName)")
          try writer().write(.dino, to: "\(folder)/\(Self.modelName)")
        }
        lastSave = monotonicSeconds()
      }
      lastStep = monotonicSeconds()
    }
  }

  private func testAccuracy(afterEpochs epochs: Int) throws -> Double? {
    guard let accuracy, epochs % accuracy.everyEpochs == 0 || tuner.step == tuner.count else { return nil }
    let path = "\(folder)/\(Self.evaluatedName)"
    try shield { try writer().write(.dino, to: path) }
    defer { try? FileManager.default.removeItem(atPath: path) }
    return try accuracy.of(path)
  }

  /// The network with its classifier as a model.
  public func writer() -> ModelWriter {
    let weights = Dictionary(uniqueKeysWithValues: zip(tuner.names, tuner.weights.tensors))
    var writer = ModelWriter(config: tuner.settings.config, weights: weights, preprocessing: preprocessing, provenance: provenance)
    if let weight = weights["head.weight"], let bias = weights["head.bias"] {
      writer.setClassifier(ClassifierHead(names: classes, settings: FeatureSettings(), weight: weight, bias: bias))
    }
    return writer
  }
}
