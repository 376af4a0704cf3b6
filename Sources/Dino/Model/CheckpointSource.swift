// A checkpoint opened, before any name means anything: the tensors of its file with their own names, and whatever the file says about
// itself. Tensors stay in the mapped file until they are asked for.

internal import DinoModels
public import DinoTensor
internal import Safetensors
internal import TorchArchive

/// A tensor as a file lists it.
public struct StoredTensor: Sendable, Equatable {
  public var name: String
  public var dtype: DType
  public var shape: [Int]

  public init(name: String, dtype: DType, shape: [Int]) {
    self.name = name
    self.dtype = dtype
    self.shape = shape
  }
}

/// An opened checkpoint file or folder.
struct CheckpointSource: Sendable {
  enum Contents: Sendable {
    case safetensors(SafetensorsFile)
    case sharded(ShardedSafetensors)
    case torch(TorchArchive, [String: TorchTensor])
    case recovered([String: Tensor])
  }

  let path: String
  let format: CheckpointFormat
  let contents: Contents
  /// The one file that holds the weights; nil for shards.
  let file: String?
  /// The tensors of the chosen network, in file order.
  let tensors: [StoredTensor]
  /// `__metadata__` of a safetensors file.
  let metadata: [String: String]
  /// config.json of a Hugging Face folder, and the folder.
  let huggingFaceConfig: JSONValue?
  let configFolder: String?
  /// Which part of a PyTorch archive the tensors are from: "teacher", "student", "state_dict"; nil for the whole.
  let key: String?
  /// What an ONNX file did not give as it was, and what else is worth knowing about it.
  let losses: [String]
  let notes: [String]

  /// - Parameter key: `teacher` or `student`; nil takes the teacher where there is one.
  init(path: String, key: String?) throws(DinoError) {
    let (format, file) = try CheckpointFormat.detect(path)
    self.path = path
    self.format = format
    self.file = file == path && format == .huggingFace ? nil : file
    var losses: [String] = [], notes: [String] = [], folder = format == .huggingFace ? path : nil
    do {
      switch format {
      case .safetensors:
        let opened = try SafetensorsFile(path: file)
        contents = .safetensors(opened)
        metadata = opened.metadata
        let beside = ModelRecord.isPresent(in: opened.metadata) ? nil : Self.configuration(beside: path, notes: &notes)
        huggingFaceConfig = beside?.config
        folder = beside?.folder
        tensors = opened.entries.map { StoredTensor(name: $0.name, dtype: $0.dtype, shape: $0.shape.dims) }
        self.key = nil
      case .huggingFace:
        huggingFaceConfig = try Self.readJSON("\(path)/config.json")
        if file == path {
          let shards = try ShardedSafetensors(folder: path)
          contents = .sharded(shards)
          metadata = shards.metadata
          tensors = shards.names.compactMap { name in shards.tensor(name).map { StoredTensor(name: name, dtype: $0.dtype, shape: $0.shape.dims) } }
          self.key = nil
        } else if file.hasSuffix(".bin") {
          (contents, tensors, self.key) = try Self.openTorch(file, key: key, path: path)
          metadata = [:]
        } else {
          let opened = try SafetensorsFile(path: file)
          contents = .safetensors(opened)
          metadata = opened.metadata
          tensors = opened.entries.map { StoredTensor(name: $0.name, dtype: $0.dtype, shape: $0.shape.dims) }
          self.key = nil
        }
      case .torchZip, .torchLegacy:
        (contents, tensors, self.key) = try Self.openTorch(file, key: key, path: path)
        metadata = [:]
        let beside = Self.configuration(beside: path, notes: &notes)
        huggingFaceConfig = beside?.config
        folder = beside?.folder
      case .onnx:
        let recovered = try OnnxCheckpoint(path: file)
        contents = .recovered(recovered.tensors)
        tensors = recovered.stored
        metadata = recovered.metadata
        (losses, notes) = (recovered.losses, recovered.notes)
        huggingFaceConfig = nil
        self.key = nil
      }
      (self.losses, self.notes) = (losses, notes)
      configFolder = folder
    } catch {
      throw DinoError(error, path: path)
    }
    if tensors.isEmpty { throw DinoError(.data, "\(path): it holds no tensors") }
  }

  /// One tensor: a view of the file where the file's bytes allow it.
  func tensor(_ name: String) throws(DinoError) -> Tensor? {
    switch contents {
    case .safetensors(let file): return file.tensor(name)
    case .sharded(let files): return files.tensor(name)
    case .recovered(let tensors): return tensors[name]
    case .torch(_, let state):
      do { return try state[name]?.tensor() } catch { throw DinoError(error, path: path) }
    }
  }

  /// The files that hold the weights.
  var files: [String] {
    if case .sharded(let files) = contents { files.shards.map { "\(files.folder)/\($0)" } } else { [file ?? path] }
  }

  /// The archive behind a `.pth`.
  var archive: TorchArchive? { if case .torch(let archive, _) = contents { archive } else { nil } }

  /// Parts of a checkpoint that hold a network, most wanted first.
  private static let networks = ["teacher", "student", "state_dict", "model_state_dict", "model"]

  private static func openTorch(_ file: String, key: String?, path: String) throws -> (Contents, [StoredTensor], String?) {
    let archive = try TorchArchive(path: file)
    let chosen = try choose(archive, key: key, path: path)
    let state = try archive.stateDict(at: chosen.map { [$0] } ?? [])
    let tensors = state.map { StoredTensor(name: $0.name, dtype: $0.tensor.dtype, shape: $0.tensor.shape.dims) }
    let contents = Contents.torch(archive, Dictionary(state, uniquingKeysWith: { first, _ in first }))
    return (contents, tensors, chosen)
  }

  private static func choose(_ archive: TorchArchive, key: String?, path: String) throws(DinoError) -> String? {
    let keys = archive.root.keys
    if let key {
      if keys.contains(key) { return key }
      // As in the official loader, a file of one network is taken as it is.
      if let other = ["teacher", "student"].first(where: keys.contains) {
        throw DinoError(.data, "\(path): there is no '\(key)' in it, but a '\(other)'", hint: "--checkpoint-key \(other)")
      }
    }
    for name in networks where keys.contains(name) {
      switch archive.root[name] {
      case .dictionary?, .object?: return name
      default: continue
      }
    }
    return nil
  }

  /// The config.json of a network that is read here beside a folder's file of weights: named itself, the file is the same network as its folder.
  private static func configuration(beside file: String, notes: inout [String]) -> (folder: String, config: JSONValue)? {
    let parts = file.split(separator: "/", omittingEmptySubsequences: false)
    guard parts.last == "model.safetensors" || parts.last == "pytorch_model.bin" else { return nil }
    let folder = parts.count == 1 ? "." : parts.dropLast().joined(separator: "/")
    guard let config = try? readJSON("\(folder)/config.json"), HuggingFaceConfig.isRead(config) else { return nil }
    notes.append("\(file) is read with the config.json beside it")
    return (folder, config)
  }

  static func readJSON(_ path: String) throws(DinoError) -> JSONValue {
    do {
      let storage = try Storage(mapping: path)
      return try storage.withBytes { (bytes) throws(JSONError) in try JSONValue.parse(bytes) }
    } catch let error as JSONError {
      throw DinoError(.data, "\(path): \(error.description)")
    } catch {
      throw DinoError(error, path: path)
    }
  }
}
