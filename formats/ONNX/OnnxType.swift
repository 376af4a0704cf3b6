// The types of values (TypeProto) with fixed and symbolic extents. Plain data; shape inference is elsewhere.

/// One extent of a declared shape.
public struct OnnxDimension: Sendable, Hashable {
  public enum Value: Sendable, Hashable {
    case unknown
    case fixed(Int64)
    /// A name: extents of the same name are equal within a graph.
    case symbolic(String)
  }

  public var value: Value
  /// What the axis means (`DATA_CHANNEL` and so on); seldom written.
  public var denotation: String

  public init(_ value: Value, denotation: String = "") {
    self.value = value
    self.denotation = denotation
  }
}

/// The type of a value.
public struct OnnxType: Sendable, Hashable {
  public indirect enum Kind: Sendable, Hashable {
    /// Nothing is said, or a kind that this version does not know.
    case unknown
    /// A nil shape says nothing; an empty one is a scalar.
    case tensor(OnnxDataType, shape: [OnnxDimension]?)
    case sparseTensor(OnnxDataType, shape: [OnnxDimension]?)
    case sequence(OnnxType?)
    case optional(OnnxType?)
    case map(key: OnnxDataType, value: OnnxType?)
  }

  public var kind: Kind
  public var denotation: String

  public init(_ kind: Kind, denotation: String = "") {
    self.kind = kind
    self.denotation = denotation
  }
}

/// A named value and what is known of its type: an input, an output or something between.
public struct OnnxValueInfo: Sendable, Equatable {
  public var name: String
  public var type: OnnxType?
  public var docString: String
  public var metadata: [OnnxProperty]

  public init(name: String, type: OnnxType? = nil, docString: String = "", metadata: [OnnxProperty] = []) {
    self.name = name
    self.type = type
    self.docString = docString
    self.metadata = metadata
  }
}
