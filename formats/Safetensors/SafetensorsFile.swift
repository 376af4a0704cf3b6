// A safetensors file, mapped: checked as a whole when it is opened, then each tensor is a view of the map. It converts nothing and knows no
// model. A file that another process cuts short while it is mapped ends this process (SIGBUS): writers here rename, they never truncate.

internal import AtomicFiles
public import DinoTensor
#if canImport(Glibc)
internal import Glibc
#elseif canImport(Musl)
internal import Musl
#endif

/// An open safetensors file.
public struct SafetensorsFile: Sendable {
  public let path: String
  /// The `__metadata__` of the header; empty where there is none.
  public var metadata: [String: String] { header.metadata }
  /// All tensors, in the order of their bytes.
  public var entries: [SafetensorsEntry] { header.entries }
  /// Names in the order of the bytes.
  public var names: [String] { header.entries.map(\.name) }
  /// Bytes of the whole file.
  public var byteCount: Int { storage.byteCount }

  private let header: SafetensorsHeader
  private let storage: Storage
  private let index: [String: Int]

  /// Maps the file at `path` and checks every rule of the format. Only the header is read.
  public init(path: String) throws(SafetensorsError) {
    self = try SafetensorsFile(storage: SafetensorsFile.map(path), path: path)
  }

  /// The same over bytes in memory; `path` is used in sentences only.
  public init(bytes: [UInt8], path: String = "the bytes given") throws(SafetensorsError) {
    let tensor = Tensor.copy(bytes, dtype: .u8, shape: [bytes.count])
    // An allocated block may be longer than what was asked for only beyond `byteCount`.
    self = try SafetensorsFile(storage: tensor.storage, path: path)
  }

  private init(storage: Storage, path: String) throws(SafetensorsError) {
    do {
      header = try storage.withBytes { (bytes) throws(SafetensorsProblem) in
        try SafetensorsHeader.parse(bytes, fileSize: bytes.count)
      }
    } catch {
      throw .malformed(path: path, error)
    }
    self.path = path
    self.storage = storage
    var index: [String: Int] = [:]
    index.reserveCapacity(header.entries.count)
    for (i, entry) in header.entries.enumerated() { index[entry.name] = i }
    self.index = index
  }

  /// The tensor of that name, a view of the file; nil where there is none.
  public func tensor(_ name: String) -> Tensor? {
    guard let i = index[name] else { return nil }
    return tensor(at: i)
  }

  /// The tensor of an entry of this file.
  public func tensor(_ entry: SafetensorsEntry) -> Tensor? { tensor(entry.name) }

  private func tensor(at i: Int) -> Tensor? {
    let entry = header.entries[i]
    return Tensor(dtype: entry.dtype, shape: entry.shape, storage: storage, byteOffset: entry.byteRange.lowerBound)
  }

  /// Every tensor by name.
  public func tensors() -> [String: Tensor] {
    var all: [String: Tensor] = [:]
    all.reserveCapacity(header.entries.count)
    for (i, entry) in header.entries.enumerated() { all[entry.name] = tensor(at: i) }
    return all
  }

  /// Maps a regular file. It is looked at before it is opened: opening a pipe would wait for its other end.
  static func map(_ path: String) throws(SafetensorsError) -> Storage {
    var info = stat()
    guard unsafe stat(path, &info) == 0 else { throw readError(path, errno) }
    guard info.st_mode & S_IFMT == S_IFREG else { throw .notAFile(path: path) }
    do {
      return try Storage(mapping: path)
    } catch {
      switch error {
      case .cannotOpen(_, let code): throw readError(path, code)
      case .notAFile: throw .notAFile(path: path)
      case .outOfMemory(let bytes): throw .cannotRead(path: path, reason: "no memory for \(bytes) bytes")
      }
    }
  }

  private static func readError(_ path: String, _ code: Int32) -> SafetensorsError {
    if code == ENOENT || code == ENOTDIR { return .fileNotFound(path: path) }
    return .cannotRead(path: path, reason: AtomicFile.reason(code))
  }
}
