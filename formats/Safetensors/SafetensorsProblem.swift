// Everything that can be wrong with the bytes of a safetensors file: one case for each rule of formats/README.md, one sentence for each case.

public import DinoTensor

/// A broken rule. Byte offsets named `begin`, `end` count from the start of the data, as in the file; `offset` from the start of the file.
public enum SafetensorsProblem: Error, Sendable, Equatable {
  // The frame.
  case fileTooShort(bytes: Int)
  case headerTooLarge(bytes: UInt64)
  case headerBeyondFile(bytes: Int, available: Int)
  case headerNotUTF8(offset: Int)
  case headerNotJSON(offset: Int, expected: String)
  case headerPaddedWithNUL(offset: Int)
  case bytesAfterHeader(offset: Int)
  // Keys.
  case duplicateTensor(String)
  case duplicateField(tensor: String, field: String)
  case duplicateMetadata
  case duplicateMetadataKey(String)
  case metadataNotAnObject
  case metadataValueNotAString(key: String)
  case tensorNotAnObject(String)
  case missingField(tensor: String, field: String)
  case unknownField(tensor: String, field: String)
  // Values of one tensor.
  case dtypeNotAString(tensor: String)
  case unknownDType(tensor: String, found: String)
  case shapeNotAnArray(tensor: String)
  case rankTooLarge(tensor: String, limit: Int)
  case offsetsNotAPair(tensor: String)
  case notAnUnsignedInteger(tensor: String, field: String, found: String)
  case integerTooLarge(tensor: String, field: String, found: String)
  case offsetsReversed(tensor: String, begin: Int, end: Int)
  case sizeOverflows(tensor: String, dtype: DType, shape: Shape)
  case subByteMisaligned(tensor: String, dtype: DType, shape: Shape)
  case sizeMismatch(tensor: String, dtype: DType, shape: Shape, expected: Int, found: Int)
  // The tensors together.
  case doesNotStartAtZero(tensor: String, begin: Int)
  case hole(tensor: String, after: String, bytes: Int)
  case overlap(tensor: String, with: String, bytes: Int)
  case dataBeyondFile(tensor: String, end: Int, available: Int)
  case trailingBytes(after: String?, bytes: Int)
  // Limits of this reader.
  case tooManyTensors(limit: Int)
  case tooManyMetadataEntries(limit: Int)
  case nameTooLong(start: String, limit: Int)
  case tooManyMarks(start: String, limit: Int)
  // Writing only.
  case reservedName
}

extension SafetensorsProblem {
  /// The number of the broken rule in formats/README.md.
  public var rule: String {
    switch self {
    case .fileTooShort: "S1"
    case .headerTooLarge: "S2"
    case .headerBeyondFile: "S3"
    case .headerNotUTF8: "S4"
    case .headerNotJSON, .headerPaddedWithNUL, .bytesAfterHeader: "S5"
    case .duplicateTensor, .duplicateField, .duplicateMetadata, .duplicateMetadataKey: "S6"
    case .metadataNotAnObject, .metadataValueNotAString, .reservedName: "S7"
    case .tensorNotAnObject, .missingField, .unknownField: "S8"
    case .dtypeNotAString, .unknownDType: "S9"
    case .shapeNotAnArray, .rankTooLarge: "S10"
    case .offsetsNotAPair, .offsetsReversed: "S11"
    case .notAnUnsignedInteger, .integerTooLarge: "S12"
    case .sizeOverflows, .sizeMismatch: "S13"
    case .subByteMisaligned: "S14"
    case .doesNotStartAtZero: "S15"
    case .hole: "S16"
    case .overlap: "S17"
    case .dataBeyondFile, .trailingBytes: "S18"
    case .tooManyTensors, .tooManyMetadataEntries, .nameTooLong, .tooManyMarks: "S19"
    }
  }

  /// The case's name alone, the same in every version: what tests and machine-readable output compare.
  public var code: String {
    if case .duplicateMetadata = self { return "duplicateMetadata" }
    if case .metadataNotAnObject = self { return "metadataNotAnObject" }
    if case .reservedName = self { return "reservedName" }
    return Mirror(reflecting: self).children.first?.label ?? ""
  }
}

extension SafetensorsProblem: CustomStringConvertible {
  /// One clause: what is wrong, where, what was expected, and the rule.
  public var description: String { sentence + " (rule \(rule))" }

  private var sentence: String {
    switch self {
    case .fileTooShort(let bytes):
      "a safetensors file starts with 8 bytes that give its header's length, but this one has only \(bytes)"
    case .headerTooLarge(let bytes):
      "the header is said to have \(bytes) bytes, more than the \(SafetensorsHeader.Limits.headerBytes) that the format allows; this may be no safetensors file"
    case .headerBeyondFile(let bytes, let available):
      "the header is said to have \(bytes) bytes but only \(available) follow; the file is cut short, or is no safetensors file"
    case .headerNotUTF8(let offset): "the header is not valid UTF-8 at byte \(offset)"
    case .headerNotJSON(let offset, let expected): "the header is not the JSON that is asked for at byte \(offset): expected \(expected)"
    case .headerPaddedWithNUL(let offset): "the header is padded with NUL from byte \(offset) on; only JSON whitespace may pad it"
    case .bytesAfterHeader(let offset): "the header goes on at byte \(offset) after its closing brace; only whitespace may follow"
    case .duplicateTensor(let name): "the header lists tensor \(quoted(name)) twice"
    case .duplicateField(let tensor, let field): "tensor \(quoted(tensor)) has the key \(quoted(field)) twice"
    case .duplicateMetadata: "the header has '__metadata__' twice"
    case .duplicateMetadataKey(let key): "'__metadata__' has the key \(quoted(key)) twice"
    case .metadataNotAnObject: "'__metadata__' must be an object of strings"
    case .metadataValueNotAString(let key): "'__metadata__' must map strings to strings, but the value of \(quoted(key)) is no string"
    case .tensorNotAnObject(let tensor): "tensor \(quoted(tensor)) must be described by an object with dtype, shape and data_offsets"
    case .missingField(let tensor, let field): "tensor \(quoted(tensor)) lacks the key '\(field)'"
    case .unknownField(let tensor, let field):
      "tensor \(quoted(tensor)) has the key \(quoted(field)), but only dtype, shape and data_offsets are allowed"
    case .dtypeNotAString(let tensor): "the dtype of tensor \(quoted(tensor)) must be a string such as \"F32\""
    case .unknownDType(let tensor, let found):
      "tensor \(quoted(tensor)) has the unknown dtype \(quoted(found)); known are \(DType.allCases.map(\.rawValue).joined(separator: ", "))"
    case .shapeNotAnArray(let tensor): "the shape of tensor \(quoted(tensor)) must be an array of integers"
    case .rankTooLarge(let tensor, let limit): "tensor \(quoted(tensor)) has more than \(limit) dimensions"
    case .offsetsNotAPair(let tensor): "the data_offsets of tensor \(quoted(tensor)) must be an array of two integers"
    case .notAnUnsignedInteger(let tensor, let field, let found):
      "the \(field) of tensor \(quoted(tensor)) must hold integers written as digits only, but has \(quoted(found))"
    case .integerTooLarge(let tensor, let field, let found): "the \(field) of tensor \(quoted(tensor)) has \(quoted(found)), which does not fit into 63 bits"
    case .offsetsReversed(let tensor, let begin, let end): "the data of tensor \(quoted(tensor)) would end at \(end), before its start at \(begin)"
    case .sizeOverflows(let tensor, let dtype, let shape): "the size of tensor \(quoted(tensor)), \(dtype.rawValue) \(shape), does not fit into 63 bits"
    case .subByteMisaligned(let tensor, let dtype, let shape):
      "tensor \(quoted(tensor)), \(dtype.rawValue) \(shape), does not end on a byte: its number of elements must fill whole bytes"
    case .sizeMismatch(let tensor, let dtype, let shape, let expected, let found):
      "tensor \(quoted(tensor)), \(dtype.rawValue) \(shape), takes \(expected) bytes, but its data_offsets span \(found)"
    case .doesNotStartAtZero(let tensor, let begin): "the first tensor, \(quoted(tensor)), must start at 0 but starts at \(begin)"
    case .hole(let tensor, let after, let bytes): "\(bytes) bytes between tensors \(quoted(after)) and \(quoted(tensor)) belong to neither; holes are not allowed"
    case .overlap(let tensor, let with, let bytes): "tensor \(quoted(tensor)) shares \(bytes) bytes with tensor \(quoted(with)); overlaps are not allowed"
    case .dataBeyondFile(let tensor, let end, let available):
      "tensor \(quoted(tensor)) ends at byte \(end) of the data, but the file has only \(available); it is cut short: fetch or write it again"
    case .trailingBytes(let after, let bytes):
      "\(bytes) bytes follow \(after.map { "the last tensor, \(quoted($0))" } ?? "a header without tensors"); none may"
    case .tooManyTensors(let limit): "the header lists more than \(limit) tensors, this reader's limit; split the file into shards"
    case .tooManyMetadataEntries(let limit): "'__metadata__' has more than \(limit) entries, this reader's limit"
    case .nameTooLong(let start, let limit): "the name that starts \(quoted(start)) is longer than \(limit) bytes, this reader's limit"
    case .tooManyMarks(let start, let limit): "the name that starts \(quoted(start)) has more than \(limit) combining marks in a row, this reader's limit"
    case .reservedName: "no tensor may be named '__metadata__'"
    }
  }
}
