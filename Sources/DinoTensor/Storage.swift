// Owned memory: allocated (64-byte aligned), a read-only map of a file, or made of other bytes whenever it is read. Bytes only: shapes and types are in Tensor.

import Synchronization

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
  public enum Kind: Sendable, Equatable { case allocated, mapped, derived }

  private static let pagesFrom = 1 << 18, hugeFrom = 1 << 20

  /// Derived bytes stay from when this is asked for: nobody knows for how long the pointer is read.
  public var base: UnsafeMutableRawPointer {
    derived?.keep(address)
    return address
  }

  /// The bytes for as long as `body` runs: derived ones may be let go behind it.
  public func reading<R, E: Error>(_ body: (UnsafeMutableRawPointer) throws(E) -> R) throws(E) -> R {
    guard let derived else { return try body(address) }
    derived.begin(address)
    defer { derived.end() }
    return try body(address)
  }

  private let address: UnsafeMutableRawPointer
  public let byteCount: Int
  public let kind: Kind
  private let mappedLength: Int
  private var derived: Derived?
  /// Which file is mapped.
  private var file: (device: UInt64, inode: UInt64)?

  /// Allocates `byteCount` bytes, aligned to 64. `zeroed` clears them. From 256 KiB on they are pages of their own, which go back to the system when freed; from 1 MiB on
  /// they begin at 2 MiB, with huge pages asked for.
  public init(byteCount: Int, zeroed: Bool = false) throws(StorageError) {
    precondition(byteCount >= 0)
    if byteCount >= Self.pagesFrom {
      // Anonymous pages are zero already.
      let isHuge = byteCount >= Self.hugeFrom, unit = isHuge ? 2 << 20 : 1 << 16
      let length = (byteCount + unit - 1) / unit * unit
      if !zeroed, let used = StorageRecycling.take(length) {
        address = used
        mappedLength = length
        self.byteCount = byteCount
        kind = .allocated
        return
      }
      let slack = isHuge ? unit : 0
      guard let raw = mmap(nil, length + slack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), raw != MAP_FAILED else {
        throw .outOfMemory(bytes: byteCount)
      }
      var p = raw
      if isHuge {
        let start = Int(bitPattern: raw), aligned = (start + unit - 1) / unit * unit
        if aligned > start { munmap(raw, aligned - start) }
        let tail = start + unit - aligned
        p = UnsafeMutableRawPointer(bitPattern: aligned)!
        if tail > 0 { munmap(p + length, tail) }
        // The last is huge where three quarters of it are in use: a block of 2.3 MB in huge pages throughout would take 4.
        madvise(p, Self.hugePages(byteCount), MADV_HUGEPAGE)
      }
      address = p
      mappedLength = length
    } else {
      var p: UnsafeMutableRawPointer?
      guard posix_memalign(&p, 64, max(byteCount, 64)) == 0, let p else { throw .outOfMemory(bytes: byteCount) }
      if zeroed { memset(p, 0, max(byteCount, 64)) }
      address = p
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
    file = (UInt64(info.st_dev), UInt64(info.st_ino))
    if byteCount == 0 {
      address = UnsafeMutableRawPointer(bitPattern: 64)!
      mappedLength = 0
      return
    }
    guard let p = mmap(nil, byteCount, PROT_READ, MAP_PRIVATE, fd, 0), p != MAP_FAILED else { throw .cannotOpen(path: path, code: errno) }
    address = p
    mappedLength = byteCount
  }

  /// Bytes that `make` writes when they are first read, and again after they were let go: what is joined of a file's parts takes memory no longer than the parts do.
  /// - Parameter make: writes all of them, the same each time.
  public init(byteCount: Int, derivedBy make: @escaping @Sendable (UnsafeMutableRawPointer) -> Void) throws(StorageError) {
    precondition(byteCount > 0)
    guard let p = mmap(nil, byteCount, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0), p != MAP_FAILED else { throw .outOfMemory(bytes: byteCount) }
    address = p
    mappedLength = byteCount
    self.byteCount = byteCount
    kind = .derived
    derived = Derived(make)
  }

  deinit {
    if mappedLength > 0 {
      if kind == .allocated, StorageRecycling.give(address, mappedLength) { return }
      munmap(address, mappedLength)
    } else if kind == .allocated {
      free(address)
    }
  }

  /// Bytes of a large block that are in huge pages.
  private static func hugePages(_ byteCount: Int) -> Int { (byteCount + (1 << 19)) / (2 << 20) * (2 << 20) }

  /// What a block of this size takes of resident memory when all of it is in use.
  public static func residentBytes(_ byteCount: Int) -> Int { byteCount < hugeFrom ? byteCount : max(hugePages(byteCount), byteCount) }

  /// Tells the system that these bytes of a mapped file are not needed for now: resident memory goes down, the bytes stay readable.
  /// Does nothing to allocated blocks. Derived bytes go all at once, unless somebody reads them just now. What a read brought in of the neighbours goes too: Linux maps
  /// 64 KiB around a page that is read, since 6.18 all that its cache holds in one piece, up to 2 MiB.
  public func release(_ range: Range<Int>) {
    derived?.drop { madvise(address, mappedLength, MADV_DONTNEED) }
    guard kind == .mapped, mappedLength > 0 else { return }
    let around = 2 << 20, start = Int(bitPattern: address)
    let first = max((start + range.lowerBound) / around * around, start), last = min((start + range.upperBound + around - 1) / around * around, start + mappedLength)
    if last > first { madvise(address + (first - start), last - first, MADV_DONTNEED) }
  }

  /// Gives the whole pages from `offset` on back to the system, huge ones in parts: for the end of a block that nothing was written to, or is needed of no longer. What is
  /// written there later is kept; until then it reads as zeros.
  public func releaseEnd(from offset: Int) {
    let page = 4096, first = (offset + page - 1) / page * page
    guard kind == .allocated, mappedLength > first else { return }
    madvise(address + first, mappedLength - first, MADV_DONTNEED)
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

  /// A copy of some bytes of the file that was mapped from `path`, read from it anew: those that were cut off since would end the process if they were taken from the map.
  /// Nil where the file has them no longer. Where another file has the name by now, this one was replaced, not cut, and the map is good.
  public func bytes(_ range: Range<Int>, rereading path: String) -> [UInt8]? {
    precondition(range.lowerBound >= 0 && range.upperBound <= byteCount)
    let fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    guard fd >= 0 else { return bytes(range) }
    defer { close(fd) }
    var info = stat()
    guard fstat(fd, &info) == 0, let file, file == (UInt64(info.st_dev), UInt64(info.st_ino)) else { return bytes(range) }
    let copy = [UInt8](unsafeUninitializedCapacity: range.count) { buffer, count in
      while count < range.count {
        let n = pread(fd, buffer.baseAddress! + count, range.count - count, range.lowerBound + count)
        if n < 0 && errno == EINTR { continue }
        if n <= 0 { break }
        count += n
      }
    }
    return copy.count == range.count ? copy : nil
  }
}

/// How derived bytes come, whether they are there, and who reads them.
private final class Derived: Sendable {
  private struct State {
    var isThere = false, isKept = false
    var readers = 0
  }
  private let make: @Sendable (UnsafeMutableRawPointer) -> Void
  private let state = Mutex(State())

  init(_ make: @escaping @Sendable (UnsafeMutableRawPointer) -> Void) { self.make = make }

  func keep(_ address: UnsafeMutableRawPointer) {
    begin(address)
    state.withLock { $0.isKept = true }
    end()
  }

  func begin(_ address: UnsafeMutableRawPointer) {
    state.withLock { s in
      if !s.isThere { make(address) }
      s.isThere = true
      s.readers += 1
    }
  }

  func end() { state.withLock { $0.readers -= 1 } }

  func drop(_ body: () -> Void) {
    state.withLock { s in
      guard s.isThere, !s.isKept, s.readers == 0 else { return }
      body()
      s.isThere = false
    }
  }
}
