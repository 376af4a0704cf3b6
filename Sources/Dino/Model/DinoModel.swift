// The model that a user holds: a checkpoint, its graph and a session, made when first needed. Loading maps the file and reads names; weights are touched
// when the session packs them.

internal import CheckpointNames
internal import DinoGraph
public import DinoModels
public import DinoRuntime
public import DinoTensor
internal import Dispatch
internal import Synchronization

/// A DINO vision transformer, ready to run.
///
///     let model = try DinoModel(contentsOf: "dino_deitsmall16_pretrain.pth")
///     let feature = try model.features(ofImageAt: "photo.jpg")        // 384 numbers
///
/// It may be used from many threads: its runs take turns, each on all the threads of `Options.threads`. A run waits for its turn and computes on the thread that asks, so a task of Swift's
/// concurrency asks through `background(_:)`.
public final class DinoModel: Sendable {
  /// Choices that a file leaves open, and how to run.
  public struct Options: Sendable {
    public var checkpointKey: String?
    public var architecture: String?
    public var heads: Int?
    /// 0 for the cores that this process may use.
    public var threads = 0
    /// Nil for what the file is for: int8 where its weights are, f32 otherwise.
    public var precision: Precision?
    /// Whether throughput over many images counts more than the time of one: f32 may then be computed by products of split values, whose last bits are others. It does not matter to the
    /// bits how many images a run has.
    public var manyImages = false
    /// Graph passes to leave out, by name.
    public var disabledPasses: Set<String> = []
    /// Most bytes that N×N attention may take as an output.
    public var attentionBudget = 4 << 30
    public init() {}
  }

  public let checkpoint: Checkpoint
  public let options: Options
  private let session = Mutex<Session?>(nil)
  /// Where work of `background` is done, one after the other.
  let queue = DispatchQueue(label: "dino.model")
  /// Whether the network's last output was seen to be finite: asked for with the first attention.
  let isKnownFinite = Mutex(false)

  public var config: ViTConfig { checkpoint.config }
  /// Attention heads of a block.
  public var heads: Int { config.numHeads }
  public var hasRandomWeights: Bool { checkpoint.hasRandomWeights }
  /// The arithmetic of a run.
  public var precision: Precision { options.precision ?? (checkpoint.quantized?.areInt8 == true ? .int8 : .f32) }

  /// Opens a checkpoint: our format or plain safetensors, a PyTorch file, a Hugging Face folder, or an ONNX file that is recognised as such a network.
  public convenience init(contentsOf path: String, options: Options = Options()) throws(DinoError) {
    let choices = CheckpointChoices(key: options.checkpointKey, architecture: options.architecture, heads: options.heads)
    self.init(checkpoint: try Checkpoint(path: path, choices: choices), options: options)
  }

  public init(checkpoint: Checkpoint, options: Options = Options()) {
    self.checkpoint = checkpoint
    self.options = options
  }

  /// What a person should know about how the file was read.
  public var notes: [String] {
    var notes = checkpoint.losses + checkpoint.notes
    // A head that is kept beside the network is used, though not by it.
    let unmatched = checkpoint.resolution.unmatched.filter { !$0.hasPrefix(SegmentationHead.prefix) }
    if !unmatched.isEmpty {
      let named = unmatched.prefix(3).map { "'\($0)'" }.joined(separator: ", ")
      notes.append("\(unmatched.count) tensors of \(checkpoint.path) are not known and not used: \(named)\(unmatched.count > 3 ? ", …" : "")")
    }
    return notes
  }

  /// Names of the outputs that `run` can give.
  public var outputNames: [String] { ViTGraphBuilder.outputNames(of: config) }

  /// Name of the input: images [B, 3, H, W], normalised.
  public static let inputName = ViTGraphBuilder.inputName

  /// Runs the network on raw tensors.
  public func run(_ inputs: [String: Tensor], outputs names: [String]) throws(DinoError) -> [String: Tensor] {
    let outputs = try checked(names, for: inputs)
    do {
      // The lock is held while running: a session runs one image batch at a time, on all its threads.
      return try session.withLock { held throws -> [String: Tensor] in try opened(&held, shapes: inputs.mapValues(\.shape), outputs).run(inputs, outputs: outputs) }
    } catch { throw DinoError(error, path: nil) }
  }

  /// Makes ready a run of `images` images of height x width pixels, as the network sees them: its plan, its memory, the packed weights. The first such run then takes no longer than the next.
  /// Plans of the last few shapes are kept.
  public func warmUp(height: Int, width: Int, images: Int = 1, outputs names: [String] = ["cls"]) throws(DinoError) {
    let sides = config.patchSize...1 << 16
    guard (1...1 << 16).contains(images), sides.contains(height), sides.contains(width) else {
      throw DinoError(.usage, "\(images) images of \(height)x\(width) pixels cannot be run", hint: "at least one, of a patch of \(config.patchSize)x\(config.patchSize)")
    }
    try InputMemory.check(images: images, height: height, width: width)
    let shape: Shape = [images, config.inChannels, height, width]
    _ = try run([Self.inputName: Tensor([Float](repeating: 0, count: shape.count), shape: shape)], outputs: names)
  }

  /// The session, made when first asked for. Weights are packed then, and the file's pages are not needed beside what they became.
  private func opened(_ held: inout Session?, shapes: [String: Shape], _ outputs: [String]) throws -> Session {
    if let session = held { return session }
    let made = try makeSession()
    _ = try made.plan(shapes: shapes, outputs: outputs)
    made.graph.releasePages()
    held = made
    return made
  }

  /// The outputs, each once; refuses names that are not there and what would not fit.
  private func checked(_ names: [String], for inputs: [String: Tensor]) throws(DinoError) -> [String] {
    var outputs: [String] = []
    for name in names where !outputs.contains(name) { outputs.append(name) }
    for name in outputs where !outputNames.contains(name) {
      throw DinoError(.usage, "there is no output '\(name)'", hint: "outputs are \(ViTGraphBuilder.outputNames(of: config).prefix(8).joined(separator: ", ")), …")
    }
    try checkAttention(inputs, outputs)
    return outputs
  }

  /// One step of a profiled run.
  public struct StepTime: Sendable {
    public var name: String
    /// Multiply-adds count two.
    public var flops: Double
    public var seconds: Double
  }

  /// Runs once with a clock around each step.
  public func profile(_ inputs: [String: Tensor], outputs names: [String]) throws(DinoError) -> [StepTime] {
    let outputs = try checked(names, for: inputs)
    do {
      return try session.withLock { held throws -> [StepTime] in
        let session = try held ?? makeSession()
        held = session
        return try session.profile(inputs, outputs: outputs).steps.map { StepTime(name: $0.name, flops: $0.flops, seconds: $0.seconds) }
      }
    } catch { throw DinoError(error, path: nil) }
  }

  /// Bytes of a run on an input of this shape: packed weights and values.
  func runMemory(shape: Shape, outputs: [String]) throws(DinoError) -> Int {
    do {
      return try session.withLock { held throws -> Int in
        let session = try held ?? makeSession()
        held = session
        let plan = try session.plan(shapes: [Self.inputName: shape], outputs: outputs)
        return plan.arenaBytes + plan.weightBytes
      }
    } catch { throw DinoError(error, path: nil) }
  }

  private func makeSession() throws -> Session {
    var running = SessionOptions(threads: options.threads, precision: precision, disabledPasses: options.disabledPasses)
    running.manyImages = options.manyImages
    guard precision == .int8, let quantized = checkpoint.quantized, quantized.areInt8 else {
      return try Session(ViTGraphBuilder.build(config: config, weights: checkpoint.weights()), options: running)
    }
    // What the file left in floats is there because 8 bits would lose too much.
    running.keptInF32 = ViTGraphBuilder.constantNames(of: Set(config.quantizableWeights).subtracting(quantized.entries.keys))
    let (values, scales) = try checkpoint.storedWeights()
    return try Session(ViTGraphBuilder.build(config: config, weights: values, scales: scales), options: running)
  }

  /// Refuses N×N attention that would not fit the budget, before anything is run.
  private func checkAttention(_ inputs: [String: Tensor], _ outputs: [String]) throws(DinoError) {
    guard let shape = inputs[Self.inputName]?.shape, shape.rank == 4 else { return }
    let full = outputs.count { $0 == "attention" || $0.hasPrefix("attention.") }
    guard full > 0 else { return }
    let tokens = config.specialTokens + (shape[2] / config.patchSize) * (shape[3] / config.patchSize)
    let bytes = Double(full) * Double(shape[0]) * Double(config.numHeads) * Double(tokens) * Double(tokens) * 4
    guard bytes <= Double(options.attentionBudget) else {
      throw DinoError(.unavailable, "attention of \(tokens) × \(tokens) tokens in \(config.numHeads) heads takes \(Int(bytes / 1e6)) MB, over the budget of \(options.attentionBudget / 1_000_000) MB",
                      hint: "attention_cls gives the class token's row at any size")
    }
  }

  /// One line that changes when the weights' files or the network's form do, wherever that is said; for deciding whether earlier results are of the same model.
  public var identity: String {
    let files = checkpoint.source.files.map(fileStamp).joined(separator: ", "), form = (try? config.json()) ?? "-"
    return "\(checkpoint.path) \(files) \(checkpoint.branch ?? "-") \(form) \(precision.rawValue)"
  }
}

extension DinoModel {
  /// Floating-point operations of one image of this size: two for each multiply-add of the linear layers and of attention.
  public func flops(height: Int, width: Int, outputs: [String]) throws(DinoError) -> Double {
    do {
      let int8 = checkpoint.quantized?.areInt8 == true
      let graph = try ViTGraphBuilder.build(config: config, weights: int8 ? checkpoint.storedWeights().values : checkpoint.weights(), outputs: outputs)
      return Double(graph.totalFlops(shapes: try graph.inferShapes(inputs: [Self.inputName: [1, config.inChannels, height, width]])))
    } catch { throw DinoError(error, path: nil) }
  }
}
