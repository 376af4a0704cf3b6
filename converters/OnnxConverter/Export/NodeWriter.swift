// A growing list of ONNX nodes and initializers with names that do not clash: the vocabulary in which operators are spelled. It knows opset
// differences of single nodes (axes as attribute or input), not what the nodes mean.

internal import DinoTensor
internal import ONNXFormat

struct NodeWriter {
  let opset: Int
  let weightType: OnnxWeightType
  private(set) var nodes: [OnnxNode] = []
  private(set) var initializers: [OnnxTensor] = []
  private var taken: Set<String> = []
  private var shared: [String: String] = [:]

  init(opset: Int, weightType: OnnxWeightType = .f32) {
    self.opset = opset
    self.weightType = weightType
  }

  /// A name not used before in the file.
  mutating func unique(_ wanted: String) -> String {
    var name = wanted, n = 1
    while !taken.insert(name).inserted {
      n += 1
      name = "\(wanted)_\(n)"
    }
    return name
  }

  mutating func initializer(_ name: String, _ tensor: OnnxTensor) -> String {
    var t = tensor
    t.name = unique(name)
    initializers.append(t)
    return t.name
  }

  /// One initializer for each list of integers, however often it is asked for.
  mutating func ints(_ values: [Int], scalar: Bool = false) -> String {
    let key = "ints\(scalar)\(values)"
    if let name = shared[key] { return name }
    let tensor = Tensor.copy(values.map(Int64.init), dtype: .i64, shape: scalar ? [] : [values.count])
    let name = initializer("shape.\(values.map(String.init).joined(separator: "_"))\(scalar ? ".scalar" : "")", OnnxTensor(name: "", tensor)!)
    shared[key] = name
    return name
  }

  mutating func scalar(_ value: Float) -> String {
    let key = "float\(value.bitPattern)"
    if let name = shared[key] { return name }
    let name = initializer("value.\(value)", OnnxTensor(name: "", Tensor.copy([value], dtype: .f32, shape: []))!)
    shared[key] = name
    return name
  }

  mutating func floats(_ name: String, _ values: [Float], _ shape: Shape) -> String {
    initializer(name, OnnxTensor(name: "", Tensor(values, shape: shape))!)
  }

  /// A weight: matrices and tables are stored in the file's weight type and widened by a Cast, vectors are always floats. The name is that of its float values.
  mutating func weight(_ name: String, _ tensor: Tensor) throws(OnnxExportError) -> String {
    guard tensor.dtype.convertsToFloat, let stored = try? tensor.converted(to: Self.storedType(tensor, weightType)), let constant = OnnxTensor(name: name, stored) else {
      throw .constantType(name: name, type: tensor.dtype.rawValue)
    }
    guard stored.dtype != .f32 else { return initializer(name, constant) }
    if stored.dtype == .f16, tensor.dtype != .f16, let lost = zip(tensor.floats(), stored.floats()).first(where: { $0.isFinite && !$1.isFinite })?.0 {
      throw .weightTooLarge(name: name, value: lost, type: weightType.rawValue)
    }
    return cast(initializer(name, constant), to: .float, name + ".float")
  }

  static func storedType(_ tensor: Tensor, _ type: OnnxWeightType) -> DType {
    guard tensor.shape.rank >= 2 else { return .f32 }
    return switch type {
    case .f32: .f32
    case .f16: .f16
    case .bf16: .bf16
    }
  }

  /// Appends a node; its outputs are named after `name`.
  mutating func node(_ type: String, _ inputs: [String], name: String, outputs: Int, _ attributes: [OnnxAttribute] = []) -> [String] {
    let label = unique(name)
    let results = (0..<outputs).map { outputs == 1 ? label : unique("\(label).\($0)") }
    nodes.append(OnnxNode(name: label, operatorType: type, inputs: inputs, outputs: results, attributes: attributes))
    return results
  }

  mutating func call(_ type: String, _ inputs: [String], _ name: String, _ attributes: [OnnxAttribute] = []) -> String {
    node(type, inputs, name: name, outputs: 1, attributes)[0]
  }

  // MARK: Nodes whose form changed between operator sets

  /// ReduceMean, ReduceL2 and the like: axes became an input in 18 (ReduceSum: in 13).
  mutating func reduce(_ type: String, _ x: String, axes: [Int], keep: Bool, _ name: String) -> String {
    let keepdims = OnnxAttribute(name: "keepdims", value: .int(keep ? 1 : 0))
    if opset >= 18 || type == "ReduceSum" { return call(type, [x, ints(axes)], name, [keepdims]) }
    return call(type, [x], name, [OnnxAttribute(name: "axes", value: .ints(axes.map(Int64.init))), keepdims])
  }

  /// Extents `axes` (consecutive) of a value's shape, as a list.
  mutating func extent(_ x: String, axis: Int, _ name: String) -> String {
    let key = "extent\(x) \(axis)"
    if let known = shared[key] { return known }
    let shape = call("Shape", [x], name + ".shape")
    let value = call("Slice", [shape, ints([axis]), ints([axis + 1]), ints([0])], name + ".extent\(axis)")
    shared[key] = value
    return value
  }

  /// A list of one number as a scalar.
  mutating func squeezed(_ x: String, _ name: String) -> String { call("Squeeze", [x, ints([0])], name) }

  mutating func cast(_ x: String, to type: OnnxDataType, _ name: String) -> String {
    call("Cast", [x], name, [OnnxAttribute(name: "to", value: .int(Int64(type.rawValue)))])
  }

  mutating func transpose(_ x: String, _ permutation: [Int], _ name: String) -> String {
    call("Transpose", [x], name, [OnnxAttribute(name: "perm", value: .ints(permutation.map(Int64.init)))])
  }

  mutating func reshape(_ x: String, _ shape: [Int], _ name: String) -> String { call("Reshape", [x, ints(shape)], name) }

  /// The last node's output under another name: how a graph output gets its own.
  mutating func named(_ value: String, _ name: String) -> String { call("Identity", [value], name) }
  mutating func reserve(_ name: String) { taken.insert(name) }
}

extension OnnxAttribute {
  static func axis(_ a: Int) -> OnnxAttribute { OnnxAttribute(name: "axis", value: .int(Int64(a))) }
}
