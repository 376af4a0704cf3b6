// A graph as plain data: values, nodes in topological order, constants by reference. It never computes.

public import DinoTensor

/// Names a value within one graph.
public struct ValueID: Hashable, Sendable, Comparable {
  public let index: Int
  public init(_ index: Int) { self.index = index }
  public static func < (a: ValueID, b: ValueID) -> Bool { a.index < b.index }

  /// In the inputs of a foreign operator: an optional input that is not given.
  public static let absent = ValueID(-1)
}

/// An extent of a graph input: fixed, or free under a name ("B", "H", "W").
public enum Dimension: Sendable, Hashable, CustomStringConvertible {
  case fixed(Int)
  case free(String)
  public var description: String {
    switch self {
    case .fixed(let n): String(n)
    case .free(let name): name
    }
  }
}

/// A value that comes from outside on each run.
public struct GraphInput: Sendable, Hashable {
  public var name: String
  public var value: ValueID
  public var dtype: DType
  public var dims: [Dimension]
  public init(name: String, value: ValueID, dtype: DType, dims: [Dimension]) {
    self.name = name
    self.value = value
    self.dtype = dtype
    self.dims = dims
  }
}

/// A named result.
public struct GraphOutput: Sendable, Hashable {
  public var name: String
  public var value: ValueID
  public init(name: String, value: ValueID) {
    self.name = name
    self.value = value
  }
}

/// One operation. Core operators have exactly one output; foreign ones may have more.
public struct Node: Sendable, Hashable {
  public var op: Operator
  public var inputs: [ValueID]
  public var outputs: [ValueID]
  /// Where it comes from, for people: "blocks.3.attn.qkv".
  public var name: String
  public init(op: Operator, inputs: [ValueID], output: ValueID, name: String) {
    self.op = op
    self.inputs = inputs
    self.outputs = [output]
    self.name = name
  }
  public init(_ generic: Generic, inputs: [ValueID], outputs: [ValueID], name: String) {
    precondition(!outputs.isEmpty)
    op = .generic(generic)
    self.inputs = inputs
    self.outputs = outputs
    self.name = name
  }

  /// The first output: the only one of a Core operator.
  public var output: ValueID {
    get { outputs[0] }
    set { outputs[0] = newValue }
  }
}

/// A constant: weights by reference (a Tensor shares its storage, so copying a graph copies no weight).
public struct Constant: Sendable {
  public var name: String
  public var tensor: Tensor
  /// Where the tensor holds 8-bit integers for a weight: what those of each output channel, its first axis, are multiplied by.
  public var scales: Tensor?
  public init(name: String, tensor: Tensor, scales: Tensor? = nil) {
    self.name = name
    self.tensor = tensor
    self.scales = scales
  }

  /// The values in floats.
  public var values: Tensor { scales.map { tensor.multipliedRows(by: $0) } ?? tensor }
}

public struct Graph: Sendable {
  public var inputs: [GraphInput] = []
  public var outputs: [GraphOutput] = []
  /// In topological order: a node comes after those whose outputs it reads.
  public var nodes: [Node] = []
  public var constants: [ValueID: Constant] = [:]
  public private(set) var valueCount = 0

  public init() {}

  /// A fresh value.
  public mutating func makeValue() -> ValueID {
    defer { valueCount += 1 }
    return ValueID(valueCount)
  }

  public mutating func input(_ name: String, dtype: DType, dims: [Dimension]) -> ValueID {
    let v = makeValue()
    inputs.append(GraphInput(name: name, value: v, dtype: dtype, dims: dims))
    return v
  }

  public mutating func constant(_ name: String, _ tensor: Tensor, scales: Tensor? = nil) -> ValueID {
    let v = makeValue()
    constants[v] = Constant(name: name, tensor: tensor, scales: scales)
    return v
  }

  public mutating func core(_ op: Core, _ inputs: [ValueID], name: String) -> ValueID {
    let v = makeValue()
    nodes.append(Node(op: .core(op), inputs: inputs, output: v, name: name))
    return v
  }

  /// Adds a foreign operator with `count` outputs.
  public mutating func generic(_ op: Generic, _ inputs: [ValueID], outputs count: Int = 1, name: String) -> [ValueID] {
    let results = (0..<count).map { _ in makeValue() }
    nodes.append(Node(op, inputs: inputs, outputs: results, name: name))
    return results
  }

  /// Lets go of the resident pages of mapped files under the constants; they stay readable.
  public func releasePages() {
    var seen: Set<ObjectIdentifier> = []
    for c in constants.values where seen.insert(ObjectIdentifier(c.tensor.storage)).inserted { c.tensor.storage.release(0..<c.tensor.storage.byteCount) }
  }

  public mutating func output(_ name: String, _ value: ValueID) {
    outputs.append(GraphOutput(name: name, value: value))
  }
}
