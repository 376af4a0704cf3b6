// A classifier that goes with a checkpoint: its layer, the features it reads, and the names of its classes (`dino.classes` of the weight format). One that reads the
// last class token is part of the network (`head.*`, output `logits`); one that reads several blocks or patches too is kept beside it (`probe.*`).

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

  var json: JSONValue {
    .object([
      .init("names", .array(names.map { .string($0) })), .init("tensors", .string(isPartOfNetwork ? "head" : "probe")),
      .init("tokens", .string(settings.tokens.rawValue)), .init("layers", .integer(settings.layers)),
    ])
  }

  /// Probabilities of the classes: the softmax of their scores.
  public func probabilities(_ logits: [Float]) -> [Float] {
    let largest = logits.max() ?? 0
    let exponentials = logits.map { exponential(Double($0 - largest)) }, sum = exponentials.reduce(0, +)
    return exponentials.map { Float($0 / sum) }
  }
}

extension Checkpoint {
  /// The classifier in the file; nil where there is none.
  public func classifierHead() throws(DinoError) -> ClassifierHead? {
    var names: [String] = [], settings = FeatureSettings(), prefix = "head"
    if let text = record?.other[ClassifierHead.metadataKey] {
      func bad(_ reason: String) -> DinoError { DinoError(.data, "\(path): '\(ClassifierHead.metadataKey)' \(reason)") }
      let json: JSONValue
      do { json = try JSONValue.parse(text) } catch { throw bad("is no valid JSON: \(error.description)") }
      guard let list = json["names"]?.arrayValue?.map(\.stringValue), !list.contains(nil) else { throw bad("has no list of names") }
      guard let found = json["tensors"]?.stringValue, ["head", "probe"].contains(found) else { throw bad("must say 'head' or 'probe' as its tensors") }
      guard let tokens = json["tokens"]?.stringValue.flatMap(TokenChoice.init), tokens != .patch, let layers = json["layers"]?.integerValue, layers >= 1, layers <= config.depth else {
        throw bad("must say which tokens (cls, mean, cls+mean) and how many layers of \(config.depth) the classifier reads")
      }
      names = list.compactMap { $0 }
      settings = FeatureSettings(tokens: tokens, layers: layers)
      prefix = found
    }
    guard let weight = try tensor("\(prefix).weight"), let bias = try tensor("\(prefix).bias") else {
      if prefix == "probe" || !names.isEmpty { throw DinoError(.data, "\(path): '\(ClassifierHead.metadataKey)' names classes, but the tensors '\(prefix).weight' and '\(prefix).bias' are not there") }
      return nil
    }
    if names.isEmpty, let json = source.huggingFaceConfig { names = HuggingFaceConfig.labels(json, count: weight.shape.rank == 2 ? weight.shape[0] : 0) }
    if names.isEmpty, record == nil { names = TrainingRecord(metadata: source.metadata).classes }
    let width = config.embedDim * settings.layers * (settings.tokens == .clsAndMean ? 2 : 1)
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
    config.head = head.isPartOfNetwork ? .classifier(classes: head.classes) : nil
    weights = weights.filter { !$0.key.hasPrefix("head.") }
    extra = extra.filter { !$0.name.hasPrefix("probe.") }
    if head.isPartOfNetwork {
      weights["head.weight"] = head.weight
      weights["head.bias"] = head.bias
    } else {
      extra += [(name: "probe.weight", tensor: head.weight), (name: "probe.bias", tensor: head.bias)]
    }
    other[ClassifierHead.metadataKey] = head.json.text
    classNames = head.names
  }
}
