// Constants as the file holds them: bytes by reference, the typed fields, or a place in another file. Their meaning as a tensor in memory is
// OnnxTensor+Values.swift; where other files are found is ExternalFiles.swift.

public import DinoTensor

/// Bytes that may belong to a mapped file. Equal where the bytes are equal.
public struct OnnxBytes: Sendable, Equatable {
  public let storage: Storage
  public let offset: Int
  public let count: Int

  /// A view of `storage`; nil where the range is not in it.
  public init?(_ storage: Storage, offset: Int, count: Int) {
    guard offset >= 0, count >= 0, offset <= storage.byteCount, count <= storage.byteCount - offset else { return nil }
    self.storage = storage
    self.offset = offset
    self.count = count
  }

  /// The bytes of a tensor, shared with it.
  public init(_ tensor: Tensor) {
    storage = tensor.storage
    offset = tensor.byteOffset
    count = tensor.byteCount
  }

  /// A copy of some bytes.
  public init(_ bytes: [UInt8]) { self.init(Tensor.copy(bytes, dtype: .u8, shape: [bytes.count])) }

  public func withBytes<R, E: Error>(_ body: (Span<UInt8>) throws(E) -> R) throws(E) -> R {
    try storage.withBytes { (all) throws(E) in try body(all.extracting(offset..<(offset + count))) }
  }

  public static func == (a: OnnxBytes, b: OnnxBytes) -> Bool {
    guard a.count == b.count else { return false }
    if a.storage === b.storage && a.offset == b.offset { return true }
    return a.withBytes { left in
      b.withBytes { right in
        for i in 0..<left.count where left[i] != right[i] { return false }
        return true
      }
    }
  }
}

/// Where a tensor's bytes lie in another file: the pairs of `external_data`, as written.
public struct OnnxExternalReference: Sendable, Equatable {
  public var entries: [OnnxProperty]

  public init(entries: [OnnxProperty]) { self.entries = entries }

  public init(location: String, offset: Int, length: Int) {
    entries = [OnnxProperty(key: "location", value: location), OnnxProperty(key: "offset", value: String(offset)),
               OnnxProperty(key: "length", value: String(length))]
  }

  /// The value of a key; the last one counts where a key is repeated, as for the ONNX library.
  public subscript(key: String) -> String? { entries.last { $0.key == key }?.value }

  /// The file, relative to the model's folder.
  public var location: String { self["location"] ?? "" }
}

/// A constant tensor.
public struct OnnxTensor: Sendable, Equatable {
  public enum Content: Sendable, Equatable {
    /// Nothing is given. Right only for a tensor without elements.
    case none
    /// `raw_data`: little-endian, row-major, types narrower than a byte packed from the low bits up.
    case raw(OnnxBytes)
    /// `float_data`: FLOAT, COMPLEX64 (pairs).
    case floats([Float])
    /// `int32_data`: INT32, and narrower types, one element to a number; FLOAT16, BFLOAT16 and 8-bit floats as bit patterns; types of 4 and 2 bits
    /// packed, one byte to a number.
    case int32s([Int32])
    case int64s([Int64])
    /// `double_data`: DOUBLE, COMPLEX128 (pairs).
    case doubles([Double])
    /// `uint64_data`: UINT32, UINT64.
    case uint64s([UInt64])
    case strings([[UInt8]])
    case external(OnnxExternalReference)
    /// More than one of the fields that hold data is filled; which one counts is not defined.
    case conflicting
  }

  public var name: String
  public var dataType: OnnxDataType
  public var dims: [Int64]
  public var content: Content
  public var docString: String
  public var metadata: [OnnxProperty]

  public init(name: String, dataType: OnnxDataType, dims: [Int64], content: Content, docString: String = "", metadata: [OnnxProperty] = []) {
    self.name = name
    self.dataType = dataType
    self.dims = dims
    self.content = content
    self.docString = docString
    self.metadata = metadata
  }

  /// A tensor in memory, whose bytes are shared; nil for element types that ONNX does not have in that form.
  public init?(name: String, _ tensor: Tensor) {
    guard let type = OnnxDataType(tensor.dtype) else { return nil }
    self.init(name: name, dataType: type, dims: tensor.shape.dims.map(Int64.init), content: .raw(OnnxBytes(tensor)))
  }

  /// Whether the bytes are in another file.
  public var externalReference: OnnxExternalReference? {
    if case .external(let reference) = content { reference } else { nil }
  }
}

/// A tensor with few elements: values, and where they stand.
public struct OnnxSparseTensor: Sendable, Equatable {
  /// The values, [count]; its name is the sparse tensor's name.
  public var values: OnnxTensor
  /// INT64, [count] (positions in the flattened tensor) or [count, rank].
  public var indices: OnnxTensor
  public var dims: [Int64]

  public init(values: OnnxTensor, indices: OnnxTensor, dims: [Int64]) {
    self.values = values
    self.indices = indices
    self.dims = dims
  }
}
