// Owned memory: allocated (64-byte aligned) or a read-only map of a file. Bytes only: shapes and types are in Tensor.

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

/// Why memory could not be had.
public enum StorageError: Error, Sendable, Equatable {
  /// The file cannot be opened, read or mapped; `code` is errno.
  case cannotOpen(path: String, code: Int32)
  case notAFile(path: String)
  case outOfMemory(bytes: Int)
}

/// A block of bytes with one owner. Allocated blocks are written by whoever made them before they are shared;
/// after that, and for mapped files always, they are only read.
public final class Storage: @unchecked Sendable {
  public enum Kind: Sendable, Equatable { case allocated, mapped }

  public let base: UnsafeMutableRawPointer
  public let byteCount: Int
  public let kind: Kind
  private let mappedLength: Int

  /// Allocates `byteCount` bytes, aligned to 64 (to 2 MiB, with huge pages asked for, from 1 MiB on). `zeroed` clears them.
  public init(byteCount: Int, zeroed: Bool = false) throws(StorageError) {
    precondition(byteCount >= 0)
    let large = byteCount >= 1 << 20
    if large {
      // Anonymous pages are zero already, and go back to the system at once when freed.
      let huge = 2 << 20
      let length = (byteCount + huge - 1) / huge * huge
      if !zeroed, let used = StorageRecycling.take(length) {
        base = used
        mappedLength = length
        self.byteCount = byteCount
        kind = .allocated
        return
      }
      guard let raw = mmap(nil, length + huge, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), raw != MAP_FAILED else {
        throw .outOfMemory(bytes: byteCount)
      }
      let start = Int(bitPattern: raw), aligned = (start + huge - 1) / huge * huge
      if aligned > start { munmap(raw, aligned - start) }
      let tail = start + huge - aligned
      let p = UnsafeMutableRawPointer(bitPattern: aligned)!
      if tail > 0 { munmap(p + length, tail) }
      madvise(p, length, MADV_HUGEPAGE)
      base = p
      mappedLength = length
    } else {
      var p: UnsafeMutableRawPointer?
      guard posix_memalign(&p, 64, max(byteCount, 64)) == 0, let p else { throw .outOfMemory(bytes: byteCount) }
      if zeroed { memset(p, 0, max(byteCount, 64)) }
      base = p
      mappedLength = 0
    }
    self.byteCount = byteCount
    kind = .allocated
  }

  /// Maps a whole file read-only. An empty file gives an empty block.
  public init(mapping path: String) throws(StorageError) {
    // Without O_NONBLOCK, opening a pipe waits for somebody to write into it.
    let fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    guard fd >= 0 else { throw .cannotOpen(path: path, code: errno) }
    defer { close(fd) }
    var info = stat()
    guard fstat(fd, &info) == 0 else { throw .cannotOpen(path: path, code: errno) }
    guard info.st_mode & S_IFMT == S_IFREG else { throw .notAFile(path: path) }
    byteCount = Int(info.st_size)
    kind = .mapped
    if byteCount == 0 {
      base = UnsafeMutableRawPointer(bitPattern: 64)!
      mappedLength = 0
      return
    }
    guard let p = mmap(nil, byteCount, PROT_READ, MAP_PRIVATE, fd, 0), p != MAP_FAILED else { throw .cannotOpen(path: path, code: errno) }
    base = p
    mappedLength = byteCount
  }

  deinit {
    if mappedLength > 0 {
      if kind == .allocated, StorageRecycling.give(base, mappedLength) { return }
      munmap(base, mappedLength)
    } else if kind == .allocated {
      free(base)
    }
  }

  /// Tells the system that these bytes of a mapped file are not needed for now: resident memory goes down, the bytes stay readable.
  /// Does nothing to allocated blocks.
  public func release(_ range: Range<Int>) {
    guard kind == .mapped, mappedLength > 0 else { return }
    let page = Int(sysconf(Int32(_SC_PAGESIZE)))
    let first = range.lowerBound / page * page
    let last = min((range.upperBound + page - 1) / page * page, mappedLength)
    if last > first { madvise(base + first, last - first, MADV_DONTNEED) }
  }

  /// The bytes, for safe code.
  public func withBytes<R, E: Error>(_ body: (Span<UInt8>) throws(E) -> R) throws(E) -> R {
    let p = UnsafeBufferPointer(start: UnsafePointer(base.assumingMemoryBound(to: UInt8.self)), count: byteCount)
    return try body(p.span)
  }

  /// A copy of some bytes.
  public func bytes(_ range: Range<Int>) -> [UInt8] {
    precondition(range.lowerBound >= 0 && range.upperBound <= byteCount)
    return Array(UnsafeRawBufferPointer(start: base + range.lowerBound, count: range.count))
  }
}
