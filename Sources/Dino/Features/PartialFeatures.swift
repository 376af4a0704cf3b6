// Rows in the making, in a form that survives a kill at any moment: `OUT.partial` holds the rows one after the other (little-endian f32), and
// `OUT.partial.log` one line an input with its stamp, written after its row. A later run with the same settings goes on behind the last whole line
// of the inputs that are still what they were; one with other settings, or with other inputs at every place, is refused while rows are there.

#if canImport(Glibc)
internal import Glibc
#elseif canImport(Musl)
internal import Musl
#endif
public import DinoTensor

/// What became of an input.
public enum FeatureOutcome: Sendable, Equatable {
  case row
  /// Left out, with the reason.
  case skipped(String)
}

/// The unfinished rows of a feature file.
public final class PartialFeatures {
  /// Finished inputs, in order; those of an earlier run first.
  public private(set) var outcomes: [FeatureOutcome] = []
  /// Inputs that an earlier run had finished.
  public private(set) var resumed: Int
  /// Whether an input behind those is not what it was when the earlier run read it.
  public private(set) var changed: Bool
  /// Floats in a row; known from the first row on.
  public private(set) var rowCount = 0
  public let width: Int
  /// Whether a later run can go on from here.
  public let resumes: Bool

  private let header: String
  private let stamps: [UInt64]
  private let dataPath: String
  private let logPath: String
  private var data: Int32
  private var log: Int32

  /// Opens or begins the partial files of `output`.
  /// - Parameters:
  ///   - fingerprint: everything but the inputs that decides the rows (model, settings), as one line. Rows of another fingerprint are not thrown away: that is refused.
  ///   - stamps: of all inputs, in order, from before they are read. Rows are not thrown away either where none of them is at the place where it was.
  ///   - resumes: whether a later run may go on from these rows, and this one from earlier rows.
  public init(output: String, fingerprint: String, width: Int, stamps: [UInt64], resumes: Bool = true) throws(DinoError) {
    guard !fingerprint.contains(where: \.isNewline), width > 0 else {
      throw DinoError(.usage, "\(output): rows need a fingerprint of one line and at least one number, not \(width) of '\(fingerprint)'")
    }
    dataPath = output + ".partial"
    logPath = dataPath + ".log"
    self.width = width
    self.stamps = stamps
    self.resumes = resumes
    header = resumes ? "dino features 2, \(width) floats a row, \(fingerprint)" : Self.headerOfOneRun
    data = try Self.open(dataPath)
    // Held until the file is closed: two runs into one file would mix their rows.
    var info = stat()
    guard flock(data, LOCK_EX | LOCK_NB) == 0, unsafe fstat(data, &info) == 0, info.st_nlink > 0 else {
      close(data)
      throw DinoError(.io, "\(output): another process is writing it", hint: "wait for that one, or name another file")
    }
    if let others = Self.otherRows(log: logPath, data: dataPath, header: header, stamps: stamps) {
      close(data)
      throw DinoError(.usage, "\(dataPath) holds \(others.count) rows that an interrupted run made \(others.how)",
                      hint: "finish that run with its own command, remove the file, or name another file for the results")
    }
    let earlier = !resumes ? Earlier() : Self.read(log: logPath, data: dataPath, header: header, stamps: stamps, rowBytes: width * 4)
    outcomes = earlier.outcomes
    resumed = earlier.outcomes.count
    rowCount = earlier.rows
    changed = earlier.changed
    do {
      try Self.cut(data, dataPath, length: earlier.rows * width * 4)
      log = try Self.open(logPath)
      try Self.cut(log, logPath, length: earlier.logBytes)
    } catch {
      close(data)
      if earlier.rows == 0 { _ = unsafe unlink(dataPath) }
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

  /// Adds the row of the next input.
  public func append(row: [Float]) throws(DinoError) {
    guard row.count == width else { throw DinoError(.usage, "\(dataPath): a row has \(width) numbers, not \(row.count)") }
    try checkRoom()
    try row.withByteSpan { (bytes) throws(DinoError) in try writeAll(bytes, to: data, path: dataPath) }
    try append(line(outcomes.count, .row), to: log, path: logPath)
    outcomes.append(.row)
    rowCount += 1
  }

  /// Notes that the next input was left out.
  public func append(skipped reason: String) throws(DinoError) {
    try checkRoom()
    let outcome = FeatureOutcome.skipped(reason.split(whereSeparator: \.isNewline).joined(separator: " "))
    try append(line(outcomes.count, outcome), to: log, path: logPath)
    outcomes.append(outcome)
  }

  private func checkRoom() throws(DinoError) {
    guard outcomes.count < stamps.count else { throw DinoError(.usage, "\(dataPath): all \(stamps.count) inputs are done already") }
  }

  /// Forgets the inputs from `index` on, because that one is not what it was.
  public func goBack(to index: Int) throws(DinoError) {
    outcomes.removeSubrange(index...)
    rowCount = outcomes.count { $0 == .row }
    resumed = min(resumed, index)
    changed = true
    var logBytes = header.utf8.count + 1
    for (i, outcome) in outcomes.enumerated() { logBytes += line(i, outcome).utf8.count }
    try Self.cut(log, logPath, length: logBytes)
    try Self.cut(data, dataPath, length: rowCount * width * 4)
  }

  /// What the log says of an input.
  private func line(_ index: Int, _ outcome: FeatureOutcome) -> String {
    let stamp = Self.text(stamps[index])
    switch outcome {
    case .row: return "row \(stamp)\n"
    case .skipped(let reason): return "skipped \(stamp) \(reason)\n"
    }
  }

  private static func text(_ stamp: UInt64) -> String { String(stamp, radix: 16) }

  /// All rows, as a view of the file: [rows, width].
  public func rows() throws(DinoError) -> Tensor {
    let storage: Storage
    do { storage = try Storage(mapping: dataPath) } catch { throw DinoError(error, path: dataPath) }
    guard let tensor = Tensor(dtype: .f32, shape: [rowCount, width], storage: storage, byteOffset: 0) else {
      throw DinoError(.io, "\(dataPath): \(storage.byteCount) bytes, where \(rowCount) rows of \(width) floats were written", hint: "remove it and run again")
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

  private static let headerOfOneRun = "dino features 2, of one run alone"

  /// How many rows are there that only another run could go on from, and how that one made them; nil where there are none.
  private static func otherRows(log: String, data: String, header: String, stamps: [UInt64]) -> (count: Int, how: String)? {
    guard let logFile = try? Storage(mapping: log), let dataFile = try? Storage(mapping: data), dataFile.byteCount > 0 else { return nil }
    // Whole lines: behind the last line break is nothing, or a line that was being written.
    let lines = logFile.bytes(0..<logFile.byteCount).split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).dropLast()
    guard let first = lines.first, first.starts(with: "dino features ".utf8), !first.elementsEqual(headerOfOneRun.utf8) else { return nil }
    let count = lines.count { $0.starts(with: "row ".utf8) }
    guard count > 0 else { return nil }
    guard first.elementsEqual(header.utf8) else { return (count, "with another model or other settings") }
    // Where one of the same inputs has changed, the others are at their places.
    for (line, stamp) in zip(lines.dropFirst(), stamps) {
      let words = line.split(separator: UInt8(ascii: " "), maxSplits: 2)
      if words.count > 1, words[1].elementsEqual(text(stamp).utf8) { return nil }
    }
    return (count, "of other images, or of these before they all changed")
  }

  private struct Earlier {
    var outcomes: [FeatureOutcome] = []
    var rows = 0
    var logBytes = 0
    var changed = false
  }

  private static func read(log: String, data: String, header: String, stamps: [UInt64], rowBytes: Int) -> Earlier {
    var earlier = Earlier()
    guard let logFile = try? Storage(mapping: log), let dataFile = try? Storage(mapping: data) else { return earlier }
    let bytes = logFile.bytes(0..<logFile.byteCount)
    guard let firstBreak = bytes.firstIndex(of: 0x0A), String(decoding: bytes[..<firstBreak], as: UTF8.self) == header else { return earlier }
    earlier.logBytes = firstBreak + 1
    while earlier.outcomes.count < stamps.count, let lineBreak = bytes[earlier.logBytes...].firstIndex(of: 0x0A) {
      let line = String(decoding: bytes[earlier.logBytes..<lineBreak], as: UTF8.self)
      let words = line.split(separator: " ", maxSplits: 2, omittingEmptySubsequences: false).map(String.init)
      guard words.count >= 2 else { break }
      guard words[1] == text(stamps[earlier.outcomes.count]) else {
        earlier.changed = true
        break
      }
      if words[0] == "row", words.count == 2 {
        guard dataFile.byteCount / rowBytes > earlier.rows else { break }  // the row itself did not reach the file
        earlier.rows += 1
        earlier.outcomes.append(.row)
      } else if words[0] == "skipped", words.count == 3 {
        earlier.outcomes.append(.skipped(words[2]))
      } else {
        break
      }
      earlier.logBytes = lineBreak + 1
    }
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
