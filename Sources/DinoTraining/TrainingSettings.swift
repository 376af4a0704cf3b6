// Everything that decides what a training computes, under the meaning of main_dino.py's flags. Values and their limits; nothing runs here.

public import Dino
public import DinoModels
internal import DinoTensor

public struct TrainingSettings: Sendable, Equatable {
  public enum Optimizer: String, Sendable, CaseIterable { case adamw, sgd, lars }
  /// What keeps the teacher from saying the same of all images: the original's centre, or DINOv2's Sinkhorn-Knopp.
  public enum Centering: String, Sendable, CaseIterable { case centering, sinkhornKnopp = "sinkhorn_knopp" }
  /// What products of linear layers, and their gradients, round their operands to. Sums, parameters and all else are f32.
  public enum Precision: String, Sendable, CaseIterable { case f32, bf16 }

  public enum MaskShape: String, Sendable, CaseIterable { case block, random }

  /// The network, projection head included.
  public var config: ViTConfig
  public var batch = 64
  public var globalSize = 224
  public var localSize = 96
  public var localCrops = 8
  public var optimizer = Optimizer.adamw
  /// The rate at the end of the warm-up: already scaled by the batch.
  public var rate = 0.0005
  /// What `rate` was scaled from, for 256 images a step; nil where it was not scaled.
  public private(set) var givenRate: Double?
  public var leastRate = 1e-6
  public var warmupEpochs = 10
  public var epochs = 100
  public var weightDecay = 0.04
  public var weightDecayEnd = 0.4
  /// Of each parameter's gradient, by its own norm; 0 for none.
  public var clipGradient = 3.0
  public var freezeLastLayer = 1
  public var normLastLayer = true
  public var teacherMomentum = 0.996
  public var warmupTeacherTemperature = 0.04
  public var teacherTemperature = 0.04
  public var warmupTeacherTemperatureEpochs = 0
  public var studentTemperature = 0.1
  public var centerMomentum = 0.9
  public var centering = Centering.centering
  /// DINOv2's KoLeo term, which spreads features; 0 for none.
  public var koleoWeight = 0.0
  /// iBOT's term: the teacher's distributions of patches that the student does not see; 0 for none.
  public var ibotWeight = 0.0
  /// The share of global crops that have masked patches, and the least and largest share of a crop's patches.
  public var maskProbability = 0.5
  public var maskRatios = 0.1...0.5
  public var maskShape = MaskShape.block
  /// Learning from a network that stands still; nil where the teacher follows the student.
  public var distillation: Distillation?
  public var dropPath = 0.1
  public var precision = Precision.f32
  public var seed: UInt64 = 0

  public init(config: ViTConfig) { self.config = config }

  /// Sets the rate from that for 256 images a step.
  /// - Parameter images: of a step, of all processes.
  public mutating func scaleRate(_ given: Double, images: Int) {
    givenRate = given
    rate = given * Double(images) / 256
  }

  /// The rate as --lr has it.
  var statedRate: Double { givenRate ?? rate }

  /// Views of an image that the student sees.
  public var views: Int { 2 + localCrops }
  /// K; 0 where nothing is compared by distributions.
  public var outDim: Int { if case .projection(let head)? = config.head { head.outDim } else { 0 } }
  var teacherConfig: ViTConfig { distillation?.teacher ?? config }
  /// All that the optimizer sees, in the order in which a forward pass meets it, which is that of the official state dictionary between what only training has: the other way round
  /// their gradients come.
  public var studentTensors: [TensorSpec] {
    (ibotWeight > 0 ? [TensorSpec(name: Self.maskToken, shape: [1, config.embedDim], start: .constant(0))] : []) + config.tensors + (distillation?.tensors(studentWidth: config.embedDim) ?? [])
  }
  public var teacherTensors: [TensorSpec] { distillation?.teacher.tensors ?? studentTensors }
  /// DINOv2's name of it.
  static let maskToken = "mask_token"

  /// What iBOT masks in the global crops of a step of so many images; nil without it.
  func maskedPatches(images: Int) -> MaskedPatches? {
    guard ibotWeight > 0 else { return nil }
    let side = globalSize / config.patchSize
    return MaskedPatches(crops: 2 * images, rows: side, columns: side, probability: maskProbability, ratios: maskRatios, shape: maskShape)
  }

  public func validate() throws(DinoError) {
    func fail(_ flag: String, _ what: String) -> DinoError { DinoError(.usage, "\(flag) \(what)") }
    guard distillation?.loss == .features || outDim > 0 else { throw DinoError(.bug, "training needs a projection head") }
    if distillation?.loss == .features && config.head != nil { throw DinoError(.bug, "features are compared without a head") }
    do { try config.validate() } catch { throw DinoError(error, path: nil) }
    if batch < 1 || batch > 65_536 { throw fail("--batch-size", "must be from 1 to 65536, not \(batch)") }
    if localCrops < 0 || localCrops > 62 { throw fail("--local-crops-number", "must be from 0 to 62, not \(localCrops)") }
    if outDim == 1 { throw fail("--out-dim", "must be at least 2, not 1: of one output there is nothing to choose") }
    if freezeLastLayer < 0 { throw fail("--freeze-last-layer", "must be a number of epochs from 0 on, not \(freezeLastLayer)") }
    // Nothing has the size of local crops where there are none.
    for (flag, size) in [("--global-size", globalSize)] + (localCrops > 0 ? [("--local-size", localSize)] : []) where size < config.patchSize || size > 4096 {
      throw fail(flag, "must be from one patch (\(config.patchSize)) to 4096 pixels, not \(size)")
    }
    for (flag, value) in [("--lr", statedRate), ("--min-lr", leastRate), ("--weight-decay", weightDecay), ("--weight-decay-end", weightDecayEnd), ("--clip-grad", clipGradient)]
    where !(value >= 0 && value.isFinite) { throw fail(flag, "must be a number from 0 on, not \(value)") }
    for (flag, value) in [("--teacher-temp", teacherTemperature), ("--warmup-teacher-temp", warmupTeacherTemperature), ("--student-temp", studentTemperature)]
    where !(value > 0 && value.isFinite) { throw fail(flag, "must be above 0, not \(value)") }
    for (flag, value) in [("--momentum-teacher", teacherMomentum), ("--center-momentum", centerMomentum)] where !(0...1).contains(value) {
      throw fail(flag, "must be from 0 to 1, not \(value)")
    }
    if !(koleoWeight >= 0 && koleoWeight.isFinite) { throw fail("--koleo-loss-weight", "must be a number from 0 on, not \(koleoWeight)") }
    if koleoWeight > 0 && batch < 2 { throw fail("--koleo-loss-weight", "needs batches of two images at least") }
    if !(ibotWeight >= 0 && ibotWeight.isFinite) { throw fail("--ibot-loss-weight", "must be a number from 0 on, not \(ibotWeight)") }
    if !(maskProbability > 0 && maskProbability <= 1) { throw fail("--ibot-mask-sample-probability", "must be above 0 and at most 1, not \(maskProbability)") }
    if !(maskRatios.lowerBound > 0 && maskRatios.upperBound <= 1) { throw fail("--ibot-mask-ratio-min-max", "must be two shares above 0 and at most 1, not \(maskRatios)") }
    if ibotWeight > 0 {
      if maskedPatches(images: batch)?.count == 0 { throw fail("--ibot-mask-sample-probability", "\(maskProbability) masks none of \(2 * batch) crops") }
      if case .projection(let head)? = config.head, head.batchNorm { throw fail("--ibot-loss-weight", "goes without --use-bn-in-head: one head for class and patch tokens would have two statistics") }
    }
    if let distillation {
      for config in [distillation.teacher] { do { try config.validate() } catch { throw DinoError(error, path: nil) } }
      if let reason = distillation.contradiction(self) { throw DinoError(.usage, reason) }
    }
    if !(dropPath >= 0 && dropPath < 1) { throw fail("--drop-path-rate", "must be from 0 to below 1, not \(dropPath)") }
    if epochs < 1 || epochs > 100_000 { throw fail("--epochs", "must be from 1 to 100000, not \(epochs)") }
    if warmupEpochs < 0 || warmupEpochs > epochs { throw fail("--warmup-epochs", "must be from 0 to the \(epochs) epochs there are, not \(warmupEpochs)") }
    if warmupTeacherTemperatureEpochs < 0 || warmupTeacherTemperatureEpochs > epochs {
      throw fail("--warmup-teacher-temp-epochs", "must be from 0 to the \(epochs) epochs there are, not \(warmupTeacherTemperatureEpochs)")
    }
  }
}
