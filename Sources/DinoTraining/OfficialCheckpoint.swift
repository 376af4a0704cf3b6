// The training checkpoint of facebookresearch/dino (checkpoint.pth), both ways: a run of the original goes on here, and a run of ours goes on there. What a run needs
// here is TrainingState's; an official file knows whole epochs only.

public import Dino
internal import DinoKernels
internal import DinoModels
internal import DinoTensor
internal import TorchArchive

public enum OfficialCheckpoint {
  /// Puts the state of an official file into a trainer of the same network.
  /// - Parameter augmentation: the crops of this run, to be held against the file's.
  /// - Returns: what the file lacked, or does not say here what it says there, each a sentence.
  public static func restore(_ trainer: Trainer, from path: String, augmentation: MultiCropAugmentation? = nil) throws(DinoError) -> [String] {
    var notes: [String] = []
    let archive: TorchArchive
    do { archive = try TorchArchive(path: path) } catch { throw DinoError(error, path: path) }
    guard archive["student"] != nil else {
      throw DinoError(.data, "\(path): not a training checkpoint (it has no 'student')", hint: "an official checkpoint.pth has student, teacher, optimizer and epoch")
    }
    let student = try weights(path, "student", trainer)
    var teacher = student
    if archive["teacher"] == nil { notes.append("no teacher: it starts as a copy of the student") } else { teacher = try weights(path, "teacher", trainer) }
    var epoch = 0
    if let value = archive["epoch"] {
      guard let n = value.intValue, n >= 0, n <= trainer.settings.epochs else {
        throw DinoError(.data, "\(path): its epoch is \(value.text(limit: 40)), expected a number from 0 to the \(trainer.settings.epochs) of --epochs")
      }
      epoch = n
    } else {
      notes.append("no epoch: schedules start from the first")
    }
    let moments = try optimizer(archive, path, trainer, &notes)
    let center = try center(archive, path, trainer, &notes)
    if archive["fp16_scaler"] != nil { notes.append("its fp16_scaler is not needed: training is in f32") }
    notes.append("the order of images and all random numbers follow from --seed here, the original's generators are not in the file")
    notes += differences(archive, trainer, augmentation)
    // Everything is checked before anything is changed.
    for (i, name) in trainer.names.enumerated() {
      if let tensor = student[name] { trainer.student.set(i, to: tensor) }
      if let tensor = teacher[name] { trainer.teacher.set(i, to: tensor) }
    }
    for (i, k, tensor) in moments.tensors { trainer.moments[k].set(i, to: tensor) }
    if let center { trainer.center?.overwrite(with: center) }
    trainer.restore(step: epoch * trainer.schedule.stepsPerEpoch, updates: moments.updates)
    return notes
  }

  /// Writes the state at the end of an epoch. torch.load(weights_only=True) reads it; `args` is a dictionary where the original pickles a Namespace.
  public static func save(_ trainer: Trainer, augmentation: MultiCropAugmentation? = nil, to path: String) throws(DinoError) {
    let perEpoch = trainer.schedule.stepsPerEpoch
    precondition(trainer.step % perEpoch == 0, "an official checkpoint is of whole epochs")
    func network(_ block: ParameterBlock, _ prefix: String) -> TorchItem {
      var items: [(name: String, value: TorchItem)] = []
      for (i, name) in trainer.names.enumerated() {
        let full = "\(prefix)\(name.hasPrefix("head.") ? "" : "backbone.")\(name)", variance = ".running_var"
        items.append((full, .tensor(block.tensors[i])))
        if full.hasSuffix(variance) { items.append(("\(full.dropLast(variance.count)).num_batches_tracked", .tensor(Tensor.copy([Int64(trainer.step)], dtype: .i64, shape: [])))) }
      }
      return .state(items)
    }
    // With batch normalisation the original wraps the teacher as it does the student.
    let hasBatchNorm = trainer.names.contains { Trainer.isBuffer($0) }
    let groups = parameterGroups(trainer), values = trainer.step > 0 ? trainer.schedule[trainer.step - 1] : nil
    var state: [(key: TorchItem, value: TorchItem)] = []
    for (number, i) in groups.joined().enumerated() where trainer.updates[i] > 0 || trainer.settings.optimizer != .adamw && trainer.step > 0 {
      let items: [(key: TorchItem, value: TorchItem)] = switch trainer.settings.optimizer {
      case .adamw:
        [(.string("step"), .tensor(Tensor([Float(trainer.updates[i])], shape: []))), (.string("exp_avg"), .tensor(trainer.moments[0].tensors[i])),
         (.string("exp_avg_sq"), .tensor(trainer.moments[1].tensors[i]))]
      case .sgd, .lars: [(.string(momentumName(trainer)), .tensor(trainer.moments[0].tensors[i]))]
      }
      state.append((.int(number), .dictionary(items)))
    }
    var first = 0
    let listed = groups.enumerated().map { g, members -> TorchItem in
      defer { first += members.count }
      var items: [(key: TorchItem, value: TorchItem)] = [
        (.string("params"), .list((first..<first + members.count).map { .int($0) })), (.string("lr"), .float(values?.rate ?? 0)),
        (.string("weight_decay"), .float(g == 0 ? values?.weightDecay ?? 0 : 0)),
      ]
      switch trainer.settings.optimizer {
      case .adamw:
        items += [(.string("betas"), .tuple([.float(0.9), .float(0.999)])), (.string("eps"), .float(1e-8)), (.string("amsgrad"), .bool(false)), (.string("maximize"), .bool(false)),
                  (.string("foreach"), .none), (.string("capturable"), .bool(false)), (.string("differentiable"), .bool(false)), (.string("fused"), .none),
                  (.string("decoupled_weight_decay"), .bool(true))]
      case .sgd:
        items += [(.string("momentum"), .float(0.9)), (.string("dampening"), .float(0)), (.string("nesterov"), .bool(false)), (.string("maximize"), .bool(false)),
                  (.string("foreach"), .none), (.string("differentiable"), .bool(false)), (.string("fused"), .none)]
      case .lars: items += [(.string("momentum"), .float(0.9)), (.string("eta"), .float(0.001)), (.string("weight_decay_filter"), .none), (.string("lars_adaptation_filter"), .none)]
      }
      return .dictionary(items)
    }
    let root = TorchItem.dictionary([
      (.string("student"), network(trainer.student, "module.")), (.string("teacher"), network(trainer.teacher, hasBatchNorm ? "module." : "")),
      (.string("optimizer"), .dictionary([(.string("state"), .dictionary(state)), (.string("param_groups"), .list(listed))])),
      (.string("epoch"), .int(trainer.step / perEpoch)), (.string("args"), .dictionary(arguments(trainer.settings, augmentation, ranks: trainer.rankCount).map { (.string($0.name), $0.value) })),
      (.string("dino_loss"), .state(trainer.center.map { [("center", .tensor($0))] } ?? [])),
    ])
    do { try TorchArchiveWriter.write(root, to: path) } catch { throw DinoError(error, path: path) }
  }

  /// The centre in an official file; nil where there is none.
  static func center(of path: String) -> Tensor? {
    guard let archive = try? TorchArchive(path: path) else { return nil }
    return archive["dino_loss"]?["center"]?.tensorValue.flatMap { try? $0.tensor() }
  }

  // MARK: Parts

  private static func weights(_ path: String, _ key: String, _ trainer: Trainer) throws(DinoError) -> [String: Tensor] {
    let found = try Checkpoint(path: path, choices: CheckpointChoices(key: key, heads: trainer.settings.config.numHeads)).weights()
    for (i, name) in trainer.names.enumerated() {
      let shape = trainer.student.tensors[i].shape
      guard let tensor = found[name] else { throw DinoError(.data, "\(path): its \(key) lacks '\(name)' of \(shape)") }
      guard tensor.shape == shape, tensor.dtype.convertsToFloat else {
        throw DinoError(.data, "\(path): '\(name)' of its \(key) has shape \(tensor.shape), here it is \(shape)", hint: "train the network of the file: --arch, --patch-size, --global-size, --out-dim")
      }
    }
    return found
  }

  /// utils.get_params_groups: what is decayed, then biases and vectors; without what is never trained. In the order of the network's parameters.
  private static func parameterGroups(_ trainer: Trainer) -> [[Int]] {
    let all = trainer.names.indices.filter { trainer.isTrainable($0) }
    func isVector(_ i: Int) -> Bool { trainer.names[i].hasSuffix(".bias") || trainer.student.tensors[i].shape.rank == 1 }
    return [all.filter { !isVector($0) }, all.filter(isVector)]
  }

  private static func momentumName(_ trainer: Trainer) -> String { trainer.settings.optimizer == .lars ? "mu" : "momentum_buffer" }

  private static func optimizer(_ archive: TorchArchive, _ path: String, _ trainer: Trainer, _ notes: inout [String]) throws(DinoError)
    -> (tensors: [(index: Int, moment: Int, tensor: Tensor)], updates: [Int]) {
    var updates = [Int](repeating: 0, count: trainer.names.count), tensors: [(index: Int, moment: Int, tensor: Tensor)] = []
    guard let optimizer = archive["optimizer"] else {
      notes.append("no optimizer: its moments start from zero")
      return ([], updates)
    }
    let groups = parameterGroups(trainer)
    let found = (optimizer["param_groups"]?.elements ?? []).map { ($0["params"]?.elements ?? []).compactMap(\.intValue) }
    guard found.map(\.count) == groups.map(\.count), found.joined().elementsEqual(0..<groups.joined().count) else {
      throw DinoError(.data, "\(path): its optimizer has groups of \(found.map { "\($0.count)" }.joined(separator: " and ")) parameters, here there are \(groups.map { "\($0.count)" }.joined(separator: " and "))",
                      hint: "--norm-last-layer decides whether the last layer's scale is among them")
    }
    var states: [Int: TorchValue] = [:]
    if case .dictionary(let items)? = optimizer["state"] { for item in items { if let key = item.key.intValue { states[key] = item.value } } }
    let names = trainer.settings.optimizer == .adamw ? ["exp_avg", "exp_avg_sq"] : [momentumName(trainer)]
    var missing = 0
    for (number, i) in groups.joined().enumerated() {
      guard let state = states[number] else {
        missing += 1
        continue
      }
      for (k, name) in names.enumerated() {
        let shape = trainer.student.tensors[i].shape
        guard let value = state[name]?.tensorValue, value.shape == shape, value.dtype.convertsToFloat else {
          throw DinoError(.data, "\(path): the optimizer's '\(name)' of '\(trainer.names[i])' is missing or not of \(shape)", hint: "--optimizer must be the file's")
        }
        do { tensors.append((i, k, try value.tensor())) } catch { throw DinoError(error, path: path) }
      }
      if trainer.settings.optimizer == .adamw {
        guard let step = stepCount(state["step"]) else { throw DinoError(.data, "\(path): the optimizer's 'step' of '\(trainer.names[i])' is missing or malformed") }
        updates[i] = step
      }
    }
    if missing > 0 { notes.append("the optimizer has no moments of \(missing) of \(groups.joined().count) parameters: they start from zero") }
    return (tensors, updates)
  }

  /// An integer in old files, a tensor of one float in newer ones.
  private static func stepCount(_ value: TorchValue?) -> Int? {
    guard let number = value?.doubleValue ?? (try? value?.tensorValue?.tensor()).flatMap({ $0.count == 1 && $0.dtype.convertsToFloat ? Double($0.floats()[0]) : nil }),
          number >= 0, number < 1e15 else { return nil }
    return Int(exactly: number)
  }

  private static func center(_ archive: TorchArchive, _ path: String, _ trainer: Trainer, _ notes: inout [String]) throws(DinoError) -> [Float]? {
    guard let value = archive["dino_loss"]?["center"]?.tensorValue else {
      notes.append("no centre (dino_loss): it starts from zero")
      return nil
    }
    guard value.shape == [1, trainer.settings.outDim], value.dtype.convertsToFloat else { throw DinoError(.data, "\(path): its centre has shape \(value.shape), here it is [1, \(trainer.settings.outDim)]") }
    do { return try value.tensor().floats() } catch { throw DinoError(error, path: path) }
  }

  /// The original's names of what was set.
  private static func arguments(_ s: TrainingSettings, _ augmentation: MultiCropAugmentation?, ranks: Int) -> [(name: String, value: TorchItem)] {
    let c = s.config
    var head = ViTConfig.ProjectionHead()
    if case .projection(let h)? = c.head { head = h }
    let arch = Registry.architectures.first { $0.embedDim == c.embedDim && $0.depth == c.depth && $0.numHeads == c.numHeads }?.name ?? "vit"
    let rate = s.givenRate ?? s.rate * 256 / Double(s.batch * ranks)
    func range(_ r: ClosedRange<Double>) -> TorchItem { .tuple([.float(r.lowerBound), .float(r.upperBound)]) }
    var scales: [(name: String, value: TorchItem)] = []
    if let augmentation { scales.append(("global_crops_scale", range(augmentation.globalScale))) }
    if let augmentation, s.localCrops > 0 { scales.append(("local_crops_scale", range(augmentation.localScale))) }
    let all: [(name: String, value: TorchItem)] = [
      ("arch", .string(arch)), ("patch_size", .int(c.patchSize)), ("embed_dim", .int(c.embedDim)), ("depth", .int(c.depth)), ("num_heads", .int(c.numHeads)),
      ("out_dim", .int(s.outDim)), ("norm_last_layer", .bool(s.normLastLayer)), ("momentum_teacher", .float(s.teacherMomentum)),
      ("use_bn_in_head", .bool(head.batchNorm)), ("warmup_teacher_temp", .float(s.warmupTeacherTemperature)), ("teacher_temp", .float(s.teacherTemperature)),
      ("warmup_teacher_temp_epochs", .int(s.warmupTeacherTemperatureEpochs)), ("use_fp16", .bool(false)), ("weight_decay", .float(s.weightDecay)),
      ("weight_decay_end", .float(s.weightDecayEnd)), ("clip_grad", .float(s.clipGradient)), ("batch_size_per_gpu", .int(s.batch)), ("epochs", .int(s.epochs)),
      ("freeze_last_layer", .int(s.freezeLastLayer)), ("lr", .float(rate)), ("warmup_epochs", .int(s.warmupEpochs)), ("min_lr", .float(s.leastRate)),
      ("optimizer", .string(s.optimizer.rawValue)), ("drop_path_rate", .float(s.dropPath)), ("local_crops_number", .int(s.localCrops)), ("seed", .int(Int(truncatingIfNeeded: s.seed))),
      ("world_size", .int(ranks)),
    ]
    return all + scales
  }

  /// Where the file's arguments are not those of this run. One sentence, or none.
  private static func differences(_ archive: TorchArchive, _ trainer: Trainer, _ augmentation: MultiCropAugmentation?) -> [String] {
    let stored = Dictionary((archive.args ?? []).map { ($0.name, $0.value) }, uniquingKeysWith: { first, _ in first })
    if stored.isEmpty { return ["no args: whether this run has the settings of the first cannot be told"] }
    var found: [String] = []
    func isSame(_ there: TorchValue, _ here: TorchItem) -> Bool {
      switch here {
      case .int(let v): there.doubleValue == Double(v)
      case .float(let v): there.doubleValue.map { abs($0 - v) <= 1e-9 * max(abs(v), 1e-3) } ?? false
      case .bool(let v): there.boolValue == v
      case .string(let v): there.stringValue == v
      case .tuple(let v): there.elements.map { $0.count == v.count && zip($0, v).allSatisfy { isSame($0, $1) } } ?? false
      default: true
      }
    }
    for (name, value) in arguments(trainer.settings, augmentation, ranks: trainer.rankCount) where name != "seed" && name != "arch" {
      guard let there = stored[name] else { continue }
      if !isSame(there, value) { found.append("\(name) \(there.stringValue ?? there.text(limit: 40))") }
    }
    return found.isEmpty ? [] : ["its args differ from this run's: there \(found.joined(separator: ", "))"]
  }
}
