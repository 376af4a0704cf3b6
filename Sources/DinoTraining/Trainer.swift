// One DINO training step after another on crops that somebody else makes: forward and backward as one plan, then clipping, freezing, optimizer, moving average and
// centre, in the order of main_dino.py. It knows no files and no images.

public import Dino
public import DinoKernels
public import DinoTensor
internal import DinoGraph
internal import DinoModels
internal import DinoRuntime

/// What a step found.
public struct StepReport: Sendable {
  public var step: Int
  public var values: StepValues
  public var loss: Double
  /// What the loss is the weighted sum of, in the order of the graph: dino, koleo, ibot; in distillation cls, patch, or dino.
  public var terms: [(name: String, value: Double)] = []

  /// DINO's own part of the loss: the teacher's entropy and the divergence from it.
  var viewLoss: Double { terms.first { $0.name == "dino" }?.value ?? loss }
}

public final class Trainer {
  public let settings: TrainingSettings
  public let schedule: TrainingSchedule
  /// Official names, in the order of the student's blocks; the teacher's are the same but for distillation.
  public let names: [String]
  public let teacherNames: [String]
  public let student: ParameterBlock
  public let teacher: ParameterBlock
  public let gradients: ParameterBlock
  /// AdamW's two moments; the first is also the buffer of momentum.
  public let moments: [ParameterBlock]
  /// Steps that each tensor was updated in: a frozen one's count stands still.
  public private(set) var updates: [Int]
  /// Means of the teacher's outputs that are taken away from them, [1, K]: of its class tokens, and of its patch tokens where iBOT needs them. None where features are compared.
  public let centers: [(name: String, tensor: Tensor)]
  /// Steps done.
  public private(set) var step = 0
  /// The teacher's distributions for the global crops of the last step, [2·batch, K], where there are any.
  public let teacherProbabilities: Tensor?
  /// Of the global crops of the last step, [2·batch, D], by the network that a run makes: the teacher, in distillation the student.
  public let features: Tensor

  public var threads: Int { plan.threads }
  public var flopsPerStep: Double { plan.flops }
  public var instructionSet: String { plan.instructionSet }

  /// The others, where several processes train together: each does the same step on images of its own.
  let ranks: (any Ranks)?
  var rankCount: Int { ranks?.count ?? 1 }
  /// Parts of the gradients that ranks add up, in this order, and the plan's step after which each may be sent away.
  private let parts: [(part: Range<Int>, after: Int)]
  /// What ranks add up besides gradients.
  private let sums: ParameterBlock

  private let plan: TrainingPlan
  private let loop: ParameterUpdates
  private let trainable: [Bool]
  private let decays: [Bool]
  private let isVector: [Bool]
  private let isLastLayer: [Bool]
  /// Running statistics of batch normalisation, which follow the network's own batches, and what is computed: neither the optimizer nor the average changes them.
  private let isBuffer: [Bool]
  private let statistics: [(block: ParameterBlock, mean: Int, variance: Int, found: Tensor)]
  let masks: [(name: String, rows: Int, rate: Double)]
  /// Drop-path factors for the next steps instead of drawn ones, in the graph's order: of a recorded run.
  var givenMasks: [[Float]]?
  /// Which patches the next step masks instead of drawn ones: of a recorded run.
  var givenPatches: [(patch: Int, weight: Double)]?
  /// Of all ranks' crops.
  let maskedPatches: MaskedPatches?
  /// The graph's inputs in its order, and those that the trainer fills, by name.
  private let inputNames: [String]
  private let own: [String: Tensor]
  private let loss: Tensor
  private let terms: [(name: String, tensor: Tensor)]
  /// Of what each centre is the mean: its rows' sum, and how many rows all ranks have together.
  private let centered: [(sum: Tensor, rows: Int)]

  /// - Parameters:
  ///   - weights: by official name: student and teacher start from them, in distillation the student alone.
  ///   - teacherWeights: in distillation, the teacher's.
  ///   - ranks: `settings.batch` is what one of them takes.
  public init(_ settings: TrainingSettings, stepsPerEpoch: Int, weights: [String: Tensor], teacherWeights: [String: Tensor] = [:], threads: Int = 0, kernels: String? = nil, ranks: (any Ranks)? = nil) throws(DinoError) {
    try settings.validate()
    self.settings = settings
    self.ranks = ranks
    if let ranks, ranks.count > 1 {
      // What looks at a whole batch would look at one process's part of it.
      if settings.centering != .centering { throw DinoError(.usage, "--centering \(settings.centering.rawValue) balances a whole batch, which \(ranks.count) processes do not see", hint: "use --centering centering, or one process") }
      if case .projection(let head)? = settings.config.head, head.batchNorm { throw DinoError(.usage, "--use-bn-in-head takes statistics of a whole batch, which \(ranks.count) processes do not see", hint: "leave it out, or use one process") }
    }
    schedule = TrainingSchedule(settings, stepsPerEpoch: stepsPerEpoch)
    let specs = settings.studentTensors, teacherSpecs = settings.teacherTensors, isDistilled = settings.distillation != nil
    names = specs.map(\.name)
    teacherNames = teacherSpecs.map(\.name)
    try Self.check(weights, specs, of: "the weights to start from")
    if isDistilled { try Self.check(teacherWeights, teacherSpecs, of: "the teacher") }
    do {
      let shapes = specs.map(\.shape)
      student = try ParameterBlock(shapes: shapes)
      teacher = try ParameterBlock(shapes: teacherSpecs.map(\.shape))
      gradients = try ParameterBlock(shapes: shapes)
      var moments = [try ParameterBlock(shapes: shapes)]
      if settings.optimizer == .adamw { moments.append(try ParameterBlock(shapes: shapes)) }
      self.moments = moments
      for (i, name) in names.enumerated() {
        if let tensor = weights[name] { student.set(i, to: tensor) }
      }
      if isDistilled {
        for (i, name) in teacherNames.enumerated() {
          if let tensor = teacherWeights[name] { teacher.set(i, to: tensor) }
        }
      } else {
        teacher.copy(from: student)
      }
      let k = settings.outDim, rows = 2 * settings.batch
      typealias Input = TrainingGraph.Input
      let rankCount = ranks?.count ?? 1
      maskedPatches = settings.maskedPatches(images: settings.batch * rankCount)
      // Of several processes one may have more of the masked patches, another fewer: there is room for the most.
      let masked = maskedPatches?.most(crops: rows) ?? 0
      // What the trainer fills before each step, and what it finds after it.
      var filled: [(name: String, shape: Shape)] = []
      var outputs: [String: Tensor] = [:]
      let found = try ParameterBlock(shapes: [[rows, max(k, 1)], [rows, settings.config.embedDim], [1, max(k, 1)], [1, max(k, 1)]])
      features = found.tensors[1]
      outputs[TrainingGraph.Output.features] = features
      var centers: [(name: String, tensor: Tensor)] = []
      if k > 0 {
        let ofViews: [(name: String, shape: Shape)] = [(Input.shift, [1, k]), (Input.teacherFactor, [1, 1]), (Input.studentFactor, [1])]
        filled += ofViews
        outputs[TrainingGraph.Output.targets] = found.tensors[0]
        centers.append((Self.centerName, found.tensors[2]))
      }
      teacherProbabilities = k > 0 ? found.tensors[0] : nil
      if masked > 0 {
        let ofPatches: [(name: String, shape: Shape)] = [(Input.patchShift, [1, k]), (Input.maskedPatches, [masked]), (Input.maskedTokens, [masked]), (Input.maskWeights, [masked, 1])]
        filled += ofPatches
        if rankCount > 1 { filled.append((Input.maskPresence, [masked, 1])) }
        centers.append((Self.patchCenterName, found.tensors[3]))
      }
      self.centers = centers
      let scaleName = Self.scaleName
      isBuffer = specs.map { Self.isBuffer($0.name) || $0.isComputed }
      let wanted = Set(specs.filter { !(settings.normLastLayer && $0.name == scaleName) && !Self.isBuffer($0.name) && !$0.isComputed }.map(\.name))
      trainable = names.map { wanted.contains($0) }
      decays = specs.map { !$0.name.hasSuffix(".bias") && $0.shape.rank > 1 }
      isVector = specs.map { $0.shape.rank == 1 }
      isLastLayer = names.map { $0.contains("last_layer") }
      updates = Array(repeating: 0, count: names.count)
      let built = try TrainingGraph(settings, trainable: wanted, student: student, teacher: teacher, masked: (masked, rankCount > 1), ranks: rankCount)
      masks = built.masks
      filled += built.masks.map { (name: $0.name, shape: Shape([$0.rows, 1, 1])) }
      own = Dictionary(uniqueKeysWithValues: zip(filled.map(\.name), try ParameterBlock(shapes: filled.map(\.shape)).tensors))
      inputNames = built.graph.inputs.map(\.name)
      let number: Shape = [1], row: Shape = [1, k]
      sums = try ParameterBlock(shapes: Array(repeating: number, count: 1 + built.terms.count) + Array(repeating: row, count: centers.count))
      loss = sums.tensors[0]
      // A term alone is the loss itself: one value, one place.
      let isAlone = built.terms.count == 1 && built.terms[0].weight == 1
      terms = zip(built.terms, isAlone ? [loss] : Array(sums.tensors.dropFirst())).map { ($0.name, $1) }
      centered = Array(zip(sums.tensors.suffix(centers.count), [rows * rankCount, maskedPatches?.count ?? 0])).map { (sum: $0, rows: $1) }
      outputs[TrainingGraph.Output.loss] = loss
      for term in terms where !isAlone { outputs[TrainingGraph.Output.term(term.name)] = term.tensor }
      for (name, c) in zip([TrainingGraph.Output.teacherSum, TrainingGraph.Output.teacherPatchSum], centered) { outputs[name] = c.sum }
      for (i, name) in names.enumerated() where trainable[i] { outputs[TrainingGraph.Output.gradient(name)] = gradients.tensors[i] }
      var statistics: [(block: ParameterBlock, mean: Int, variance: Int, found: Tensor)] = []
      for (network, block) in [("student", student)] + (isDistilled ? [] : [("teacher", teacher)]) {
        for (mean, name) in names.enumerated() where name.hasSuffix(Self.meanSuffix) {
          let norm = String(name.dropLast(Self.meanSuffix.count)), width = student.tensors[mean].count
          guard let variance = names.firstIndex(of: norm + Self.varianceSuffix) else { throw DinoError(.bug, "'\(norm)' has no running variance") }
          let found = try ParameterBlock(shapes: [[2, width]]).tensors[0]
          outputs[TrainingGraph.Output.statistics(network, norm)] = found
          statistics.append((block, mean, variance, found))
        }
      }
      self.statistics = statistics
      plan = try TrainingPlan(built.graph, live: built.live, outputs: outputs, options: SessionOptions(threads: threads, precision: settings.precision == .bf16 ? .bf16 : .f32, kernels: kernels))
      let settled = zip(names, trainable).map { [plan] name, isTrainable in isTrainable ? plan.settled(TrainingGraph.Output.gradient(name)) : -1 }
      parts = Self.parts(of: gradients, settled: settled)
      loop = ParameterUpdates(layout: student, table: kernels.flatMap { KernelTable.named($0) } ?? .selected, threads: plan.threads)
    } catch {
      throw DinoError(planning: error, images: settings.batch, smaller: "--batch-size-per-gpu, --local-crops-number, --out-dim or --global-size")
    }
    own[TrainingGraph.Input.studentFactor]?.overwrite(with: [Float(1 / settings.studentTemperature)])
  }

  private static func check(_ weights: [String: Tensor], _ specs: [TensorSpec], of what: String) throws(DinoError) {
    for spec in specs {
      guard let tensor = weights[spec.name] else { throw DinoError(.data, "\(what): '\(spec.name)' is missing") }
      guard tensor.shape == spec.shape, tensor.dtype.convertsToFloat else { throw DinoError(.data, "\(what): '\(spec.name)' has shape \(tensor.shape), expected \(spec.shape)") }
    }
  }

  /// Goes on from where another run was: `step` steps done, the blocks filled by the caller.
  public func restore(step: Int, updates: [Int]) {
    precondition(updates.count == names.count)
    self.step = step
    self.updates = updates
  }

  /// One step. Crops are view by view: all images' first crops, then all second ones.
  /// - Throws: where the loss or a gradient is not finite; parameters are then as before the step.
  public func run(globals: Tensor, locals: Tensor?) throws(DinoError) -> StepReport {
    let values = schedule[step]
    computeGradients(globals: globals, locals: locals, values)
    let found = meanLoss
    guard found.isFinite else {
      throw DinoError(.data, "the loss is \(found.isNaN ? "not a number" : "\(found)") at step \(step) (epoch \(values.epoch))",
                      hint: "what was saved before is intact; lower --lr\(settings.clipGradient > 0 ? "" : ", set --clip-grad"), or look at the images")
    }
    let norms = loop.squares(gradients)
    if let wrong = norms.firstIndex(where: { !$0.isFinite }) {
      throw DinoError(.data, "the gradient of '\(names[wrong])' is not finite at step \(step) (epoch \(values.epoch)), where the loss is \(found)",
                      hint: "what was saved before is intact; lower --lr, or look at the images")
    }
    update(values, squares: norms)
    step += 1
    return StepReport(step: step - 1, values: values, loss: found, terms: terms.map { ($0.name, Double($0.tensor.floats()[0]) / Double(rankCount)) })
  }

  /// Forward and backward only: fills `gradients`.
  public func computeGradients(globals: Tensor, locals: Tensor?) -> Double {
    computeGradients(globals: globals, locals: locals, schedule[step])
    return meanLoss
  }

  /// Where the time of a step's plan goes.
  public func profile(globals: Tensor, locals: Tensor?) -> [(name: String, flops: Double, seconds: Double)] {
    plan.profile(inputs(globals, locals, schedule[step])).map { ($0.name, $0.flops, $0.seconds) }
  }

  private func inputs(_ globals: Tensor, _ locals: Tensor?, _ values: StepValues) -> [Tensor] {
    for (input, center) in zip([TrainingGraph.Input.shift, TrainingGraph.Input.patchShift], centers) { own[input]?.overwrite(with: center.tensor.floats().map { -$0 }) }
    own[TrainingGraph.Input.teacherFactor]?.overwrite(with: [Float(1 / values.teacherTemperature)])
    drawPatches()
    var random = Generator(seed: settings.seed, Generator.Purpose.dropPath.rawValue, step)
    for (i, mask) in masks.enumerated() {
      guard let tensor = own[mask.name] else { continue }
      if let givenMasks {
        tensor.overwrite(with: givenMasks[i])
        continue
      }
      // Drawn for the images of all ranks, view by view; this one's are taken.
      let keep = 1 - mask.rate, drawn = (0..<mask.rows * rankCount).map { _ in random.unit() < keep ? Float(1 / keep) : 0 }
      let first = (ranks?.index ?? 0) * settings.batch
      tensor.overwrite(with: (0..<mask.rows).map { drawn[$0 / settings.batch * settings.batch * rankCount + first + $0 % settings.batch] })
    }
    return inputNames.map { name in
      guard let tensor = name == TrainingGraph.Input.globals ? globals : name == TrainingGraph.Input.locals ? locals : own[name] else { preconditionFailure("no values for the input '\(name)'") }
      return tensor
    }
  }

  /// Drawn for the images of all ranks; this one's are taken.
  private func drawPatches() {
    guard let maskedPatches else { return }
    typealias Input = TrainingGraph.Input
    var random = Generator(seed: settings.seed, Generator.Purpose.maskedPatches.rawValue, step, 0)
    let first = (ranks?.index ?? 0) * settings.batch, patches = maskedPatches.rows * maskedPatches.columns, special = settings.config.specialTokens
    let chosen = maskedPatches.part(givenPatches ?? maskedPatches.draw(&random), images: first..<first + settings.batch)
    func fill(_ name: String, empty: Float, _ value: (Int, Double) -> Float) {
      guard let tensor = own[name] else { return }
      tensor.overwrite(with: chosen.map(value) + [Float](repeating: empty, count: tensor.count - chosen.count))
    }
    fill(Input.maskedPatches, empty: -1) { patch, _ in Float(patch) }
    fill(Input.maskedTokens, empty: -1) { patch, _ in Float(patch / patches * (special + patches) + special + patch % patches) }
    // The mean over all crops of the mean over a crop's masked patches, as DINOv2 and iBOT have it: a crop without any counts as 0.
    fill(Input.maskWeights, empty: 0) { _, weight in Float(weight / Double(2 * settings.batch)) }
    fill(Input.maskPresence, empty: 0) { _, _ in 1 }
  }

  private func computeGradients(globals: Tensor, locals: Tensor?, _ values: StepValues) {
    let inputs = inputs(globals, locals, values)
    guard let ranks, ranks.count > 1 else { return plan.run(inputs) }
    // Each rank's gradients are over the number of ranks already. Those that are there travel while the backward pass computes the next.
    var next = 0
    plan.run(inputs) { [parts, gradients] step in
      while next < parts.count, parts[next].after <= step {
        ranks.begin(gradients, parts[next].part)
        next += 1
      }
      ranks.advance()
    }
    precondition(next == parts.count, "a gradient that no step completes")
    // And waits for all.
    ranks.sum(sums)
  }

  /// About sixteen parts of neighbouring tensors, the last ones first, as a backward pass has them. Which parts and in which order follows from the shapes alone, so that ranks agree
  /// whatever their machines are: a part whose turn comes late holds up those behind it.
  static func parts(of block: ParameterBlock, settled: [Int]) -> [(part: Range<Int>, after: Int)] {
    let size = max(1024, block.storage.byteCount / 4 / 16)
    var parts: [(part: Range<Int>, after: Int)] = [], end = block.ranges.last?.upperBound ?? 0, after = -1
    for (i, range) in block.ranges.enumerated().reversed() {
      after = max(after, settled[i])
      guard end - range.lowerBound >= size || i == 0 else { continue }
      parts.append((range.lowerBound..<end, after))
      end = range.lowerBound
    }
    return parts
  }

  private var meanLoss: Double { Double(loss.floats()[0]) / Double(rankCount) }

  private func update(_ values: StepValues, squares: [Double]) {
    let factors = clipFactors(squares)
    let moves = names.indices.map { trainable[$0] && !(values.freezesLastLayer && isLastLayer[$0]) }
    func decay(_ i: Int) -> Double { decays[i] ? values.weightDecay : 0 }
    switch settings.optimizer {
    case .adamw:
      for i in names.indices where moves[i] { updates[i] += 1 }
      loop.adamW(student, gradients: gradients, mean: moments[0], square: moments[1], names.indices.map { i in
        moves[i] ? .init(factor: factors[i], rate: values.rate, decay: decay(i), step: updates[i]) : nil
      })
    case .sgd:
      loop.momentum(student, gradients: gradients, buffer: moments[0], names.indices.map { i in
        moves[i] ? .init(factor: factors[i], decay: decay(i), momentum: 0.9, rate: values.rate) : nil
      })
    case .lars:
      // utils.LARS: the direction is scaled by 0.001 · ‖p‖ / ‖direction‖, except for vectors, which have no decay either.
      let directions = loop.squares(gradients, factors.map { Float($0) }, student, names.indices.map { Float(isVector[$0] ? 0 : decay($0)) })
      let lengths = loop.squares(student)
      loop.momentum(student, gradients: gradients, buffer: moments[0], names.indices.map { i in
        guard moves[i] else { return nil }
        if isVector[i] { return .init(factor: factors[i], decay: 0, momentum: 0.9, rate: values.rate) }
        let trust = directions[i] > 0 && lengths[i] > 0 ? 0.001 * (lengths[i] / directions[i]).squareRoot() : 1
        return .init(factor: factors[i] * trust, decay: decay(i) * trust, momentum: 0.9, rate: values.rate)
      })
    }
    if settings.distillation == nil { loop.blend(teacher, toward: student, keep: values.momentum, isBuffer.map { !$0 }) }
    for s in statistics {
      let found = s.found.floats(), width = found.count / 2
      for (i, new) in [(s.mean, found[..<width]), (s.variance, found[width...])] {
        s.block.tensors[i].overwrite(with: zip(s.block.tensors[i].floats(), new).map { 0.9 * $0 + 0.1 * $1 })
      }
    }
    for (center, (sum, rows)) in zip(centers, centered) {
      let m = settings.centerMomentum, all = Double(rows)
      center.tensor.overwrite(with: zip(center.tensor.floats(), sum.floats()).map { Float(Double($0) * m + Double($1) / all * (1 - m)) })
    }
  }

  /// What each gradient is multiplied by so that its norm is at most `clipGradient`.
  private func clipFactors(_ squares: [Double]) -> [Double] {
    guard settings.clipGradient > 0 else { return Array(repeating: 1, count: names.count) }
    return squares.map { min(1, settings.clipGradient / ($0.squareRoot() + 1e-6)) }
  }
}

extension Trainer {
  /// Copies of the gradients of the last step, before clipping, by official name.
  public func namedGradients() -> [(name: String, tensor: Tensor)] {
    names.indices.filter { isTrainable($0) }.map { (names[$0], Tensor(gradients.tensors[$0].floats(), shape: gradients.tensors[$0].shape)) }
  }

  /// Whether the optimizer may change a tensor at all.
  public func isTrainable(_ i: Int) -> Bool { trainable[i] }

  /// Of class tokens.
  public var center: Tensor? { centers.first?.tensor }
  static let centerName = "center", patchCenterName = "patch_center"

  fileprivate static let scaleName = "head.last_layer.weight_g", meanSuffix = ".running_mean", varianceSuffix = ".running_var"

  /// Whether a tensor is a running statistic of batch normalisation, which is no parameter.
  static func isBuffer(_ name: String) -> Bool { name.hasSuffix(meanSuffix) || name.hasSuffix(varianceSuffix) }
}
