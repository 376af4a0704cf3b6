// Writes safetensors files: the same tensors and metadata always give the same bytes, and those that the reference library writes. The file
// appears whole or not at all, and what was at its place is never truncated: it may be mapped, even be the source of what is written.

internal import AtomicFiles
public import DinoTensor

public enum SafetensorsWriter {
  /// Writes `tensors` and `metadata` to `path`. The order of `tensors` does not matter.
  public static func write(_ tensors: [(name: String, tensor: Tensor)], metadata: [String: String], to path: String) throws(SafetensorsError) {
    let ordered = layoutOrder(tensors)
    let header: [UInt8]
    do { header = try headerBytes(ordered, metadata: metadata) } catch { throw .cannotStore(path: path, error) }
    do {
      let file = try AtomicFile(path: path)
      try file.write(header.span)
      for (_, tensor) in ordered {
        try tensor.withBytes { (bytes) throws(AtomicFileError) in try file.write(bytes) }
      }
      try file.commit()
    } catch {
      throw .cannotWrite(path: path, reason: error.reason)
    }
  }

  /// The bytes of such a file in memory.
  public static func bytes(_ tensors: [(name: String, tensor: Tensor)], metadata: [String: String] = [:]) throws(SafetensorsProblem) -> [UInt8] {
    let ordered = layoutOrder(tensors)
    var out = try headerBytes(ordered, metadata: metadata)
    for (_, tensor) in ordered {
      tensor.withBytes { bytes in for i in bytes.indices { out.append(bytes[i]) } }
    }
    return out
  }

  /// The widest type first (the reverse of the order of `DType`), then by the bytes of the name: all data end up aligned to their own width.
  static func layoutOrder(_ tensors: [(name: String, tensor: Tensor)]) -> [(name: String, tensor: Tensor)] {
    tensors.sorted { a, b in
      let x = layoutRank[a.tensor.dtype]!, y = layoutRank[b.tensor.dtype]!
      return x != y ? x > y : a.name.utf8.lexicographicallyPrecedes(b.name.utf8)
    }
  }

  private static let layoutRank = Dictionary(uniqueKeysWithValues: DType.allCases.enumerated().map { ($1, $0) })

  /// The length, the JSON, and spaces up to a multiple of 8.
  static func headerBytes(_ ordered: [(name: String, tensor: Tensor)], metadata: [String: String]) throws(SafetensorsProblem) -> [UInt8] {
    try check(ordered, metadata)
    var json = "{"
    if !metadata.isEmpty {
      json += "\"__metadata__\":{"
      let keys = metadata.keys.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
      for (i, key) in keys.enumerated() {
        if i > 0 { json += "," }
        appendJSONString(key, to: &json)
        json += ":"
        appendJSONString(metadata[key] ?? "", to: &json)
      }
      json += "}"
    }
    var begin = 0
    for (name, tensor) in ordered {
      if json.utf8.count > 1 { json += "," }
      let end = begin + tensor.byteCount
      appendJSONString(name, to: &json)
      json += ":{\"dtype\":\"\(tensor.dtype.rawValue)\",\"shape\":[\(tensor.shape.dims.map(String.init).joined(separator: ","))]"
      json += ",\"data_offsets\":[\(begin),\(end)]}"
      begin = end
    }
    json += "}"
    let padded = (json.utf8.count + 7) / 8 * 8
    guard padded <= SafetensorsHeader.Limits.headerBytes else { throw .headerTooLarge(bytes: UInt64(padded)) }
    var out: [UInt8] = (0..<8).map { UInt8(truncatingIfNeeded: padded >> (8 * $0)) }
    out.append(contentsOf: json.utf8)
    out.append(contentsOf: repeatElement(0x20, count: padded - json.utf8.count))
    return out
  }

  /// What is written here must be readable here.
  private static func check(_ tensors: [(name: String, tensor: Tensor)], _ metadata: [String: String]) throws(SafetensorsProblem) {
    typealias Limits = SafetensorsHeader.Limits
    guard tensors.count <= Limits.tensors else { throw .tooManyTensors(limit: Limits.tensors) }
    guard metadata.count <= Limits.metadataEntries else { throw .tooManyMetadataEntries(limit: Limits.metadataEntries) }
    var names: Set<String> = []
    for (name, tensor) in tensors {
      guard name != "__metadata__" else { throw .reservedName }
      guard name.utf8.count <= Limits.nameBytes else { throw .nameTooLong(start: name, limit: Limits.nameBytes) }
      guard isStreamSafe(name) else { throw .tooManyMarks(start: name, limit: Limits.marksInARow) }
      guard names.insert(name).inserted else { throw .duplicateTensor(name) }
      guard tensor.shape.rank <= Limits.rank else { throw .rankTooLarge(tensor: name, limit: Limits.rank) }
    }
    for key in metadata.keys {
      guard key.utf8.count <= Limits.nameBytes else { throw .nameTooLong(start: key, limit: Limits.nameBytes) }
      guard isStreamSafe(key) else { throw .tooManyMarks(start: key, limit: Limits.marksInARow) }
    }
  }
}
