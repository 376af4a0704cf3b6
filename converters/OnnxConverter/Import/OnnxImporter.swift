// An opened ONNX model as the source of graphs. For given input shapes, everything that follows from shapes and constants alone is computed while the nodes are
// walked, so the graph that comes out has no shape arithmetic left, every If is decided, and what it says holds exactly for those shapes. Without
// shapes the walk keeps what depends on them. No recognition here: nodes come out as foreign operators.

public import DinoGraph
public import DinoTensor
public import ONNXFormat

/// An input of an ONNX model.
public struct OnnxInput: Sendable, Hashable {
  public var name: String
  public var dtype: DType
  /// Nil where the file does not say the rank.
  public var dims: [Dimension]?

  /// "[batch, 3, 224, 224]".
  public var dimsText: String { dims.map { "[" + $0.map(\.description).joined(separator: ", ") + "]" } ?? "a tensor of any shape" }
}

public struct OnnxImporter: Sendable {
  /// Versions of ONNX's own operator set that are read.
  public static let operatorSets: ClosedRange<Int64> = 7...28
  /// Most nodes that a model may have, functions unfolded.
  static let nodeLimit = 1_000_000

  public let file: OnnxFile
  /// What a run must give: initializers that are listed as inputs are not among them.
  public let inputs: [OnnxInput]
  /// Names of the outputs, as in the file.
  public let outputs: [String]
  let functions: [FunctionKey: OnnxFunction]
  /// Bytes of the file and of what it keeps elsewhere.
  let weightBytes: Int
  /// Weights whose file is not there are zeros: enough to look at a graph, not to run it.
  public var standsInForMissingData = false

  struct FunctionKey: Hashable {
    var domain: String
    var name: String
    var overload: String
  }

  /// Reads what the model declares. Nodes are looked at when a graph is asked for.
  public init(_ file: OnnxFile) throws(OnnxImportError) {
    self.file = file
    let model = file.model
    for set in model.operatorSets where set.domain.isEmpty || set.domain == "ai.onnx" {
      guard Self.operatorSets.contains(set.version) else { throw .operatorSet(domain: "", version: set.version) }
    }
    let constants = Set(model.graph.initializers.map(\.name)).union(model.graph.sparseInitializers.map(\.values.name))
    var inputs: [OnnxInput] = []
    for info in model.graph.inputs where !constants.contains(info.name) {
      guard !inputs.contains(where: { $0.name == info.name }) else { throw .definedTwice(name: info.name) }
      inputs.append(try Self.input(info))
    }
    self.inputs = inputs
    outputs = model.graph.outputs.map(\.name)
    weightBytes = model.graph.initializers.reduce(file.byteCount) { sum, tensor in
      guard tensor.externalReference != nil, let count = (try? tensor.shape())?.checkedCount, let bytes = tensor.dataType.byteCount(of: count) else { return sum }
      return sum.addingReportingOverflow(bytes).overflow ? sum : sum + bytes
    }
    functions = Dictionary(model.functions.map { (FunctionKey(domain: normalized($0.domain), name: $0.name, overload: $0.overload), $0) }, uniquingKeysWith: { first, _ in first })
  }

  private static func input(_ info: OnnxValueInfo) throws(OnnxImportError) -> OnnxInput {
    guard case .tensor(let type, let shape)? = info.type?.kind else { throw .unsupportedInput(name: info.name, reason: "is no tensor; only tensors are read") }
    guard let dtype = type.dtype else { throw .unsupportedInput(name: info.name, reason: "has elements of type \(type), which are not read") }
    var dims: [Dimension]? = shape == nil ? nil : []
    for (axis, dimension) in (shape ?? []).enumerated() {
      switch dimension.value {
      case .fixed(let n):
        guard n >= 0, let extent = Int(exactly: n) else { throw .unsupportedInput(name: info.name, reason: "declares the extent \(n); the file is damaged") }
        dims?.append(.fixed(extent))
      case .symbolic(let name): dims?.append(.free(name))
      case .unknown: dims?.append(.free("\(info.name)_\(axis)"))
      }
    }
    return OnnxInput(name: info.name, dtype: dtype, dims: dims)
  }

  /// The values of a constant.
  func tensor(_ tensor: OnnxTensor) throws(OnnxImportError) -> Tensor {
    do { return try file.tensor(tensor) } catch {
      if standsInForMissingData, case .externalDataMissing = error, let zeros = Self.zeros(tensor) { return zeros }
      throw .file(error)
    }
  }

  /// Fresh pages that nobody wrote to: they cost nothing until they are read.
  private static func zeros(_ tensor: OnnxTensor) -> Tensor? {
    guard let dtype = tensor.dataType.dtype, let shape = try? tensor.shape(), let count = shape.checkedCount, let bytes = dtype.byteCount(of: count),
      let storage = try? Storage(byteCount: bytes, zeroed: true)
    else { return nil }
    return Tensor(dtype: dtype, shape: shape, storage: storage, byteOffset: 0)
  }

  /// The graph for these input shapes.
  /// - Parameters:
  ///   - shapes: the shape of each input.
  ///   - values: inputs whose values are known too: integers that decide shapes.
  ///   - outputs: what the graph is to give, all outputs where nil; nodes that none of them needs are not looked at.
  public func graph(shapes: [String: Shape], values: [String: Tensor] = [:], outputs: [String]? = nil) throws(OnnxImportError) -> ImportedGraph {
    var facts: [String: ValueFact] = [:]
    for input in inputs {
      guard let shape = shapes[input.name] else { throw .undefinedValue(name: input.name, reader: "the graph") }
      try check(shape, input)
      facts[input.name] = ValueFact(dtype: input.dtype, shape: shape, value: values[input.name])
    }
    return try walk(facts, outputs)
  }

  /// The graph as the file has it, for all shapes: only what follows from constants and fixed extents is computed.
  public func graph(outputs: [String]? = nil) throws(OnnxImportError) -> ImportedGraph {
    var facts: [String: ValueFact] = [:]
    for input in inputs {
      var extents: [Int]? = []
      for dimension in input.dims ?? [.free("?")] {
        if case .fixed(let n) = dimension { extents?.append(n) } else { extents = nil }
      }
      facts[input.name] = ValueFact(dtype: input.dtype, shape: extents.map { Shape($0) })
    }
    return try walk(facts, outputs)
  }

  private func check(_ shape: Shape, _ input: OnnxInput) throws(OnnxImportError) {
    guard let dims = input.dims else { return }
    let fits = dims.count == shape.rank && zip(dims, shape.dims).allSatisfy { dimension, n in if case .fixed(let m) = dimension { m == n } else { true } }
    guard fits, shape.checkedCount != nil else { throw .inputShape(name: input.name, declared: input.dimsText, found: shape) }
  }

  private func walk(_ facts: [String: ValueFact], _ wanted: [String]?) throws(OnnxImportError) -> ImportedGraph {
    let names = wanted ?? outputs
    for name in names where !outputs.contains(name) { throw .unknownOutput(name: name, known: outputs) }
    var walker = GraphWalker(importer: self)
    return try walker.run(inputs: inputs, facts: facts, outputs: names)
  }
}

/// A graph of foreign operators and what is known of its values.
public struct ImportedGraph: Sendable {
  public var graph: Graph
  public var facts: [ValueID: ValueFact]
  /// Constants that were scaled 8-bit integers in the file, by their own values.
  var integers: [ValueID: ScaledIntegers] = [:]
}

/// A matrix of 8-bit integers and what they mean: (integer - zero)·scale, one or one for each index of an axis.
struct ScaledIntegers: Sendable {
  var values: Tensor
  var scales: [Float]
  var zeros: [Float]
  /// Of the scales and zero points where there are several.
  var axis: Int

  /// The matrix behind a DequantizeLinear whose operands are these; nil where it is none of 8 bits, or its scales are of blocks.
  init?(_ op: Generic, _ inputs: [Tensor?]) {
    guard op.kind == .quantization(.dequantize) || op.kind == .quantization(.microsoftDequantize), inputs.count >= 2, let x = inputs[0], let scale = inputs[1],
      x.dtype == .i8 || x.dtype == .u8, x.shape.rank == 2, scale.dtype == .f32, (op.int("block_size") ?? 0) == 0
    else { return nil }
    let zero = inputs.count > 2 ? inputs[2] : nil
    let given = op.int("axis") ?? 1
    axis = given < 0 ? given + 2 : given
    guard axis == 0 || axis == 1, scale.count == 1 || scale.shape.rank == 1 && scale.count == x.shape[axis], zero == nil || zero!.count == scale.count else { return nil }
    values = x
    scales = scale.floats()
    zeros = zero?.floats() ?? [Float](repeating: 0, count: scales.count)
  }
}

/// `ai.onnx` and the empty domain are the same.
func normalized(_ domain: String) -> String { domain == "ai.onnx" ? "" : domain }
