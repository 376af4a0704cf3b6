// A classifier that goes with a checkpoint: its layer, the features it reads, and the names of its classes (`dino.classes` of the weight format). One that reads the
// last class token is part of the network (`head.*`), one that reads several blocks or patches too is kept beside it (`probe.*`); both give the output `logits`.

internal import CheckpointNames
internal import DinoModels
public import DinoTensor
internal import Safetensors

/// A linear classifier of a model's features.
public struct ClassifierHead: Sendable {
  public static let metadataKey = "dino.classes"

  /// Names of the classes, in the order of the rows; empty where the file has none.
  public var names: [String]
  /// What it reads; never by patch, never normalised.
  public var settings: FeatureSettings
  /// [classes, features]
  public var weight: Tensor
  /// [classes]
  public var bias: Tensor

  public var classes: Int { weight.shape[0] }

  public init(names: [String], settings: FeatureSettings, weight: Tensor, bias: Tensor) {
    self.names = names
    self.settings = settings
    self.weight = weight
    self.bias = bias
  }

  /// Whether it is the network's own head.
  public var isPartOfNetwork: Bool { settings.tokens == .cls && settings.layers == 1 }

  /// The name of a class, or its number.
  public func name(_ index: Int) -> String { index < names.count ? names[index] : "\(index)" }

  var record: ClassifierRecord { ClassifierRecord(names: names, isProbe: !isPartOfNetwork, tokens: settings.tokens, layers: settings.layers) }

  /// Probabilities of the classes: the softmax of their scores.
  public func probabilities(_ logits: [Float]) -> [Float] {
    let largest = logits.max() ?? 0
    let exponentials = logits.map { exponential(Double($0 - largest)) }, sum = exponentials.reduce(0, +)
    return exponentials.map { Float($0 / sum) }
  }
}

/// `dino.classes` of a file.
struct ClassifierRecord: Equatable {
  var names: [String]
  /// Whether its tensors are `probe.*`, and not `head.*`.
  var isProbe: Bool
  var tokens: TokenChoice
  var layers: Int

  /// What a probe reads; without names.
  init(_ probe: ViTConfig.Probe) { self.init(names: [], isProbe: true, tokens: TokenChoice(probe.tokens), layers: probe.layers) }

  init(names: [String], isProbe: Bool, tokens: TokenChoice, layers: Int) {
    (self.names, self.isProbe, self.tokens, self.layers) = (names, isProbe, tokens, layers)
  }

  /// - Throws: a sentence without the name of the file.
  init(_ text: String, depth: Int) throws(DinoError) {
    func bad(_ reason: String) -> DinoError { DinoError(.data, "'\(ClassifierHead.metadataKey)' \(reason)") }
    let json: JSONValue
    do { json = try JSONValue.parse(text) } catch { throw bad("is no valid JSON: \(error.description)") }
    guard let list = json["names"]?.arrayValue?.map(\.stringValue), !list.contains(nil) else { throw bad("has no list of names") }
    guard let found = json["tensors"]?.stringValue, ["head", "probe"].contains(found) else { throw bad("must say 'head' or 'probe' as its tensors") }
    guard let tokens = json["tokens"]?.stringValue.flatMap(TokenChoice.init), tokens != .patch, let layers = json["layers"]?.integerValue, layers >= 1, layers <= depth else {
      throw bad("must say which tokens (\(ViTConfig.Probe.Tokens.allCases.map(\.rawValue).joined(separator: ", "))) and how many layers of \(depth) the classifier reads")
    }
    self.init(names: list.compactMap { $0 }, isProbe: found == "probe", tokens: tokens, layers: layers)
  }

  var text: String {
    JSONValue.object([
      .init("names", .array(names.map { .string($0) })), .init("tensors", .string(isProbe ? "probe" : "head")), .init("tokens", .string(tokens.rawValue)), .init("layers", .integer(layers)),
    ]).text
  }

  /// The configuration's head; nil where it is not beside the network.
  func probe(classes: Int) -> ViTConfig.Probe? {
    guard isProbe, let tokens = ViTConfig.Probe.Tokens(rawValue: tokens.rawValue) else { return nil }
    return ViTConfig.Probe(classes: classes, tokens: tokens, layers: layers)
  }
}

extension TokenChoice {
  init(_ tokens: ViTConfig.Probe.Tokens) {
    self =
      switch tokens {
      case .cls: .cls
      case .mean: .mean
      case .clsAndMean: .clsAndMean
      case .clsAndLastMean: .clsAndLastMean
      }
  }
}

extension Checkpoint {
  /// The classifier in the file; nil where there is none.
  public func classifierHead() throws(DinoError) -> ClassifierHead? {
    var stated: ClassifierRecord?
    if let text = record?.other[ClassifierHead.metadataKey] {
      do { stated = try ClassifierRecord(text, depth: config.depth) } catch { throw DinoError(error.kind, "\(path): \(error.message)") }
    } else if case .probe(let probe)? = config.head {
      stated = ClassifierRecord(probe)
    }
    var names = stated?.names ?? []
    let prefix = stated?.isProbe == true ? "probe" : "head", settings = FeatureSettings(tokens: stated?.tokens ?? .cls, layers: stated?.layers ?? 1)
    guard let weight = try tensor("\(prefix).weight"), let bias = try tensor("\(prefix).bias") else {
      if prefix == "probe" || !names.isEmpty { throw DinoError(.data, "\(path): '\(ClassifierHead.metadataKey)' names classes, but the tensors '\(prefix).weight' and '\(prefix).bias' are not there") }
      return nil
    }
    if names.isEmpty, let json = source.huggingFaceConfig { names = HuggingFaceConfig.labels(json, count: weight.shape.rank == 2 ? weight.shape[0] : 0) }
    if names.isEmpty, record == nil { names = TrainingRecord(metadata: source.metadata).classes }
    let width = config.embedDim * (stated?.probe(classes: 1)?.parts(depth: config.depth).count ?? 1)
    guard weight.shape.rank == 2, weight.shape[1] == width, bias.shape == [weight.shape[0]], weight.dtype.convertsToFloat, bias.dtype.convertsToFloat else {
      throw DinoError(.data, "\(path): the classifier '\(prefix)' is \(weight.shape) with a bias \(bias.shape), where [classes, \(width)] and [classes] are expected")
    }
    guard names.isEmpty || names.count == weight.shape[0] else { throw DinoError(.data, "\(path): \(names.count) names for a classifier of \(weight.shape[0]) classes") }
    return ClassifierHead(names: names, settings: settings, weight: weight, bias: bias)
  }

  /// A tensor by its name in the file, or, where the network has it, by its official name.
  private func tensor(_ name: String) throws(DinoError) -> Tensor? {
    if resolution.sources[name] != nil { return try weights()[name] }
    return storedTensors.contains { $0.name == name } ? try source.tensor(name) : nil
  }
}

extension ModelWriter {
  /// Puts a classifier into the model, in place of any head that it has.
  public mutating func setClassifier(_ head: ClassifierHead) {
    let probe = head.record.probe(classes: head.classes), prefix = probe == nil ? "head" : "probe"
    config.head = probe.map { .probe($0) } ?? .classifier(classes: head.classes)
    weights = weights.filter { !$0.key.hasPrefix("head.") && !$0.key.hasPrefix("probe.") }
    weights["\(prefix).weight"] = head.weight
    weights["\(prefix).bias"] = head.bias
    other[ClassifierHead.metadataKey] = head.record.text
    classNames = head.names
  }
}
