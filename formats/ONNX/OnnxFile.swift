// An ONNX file, mapped: opened, checked and read into Swift values at once; the bytes of its weights stay in the map. It runs nothing and knows
// no operator. A file that another process cuts short while it is mapped ends this process (SIGBUS): writers here rename, they never truncate.

internal import AtomicFiles
public import DinoTensor
#if canImport(Glibc)
internal import Glibc
#elseif canImport(Musl)
internal import Musl
#endif

/// An open ONNX file: its model, and the way to the values of its tensors, in this file or beside it.
public final class OnnxFile: Sendable {
  public let path: String
  public let model: OnnxModel
  /// Bytes of the file itself, without external data.
  public let byteCount: Int
  private let external: ExternalFiles

  /// Maps and reads the file at `path`. External data are not looked for: a model without its weights can be looked at.
  public convenience init(path: String, limits: OnnxLimits = OnnxLimits()) throws(OnnxError) {
    try self.init(storage: OnnxFile.map(path), path: path, folder: OnnxFile.folder(of: path), limits: limits)
  }

  /// The same over bytes in memory; `path` is used in sentences only, and there is no folder to find external data in.
  public convenience init(bytes: [UInt8], path: String = "the bytes given", limits: OnnxLimits = OnnxLimits()) throws(OnnxError) {
    try self.init(storage: Tensor.copy(bytes, dtype: .u8, shape: [bytes.count]).storage, path: path, folder: nil, limits: limits)
  }

  private init(storage: Storage, path: String, folder: String?, limits: OnnxLimits) throws(OnnxError) {
    do {
      model = try OnnxFile.read(storage, limits)
    } catch {
      throw .malformed(path: path, error)
    }
    self.path = path
    byteCount = storage.byteCount
    external = ExternalFiles(modelPath: path, folder: folder)
  }

  private static func read(_ storage: Storage, _ limits: OnnxLimits) throws(OnnxProblem) -> OnnxModel {
    let skeleton = try storage.withBytes { (bytes) throws(OnnxProblem) in try WireScanner.skeleton(of: bytes, limits: limits) }
    let (product, overflow) = skeleton.count.multipliedReportingOverflow(by: max(limits.expansion, 1))
    let budget = max(limits.expansionFloor, overflow ? .max : product)
    let reader = TreeReader(tree: try ProtobufTree(skeleton: skeleton, budget: budget), storage: storage)
    return try reader.model()
  }

  // MARK: tensors

  /// The values of a tensor of this model, wherever they are. Bytes in a file are a view of the map; typed fields are converted.
  public func tensor(_ tensor: OnnxTensor) throws(OnnxError) -> Tensor {
    var content = tensor.content
    if case .external(let reference) = content { content = .raw(try external.bytes(of: tensor, reference)) }
    do {
      return try tensor.values(of: content)
    } catch {
      throw .invalidTensor(path: path, tensor: tensor.name, error)
    }
  }

  /// Checks that all external data are there and in range, without reading them. The error names the first tensor that has none.
  public func checkExternalData() throws(OnnxError) {
    for tensor in model.tensors {
      if let reference = tensor.externalReference { _ = try external.bytes(of: tensor, reference) }
    }
  }

  /// The model with every external tensor replaced by its bytes, which stay mapped: what a writer needs to put them elsewhere.
  public func modelWithExternalData() throws(OnnxError) -> OnnxModel {
    try model.mapTensors { (tensor) throws(OnnxError) in
      guard let reference = tensor.externalReference else { return tensor }
      var embedded = tensor
      embedded.content = .raw(try external.bytes(of: tensor, reference))
      return embedded
    }
  }

  /// The files that tensors say their bytes are in, each once, in order.
  public var externalLocations: [String] {
    var seen: Set<String> = [], locations: [String] = []
    for tensor in model.tensors {
      if let location = tensor.externalReference?.location, seen.insert(location).inserted { locations.append(location) }
    }
    return locations
  }

  // MARK: files

  /// Maps a regular file. It is looked at before it is opened: opening a pipe would wait for its other end.
  private static func map(_ path: String) throws(OnnxError) -> Storage {
    var info = stat()
    guard unsafe stat(path, &info) == 0 else {
      let code = errno
      if code == ENOENT || code == ENOTDIR { throw .fileNotFound(path: path) }
      throw .cannotRead(path: path, reason: AtomicFile.reason(code))
    }
    guard info.st_mode & S_IFMT == S_IFREG else { throw .notAFile(path: path) }
    do {
      return try Storage(mapping: path)
    } catch {
      switch error {
      case .cannotOpen(_, let code): throw .cannotRead(path: path, reason: AtomicFile.reason(code))
      case .notAFile: throw .notAFile(path: path)
      case .outOfMemory(let bytes): throw .cannotRead(path: path, reason: "no memory for \(bytes) bytes")
      }
    }
  }

  private static func folder(of path: String) -> String {
    guard let slash = path.utf8.lastIndex(of: UInt8(ascii: "/")) else { return "." }
    return slash == path.startIndex ? "/" : String(path[..<slash])
  }
}
