// Everything that decides what a supervised training of a whole network computes, under the names that BEiT's, MAE's and timm's fine-tuning scripts have. Values, their limits,
// and the rates that follow from them; nothing runs here.

public import Dino
public import DinoModels
internal import DinoTensor

public struct FinetuneSettings: Sendable, Equatable {
  /// The network with its classifier.
  public var config: ViTConfig
  public var batch = 64
  /// Side of the crops.
  public var size = 224
  /// The rate of the last layer at the end of the warm-up: already scaled by the batch.
  public var rate = 0.0005
  /// What `rate` was scaled from, for 256 images a step; nil where it was not scaled.
  public private(set) var givenRate: Double?
  public var leastRate = 1e-6
  public var epochs = 50
  public var warmupEpochs = 5
  public var weightDecay = 0.05
  /// What the rate is multiplied by from each block to the one before it; 1 for the same everywhere.
  public var layerDecay = 0.75
  public var dropPath = 0.1
  public var labelSmoothing = 0.1
  /// Largest norm of all gradients together; 0 for none.
  public var clipGradient = 0.0
  public var precision = TrainingSettings.Precision.f32
  public var seed: UInt64 = 0

  public init(config: ViTConfig) { self.config = config }

  /// Sets the rate from that for 256 images a step.
  public mutating func scaleRate(_ given: Double) {
    givenRate = given
    rate = given * Double(batch) / 256
  }

  /// The rate as --lr has it.
  var statedRate: Double { givenRate ?? rate }

  public var classes: Int { if case .classifier(let classes)? = config.head { classes } else { 0 } }

  public func validate() throws(DinoError) {
    func fail(_ flag: String, _ what: String) -> DinoError { DinoError(.usage, "\(flag) \(what)") }
    guard classes >= 2 else { throw DinoError(.data, "\(classes) class to tell apart, where at least 2 are needed", hint: "put the images of each class into a folder of its own") }
    do { try config.validate() } catch { throw DinoError(error, path: nil) }
    if batch < 1 || batch > 65_536 { throw fail("--batch-size", "must be from 1 to 65536, not \(batch)") }
    if size < config.patchSize || size > 4096 { throw fail("--image-size", "must be from one patch (\(config.patchSize)) to 4096 pixels, not \(size)") }
    for (flag, value) in [("--lr", statedRate), ("--min-lr", leastRate), ("--weight-decay", weightDecay), ("--clip-grad", clipGradient)] where !(value >= 0 && value.isFinite) {
      throw fail(flag, "must be a number from 0 on, not \(value)")
    }
    if !(layerDecay > 0 && layerDecay <= 1) { throw fail("--layer-decay", "must be above 0 and at most 1, not \(layerDecay)") }
    if !(dropPath >= 0 && dropPath < 1) { throw fail("--drop-path-rate", "must be from 0 to below 1, not \(dropPath)") }
    if !(labelSmoothing >= 0 && labelSmoothing < 1) { throw fail("--label-smoothing", "must be from 0 to below 1, not \(labelSmoothing)") }
    if epochs < 1 || epochs > 100_000 { throw fail("--epochs", "must be from 1 to 100000, not \(epochs)") }
    if warmupEpochs < 0 || warmupEpochs > epochs { throw fail("--warmup-epochs", "must be from 0 to the \(epochs) epochs there are, not \(warmupEpochs)") }
  }

  /// The rate of every step, of the last layer.
  public func rates(stepsPerEpoch: Int) -> [Double] {
    Schedules.cosine(base: rate, end: leastRate, count: epochs * stepsPerEpoch, warmup: warmupEpochs * stepsPerEpoch)
  }

  /// The factor of a tensor's rate: the published rule (get_layer_id_for_vit of BEiT and MAE): what embeds is layer 0, block i is layer i + 1, what follows the blocks is the last,
  /// whose factor is 1; each layer before has that of the next times `layerDecay`.
  public func rateFactor(_ name: String) -> Double {
    let last = config.depth + 1
    var layer = last
    if Self.learnedTokens.contains(name) || name.hasPrefix("patch_embed.") { layer = 0 }
    if name.hasPrefix("blocks."), let block = name.split(separator: ".").dropFirst().first.flatMap({ Int($0) }) { layer = block + 1 }
    return (layer..<last).reduce(1) { factor, _ in factor * layerDecay }
  }

  /// Whether a tensor decays: not vectors, and neither the class token nor positions, as there, nor registers.
  public static func decays(_ spec: TensorSpec) -> Bool { spec.shape.rank > 1 && !learnedTokens.contains(spec.name) }
  private static let learnedTokens: Set = ["cls_token", "register_tokens", "pos_embed"]

  /// Follows from the images.
  static let classesFlag = "classes"

  /// Every setting under its flag.
  public func listed(stepsPerEpoch: Int) -> [(flag: String, value: String)] {
    [
      ("--patch-size", "\(config.patchSize)"), ("--width", "\(config.embedDim)"), ("--depth", "\(config.depth)"), ("--heads", "\(config.numHeads)"), (Self.classesFlag, "\(classes)"),
      ("--batch-size", "\(batch)"), ("--image-size", "\(size)"), ("--lr", "\(statedRate)"), ("--min-lr", "\(leastRate)"), ("--epochs", "\(epochs)"), ("--warmup-epochs", "\(warmupEpochs)"),
      ("--weight-decay", "\(weightDecay)"), ("--layer-decay", "\(layerDecay)"), ("--drop-path-rate", "\(dropPath)"), ("--label-smoothing", "\(labelSmoothing)"),
      ("--clip-grad", "\(clipGradient)"), ("--precision", precision.rawValue), ("--seed", "\(seed)"), (RecordedFlags.steps, "\(stepsPerEpoch)"),
    ]
  }
}
