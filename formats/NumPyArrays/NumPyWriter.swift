// Rows of floats into an .npy file as they come, when nobody knows how many there will be. They go to `PATH.partial`; `finish` gives the file
// its name. A run that was ended keeps the partial file, and the next one can go on from the last checkpoint in it.

internal import AtomicFiles
internal import DinoTensor
#if canImport(Glibc)
internal import Glibc
#elseif canImport(Musl)
internal import Musl
#endif

/// Writes an [rows, columns] array of 32-bit floats, row by row.
public struct NumPyWriter: ~Copyable {
  /// Where the file will be: behind the links that it was named by.
  public let path: String
  public let columns: Int
  /// Rows written so far, with those of earlier runs.
  public private(set) var rows: Int
  /// Where the rows are until `finish`.
  public var partialPath: String { NumPyWriter.partialPath(path) }

  private let descriptor: Int32
  private let headerLength: Int

  public static func partialPath(_ path: String) -> String { path + ".partial" }

  /// Starts a file, or goes on with one.
  /// - Parameters:
  ///   - resume: go on with the partial file of an earlier run, where there is one: `rows` then says how many rows it has. Rows after
  ///     the last `checkpoint` of that run are dropped. A partial file of another width is refused.
  public init(path: String, columns: Int, resume: Bool = false) throws(NumPyError) {
    precondition(columns > 0, "a row has at least one number")
    var info = stat()
    if unsafe stat(path, &info) == 0, info.st_mode & S_IFMT != S_IFREG { throw .notAFile(path: path) }
    let place = behindLinks(path)
    guard let header = NPYHeader.bytes(dtype: .f32, shape: [0, columns]) else { throw .cannotStore(path: path, dtype: .f32) }
    let partial = NumPyWriter.partialPath(place)
    let rows = resume ? try NumPyWriter.finishedRows(partial, columns: columns, header: header.count) : nil
    self.descriptor = try NumPyWriter.open(partial, rows: rows, columns: columns, headerLength: header.count)
    self.path = place
    self.columns = columns
    self.rows = rows ?? 0
    headerLength = header.count
  }

  /// Opens the partial file, cut after its last counted row (nil: empty), and writes its header.
  private static func open(_ partial: String, rows: Int?, columns: Int, headerLength: Int) throws(NumPyError) -> Int32 {
    let flags = O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | (rows == nil ? O_TRUNC : 0)
    let descriptor = systemOpen(partial, flags)
    guard descriptor >= 0 else { throw .cannotWrite(path: partial, reason: AtomicFile.reason(errno)) }
    do throws(NumPyError) {
      try writeHeader(descriptor, rows: rows ?? 0, columns: columns, headerLength: headerLength, path: partial)
      let end = headerLength + (rows ?? 0) * columns * 4
      guard ftruncate(descriptor, end) == 0, lseek(descriptor, end, SEEK_SET) == end else {
        throw NumPyError.cannotWrite(path: partial, reason: AtomicFile.reason(errno))
      }
    } catch {
      close(descriptor)
      throw error
    }
    return descriptor
  }

  private static func writeHeader(_ descriptor: Int32, rows: Int, columns: Int, headerLength: Int, path: String) throws(NumPyError) {
    guard let header = NPYHeader.bytes(dtype: .f32, shape: [rows, columns]), header.count == headerLength else {
      throw .cannotWrite(path: path, reason: "\(rows) rows do not fit into the header")
    }
    let written = unsafe header.withUnsafeBytes { unsafe pwrite(descriptor, $0.baseAddress, $0.count, 0) }
    guard written == header.count else { throw .cannotWrite(path: path, reason: AtomicFile.reason(errno)) }
  }

  /// Rows that the header of a partial file counts; nil where there is no such file.
  private static func finishedRows(_ partial: String, columns: Int, header: Int) throws(NumPyError) -> Int? {
    let storage: Storage
    do { storage = try NumPyArray.map(partial) } catch {
      if case .fileNotFound = error { return nil }
      throw error
    }
    let found = try storage.withBytes { (bytes) throws(NumPyError) in try NPYHeader.parse(bytes, path: partial) }
    guard found.dtype == .f32, !found.byteSwapped, !found.fortranOrder, found.shape.rank == 2, found.length == header else {
      throw .cannotResume(path: partial, reason: "it was not written here")
    }
    guard found.shape[1] == columns else {
      throw .cannotResume(path: partial, reason: "its rows have \(found.shape[1]) numbers and the new ones \(columns)")
    }
    guard found.dataSize <= storage.byteCount - header else {
      throw .cannotResume(path: partial, reason: "it has fewer rows than its header says")
    }
    return found.shape[0]
  }

  /// Appends whole rows: `values.count` is a multiple of `columns`.
  public mutating func append(_ values: Span<Float>) throws(NumPyError) {
    guard values.count % columns == 0 else { throw .rowWidth(path: path, expected: columns, found: values.count) }
    try unsafe values.withUnsafeBytes { (bytes) throws(NumPyError) in try unsafe writeAll(bytes) }
    rows += values.count / columns
  }

  public mutating func append(_ values: [Float]) throws(NumPyError) { try append(values.span) }

  /// Notes in the header how many rows there are, so that a later run can go on from here. `durable` waits for the disk.
  public func checkpoint(durable: Bool = false) throws(NumPyError) {
    if durable { try synchronize() }
    try NumPyWriter.writeHeader(descriptor, rows: rows, columns: columns, headerLength: headerLength, path: partialPath)
    if durable { try synchronize() }
  }

  /// Completes the file and gives it its name, replacing what was there.
  public consuming func finish() throws(NumPyError) {
    try checkpoint(durable: true)
    guard unsafe rename(partialPath, path) == 0 else { throw .cannotWrite(path: path, reason: AtomicFile.reason(errno)) }
  }

  /// Removes the partial file.
  public consuming func abandon() {
    _ = unsafe unlink(partialPath)
  }

  deinit { close(descriptor) }

  private func synchronize() throws(NumPyError) {
    guard fsync(descriptor) == 0 else { throw .cannotWrite(path: partialPath, reason: AtomicFile.reason(errno)) }
  }

  private func writeAll(_ bytes: UnsafeRawBufferPointer) throws(NumPyError) {
    var done = 0
    while done < bytes.count {
      let count = unsafe write(descriptor, bytes.baseAddress! + done, min(bytes.count - done, 1 << 30))
      if count < 0 {
        if errno == EINTR { continue }
        throw .cannotWrite(path: partialPath, reason: AtomicFile.reason(errno))
      }
      done += count
    }
  }
}

/// The C function, whose name a method above hides.
private func systemOpen(_ path: String, _ flags: Int32) -> Int32 { unsafe open(path, flags, 0o666) }
