// What a run of a network takes, said before anything is allocated: from its configuration alone, so a file is not needed and none is read.

internal import DinoGraph
public import DinoModels
public import DinoRuntime
internal import DinoTensor

/// A network whose memory is asked about.
public struct MemoryQuestion: Sendable {
  public var config: ViTConfig
  public var precision: Precision
  public var threads: Int
  /// As the model's option of this name.
  public var manyImages = false
  /// Weights that the file has as 8-bit integers; empty for a file of floats.
  var integers: Set<String> = []
  /// Bytes of weights that become floats when they are loaded, beside the packed ones.
  var expanded = 0
  /// Threads that decode photographs ahead of the runs; nil where a run's input is all there is.
  public var workers: Int?

  public init(config: ViTConfig, precision: Precision, threads: Int = 0) {
    self.config = config
    self.precision = precision
    self.threads = threads
  }

  /// Bytes for one run, the images that it reads included.
  /// - Parameter outputs: of the network; few names, as `run` takes them.
  public func bytes(batch: Int, height: Int, width: Int, outputs: [String]) throws(DinoError) -> MemoryPrediction {
    let p = config.patchSize
    guard batch > 0, height >= p, width >= p, batch <= 1 << 20, height <= 1 << 20, width <= 1 << 20 else { throw DinoError(.usage, "\(batch) images of \(height)x\(width) pixels are none that a network with patches of \(p) reads") }
    do {
      var weights: [String: Tensor] = [:], scales: [String: Tensor] = [:]
      let specs = config.tensors
      // Pages that nobody touches. Each tensor begins elsewhere, as tensors of one shape are told apart by that.
      let memory = try Storage(byteCount: (specs.map(\.shape.count).max() ?? 0) * 4 + 64 * specs.count)
      for (i, spec) in specs.enumerated() {
        let isInteger = precision == .int8 && integers.contains(spec.name)
        weights[spec.name] = Tensor(dtype: isInteger ? .i8 : .f32, shape: spec.shape, storage: memory, byteOffset: 64 * i)
        if isInteger { scales[spec.name] = Tensor(dtype: .f32, shape: [spec.shape[0]], storage: memory, byteOffset: 64 * i) }
      }
      var options = SessionOptions(threads: threads, precision: precision)
      options.manyImages = manyImages
      if !integers.isEmpty { options.keptInF32 = ViTGraphBuilder.constantNames(of: Set(config.quantizableWeights).subtracting(integers)) }
      // What does not fill a patch is not seen.
      let shape: Shape = [batch, config.inChannels, height / p * p, width / p * p]
      let graph = try ViTGraphBuilder.build(config: config, weights: weights, scales: scales, outputs: outputs)
      let estimate = try MemoryEstimate(graph, shapes: [DinoModel.inputName: shape], outputs: outputs, options: options)
      // The file's pages of the layer that is being packed.
      let layer = (integers.isEmpty ? 4 : 1) * (specs.map(\.shape.count).max() ?? 0)
      let held = workers.map { InputMemory.imagesBeside(batch: batch, workers: $0) } ?? 0
      return MemoryPrediction(estimate: estimate, layer: layer, expanded: precision == .int8 && !integers.isEmpty ? 0 : expanded,
                              images: Storage.residentBytes(shape.count * 4) + held * Storage.residentBytes(shape.count / batch * 4), other: InputMemory.running)
    } catch { throw DinoError(error, path: nil) }
  }
}

/// Bytes, by what takes them.
public struct MemoryPrediction: Sendable, Equatable {
  public var estimate: MemoryEstimate
  /// The file's pages under the largest layer, while it is packed.
  public var layer: Int
  /// Weights as floats beside the packed ones.
  public var expanded: Int
  /// The images, normalised: those of a run, and those that are decoded ahead.
  public var images: Int
  /// Small things that are not counted one by one.
  public var other: Int

  /// What the run adds, at its peak, to what the process has.
  public var bytes: Int { estimate.peak(layer: layer) + expanded + images + other }
}

extension DinoModel {
  /// This model's memory as a question.
  public var memoryQuestion: MemoryQuestion {
    var question = MemoryQuestion(config: config, precision: precision, threads: options.threads)
    question.manyImages = options.manyImages
    guard let quantized = checkpoint.quantized else { return question }
    if quantized.areInt8, precision == .int8 { question.integers = Set(quantized.entries.keys) }
    question.expanded = quantized.entries.values.reduce(0) { $0 + 4 * $1.shape.reduce(1, *) }
    return question
  }
}

/// A bound on memory, and how many images at once keep it: predictions were up to 4.2 % too low (Tests/Benchmarks/plan_memory.py), so 5 % are kept free.
public struct MemoryBudget: Sendable {
  public let bytes: Int
  /// What the process has before a run.
  public let program: Int
  private let question: MemoryQuestion
  private let outputs: [String]

  public init(bytes: Int, program: Int, question: MemoryQuestion, outputs: [String]) {
    self.bytes = bytes
    self.program = program
    self.question = question
    self.outputs = outputs
  }

  /// At most `wanted` images at once, fewer where they would not fit.
  /// - Throws: where one alone does not.
  public func batch(atMost wanted: Int, height: Int, width: Int) throws(DinoError) -> Int {
    var batch = max(wanted, 1)
    while true {
      let run = try question.bytes(batch: batch, height: height, width: width, outputs: outputs)
      let total = (program + run.bytes) / 100 * 105
      if total <= bytes { return batch }
      guard batch > 1 else {
        throw DinoError(.unavailable, "one image of \(height)x\(width) pixels takes \(megabytes(total)) in \(question.precision.rawValue), with the 5 % that are kept to spare, over the budget of \(megabytes(bytes))",
                        hint: try advice())
      }
      // Values grow with the batch: the first guess is nearly right, so few steps are needed.
      batch = min(batch - 1, max(1, batch * bytes / max(total, 1)))
    }
  }

  /// What may help where one image does not fit: a smaller one does not where one patch would not fit either.
  private func advice() throws(DinoError) -> String {
    let patch = question.config.patchSize, least = try (program + question.bytes(batch: 1, height: patch, width: patch, outputs: outputs).bytes) / 100 * 105
    let precision = question.precision == .int8 ? "" : "--precision int8 takes less"
    if least > bytes { return "program and weights alone take \(megabytes(least)), so a smaller --image-size is not enough" + (precision.isEmpty ? "; give more memory, or a smaller network" : "; \(precision)") }
    return precision.isEmpty ? "give a smaller --image-size" : "\(precision), as does a smaller --image-size"
  }
}

/// Bytes as megabytes with one decimal, rounded up: a need that is over a budget is never said to be the budget's.
private func megabytes(_ bytes: Int) -> String {
  let tenths = (bytes + 99_999) / 100_000
  return "\(tenths / 10).\(tenths % 10) MB"
}
