// Where each storage's bytes lie, and their inflating where a zip tool compressed them. It knows no shapes.

internal import DinoTensor
internal import Synchronization

/// The storages of one archive by key. Shared by all of its tensors; keeps the file mapped as long as one of them lives.
final class StorageTable: Sendable {
  enum Place: Sendable {
    case inFile(ByteView)
    case deflated(ByteView, entry: ZipEntry)

    var byteCount: Int {
      switch self {
      case .inFile(let bytes): bytes.count
      case .deflated(_, let entry): entry.size
      }
    }
  }

  let file: String
  let places: [String: Place]
  /// Whether elements are stored most significant byte first.
  let bigEndian: Bool
  private let inflated = Mutex<[String: ByteView]>([:])

  init(file: String, places: [String: Place], bigEndian: Bool) {
    self.file = file
    self.places = places
    self.bigEndian = bigEndian
  }

  /// The bytes of a storage: those of the mapped file, or inflated ones, which are kept for the next tensor that shares them.
  func bytes(_ key: String) throws(TorchArchiveError) -> ByteView {
    switch places[key] {
    case nil: throw .badStorage(file: file, key: key, detail: "it is not in the archive")
    case .inFile(let bytes): return bytes
    case .deflated(let compressed, let entry):
      if let known = inflated.withLock({ $0[key] }) { return known }
      let fresh = try inflate(compressed, entry, file: file, verify: true)
      return inflated.withLock { cache in
        // Another thread may have been quicker: all tensors then share its bytes.
        if let known = cache[key] { return known }
        cache[key] = fresh
        return fresh
      }
    }
  }
}

/// An entry's bytes: a part of the file, or inflated. With `verify` they must have the directory's checksum.
func contents(of entry: ZipEntry, in bytes: ByteView, file: String, verify: Bool) throws(TorchArchiveError) -> ByteView {
  guard let raw = bytes.slice(at: entry.offset, count: entry.compressedSize) else {
    throw .badZip(file: file, detail: "the entry \(quoted(entry.name)) does not lie inside the file")
  }
  if entry.method == .deflated { return try inflate(raw, entry, file: file, verify: verify) }
  guard !verify || entry.crc == nil || raw.crc32 == entry.crc else { throw checksumFault(entry, file) }
  return raw
}

private func inflate(_ raw: ByteView, _ entry: ZipEntry, file: String, verify: Bool) throws(TorchArchiveError) -> ByteView {
  // Deflate cannot do better than 1032:1. A size beyond that is a lie, found before memory is taken.
  guard entry.size / 1032 <= raw.count else { throw .badZip(file: file, detail: "the entry \(quoted(entry.name)) cannot inflate to \(entry.size) bytes") }
  switch raw.inflated(to: entry.size) {
  case .failure(let fault): throw .badZip(file: file, detail: "the entry \(quoted(entry.name)) is bad: \(fault.rawValue)")
  case .success(let storage):
    let out = ByteView(storage)
    guard !verify || entry.crc == nil || out.crc32 == entry.crc else { throw checksumFault(entry, file) }
    return out
  }
}

private func checksumFault(_ entry: ZipEntry, _ file: String) -> TorchArchiveError {
  .badZip(file: file, detail: "the bytes of \(quoted(entry.name)) do not have the checksum that the directory gives: the file is damaged, get it again")
}
