// A file that appears under its name only when it is complete: written beside it, synced, renamed. Nothing is left behind on failure.

internal import AtomicFiles
#if canImport(Glibc)
internal import Glibc
#elseif canImport(Musl)
internal import Musl
#endif

/// Written from one thread, front to back.
final class AtomicFile {
  private let path: String
  /// Where `path` leads.
  private let place: String
  private let temporary: String
  private var descriptor: Int32
  private(set) var position = 0

  init(_ path: String) throws(TorchArchiveError) {
    self.path = path
    place = behindLinks(path)
    temporary = "\(place).\(getpid()).tmp"
    descriptor = unsafe open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o666)
    guard descriptor >= 0 else { throw .cannotWrite(file: path, code: errno) }
  }

  deinit { discard() }

  func write(_ bytes: [UInt8]) throws(TorchArchiveError) {
    let result: Int32 = unsafe bytes.withUnsafeBytes { unsafe put($0) }
    guard result == 0 else { throw .cannotWrite(file: path, code: result) }
  }

  func write(_ bytes: UnsafeRawBufferPointer) throws(TorchArchiveError) {
    let result = unsafe put(bytes)
    guard result == 0 else { throw .cannotWrite(file: path, code: result) }
  }

  /// Writes all; returns errno, or 0.
  private func put(_ bytes: UnsafeRawBufferPointer) -> Int32 {
    var done = 0
    while done < bytes.count {
      let n = unsafe pwrite(descriptor, bytes.baseAddress! + done, min(bytes.count - done, 1 << 30), off_t(position + done))
      if n < 0 {
        if errno == EINTR { continue }
        return errno
      }
      done += n
    }
    position += bytes.count
    return 0
  }

  func commit() throws(TorchArchiveError) {
    guard fsync(descriptor) == 0 else { throw .cannotWrite(file: path, code: errno) }
    let closed = close(descriptor)
    descriptor = -1
    guard closed == 0, unsafe rename(temporary, place) == 0 else {
      let code = errno
      _ = unsafe unlink(temporary)
      throw .cannotWrite(file: path, code: code)
    }
  }

  func discard() {
    guard descriptor >= 0 else { return }
    close(descriptor)
    descriptor = -1
    _ = unsafe unlink(temporary)
  }
}
