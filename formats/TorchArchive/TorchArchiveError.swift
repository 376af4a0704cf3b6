// What can be wrong with a PyTorch archive: one case for each kind of fault, one sentence for each case.

#if canImport(Glibc)
internal import Glibc
#elseif canImport(Musl)
internal import Musl
#endif

/// Why an archive was not read or written. Nothing of a refused archive was executed: this room cannot run code.
public enum TorchArchiveError: Error, Sendable, Equatable, CustomStringConvertible {
  /// The file cannot be opened or mapped; `code` is errno.
  case cannotRead(file: String, code: Int32)
  case cannotWrite(file: String, code: Int32)
  /// The path names a folder or a device.
  case notAFile(file: String)
  /// The bytes are not a PyTorch archive; `looksLike` says what they are where that can be told.
  case notAnArchive(file: String, looksLike: String)
  /// A PyTorch file of a form that is not read here; `advice` says what to try.
  case unsupported(file: String, what: String, advice: String)
  /// The zip container contradicts itself.
  case badZip(file: String, detail: String)
  /// The pickle asks for a name that is not on the list of what may be rebuilt.
  case forbiddenGlobal(file: String, name: String)
  /// The pickle uses an operation that is never allowed, or a permitted one on the wrong thing.
  case forbiddenOperation(file: String, what: String, offset: Int)
  /// The pickle is damaged; `offset` counts from its start.
  case badPickle(file: String, detail: String, offset: Int)
  /// Something is larger than `TorchLimits` permit.
  case limitExceeded(file: String, what: String, limit: Int)
  /// A value of the tree is wrong; `path` names it as `teacher.backbone.cls_token`.
  case badValue(file: String, path: String, detail: String)
  /// A storage's bytes are missing, too short or damaged.
  case badStorage(file: String, key: String, detail: String)
  /// `stateDict(at:)` was asked for a key that is not there.
  case noSuchKey(file: String, path: [String], available: [String])
  /// What was given to the writer cannot be written.
  case cannotEncode(file: String, name: String, detail: String)

  public var description: String {
    switch self {
    case .cannotRead(let file, let code):
      "\(file) cannot be read (\(systemMessage(code))); check the path and its permissions."
    case .cannotWrite(let file, let code):
      "\(file) cannot be written (\(systemMessage(code))); nothing was left behind."
    case .notAFile(let file):
      "\(file) is not a regular file; name the .pth file itself."
    case .notAnArchive(let file, let looksLike):
      "\(file) is not a PyTorch archive: \(looksLike)."
    case .unsupported(let file, let what, let advice):
      "\(file) is \(what), which is not read here; \(advice)."
    case .badZip(let file, let detail):
      "\(file) is a damaged or forged zip archive: \(detail)."
    case .forbiddenGlobal(let file, let name):
      "\(file) asks for \(quoted(name)), which is not on the list of tensor and container types that may be rebuilt; nothing was executed\(globalHint(name))."
    case .forbiddenOperation(let file, let what, let offset):
      "\(file) \(what) (pickle byte \(offset)), which is not permitted; nothing was executed."
    case .badPickle(let file, let detail, let offset):
      "\(file) holds a damaged pickle: \(detail) (pickle byte \(offset))."
    case .limitExceeded(let file, let what, let limit):
      "\(file) has \(what), over the limit of \(limit); if the file is trusted, raise the limit in TorchLimits."
    case .badValue(let file, let path, let detail):
      "\(file) has a bad value at \(path.isEmpty ? "its root" : quoted(path)): \(detail)."
    case .badStorage(let file, let key, let detail):
      "\(file) has a bad storage \(quoted(key)): \(detail)."
    case .noSuchKey(let file, let path, let available):
      "\(file) has no dictionary at \(quoted(path.joined(separator: "."))); there is \(keyList(available))."
    case .cannotEncode(let file, let name, let detail):
      "tensor \(quoted(name)) cannot be written to \(file): \(detail)."
    }
  }
}

/// Text of a file between quotes, short and free of control characters: it may come from a hostile file and go to a terminal.
func quoted(_ text: String, limit: Int = 80) -> String {
  var out = "\""
  var n = 0
  for scalar in text.unicodeScalars {
    if n == limit { return out + "…\"" }
    out.unicodeScalars.append(isPrintable(scalar) ? scalar : "\u{FFFD}")
    n += 1
  }
  return out + "\""
}

private func isPrintable(_ scalar: Unicode.Scalar) -> Bool {
  switch scalar.properties.generalCategory {
  case .control, .format, .surrogate, .privateUse, .unassigned, .lineSeparator, .paragraphSeparator: false
  default: true
  }
}

private func keyList(_ keys: [String]) -> String {
  if keys.isEmpty { return "none" }
  let shown = keys.prefix(12).map { quoted($0) }.joined(separator: ", ")
  return keys.count > 12 ? shown + " and \(keys.count - 12) more" : shown
}

/// What to do about the refusals that honest files run into.
private func globalHint(_ name: String) -> String {
  if name.hasPrefix("torch.nn.modules") || name.hasPrefix("torch.nn.parallel") || name.hasPrefix("__main__.") || name.hasPrefix("vision_transformer.")
    || name.hasPrefix("timm.models") {
    return " (the file holds a whole pickled module: save its state_dict() with PyTorch instead)"
  }
  if name == "torch.storage._load_from_bytes" { return " (it would load a second archive hidden in this one)" }
  if name.contains("_rebuild_") && name.hasPrefix("torch.") { return " (only dense tensors are read)" }
  return ""
}

/// What the system calls an error number.
func systemMessage(_ code: Int32) -> String {
  guard let text = unsafe strerror(code) else { return "error \(code)" }
  return unsafe String(cString: text)
}
