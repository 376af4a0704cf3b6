// All that a run needs to go on, in one safetensors file that appears whole or not at all: both networks, the optimizer, the centre, and how many steps were done. Random
// numbers and the order of the images follow from the seed and the step, so they need no state.

public import Dino
internal import DinoKernels
public import DinoModels
internal import DinoTensor
internal import Safetensors

public enum TrainingState {
  static let key = "dino.training"
  /// 2 where iBOT's mask token is trained: it went from the last of the tensors to the first, and what is kept by position would be another tensor's.
  static func version(_ settings: TrainingSettings) -> Int { settings.ibotWeight > 0 ? 2 : 1 }
  /// What the meter has counted in an epoch that is not at its end: 64-bit numbers.
  static let meterName = "meter"

  /// - Parameters:
  ///   - data: what the images are, so that a run goes on with the same ones.
  ///   - crops: how crops are made of them, under the flags.
  ///   - start: what the run began with.
  ///   - preprocessing: of the model that the run makes, for who uses the state as one.
  public static func save(_ trainer: Trainer, meter: CollapseMeter = CollapseMeter(), data: String, crops: [(flag: String, value: String)] = [], start: StartingWeights.Start = .random,
                          preprocessing: Preprocessing? = nil, to path: String) throws(DinoError) {
    var tensors: [(name: String, tensor: Tensor)] = []
    for (prefix, block) in blocks(of: trainer) {
      for (i, name) in trainer.names.enumerated() { tensors.append(("\(prefix).\(name)", block.tensors[i])) }
    }
    tensors += trainer.centers
    let counted = meter.counted(outputs: trainer.settings.outDim)
    if !counted.isEmpty { tensors.append((meterName, Tensor.copy(counted, dtype: .f64, shape: [counted.count]))) }
    let json: String?
    do { json = try preprocessing?.json() } catch { throw DinoError(error, path: path) }
    var stated: [JSONValue.Member] = json.map { [.init("preprocessing", .string($0))] } ?? []
    if !crops.isEmpty { stated.append(.init("crops", RecordedFlags.json(crops))) }
    if let began = start.json { stated.append(.init("start", began)) }
    // Whoever says it lists the batch of all processes, and the rate for 256 images; earlier versions listed one process's, and the rate scaled to all.
    stated.append(.init("step_images", .integer(trainer.settings.batch * trainer.rankCount)))
    let members: [JSONValue.Member] = [
      .init("version", .integer(version(trainer.settings))), .init("step", .integer(trainer.step)), .init("data", .string(data)),
      .init("settings", RecordedFlags.json(trainer.listed)),
      .init("updates", .array(trainer.updates.map { .integer($0) })),
    ]
    let record = JSONValue.object(stated + members)
    do { try SafetensorsWriter.write(tensors, metadata: ["format": "pt", key: record.text], to: path) } catch { throw DinoError(error, path: path) }
  }

  /// Puts a saved state into a trainer of the same settings. The number of epochs alone may be another, for a run that is to end sooner or go on for longer: what the schedules
  /// say from here on is of the new number. Returns the number that was saved, the meter of the epoch it was in, and what the run began with.
  /// - Parameters:
  ///   - earlier: what earlier versions of the program said of the same images and crops.
  ///   - start: which weights the run is asked to begin with; nil where nothing is asked.
  @discardableResult
  public static func restore(_ trainer: Trainer, data: String, crops: [(flag: String, value: String)] = [], earlier: [String] = [], start: StartingWeights.Origin? = nil,
                             from path: String) throws(DinoError) -> (epochs: Int, meter: CollapseMeter, start: StartingWeights.Start) {
    let (file, record) = try read(path)
    // Images first: how many steps an epoch has follows from them.
    try check(record, data: data, crops: crops, earlier: earlier, of: path)
    try RecordedFlags.check(listed(record, trainer.settings, processes: trainer.rankCount), against: trainer.listed, except: [epochsFlag], of: path)
    // After the settings, which decide it.
    guard record["version"]?.integerValue == version(trainer.settings) else { throw DinoError(.data, "\(path): its training state is of a version that this program does not know") }
    let began = try self.start(record, asked: start, of: path)
    let updates = (record["updates"]?.arrayValue ?? []).compactMap(\.integerValue)
    guard let epochs = record["settings"]?[Self.epochsFlag]?.stringValue.flatMap({ Int($0) }) else { throw DinoError(.data, "\(path): the record of its epochs is malformed") }
    let step = record["step"]?.integerValue
    if let step, step > trainer.schedule.count, epochs > trainer.settings.epochs {
      throw DinoError(.usage, "\(path) is at step \(step), beyond the \(trainer.schedule.count) steps of --epochs \(trainer.settings.epochs)", hint: "it was trained with --epochs \(epochs)")
    }
    guard let step, step >= 0, step <= trainer.schedule.count, updates.count == trainer.names.count, updates.allSatisfy({ $0 >= 0 }) else {
      throw DinoError(.data, "\(path): the record of its steps is malformed")
    }
    // Everything is checked before anything is changed.
    var found: [(block: ParameterBlock, index: Int, tensor: Tensor)] = []
    for (prefix, block) in blocks(of: trainer) {
      for (i, name) in trainer.names.enumerated() {
        guard let tensor = file.tensor("\(prefix).\(name)"), tensor.shape == block.tensors[i].shape, tensor.dtype == .f32 else {
          throw DinoError(.data, "\(path): the tensor '\(prefix).\(name)' of \(block.tensors[i].shape) is missing or of another shape")
        }
        found.append((block, i, tensor))
      }
    }
    var centers: [Tensor] = []
    for (name, center) in trainer.centers {
      guard let found = file.tensor(name), found.shape == center.shape, found.dtype == .f32 else { throw DinoError(.data, "\(path): no '\(name)' of \(center.shape)") }
      centers.append(found)
    }
    let meter: CollapseMeter
    if let tensor = file.tensor(meterName) {
      guard tensor.dtype == .f64, let found = CollapseMeter(counted: doubles(tensor), outputs: trainer.settings.outDim, width: trainer.features.shape[1]) else { throw DinoError(.data, "\(path): '\(meterName)' is malformed") }
      meter = found
    } else {
      meter = CollapseMeter()
    }
    for (block, i, tensor) in found { block.set(i, to: tensor) }
    for (found, (_, center)) in zip(centers, trainer.centers) { center.overwrite(with: found.floats()) }
    trainer.restore(step: step, updates: updates)
    return (epochs, meter, began)
  }

  /// Fails where a state is of other flags than `settings`, but for what follows from the images: for who has none yet.
  static func check(_ settings: TrainingSettings, processes: Int, of path: String) throws(DinoError) {
    let record = try read(path).record
    try RecordedFlags.check(listed(record, settings, processes: processes), against: settings.listed(stepsPerEpoch: 0, processes: processes), except: [epochsFlag, RecordedFlags.steps], of: path)
  }

  static func recordedFlags(of path: String) throws(DinoError) -> [String: String] {
    let stored = RecordedFlags.list(try read(path).record["settings"])
    return Dictionary(stored.map { ($0.flag, $0.value) }, uniquingKeysWith: { first, _ in first })
  }

  private static func read(_ path: String) throws(DinoError) -> (file: SafetensorsFile, record: JSONValue) {
    do {
      let file = try SafetensorsFile(path: path)
      guard let text = file.metadata[key] else { throw DinoError(.data, "\(path): not a training checkpoint (it has no '\(key)')") }
      return (file, try JSONValue.parse(text))
    } catch { throw DinoError(error, path: path) }
  }

  /// The settings of a state as they are listed now.
  private static func listed(_ record: JSONValue, _ s: TrainingSettings, processes: Int) -> RecordedFlags.List {
    var stored = RecordedFlags.list(record["settings"])
    guard record["step_images"] == nil else { return stored }
    for i in stored.indices {
      if stored[i].flag == "--lr" { stored[i].value = RecordedFlags.unscaled(stored[i].value, scaled: s.rate, given: s.statedRate, images: s.batch * processes) }
      if stored[i].flag == "--batch-size-per-gpu", let own = Int(stored[i].value) { stored[i].value = "\(own &* processes)" }
    }
    return stored
  }

  /// Whether images and crops are those of the run.
  static func check(_ record: JSONValue, data: String, crops: RecordedFlags.List, earlier: [String], of path: String) throws(DinoError) {
    let stored = record["data"]?.stringValue ?? "unknown"
    if record["crops"] != nil {
      guard stored == data else { throw DinoError(.usage, "\(path) was trained on other images (\(stored), now \(data))", hint: "resume with the same --data") }
      return try RecordedFlags.check(RecordedFlags.list(record["crops"]), against: crops, of: path)
    }
    guard stored == data || earlier.contains(stored) else {
      throw DinoError(.usage, "\(path) was trained on other images or crops (\(stored), now \(earlier.first ?? data))", hint: "resume with the same --data and flags")
    }
  }

  /// What the run began with; refused where other weights are asked for.
  private static func start(_ record: JSONValue, asked: StartingWeights.Origin?, of path: String) throws(DinoError) -> StartingWeights.Start {
    let began = StartingWeights.Start(record["start"]), origin = began.origin
    if let asked, began != .unknown, origin.map({ !$0.isSame(asked) }) ?? true {
      throw DinoError(.usage, "\(path) is of a run that began with \(origin?.text ?? "random weights"), not with \(asked.text)", hint: "leave --init, or the file behind --resume, out: the run goes on from its own checkpoint")
    }
    return began
  }

  private static func doubles(_ tensor: Tensor) -> [Double] {
    tensor.withBytes { bytes in (0..<tensor.count).map { i in Double(bitPattern: (0..<8).reduce(0) { $0 | UInt64(bytes[8 * i + $1]) << (8 * $1) }) } }
  }
  private static let epochsFlag = "--epochs"

  private static func blocks(of trainer: Trainer) -> [(prefix: String, block: ParameterBlock)] {
    // A teacher that stands still is in its own file, which the settings name.
    [("student", trainer.student)] + (trainer.settings.distillation == nil ? [("teacher", trainer.teacher)] : []) + trainer.moments.enumerated().map { ("optimizer.\($0)", $1) }
  }
}

extension Trainer {
  var listed: [(flag: String, value: String)] { settings.listed(stepsPerEpoch: schedule.stepsPerEpoch, processes: rankCount) }
}

extension TrainingSettings {
  /// Every setting under its flag: of one process that trains like all of them.
  public func listed(stepsPerEpoch: Int, processes: Int = 1) -> [(flag: String, value: String)] {
    var head = ViTConfig.ProjectionHead()
    if case .projection(let h)? = config.head { head = h }
    return [
      ("--patch-size", "\(config.patchSize)"), ("--width", "\(config.embedDim)"), ("--depth", "\(config.depth)"), ("--heads", "\(config.numHeads)"),
      ("--out-dim", "\(head.outDim)"), ("--head-hidden-dim", "\(head.hiddenDim)"), ("--head-bottleneck-dim", "\(head.bottleneckDim)"), ("head layers", "\(head.layers)"),
      ("--batch-size-per-gpu", "\(batch * processes)"), ("--global-size", "\(globalSize)"), ("--local-size", "\(localSize)"), ("--local-crops-number", "\(localCrops)"),
      ("--optimizer", optimizer.rawValue), ("--lr", "\(statedRate)"), ("--min-lr", "\(leastRate)"), ("--warmup-epochs", "\(warmupEpochs)"), ("--epochs", "\(epochs)"),
      ("--weight-decay", "\(weightDecay)"), ("--weight-decay-end", "\(weightDecayEnd)"), ("--clip-grad", "\(clipGradient)"), ("--freeze-last-layer", "\(freezeLastLayer)"),
      ("--norm-last-layer", "\(normLastLayer)"), ("--momentum-teacher", "\(teacherMomentum)"), ("--warmup-teacher-temp", "\(warmupTeacherTemperature)"),
      ("--teacher-temp", "\(teacherTemperature)"), ("--warmup-teacher-temp-epochs", "\(warmupTeacherTemperatureEpochs)"), ("--student-temp", "\(studentTemperature)"),
      ("--center-momentum", "\(centerMomentum)"), ("--drop-path-rate", "\(dropPath)"), ("--seed", "\(seed)"), (RecordedFlags.steps, "\(stepsPerEpoch)"),
    ] + (head.batchNorm ? [("--use-bn-in-head", "true")] : []) + (centering != .centering ? [("--centering", centering.rawValue)] : [])
      + (precision != .f32 ? [("--precision", precision.rawValue)] : []) + (koleoWeight > 0 ? [("--koleo-loss-weight", "\(koleoWeight)")] : [])
      + (ibotWeight > 0 ? [("--ibot-loss-weight", "\(ibotWeight)"), ("--ibot-mask-sample-probability", "\(maskProbability)"), ("--ibot-mask-ratio-min-max", "\(maskRatios.lowerBound) \(maskRatios.upperBound)"), ("--ibot-mask-shape", maskShape.rawValue)] : [])
      + (distillation?.listed ?? [])
  }

  /// The same without what such a training does not read: for people.
  public func heeded(stepsPerEpoch: Int, processes: Int = 1) -> [(flag: String, value: String)] {
    let unread: Set<String> = switch distillation?.loss {
    case nil: []
    case .dino?: ["--momentum-teacher"]
    case .features?: ["--momentum-teacher", "--out-dim", "--head-hidden-dim", "--head-bottleneck-dim", "head layers", "--freeze-last-layer", "--norm-last-layer", "--warmup-teacher-temp", "--teacher-temp",
                     "--warmup-teacher-temp-epochs", "--student-temp", "--center-momentum"]
    }
    return listed(stepsPerEpoch: stepsPerEpoch, processes: processes).filter { !unread.contains($0.flag) }
  }
}
