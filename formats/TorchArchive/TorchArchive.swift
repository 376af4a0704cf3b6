// A PyTorch checkpoint, opened without Python: what torch.save wrote, as values and tensors. It reads both containers (zip and legacy
// stream) and executes nothing. Models, names of layers and file extensions mean nothing here.

public import DinoTensor

/// An opened `.pth` or `.pt` file. Opening reads the structure only; tensors stay in the mapped file until they are asked for.
public struct TorchArchive: Sendable {
  public enum Container: String, Sendable { case zip, legacy }

  /// The path, or the name that was given with the bytes.
  public let file: String
  public let container: Container
  /// What was saved.
  public let root: TorchValue

  /// Maps and reads a file.
  public init(path: String, limits: TorchLimits = .standard) throws(TorchArchiveError) {
    try self.init(storage: try mapped(path), name: path, limits: limits)
  }

  /// Reads bytes that are in memory already. `name` stands for them in messages.
  public init(storage: Storage, name: String, limits: TorchLimits = .standard) throws(TorchArchiveError) {
    let bytes = ByteView(storage)
    file = name
    switch FileKind(bytes, file: name) {
    case .other(let fault): throw fault
    case .zip:
      container = .zip
      let zip = try ZipContainer(bytes, file: name, limits: limits)
      let pickle = try contents(of: zip.pickle, in: bytes, file: name, verify: true)
      var machine = Unpickler(pickle, file: name, limits: limits)
      let root = try machine.run()
      let places = try zip.places(bytes, file: name, verify: limits.verifyTensorChecksums)
      let table = StorageTable(file: name, places: places, bigEndian: zip.bigEndian)
      var builder = TreeBuilder(store: machine.store, table: table, fileBytes: bytes.count)
      self.root = try builder.build(root)
    case .pickle:
      container = .legacy
      let stream = try LegacyStream(bytes, file: name, limits: limits)
      let table = StorageTable(file: name, places: stream.places, bigEndian: false)
      var builder = TreeBuilder(store: stream.store, table: table, fileBytes: bytes.count)
      root = try builder.build(stream.root)
    }
  }

  /// The value under a key of the root.
  public subscript(_ key: String) -> TorchValue? { root[key] }

  /// The value at the end of a path of keys.
  public func value(at path: [String]) throws(TorchArchiveError) -> TorchValue {
    var value = root
    for (depth, key) in path.enumerated() {
      guard let next = value[key] else { throw .noSuchKey(file: file, path: Array(path[...depth]), available: value.keys) }
      value = next
    }
    return value
  }

  /// The tensors under a path of keys, by name, in file order. Nested dictionaries give names joined with dots.
  ///
  ///     let teacher = try archive.stateDict(at: ["teacher"])   // [("backbone.cls_token", …), …]
  public func stateDict(at path: [String] = []) throws(TorchArchiveError) -> [(name: String, tensor: TorchTensor)] {
    let value = try value(at: path)
    switch value {
    case .dictionary, .object: return value.tensors
    default:
      guard let last = path.last else { throw .badValue(file: file, path: "", detail: "a state dict is a dictionary, this is \(value.text(limit: 60))") }
      throw .noSuchKey(file: file, path: path, available: (try self.value(at: Array(path.dropLast()))).keys.filter { $0 != last })
    }
  }

  /// Training arguments: the fields of a Namespace (or dictionary) under `args`. Nil where there is none.
  public var args: [(name: String, value: TorchValue)]? {
    switch root["args"] {
    case .object(_, let fields): fields
    case .dictionary(let items): items.compactMap { item in item.key.stringValue.map { ($0, item.value) } }
    default: nil
    }
  }
}

/// Maps a file; failures as this room's errors.
func mapped(_ path: String) throws(TorchArchiveError) -> Storage {
  do {
    return try Storage(mapping: path)
  } catch {
    switch error {
    case .cannotOpen(_, let code): throw .cannotRead(file: path, code: code)
    case .notAFile: throw .notAFile(file: path)
    case .outOfMemory: throw .cannotRead(file: path, code: 12)
    }
  }
}
