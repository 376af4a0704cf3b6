// A training from its first step, or from a checkpoint, to its last: steps, log, checkpoints. What a person sees of it is told to an observer; nothing is printed here.

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

public final class TrainingRun {
  public enum Event {
    case step(StepReport)
    /// The epoch's number, its mean loss, what the meter read in its last quarter.
    case epoch(Int, loss: Double, CollapseMeter.Reading, knn: Double?)
    /// What the neighbours of a run that was at its end already say.
    case neighbours(Double)
    case replaced(name: String, reason: String)
    /// The model's file was written after this many steps.
    case saved(step: Int, model: String)
  }

  public let trainer: Trainer
  public let loader: CropLoader
  public let folder: String
  /// Seconds from one checkpoint to the next; one is also written after the last step.
  public var saveSeconds = 600.0
  /// Epochs from one checkpoint that is kept to the next; 0 for none.
  public var keepEpochs = 20
  /// Whether checkpoint.pth, as the original writes it, comes after every epoch too.
  public var savesOfficial = false
  public var provenance: Provenance
  /// What the run began with; of a run that goes on, what its state says.
  public var start = StartingWeights.Start.random
  /// What the model's record says of mean and deviation: those that the loader used.
  public var preprocessing = Preprocessing.imageNet
  /// Runs each write: whoever takes signals can keep them off meanwhile.
  public var shield: (() throws -> Void) throws -> Void = { try $0() }
  /// Whether this process writes files: of several that train together one does.
  public var writes = true
  /// Steps after which `run` returns, with a checkpoint; nil for the last.
  public var stopAfter: Int?
  /// The share of a labelled folder's images that the model's neighbours name rightly: given its file after every so many epochs. How is the caller's.
  public var neighbours: (everyEpochs: Int, accuracy: (String) throws -> Double)?

  public static let checkpointName = "checkpoint.safetensors", logName = "log.jsonl", epochsName = "epochs.jsonl", officialName = "checkpoint.pth", reportName = "report.html"
  /// The file of the model that a run makes: the teacher, in distillation the student.
  public var modelName: String { trainer.settings.distillation == nil ? "teacher.safetensors" : "student.safetensors" }
  private static let evaluatedName = "model.evaluated.safetensors"
  /// What a run is of, with its crops: another one is not gone on with.
  private let images: String
  /// As it was when a run knew its images by their stems alone.
  private let imagesByStem: String
  private var crops: [(flag: String, value: String)] { loader.augmentation.listed + RecordedFlags.statistics(preprocessing) }
  private var lock: RunLock?
  /// Of the run that a resumed checkpoint is from.
  public private(set) var epochsBefore: Int?
  /// Of the epoch that the next step is in.
  private var meter = CollapseMeter()

  public init(trainer: Trainer, loader: CropLoader, folder: String, provenance: Provenance) {
    self.trainer = trainer
    self.loader = loader
    self.folder = folder
    self.provenance = provenance
    var stems = Fingerprint()
    for image in loader.images { stems.add(image.stem) }
    images = "\(loader.images.count) images \(Fingerprint(of: loader.images).text) by name and size"
    imagesByStem = "\(loader.images.count) images \(stems.text)"
  }

  /// What earlier versions said of the same images and crops.
  private var earlier: [String] {
    let a = loader.augmentation, gray = a.grayscaleProbability == 0.2 ? "" : ", gray \(a.grayscaleProbability)", blur = a.blurRadius == 0.1...2 ? "" : ", blur \(a.blurRadius)"
    let crops = ", global crops \(a.globalScale), local crops \(a.localScale)" + gray + blur + (a.negativeProbability == 0 ? "" : ", negative \(a.negativeProbability)")
    return [images, imagesByStem].map { $0 + crops + Self.differing(preprocessing) }
  }

  /// Mean and deviation where they are not ImageNet's, as earlier versions said them.
  static func differing(_ p: Preprocessing) -> String {
    p.mean == Preprocessing.imageNet.mean && p.std == Preprocessing.imageNet.std ? "" : ", mean \(p.mean), deviation \(p.std)"
  }

  /// Takes the folder for this run alone, until the run goes away.
  public func lockFolder() throws(DinoError) {
    if writes, lock == nil { lock = try RunLock(folder) }
  }

  /// Fails where the folder has a checkpoint of other settings: before there are images, which may be too few for a step of these.
  public static func check(_ settings: TrainingSettings, processes: Int, resuming folder: String) throws(DinoError) {
    let path = "\(folder)/\(checkpointName)"
    if FileManager.default.fileExists(atPath: path) { try TrainingState.check(settings, processes: processes, of: path) }
  }

  /// What the run whose checkpoint is in a folder was asked for, by flag; nothing where there is none.
  public static func recordedFlags(in folder: String) throws(DinoError) -> [String: String] {
    let path = "\(folder)/\(checkpointName)"
    return FileManager.default.fileExists(atPath: path) ? try TrainingState.recordedFlags(of: path) : [:]
  }

  /// Goes on from the folder's checkpoint. False where there is none.
  public func resume() throws(DinoError) -> Bool {
    try lockFolder()
    let path = "\(folder)/\(Self.checkpointName)", isThere = FileManager.default.fileExists(atPath: path)
    if isThere {
      let saved = try TrainingState.restore(trainer, data: images, crops: crops, earlier: earlier, start: start.origin, from: path)
      (epochsBefore, meter, start) = (saved.epochs, saved.meter, saved.start)
    }
    guard writes else { return isThere }
    removeLeftovers()
    guard isThere else { return false }
    do { try saveBeside(kept: isKept, official: savesOfficial && endsEpoch) } catch { throw (error as? DinoError) ?? DinoError(error, path: folder) }
    return true
  }

  /// Goes on from a checkpoint.pth of the original. Returns what it lacked.
  public func resume(official path: String) throws(DinoError) -> [String] {
    try lockFolder()
    let origin = StartingWeights.Origin(path: path)
    let lacked = try OfficialCheckpoint.restore(trainer, from: path, augmentation: loader.augmentation)
    start = .weights(origin)
    // Of a run that is at its end there comes no other.
    if writes { do { try save(kept: false, official: false) } catch { throw (error as? DinoError) ?? DinoError(error, path: folder) } }
    return lacked
  }

  /// Takes away files that were being written when an earlier run was killed: theirs are the names of results with a process and `.tmp` behind.
  private func removeLeftovers() {
    let results = ["checkpoint", "teacher", "student", "model.evaluated", "log.jsonl", "epochs.jsonl", "report.html"]
    for name in (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
    where name == Self.evaluatedName || name.hasSuffix(".tmp") && results.contains(where: { name.hasPrefix($0) }) {
      try? FileManager.default.removeItem(atPath: "\(folder)/\(name)")
    }
  }

  /// - Parameter workers: threads that decode and augment; 0 does it between the steps.
  public func run(workers: Int, observe: (Event) throws -> Void) throws {
    let total = min(trainer.schedule.count, stopAfter ?? .max), perEpoch = trainer.schedule.stepsPerEpoch
    try lockFolder()
    try trainer.checkAgreement(data: images + crops.map { " \($0.flag) \($0.value)" }.joined())
    if writes {
      // Lines of steps that are done again: of a run that was stopped after its last checkpoint, or before its first.
      try LogFile.trim("\(folder)/\(Self.logName)", key: "step", below: trainer.step)
      try LogFile.trim("\(folder)/\(Self.epochsName)", key: "epoch", below: trainer.step / perEpoch)
    }
    loader.start(at: trainer.step, count: max(0, total - trainer.step), workers: workers, ahead: max(2, 2 * workers))
    let log = writes ? try LogFile("\(folder)/\(Self.logName)") : nil, epochs = writes ? try LogFile("\(folder)/\(Self.epochsName)") : nil
    let done = writes ? try LogFile.values(["loss"], of: "\(folder)/\(Self.logName)", steps: trainer.step / perEpoch * perEpoch..<trainer.step) : []
    // The original's train_loss: the mean of the whole epoch, also where the run went on within it.
    var sum = (loss: done.reduce(0) { $0 + $1[0] }, steps: done.count)
    if trainer.step == trainer.schedule.count { try askAtTheEnd(observe) }
    var lastSave = monotonicSeconds(), lastStep = monotonicSeconds()
    while let batch = try loader.next() {
      for r in batch.replaced { try observe(.replaced(name: r.name, reason: r.reason)) }
      let report = try trainer.run(globals: batch.globals, locals: batch.locals)
      let now = monotonicSeconds(), v = report.values
      // All that is told of a step before its checkpoint: a run that goes on from the checkpoint has the whole log, one that is killed before does all of it again.
      let knn = endsEpoch ? try neighbourAccuracy(afterEpochs: trainer.step / perEpoch) : nil
      let terms: [JSONValue.Member] = report.terms.count > 1 ? report.terms.map { JSONValue.Member("loss_\($0.name)", .number($0.value)) } : []
      let accuracy: [JSONValue.Member] = knn.map { [.init("knn_top1", .number($0))] } ?? []
      try log?.append(.object([
        .init("step", .integer(report.step)), .init("epoch", .integer(v.epoch)), .init("loss", .number(report.loss)), .init("lr", .number(v.rate)),
        .init("weight_decay", .number(v.weightDecay)), .init("momentum", .number(v.momentum)), .init("teacher_temp", .number(v.teacherTemperature)),
        .init("images_per_second", .number(Double(loader.stepImages) / max(now - lastStep, 1e-9))),
      ] + terms + accuracy))
      sum = (sum.loss + report.loss, sum.steps + 1)
      // The last quarter of an epoch: where it has come to.
      if report.step % perEpoch >= perEpoch * 3 / 4 { try meter.add(report, of: trainer) }
      try observe(.step(report))
      if endsEpoch {
        let r = meter.read(), loss = sum.loss / Double(sum.steps)
        sum = (0, 0)
        let ofDistributions: [JSONValue.Member] = r.hasPrototypes ? [
          .init("teacher_entropy", .number(r.teacherEntropy)), .init("kl", .number(r.divergence)), .init("marginal_entropy", .number(r.marginalEntropy)), .init("ln_k", .number(r.logK)),
          .init("active_prototypes", .integer(r.activePrototypes)), .init("largest_share", .number(r.largestShare)),
        ] : []
        var members: [JSONValue.Member] = [.init("epoch", .integer(v.epoch)), .init("loss", .number(loss)), .init("loss_last_quarter", .number(r.loss))]
        members += ofDistributions
        members += [.init("feature_spread", .number(r.featureSpread)), .init("effective_rank", .number(r.effectiveRank))]
        if r.hasPrototypes { members.append(.init("center_norm", .number(r.centerNorm))) }
        members.append(.init("verdict", .string(r.verdict.advice ?? "healthy")))
        try epochs?.append(.object(members + accuracy))
        if writes { try shield { try writeReport() } }
        try observe(.epoch(v.epoch, loss: loss, r, knn: knn))
      }
      if writes, endsEpoch || trainer.step == total || monotonicSeconds() - lastSave > saveSeconds {
        try save(kept: isKept, official: savesOfficial && endsEpoch)
        lastSave = monotonicSeconds()
        try observe(.saved(step: trainer.step, model: "\(folder)/\(modelName)"))
      }
      lastStep = monotonicSeconds()
    }
  }

  /// What was asked for, under its flags, without what such a training does not read.
  public var listed: [(flag: String, value: String)] { trainer.settings.heeded(stepsPerEpoch: trainer.schedule.stepsPerEpoch, processes: trainer.rankCount) + crops }

  /// Writes report.html from the logs, and from what a distillation compared at its end.
  public func writeReport(comparison: [(name: String, value: String)] = []) throws(DinoError) {
    let what = trainer.settings.distillation == nil ? "Training" : "Distillation"
    try TrainingReport.write(folder: folder, title: "\(what) on \(loader.images.count) images", comparison: comparison, settings: listed,
                             stepsPerEpoch: trainer.schedule.stepsPerEpoch)
  }

  /// A run that has no step left is asked all the same; what it says goes into the last line of the epochs where that does not say it.
  private func askAtTheEnd(_ observe: (Event) throws -> Void) throws {
    guard let accuracy = try neighbourAccuracy(afterEpochs: trainer.schedule.count / trainer.schedule.stepsPerEpoch) else { return }
    if try LogFile.amendLast("\(folder)/\(Self.epochsName)", with: [.init("knn_top1", .number(accuracy))]) { try shield { try writeReport() } }
    try observe(.neighbours(accuracy))
  }

  private func neighbourAccuracy(afterEpochs epochs: Int) throws -> Double? {
    guard writes, let neighbours, epochs % neighbours.everyEpochs == 0 || trainer.step == trainer.schedule.count else { return nil }
    let path = "\(folder)/\(Self.evaluatedName)"
    try shield { try modelWriter().write(.dino, to: path) }
    defer { try? FileManager.default.removeItem(atPath: path) }
    return try neighbours.accuracy(path)
  }

  /// The state first: what is beside it follows from it, and is written again where a run goes on that was killed in between.
  private func save(kept: Bool, official: Bool) throws {
    // A model that its own test refuses must not take the place of the last good state.
    try modelWriter().check()
    try shield { try TrainingState.save(trainer, meter: meter, data: images, crops: crops, start: start, preprocessing: modelPreprocessing, to: "\(folder)/\(Self.checkpointName)") }
    try saveBeside(kept: kept, official: official)
  }

  /// The model, and the files of an epoch's end.
  private func saveBeside(kept: Bool, official: Bool) throws {
    try shield {
      try modelWriter().write(.dino, to: "\(folder)/\(modelName)")
      if official { try OfficialCheckpoint.save(trainer, augmentation: loader.augmentation, to: "\(folder)/\(Self.officialName)") }
      if kept {
        let epoch = String(trainer.step / trainer.schedule.stepsPerEpoch)
        let padded = String(repeating: "0", count: max(0, 4 - epoch.count)) + epoch
        try TrainingState.save(trainer, data: images, crops: crops, start: start, preprocessing: modelPreprocessing, to: "\(folder)/checkpoint\(padded).safetensors")
      }
    }
  }

  /// Whether the steps done so far end an epoch, and one whose checkpoint is kept.
  private var endsEpoch: Bool { trainer.step > 0 && trainer.step % trainer.schedule.stepsPerEpoch == 0 }
  private var isKept: Bool { endsEpoch && keepEpochs > 0 && (trainer.step / trainer.schedule.stepsPerEpoch) % keepEpochs == 0 }

  /// The backbone as a model: what all evaluations use.
  public func modelWriter() -> ModelWriter {
    var config = trainer.settings.config
    config.head = nil
    var weights: [String: Tensor] = [:]
    for (name, tensor) in zip(trainer.names, (trainer.settings.distillation == nil ? trainer.teacher : trainer.student).tensors) where !name.hasPrefix("head.") { weights[name] = tensor }
    var provenance = provenance
    if let origin = start.origin { provenance.chain.insert("\(trainer.settings.distillation == nil ? "train" : "distill") started from \(origin.name)", at: 0) }
    return ModelWriter(config: config, weights: weights, preprocessing: modelPreprocessing, provenance: provenance)
  }

  /// At the size of the global crops.
  private var modelPreprocessing: Preprocessing {
    let size = trainer.settings.globalSize
    var result = preprocessing
    result.resize = .shorterSide((size * 256 + 112) / 224)
    result.crop = size
    return result
  }
}
