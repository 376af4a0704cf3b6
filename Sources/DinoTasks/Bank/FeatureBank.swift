// A bank of features, opened for reading: every segment is mapped, no row is read before it is searched or asked for. Rows are numbered in the order of the
// segments, removed ones counted, so a number holds until the bank is compacted. Writing is in BankWriter.swift.

public import DinoKernels

/// An opened bank.
public struct FeatureBank: Sendable {
  public let folder: String
  let manifest: BankManifest
  private let segments: [BankSegment]
  /// The number of each segment's first row, and that of all rows at the end.
  private let starts: [Int]
  /// What is put before the relative names of each segment's rows for them to lead to their files from the working folder.
  private let leads: [String?]

  public var record: BankRecord { manifest.record }
  public var width: Int { manifest.width }
  public var element: BankElement { manifest.element }
  public var classes: [String] { manifest.classes }
  public var segmentCount: Int { segments.count }
  /// Rows that are numbered, removed ones too.
  public var rowCount: Int { starts[segments.count] }
  public var removedCount: Int { manifest.segments.reduce(0) { $0 + $1.removedRows } }
  public var liveCount: Int { rowCount - removedCount }

  public init(path: String) throws(TaskError) {
    let folder = path.count > 1 && path.hasSuffix("/") ? String(path.dropLast()) : path
    func manifest() throws(TaskError) -> BankManifest {
      guard let found = try BankManifest(folder: folder) else { throw .bankNotFound(path: folder) }
      return found
    }
    var current = try manifest()
    while true {
      do {
        self = try FeatureBank(folder: folder, manifest: current)
        return
      } catch {
        // A writer may have replaced the manifest, and taken away files that the earlier one names, since it was read.
        let newer = try manifest()
        guard newer != current else { throw error }
        current = newer
      }
    }
  }

  init(folder: String, manifest: BankManifest) throws(TaskError) {
    self.folder = folder
    self.manifest = manifest
    var segments: [BankSegment] = [], starts = [0]
    for entry in manifest.segments {
      let segment = try BankSegment(entry, folder: folder, width: manifest.width, element: manifest.element)
      segments.append(segment)
      starts.append(starts[segments.count - 1] + segment.count)
    }
    self.segments = segments
    self.starts = starts
    leads = Self.leads(folder, manifest, segments)
  }

  /// Segments of one base have one lead.
  private static func leads(_ folder: String, _ manifest: BankManifest, _ segments: [BankSegment]) -> [String?] {
    var members: [BankBase: [Int]] = [:], leads = [String?](repeating: nil, count: segments.count)
    for (s, entry) in manifest.segments.enumerated() { if let base = entry.base { members[base, default: []].append(s) } }
    for (base, own) in members {
      // Some of the files may be gone: rows spread over all, and more of them for bases of few segments.
      let each = max(1, 128 / own.count)
      let names = own.flatMap { s in
        let segment = segments[s], step = max(1, segment.count / each)
        return stride(from: 0, to: segment.count, by: step).filter { !segment.rows.isRemoved($0) }.map(segment.path)
      }
      let lead = base.lead(bank: folder, names: names)
      for s in own { leads[s] = lead }
    }
    return leads
  }

  /// Whether there is a bank at a path: only looked at.
  public static func isBank(_ path: String) -> Bool { ((try? BankManifest(folder: path)) ?? nil) != nil }

  /// The rows as a search wants them.
  public var parts: [StoredRows] { segments.map(\.rows) }

  /// Numbers of the rows that are not removed.
  public var liveRows: [Int] {
    var rows: [Int] = []
    rows.reserveCapacity(liveCount)
    for (s, segment) in segments.enumerated() {
      for i in 0..<segment.count where !segment.rows.isRemoved(i) { rows.append(starts[s] + i) }
    }
    return rows
  }

  /// The row's feature, of unit length.
  public func unit(_ row: Int) -> [Float] { at(row) { $0.rows.values($1) } }

  /// The row as it is stored.
  func encoded(_ row: Int) -> EncodedRow {
    let stored = at(row) { $0.rows.stored($1) }
    return EncodedRow(values: stored.values, scale: element == .f32 ? 1 : stored.scale)
  }

  /// The row's feature as the network gave it, to rounding.
  public func feature(_ row: Int) -> [Float] {
    at(row) { segment, i in
      let length = segment.length(i)
      return segment.rows.values(i).map { $0 * length }
    }
  }

  /// What the row's feature was divided by.
  public func length(_ row: Int) -> Float { at(row) { $0.length($1) } }

  /// The row's name as it was given when the row was made.
  public func name(_ row: Int) -> String { at(row) { $0.path($1) } }

  /// The row's name, as a path that leads from the working folder: the name itself where the bank was made there.
  public func path(_ row: Int) -> String {
    let s = segment(of: row)
    return BankBase.joined(leads[s], segments[s].path(row - starts[s]))
  }

  /// Whether the row's name may be that of a file: standard input is none.
  public func isOfFile(_ row: Int) -> Bool {
    let name = name(row)
    return !name.isEmpty && !BankBase.isOfInput(name)
  }

  /// Whether the row's name leads from a folder that is not known.
  public func lacksBase(_ row: Int) -> Bool { base(row) == nil && BankBase.isRelative(name(row)) }

  /// Whether two rows whose names lead to one file are surely of one: their names lead from one folder, or it was not kept from where.
  public func areOfOneFile(_ row: Int, _ other: Int) -> Bool {
    let (a, b) = (base(row), base(other))
    return a == nil || b == nil || a == b
  }

  /// Where the row's name leads from.
  func base(_ row: Int) -> BankBase? { manifest.segments[segment(of: row)].base }

  /// The index of the row's class; nil for none.
  public func label(_ row: Int) -> Int? {
    at(row) { segment, i in segment.label(i).flatMap { $0 < manifest.classes.count ? $0 : nil } }
  }

  /// What the row's file was known by when it was read; nil where that was not kept.
  public func stamp(_ row: Int) -> UInt64? { at(row) { $0.stamp($1) } }

  public func isRemoved(_ row: Int) -> Bool { at(row) { $0.rows.isRemoved($1) } }

  private func at<R>(_ row: Int, _ body: (BankSegment, Int) -> R) -> R {
    let s = segment(of: row)
    return body(segments[s], row - starts[s])
  }

  private func segment(of row: Int) -> Int {
    precondition(row >= 0 && row < rowCount, "row \(row) of \(rowCount)")
    // The last segment that starts at or before the row.
    var low = 0, high = segments.count
    while high - low > 1 {
      let middle = (low + high) / 2
      if starts[middle] <= row { low = middle } else { high = middle }
    }
    return low
  }

  /// The `k` most similar rows to each query, best first. Queries need not be of unit length: the scores are cosines.
  public func nearest(to queries: [[Float]], k: Int, threads: Int) throws(TaskError) -> [[FoundRow]] {
    var flat: [Float] = []
    flat.reserveCapacity(queries.count * width)
    for query in queries {
      guard query.count == width else { throw .width(name: folder, expected: width, found: query.count) }
      flat += unitVector(query).values
    }
    return RowSearch.nearest(parts, to: flat, width: width, k: k, team: .shared(max(1, threads)))
  }
}

/// A vector divided by its length, and that length. One of (almost) no length stays zeros.
public func unitVector(_ values: [Float]) -> (values: [Float], length: Float) {
  var sum = 0.0
  for v in values { sum += Double(v) * Double(v) }
  let length = sum.squareRoot()
  guard length > 1e-12 else { return (values.map { _ in 0 }, 0) }
  return (values.map { Float(Double($0) / length) }, Float(length))
}
