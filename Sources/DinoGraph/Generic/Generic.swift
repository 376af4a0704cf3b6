// One foreign operator as a node of a graph carries it: which, at which version, with which attributes. Plain data.

public import DinoTensor

/// The value of an attribute.
public enum GenericAttribute: Sendable, Hashable {
  case int(Int)
  case float(Float)
  case string(String)
  case ints([Int])
  case floats([Float])
  case strings([String])
  /// One element of a tensor, by its bits (ConstantOfShape's value).
  case element(DType, bits: UInt64)
}

/// An ONNX operator with ONNX's semantics. Inputs of the node that are not given are `ValueID.absent`.
public struct Generic: Sendable, Hashable {
  public var kind: GenericKind
  /// The operator set that the file is written in (not the version at which the operator last changed): semantics follow from it.
  public var version: Int
  /// What the file gives; defaults are those of the version.
  public var attributes: [String: GenericAttribute]

  public init(_ kind: GenericKind, version: Int, attributes: [String: GenericAttribute] = [:]) {
    self.kind = kind
    self.version = version
    self.attributes = attributes
  }

  public func int(_ name: String) -> Int? { if case .int(let v)? = attributes[name] { v } else { nil } }
  public func float(_ name: String) -> Float? { if case .float(let v)? = attributes[name] { v } else { nil } }
  public func string(_ name: String) -> String? { if case .string(let v)? = attributes[name] { v } else { nil } }
  public func ints(_ name: String) -> [Int]? { if case .ints(let v)? = attributes[name] { v } else { nil } }
  public func floats(_ name: String) -> [Float]? { if case .floats(let v)? = attributes[name] { v } else { nil } }
  public func strings(_ name: String) -> [String]? { if case .strings(let v)? = attributes[name] { v } else { nil } }

  /// The attributes as `key=value`, sorted by key.
  public var attributeTexts: [String] {
    attributes.sorted { $0.key < $1.key }.map { key, value in
      switch value {
      case .int(let v): "\(key)=\(v)"
      case .float(let v): "\(key)=\(v)"
      case .string(let v): "\(key)=\(v)"
      case .ints(let v): "\(key)=\(v.map(String.init).joined(separator: ","))"
      case .floats(let v): "\(key)=\(v.map { "\($0)" }.joined(separator: ","))"
      case .strings(let v): "\(key)=\(v.joined(separator: ","))"
      case .element(let type, let bits): "\(key)=\(type.rawValue):0x\(String(bits, radix: 16))"
      }
    }
  }
}

/// Why a foreign operator cannot be applied: one sentence without the node's name, which the reader of the error adds.
public struct GenericProblem: Error, Sendable, Equatable, CustomStringConvertible {
  public enum Kind: Sendable, Equatable {
    /// The file contradicts the operator's definition: shapes, types, attributes or values that do not fit.
    case invalid
    /// Valid ONNX that this version does not compute.
    case unsupported
  }
  public var kind: Kind
  public var description: String

  public init(_ kind: Kind, _ description: String) {
    self.kind = kind
    self.description = description
  }
  public static func invalid(_ text: String) -> GenericProblem { GenericProblem(.invalid, text) }
  public static func unsupported(_ text: String) -> GenericProblem { GenericProblem(.unsupported, text) }
}

/// What is known of a value before a network runs.
public struct ValueFact: Sendable {
  public var dtype: DType
  /// Nil where it depends on what data hold.
  public var shape: Shape?
  /// The value itself, where it does not depend on what inputs hold: constants, and arithmetic on shapes.
  public var value: Tensor?

  public init(dtype: DType, shape: Shape?, value: Tensor? = nil) {
    self.dtype = dtype
    self.shape = shape
    self.value = value
  }
  public init(_ tensor: Tensor) { self.init(dtype: tensor.dtype, shape: tensor.shape, value: tensor) }
}
