// A file that appears whole or not at all: written beside its place, synchronised, renamed. It never truncates what is there, so a
// process that has the old file mapped keeps the old bytes. One writer, one pass: it cannot seek and cannot append to what exists.

#if canImport(Glibc)
internal import Glibc
#elseif canImport(Musl)
internal import Musl
#endif

/// Why a file could not be written.
public enum AtomicFileError: Error, Sendable, Equatable, CustomStringConvertible {
  /// `code` is errno.
  case failed(path: String, action: String, code: Int32)
  case notAFile(path: String)

  public var description: String {
    switch self {
    case .failed(let path, let action, let code): "cannot \(action) \(path): \(AtomicFile.reason(code))"
    case .notAFile(let path): "\(path) exists and is no regular file; choose another name"
    }
  }
}

extension AtomicFileError {
  /// What went wrong, for sentences that have named the file already.
  public var reason: String {
    switch self {
    case .failed(_, "write", let code): AtomicFile.reason(code)
    case .failed(_, let action, let code): "cannot \(action) it: \(AtomicFile.reason(code))"
    case .notAFile: "it exists and is no regular file; choose another name"
    }
  }
}

/// A file in the making. `commit` puts it into its place; a value that goes away before that leaves nothing behind.
public struct AtomicFile: ~Copyable {
  public let path: String
  /// Where `path` leads.
  private let place: String
  private let temporaryPath: String
  private let descriptor: Int32
  private var committed = false

  /// Opens a new file beside `path`, or beside what it is a link to. Fails where `path` is there and no regular file: renaming over a device or a pipe would destroy it.
  public init(path: String) throws(AtomicFileError) {
    var info = stat()
    if unsafe stat(path, &info) == 0, info.st_mode & S_IFMT != S_IFREG { throw .notAFile(path: path) }
    let place = behindLinks(path)
    var attempt = 0
    while true {
      let candidate = "\(place).\(getpid())-\(attempt).tmp"
      let opened = unsafe open(candidate, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o666)
      if opened >= 0 {
        self.path = path
        self.place = place
        temporaryPath = candidate
        descriptor = opened
        return
      }
      guard errno == EEXIST, attempt < 1_000 else { throw .failed(path: path, action: "create a file beside", code: errno) }
      attempt += 1
    }
  }

  /// Appends bytes.
  public func write(_ bytes: Span<UInt8>) throws(AtomicFileError) {
    var done = 0
    while done < bytes.count {
      // At most 1 GiB at once: Linux writes no more than 2 GiB in one call.
      let chunk = bytes.extracting(done..<min(bytes.count, done + 1 << 30))
      let count = unsafe chunk.withUnsafeBytes { unsafe systemWrite(descriptor, $0) }
      if count < 0 {
        if errno == EINTR { continue }
        throw .failed(path: path, action: "write", code: errno)
      }
      done += count
    }
  }

  public func write(_ bytes: [UInt8]) throws(AtomicFileError) { try write(bytes.span) }

  /// Puts the bytes on the disk. Of files that belong together, none is committed before this has been done for all: then only renames are left.
  public func synchronize() throws(AtomicFileError) {
    guard fsync(descriptor) == 0 else { throw .failed(path: path, action: "write", code: errno) }
  }

  /// Puts the bytes on the disk and the file into its place, replacing what was there.
  public consuming func commit() throws(AtomicFileError) {
    try synchronize()
    try moveIntoPlace()
    AtomicFile.synchronizeFolder(of: place)
  }

  /// Puts two files that belong together into their places: when the bytes of both are on the disk, by one rename right behind the other. A process that is killed between the
  /// two leaves the first with what was in the second's place before.
  public static func commit(_ first: consuming AtomicFile, _ second: consuming AtomicFile) throws(AtomicFileError) {
    try first.synchronize()
    try second.synchronize()
    try first.moveIntoPlace()
    try second.moveIntoPlace()
    synchronizeFolder(of: first.place)
    synchronizeFolder(of: second.place)
  }

  private mutating func moveIntoPlace() throws(AtomicFileError) {
    guard unsafe rename(temporaryPath, place) == 0 else { throw .failed(path: path, action: "rename a finished file to", code: errno) }
    committed = true
  }

  deinit {
    close(descriptor)
    if !committed { _ = unsafe unlink(temporaryPath) }
  }

  /// Makes a rename last over a loss of power, where the file system can.
  private static func synchronizeFolder(of path: String) {
    let slash = path.utf8.lastIndex(of: UInt8(ascii: "/"))
    let folder = slash.map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? "."
    let folderDescriptor = unsafe open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard folderDescriptor >= 0 else { return }
    fsync(folderDescriptor)
    close(folderDescriptor)
  }

  /// The system's words for an errno.
  public static func reason(_ code: Int32) -> String {
    guard let words = unsafe strerror(code) else { return "error \(code)" }
    return unsafe String(cString: words)
  }
}

/// The path that a chain of symbolic links leads to, whether a file is there or not: who names a link to a file means that file, and a rename would replace the link.
/// What is no link, or one whose target is not UTF-8, is the path itself.
public func behindLinks(_ path: String) -> String {
  var place = path
  // As many as the system follows.
  for _ in 0..<40 {
    guard let target = linkTarget(place) else { return place }
    let slash = target.hasPrefix("/") ? nil : place.lastIndex(of: "/")
    place = (slash.map { String(place[...$0]) } ?? "") + target
  }
  return path
}

private func linkTarget(_ path: String) -> String? {
  let limit = 4096
  var buffer = [CChar](repeating: 0, count: limit)
  let count = unsafe readlink(path, &buffer, limit)
  guard count > 0, count < limit else { return nil }
  return String(validating: buffer[..<count].map { UInt8(truncatingIfNeeded: $0) }, as: UTF8.self)
}

/// The C function, whose name the method above hides.
private func systemWrite(_ descriptor: Int32, _ bytes: UnsafeRawBufferPointer) -> Int {
  unsafe write(descriptor, bytes.baseAddress, bytes.count)
}
