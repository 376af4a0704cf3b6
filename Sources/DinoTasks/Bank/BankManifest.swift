// The one mutable file of a bank: which immutable files hold its rows. It is replaced as a whole, so a reader sees the bank before a change or after it.
// What it says is checked against the files when the bank is opened (FeatureBank.swift).

internal import AtomicFiles
internal import DinoTensor
internal import Safetensors

/// How a bank's numbers are stored.
public enum BankElement: String, Sendable, CaseIterable {
  case f32 = "F32"
  case f16 = "F16"
  /// A scale for each row, which gives its integers the length 1.
  case int8 = "I8"

  var bytes: Int {
    switch self {
    case .f32: 4
    case .f16: 2
    case .int8: 1
    }
  }
}

struct BankManifest: Sendable, Equatable {
  static let fileName = "bank.json"
  static let version = 1

  struct Segment: Sendable, Equatable {
    var file: String
    var rows: Int
    /// Length of the file: one that was cut short is noticed without reading it.
    var bytes: Int
    /// The file of the bits of removed rows, and how many are set.
    var removedFile: String?
    var removedRows = 0
    /// Where the names of the rows lead from; nil of names that are no paths, and in banks of before it was kept.
    var base: BankBase?
  }

  var width: Int
  var element: BankElement
  var record: BankRecord
  var classes: [String] = []
  /// The number of the next file: names are never used again.
  var next = 1
  var segments: [Segment] = []

  var rows: Int { segments.reduce(0) { $0 + $1.rows } }
  var files: Set<String> { Set(segments.flatMap { [$0.file] + ($0.removedFile.map { [$0] } ?? []) }) }

  func write(to folder: String) throws(TaskError) {
    let text = JSONValue.object([
      .init("format", .string("dino.bank")), .init("version", .integer(Self.version)), .init("width", .integer(width)), .init("dtype", .string(element.rawValue)),
      .init("record", record.json), .init("classes", .array(classes.map { .string($0) })), .init("next", .integer(next)),
      .init("segments", .array(segments.map(Self.json))),
    ]).text + "\n"
    let path = "\(folder)/\(Self.fileName)"
    do {
      let file = try AtomicFile(path: path)
      try file.write(Array(text.utf8))
      try file.commit()
    } catch { throw .cannotWrite(path: path, reason: error.reason) }
  }

  private static func json(_ segment: Segment) -> JSONValue {
    var members: [JSONValue.Member] = [.init("file", .string(segment.file)), .init("rows", .integer(segment.rows)), .init("bytes", .integer(segment.bytes))]
    if let file = segment.removedFile { members += [.init("removed", .string(file)), .init("removed_rows", .integer(segment.removedRows))] }
    if let base = segment.base {
      members.append(.init("base", .string(base.folder)))
      if let fromBank = base.fromBank { members.append(.init("base_from_bank", .string(fromBank))) }
    }
    return .object(members)
  }

  /// Reads the manifest of a folder; nil where there is none.
  init?(folder: String) throws(TaskError) {
    let storage: Storage
    do { storage = try Storage(mapping: "\(folder)/\(Self.fileName)") } catch {
      if case .cannotOpen(_, 2) = error { return nil }  // ENOENT
      throw TaskError(error, path: "\(folder)/\(Self.fileName)")
    }
    func bad(_ reason: String) -> TaskError { .badManifest(path: folder, reason: reason) }
    let json: JSONValue
    do { json = try storage.withBytes { (bytes) throws(JSONError) in try JSONValue.parse(bytes, limits: JSONLimits(bytes: 256 << 20, values: 20_000_000)) } } catch {
      throw bad(error.description)
    }
    guard json["format"]?.stringValue == "dino.bank" else { throw bad("it is not the manifest of a feature bank") }
    guard let version = json["version"]?.integerValue, version == Self.version else { throw bad("version \(json["version"]?.text ?? "none") is not known; this program reads \(Self.version)") }
    guard let width = json["width"]?.integerValue, (1...1 << 20).contains(width) else { throw bad("'width' must be a number from 1 to \(1 << 20)") }
    guard let element = json["dtype"]?.stringValue.flatMap(BankElement.init) else { throw bad("'dtype' must be F32, F16 or I8") }
    guard let record = json["record"].flatMap(BankRecord.init(json:)) else { throw bad("'record' does not say where the features come from") }
    guard let classes = json["classes"]?.arrayValue?.map(\.stringValue), !classes.contains(nil) else { throw bad("'classes' must be a list of names") }
    guard Set(classes.compactMap { $0.map(ClassName.init) }).count == classes.count else { throw bad("'classes' names one twice") }
    guard let next = json["next"]?.integerValue, (1..<1 << 40).contains(next) else { throw bad("'next' must be a number above 0") }
    guard let list = json["segments"]?.arrayValue else { throw bad("'segments' must be a list") }
    self.init(width: width, element: element, record: record, classes: classes.compactMap { $0 }, next: next)
    for entry in list {
      guard let file = entry["file"]?.stringValue, Self.isPlain(file), let rows = entry["rows"]?.integerValue, (1..<1 << 48).contains(rows),
        let bytes = entry["bytes"]?.integerValue, bytes > 0 else { throw bad("a segment is not a file in the folder with its rows and bytes") }
      var segment = Segment(file: file, rows: rows, bytes: bytes)
      if let removed = entry["removed"]?.stringValue {
        guard Self.isPlain(removed), let count = entry["removed_rows"]?.integerValue, (0...rows).contains(count) else { throw bad("segment \(file): its removed rows are not stated rightly") }
        segment.removedFile = removed
        segment.removedRows = count
      }
      if let value = entry["base"] {
        guard let folder = value.stringValue, let base = BankBase(folder: folder, fromBankText: entry["base_from_bank"]?.stringValue) else {
          throw bad("segment \(file): the folder that its names lead from is not stated rightly")
        }
        segment.base = base
      }
      segments.append(segment)
    }
    guard files.count == segments.reduce(0, { $0 + ($1.removedFile == nil ? 1 : 2) }) else { throw bad("a file is named twice") }
  }

  init(width: Int, element: BankElement, record: BankRecord, classes: [String] = [], next: Int = 1) {
    self.width = width
    self.element = element
    self.record = record
    self.classes = classes
    self.next = next
  }

  /// Whether `name` can only be a file in the folder itself.
  private static func isPlain(_ name: String) -> Bool {
    name.hasSuffix(".safetensors") && name.utf8.count <= 64 && name.utf8.allSatisfy { ($0 >= 0x30 && $0 <= 0x39) || ($0 >= 0x61 && $0 <= 0x7A) || $0 == 0x2D || $0 == 0x2E }
      && !name.hasPrefix(".")
  }
}
