// Everything that can be told about a checkpoint, also of one that cannot be loaded as a model: what is wrong is a list of sentences here and no error, as long as
// the file itself can be read.

internal import DinoModels
internal import DinoTensor
internal import TorchArchive

/// What a checkpoint holds and what is wrong with it.
public struct CheckpointSummary: Sendable {
  /// What a training checkpoint has beside its networks.
  public struct Training: Sendable {
    /// Names at the top of the archive.
    public var keys: [String]
    public var epoch: Int?
    public var arguments: [(name: String, value: String)]
    public var optimizerTensors: Int
    /// Shape of the loss's centre.
    public var center: [Int]?
  }

  public let path: String
  public let format: CheckpointFormat
  public let byteCount: Int
  public let tensors: [StoredTensor]
  public let training: Training?
  /// The model; nil where the file is not one that can be loaded.
  public let checkpoint: Checkpoint?
  public private(set) var problems: [String] = []
  /// Of what kind the first problem is.
  public private(set) var problemKind = DinoError.Kind.data
  /// What to try against the first problem.
  public private(set) var hint: String?

  /// - Throws: where the file cannot be read at all, or is malformed.
  public init(path: String, choices: CheckpointChoices) throws(DinoError) {
    let source = try CheckpointSource(path: path, key: choices.key)
    self.path = path
    format = source.format
    tensors = source.tensors
    training = source.archive.flatMap(Self.training)
    byteCount = source.files.reduce(0) { $0 + Self.size($1) }
    do {
      checkpoint = try Checkpoint(source: source, choices: choices)
    } catch {
      checkpoint = nil
      let problem = DinoError(error, path: path)
      problems.append(problem.message)
      problemKind = problem.kind
      hint = problem.hint
    }
    guard let checkpoint else { return }
    do { problems += try Self.damagedTensors(checkpoint) } catch {
      problems.append(error.message)
      (problemKind, hint) = (error.kind, nil)
    }
  }

  private static func training(_ archive: TorchArchive) -> Training? {
    let keys = archive.root.keys
    guard keys.contains(where: { ["teacher", "student", "optimizer", "epoch", "args", "dino_loss"].contains($0) }) else { return nil }
    let arguments = (archive.args ?? []).map { ($0.name, $0.value.stringValue ?? $0.value.text(limit: 200)) }
    return Training(keys: keys, epoch: archive["epoch"]?.intValue, arguments: arguments, optimizerTensors: archive["optimizer"]?.tensors.count ?? 0,
                    center: archive["dino_loss"]?.tensors.first { $0.name == "center" || $0.name.hasSuffix(".center") }?.tensor.shape.dims)
  }

  private static func size(_ path: String) -> Int { (try? Storage(mapping: path).byteCount) ?? 0 }

  /// Tensors with values that are not finite: the network would give nothing else.
  private static func damagedTensors(_ checkpoint: Checkpoint) throws(DinoError) -> [String] {
    var found: [String] = []
    for (name, tensor) in try checkpoint.weights().sorted(by: { $0.key < $1.key }) {
      let bad = tensor.floats().count { !$0.isFinite }
      tensor.releasePages()
      if bad > 0 { found.append("\(checkpoint.path): the tensor '\(name)' has \(bad) values that are not finite") }
    }
    return found
  }
}
