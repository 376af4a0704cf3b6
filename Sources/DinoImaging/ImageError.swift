// All that can go wrong in this room, each with its sentence.

/// Why an image could not be read, changed or written.
public enum ImageError: Error, Sendable, Equatable, CustomStringConvertible {
  /// The file cannot be opened or read; `code` is errno.
  case cannotRead(path: String, code: Int32)
  /// The file cannot be written; `code` is errno. What stood at the path before is untouched.
  case cannotWrite(path: String, code: Int32)
  case fileTooLarge(name: String, bytes: Int, limit: Int)
  /// The first bytes are those of no format that is read here.
  case unknownFormat(name: String)
  case tooManyPixels(name: String, width: Int, height: Int, limit: Int)
  /// Decoding would need more memory than allowed.
  case tooMuchMemory(name: String, bytes: Int, limit: Int)
  /// Truncated or damaged; `detail` says how.
  case corrupt(name: String, format: String, detail: String)
  /// Well-formed, but of a kind that is not read.
  case unsupported(name: String, format: String, detail: String)
  case outOfMemory(name: String)
  /// A parameter of a function here makes no sense.
  case invalidParameter(String)

  public var description: String {
    switch self {
    case .cannotRead(let path, let code): "cannot read \(path): \(systemMessage(code))"
    case .cannotWrite(let path, let code): "cannot write \(path): \(systemMessage(code))"
    case .fileTooLarge(let name, let bytes, let limit):
      "\(name) has \(bytes) bytes, more than the limit of \(limit) for an image file"
    case .unknownFormat(let name): "\(name) is not an image of a known kind; PNG, JPEG, WebP, TIFF, PPM, PGM and PBM are read"
    case .tooManyPixels(let name, let width, let height, let limit):
      "\(name) has \(width)x\(height) pixels, more than the limit of \(limit); make it smaller or raise the limit"
    case .tooMuchMemory(let name, let bytes, let limit):
      "\(name) needs about \(bytes) bytes to decode, more than the limit of \(limit); make it smaller or raise the limit"
    case .corrupt(let name, let format, let detail): "\(name) is a damaged \(format) file: \(detail)"
    case .unsupported(let name, let format, let detail): "\(name) is a kind of \(format) that is not read here: \(detail); save it as 8-bit RGB"
    case .outOfMemory(let name): "there is not enough memory for \(name)"
    case .invalidParameter(let text): text
    }
  }
}
