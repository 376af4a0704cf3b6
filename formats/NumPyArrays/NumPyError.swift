// Why an array file cannot be read or written: one case and one sentence for each cause. Sentences name the file, and the member of an archive.

public import DinoTensor

public enum NumPyError: Error, Sendable, Equatable {
  case fileNotFound(path: String)
  case notAFile(path: String)
  case cannotRead(path: String, reason: String)
  case cannotWrite(path: String, reason: String)

  // .npy
  case notAnArrayFile(path: String)
  case unknownVersion(path: String, major: UInt8, minor: UInt8)
  case headerBeyondFile(path: String, bytes: Int, available: Int)
  case headerTooLong(path: String, bytes: Int, limit: Int)
  case headerMalformed(path: String, offset: Int, expected: String)
  case headerKey(path: String, key: String)
  case unsupportedType(path: String, found: String)
  case rankTooLarge(path: String, limit: Int)
  case sizeOverflows(path: String, dtype: DType, shape: Shape)
  case dataTooShort(path: String, dtype: DType, shape: Shape, expected: Int, found: Int)
  case trailingBytes(path: String, bytes: Int)

  // .npz
  case notAnArchive(path: String)
  case archiveMalformed(path: String, reason: String)
  case duplicateMember(path: String, member: String)
  case encryptedMember(path: String, member: String)
  case unsupportedCompression(path: String, member: String, method: Int)
  case memberTooLarge(path: String, member: String, bytes: UInt64, limit: Int)
  case memberMalformed(path: String, member: String, reason: String)
  case checksumMismatch(path: String, member: String)
  case noSuchMember(path: String, member: String)

  // Writing
  case cannotStore(path: String, dtype: DType)
  case rowWidth(path: String, expected: Int, found: Int)
  case rowCount(path: String, expected: Int, found: Int)
}

extension NumPyError: CustomStringConvertible {
  public var description: String {
    switch self {
    case .fileNotFound(let path): "\(path): no such file; check the name"
    case .notAFile(let path): "\(path): not a regular file; name an .npy or .npz file"
    case .cannotRead(let path, let reason): "\(path): cannot be read: \(reason)"
    case .cannotWrite(let path, let reason): "\(path): cannot be written: \(reason)"
    case .notAnArrayFile(let path): "\(path): does not start as an .npy file does ('\\x93NUMPY'); save it with numpy.save"
    case .unknownVersion(let path, let major, let minor): "\(path): has .npy version \(major).\(minor); versions 1.0, 2.0 and 3.0 are known"
    case .headerBeyondFile(let path, let bytes, let available):
      "\(path): its header is said to have \(bytes) bytes but only \(available) follow; the file is cut short"
    case .headerTooLong(let path, let bytes, let limit): "\(path): its header has \(bytes) bytes, more than this reader's limit of \(limit)"
    case .headerMalformed(let path, let offset, let expected): "\(path): its header is malformed at byte \(offset): expected \(expected)"
    case .headerKey(let path, let key): "\(path): its header must have descr, fortran_order and shape, each once and nothing else; see '\(key)'"
    case .unsupportedType(let path, let found):
      "\(path): holds elements of type \(found); only plain booleans, integers, floats and complex64 are read: convert it with astype first"
    case .rankTooLarge(let path, let limit): "\(path): has more than \(limit) dimensions"
    case .sizeOverflows(let path, let dtype, let shape): "\(path): the size of \(dtype.rawValue) \(shape) does not fit into 63 bits"
    case .dataTooShort(let path, let dtype, let shape, let expected, let found):
      "\(path): \(dtype.rawValue) \(shape) takes \(expected) bytes but only \(found) follow the header; the file is cut short"
    case .trailingBytes(let path, let bytes): "\(path): \(bytes) bytes follow the array; save one array in a file, or use .npz"
    case .notAnArchive(let path): "\(path): is no .npz file: the end record of a ZIP archive is missing; save it with numpy.savez"
    case .archiveMalformed(let path, let reason): "\(path): the archive is malformed: \(reason)"
    case .duplicateMember(let path, let member): "\(path): has the member '\(member)' twice"
    case .encryptedMember(let path, let member): "\(path): the member '\(member)' is encrypted; save it without a password"
    case .unsupportedCompression(let path, let member, let method):
      "\(path): the member '\(member)' has compression method \(method); only stored (0) and deflated (8) are read"
    case .memberTooLarge(let path, let member, let bytes, let limit):
      "\(path): the member '\(member)' would take \(bytes) bytes, more than the limit of \(limit); store it without compression"
    case .memberMalformed(let path, let member, let reason): "\(path): the member '\(member)' is malformed: \(reason)"
    case .checksumMismatch(let path, let member): "\(path): the member '\(member)' does not have the checksum that the archive states; it is damaged"
    case .noSuchMember(let path, let member): "\(path): has no member '\(member)'"
    case .cannotStore(let path, let dtype): "\(path): NumPy has no type for \(dtype.rawValue); convert the tensor to F32 first"
    case .rowWidth(let path, let expected, let found): "\(path): rows have \(expected) numbers, but \(found) were given, which is no whole number of rows"
    case .rowCount(let path, let expected, let found): "\(path): was begun for \(expected) rows, but \(found) were given"
    }
  }
}
