// One supervised step after another on crops and labels that somebody else makes: forward and backward as one plan, then clipping and AdamW with a rate for each layer. It
// knows no files and no images.

public import Dino
public import DinoKernels
public import DinoTensor
internal import DinoGraph
internal import DinoModels
internal import DinoRuntime

/// What a supervised step found.
public struct FinetuneReport: Sendable {
  public var step: Int
  public var epoch: Int
  /// Of the last layer.
  public var rate: Double
  public var loss: Double
  /// Crops that were given their class, before the step changed anything.
  public var correct: Int
}

public final class Finetuner {
  public let settings: FinetuneSettings
  public let stepsPerEpoch: Int
  /// Official names, in the order of the blocks.
  public let names: [String]
  public let weights: ParameterBlock
  public let gradients: ParameterBlock
  /// AdamW's two moments.
  public let moments: [ParameterBlock]
  /// Steps done.
  public private(set) var step = 0
  public var count: Int { rates.count }
  public var threads: Int { plan.threads }
  public var instructionSet: String { plan.instructionSet }

  private let rates: [Double]
  private let factors: [Double]
  private let decays: [Bool]
  private let plan: TrainingPlan
  private let loop: ParameterUpdates
  private let masks: [(name: String, rate: Double)]
  private let maskTensors: [Tensor]
  /// Drop-path factors for the next step instead of drawn ones: of a recorded run.
  var givenMasks: [[Float]]?
  private let targets: Tensor
  private let loss: Tensor
  private let logits: Tensor

  /// - Parameter weights: by official name, the classifier among them.
  public init(_ settings: FinetuneSettings, stepsPerEpoch: Int, weights start: [String: Tensor], threads: Int = 0, kernels: String? = nil) throws(DinoError) {
    try settings.validate()
    self.settings = settings
    self.stepsPerEpoch = stepsPerEpoch
    rates = settings.rates(stepsPerEpoch: stepsPerEpoch)
    let specs = settings.config.tensors
    names = specs.map(\.name)
    factors = names.map { settings.rateFactor($0) }
    decays = specs.map { FinetuneSettings.decays($0) }
    for spec in specs {
      guard let tensor = start[spec.name] else { throw DinoError(.data, "the weights to start from lack '\(spec.name)'") }
      guard tensor.shape == spec.shape, tensor.dtype.convertsToFloat else { throw DinoError(.data, "the weight to start from '\(spec.name)' has shape \(tensor.shape), expected \(spec.shape)") }
    }
    do {
      let shapes = specs.map(\.shape)
      weights = try ParameterBlock(shapes: shapes)
      gradients = try ParameterBlock(shapes: shapes)
      moments = [try ParameterBlock(shapes: shapes), try ParameterBlock(shapes: shapes)]
      for (i, name) in names.enumerated() {
        if let tensor = start[name] { weights.set(i, to: tensor) }
      }
      let small = try ParameterBlock(shapes: [[settings.batch, settings.classes], [1], [settings.batch, settings.classes]])
      (targets, loss, logits) = (small.tensors[0], small.tensors[1], small.tensors[2])
      let built = try FinetuneGraph(settings, names: names, weights: weights)
      masks = built.masks
      maskTensors = try ParameterBlock(shapes: built.masks.map { _ in [settings.batch, 1, 1] }).tensors
      var outputs = [FinetuneGraph.Output.loss: loss, FinetuneGraph.Output.logits: logits]
      for (i, name) in names.enumerated() where !specs[i].isComputed { outputs[FinetuneGraph.Output.gradient(name)] = gradients.tensors[i] }
      plan = try TrainingPlan(built.graph, live: built.live, outputs: outputs, options: SessionOptions(threads: threads, precision: settings.precision == .bf16 ? .bf16 : .f32, kernels: kernels))
      loop = ParameterUpdates(layout: weights, table: kernels.flatMap { KernelTable.named($0) } ?? .selected, threads: plan.threads)
    } catch { throw DinoError(planning: error, images: settings.batch, smaller: "--batch-size or --image-size") }
  }

  /// Goes on from where another run was: the blocks are filled by the caller.
  public func restore(step: Int) { self.step = step }

  /// One step on crops [B,C,H,W] and the class of each.
  /// - Throws: where the loss or the gradient is not finite; parameters are then as before the step.
  public func run(crops: Tensor, labels: [Int]) throws(DinoError) -> FinetuneReport {
    let found = computeGradients(crops: crops, labels: labels), rate = rates[step], epoch = step / stepsPerEpoch
    guard found.isFinite else {
      throw DinoError(.data, "the loss is \(found.isNaN ? "not a number" : "\(found)") at step \(step) (epoch \(epoch))", hint: "what was saved before is intact; lower --lr\(settings.clipGradient > 0 ? "" : ", set --clip-grad"), or look at the images")
    }
    let correct = zip(labels, Self.largest(logits)).count { $0 == $1 }
    let norm = loop.squares(gradients).reduce(0, +).squareRoot()
    guard norm.isFinite else {
      throw DinoError(.data, "the gradient is not finite at step \(step) (epoch \(epoch)), where the loss is \(found)", hint: "what was saved before is intact; lower --lr, or look at the images")
    }
    // The norm of all together is at most `clipGradient`.
    let factor = settings.clipGradient > 0 ? min(1, settings.clipGradient / (norm + 1e-6)) : 1
    step += 1
    loop.adamW(weights, gradients: gradients, mean: moments[0], square: moments[1], names.indices.map {
      .init(factor: factor, rate: rate * factors[$0], decay: decays[$0] ? settings.weightDecay : 0, step: step)
    })
    return FinetuneReport(step: step - 1, epoch: epoch, rate: rate, loss: found, correct: correct)
  }

  /// Forward and backward only: fills `gradients`. The mean loss of the batch.
  public func computeGradients(crops: Tensor, labels: [Int]) -> Double {
    precondition(labels.count == settings.batch && labels.allSatisfy { $0 >= 0 && $0 < settings.classes })
    // Smoothed: (1 - ε) at the class and ε / K at each, over the rows of the batch, so that the sum is a mean.
    let k = settings.classes, rows = Double(settings.batch), rest = settings.labelSmoothing / Double(k)
    var rowsOfTargets = [Float](repeating: Float(rest / rows), count: labels.count * k)
    for (row, label) in labels.enumerated() { rowsOfTargets[row * k + label] = Float((1 - settings.labelSmoothing + rest) / rows) }
    targets.overwrite(with: rowsOfTargets)
    var random = Generator(seed: settings.seed, Generator.Purpose.dropPath.rawValue, step)
    for (i, (mask, tensor)) in zip(masks, maskTensors).enumerated() {
      let keep = 1 - mask.rate
      tensor.overwrite(with: givenMasks?[i] ?? (0..<settings.batch).map { _ in random.unit() < keep ? Float(1 / keep) : 0 })
    }
    plan.run([crops, targets] + maskTensors)
    return Double(loss.floats()[0])
  }

  /// The first largest of each row.
  private static func largest(_ logits: Tensor) -> [Int] {
    let x = logits.floats(), k = logits.shape[1]
    return stride(from: 0, to: x.count, by: k).map { start in (0..<k).reduce(0) { x[start + $1] > x[start + $0] ? $1 : $0 } }
  }
}
