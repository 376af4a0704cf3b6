// Graphs, nodes and attributes as Swift values. Names connect them: a node's input is the output, input or initializer of that name.

/// A graph: the model's own, or the branch of a node.
public struct OnnxGraph: Sendable, Equatable {
  public var name: String
  public var nodes: [OnnxNode]
  /// Inputs; before IR version 4 every initializer is listed here too.
  public var inputs: [OnnxValueInfo]
  public var outputs: [OnnxValueInfo]
  public var valueInfo: [OnnxValueInfo]
  public var initializers: [OnnxTensor]
  public var sparseInitializers: [OnnxSparseTensor]
  public var quantizationAnnotations: [OnnxTensorAnnotation]
  public var docString: String
  public var metadata: [OnnxProperty]

  public init(name: String = "", nodes: [OnnxNode] = [], inputs: [OnnxValueInfo] = [], outputs: [OnnxValueInfo] = [],
              valueInfo: [OnnxValueInfo] = [], initializers: [OnnxTensor] = [], sparseInitializers: [OnnxSparseTensor] = [],
              quantizationAnnotations: [OnnxTensorAnnotation] = [], docString: String = "", metadata: [OnnxProperty] = []) {
    self.name = name
    self.nodes = nodes
    self.inputs = inputs
    self.outputs = outputs
    self.valueInfo = valueInfo
    self.initializers = initializers
    self.sparseInitializers = sparseInitializers
    self.quantizationAnnotations = quantizationAnnotations
    self.docString = docString
    self.metadata = metadata
  }
}

/// One application of an operator or a function.
public struct OnnxNode: Sendable, Equatable {
  public var name: String
  public var operatorType: String
  /// Empty: ONNX's own operators.
  public var domain: String
  /// Which of several functions of this domain and name is called; empty nearly always.
  public var overload: String
  /// Names of values; an empty name is an optional input that is not given.
  public var inputs: [String]
  public var outputs: [String]
  public var attributes: [OnnxAttribute]
  public var docString: String
  public var metadata: [OnnxProperty]

  public init(name: String = "", operatorType: String, domain: String = "", overload: String = "", inputs: [String], outputs: [String],
              attributes: [OnnxAttribute] = [], docString: String = "", metadata: [OnnxProperty] = []) {
    self.name = name
    self.operatorType = operatorType
    self.domain = domain
    self.overload = overload
    self.inputs = inputs
    self.outputs = outputs
    self.attributes = attributes
    self.docString = docString
    self.metadata = metadata
  }

  /// The value of the attribute of that name, the first where a file has several.
  public func attribute(_ name: String) -> OnnxAttributeValue? { attributes.first { $0.name == name }?.value }
}

/// A named constant of a node.
public struct OnnxAttribute: Sendable, Equatable {
  public var name: String
  public var value: OnnxAttributeValue
  public var docString: String

  public init(name: String, value: OnnxAttributeValue, docString: String = "") {
    self.name = name
    self.value = value
    self.docString = docString
  }
}

/// AttributeProto.AttributeType, by number.
public enum OnnxAttributeKind: Int32, Sendable, CaseIterable {
  case undefined = 0, float, int, string, tensor, graph, floats, ints, strings, tensors, graphs, sparseTensor, sparseTensors, type, types
}

/// The value of an attribute. Strings are bytes: ONNX says UTF-8, files hold anything.
public indirect enum OnnxAttributeValue: Sendable, Equatable {
  /// No value, and no kind.
  case undefined
  case float(Float)
  case int(Int64)
  case string([UInt8])
  case tensor(OnnxTensor)
  case graph(OnnxGraph)
  case sparseTensor(OnnxSparseTensor)
  case type(OnnxType)
  case floats([Float])
  case ints([Int64])
  case strings([[UInt8]])
  case tensors([OnnxTensor])
  case graphs([OnnxGraph])
  case sparseTensors([OnnxSparseTensor])
  case types([OnnxType])
  /// In the body of a function: the attribute of the call that has this name.
  case reference(to: String, OnnxAttributeKind)

  public var kind: OnnxAttributeKind {
    switch self {
    case .undefined: .undefined
    case .float: .float
    case .int: .int
    case .string: .string
    case .tensor: .tensor
    case .graph: .graph
    case .sparseTensor: .sparseTensor
    case .type: .type
    case .floats: .floats
    case .ints: .ints
    case .strings: .strings
    case .tensors: .tensors
    case .graphs: .graphs
    case .sparseTensors: .sparseTensors
    case .types: .types
    case .reference(_, let kind): kind
    }
  }

  /// The text of a string; nil where it is no string or no UTF-8.
  public var text: String? {
    guard case .string(let bytes) = self else { return nil }
    return String(validating: bytes, as: UTF8.self)
  }
}

/// Names of the scale and zero point that belong to a tensor, as some quantizers note them.
public struct OnnxTensorAnnotation: Sendable, Equatable {
  public var tensorName: String
  public var parameters: [OnnxProperty]

  public init(tensorName: String, parameters: [OnnxProperty]) {
    self.tensorName = tensorName
    self.parameters = parameters
  }
}
