// A model as an ONNX file: the same model gives the same bytes, and the file is there whole or not at all. With external data the weights go to
// a second file beside it. It checks that the file can be read again, not that the graph makes sense.

internal import AtomicFiles
internal import DinoTensor

/// Where the weights go that are not to be in the model's own file.
public struct OnnxExternalDataOptions: Sendable, Equatable {
  /// A plain file name; the file is written beside the model.
  public var fileName: String
  /// Initializers of fewer bytes stay in the model: runtimes read shapes and scalars from there.
  public var threshold = 1024
  /// Each tensor begins at a multiple of this.
  public var alignment = 64

  public init(fileName: String) { self.fileName = fileName }
}

public enum OnnxWriter {
  /// The largest message of protobuf.
  static let largestModel = Int(Int32.max)

  /// The bytes of a model's file.
  public static func bytes(_ model: OnnxModel) throws(OnnxError) -> [UInt8] {
    let message = try message(model)
    var bytes: [UInt8] = []
    bytes.reserveCapacity(message.count)
    message.forEachPiece { piece in unsafe piece.withUnsafeBufferPointer { unsafe bytes.append(contentsOf: $0) } }
    return bytes
  }

  /// Writes a model to `path`. Tensors whose data are external already keep their references: read the model with
  /// `OnnxFile.modelWithExternalData()` to move the data along.
  public static func write(_ model: OnnxModel, to path: String, externalData: OnnxExternalDataOptions? = nil) throws(OnnxError) {
    guard let options = externalData else {
      return try commit(try begin(path, try message(model)), path)
    }
    var data = ExternalDataLayout(options)
    let slimmed = try data.moving(model)
    let folder = path.utf8.lastIndex(of: UInt8(ascii: "/")).map { String(path[...$0]) } ?? ""
    let dataPath = folder + options.fileName
    guard dataPath != path else { throw .cannotStore(reason: "the external data file \(quoted(options.fileName)) has the model's own name") }
    // Both are written before either is put into place, the data first: a model is never there without its weights.
    let message = try message(slimmed)
    let dataFile = try begin(dataPath, data)
    let modelFile = try begin(path, message)
    try commit(dataFile, dataPath)
    try commit(modelFile, path)
  }

  private static func message(_ model: OnnxModel) throws(OnnxError) -> WireWriter {
    var message = WireWriter()
    try message.model(model)
    guard message.count <= largestModel else { throw .modelTooLarge(bytes: message.count) }
    return message
  }

  // MARK: files

  private static func begin(_ path: String, _ message: WireWriter) throws(OnnxError) -> AtomicFile {
    do {
      let file = try AtomicFile(path: path)
      try message.forEachPiece { (piece) throws(AtomicFileError) in try file.write(piece) }
      return file
    } catch {
      throw writeError(path, error)
    }
  }

  private static func begin(_ path: String, _ data: ExternalDataLayout) throws(OnnxError) -> AtomicFile {
    do {
      let file = try AtomicFile(path: path)
      var position = 0
      for (offset, bytes) in data.pieces {
        if offset > position { try file.write([UInt8](repeating: 0, count: offset - position)) }
        try bytes.withBytes { (span) throws(AtomicFileError) in try file.write(span) }
        position = offset + bytes.count
      }
      return file
    } catch {
      throw writeError(path, error)
    }
  }

  private static func commit(_ file: consuming AtomicFile, _ path: String) throws(OnnxError) {
    do {
      try file.commit()
    } catch {
      throw writeError(path, error)
    }
  }

  private static func writeError(_ path: String, _ error: AtomicFileError) -> OnnxError {
    switch error {
    case .failed(_, let action, let code): .cannotWrite(path: path, reason: "cannot \(action) it: \(AtomicFile.reason(code))")
    case .notAFile: .cannotWrite(path: path, reason: "it exists and is no regular file; choose another name")
    }
  }
}

/// The content of an external data file: which bytes lie where.
private struct ExternalDataLayout {
  let options: OnnxExternalDataOptions
  private(set) var pieces: [(offset: Int, bytes: OnnxBytes)] = []
  private var end = 0

  init(_ options: OnnxExternalDataOptions) { self.options = options }

  /// The model with its large initializers moved into this layout.
  mutating func moving(_ model: OnnxModel) throws(OnnxError) -> OnnxModel {
    let name = options.fileName
    guard ExternalFiles.fault(of: name) == nil, !name.contains("/"), name != "." else {
      throw .cannotStore(reason: "\(quoted(name)) is no plain file name for external data")
    }
    guard options.alignment > 0 else { throw .cannotStore(reason: "the alignment of external data must be positive") }
    for tensor in model.tensors {
      if tensor.externalReference?.location == name {
        throw .cannotStore(reason: "tensor \(quoted(tensor.name)) is in \(quoted(name)), which would be overwritten; load the external data first")
      }
    }
    var slimmed = model
    for i in slimmed.graph.initializers.indices { try move(&slimmed.graph.initializers[i]) }
    return slimmed
  }

  private mutating func move(_ tensor: inout OnnxTensor) throws(OnnxError) {
    guard let bytes = rawBytes(tensor), bytes.count >= max(options.threshold, 1) else { return }
    let (padded, overflow) = end.addingReportingOverflow(options.alignment - 1)
    guard !overflow else { throw .cannotStore(reason: "the external data are too large") }
    let offset = padded / options.alignment * options.alignment
    pieces.append((offset, bytes))
    end = offset + bytes.count
    tensor.content = .external(OnnxExternalReference(location: options.fileName, offset: offset, length: bytes.count))
  }

  /// The bytes as `raw_data` has them; nil for what stays in the model (strings, external data, types whose elements are widened in memory).
  private func rawBytes(_ tensor: OnnxTensor) -> OnnxBytes? {
    switch tensor.content {
    case .raw(let bytes): return bytes
    case .floats, .int32s, .int64s, .doubles, .uint64s:
      guard let width = tensor.dataType.bitWidth, width >= 8, let values = try? tensor.tensor() else { return nil }
      return OnnxBytes(values)
    case .none, .strings, .external, .conflicting: return nil
    }
  }
}
