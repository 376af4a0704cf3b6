// What an ONNX file says, as Swift values: model, functions, operator sets, metadata. Plain data, no meaning: nothing here knows an operator.
// Left out on reading: training graphs (`training_info`), device placement, chunked tensors (`segment`), opaque types.

/// A pair of strings, as in `metadata_props`.
public struct OnnxProperty: Sendable, Hashable {
  public var key: String
  public var value: String

  public init(key: String, value: String) {
    self.key = key
    self.value = value
  }
}

/// A version of a set of operators. The empty domain is ONNX's own (`ai.onnx`).
public struct OnnxOperatorSet: Sendable, Hashable {
  public var domain: String
  public var version: Int64

  public init(domain: String = "", version: Int64) {
    self.domain = domain
    self.version = version
  }
}

/// A model: a graph, the operator sets it is written in, and where it comes from.
public struct OnnxModel: Sendable, Equatable {
  public var irVersion: Int64
  public var operatorSets: [OnnxOperatorSet]
  public var producerName: String
  public var producerVersion: String
  public var domain: String
  public var modelVersion: Int64
  public var docString: String
  public var graph: OnnxGraph
  public var functions: [OnnxFunction]
  public var metadata: [OnnxProperty]

  public init(irVersion: Int64, operatorSets: [OnnxOperatorSet], producerName: String = "", producerVersion: String = "", domain: String = "",
              modelVersion: Int64 = 0, docString: String = "", graph: OnnxGraph, functions: [OnnxFunction] = [], metadata: [OnnxProperty] = []) {
    self.irVersion = irVersion
    self.operatorSets = operatorSets
    self.producerName = producerName
    self.producerVersion = producerVersion
    self.domain = domain
    self.modelVersion = modelVersion
    self.docString = docString
    self.graph = graph
    self.functions = functions
    self.metadata = metadata
  }

  /// The version of a domain's operators; nil where the model does not import it. `ai.onnx` and the empty domain are the same.
  public func operatorSetVersion(domain: String = "") -> Int64? {
    let wanted = domain == "ai.onnx" ? "" : domain
    return operatorSets.first { ($0.domain == "ai.onnx" ? "" : $0.domain) == wanted }?.version
  }
}

/// An operator that is written as a graph of others. Its body sees only its own inputs and attributes.
public struct OnnxFunction: Sendable, Equatable {
  public var name: String
  public var domain: String
  /// Tells functions of the same domain and name apart.
  public var overload: String
  public var inputs: [String]
  public var outputs: [String]
  /// Attributes that a call must give.
  public var attributeNames: [String]
  /// Attributes that a call may give, with their defaults.
  public var attributeDefaults: [OnnxAttribute]
  public var nodes: [OnnxNode]
  public var operatorSets: [OnnxOperatorSet]
  public var valueInfo: [OnnxValueInfo]
  public var docString: String
  public var metadata: [OnnxProperty]

  public init(name: String, domain: String, overload: String = "", inputs: [String], outputs: [String], attributeNames: [String] = [],
              attributeDefaults: [OnnxAttribute] = [], nodes: [OnnxNode], operatorSets: [OnnxOperatorSet], valueInfo: [OnnxValueInfo] = [],
              docString: String = "", metadata: [OnnxProperty] = []) {
    self.name = name
    self.domain = domain
    self.overload = overload
    self.inputs = inputs
    self.outputs = outputs
    self.attributeNames = attributeNames
    self.attributeDefaults = attributeDefaults
    self.nodes = nodes
    self.operatorSets = operatorSets
    self.valueInfo = valueInfo
    self.docString = docString
    self.metadata = metadata
  }
}
