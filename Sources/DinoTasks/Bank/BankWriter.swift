// Changes to a bank: rows are added as new segments, removed by bits in a new file, and moved together by writing everything anew. Each change ends with one
// replacement of the manifest; files that no manifest names, left by a process that was killed, are swept away when the next writer comes.

internal import AtomicFiles
internal import DinoKernels
internal import DinoTensor
#if canImport(Glibc)
internal import Glibc
#elseif canImport(Musl)
internal import Musl
#endif
#if canImport(FoundationEssentials)
internal import FoundationEssentials
#else
internal import Foundation
#endif

/// The one writer of a bank.
public final class BankWriter {
  public let folder: String
  /// Bytes of rows after which a segment is written: what is held in memory.
  public var segmentBytes = 64 << 20
  /// Whether the names of the rows that are added are paths, relative ones from the working folder.
  public var namesArePaths = false
  private var manifest: BankManifest
  private var builder: SegmentBuilder
  /// Rows that go when those of the builder come.
  private var replaced: [Int] = []
  private let lock: FolderLock
  private var classIndex: [ClassName: Int]
  private let isNew: Bool
  /// The bank as this writer found it, committed it or compacted it.
  private var original: BankManifest

  public var record: BankRecord { manifest.record }
  /// Rows that are not in a segment yet, and would be lost.
  public var pending: Int { builder.count }

  /// Opens the bank at `path`, or begins one there. An existing bank must be of the same features and elements.
  public init(path: String, width: Int, element: BankElement?, record: BankRecord) throws(TaskError) {
    let folder = path.count > 1 && path.hasSuffix("/") ? String(path.dropLast()) : path
    /// The bank that is there, which must be such a one; nil where none is.
    func present() throws(TaskError) -> BankManifest? {
      guard let found = try BankManifest(folder: folder) else { return nil }
      try found.record.check(record, bank: folder)
      guard found.width == width else { throw .width(name: folder, expected: found.width, found: width) }
      if let element, element != found.element { throw .badManifest(path: folder, reason: "its rows are \(found.element.rawValue), not \(element.rawValue)") }
      return found
    }
    if FileManager.default.fileExists(atPath: folder) {
      // Before the lock is taken, whose file would stay in a folder that is no bank.
      let there = try present()
      guard there != nil || BankWriter.isBegun(folder) else { throw .bankExists(path: folder) }
    } else {
      do { try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true) } catch { throw .cannotWrite(path: folder, reason: "the folder cannot be made") }
    }
    lock = try FolderLock(folder)
    // Looked at again: another writer may have been there in between.
    let found = try present()
    let current = found ?? BankManifest(width: width, element: element ?? .f32, record: record)
    self.folder = folder
    manifest = current
    builder = SegmentBuilder(width: current.width, element: current.element)
    classIndex = ClassName.places(current.classes)
    isNew = found == nil
    original = current
    if isNew { try current.write(to: folder) }
    sweep()
  }

  /// Whether a folder without a manifest is one in which a bank may begin: it is empty, or of a writer that has come no further, or has finished the manifest by now.
  private static func isBegun(_ folder: String) -> Bool {
    guard let names = try? FileManager.default.contentsOfDirectory(atPath: folder) else { return false }
    return names.contains(BankManifest.fileName) || names.allSatisfy { $0 == FolderLock.fileName || isUnfinishedManifest($0) }
  }

  private static func isUnfinishedManifest(_ name: String) -> Bool { name.hasPrefix(BankManifest.fileName + ".") && name.hasSuffix(".tmp") }

  /// Takes a bank that this writer began and that has no rows away again: what a failed command leaves behind is nothing.
  public func abandonIfEmpty() {
    guard isNew, manifest.segments.isEmpty else { return }
    for name in [BankManifest.fileName, FolderLock.fileName] { _ = unsafe unlink("\(folder)/\(name)") }
    _ = unsafe rmdir(folder)
  }

  /// Keeps everything that this writer did: `rollBack` goes back to here, and what was replaced goes.
  public func commit() throws(TaskError) {
    try flush()
    original = manifest
    sweep()
  }

  /// Takes back everything that this writer did since it began, committed or compacted, but for the numbers of files: a reader may have the files open that go.
  public func rollBack() throws(TaskError) {
    original.next = manifest.next
    try original.write(to: folder)
    manifest = original
    replaced = []
    builder = SegmentBuilder(width: manifest.width, element: manifest.element)
    classIndex = ClassName.places(manifest.classes)
    sweep()
    abandonIfEmpty()
  }

  /// Opens an existing bank, whatever its features are.
  public convenience init(existing path: String) throws(TaskError) {
    let bank = try FeatureBank(path: path)
    try self.init(path: bank.folder, width: bank.width, element: nil, record: bank.record)
  }

  /// Adds a row; it is safe once `flush` has returned.
  /// - Parameters:
  ///   - stamp: what a later run knows the row's file by, to see whether it has changed.
  ///   - row: a row that this one is in the place of: it is removed in the moment in which this one is safe.
  public func append(_ feature: [Float], path: String, label: String?, stamp: UInt64? = nil, replacing row: Int? = nil) throws(TaskError) {
    guard feature.count == manifest.width else { throw .width(name: path, expected: manifest.width, found: feature.count) }
    guard feature.allSatisfy(\.isFinite) else { throw .notFinite(name: path) }
    let (unit, length) = unitVector(feature)
    guard length.isFinite else { throw .notFinite(name: path) }
    if let row { replaced.append(row) }
    builder.append(EncodedRow(unit: unit, as: manifest.element), length: length, label: label.map(index), path: path, stamp: stamp)
    if builder.byteCount >= segmentBytes { try flush() }
  }

  /// Keeps that the names of these rows, and of those that were made with them, lead from the working folder, where it was not known from where: banks of before it was kept.
  public func keepThatNamesLeadFromHere(_ rows: [Int]) throws(TaskError) {
    try flush()
    guard let here = BankBase.here(bank: folder) else { return }
    var changed = manifest, start = 0
    for (s, entry) in changed.segments.enumerated() {
      if entry.base == nil, rows.contains(where: { $0 >= start && $0 < start + entry.rows }) { changed.segments[s].base = here }
      start += entry.rows
    }
    guard changed != manifest else { return }
    try changed.write(to: folder)
    manifest = changed
  }

  private func index(_ name: String) -> Int {
    if let known = classIndex[ClassName(name)] { return known }
    classIndex[ClassName(name)] = manifest.classes.count
    manifest.classes.append(name)
    return manifest.classes.count - 1
  }

  /// Writes what was added as a segment and names it in the manifest.
  public func flush() throws(TaskError) {
    guard builder.count > 0 else { return }
    var changed = manifest
    _ = try mark(replaced.sorted(), in: &changed)
    changed.segments.append(try write(builder, namesArePaths ? .here(bank: folder) : nil, &changed))
    try changed.write(to: folder)
    manifest = changed
    builder = SegmentBuilder(width: manifest.width, element: manifest.element)
    if !replaced.isEmpty { sweep() }
    replaced = []
  }

  private func write(_ builder: SegmentBuilder, _ base: BankBase?, _ manifest: inout BankManifest) throws(TaskError) -> BankManifest.Segment {
    let name = newName("segment", &manifest), path = "\(folder)/\(name)"
    try builder.write(to: path)
    var info = stat()
    guard unsafe stat(path, &info) == 0 else { throw .cannotWrite(path: path, reason: AtomicFile.reason(errno)) }
    return BankManifest.Segment(file: name, rows: builder.count, bytes: Int(info.st_size), base: base)
  }

  private func newName(_ kind: String, _ manifest: inout BankManifest) -> String {
    let digits = String(manifest.next)
    manifest.next += 1
    return "\(kind)-" + String(repeating: "0", count: max(0, 6 - digits.count)) + digits + ".safetensors"
  }

  /// Marks the rows of these paths as removed, however the paths are spelt; paths that are folders stand for all below them. How many rows that were.
  /// - Parameter unmatched: is told of each path that no row has.
  public func remove(paths: [String], unmatched: (String) -> Void = { _ in }) throws(TaskError) -> Int {
    try flush()
    let bank = try FeatureBank(folder: folder, manifest: manifest)
    var chosen = RowsBelow(paths), rows: [Int] = []
    for row in bank.liveRows where chosen.contains(bank.path(row)) { rows.append(row) }
    for path in chosen.unmatched { unmatched(path) }
    return try remove(rows: rows)
  }

  /// Marks rows, by their numbers in rising order, as removed. How many rows that were.
  public func remove(rows: [Int]) throws(TaskError) -> Int {
    try flush()
    var changed = manifest
    let total = try mark(rows, in: &changed)
    guard total > 0 else { return 0 }
    try changed.write(to: folder)
    manifest = changed
    sweep()
    return total
  }

  /// Writes new bits of removed rows for a manifest, which are more by `rows`, in rising order. How many more.
  private func mark(_ rows: [Int], in changed: inout BankManifest) throws(TaskError) -> Int {
    var total = 0, start = 0, rows = rows[...]
    for (s, entry) in changed.segments.enumerated() {
      let end = start + entry.rows, here = rows.prefix { $0 < end }
      rows = rows.dropFirst(here.count)
      defer { start = end }
      guard !here.isEmpty else { continue }
      let segment = try BankSegment(entry, folder: folder, width: manifest.width, element: manifest.element)
      var bits = segment.rows.removed.isEmpty ? [UInt64](repeating: 0, count: (segment.count + 63) / 64) : segment.rows.removed
      var count = 0
      for row in here {
        let word = (row - start) >> 6, bit: UInt64 = 1 << UInt64((row - start) & 63)
        // A row may be named twice.
        guard bits[word] & bit == 0 else { continue }
        bits[word] |= bit
        count += 1
      }
      guard count > 0 else { continue }
      let name = newName("removed", &changed)
      try BankSegment.write(bits: bits, to: "\(folder)/\(name)")
      changed.segments[s].removedFile = name
      changed.segments[s].removedRows += count
      total += count
    }
    return total
  }

  /// Writes all rows that are not removed anew, in few segments: those whose names lead from one folder beside each other. Rows get new numbers; classes that have no rows left go,
  /// the others keep their order.
  /// - Parameters:
  ///   - bytes: the size of a segment, all of which is in memory while it is made.
  ///   - goesOn: asked after each row with how many there are; false ends with `TaskError.stopped`, and the bank is as it was.
  public func compact(segmentBytes bytes: Int = 512 << 20, goesOn: (Int) -> Bool = { _ in true }) throws(TaskError) {
    try flush()
    let bank = try FeatureBank(folder: folder, manifest: manifest)
    var changed = manifest
    do { try rewrite(bank, &changed, segmentBytes: bytes, goesOn) } catch {
      sweep()
      throw error
    }
    try changed.write(to: folder)
    manifest = changed
    original = changed
    classIndex = ClassName.places(manifest.classes)
    sweep()
  }

  private func rewrite(_ bank: FeatureBank, _ changed: inout BankManifest, segmentBytes bytes: Int, _ goesOn: (Int) -> Bool) throws(TaskError) {
    let live = bank.liveRows, used = Set(live.compactMap { bank.label($0) }).sorted()
    let numbers = Dictionary(uniqueKeysWithValues: used.enumerated().map { ($1, $0) })
    changed.classes = used.map { manifest.classes[$0] }
    changed.segments = []
    // A segment has one base.
    var places: [BankBase?: Int] = [:], groups: [(base: BankBase?, rows: [Int])] = []
    for row in live {
      let base = bank.base(row), place = places[base] ?? groups.count
      if place == groups.count {
        places[base] = place
        groups.append((base, []))
      }
      groups[place].rows.append(row)
    }
    var done = 0
    for (base, rows) in groups {
      var next = SegmentBuilder(width: changed.width, element: changed.element)
      for row in rows {
        next.append(bank.encoded(row), length: bank.length(row), label: bank.label(row).flatMap { numbers[$0] }, path: bank.name(row), stamp: bank.stamp(row))
        if next.byteCount >= bytes {
          changed.segments.append(try write(next, base, &changed))
          next = SegmentBuilder(width: changed.width, element: changed.element)
        }
        done += 1
        guard goesOn(done) else { throw .stopped }
      }
      if next.count > 0 { changed.segments.append(try write(next, base, &changed)) }
    }
  }

  /// Removes files of this room's names that neither the manifest names nor the one that `rollBack` goes back to, and graphs in the making: who builds one holds the lock.
  private func sweep() {
    let named = manifest.files.union(original.files)
    for name in (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? [] where !named.contains(name) {
      let isOurs = name.hasPrefix("segment-") || name.hasPrefix("removed-") || [BankManifest.fileName, ApproximateIndex.fileName].contains { name.hasPrefix($0 + ".") }
      if isOurs && (name.hasSuffix(".safetensors") || name.hasSuffix(".tmp")) { _ = unsafe unlink("\(folder)/\(name)") }
    }
  }
}

/// Held by the one process that writes a bank; given back by the system when the process ends, however it does.
private final class FolderLock {
  static let fileName = "lock"
  private let descriptor: Int32

  init(_ folder: String) throws(TaskError) {
    descriptor = unsafe open("\(folder)/\(Self.fileName)", O_RDWR | O_CREAT | O_CLOEXEC, 0o666)
    guard descriptor >= 0 else { throw .cannotWrite(path: folder, reason: AtomicFile.reason(errno)) }
    guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
      close(descriptor)
      throw .bankIsBusy(path: folder)
    }
  }

  deinit { close(descriptor) }
}
