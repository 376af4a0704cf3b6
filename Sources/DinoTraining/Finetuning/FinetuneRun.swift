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
  /// Which weights the run began with, so that it goes on as the same.
  public var origin: String?
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
  /// What a run is of, with its crops: another one is not gone on with.
  private let data: String
  /// As it was when a run knew its images by their stems alone.
  private let dataByStem: String
  /// How crops are made, under the flags.
  public var crops: [(flag: String, value: String)] {
    let oriented: [(flag: String, value: String)] = loader.followsOrientation ? [("--exif-orientation", "")] : []
    return loader.augmentation.listed + oriented + RecordedFlags.statistics(preprocessing)
  }
  private var lock: RunLock?

  public init(tuner: Finetuner, loader: LabelledLoader, folder: String, classes: [String], preprocessing: Preprocessing, provenance: Provenance) {
    self.tuner = tuner
    self.loader = loader
    self.folder = folder
    self.classes = classes
    self.preprocessing = preprocessing
    self.provenance = provenance
    var stems = Fingerprint()
    for (image, label) in zip(loader.images, loader.labels) { stems.add("\(classes[label])/\(image.stem)\n") }
    let named = Fingerprint(of: loader.images, classes: loader.labels.map { classes[$0] })
    data = "\(loader.images.count) images \(named.text) by name and size"
    dataByStem = "\(loader.images.count) images \(stems.text)"
  }

  /// What earlier versions said of the same images and crops.
  private var earlier: [String] {
    let a = loader.augmentation
    let how = ", crops \(a.scale), colour jitter \(a.colorJitter)\(loader.followsOrientation ? ", orientation followed" : "")\(TrainingRun.differing(preprocessing))"
    return [data + how, dataByStem + how]
  }

  /// Takes the folder for this run alone, until the run goes away.
  public func lockFolder() throws(DinoError) {
    if lock == nil { lock = try RunLock(folder) }
  }

  /// Fails where the folder has a checkpoint of other settings: before there are images, which may be too few for a step of these.
  public static func check(_ settings: FinetuneSettings, resuming folder: String) throws(DinoError) {
    let path = "\(folder)/\(TrainingRun.checkpointName)"
    if FileManager.default.fileExists(atPath: path) { try FinetuneState.check(settings, of: path) }
  }

  /// Goes on from the folder's checkpoint. False where there is none.
  public func resume() throws(DinoError) -> Bool {
    try lockFolder()
    let path = "\(folder)/\(TrainingRun.checkpointName)", isThere = FileManager.default.fileExists(atPath: path)
    if isThere { try FinetuneState.restore(tuner, data: data, crops: crops, earlier: earlier, origin: origin, preprocessing: preprocessing, from: path) }
    for name in (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
    where name == Self.evaluatedName || name.hasSuffix(".tmp") && ["checkpoint", "model", "log.jsonl", "epochs.jsonl"].contains(where: { name.hasPrefix($0) }) {
      try? FileManager.default.removeItem(atPath: "\(folder)/\(name)")
    }
    guard isThere else { return false }
    // A run that was killed in between has the model of an earlier step, or none.
    do { try shield { try writer().write(.dino, to: "\(folder)/\(Self.modelName)") } } catch { throw (error as? DinoError) ?? DinoError(error, path: folder) }
    return true
  }

  /// Returns the share of its crops that the last whole epoch gave their class, and, where test images were given, that of these which the network as it is at the end names rightly.
  /// - Parameter workers: threads that decode and augment; 0 does it between the steps.
  @discardableResult
  public func run(workers: Int, observe: (Event) throws -> Void) throws -> (training: Double?, test: Double?) {
    let total = min(tuner.count, stopAfter ?? .max), perEpoch = tuner.stepsPerEpoch
    try lockFolder()
    loader.start(at: tuner.step, count: max(0, total - tuner.step), workers: workers, ahead: max(2, 2 * workers))
    // Lines of steps that are done again: of a run that was stopped after its last checkpoint, or before its first.
    try LogFile.trim("\(folder)/\(TrainingRun.logName)", key: "step", below: tuner.step)
    try LogFile.trim("\(folder)/\(TrainingRun.epochsName)", key: "epoch", below: tuner.step / perEpoch)
    let done = try LogFile.values(["loss", "correct"], of: "\(folder)/\(TrainingRun.logName)", steps: tuner.step / perEpoch * perEpoch..<tuner.step)
    var sum = (loss: done.reduce(0) { $0 + $1[0] }, correct: done.reduce(0) { $0 + $1[1] }, steps: done.count)
    var tested: (step: Int, top1: Double)?
    let log = try LogFile("\(folder)/\(TrainingRun.logName)"), epochs = try LogFile("\(folder)/\(TrainingRun.epochsName)")
    var lastSave = monotonicSeconds(), lastStep = monotonicSeconds()
    while let batch = try loader.next() {
      for r in batch.replaced { try observe(.replaced(name: r.name, reason: r.reason)) }
      let report = try tuner.run(crops: batch.crops, labels: batch.labels)
      let now = monotonicSeconds(), endsEpoch = tuner.step % perEpoch == 0
      sum = (sum.loss + report.loss, sum.correct + Double(report.correct), sum.steps + 1)
      try log.append(.object([
        .init("step", .integer(report.step)), .init("epoch", .integer(report.epoch)), .init("loss", .number(report.loss)), .init("lr", .number(report.rate)),
        .init("correct", .integer(report.correct)), .init("images_per_second", .number(Double(loader.batch) / max(now - lastStep, 1e-9))),
      ]))
      try observe(.step(report))
      if endsEpoch {
        let loss = sum.loss / Double(sum.steps), training = sum.correct / Double(sum.steps * loader.batch), test = try testAccuracy(afterEpochs: tuner.step / perEpoch)
        sum = (0, 0, 0)
        if let test { tested = (tuner.step, test) }
        try epochs.append(.object([.init("epoch", .integer(report.epoch)), .init("loss", .number(loss)), .init("training_top1", .number(training))] + (test.map { [.init("test_top1", .number($0))] } ?? [])))
        try observe(.epoch(report.epoch, loss: loss, training: training, test: test))
      }
      if endsEpoch || tuner.step == total || monotonicSeconds() - lastSave > saveSeconds {
        // The state first: a model without it would be from a step that cannot be gone on from. But not one whose model its own test refuses.
        try writer().check()
        try shield {
          try FinetuneState.save(tuner, data: data, crops: crops, classes: classes, origin: origin, preprocessing: preprocessing, to: "\(folder)/\(TrainingRun.checkpointName)")
          try writer().write(.dino, to: "\(folder)/\(Self.modelName)")
        }
        lastSave = monotonicSeconds()
      }
      lastStep = monotonicSeconds()
    }
    return (try LogFile.lines(of: "\(folder)/\(TrainingRun.epochsName)").last?["training_top1"]?.doubleValue, try tested?.step == tuner.step ? tested?.top1 : testAtTheEnd())
  }

  /// Where the last step was not tested: the run was stopped within an epoch, or had no step left, and then its log may be of other test images, or of none.
  private func testAtTheEnd() throws -> Double? {
    guard let accuracy else { return nil }
    let top1 = try measured(accuracy.of)
    if tuner.step == tuner.count { _ = try LogFile.amendLast("\(folder)/\(TrainingRun.epochsName)", with: [.init("test_top1", .number(top1))]) }
    return top1
  }

  private func testAccuracy(afterEpochs epochs: Int) throws -> Double? {
    guard let accuracy, epochs % accuracy.everyEpochs == 0 || tuner.step == tuner.count else { return nil }
    return try measured(accuracy.of)
  }

  /// Of the network as it is now.
  private func measured(_ accuracy: (String) throws -> Double) throws -> Double {
    let path = "\(folder)/\(Self.evaluatedName)"
    try shield { try writer().write(.dino, to: path) }
    defer { try? FileManager.default.removeItem(atPath: path) }
    return try accuracy(path)
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
