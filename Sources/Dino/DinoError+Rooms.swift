// The table from the typed errors of the rooms below to the facade's one error: its kind, and the file it is about.

public import DinoTensor
#if canImport(Glibc)
internal import Glibc
#elseif canImport(Musl)
internal import Musl
#endif

extension DinoError {
  /// Memory or a file could not be had.
  public init(_ error: StorageError, path: String) {
    switch error {
    case .cannotOpen(_, let code) where code == ENOENT || code == ENOTDIR: self.init(.notFound, "\(path): no such file")
    case .cannotOpen(_, let code) where code == EACCES || code == EPERM: self.init(.notFound, "\(path): may not be read (permission denied)")
    case .cannotOpen(_, let code): self.init(.io, "\(path): cannot be read (\(systemReason(code)))")
    case .notAFile: self.init(.notFound, "\(path): not a regular file")
    case .outOfMemory(let bytes): self.init(.unavailable, "not enough memory: \(bytes) bytes were asked for (\(path))")
    }
  }

  /// Any error that reached the top.
  public init(_ error: any Error) {
    switch error {
    case let e as DinoError: self = e
    case let e as StorageError: self.init(e, path: "memory")
    case let e as TarError: self.init(.data, e.description)
    default: self.init(.bug, "\(error)")
    }
  }
}
