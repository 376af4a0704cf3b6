// Reads the table of a tar archive (v7, ustar, pax and GNU long names) that is mapped into memory: names and byte ranges of regular files, and of
// links to them: tar stores the second name of a file as a link to the first. It does not unpack, or read sparse files and compressed archives.
// Every length is checked against the archive before it is used.

public import DinoTensor

/// Why a tar archive cannot be read.
public enum TarError: Error, Sendable, Equatable, CustomStringConvertible {
  case truncated(offset: Int)
  case badChecksum(offset: Int)
  case badNumber(field: String, offset: Int)
  case memberTooLarge(name: String, size: Int, limit: Int)
  case badExtendedHeader(offset: Int)
  case tooManyMembers(limit: Int)

  public var description: String {
    switch self {
    case .truncated(let offset): "the archive ends inside the member at byte \(offset)"
    case .badChecksum(let offset): "the header at byte \(offset) has a wrong checksum, so this is not a tar archive or it is damaged"
    case .badNumber(let field, let offset): "the header at byte \(offset) has no valid \(field)"
    case .memberTooLarge(let name, let size, let limit): "the extended header '\(name)' has \(size) bytes, over the limit of \(limit)"
    case .badExtendedHeader(let offset): "the extended header at byte \(offset) is malformed"
    case .tooManyMembers(let limit): "the archive has more than \(limit) members"
    }
  }
}

/// A tar archive in memory.
public struct TarArchive: Sendable {
  /// A regular file in the archive, or a link.
  public struct Member: Sendable, Equatable {
    /// Its path without `.` components: what `tar -C folder -cf x.tar .` calls ./a/1.png is a/1.png. Bytes of a path that is not UTF-8 are spelt out (\xE9).
    public var name: String
    /// Its bytes; of a link those of the file that it leads to.
    public var range: Range<Int>
    /// Why there are no bytes to read, and the range is empty.
    public var problem: String?
  }

  public let storage: Storage
  /// Regular files and links, in the order of the archive. Of several files of one name the last, as tar unpacks it; a hard link has the bytes of the one before it.
  public let members: [Member]
  /// How many files are not members because a later one has their name.
  public let replaced: Int

  /// Limits on what an archive may ask for.
  public struct Limits: Sendable {
    public var members = 10_000_000
    public var extendedHeaderBytes = 1 << 20
    public init() {}
  }

  public init(_ storage: Storage, limits: Limits = Limits()) throws(TarError) {
    self.storage = storage
    let entries = try storage.withBytes { (bytes: Span<UInt8>) throws(TarError) in try TarScanner(limits: limits).scan(bytes) }
    (members, replaced) = TarEntry.members(of: entries)
  }

  /// Whether bytes look like a tar archive: "ustar" at its place in the first header, or, as before there was ustar, a right checksum alone.
  public static func isTar(_ head: [UInt8]) -> Bool {
    if head.count >= 262 && Array(head[257..<262]) == Array("ustar".utf8) { return true }
    guard head.count >= 512 else { return false }
    do throws(TarError) {
      try TarScanner(limits: Limits()).checkSum(head.span, 0)
      return true
    } catch { return false }
  }
}

/// A file or link as the archive has it. Names are bytes: two may be equal as text, and a link leads to the one of its bytes.
private struct TarEntry {
  var name: [UInt8]
  var range: Range<Int>
  var problem: String?
  /// Of a link the name that its file has in the archive; nil where it leads out.
  var target: [UInt8]?
  var isHardLink = false
  /// Of a hard link the entry that had the name when the link was stored: it keeps those bytes, whatever comes under the name later.
  var bound: Int?

  /// Of the entries of one name the last; links with the bytes of the files that they lead to.
  static func members(of stored: [TarEntry]) -> (members: [TarArchive.Member], replaced: Int) {
    var entries = stored, places: [[UInt8]: Int] = [:], replaced = 0
    for (i, entry) in stored.enumerated() {
      // A file that was named twice when the archive was made is a link to itself the second time.
      if entry.target == entry.name, places[entry.name] != nil { continue }
      if entry.isHardLink, let target = entry.target { entries[i].bound = places[target] }
      if places.updateValue(i, forKey: entry.name) != nil { replaced += 1 }
    }
    let last = entries.indices.filter { places[entries[$0].name] == $0 }
    return (last.map { entries[$0].member(followed(from: $0, in: entries, places)) }, replaced)
  }

  /// The entry that has the bytes of one, by way of links; nil where these lead to nothing.
  private static func followed(from start: Int, in entries: [TarEntry], _ places: [[UInt8]: Int]) -> TarEntry? {
    var at = start, steps = 0
    while let target = entries[at].target {
      guard let next = entries[at].bound ?? places[target], steps < 40 else { return nil }
      (at, steps) = (next, steps + 1)
    }
    return entries[at].problem == nil ? entries[at] : nil
  }

  /// What is known of it, where `file` has its bytes.
  private func member(_ file: TarEntry?) -> TarArchive.Member {
    guard let text = String(validating: name, as: UTF8.self) else {
      return .init(name: spelt(name), range: 0..<0, problem: "has a name that is not UTF-8 text; rename it")
    }
    if let file { return .init(name: text, range: file.range) }
    return .init(name: text, range: 0..<0, problem: problem)
  }
}

/// Text of bytes, of which those that are not ASCII are spelt out.
private func spelt(_ bytes: [UInt8]) -> String {
  bytes.reduce(into: "") { $0 += $1 < 0x80 ? String(UnicodeScalar($1)) : "\\x" + String($1, radix: 16, uppercase: true) }
}

/// What a pax header says of the member behind it.
private struct PaxHeader {
  var path: [UInt8]?
  var size: Int?
  var linkPath: [UInt8]?
  /// Holes are left out of the member's bytes, which begin with a table of them.
  var isSparse = false
}

private struct TarScanner {
  let limits: TarArchive.Limits
  private static let block = 512

  init(limits: TarArchive.Limits) { self.limits = limits }

  func scan(_ bytes: Span<UInt8>) throws(TarError) -> [TarEntry] {
    var entries: [TarEntry] = []
    var offset = 0, longName: [UInt8]?, longLink: [UInt8]?, pax = PaxHeader()
    while offset < bytes.count {
      guard bytes.count - offset >= Self.block else { throw .truncated(offset: offset) }
      if isZero(bytes, offset) { break }  // the end mark; what follows is padding
      try checkSum(bytes, offset)
      let kind = bytes[offset + 156]
      var size = try number(bytes, offset + 124, 12, field: "size", header: offset)
      let isFile = kind == 0x30 || kind == 0 || kind == 0x37, isLink = kind == 0x31 || kind == 0x32, isSparse = kind == 0x53
      if isFile, let s = pax.size { size = s }
      if isLink { size = 0 }  // what stands there is the size of the file that it leads to
      let start = try isSparse ? behindSparseHeaders(bytes, offset) : offset + Self.block
      guard size <= bytes.count - start else { throw .truncated(offset: offset) }
      switch kind {
      case 0x78:  // x: pax header of the next member
        pax = try paxRecords(bytes, start, size, header: offset)
      case 0x4C:  // L: GNU long name of the next member
        try checkExtended("././@LongLink", size)
        longName = text(bytes, start, size)
      case 0x67: try checkExtended("pax_global_header", size)  // g: nothing in it matters here
      case 0x4B:  // K: a long link target
        try checkExtended("././@LongLink", size)
        longLink = text(bytes, start, size)
      default:
        if isFile || isLink || isSparse {
          guard entries.count < limits.members else { throw .tooManyMembers(limit: limits.members) }
          var entry = TarEntry(name: plain(pax.path ?? longName ?? shortName(bytes, offset)), range: start..<start + size)
          if isLink {
            let target = pax.linkPath ?? longLink ?? text(bytes, offset + 157, 100)
            entry.problem = "is a link to \(String(decoding: target, as: UTF8.self)), which is the name of no file in the archive (links to folders and .. in hard links are not followed)"
            entry.isHardLink = kind == 0x31
            entry.target = place(of: target, isSymbolic: kind == 0x32, in: entry.name)
          } else if isSparse || pax.isSparse {
            entry.problem = "is stored with its holes left out (tar --sparse), which is not read"
          }
          entries.append(entry)
        }
        pax = PaxHeader()
        longName = nil
        longLink = nil
      }
      let padded = (size + Self.block - 1) / Self.block * Self.block
      offset = min(start + padded, bytes.count)
    }
    return entries
  }

  // MARK: Links

  /// The name that a link's target has in the archive: of a hard link it is that already, of a symbolic one it is seen from the link's folder. Nil where it leads out.
  private func place(of target: [UInt8], isSymbolic: Bool, in name: [UInt8]) -> [UInt8]? {
    guard isSymbolic else { return plain(target) }
    guard target.first != Self.slash else { return nil }
    var parts = Array(name.split(separator: Self.slash).dropLast())
    for part in target.split(separator: Self.slash) where !part.elementsEqual(".".utf8) {
      if !part.elementsEqual("..".utf8) {
        parts.append(part)
      } else if parts.popLast() == nil {
        return nil
      }
    }
    return joined(parts)
  }

  /// Where the bytes of a sparse file of GNU's begin: headers that go on follow the first.
  private func behindSparseHeaders(_ bytes: Span<UInt8>, _ offset: Int) throws(TarError) -> Int {
    var start = offset + Self.block, goesOn = bytes[offset + 482] != 0
    while goesOn {
      guard bytes.count - start >= Self.block else { throw .truncated(offset: offset) }
      goesOn = bytes[start + 504] != 0
      start += Self.block
    }
    return start
  }

  // MARK: Fields

  private static let slash = UInt8(ascii: "/")

  private func plain(_ name: [UInt8]) -> [UInt8] { joined(name.split(separator: Self.slash).filter { !$0.elementsEqual(".".utf8) }) }

  private func joined(_ parts: [ArraySlice<UInt8>]) -> [UInt8] { Array(parts.joined(separator: [Self.slash])) }

  private func checkExtended(_ name: String, _ size: Int) throws(TarError) {
    guard size <= limits.extendedHeaderBytes else { throw .memberTooLarge(name: name, size: size, limit: limits.extendedHeaderBytes) }
  }

  private func isZero(_ bytes: Span<UInt8>, _ offset: Int) -> Bool {
    for i in offset..<offset + Self.block where bytes[i] != 0 { return false }
    return true
  }

  /// The header's bytes added up, its checksum field counted as spaces.
  func checkSum(_ bytes: Span<UInt8>, _ offset: Int) throws(TarError) {
    var sum = 0
    for i in 0..<Self.block { sum += i >= 148 && i < 156 ? 0x20 : Int(bytes[offset + i]) }
    let stated = try? number(bytes, offset + 148, 8, field: "checksum", header: offset)
    guard stated == sum else { throw .badChecksum(offset: offset) }
  }

  /// A number field: octal digits, or base 256 where the top bit is set.
  private func number(_ bytes: Span<UInt8>, _ start: Int, _ length: Int, field: String, header: Int) throws(TarError) -> Int {
    var value = 0
    if bytes[start] & 0x80 != 0 {
      guard bytes[start] == 0x80 else { throw .badNumber(field: field, offset: header) }  // negative, or over 2^88
      for i in start + 1..<start + length {
        guard value < 1 << 54 else { throw .badNumber(field: field, offset: header) }
        value = value << 8 | Int(bytes[i])
      }
      return value
    }
    for i in start..<start + length {
      let c = bytes[i]
      if c == 0 || c == 0x20 { continue }
      guard c >= 0x30, c <= 0x37, value < 1 << 59 else { throw .badNumber(field: field, offset: header) }
      value = value << 3 | Int(c - 0x30)
    }
    return value
  }

  /// The bytes before the first zero.
  private func text(_ bytes: Span<UInt8>, _ start: Int, _ length: Int) -> [UInt8] {
    var characters: [UInt8] = []
    for i in start..<start + length {
      if bytes[i] == 0 { break }
      characters.append(bytes[i])
    }
    return characters
  }

  private func shortName(_ bytes: Span<UInt8>, _ offset: Int) -> [UInt8] {
    let name = text(bytes, offset, 100)
    let isUstar = text(bytes, offset + 257, 5) == Array("ustar".utf8) && bytes[offset + 262] == 0
    let prefix = isUstar ? text(bytes, offset + 345, 155) : []
    return prefix.isEmpty ? name : prefix + [Self.slash] + name
  }

  /// "LENGTH KEY=VALUE\n" records.
  private func paxRecords(_ bytes: Span<UInt8>, _ start: Int, _ size: Int, header: Int) throws(TarError) -> PaxHeader {
    try checkExtended("pax header", size)
    var result = PaxHeader(), sparseName: [UInt8]?
    var at = start
    let end = start + size
    while at < end, bytes[at] != 0 {
      var length = 0, digits = at
      while digits < end, bytes[digits] >= 0x30, bytes[digits] <= 0x39, length <= size {
        length = length * 10 + Int(bytes[digits] - 0x30)
        digits += 1
      }
      guard digits > at, digits < end, bytes[digits] == 0x20, length > digits + 1 - at, length <= end - at, bytes[at + length - 1] == 0x0A
      else { throw .badExtendedHeader(offset: header) }
      let record = text(bytes, digits + 1, at + length - 1 - (digits + 1))
      /// What the record says, where it is of that key.
      func value(_ key: String) -> [UInt8]? { record.starts(with: key.utf8) ? Array(record.dropFirst(key.utf8.count)) : nil }
      if let path = value("path=") { result.path = path }
      if let path = value("linkpath=") { result.linkPath = path }
      if value("GNU.sparse.") != nil { result.isSparse = true }
      if let path = value("GNU.sparse.name=") { sparseName = path }
      if let digits = value("size=") {
        guard let n = Int(String(decoding: digits, as: UTF8.self)), n >= 0 else { throw .badNumber(field: "size", offset: header) }
        result.size = n
      }
      at += length
    }
    // The path of a sparse file is made up: what tools that know nothing of holes may unpack.
    result.path = sparseName ?? result.path
    return result
  }
}
