// The directory of a ZIP archive, as far as .npz files need it: stored and deflated members, ZIP64. Every offset and size is checked against
// the file before it is used, members may not share bytes (the trick of ZIP bombs), and nothing is inflated here: see Inflate.swift.

/// A member of an archive. `data` are its stored or deflated bytes.
struct ZipMember: Sendable {
  var name: String
  var method: Int
  var encrypted: Bool
  var checksum: UInt32
  /// Bytes after inflating.
  var size: UInt64
  var data: Range<Int>
}

enum ZipReader {
  /// More members than any array archive has.
  static let memberLimit = 100_000
  static let nameLimit = 512

  private static let endRecord: UInt64 = 0x0605_4B50
  private static let zip64Locator: UInt64 = 0x0706_4B50
  private static let zip64EndRecord: UInt64 = 0x0606_4B50
  private static let centralRecord: UInt64 = 0x0201_4B50
  private static let localRecord: UInt64 = 0x0403_4B50

  /// All members in the order of the directory.
  static func members(_ bytes: Span<UInt8>, path: String) throws(NumPyError) -> [ZipMember] {
    let directory = try findDirectory(bytes, path: path)
    guard directory.count <= UInt64(memberLimit), directory.count * 46 <= UInt64(directory.range.count) else {
      throw .archiveMalformed(path: path, reason: "its directory cannot hold the \(directory.count) members it claims")
    }
    var members: [ZipMember] = []
    var names: Set<String> = []
    var place = directory.range.lowerBound
    for _ in 0..<Int(directory.count) {
      let (member, next) = try centralMember(bytes, at: place, directory: directory.range, path: path)
      guard names.insert(member.name).inserted else { throw .duplicateMember(path: path, member: member.name) }
      members.append(member)
      place = next
    }
    try checkDisjoint(members, path: path)
    return members
  }

  private static func checkDisjoint(_ members: [ZipMember], path: String) throws(NumPyError) {
    var end = 0
    for member in members.sorted(by: { ($0.data.lowerBound, $0.data.upperBound) < ($1.data.lowerBound, $1.data.upperBound) }) {
      guard member.data.lowerBound >= end else {
        throw .memberMalformed(path: path, member: member.name, reason: "it shares bytes with another member")
      }
      end = member.data.upperBound
    }
  }

  // MARK: The end of the file

  private static func findDirectory(_ bytes: Span<UInt8>, path: String) throws(NumPyError) -> (range: Range<Int>, count: UInt64) {
    guard let end = findEndRecord(bytes) else { throw .notAnArchive(path: path) }
    var count = number(bytes, end + 10, 2), size = number(bytes, end + 12, 4), offset = number(bytes, end + 16, 4)
    var limit = end
    if count == 0xFFFF || size == 0xFFFF_FFFF || offset == 0xFFFF_FFFF, end >= 20, number(bytes, end - 20, 4) == zip64Locator {
      let place = number(bytes, end - 12, 8)
      guard end >= 76, place <= UInt64(end - 76), number(bytes, Int(place), 4) == zip64EndRecord else {
        throw .archiveMalformed(path: path, reason: "its ZIP64 end record is not where the locator says")
      }
      limit = Int(place)
      count = number(bytes, limit + 32, 8)
      size = number(bytes, limit + 40, 8)
      offset = number(bytes, limit + 48, 8)
    }
    guard offset <= UInt64(limit), size <= UInt64(limit) - offset else {
      throw .archiveMalformed(path: path, reason: "its directory lies outside the file")
    }
    return (Int(offset)..<Int(offset + size), count)
  }

  /// The end record, which a comment of up to 65,535 bytes may follow.
  private static func findEndRecord(_ bytes: Span<UInt8>) -> Int? {
    guard bytes.count >= 22 else { return nil }
    var place = bytes.count - 22
    let first = max(0, place - 65_535)
    while place >= first {
      if number(bytes, place, 4) == endRecord, number(bytes, place + 20, 2) == UInt64(bytes.count - place - 22) { return place }
      place -= 1
    }
    return nil
  }

  // MARK: Members

  private static func centralMember(
    _ bytes: Span<UInt8>, at place: Int, directory: Range<Int>, path: String
  ) throws(NumPyError) -> (ZipMember, next: Int) {
    guard directory.upperBound - place >= 46, number(bytes, place, 4) == centralRecord else {
      throw .archiveMalformed(path: path, reason: "its directory is damaged at byte \(place)")
    }
    let nameLength = Int(number(bytes, place + 28, 2)), extraLength = Int(number(bytes, place + 30, 2))
    let extra = place + 46 + nameLength
    let next = extra + extraLength + Int(number(bytes, place + 32, 2))
    guard next <= directory.upperBound else { throw .archiveMalformed(path: path, reason: "its directory is damaged at byte \(place)") }
    let name = try self.name(bytes, (place + 46)..<extra, path: path)
    var sizes = (size: number(bytes, place + 24, 4), packed: number(bytes, place + 20, 4), offset: number(bytes, place + 42, 4))
    guard zip64Sizes(bytes, extra..<(extra + extraLength), &sizes) else {
      throw .memberMalformed(path: path, member: name, reason: "its ZIP64 sizes are missing")
    }
    let start = try dataStart(bytes, header: sizes.offset, name: (place + 46)..<extra, before: directory.lowerBound, member: name, path: path)
    guard sizes.packed <= UInt64(directory.lowerBound - start) else {
      throw .memberMalformed(path: path, member: name, reason: "its \(sizes.packed) bytes reach beyond the archive's directory")
    }
    let member = ZipMember(
      name: name, method: Int(number(bytes, place + 10, 2)), encrypted: number(bytes, place + 8, 2) & 1 != 0,
      checksum: UInt32(number(bytes, place + 16, 4)), size: sizes.size, data: start..<(start + Int(sizes.packed)))
    return (member, next)
  }

  private static func name(_ bytes: Span<UInt8>, _ range: Range<Int>, path: String) throws(NumPyError) -> String {
    guard range.count <= nameLimit else { throw .archiveMalformed(path: path, reason: "a member's name has \(range.count) bytes") }
    do {
      return String(copying: try UTF8Span(validating: bytes.extracting(range)))
    } catch {
      throw .archiveMalformed(path: path, reason: "a member's name is not UTF-8")
    }
  }

  /// Replaces the sizes that are all ones by those of the ZIP64 field (id 1), which has only these, in this order.
  private static func zip64Sizes(
    _ bytes: Span<UInt8>, _ extra: Range<Int>, _ sizes: inout (size: UInt64, packed: UInt64, offset: UInt64)
  ) -> Bool {
    let all: UInt64 = 0xFFFF_FFFF
    guard sizes.size == all || sizes.packed == all || sizes.offset == all else { return true }
    var place = extra.lowerBound
    while extra.upperBound - place >= 4 {
      let length = Int(number(bytes, place + 2, 2))
      guard length <= extra.upperBound - place - 4 else { return false }
      if number(bytes, place, 2) == 1 {
        var field = place + 4
        let end = field + length
        func take(_ value: inout UInt64) -> Bool {
          guard value == all else { return true }
          guard end - field >= 8 else { return false }
          value = number(bytes, field, 8)
          field += 8
          return true
        }
        return take(&sizes.size) && take(&sizes.packed) && take(&sizes.offset)
      }
      place += 4 + length
    }
    return false
  }

  /// The first byte after the member's own header, whose name must be the directory's.
  private static func dataStart(
    _ bytes: Span<UInt8>, header: UInt64, name: Range<Int>, before limit: Int, member: String, path: String
  ) throws(NumPyError) -> Int {
    guard limit >= 30, header <= UInt64(limit - 30), number(bytes, Int(header), 4) == localRecord else {
      throw .memberMalformed(path: path, member: member, reason: "its header is not where the directory says")
    }
    let place = Int(header)
    let nameLength = Int(number(bytes, place + 26, 2))
    let start = place + 30 + nameLength + Int(number(bytes, place + 28, 2))
    guard start <= limit, nameLength == name.count, (0..<nameLength).allSatisfy({ bytes[place + 30 + $0] == bytes[name.lowerBound + $0] }) else {
      throw .memberMalformed(path: path, member: member, reason: "its own header has another name than the directory")
    }
    return start
  }

  /// `width` bytes, little-endian, at a place that was checked.
  private static func number(_ bytes: Span<UInt8>, _ place: Int, _ width: Int) -> UInt64 {
    var value: UInt64 = 0
    for i in 0..<width { value |= UInt64(bytes[place + i]) << (8 * UInt64(i)) }
    return value
  }
}
