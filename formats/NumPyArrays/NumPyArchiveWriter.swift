// Writes an .npz file member by member. Members are stored; all times are 1980-01-01, the earliest that ZIP knows, so that bytes depend on
// the arrays alone. ZIP64 fields appear only where a number does not fit without them.

internal import AtomicFiles
public import DinoTensor

public struct NumPyArchiveWriter: ~Copyable {
  public let path: String
  private let file: AtomicFile
  private var offset: UInt64 = 0
  private var count: UInt64 = 0
  private var directory: [UInt8] = []
  private var names: Set<String> = []
  /// Numbers from here on go into ZIP64 fields: what fits into 32 bits, less the value that means "see there". Tests lower it.
  private let zip64From: UInt64

  public init(path: String) throws(NumPyError) { try self.init(path: path, zip64From: 0xFFFF_FFFF) }

  init(path: String, zip64From: UInt64) throws(NumPyError) {
    do { file = try AtomicFile(path: path) } catch { throw .cannotWrite(path: path, reason: error.reason) }
    self.path = path
    self.zip64From = zip64From
  }

  /// Adds an array as NAME.npy.
  public mutating func add(_ tensor: Tensor, name: String) throws(NumPyError) {
    let member = name + ".npy"
    guard let header = NPYHeader.bytes(dtype: tensor.dtype, shape: tensor.shape) else { throw .cannotStore(path: path, dtype: tensor.dtype) }
    guard member.utf8.count <= ZipReader.nameLimit, count < UInt64(ZipReader.memberLimit) else {
      throw .cannotWrite(path: path, reason: "an archive has at most \(ZipReader.memberLimit) members, with names of \(ZipReader.nameLimit) bytes")
    }
    guard names.insert(member).inserted else { throw .duplicateMember(path: path, member: member) }
    let checksum = tensor.withBytes { zipChecksum($0, from: zipChecksum(header.span)) }
    let size = UInt64(header.count) + UInt64(tensor.byteCount)
    let record = ZipRecord(name: Array(member.utf8), checksum: checksum, size: size, offset: offset, zip64From: zip64From)
    let local = record.local()
    try put(local)
    try put(header)
    do {
      try tensor.withBytes { (bytes) throws(AtomicFileError) in try file.write(bytes) }
    } catch {
      throw .cannotWrite(path: path, reason: error.reason)
    }
    offset += UInt64(local.count) + size
    directory += record.central()
    count += 1
  }

  /// Writes the directory and puts the file into its place.
  public consuming func finish() throws(NumPyError) {
    try put(directory)
    try put(ZipRecord.end(count: count, size: UInt64(directory.count), offset: offset, zip64From: zip64From))
    do { try file.commit() } catch { throw .cannotWrite(path: path, reason: error.reason) }
  }

  private func put(_ bytes: [UInt8]) throws(NumPyError) {
    do { try file.write(bytes.span) } catch { throw .cannotWrite(path: path, reason: error.reason) }
  }
}

/// The records of one stored member.
private struct ZipRecord {
  var name: [UInt8]
  var checksum: UInt32
  var size: UInt64
  var offset: UInt64
  var zip64From: UInt64

  private var largeSize: Bool { size >= zip64From }
  private var largeOffset: Bool { offset >= zip64From }

  func local() -> [UInt8] {
    let extra = largeSize ? ZipRecord.field(1, [size, size]) : []
    return le(0x0403_4B50, 4) + common(large: largeSize) + le(UInt64(name.count), 2) + le(UInt64(extra.count), 2) + name + extra
  }

  func central() -> [UInt8] {
    let numbers = (largeSize ? [size, size] : []) + (largeOffset ? [offset] : [])
    let extra = numbers.isEmpty ? [] : ZipRecord.field(1, numbers)
    // Made by version 2.0 for Unix; no comment, first disk, a binary file that its owner may read and write.
    return le(0x0201_4B50, 4) + le(3 << 8 | 20, 2) + common(large: largeSize || largeOffset) + le(UInt64(name.count), 2)
      + le(UInt64(extra.count), 2) + le(0, 2) + le(0, 2) + le(0, 2) + le(0o100644 << 16, 4) + le(largeOffset ? 0xFFFF_FFFF : offset, 4) + name + extra
  }

  /// Version needed, flags (bit 11: the name is UTF-8), method, time, date, checksum, both sizes.
  private func common(large: Bool) -> [UInt8] {
    let flags: UInt64 = name.contains { $0 >= 0x80 } ? 0x800 : 0
    let stated = largeSize ? 0xFFFF_FFFF : size
    return le(large ? 45 : 20, 2) + le(flags, 2) + le(0, 2) + le(0, 2) + le(0x21, 2) + le(UInt64(checksum), 4) + le(stated, 4) + le(stated, 4)
  }

  private static func field(_ id: UInt64, _ numbers: [UInt64]) -> [UInt8] {
    le(id, 2) + le(UInt64(numbers.count * 8), 2) + numbers.flatMap { le($0, 8) }
  }

  /// The end of the archive, with the ZIP64 records before it where they are needed.
  static func end(count: UInt64, size: UInt64, offset: UInt64, zip64From: UInt64) -> [UInt8] {
    var out: [UInt8] = []
    let large = offset >= zip64From || size >= zip64From || count >= min(zip64From, 0xFFFF)
    if large {
      out += le(0x0606_4B50, 4) + le(44, 8) + le(3 << 8 | 45, 2) + le(45, 2) + le(0, 4) + le(0, 4)
      out += le(count, 8) + le(count, 8) + le(size, 8) + le(offset, 8)
      out += le(0x0706_4B50, 4) + le(0, 4) + le(offset + size, 8) + le(1, 4)
    }
    let shown = large ? 0xFFFF : count
    out += le(0x0605_4B50, 4) + le(0, 2) + le(0, 2) + le(shown, 2) + le(shown, 2)
    return out + le(large ? 0xFFFF_FFFF : size, 4) + le(large ? 0xFFFF_FFFF : offset, 4) + le(0, 2)
  }
}

/// `width` bytes of a number, little-endian.
private func le(_ value: UInt64, _ width: Int) -> [UInt8] {
  (0..<width).map { UInt8(truncatingIfNeeded: value >> (8 * UInt64($0))) }
}
