// Weights to start a training from other than random ones: a model, or a checkpoint of a training with other settings (longer, other crops, another head). The optimizer
// starts anew; going on with the same settings is TrainingState's.

public import Dino
internal import DinoGraph
internal import DinoKernels
internal import DinoModels
internal import DinoTensor
internal import Safetensors

public enum StartingWeights {
  /// Which file weights came from.
  public struct Origin: Sendable, Equatable {
    public var name: String
    /// SHA-256 of the file, or of the one in a folder; of shards that of their digests. Nil where there is none, and in states of earlier versions, which knew none of shards.
    public var digest: String?

    public init(path: String) {
      name = path.split(separator: "/").last.map(String.init) ?? path
      let files = [path, "\(path)/model.safetensors", "\(path)/pytorch_model.bin"]
      digest = files.lazy.compactMap { Self.sha256(ofFile: $0) }.first ?? Self.sha256(ofShardsIn: path)
    }

    private static func sha256(ofFile path: String) -> String? { (try? Storage(mapping: path)).map { SHA256.hexDigest($0) } }

    /// In the order of their names.
    private static func sha256(ofShardsIn folder: String) -> String? {
      guard let shards = try? ShardedSafetensors(folder: folder).shards else { return nil }
      let digests = shards.compactMap { sha256(ofFile: "\(folder)/\($0)") }
      return SHA256.hexDigest(Array(digests.joined(separator: "\n").utf8))
    }

    /// As a state has it; nil for random weights.
    init?(_ json: JSONValue) {
      guard let name = json["name"]?.stringValue else { return nil }
      self.name = name
      digest = json["sha256"]?.stringValue
    }

    var json: JSONValue { .object([.init("name", .string(name)), .init("sha256", digest.map { .string($0) } ?? .null)]) }
    var text: String { "the weights of \(name)" + (digest.map { " (SHA-256 \($0.prefix(12))…)" } ?? "") }

    /// By content, where both are files that are there.
    func isSame(_ other: Origin) -> Bool {
      if let digest, let others = other.digest { return digest == others }
      return name == other.name
    }
  }

  /// What a run began with.
  public enum Start: Sendable, Equatable {
    case random
    case weights(Origin)
    /// A state of an earlier version does not say.
    case unknown

    public var origin: Origin? { if case .weights(let origin) = self { origin } else { nil } }

    /// As a state has it: null for random weights, nothing where it is not known.
    init(_ json: JSONValue?) {
      guard let json else {
        self = .unknown
        return
      }
      if let origin = Origin(json) { self = .weights(origin) } else { self = .random }
    }

    var json: JSONValue? {
      switch self {
      case .random: JSONValue.null
      case .weights(let origin): origin.json
      case .unknown: nil
      }
    }
  }

  /// Puts what fits of a file into a trainer that has done no step. Positions of another grid are resampled; a head of another shape stays random.
  /// - Returns: what was not taken as it is, each a sentence.
  public static func load(_ path: String, into trainer: Trainer) throws(DinoError) -> [String] {
    precondition(trainer.step == 0)
    let heads = try Self.heads(of: path, for: trainer.settings.config)
    let teacher = try Checkpoint(path: path, choices: CheckpointChoices(key: nil, heads: heads))
    var notes = try differences(teacher, from: trainer)
    let ofTeacher = try fitted(teacher, trainer, &notes)
    // In distillation the teacher is the one that is learnt from; a student starts from the best that the file has.
    if trainer.settings.distillation != nil {
      for (i, tensor) in ofTeacher.tensors { trainer.student.set(i, to: tensor) }
      return notes
    }
    var ofStudent = ofTeacher
    if teacher.branch != nil, teacher.has("student") {
      ofStudent = try fitted(try Checkpoint(path: path, choices: CheckpointChoices(key: "student", heads: heads)), trainer, &notes)
    } else if teacher.branch == "teacher" {
      notes.append("no student in it: it starts from the teacher")
    }
    for (i, tensor) in ofStudent.tensors { trainer.student.set(i, to: tensor) }
    for (i, tensor) in ofTeacher.tensors { trainer.teacher.set(i, to: tensor) }
    // A centre is of the teacher's head: without that it is of nothing.
    for (name, center) in trainer.centers {
      guard let found = storedCenter(name, path), found.shape == center.shape, found.dtype.convertsToFloat else { continue }
      if ofTeacher.hasWholeHead { center.overwrite(with: found.floats()) } else { notes.append("its \(name) is of that head: it starts from zero") }
    }
    var told: Set<String> = []
    return notes.filter { told.insert($0).inserted }
  }

  /// The heads to read a file with: those of the network to be trained where the file lets them only be guessed; its own where it is of another width, whose tensors do not fit anyway.
  /// - Throws: where the file states others.
  private static func heads(of path: String, for own: ViTConfig) throws(DinoError) -> Int? {
    guard let told = try? Checkpoint(path: path) else { return own.numHeads }
    guard told.config.embedDim == own.embedDim else { return nil }
    let heads = told.config.numHeads, stating: Set<HeadCountSource> = [.record, .configFile, .arguments, .periods]
    guard stating.contains(told.headSource), heads != own.numHeads else { return own.numHeads }
    throw DinoError(.usage, "\(path) has \(heads) attention heads (\(told.headSource.rawValue)), the network to be trained \(own.numHeads)", hint: "give --width \(own.embedDim) --depth \(own.depth) --heads \(heads)")
  }

  /// What tensors that fit do not show: in another network the same weights mean something else.
  /// - Returns: what changes only other sizes of images, each a sentence.
  private static func differences(_ checkpoint: Checkpoint, from trainer: Trainer) throws(DinoError) -> [String] {
    let path = checkpoint.path, file = checkpoint.config, own = trainer.settings.config
    var others: [String] = []
    if file.registerTokens != own.registerTokens { others.append("\(file.registerTokens) registers, not \(own.registerTokens)") }
    if file.feedForward != own.feedForward { others.append(file.feedForward == .swiglu ? "gated MLPs, not plain ones" : "plain MLPs, not gated ones") }
    if file.layerScale != own.layerScale { others.append(file.layerScale ? "layer scale, not none" : "no layer scale") }
    func positions(_ base: Double?) -> String { base.map { "rotary positions of base \($0)" } ?? "learned positions" }
    if file.rotaryBase != own.rotaryBase { others.append("\(positions(file.rotaryBase)), not \(positions(own.rotaryBase))") }
    if file.activation != own.activation { others.append("the activation \(file.activation.rawValue), not \(own.activation.rawValue)") }
    // A smaller one, as DINO's folders of transformers state, is below what f32 shows of it.
    if file.normEpsilon > own.normEpsilon { others.append("the norms' epsilon \(file.normEpsilon), not \(own.normEpsilon)") }
    let isOfOtherDepth = file.depth != own.depth, blocks = "\(file.depth) block\(file.depth == 1 ? "" : "s")"
    // The names of the first blocks would fit.
    if others.isEmpty, isOfOtherDepth {
      throw DinoError(.usage, "\(path) has \(blocks), the network to be trained \(own.depth)", hint: "give --width \(file.embedDim) --depth \(file.depth) --heads \(file.numHeads), or the --arch of the file")
    }
    if isOfOtherDepth { others.append("\(blocks), not \(own.depth)") }
    guard others.isEmpty else {
      throw DinoError(.unavailable, "\(path) is of another network than the one to be trained: it has \(others.joined(separator: "; "))",
                      hint: "--arch with the published name (dinov2_vits14, dinov2_vits14_reg, dinov3_vits16) trains that kind of network; dinoctl finetune keeps everything of the file's network")
    }
    return file.positionResize == own.positionResize ? [] : ["it resizes positions to other grids by another rule than the network that is trained: features of crops of another size differ a little from the file's"]
  }

  /// Of a training checkpoint, ours or the original's; nil where it has none.
  private static func storedCenter(_ name: String, _ path: String) -> Tensor? {
    if let ours = (try? SafetensorsFile(path: path))?.tensor(name) { return ours }
    return name == Trainer.centerName ? OfficialCheckpoint.center(of: path) : nil
  }

  /// Takes the centre of the teacher that a training checkpoint holds, ours or the original's. False where it has none of this size.
  public static func loadCenter(_ path: String, into trainer: Trainer) -> Bool {
    guard let center = trainer.center else { return false }
    guard let found = storedCenter(Trainer.centerName, path), found.shape == center.shape, found.dtype.convertsToFloat else { return false }
    center.overwrite(with: found.floats())
    return true
  }

  private static func fitted(_ checkpoint: Checkpoint, _ trainer: Trainer, _ notes: inout [String]) throws(DinoError)
    -> (tensors: [(index: Int, tensor: Tensor)], hasWholeHead: Bool) {
    let found = try checkpoint.weights(), config = trainer.settings.config
    var result: [(index: Int, tensor: Tensor)] = []
    var leftOut = 0
    for (i, name) in trainer.names.enumerated() {
      let shape = trainer.student.tensors[i].shape, isHead = name.hasPrefix("head."), isOfTraining = name.hasPrefix("distill.") || name == TrainingSettings.maskToken
      if let tensor = found[name], tensor.shape == shape, tensor.dtype.convertsToFloat {
        result.append((i, tensor))
      } else if name == "pos_embed", let tensor = found[name], tensor.shape[2] == shape[2] {
        let from = checkpoint.config, special = shape[1] - config.nativeRows * config.nativeColumns, width = shape[2], values = tensor.floats()
        let resampling = PositionResampling(nativeRows: from.nativeRows, nativeColumns: from.nativeColumns, toRows: config.nativeRows, toColumns: config.nativeColumns, resize: .antialiased)
        let grid = resampling.apply(Array(values[(special * width)...]), nativeColumns: from.nativeColumns, width: width)
        result.append((i, Tensor(Array(values[..<(special * width)]) + grid, shape: shape)))
        notes.append("positions resampled from \(from.nativeRows)x\(from.nativeColumns) to \(config.nativeRows)x\(config.nativeColumns)")
      } else if isHead {
        leftOut += 1
      } else if isOfTraining {
        notes.append("'\(name)', which only training has, starts anew")
      } else {
        throw DinoError(.data, "\(checkpoint.path): '\(name)' is \(found[name].map { "\($0.shape)" } ?? "missing"), here it is \(shape)", hint: "give the file's --width, --depth, --heads and --patch-size")
      }
    }
    if leftOut > 0 { notes.append("\(leftOut) tensors of the projection head are not in the file or of another shape: they start at random") }
    return (result, leftOut == 0)
  }
}
