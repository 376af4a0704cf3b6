// .npz files: a ZIP archive of .npy files. Reading is lazy and bounded; a stored member is a view of the mapped file. Writing stores without
// compression, with fixed times, so that the same arrays give the same bytes.

internal import AtomicFiles
public import DinoTensor

/// What an archive may be at most.
public struct NumPyArchiveLimits: Sendable, Equatable {
  /// Bytes that one deflated member may take in memory. Stored members take none.
  public var memberBytes: Int
  public init(memberBytes: Int = 4 << 30) { self.memberBytes = memberBytes }
}

/// An open .npz file.
public struct NumPyArchive: Sendable {
  public let path: String
  /// Names of the arrays, without `.npy`, in the order of the archive. Members of other kinds are not listed.
  public let names: [String]
  private let storage: Storage
  private let members: [String: ZipMember]
  private let limits: NumPyArchiveLimits

  /// Maps the archive and checks its directory. No array is read yet.
  public init(path: String, limits: NumPyArchiveLimits = NumPyArchiveLimits()) throws(NumPyError) {
    self = try NumPyArchive(storage: NumPyArray.map(path), path: path, limits: limits)
  }

  /// The same over bytes in memory; `path` is used in sentences only.
  public init(bytes: [UInt8], path: String = "the bytes given", limits: NumPyArchiveLimits = NumPyArchiveLimits()) throws(NumPyError) {
    self = try NumPyArchive(storage: Tensor.copy(bytes, dtype: .u8, shape: [bytes.count]).storage, path: path, limits: limits)
  }

  private init(storage: Storage, path: String, limits: NumPyArchiveLimits) throws(NumPyError) {
    let all = try storage.withBytes { (bytes) throws(NumPyError) in try ZipReader.members(bytes, path: path) }
    var members: [String: ZipMember] = [:]
    var names: [String] = []
    for member in all where member.name.hasSuffix(".npy") {
      let name = String(member.name.dropLast(4))
      members[name] = member
      names.append(name)
    }
    self.path = path
    self.storage = storage
    self.names = names
    self.members = members
    self.limits = limits
  }

  /// Reads one array.
  public func tensor(_ name: String) throws(NumPyError) -> Tensor {
    guard let member = members[name] else { throw .noSuchMember(path: path, member: name) }
    guard !member.encrypted else { throw .encryptedMember(path: path, member: name) }
    let label = "\(path):\(name)"
    switch member.method {
    case 0:
      guard member.size == UInt64(member.data.count) else {
        throw .memberMalformed(path: path, member: name, reason: "it is stored, but its two sizes differ")
      }
      try check(storage, member.data, member, name)
      return try NumPyArray.tensor(in: storage, member.data, path: label)
    case 8:
      let inflated = try inflated(member, name)
      try check(inflated, 0..<inflated.byteCount, member, name)
      return try NumPyArray.tensor(in: inflated, 0..<inflated.byteCount, path: label)
    default: throw .unsupportedCompression(path: path, member: name, method: member.method)
    }
  }

  private func check(_ storage: Storage, _ range: Range<Int>, _ member: ZipMember, _ name: String) throws(NumPyError) {
    let found = storage.withBytes { zipChecksum($0.extracting(range)) }
    guard found == member.checksum else { throw .checksumMismatch(path: path, member: name) }
  }

  /// The member's bytes. Its stated size is believed only within what deflate can do and the limit; memory is touched only as bytes come.
  private func inflated(_ member: ZipMember, _ name: String) throws(NumPyError) -> Storage {
    guard member.size <= UInt64(limits.memberBytes) else {
      throw .memberTooLarge(path: path, member: name, bytes: member.size, limit: limits.memberBytes)
    }
    guard member.size <= UInt64(member.data.count) * deflateGrowthLimit + 64 else {
      throw .memberMalformed(path: path, member: name, reason: "\(member.data.count) deflated bytes cannot become \(member.size)")
    }
    let result: Storage?
    do {
      result = try storage.withBytes { try inflateMember($0.extracting(member.data), size: Int(member.size)) }
    } catch {
      throw .cannotRead(path: path, reason: "no memory for the \(member.size) bytes of '\(name)'")
    }
    guard let result else {
      throw .memberMalformed(path: path, member: name, reason: "its deflated bytes are damaged or not \(member.size) when inflated")
    }
    return result
  }

  /// Writes arrays as numpy.savez does: stored, each as NAME.npy, in the order given. The file appears whole or not at all.
  public static func write(_ arrays: [(name: String, tensor: Tensor)], to path: String) throws(NumPyError) {
    var writer = try NumPyArchiveWriter(path: path)
    for (name, tensor) in arrays { try writer.add(tensor, name: name) }
    try writer.finish()
  }
}
