// The linear classifiers that facebookresearch/dino's eval_linear.py makes and publishes (dino_*_linearweights.pth): one layer in a file of its own, without the network whose features it
// reads, and without a word about which these are. Their width says it, by that script's rules.

internal import CheckpointNames
public import DinoModels
internal import DinoTensor

/// A classifier of the original's, read from its file.
public struct OfficialClassifier: Sendable {
  public let path: String
  private let weight: Tensor
  private let bias: Tensor

  private static let names = (weight: "linear.weight", bias: "linear.bias"), prefix = "module."

  public init(path: String) throws(DinoError) {
    let source = try CheckpointSource(path: path, key: nil), stored = Set(source.tensors.map(\.name))
    let prefix = stored.contains(Self.prefix + Self.names.weight) ? Self.prefix : ""
    guard let weight = try source.tensor(prefix + Self.names.weight), let bias = try source.tensor(prefix + Self.names.bias) else {
      throw DinoError(.data, "\(path) is no classifier of the original's eval_linear.py: it has no 'linear.weight' and 'linear.bias'", hint: "a model that holds its classifier is named as --model alone")
    }
    guard weight.shape.rank == 2, bias.shape == [weight.shape[0]], weight.shape[0] >= 1, weight.dtype.convertsToFloat, bias.dtype.convertsToFloat else {
      throw DinoError(.data, "\(path): its classifier is \(weight.shape) with a bias \(bias.shape), where [classes, features] and [classes] are expected")
    }
    (self.path, self.weight, self.bias) = (path, weight, bias)
  }

  /// Whether a file is one: for who names it where a model is expected.
  public static func isOne(_ path: String) -> Bool { (try? OfficialClassifier(path: path)) != nil }

  /// The classifier for the features of a network.
  /// - Parameter withMean: whether it was made with --avgpool_patchtokens, which the script takes with one block alone; nil where the width is to say it: twice the
  ///   network's could also be two blocks, which no published classifier reads.
  public func head(for config: ViTConfig, withMean: Bool? = nil) throws(DinoError) -> ClassifierHead {
    let d = config.embedDim, width = weight.shape[1], blocks = width / d
    let withMean = withMean ?? (blocks == 2)
    guard width % d == 0, blocks >= 1, withMean ? blocks == 2 : blocks <= config.depth else {
      let expected = withMean ? "\(2 * d), the class token and the mean of the patch tokens" : "\(d) to \(config.depth * d) in steps of \(d), the class tokens of its last blocks"
      throw DinoError(.data, "\(path): its classifier reads features of \(width) numbers, which are not the model's: expected are \(expected)", hint: "name the model that it was learnt with; --avgpool-patchtokens says what it reads where the width leaves a choice")
    }
    guard withMean else { return ClassifierHead(names: [], settings: FeatureSettings(tokens: .cls, layers: blocks), weight: weight, bias: bias) }
    // The script puts the two beside each other number by number: class 0, mean 0, class 1, mean 1…
    let values = weight.floats()
    var ordered: [Float] = []
    ordered.reserveCapacity(values.count)
    for row in stride(from: 0, to: values.count, by: width) {
      for part in 0..<2 { for i in 0..<d { ordered.append(values[row + 2 * i + part]) } }
    }
    return ClassifierHead(names: [], settings: FeatureSettings(tokens: .clsAndMean, layers: 1), weight: Tensor(ordered, shape: weight.shape), bias: bias)
  }

  /// What one of its heads reads, in words.
  public func text(of head: ClassifierHead) -> String {
    if head.settings.tokens == .clsAndMean { return "the class token of the last block and the mean of its patch tokens" }
    return head.settings.layers == 1 ? "the class token of the last block" : "the class tokens of the last \(head.settings.layers) blocks"
  }
}
