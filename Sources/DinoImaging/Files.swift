// Whole files in and out: a bounded read, and a write that is seen complete or not at all. Nothing about images.

internal import AtomicFiles
#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

/// The system's words for an errno.
func systemMessage(_ code: Int32) -> String { unsafe String(cString: strerror(code)) }

private func readDescriptor(_ fd: Int32, _ to: UnsafeMutablePointer<UInt8>, _ count: Int) -> Int { unsafe read(fd, to, count) }

enum Files {
  /// All bytes of a file of at most `limit` bytes. Works on pipes; never allocates more than is there.
  static func read(_ path: String, limit: Int) throws(ImageError) -> [UInt8] {
    // Without O_NONBLOCK, a named pipe that nobody writes to would keep us waiting for ever; now it reads as empty.
    let fd = unsafe open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    guard fd >= 0 else { throw .cannotRead(path: path, code: errno) }
    defer { close(fd) }
    var info = stat()
    guard unsafe fstat(fd, &info) == 0 else { throw .cannotRead(path: path, code: errno) }
    _ = fcntl(fd, F_SETFL, O_RDONLY)
    if info.st_mode & S_IFMT == S_IFDIR { throw .cannotRead(path: path, code: EISDIR) }
    let expected = info.st_mode & S_IFMT == S_IFREG ? Int(info.st_size) : 0
    if expected > limit { throw .fileTooLarge(name: path, bytes: expected, limit: limit) }
    var bytes: [UInt8] = []
    // One byte more than expected shows the end without a second allocation.
    var capacity = max(expected + 1, 1 << 16)
    while true {
      var failure: Int32 = 0
      var atEnd = false
      let have = bytes.count
      let grown = unsafe [UInt8](unsafeUninitializedCapacity: capacity) { buffer, count in
        unsafe bytes.withUnsafeBytes { old in unsafe UnsafeMutableRawBufferPointer(buffer).copyMemory(from: old) }
        count = have
        while count < capacity {
          let n = unsafe readDescriptor(fd, buffer.baseAddress! + count, capacity - count)
          if n < 0 && errno == EINTR { continue }
          if n < 0 { failure = errno }
          if n <= 0 {
            atEnd = true
            break
          }
          count += n
        }
      }
      if failure != 0 { throw .cannotRead(path: path, code: failure) }
      bytes = grown
      if bytes.count > limit { throw .fileTooLarge(name: path, bytes: bytes.count, limit: limit) }
      if atEnd { return bytes }
      capacity *= 2
    }
  }

  /// Writes a file that appears whole, in the place of `path` or of what it is a link to.
  static func writeAtomically(_ bytes: UnsafeRawBufferPointer, to path: String) throws(ImageError) {
    do {
      let file = try AtomicFile(path: path)
      try file.write(unsafe Span<UInt8>(_unsafeBytes: bytes))
      try file.commit()
    } catch {
      switch error {
      case .failed(_, _, let code): throw .cannotWrite(path: path, code: code)
      case .notAFile: throw .invalidParameter("\(error)")
      }
    }
  }
}
