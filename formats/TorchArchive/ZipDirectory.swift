// The directory of a zip file, read strictly: one meaning or none. It finds entries and checks that they cannot overlap, lie outside
// the file or say one thing in the directory and another in place. It inflates nothing and writes no files.

internal import DinoTensor

/// One file inside the zip.
struct ZipEntry: Sendable, Equatable {
  enum Method: UInt16, Sendable { case stored = 0, deflated = 8 }
  let name: String
  let method: Method
  /// Nil where the archive records none: PyTorch can be told not to compute them, and then writes 0 everywhere.
  let crc: UInt32?
  /// Where the (maybe compressed) bytes lie in the file.
  let offset: Int
  let compressedSize: Int
  let size: Int

  var withoutChecksum: ZipEntry { ZipEntry(name: name, method: method, crc: nil, offset: offset, compressedSize: compressedSize, size: size) }
}

/// The entries by name, in the directory's order.
struct ZipDirectory: Sendable {
  let entries: [ZipEntry]
  /// Bytes of a name. torch.save's are a few dozen.
  private static let nameLimit = 512
  private let byName: [String: Int]

  subscript(_ name: String) -> ZipEntry? { byName[name].map { entries[$0] } }

  /// Reads and checks the directory. Sizes are bounded by the file and by `limits.expansion`.
  init(_ bytes: ByteView, file: String, limits: TorchLimits) throws(TorchArchiveError) {
    let end = try ZipEnd(bytes, file: file)
    guard end.entryCount <= limits.entries else { throw .limitExceeded(file: file, what: "\(end.entryCount) zip entries", limit: limits.entries) }
    // 46 bytes is the least that an entry takes: a count that cannot be true is refused before memory is reserved for it.
    guard end.entryCount <= end.directorySize / 46 else { throw .badZip(file: file, detail: "its directory is too small for \(end.entryCount) entries") }
    var parser = EntryParser(bytes: bytes, end: end, file: file)
    var entries: [ZipEntry] = [], names: [String: Int] = [:]
    entries.reserveCapacity(end.entryCount)
    var spans: [(start: Int, end: Int, index: Int)] = []
    let budget = limits.expandedBytes(of: bytes.count)
    var total = 0
    for index in 0..<end.entryCount {
      let (entry, headerOffset) = try parser.next()
      guard entry.name.utf8.count <= Self.nameLimit, isStreamSafe(entry.name) else {
        throw .badZip(file: file, detail: "the name of entry \(index + 1) has \(entry.name.utf8.count) bytes, or more than \(mostMarksInARow) combining marks in a row")
      }
      guard names.updateValue(index, forKey: entry.name) == nil else { throw .badZip(file: file, detail: "two entries have the name \(quoted(entry.name))") }
      let (sum, overflow) = total.addingReportingOverflow(entry.size)
      guard !overflow, sum <= budget else {
        throw .limitExceeded(file: file, what: "entries that inflate to more than \(limits.expansion) times the file's size", limit: budget)
      }
      total = sum
      entries.append(entry)
      spans.append((headerOffset, entry.offset + entry.compressedSize, index))
    }
    guard parser.position == end.directoryOffset + end.directorySize else {
      throw .badZip(file: file, detail: "its directory is longer than its \(end.entryCount) entries")
    }
    spans.sort { $0.start < $1.start }
    for (a, b) in zip(spans, spans.dropFirst()) where b.start < a.end {
      throw .badZip(file: file, detail: "the entries \(quoted(entries[a.index].name)) and \(quoted(entries[b.index].name)) overlap")
    }
    let hasChecksums = entries.contains { $0.crc != 0 }
    self.entries = hasChecksums ? entries : entries.map { $0.withoutChecksum }
    byName = names
  }

  static let localSignature: [UInt8] = [0x50, 0x4B, 3, 4]
  static let centralSignature: [UInt8] = [0x50, 0x4B, 1, 2]
}

/// Where the directory lies: the end record, with the 64-bit one where the file has it.
private struct ZipEnd {
  let directoryOffset: Int
  let directorySize: Int
  let entryCount: Int

  init(_ bytes: ByteView, file: String) throws(TorchArchiveError) {
    guard let at = ZipEnd.find(bytes) else {
      throw .badZip(file: file, detail: "it has no end record: the file is probably truncated, download it again")
    }
    guard bytes.u16(at + 4) == 0, bytes.u16(at + 6) == 0, bytes.u16(at + 8) == bytes.u16(at + 10) else {
      throw .badZip(file: file, detail: "it claims to be one disk of several")
    }
    var count = UInt64(bytes.u16(at + 10)), size = UInt64(bytes.u32(at + 12)), offset = UInt64(bytes.u32(at + 16))
    var directoryEnd = at
    if at >= 20, bytes.starts(with: [0x50, 0x4B, 6, 7], at: at - 20) {
      let record = bytes.u64(at - 12)
      guard bytes.u32(at - 16) == 0, bytes.u32(at - 4) <= 1, record <= UInt64(at - 20), bytes.has(56, at: Int(record)), Int(record) + 56 <= at - 20,
            bytes.starts(with: [0x50, 0x4B, 6, 6], at: Int(record)) else {
        throw .badZip(file: file, detail: "its 64-bit end record is not where the locator says")
      }
      let r = Int(record)
      guard bytes.u64(r + 4) == UInt64(at - 20 - r - 12) else { throw .badZip(file: file, detail: "its 64-bit end record has a wrong length") }
      let wide = (count: bytes.u64(r + 32), size: bytes.u64(r + 40), offset: bytes.u64(r + 48))
      guard bytes.u32(r + 16) == 0, bytes.u32(r + 20) == 0, bytes.u64(r + 24) == wide.count else {
        throw .badZip(file: file, detail: "it claims to be one disk of several")
      }
      guard count == 0xFFFF || count == wide.count, size == 0xFFFF_FFFF || size == wide.size, offset == 0xFFFF_FFFF || offset == wide.offset else {
        throw .badZip(file: file, detail: "its two end records disagree")
      }
      (count, size, offset) = wide
      directoryEnd = r
    }
    guard offset <= UInt64(directoryEnd), size == UInt64(directoryEnd) - offset else {
      throw .badZip(file: file, detail: "its directory (\(size) bytes at \(offset)) does not end where the end record begins (\(directoryEnd))")
    }
    guard count <= UInt64(Int32.max) else { throw .badZip(file: file, detail: "it claims \(count) entries") }
    directoryOffset = Int(offset)
    directorySize = Int(size)
    entryCount = Int(count)
  }

  /// The end record whose comment ends with the file, looked for from the end.
  static func find(_ bytes: ByteView) -> Int? {
    var at = bytes.count - 22
    let last = max(0, at - 65535)
    while at >= last {
      if bytes[at] == 0x50, bytes.starts(with: [0x50, 0x4B, 5, 6], at: at), Int(bytes.u16(at + 20)) == bytes.count - at - 22 { return at }
      at -= 1
    }
    return nil
  }
}

/// Reads the directory's entries one after the other, each together with its local header.
private struct EntryParser {
  let bytes: ByteView
  let end: ZipEnd
  let file: String
  var position: Int

  init(bytes: ByteView, end: ZipEnd, file: String) {
    self.bytes = bytes
    self.end = end
    self.file = file
    position = end.directoryOffset
  }

  mutating func next() throws(TorchArchiveError) -> (entry: ZipEntry, headerOffset: Int) {
    let limit = end.directoryOffset + end.directorySize
    let at = position
    guard at + 46 <= limit, bytes.starts(with: ZipDirectory.centralSignature, at: at) else { throw .badZip(file: file, detail: "its directory is damaged at byte \(at)") }
    let nameLength = Int(bytes.u16(at + 28)), extraLength = Int(bytes.u16(at + 30)), commentLength = Int(bytes.u16(at + 32))
    guard nameLength + extraLength + commentLength <= limit - at - 46 else { throw .badZip(file: file, detail: "its directory is damaged at byte \(at)") }
    position = at + 46 + nameLength + extraLength + commentLength
    guard let name = bytes.text(at: at + 46, count: nameLength), isPlainName(name) else {
      throw .badZip(file: file, detail: "the entry at byte \(at) of its directory has a name that is empty, absolute, climbs out of its folder or is not text")
    }
    guard bytes.u16(at + 8) & 0x2041 == 0 else { throw .badZip(file: file, detail: "the entry \(quoted(name)) is encrypted") }
    guard let method = ZipEntry.Method(rawValue: bytes.u16(at + 10)) else {
      throw .badZip(file: file, detail: "the entry \(quoted(name)) uses compression method \(bytes.u16(at + 10)), only stored (0) and deflated (8) are read")
    }
    let wide = try widened(name: name, at: at, extra: at + 46 + nameLength, extraLength: extraLength)
    guard method == .deflated || wide.compressed == wide.size else {
      throw .badZip(file: file, detail: "the stored entry \(quoted(name)) has two different sizes")
    }
    let dataOffset = try checkLocalHeader(at: wide.header, name: name, nameBytes: at + 46, nameLength: nameLength, central: at, wide: wide)
    guard dataOffset <= end.directoryOffset, wide.compressed <= end.directoryOffset - dataOffset else {
      throw .badZip(file: file, detail: "the entry \(quoted(name)) does not lie inside the file")
    }
    let entry = ZipEntry(name: name, method: method, crc: bytes.u32(at + 16), offset: dataOffset, compressedSize: wide.compressed, size: wide.size)
    return (entry, wide.header)
  }

  typealias Wide = (size: Int, compressed: Int, header: Int)

  /// Sizes and place of an entry, from the 64-bit extra field where the 32-bit ones say so.
  private func widened(name: String, at: Int, extra: Int, extraLength: Int) throws(TorchArchiveError) -> Wide {
    var size = UInt64(bytes.u32(at + 24)), compressed = UInt64(bytes.u32(at + 20)), header = UInt64(bytes.u32(at + 42))
    guard bytes.u16(at + 34) == 0 || bytes.u16(at + 34) == 0xFFFF else { throw .badZip(file: file, detail: "the entry \(quoted(name)) is said to lie on another disk") }
    var wanted = (size == 0xFFFF_FFFF ? 8 : 0) + (compressed == 0xFFFF_FFFF ? 8 : 0) + (header == 0xFFFF_FFFF ? 8 : 0)
    var field = extra
    while wanted > 0, field + 4 <= extra + extraLength {
      let length = Int(bytes.u16(field + 2))
      guard field + 4 + length <= extra + extraLength else { break }
      if bytes.u16(field) == 1 {
        guard length >= wanted else { break }
        var p = field + 4
        if size == 0xFFFF_FFFF { size = bytes.u64(p); p += 8 }
        if compressed == 0xFFFF_FFFF { compressed = bytes.u64(p); p += 8 }
        if header == 0xFFFF_FFFF { header = bytes.u64(p) }
        wanted = 0
      }
      field += 4 + length
    }
    guard wanted == 0, let s = Int(exactly: size), let c = Int(exactly: compressed), let h = Int(exactly: header), bytes.has(30, at: h) else {
      throw .badZip(file: file, detail: "the entry \(quoted(name)) has sizes or a place that cannot be true")
    }
    return (s, c, h)
  }

  /// The local header must say what the directory says; returns where the data begin.
  private func checkLocalHeader(at h: Int, name: String, nameBytes: Int, nameLength: Int, central: Int, wide: Wide) throws(TorchArchiveError) -> Int {
    func fault(_ what: String) -> TorchArchiveError { .badZip(file: file, detail: "the entry \(quoted(name)) \(what)") }
    guard bytes.starts(with: ZipDirectory.localSignature, at: h) else { throw fault("has no header where the directory says") }
    let localNameLength = Int(bytes.u16(h + 26)), localExtraLength = Int(bytes.u16(h + 28))
    guard bytes.has(30 + localNameLength + localExtraLength, at: h) else { throw fault("does not lie inside the file") }
    guard localNameLength == nameLength, bytes.starts(with: bytes.bytes(at: nameBytes, count: nameLength), at: h + 30) else {
      throw fault("has another name in its own header")
    }
    let flags = bytes.u16(h + 6)
    guard flags & 0x2041 == 0 else { throw fault("is encrypted") }
    guard bytes.u16(h + 8) == bytes.u16(central + 10) else { throw fault("has another compression method in its own header") }
    // With a data descriptor the local sizes may be zero: then only the directory knows them.
    let hasDescriptor = flags & 8 != 0
    let size = bytes.u32(h + 22), compressed = bytes.u32(h + 18)
    let agrees = (size == 0xFFFF_FFFF || Int(size) == wide.size || (hasDescriptor && size == 0))
      && (compressed == 0xFFFF_FFFF || Int(compressed) == wide.compressed || (hasDescriptor && compressed == 0))
    guard agrees else { throw fault("has another size in its own header") }
    guard hasDescriptor || bytes.u32(h + 14) == bytes.u32(central + 16) else { throw fault("has another checksum in its own header") }
    return h + 30 + localNameLength + localExtraLength
  }

  /// Nothing is unpacked to disk here, but a name that would climb out of a folder is a sign of a forged file.
  private func isPlainName(_ name: String) -> Bool {
    guard !name.isEmpty, !name.utf8.contains(0), !name.utf8.contains(UInt8(ascii: "\\")), name.utf8.first != UInt8(ascii: "/") else { return false }
    return !name.split(separator: "/", omittingEmptySubsequences: false).contains { $0 == ".." }
  }
}
