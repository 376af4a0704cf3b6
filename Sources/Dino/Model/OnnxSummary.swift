// Everything that can be told about an ONNX file, also of one that cannot run: what it declares, the network that was recognised, what each rule made of the graph, and
// how it would run. What is wrong is a list of sentences, no error, as long as the file itself can be read.

public import DinoModels
internal import DinoGraph
internal import DinoTensor
internal import ONNXFormat
internal import OnnxConverter

public struct OnnxSummary: Sendable {
  public struct Value: Sendable, Equatable {
    public var name: String
    public var type: String
  }
  public struct Rule: Sendable, Equatable {
    public var name: String
    public var matches: Int
    public var nodesAfter: Int
  }
  public let path: String
  public let byteCount: Int
  public let producer: String
  public let irVersion: Int
  /// "ai.onnx 17", "com.microsoft 1".
  public let operatorSets: [String]
  public let inputs: [Value]
  public let outputs: [Value]
  /// How many nodes of each operator, most first.
  public let operators: [(name: String, count: Int)]
  public let functions: Int
  public let weights: (count: Int, bytes: Int)
  /// The constants one by one, in file order.
  public let tensors: [Value]
  /// Files that hold weights beside this one.
  public let externalFiles: [String]
  public let metadata: [(key: String, value: String)]
  /// The network, where it is one that we know.
  public private(set) var config: ViTConfig?
  /// Why it is none.
  public private(set) var unrecognised: String?
  /// Official output names by the file's.
  public private(set) var knownOutputs: [String: String] = [:]
  /// For which input shapes the graph was made.
  public private(set) var lookedAt: String?
  public private(set) var importedNodes = 0
  public private(set) var rules: [Rule] = []
  /// After recognition: Core operators, and foreign ones by name.
  public private(set) var coreNodes = 0
  public private(set) var foreign: [(name: String, count: Int)] = []
  public private(set) var problems: [String] = []
  /// What a person should know besides: no problem.
  public private(set) var notes: [String] = []
  public private(set) var problemKind = DinoError.Kind.data

  /// - Throws: where the file cannot be read at all, or is malformed.
  public init(path: String) throws(DinoError) {
    self.path = path
    let file: OnnxFile
    do { file = try OnnxFile(path: path) } catch { throw DinoError(error, path: path) }
    let model = file.model
    byteCount = file.byteCount
    producer = [model.producerName, model.producerVersion].filter { !$0.isEmpty }.joined(separator: " ")
    irVersion = Int(model.irVersion)
    operatorSets = model.operatorSets.map { "\($0.domain.isEmpty ? "ai.onnx" : $0.domain) \($0.version)" }
    let constants = Set(model.graph.initializers.map(\.name))
    inputs = model.graph.inputs.filter { !constants.contains($0.name) }.map(Self.value)
    outputs = model.graph.outputs.map(Self.value)
    operators = Self.counted(model.graph.nodes.map { $0.domain.isEmpty ? $0.operatorType : "\($0.domain).\($0.operatorType)" })
    functions = model.functions.count
    tensors = model.graph.initializers.map { Value(name: $0.name, type: "\($0.dataType) \($0.dims)") }
    weights = (model.graph.initializers.count, model.graph.initializers.reduce(0) { sum, tensor in
      sum + ((try? tensor.shape().checkedCount).flatMap { $0 }.flatMap { tensor.dataType.byteCount(of: $0) } ?? 0)
    })
    externalFiles = file.externalLocations
    metadata = model.metadata.map { ($0.key, $0.value) }
    do { try file.checkExternalData() } catch { add(DinoError(error, path: path)) }
    look(file)
  }

  private static func value(_ info: OnnxValueInfo) -> Value {
    guard case .tensor(let type, let shape)? = info.type?.kind else { return Value(name: info.name, type: "no tensor") }
    let dims = shape.map { "[" + $0.map { dimension -> String in
      switch dimension.value {
      case .fixed(let n): "\(n)"
      case .symbolic(let name): name
      case .unknown: "?"
      }
    }.joined(separator: ", ") + "]" } ?? "of any shape"
    return Value(name: info.name, type: "\(type) \(dims)")
  }

  private static func counted(_ names: [String]) -> [(name: String, count: Int)] {
    Dictionary(grouping: names, by: \.self).map { ($0.key, $0.value.count) }.sorted { ($1.1, $0.0) < ($0.1, $1.0) }
  }

  private mutating func add(_ problem: DinoError) {
    if problems.isEmpty { problemKind = problem.kind }
    problems.append(problem.message)
  }

  /// The graph for the first size of images at which it can be computed: files that declare any size may have been traced at one.
  private mutating func graph(_ importer: OnnxImporter) throws -> ImportedGraph {
    var failure: (size: (height: Int, width: Int), error: any Error)?
    for size in CheckpointReader.probeSizes(importer) {
      var shapes: [String: Shape] = [:]
      for input in importer.inputs {
        let fallback = [1, 3, size.height, size.width]
        shapes[input.name] = Shape((input.dims ?? []).enumerated().map { axis, dimension in
          if case .fixed(let n) = dimension { n } else { input.dims?.count == 4 ? fallback[axis] : 1 }
        })
      }
      do {
        let graph = try importer.graph(shapes: shapes)
        lookedAt = importer.inputs.compactMap { input in shapes[input.name].map { "\(input.name) \($0)" } }.joined(separator: ", ")
        if let failure {
          notes.append("it declares more image sizes than it works at: \(size.height)x\(size.width) is one, \(failure.size.height)x\(failure.size.width) is not (\(DinoError(failure.error).message))")
        }
        return graph
      } catch {
        if failure == nil { failure = (size, error) }
      }
    }
    throw failure?.error ?? DinoError(.bug, "\(path): no image size to look at")
  }

  /// Imports and recognises the graph for shapes that the file takes.
  private mutating func look(_ file: OnnxFile) {
    do {
      var importer = try OnnxImporter(file)
      importer.standsInForMissingData = true
      let imported = try graph(importer)
      importedNodes = imported.graph.nodes.count
      let (recognised, steps) = Recognition.run(imported)
      rules = steps.map { Rule(name: $0.rule, matches: $0.matches, nodesAfter: $0.nodes) }
      var names: [String] = []
      for node in recognised.graph.nodes {
        switch node.op {
        case .core: coreNodes += 1
        case .generic(let op): names.append(op.kind.name)
        }
      }
      foreign = Self.counted(names)
      do { (config, knownOutputs) = try CheckpointReader.outline(importer) } catch { unrecognised = "\(error)" }
    } catch { add(DinoError(error, path: path)) }
  }
}
