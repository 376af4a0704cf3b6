// The files beside a model that hold its weights. A name may only lead to a regular file inside the model's own folder; each file is mapped once.

internal import AtomicFiles
internal import DinoTensor
internal import Synchronization
#if canImport(Glibc)
internal import Glibc
#elseif canImport(Musl)
internal import Musl
#endif

final class ExternalFiles: Sendable {
  private let modelPath: String
  /// Nil where the model has no place on disk.
  private let folder: String?
  private let mapped = Mutex<[String: Storage]>([:])

  init(modelPath: String, folder: String?) {
    self.modelPath = modelPath
    self.folder = folder
  }

  /// The bytes that a tensor says are in another file, checked against its shape and the file's size.
  func bytes(of tensor: OnnxTensor, _ reference: OnnxExternalReference) throws(OnnxError) -> OnnxBytes {
    let range: Range<Int>
    do {
      range = try place(of: tensor, reference)
    } catch {
      throw .invalidTensor(path: modelPath, tensor: tensor.name, error)
    }
    // A tensor without elements needs no file.
    if range.isEmpty { return OnnxBytes([]) }
    let file = try map(reference.location, for: tensor)
    guard let bytes = OnnxBytes(file, offset: range.lowerBound, count: range.count) else {
      throw .invalidTensor(path: modelPath, tensor: tensor.name, .rangeBeyondFile(
        location: reference.location, offset: range.lowerBound, length: range.count, size: file.byteCount))
    }
    return bytes
  }

  /// Where the bytes are by what the tensor says. The file has not been looked at.
  private func place(of tensor: OnnxTensor, _ reference: OnnxExternalReference) throws(OnnxTensorProblem) -> Range<Int> {
    let expected = try tensor.rawByteCount()
    let offset = try number(reference, "offset") ?? 0
    let length = try number(reference, "length") ?? expected
    guard length == expected else { throw .byteCount(expected: expected, found: length) }
    let (end, overflow) = offset.addingReportingOverflow(length)
    guard !overflow else { throw .invalidExternalNumber(key: "offset", value: String(offset)) }
    return offset..<end
  }

  private func number(_ reference: OnnxExternalReference, _ key: String) throws(OnnxTensorProblem) -> Int? {
    guard let text = reference[key] else { return nil }
    guard !text.isEmpty, text.utf8.allSatisfy({ $0 >= UInt8(ascii: "0") && $0 <= UInt8(ascii: "9") }), let value = Int(text) else {
      throw .invalidExternalNumber(key: key, value: text)
    }
    return value
  }

  private func map(_ location: String, for tensor: OnnxTensor) throws(OnnxError) -> Storage {
    if let storage = mapped.withLock({ $0[location] }) { return storage }
    let path = try resolve(location, for: tensor)
    do {
      let storage = try Storage(mapping: path)
      return mapped.withLock { files in
        if let first = files[location] { return first }
        files[location] = storage
        return storage
      }
    } catch {
      let reason = if case .cannotOpen(_, let code) = error { AtomicFile.reason(code) } else { "it cannot be mapped" }
      throw .externalDataUnreadable(path: modelPath, location: location, tensor: tensor.name, reason: reason)
    }
  }

  /// The real path of a location: relative, without `..`, a regular file that lies in the model's folder after all links are followed. Where the
  /// model itself was opened through a link (as in the Hugging Face cache), the folder that the link leads to is the model's folder too.
  private func resolve(_ location: String, for tensor: OnnxTensor) throws(OnnxError) -> String {
    func forbidden(_ reason: String) -> OnnxError {
      .externalDataForbidden(path: modelPath, location: location, tensor: tensor.name, reason: reason)
    }
    guard let folder else { throw forbidden("cannot be found: the model was not read from a file") }
    if let reason = ExternalFiles.fault(of: location) { throw forbidden(reason) }
    let path = folder + "/" + location
    var info = stat()
    guard unsafe stat(path, &info) == 0 else {
      let code = errno
      if code == ENOENT || code == ENOTDIR { throw .externalDataMissing(path: modelPath, location: location, tensor: tensor.name) }
      throw .externalDataUnreadable(path: modelPath, location: location, tensor: tensor.name, reason: AtomicFile.reason(code))
    }
    guard info.st_mode & S_IFMT == S_IFREG else { throw forbidden("is no regular file") }
    guard let real = ExternalFiles.realPath(path) else {
      throw .externalDataUnreadable(path: modelPath, location: location, tensor: tensor.name, reason: AtomicFile.reason(errno))
    }
    var allowed = [ExternalFiles.realPath(folder)]
    if let model = ExternalFiles.realPath(modelPath), let slash = model.lastIndex(of: "/") { allowed.append(String(model[..<slash])) }
    guard allowed.contains(where: { $0.map { real.hasPrefix($0.hasSuffix("/") ? $0 : $0 + "/") } ?? false }) else {
      throw forbidden("leads out of the model's folder through a link")
    }
    return real
  }

  /// What is wrong with the name of a file beside the model; nil where nothing is.
  static func fault(of location: String) -> String? {
    if location.isEmpty { return "is no file name" }
    if location.utf8.first == UInt8(ascii: "/") { return "is an absolute path" }
    if location.utf8.contains(0) { return "holds a NUL" }
    if location.split(separator: "/").contains("..") { return "leads out of the model's folder" }
    return nil
  }

  private static func realPath(_ path: String) -> String? {
    guard let resolved = unsafe realpath(path, nil) else { return nil }
    defer { unsafe free(resolved) }
    return unsafe String(cString: resolved)
  }
}
