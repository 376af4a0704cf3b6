// Tells what a file is by its first bytes, and finds the parts of a zip archive that torch.save wrote. It reads no pickle.

internal import DinoTensor

/// A zip archive with its records found.
struct ZipContainer {
  let directory: ZipDirectory
  let pickle: ZipEntry
  let bigEndian: Bool
  private let prefix: String

  init(_ bytes: ByteView, file: String, limits: TorchLimits) throws(TorchArchiveError) {
    directory = try ZipDirectory(bytes, file: file, limits: limits)
    // torch.save puts everything into one folder, whose name is free.
    let pickles = directory.entries.filter { $0.name.hasSuffix("/data.pkl") && $0.name.utf8.count { $0 == UInt8(ascii: "/") } == 1 }
    guard let pickle = pickles.first else { throw .notAnArchive(file: file, looksLike: ZipContainer.guess(directory)) }
    guard pickles.count == 1 else { throw .badZip(file: file, detail: "it has \(pickles.count) entries called data.pkl") }
    let prefix = String(pickle.name.dropLast("data.pkl".count))
    let scripted = directory["\(prefix)constants.pkl"] != nil || directory.entries.contains { $0.name.hasPrefix("\(prefix)code/") }
    guard !scripted else {
      throw .unsupported(file: file, what: "a TorchScript archive, which holds a program",
                         advice: "in PyTorch, torch.save(torch.jit.load(path).state_dict(), new_path) writes one that is read")
    }
    guard pickle.size <= limits.pickleBytes else { throw .limitExceeded(file: file, what: "a pickle of \(pickle.size) bytes", limit: limits.pickleBytes) }
    self.pickle = pickle
    self.prefix = prefix
    bigEndian = try ZipContainer.byteOrder(bytes, directory["\(prefix)byteorder"], file: file)
  }

  /// The storages, by key. With `verify` their checksums are compared, which reads the whole file.
  func places(_ bytes: ByteView, file: String, verify: Bool) throws(TorchArchiveError) -> [String: StorageTable.Place] {
    var places: [String: StorageTable.Place] = [:]
    let folder = prefix + "data/"
    for entry in directory.entries where entry.name.hasPrefix(folder) && entry.name.utf8.last != UInt8(ascii: "/") {
      guard let raw = bytes.slice(at: entry.offset, count: entry.compressedSize) else { continue }
      if verify { _ = try contents(of: entry, in: bytes, file: file, verify: true) }
      places[String(entry.name.dropFirst(folder.count))] = entry.method == .stored ? .inFile(raw) : .deflated(raw, entry: entry)
    }
    return places
  }

  /// Files from before PyTorch 2.1 have no record of it and are little-endian.
  private static func byteOrder(_ bytes: ByteView, _ entry: ZipEntry?, file: String) throws(TorchArchiveError) -> Bool {
    guard let entry else { return false }
    guard entry.size <= 16 else { throw .badZip(file: file, detail: "the entry \(quoted(entry.name)) has \(entry.size) bytes in place of a word") }
    let raw = try contents(of: entry, in: bytes, file: file, verify: true)
    switch raw.text(at: 0, count: raw.count) {
    case "little": return false
    case "big": return true
    default: throw .badZip(file: file, detail: "the entry \(quoted(entry.name)) says neither little nor big")
    }
  }

  private static func guess(_ directory: ZipDirectory) -> String {
    let names = directory.entries.map(\.name)
    if names.contains(where: { $0.hasSuffix(".npy") }) { return "it is a NumPy .npz archive" }
    if names.contains("data.pkl") { return "it is a zip whose data.pkl is in no folder; torch.save puts it into one" }
    if names.contains(where: { $0.hasSuffix("archive_format") }) { return "it is a torch.export program; save a state_dict() instead" }
    if let inner = names.first(where: { $0.hasSuffix(".pth") || $0.hasSuffix(".pt") }) { return "it is a zip around \(quoted(inner)); unpack it first" }
    return names.isEmpty ? "it is an empty zip" : "it is a zip of other files, without a data.pkl"
  }
}

/// What a file is, by its first bytes.
enum FileKind {
  case zip, pickle
  case other(TorchArchiveError)

  init(_ bytes: ByteView, file: String) {
    if bytes.starts(with: [0x50, 0x4B, 3, 4]) || bytes.starts(with: [0x50, 0x4B, 5, 6]) {
      self = .zip
    } else if bytes.starts(with: [0x80]), bytes.count > 1, bytes[1] <= 5 {
      self = .pickle
    } else if bytes.starts(with: Array("ustar".utf8), at: 257) {
      self = .other(.unsupported(file: file, what: "a tar archive, the form that PyTorch wrote before 0.1.10", advice: "load and save it again with PyTorch"))
    } else {
      self = .other(.notAnArchive(file: file, looksLike: FileKind.guess(bytes)))
    }
  }

  private static func guess(_ bytes: ByteView) -> String {
    if bytes.count == 0 { return "it is empty" }
    let known: [(prefix: [UInt8], what: String)] = [
      (Array("version https://git-lfs".utf8), "it is a Git LFS pointer; fetch the file itself with git lfs pull"),
      (Array("<".utf8), "it is a web page; the download probably failed"),
      ([0x93] + Array("NUMPY".utf8), "it is a NumPy .npy array"),
      ([0x89] + Array("HDF".utf8), "it is an HDF5 file"),
      (Array("GGUF".utf8), "it is a GGUF file"),
      ([0x1F, 0x8B], "it is compressed with gzip; unpack it first"),
      ([0x28, 0xB5, 0x2F, 0xFD], "it is compressed with zstd; unpack it first"),
      ([0xFD] + Array("7zXZ".utf8), "it is compressed with xz; unpack it first"),
      ([0x89] + Array("PNG".utf8), "it is a PNG image"),
      ([0xFF, 0xD8, 0xFF], "it is a JPEG image"),
    ]
    if let found = known.first(where: { bytes.starts(with: $0.prefix) }) { return found.what }
    if bytes.count > 8, bytes[8] == UInt8(ascii: "{"), bytes.u64(0) <= UInt64(bytes.count) { return "it is a safetensors file" }
    return "its first bytes are neither a zip's nor a pickle's"
  }
}
