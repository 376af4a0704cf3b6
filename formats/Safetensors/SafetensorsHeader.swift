// The header of a safetensors file, from bytes: every rule of formats/README.md section 2 is checked here, and nothing is read from disk.
// No recursion and no tree: memory is what the entries take. The file is SafetensorsFile.swift.

public import DinoTensor

/// What the header says of one tensor.
public struct SafetensorsEntry: Sendable, Equatable {
  public let name: String
  public let dtype: DType
  public let shape: Shape
  /// Where the bytes are, from the start of the file.
  public let byteRange: Range<Int>
}

/// A checked header.
public struct SafetensorsHeader: Sendable, Equatable {
  /// Limits of the format (`headerBytes`) and of this reader (the rest).
  public enum Limits {
    public static let headerBytes = 100_000_000
    public static let tensors = 100_000
    public static let metadataEntries = 10_000
    /// Of tensor names and metadata keys.
    public static let nameBytes = 512
    /// Combining marks in a row in a name: what Unicode's stream-safe text allows (UAX #15). Comparing strings puts the marks of a run in
    /// order, at a cost that grows with the square of their number.
    public static let marksInARow = mostMarksInARow
    public static let rank = 64
  }

  /// All tensors, in the order of their bytes.
  public let entries: [SafetensorsEntry]
  public let metadata: [String: String]
  /// Where the data start in the file: 8 more than the header's length.
  public let dataStart: Int

  /// Reads and checks a header.
  /// - Parameters:
  ///   - bytes: the start of the file, at least to the end of its header.
  ///   - fileSize: bytes of the whole file.
  public static func parse(_ bytes: Span<UInt8>, fileSize: Int) throws(SafetensorsProblem) -> SafetensorsHeader {
    let length = try headerLength(bytes, fileSize: fileSize)
    let text = bytes.extracting(8..<(8 + length))
    if let offset = firstInvalidUTF8(text) { throw .headerNotUTF8(offset: 8 + offset) }
    var parser = HeaderParser(length: length)
    do {
      try parser.parse(text)
    } catch {
      switch error {
      case .json(let error): throw SafetensorsProblem(error, headerAt: 8)
      case .problem(let problem): throw problem
      }
    }
    try checkLayout(&parser.entries, dataSize: fileSize - 8 - length)
    return SafetensorsHeader(entries: parser.entries.map { $0.moved(by: 8 + length) }, metadata: parser.metadata, dataStart: 8 + length)
  }

  /// The first 8 bytes, little-endian, checked against the limit and the file.
  static func headerLength(_ bytes: Span<UInt8>, fileSize: Int) throws(SafetensorsProblem) -> Int {
    guard bytes.count >= 8, fileSize >= 8 else { throw .fileTooShort(bytes: min(bytes.count, fileSize)) }
    var length: UInt64 = 0
    for i in 0..<8 { length |= UInt64(bytes[i]) << (8 * UInt64(i)) }
    guard length <= UInt64(Limits.headerBytes) else { throw .headerTooLarge(bytes: length) }
    let available = min(bytes.count, fileSize) - 8
    guard Int(length) <= available else { throw .headerBeyondFile(bytes: Int(length), available: available) }
    return Int(length)
  }

  /// Sorts by place, then: from 0 on, without holes, without overlaps, to the end of the file exactly.
  private static func checkLayout(_ entries: inout [SafetensorsEntry], dataSize: Int) throws(SafetensorsProblem) {
    entries.sort { ($0.byteRange.lowerBound, $0.byteRange.upperBound) < ($1.byteRange.lowerBound, $1.byteRange.upperBound) }
    var end = 0
    var previous: String?
    for entry in entries {
      let range = entry.byteRange
      if range.lowerBound != end {
        guard let previous else { throw .doesNotStartAtZero(tensor: entry.name, begin: range.lowerBound) }
        if range.lowerBound > end { throw .hole(tensor: entry.name, after: previous, bytes: range.lowerBound - end) }
        throw .overlap(tensor: entry.name, with: previous, bytes: min(end, range.upperBound) - range.lowerBound)
      }
      guard range.upperBound <= dataSize else {
        throw .dataBeyondFile(tensor: entry.name, end: range.upperBound, available: dataSize)
      }
      end = range.upperBound
      previous = entry.name
    }
    if end < dataSize { throw .trailingBytes(after: previous, bytes: dataSize - end) }
  }
}

extension SafetensorsEntry {
  fileprivate func moved(by offset: Int) -> SafetensorsEntry {
    SafetensorsEntry(name: name, dtype: dtype, shape: shape, byteRange: (byteRange.lowerBound + offset)..<(byteRange.upperBound + offset))
  }
}

extension SafetensorsProblem {
  /// A JSON error in a header that starts at byte `start` of the file.
  init(_ error: JSONError, headerAt start: Int) {
    switch error {
    case .syntax(let offset, let expected): self = .headerNotJSON(offset: start + offset, expected: expected)
    case .notUTF8(let offset): self = .headerNotUTF8(offset: start + offset)
    case .stringTooLong(let offset, _): self = .nameTooLong(start: "byte \(start + offset)", limit: SafetensorsHeader.Limits.nameBytes)
    // The header parser builds no tree: these come from JSONValue only.
    case .tooLarge, .tooDeep, .tooManyValues, .duplicateKey, .tooManyMarks: self = .headerNotJSON(offset: start, expected: "\(error)")
    }
  }
}
