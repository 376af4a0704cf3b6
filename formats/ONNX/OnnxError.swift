// Why an ONNX file cannot be read or written, one case and one sentence for each reason.

/// What breaks the wire format. Positions count bytes from the start of the file.
public enum OnnxProblem: Error, Sendable, Equatable, CustomStringConvertible {
  case truncated(at: Int)
  case invalidVarint(at: Int)
  case invalidTag(at: Int)
  /// A length that reaches beyond the message it stands in.
  case lengthBeyondEnd(message: String, field: UInt64, length: UInt64, available: Int, at: Int)
  case unbalancedGroup(at: Int)
  /// A list of fixed-width numbers whose length is no multiple of the width, or a list of varints whose last one is cut.
  case invalidPackedList(message: String, field: UInt64, at: Int)
  case repeatedField(message: String, field: UInt64, at: Int)
  case invalidText(message: String, field: UInt64, at: Int)
  case tooDeep(limit: Int, at: Int)
  case tooManyFields(limit: Int)
  case tooLarge(limit: Int)
  case noGraph
  case attributeWithoutValue(name: String)
  /// protobuf-c refused what the scan had accepted.
  case undecodable

  public var description: String {
    switch self {
    case .truncated(let at): "the file ends in the middle of a field that begins at byte \(at); it is cut short, or no ONNX model"
    case .invalidVarint(let at): "the number at byte \(at) has more than 64 bits; the file is damaged, or no ONNX model"
    case .invalidTag(let at): "there is no valid field at byte \(at); the file is damaged, or no ONNX model"
    case .lengthBeyondEnd(let message, let field, let length, let available, let at):
      "field \(field) of \(message) at byte \(at) says \(length) bytes where \(available) are left; the file is cut short, or no ONNX model"
    case .unbalancedGroup(let at): "the group at byte \(at) is not closed properly; the file is damaged"
    case .invalidPackedList(let message, let field, let at):
      "the list in field \(field) of \(message) at byte \(at) ends in the middle of a number; the file is damaged"
    case .repeatedField(let message, let field, let at):
      "field \(field) of \(message) at byte \(at) is there a second time, where one is allowed; write the model again with its exporter"
    case .invalidText(let message, let field, let at):
      "the text in field \(field) of \(message) at byte \(at) is not UTF-8, holds a NUL or has too many combining marks in a row; write the model again with plain names"
    case .tooDeep(let limit, let at): "messages lie more than \(limit) deep in one another at byte \(at); raise the depth limit if that is meant"
    case .tooManyFields(let limit): "there are more than \(limit) fields; raise the field limit if that is meant"
    case .tooLarge(let limit): "the graph takes more than the \(limit) bytes of memory that a file of this size may; raise the expansion limit if that is meant"
    case .noGraph: "there is no graph in it; it is no ONNX model"
    case .attributeWithoutValue(let name): "attribute \(quoted(name)) says that it has a value and has none; write the model again with its exporter"
    case .undecodable: "the messages cannot be decoded; the file is damaged"
    }
  }
}

/// Why the values of a tensor cannot be had.
public enum OnnxTensorProblem: Error, Sendable, Equatable, CustomStringConvertible {
  case unsupportedType(OnnxDataType)
  case invalidShape(dims: [Int64])
  /// `raw_data`, or the bytes said to be in another file.
  case byteCount(expected: Int, found: Int)
  case valueCount(field: String, expected: Int, found: Int)
  case wrongField(field: String, OnnxDataType)
  case valueOutOfRange(Int32, OnnxDataType)
  case noData(elements: Int)
  case conflictingData
  /// A pair in `external_data` that is no number of bytes.
  case invalidExternalNumber(key: String, value: String)
  case rangeBeyondFile(location: String, offset: Int, length: Int, size: Int)
  case outOfMemory(bytes: Int)

  public var description: String {
    switch self {
    case .unsupportedType(let type): "\(type) has no form in memory here; convert the tensor to another type"
    case .invalidShape(let dims):
      "the shape [\(dims.prefix(8).map(String.init).joined(separator: ", "))\(dims.count > 8 ? ", …" : "")] has a negative extent or too many elements; the file is damaged"
    case .byteCount(let expected, let found): "its shape needs \(expected) bytes, and there are \(found); the file is damaged"
    case .valueCount(let field, let expected, let found): "its shape needs \(expected) values in \(field), and there are \(found); the file is damaged"
    case .wrongField(let field, let type): "\(type) cannot be in \(field); write the model again with its exporter"
    case .valueOutOfRange(let value, let type): "\(value) is no \(type); the file is damaged"
    case .noData(let elements): "it has \(elements) elements by its shape and no data; the file was stripped of its weights"
    case .conflictingData: "more than one of its data fields is filled; write the model again with its exporter"
    case .invalidExternalNumber(let key, let value): "the \(key) \(quoted(value)) in its external_data is not a number of bytes; the file is damaged"
    case .rangeBeyondFile(let location, let offset, let length, let size):
      "its \(length) bytes from byte \(offset) are not all in \(quoted(location)), which has \(size); the two files are not of one export"
    case .outOfMemory(let bytes): "no memory for \(bytes) bytes"
    }
  }
}

/// Why an ONNX file cannot be read or written.
public enum OnnxError: Error, Sendable, Equatable, CustomStringConvertible {
  case fileNotFound(path: String)
  case notAFile(path: String)
  case cannotRead(path: String, reason: String)
  case malformed(path: String, OnnxProblem)
  case invalidTensor(path: String, tensor: String, OnnxTensorProblem)
  /// The file with the weights is not there. `tensor` is the first one that asked for it.
  case externalDataMissing(path: String, location: String, tensor: String)
  /// The name of the file with the weights leads out of the model's folder, or is none.
  case externalDataForbidden(path: String, location: String, tensor: String, reason: String)
  case externalDataUnreadable(path: String, location: String, tensor: String, reason: String)
  case cannotWrite(path: String, reason: String)
  /// What was given to the writer has no valid form in a file.
  case cannotStore(reason: String)
  /// More than protobuf's 2 GiB.
  case modelTooLarge(bytes: Int)

  public var description: String {
    switch self {
    case .fileNotFound(let path): "\(path): no such file; check the name"
    case .notAFile(let path): "\(path): not a regular file; name an .onnx file"
    case .cannotRead(let path, let reason): "\(path): cannot be read: \(reason)"
    case .malformed(let path, let problem): "\(path): \(problem)"
    case .invalidTensor(let path, let tensor, let problem): "\(path): tensor \(quoted(tensor)): \(problem)"
    case .externalDataMissing(let path, let location, let tensor):
      "\(path): the weights are in \(quoted(location)), which is not there (tensor \(quoted(tensor)) needs it); put that file into the model's folder"
    case .externalDataForbidden(let path, let location, let tensor, let reason):
      "\(path): tensor \(quoted(tensor)) wants its data from \(quoted(location)), which \(reason); only files in the model's own folder are read"
    case .externalDataUnreadable(let path, let location, let tensor, let reason):
      "\(path): the weights in \(quoted(location)) cannot be read (tensor \(quoted(tensor)) needs them): \(reason)"
    case .cannotWrite(let path, let reason): "\(path): cannot be written: \(reason)"
    case .cannotStore(let reason): "the model cannot be written as ONNX: \(reason)"
    case .modelTooLarge(let bytes): "the model takes \(bytes) bytes, and one ONNX file holds less than 2 GiB; write the weights to an external data file"
    }
  }
}

/// A name from a file, for a sentence: quoted, on one line, not longer than a line.
func quoted(_ name: String) -> String {
  var text = "\""
  for (i, scalar) in name.unicodeScalars.enumerated() {
    if i == 120 {
      text += "…"
      break
    }
    if scalar.properties.generalCategory == .control || scalar == "\u{2028}" || scalar == "\u{2029}" {
      text += "\\u{" + String(scalar.value, radix: 16) + "}"
    } else {
      text.unicodeScalars.append(scalar)
    }
  }
  return text + "\""
}
