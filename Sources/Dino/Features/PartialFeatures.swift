// Rows in the making, in a form that survives a kill at any moment: `OUT.partial` holds the rows one after the other (little-endian f32), and
// `OUT.partial.log` one line a row with the two numbers of its input's stamp, written after it. A later run with the same settings takes the rows of the inputs that are
// still what they were, wherever among its own they are; one with other settings, or with less than half of the inputs, is refused while they are there.

#if canImport(Glibc)
internal import Glibc
#elseif canImport(Musl)
internal import Musl
#endif
public import DinoTensor

/// The unfinished rows of a feature file.
public final class PartialFeatures {
  /// Inputs that have a row of an earlier run.
  public let resumed: Int
  /// Rows of an earlier run that are of no input: of one that has changed since, or is not among them any more.
  public let unused: Int
  /// Rows in the file.
  public private(set) var rowCount: Int
  /// Floats in a row.
  public let width: Int
  /// Whether a later run can go on from here.
  public let resumes: Bool

  /// Of each input the place of its row in the file; nil where it has none.
  private var places: [Int?]
  private let stamps: [InputStamp]
  private let dataPath: String
  private let logPath: String
  private var data: Int32
  private var log: Int32

  /// Inputs that have a row, in order.
  public var finished: [Int] { places.indices.filter { places[$0] != nil } }
  /// Inputs that have none, in order.
  public var pending: [Int] { places.indices.filter { places[$0] == nil } }

  /// Opens or begins the partial files of `output`.
  /// - Parameters:
  ///   - fingerprint: everything but the inputs that decides the rows (model, settings), as one line. Rows of another fingerprint are not thrown away: that is refused.
  ///   - stamps: of all inputs, in order, from before they are read. Rows are not thrown away either where most of them are of other inputs.
  ///   - resumes: whether a later run may go on from these rows, and this one from earlier rows.
  public init(output: String, fingerprint: String, width: Int, stamps: [InputStamp], resumes: Bool = true) throws(DinoError) {
    guard !fingerprint.contains(where: \.isNewline), width > 0 else {
      throw DinoError(.usage, "\(output): rows need a fingerprint of one line and at least one number, not \(width) of '\(fingerprint)'")
    }
    dataPath = output + ".partial"
    logPath = dataPath + ".log"
    self.width = width
    self.stamps = stamps
    self.resumes = resumes
    let header = resumes ? "dino features 4, \(width) floats a row, \(fingerprint)" : Self.headerOfOneRun
    data = try Self.open(dataPath)
    // Held until the file is closed: two runs into one file would mix their rows.
    var info = stat()
    guard flock(data, LOCK_EX | LOCK_NB) == 0, unsafe fstat(data, &info) == 0, info.st_nlink > 0 else {
      close(data)
      throw DinoError(.io, "\(output): another process is writing it", hint: "wait for that one, or name another file")
    }
    let earlier = Self.read(log: logPath, data: dataPath, header: header, rowBytes: width * 4)
    let wanted = Set(stamps.map(\.contents)), known = earlier.stamps.count { wanted.contains($0.contents) }
    // A few photographs are changed, deleted or added between two runs; where most are others, so are the images, or they are only some of those.
    guard earlier.stamps.isEmpty || earlier.isOfThisKind && known * 2 >= earlier.stamps.count else {
      close(data)
      let how = earlier.isOfThisKind ? "of other images, or of these before they changed (\(known) are of these)" : "with another model or other settings"
      throw DinoError(.usage, "\(dataPath) holds \(earlier.stamps.count) rows that an interrupted run made \(how)",
                      hint: "finish that run with its own command, remove the file, or name another file for the results")
    }
    let rows = Dictionary(zip(earlier.stamps.map(\.exact), earlier.stamps.indices), uniquingKeysWith: { first, _ in first }), same = Set(stamps.map(\.exact))
    places = stamps.map { rows[$0.exact] }
    resumed = places.count { $0 != nil }
    unused = earlier.stamps.count { !same.contains($0.exact) }
    rowCount = earlier.stamps.count
    do {
      try Self.cut(data, dataPath, length: earlier.stamps.count * width * 4)
      log = try Self.open(logPath)
      try Self.cut(log, logPath, length: earlier.logBytes)
    } catch {
      close(data)
      if earlier.stamps.isEmpty { _ = unsafe unlink(dataPath) }
      throw error
    }
    guard earlier.logBytes == 0 else { return }
    do { try append(header + "\n", to: log, path: logPath) } catch {
      remove()
      throw error
    }
  }

  deinit { closeFiles() }

  private func closeFiles() {
    if data >= 0 { close(data) }
    if log >= 0 { close(log) }
    data = -1
    log = -1
  }

  /// Adds the row of an input that has none.
  public func append(row: [Float], of input: Int) throws(DinoError) {
    guard row.count == width else { throw DinoError(.usage, "\(dataPath): a row has \(width) numbers, not \(row.count)") }
    guard places.indices.contains(input), places[input] == nil else {
      throw DinoError(.usage, "\(dataPath): there is no input \(input) that has no row yet; \(finished.count) of \(places.count) are done already")
    }
    try row.withByteSpan { (bytes) throws(DinoError) in try writeAll(bytes, to: data, path: dataPath) }
    let stamp = stamps[input]
    try append("row \(String(stamp.exact, radix: 16)) \(String(stamp.contents, radix: 16))\n", to: log, path: logPath)
    places[input] = rowCount
    rowCount += 1
  }

  /// The rows of the finished inputs, in their order, as a view of the file: [inputs, width]. The last thing that is asked for before `remove`.
  public func rows() throws(DinoError) -> Tensor {
    let order = places.compactMap { $0 }
    if order.elementsEqual(0..<rowCount) { return try view(from: 0, count: rowCount) }
    // Once more in order, behind those as they came: on the disk, for they may not fit into memory. A run that is stopped here leaves no line of them in the log.
    let written = try view(from: 0, count: rowCount).storage, rowBytes = width * 4
    try Self.cut(data, dataPath, length: rowCount * rowBytes)
    for row in order {
      let bytes = written.bytes(row * rowBytes..<(row + 1) * rowBytes)
      try bytes.withByteSpan { (span) throws(DinoError) in try writeAll(span, to: data, path: dataPath) }
    }
    return try view(from: rowCount, count: order.count)
  }

  private func view(from first: Int, count: Int) throws(DinoError) -> Tensor {
    let storage: Storage
    do { storage = try Storage(mapping: dataPath) } catch { throw DinoError(error, path: dataPath) }
    guard let tensor = Tensor(dtype: .f32, shape: [count, width], storage: storage, byteOffset: first * width * 4) else {
      throw DinoError(.io, "\(dataPath): \(storage.byteCount) bytes, where \(first + count) rows of \(width) floats were written", hint: "remove it and run again")
    }
    return tensor
  }

  /// Removes the partial files: after the result is in its place, or when nobody could go on from them.
  public func remove() {
    closeFiles()
    _ = unsafe unlink(dataPath)
    _ = unsafe unlink(logPath)
  }

  // MARK: Reading what an earlier run left

  /// The same in all versions: no rows of such a run are in anybody's way.
  private static let headerOfOneRun = "dino features 3, of one run alone"

  private struct Earlier {
    /// Whether the rows are of the same model and settings.
    var isOfThisKind = false
    /// Of the inputs of the rows, one after the other.
    var stamps: [InputStamp] = []
    /// Whole lines of the log whose rows are there.
    var logBytes = 0
  }

  /// Nothing where no run left rows that another could go on from.
  private static func read(log: String, data: String, header: String, rowBytes: Int) -> Earlier {
    var earlier = Earlier()
    guard let logFile = try? Storage(mapping: log), let dataFile = try? Storage(mapping: data), dataFile.byteCount > 0 else { return earlier }
    // Whole lines: behind the last line break is nothing, or a line that was being written.
    let lines = logFile.bytes(0..<logFile.byteCount).split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).dropLast()
    guard let first = lines.first, first.starts(with: "dino features ".utf8), !first.elementsEqual(headerOfOneRun.utf8) else { return earlier }
    let isOfThisKind = first.elementsEqual(header.utf8)
    // Of the last lines the row itself may not have reached the file.
    let limit = isOfThisKind ? dataFile.byteCount / rowBytes : Int.max
    var logBytes = first.count + 1
    for line in lines.dropFirst() where earlier.stamps.count < limit {
      // Earlier versions wrote one number: their rows are counted, and not taken.
      let numbers = line.dropFirst(4).split(separator: UInt8(ascii: " ")).compactMap { UInt64(String(decoding: $0, as: UTF8.self), radix: 16) }
      guard line.starts(with: "row ".utf8), let exact = numbers.first, let contents = numbers.last else { break }
      earlier.stamps.append(InputStamp(contents: contents, exact: exact))
      logBytes += line.count + 1
    }
    if isOfThisKind { (earlier.isOfThisKind, earlier.logBytes) = (true, logBytes) }
    return earlier
  }

  // MARK: Files

  private static func open(_ path: String) throws(DinoError) -> Int32 {
    let descriptor = unsafe Glibc.open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o666)
    guard descriptor >= 0 else { throw DinoError(.io, "\(path): cannot be created (\(systemReason(errno)))") }
    return descriptor
  }

  /// Takes away what is behind `length` bytes, where writing goes on.
  private static func cut(_ descriptor: Int32, _ path: String, length: Int) throws(DinoError) {
    guard ftruncate(descriptor, length) == 0, lseek(descriptor, length, SEEK_SET) == length else { throw DinoError(.io, "\(path): cannot be written (\(systemReason(errno)))") }
  }

  private func append(_ line: String, to descriptor: Int32, path: String) throws(DinoError) {
    try Array(line.utf8).withByteSpan { (bytes) throws(DinoError) in try writeAll(bytes, to: descriptor, path: path) }
  }
}

extension Array {
  /// The array's bytes, with typed throws.
  fileprivate func withByteSpan<E: Error>(_ body: (RawSpan) throws(E) -> Void) throws(E) where Element: BitwiseCopyable {
    unsafe try body(span.bytes)
  }
}

private func writeAll(_ bytes: RawSpan, to descriptor: Int32, path: String) throws(DinoError) {
  var done = 0
  while done < bytes.byteCount {
    let n = unsafe bytes.extracting(done..<bytes.byteCount).withUnsafeBytes { unsafe write(descriptor, $0.baseAddress, $0.count) }
    if n < 0 {
      if errno == EINTR { continue }
      throw DinoError(.io, "\(path): cannot be written (\(systemReason(errno)))")
    }
    done += n
  }
}

/// The system's words for an errno.
func systemReason(_ code: Int32) -> String {
  guard let words = unsafe strerror(code) else { return "error \(code)" }
  return unsafe String(cString: words)
}
