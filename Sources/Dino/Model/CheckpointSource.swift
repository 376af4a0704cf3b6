// A checkpoint opened, before any name means anything: the tensors of its file with their own names, and whatever the file says about
// itself. Tensors stay in the mapped file until they are asked for.

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
  }

  let path: String
  let format: CheckpointFormat
  let contents: Contents
  /// The tensors of the chosen network, in file order.
  let tensors: [StoredTensor]
  /// `__metadata__` of a safetensors file.
  let metadata: [String: String]
  /// config.json of a Hugging Face folder.
  let huggingFaceConfig: JSONValue?
  /// Which part of an archive the tensors are from: "teacher", "student", "state_dict", or nil for the whole.
  let key: String?

  /// - Parameter key: `teacher` or `student`; nil takes the teacher where there is one.
  init(path: String, key: String?) throws(DinoError) {
    let (format, file) = try CheckpointFormat.detect(path)
    self.path = path
    self.format = format
    do {
      switch format {
      case .safetensors:
        let opened = try SafetensorsFile(path: file)
        contents = .safetensors(opened)
        metadata = opened.metadata
        huggingFaceConfig = nil
        (tensors, self.key) = try Self.flat(opened.entries.map { StoredTensor(name: $0.name, dtype: $0.dtype, shape: $0.shape.dims) }, key: key, path: path)
      case .huggingFace:
        if key != nil { throw DinoError(.usage, "\(path): a Hugging Face folder has one network only, so --checkpoint-key has no meaning") }
        huggingFaceConfig = try Self.readJSON("\(path)/config.json")
        if file == path {
          let shards = try ShardedSafetensors(folder: path)
          contents = .sharded(shards)
          metadata = shards.metadata
          tensors = shards.names.compactMap { name in shards.tensor(name).map { StoredTensor(name: name, dtype: $0.dtype, shape: $0.shape.dims) } }
        } else {
          let opened = try SafetensorsFile(path: file)
          contents = .safetensors(opened)
          metadata = opened.metadata
          tensors = opened.entries.map { StoredTensor(name: $0.name, dtype: $0.dtype, shape: $0.shape.dims) }
        }
        self.key = nil
      case .torchZip, .torchLegacy:
        let archive = try TorchArchive(path: file)
        let chosen = try Self.choose(archive, key: key, path: path)
        let state = try archive.stateDict(at: chosen.map { [$0] } ?? [])
        contents = .torch(archive, Dictionary(state, uniquingKeysWith: { first, _ in first }))
        tensors = state.map { StoredTensor(name: $0.name, dtype: $0.tensor.dtype, shape: $0.tensor.shape.dims) }
        metadata = [:]
        huggingFaceConfig = nil
        self.key = chosen
      }
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
    case .torch(_, let state):
      do { return try state[name]?.tensor() } catch { throw DinoError(error, path: path) }
    }
  }

  /// The archive behind a `.pth`.
  var archive: TorchArchive? { if case .torch(let archive, _) = contents { archive } else { nil } }

  /// Parts of a checkpoint that hold a network, most wanted first.
  private static let networks = ["teacher", "student", "state_dict", "model_state_dict", "model"]

  private static func choose(_ archive: TorchArchive, key: String?, path: String) throws(DinoError) -> String? {
    let keys = archive.root.keys
    if let key {
      guard keys.contains(key) else {
        throw DinoError(.data, "\(path): there is no '\(key)' in it; at the top it has \(listing(keys))", hint: "leave --checkpoint-key out for a file of one network")
      }
      return key
    }
    for name in networks where keys.contains(name) {
      switch archive.root[name] {
      case .dictionary?, .object?: return name
      default: continue
      }
    }
    return nil
  }

  /// Safetensors are flat: a network of several has its key as prefix.
  private static func flat(_ tensors: [StoredTensor], key: String?, path: String) throws(DinoError) -> ([StoredTensor], String?) {
    let chosen = key ?? ["teacher", "student"].first { k in tensors.contains { $0.name.hasPrefix(k + ".") } }
    guard let chosen else { return (tensors, nil) }
    let part = tensors.filter { $0.name.hasPrefix(chosen + ".") }
    guard !part.isEmpty else {
      throw DinoError(.data, "\(path): no tensor's name begins with '\(chosen).'", hint: "leave --checkpoint-key out for a file of one network")
    }
    return (part, chosen)
  }

  private static func readJSON(_ path: String) throws(DinoError) -> JSONValue {
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

/// Some keys for a sentence.
func listing(_ keys: [String]) -> String {
  if keys.isEmpty { return "no names" }
  return keys.prefix(8).map { "'\($0)'" }.joined(separator: ", ") + (keys.count > 8 ? " and \(keys.count - 8) more" : "")
}
