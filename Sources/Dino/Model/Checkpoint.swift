// A checkpoint understood: which network its tensors are, what each is called officially, and what its files say about preprocessing and origin.
// No tensor is read or copied here, but for a bias that has a mask and the periods of rotary positions where a file does not hold them, when weights are asked for; the three parts of
// a transformers qkv, a gate and what it opens, and timm's positions are joined when somebody reads them.

public import CheckpointNames
internal import DinoGraph
public import DinoModels
public import DinoTensor
internal import Safetensors
internal import TorchArchive

/// Choices that a file leaves open.
public struct CheckpointChoices: Sendable, Equatable {
  /// "teacher" or "student" of a training checkpoint.
  public var key: String?
  /// The name of an architecture ("vit_small"); it must fit the tensors.
  public var architecture: String?
  public var heads: Int?

  public init(key: String? = nil, architecture: String? = nil, heads: Int? = nil) {
    self.key = key
    self.architecture = architecture
    self.heads = heads
  }
}

/// An opened and resolved checkpoint.
public struct Checkpoint: Sendable {
  public let path: String
  public let format: CheckpointFormat
  public let config: ViTConfig
  public let headSource: HeadCountSource
  /// The `dino.*` record, where the file is of our format.
  public let record: ModelRecord?
  /// Preprocessing that the files state: the record's, that of a training's state, or a Hugging Face folder's.
  public let preprocessing: Preprocessing?
  public let resolution: NameResolution
  /// Which network of a training checkpoint was taken.
  public let branch: String?
  /// All tensors of the network as the file lists them.
  public let storedTensors: [StoredTensor]
  /// Arguments of the training, as text, by name; empty where the file has none.
  public let trainingArguments: [(name: String, value: String)]

  let source: CheckpointSource
  /// Where the file's weights are quantized: which, and how.
  let quantized: QuantizedTensors?

  /// Where an ONNX file is not faithful to what it was exported from: each a sentence.
  public var losses: [String] { source.losses }
  /// What else a person should know about how the checkpoint was read.
  public let notes: [String]

  public init(path: String, choices: CheckpointChoices = CheckpointChoices()) throws(DinoError) {
    let source = try CheckpointSource(path: path, key: choices.key)
    do { try self.init(source: source, choices: choices) } catch { throw DinoError(error, path: path) }
  }

  init(source: CheckpointSource, choices: CheckpointChoices) throws {
    self.source = source
    path = source.path
    format = source.format
    storedTensors = source.tensors
    record = ModelRecord.isPresent(in: source.metadata) ? try ModelRecord(metadata: source.metadata) : nil
    quantized = try record?.quantization.map { try QuantizedTensors($0, stored: source.tensors, path: source.path) }
    var shapes = Dictionary(source.tensors.map { ($0.name, $0.shape) }, uniquingKeysWith: { first, _ in first })
    if let quantized { shapes = quantized.floatShapes(shapes) }
    var mapping = try CheckpointNames.map(shapes: shapes, branch: choices.key.flatMap(CheckpointBranch.init))
    // A record says what shapes should be.
    if record == nil { mapping = PackedGates.unpacked(mapping) }
    branch = mapping.branch?.rawValue ?? source.key
    let arguments = source.archive?.args ?? []
    trainingArguments = arguments.map { ($0.name, $0.value.stringValue ?? $0.value.text(limit: 200)) }

    let huggingFace = try source.huggingFaceConfig.map { try HuggingFaceConfig($0, path: source.configFolder ?? source.path) }
    if let json = source.huggingFaceConfig, record == nil {
      try HuggingFaceConfig.check(json, against: ViTInference(shapes: mapping.shapes, isRotary: mapping.isRotary), path: source.configFolder ?? source.path)
    }
    // Its names do not say what timm's classifier reads: in its DINOv3 the mean of the patches, where nothing else is said.
    let isBareTimm = huggingFace == nil && mapping.table == NameTable.timmDinov3.name, pooling = isBareTimm ? "avg" : huggingFace?.pooling
    let isAssumedPooling = record == nil && isBareTimm && mapping.sources["head.weight"] != nil
    if let pooling, record == nil, pooling != "token", mapping.sources["head.weight"] != nil {
      guard pooling == "avg" else {
        throw DinoError(.unavailable, "\(source.configFolder ?? source.path)/config.json: the classifier reads tokens as timm pools them by '\(pooling)', and this version knows 'token' and 'avg'")
      }
      for part in ["weight", "bias"] { mapping.sources["probe.\(part)"] = mapping.sources.removeValue(forKey: "head.\(part)") }
    }
    // Only where the folder states the grid: a square number may as well be that of a grid which is none, and the class token (4x6 + 1, 14x16 + 1).
    if record == nil, let grid = huggingFace?.grid { mapping = PatchPositions.completed(mapping) { grid.count == $0 } }
    let training = TrainingRecord(metadata: source.metadata)
    let isOfTraining = branch.flatMap(CheckpointBranch.init) != nil || source.tensors.contains { $0.name.split(separator: ".").last == "mask_token" }
    do {
      var (config, headSource) = try Self.configuration(mapping, isOfTraining: isOfTraining, record: record, huggingFace: huggingFace, choices: choices,
                                                        trainedHeads: training.heads ?? arguments.first { $0.name == "num_heads" }?.value.intValue,
                                                        trainedAs: arguments.first { $0.name == "arch" }?.value.stringValue)
      if let probe = Self.probe(mapping, record: record, pooling: pooling, depth: config.depth) {
        config.head = .probe(probe)
        try config.validate()
      }
      (self.config, self.headSource) = (config, headSource)
      resolution = try CheckpointNames.resolve(mapping, expected: config.tensors.filter { !$0.isComputed || mapping.sources[$0.name] != nil }.map { (name: $0.name, shape: $0.shape.dims) })
      if let first = resolution.missing.first {
        let others = resolution.missing.count > 1 ? " and \(resolution.missing.count - 1) more are" : " is"
        throw DinoError(.data, "\(source.path): the tensor '\(first)'\(others) missing, so part of the model would be random")
      }
    } catch {
      throw record == nil ? OtherNetworks.reason(error, mapping: mapping, hasConfiguration: huggingFace != nil, path: source.path) : error
    }
    try Self.checkElementTypes(resolution, source: source, quantized: quantized)
    var notes = source.notes
    if headSource == .width {
      notes.append("\(source.path) does not say how many attention heads it has; \(config.numHeads) are taken, one for each 64 columns of its width (--heads N for another number)")
    }
    if isAssumedPooling { notes.append("\(source.path) does not say what its classifier reads; the mean of the patches is taken, as timm's DINOv3 does") }
    if resolution.sources["pos_embed"]?.leavesOutClassToken == true, resolution.table == NameTable.official.name {
      notes.append("\(source.path) has positions of \(config.nativeRows)x\(config.nativeColumns) patches and none of the class token, as timm's DeiT III does")
    }
    if let key = choices.key, key != branch {
      notes.append("\(source.path) has no network of the name '\(key)' (--checkpoint-key); \(branch.map { "'\($0)'" } ?? "the one that it holds") was taken")
    }
    if let record = record?.preprocessing {
      preprocessing = record
    } else if let stated = training.preprocessing {
      preprocessing = stated
    } else if let (file, stated) = Self.folderPreprocessing(source) {
      switch stated {
      case .record(let record): preprocessing = record
      case .strange(let reason):
        preprocessing = nil
        notes.append("\(file) is not followed in how images become the input: \(reason)")
      }
    } else {
      preprocessing = nil
    }
    self.notes = notes
  }

  /// What a Hugging Face folder says about preprocessing, and in which of its files.
  private static func folderPreprocessing(_ source: CheckpointSource) -> (file: String, stated: StatedPreprocessing)? {
    guard let folder = source.configFolder, let config = source.huggingFaceConfig else { return nil }
    if config["model_type"] == nil, let timm = config["pretrained_cfg"], timm.objectValue != nil { return ("\(folder)/config.json", .timm(timm)) }
    let file = "\(folder)/preprocessor_config.json"
    guard let json = try? CheckpointSource.readJSON(file) else { return nil }
    return (file, .transformers(json))
  }

  /// Weights are floating-point numbers, or integers that the record explains: others under an official name are a mislabelled file.
  private static func checkElementTypes(_ resolution: NameResolution, source: CheckpointSource, quantized: QuantizedTensors?) throws(DinoError) {
    let types = Dictionary(source.tensors.map { ($0.name, $0.dtype) }, uniquingKeysWith: { first, _ in first })
    for name in resolution.sources.values.flatMap(\.names).sorted() {
      guard let type = types[name], quantized?.entries[name] == nil, ![.f16, .bf16, .f32, .f64].contains(type) else { continue }
      throw DinoError(.data, "\(source.path): the tensor '\(name)' has elements of type \(type.rawValue), but weights are F16, BF16, F32 or F64")
    }
  }

  private static func configuration(_ mapping: NameMapping, isOfTraining: Bool, record: ModelRecord?, huggingFace: HuggingFaceConfig?, choices: CheckpointChoices,
                                    trainedHeads: Int?, trainedAs: String?) throws -> (ViTConfig, HeadCountSource) {
    if var config = record?.config {
      let (heads, source) = try HeadCount.resolve(width: config.embedDim, depth: config.depth, option: try option(choices, width: config.embedDim, depth: config.depth),
                                                  record: config.numHeads)
      config.numHeads = heads
      return (config, source)
    }
    let shapes = try ViTInference(shapes: mapping.shapes, isRotary: mapping.isRotary)
    let (heads, source) = try HeadCount.resolve(
      width: shapes.embedDim, depth: shapes.depth, option: try option(choices, width: shapes.embedDim, depth: shapes.depth),
      configFile: huggingFace?.heads, configFileKey: huggingFace?.headsKey ?? "num_attention_heads", argumentsHeads: trainedHeads, argumentsArchitecture: trainedAs,
      periods: mapping.shapes["rope_embed.periods"]?.first)
    if let huggingFace {
      return (try shapes.config(heads: heads, grid: huggingFace.nativeGrid(of: shapes.positions), normEpsilon: huggingFace.normEpsilon, activation: huggingFace.activation(shapes.feedForward), resize: huggingFace.resize,
                                rotaryBase: huggingFace.rotaryBase), source)
    }
    // Only timm has positions of the patches alone.
    let isTimm = mapping.sources["pos_embed"]?.leavesOutClassToken == true && shapes.registerTokens == 0
    let resize = isTimm ? .antialiased : PositionResize.assumed(registerTokens: shapes.registerTokens, layerScale: shapes.layerScale, isOfTraining: isOfTraining)
    return (try shapes.config(heads: heads, resize: resize), source)
  }

  /// The classifier that stands beside the network, where more than its shape says what it reads.
  private static func probe(_ mapping: NameMapping, record: ModelRecord?, pooling: String?, depth: Int) -> ViTConfig.Probe? {
    guard let shape = mapping.sources["probe.weight"]?.shape, shape.count == 2 else { return nil }
    // A malformed record is told of where the classifier is asked for.
    if let record { return record.other[ClassifierHead.metadataKey].flatMap { try? ClassifierRecord($0, depth: depth) }?.probe(classes: shape[0]) }
    return pooling == "avg" ? ViTConfig.Probe(classes: shape[0], tokens: .mean) : nil
  }

  /// The token of masked patches, [D], that the file has for training; nil where it has none.
  public func maskToken() throws(DinoError) -> Tensor? {
    guard let name = resolution.ignored.first(where: { $0.reason == NameTable.trainingOnly && $0.name.split(separator: ".").last == "mask_token" })?.name, let token = try source.tensor(name),
      token.count == config.embedDim, token.dtype.convertsToFloat
    else { return nil }
    return token.reshaped([config.embedDim])
  }

  /// The number of heads that the user's words imply: --heads, or the architecture of --arch, which must be that of the tensors.
  private static func option(_ choices: CheckpointChoices, width: Int, depth: Int) throws -> Int? {
    guard let name = choices.architecture else { return choices.heads }
    guard let architecture = Registry.architecture(named: name) else {
      throw ModelError.unknownArchitecture(name: name, known: Registry.architectures.map(\.name))
    }
    guard architecture.embedDim == width, architecture.depth == depth else {
      throw DinoError(.data, "\(name) is \(architecture.embedDim) wide with \(architecture.depth) blocks, but the tensors are \(width) wide with \(depth) blocks",
                      hint: "leave --arch out: width and depth are read from the tensors")
    }
    return choices.heads ?? architecture.numHeads
  }

  /// The model's tensors by official name, in floats. Views of the mapped file where they are stored whole and not quantized.
  public func weights() throws(DinoError) -> [String: Tensor] {
    guard let quantized else { return try storedWeights().values }
    var (values, scales) = try storedWeights()
    do {
      for (name, scale) in scales { values[name] = try quantized.expanded(name, values: values[name]!, scales: scale) }
    } catch { throw DinoError(error, path: path) }
    return values
  }

  /// Tensors that are not known and not known to stand beside the network take part in what it computes: without them its features would be others, and look right.
  private func checkNothingIsLeftOut() throws(DinoError) {
    // Integers and single numbers are counters and the like.
    let numbers = Set(storedTensors.filter { ![.f16, .bf16, .f32, .f64].contains($0.dtype) || $0.shape.allSatisfy { $0 == 1 } }.map(\.name))
    if let refusal = OtherNetworks.refusal(resolution.takingPart.filter { !numbers.contains($0) }, path: path, hint: "dinoctl inspect lists what is not known") { throw refusal }
  }

  /// The same as they are stored: quantized ones as integers, with their scales under the same names.
  func storedWeights() throws(DinoError) -> (values: [String: Tensor], scales: [String: Tensor]) {
    try checkNothingIsLeftOut()
    var result: [String: Tensor] = [:], scales: [String: Tensor] = [:]
    result.reserveCapacity(resolution.sources.count)
    for (official, from) in resolution.sources {
      if let quantized, quantized.entries[from.names[0]] != nil {
        let name = from.names[0], scaleName = QuantizationRecord.scaleName(of: name)
        guard let values = try source.tensor(name), let scale = try source.tensor(scaleName) else { throw DinoError(.bug, "\(path): the tensor '\(name)' vanished") }
        try quantized.check(name, values: values, scales: scale, path: path)
        (result[official], scales[official]) = (values, scale)
        continue
      }
      var parts: [Tensor] = []
      for name in from.names {
        guard let tensor = try source.tensor(name) else { throw DinoError(.bug, "\(path): the tensor '\(name)' vanished") }
        parts.append(tensor)
      }
      if from.leavesOutClassToken { parts.insert(Tensor([Float](repeating: 0, count: parts[0].shape[2]), shape: [1, 1, parts[0].shape[2]]), at: 0) }
      if from.leavesOutKeys { parts.insert(Tensor([Float](repeating: 0, count: parts[0].count), shape: parts[0].shape), at: 1) }
      var whole = parts[0]
      if parts.count > 1 {
        do { whole = try Tensor.derived(joining: parts, shape: Shape(from.shape)) } catch { throw DinoError(error, path: path) }
      }
      if let mask = from.mask { whole = try masked(whole, by: mask) }
      result[official] = whole
    }
    for spec in config.tensors where spec.isComputed && result[spec.name] == nil {
      do { result[spec.name] = try WeightInitializer.tensor(spec, seed: 0) } catch { throw DinoError(error, path: path) }
    }
    return (result, scales)
  }

  /// A tensor times a mask of the file.
  private func masked(_ tensor: Tensor, by name: String) throws(DinoError) -> Tensor {
    guard let mask = try source.tensor(name) else { throw DinoError(.bug, "\(path): the tensor '\(name)' vanished") }
    guard mask.shape == tensor.shape, mask.dtype.convertsToFloat, mask.floats().allSatisfy({ $0 == 0 || $0 == 1 }) else {
      throw DinoError(.data, "\(path): the tensor '\(name)' must be \(tensor.shape) zeros and ones, which it is not: the network was not initialised when it was saved")
    }
    return Tensor(zip(tensor.floats(), mask.floats()).map { $1 == 0 ? 0 : $0 }, shape: tensor.shape)
  }

  /// Name and SHA-256 of the file that the weights are in; nil for a model of several shards.
  public func sourceDigest() throws(DinoError) -> (file: String, sha256: String)? {
    guard let file = source.file else { return nil }
    do { return (file.split(separator: "/").last.map(String.init) ?? file, SHA256.hexDigest(try Storage(mapping: file))) } catch { throw DinoError(error, path: file) }
  }

  /// Bytes of the files that hold the weights.
  public var fileBytes: Int { source.files.reduce(0) { $0 + byteCount(ofFile: $1) } }

  /// Whether a training checkpoint has this network too: "teacher" or "student".
  public func has(_ branch: String) -> Bool {
    if let archive = source.archive, archive.root.keys.contains(branch) { return true }
    return storedTensors.contains { $0.name.hasPrefix("\(branch).") || $0.name.contains(".\(branch).") }
  }

  /// Channels of the images that the model reads.
  public var channels: Int { config.inChannels }
  /// Side of a patch, in pixels.
  public var patch: Int { config.patchSize }

  /// Whether the record says that the weights are random.
  public var hasRandomWeights: Bool { record?.provenance?.randomWeights ?? false }
}
