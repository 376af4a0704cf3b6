// What can go wrong between a graph and its results. Everything here is found when a plan is made or inputs are bound: a running plan
// neither throws nor allocates.

public import DinoGraph
public import DinoTensor

public enum RuntimeError: Error, Sendable, Equatable, CustomStringConvertible {
  /// The graph is not valid, or the input shapes do not fit it.
  case graph(GraphError)
  /// A graph with foreign operators cannot be made for these inputs, or one of them fails on the data: the whole sentence.
  case foreign(GenericProblem)
  case missingInput(name: String, expected: [String])
  case unknownInput(name: String, expected: [String])
  case wrongInputType(name: String, found: DType)
  case unknownOutput(name: String, available: [String])
  /// A combination that shape inference allows but no kernel computes.
  case unsupported(node: String, reason: String)
  case precisionUnavailable(Precision, reason: String)
  case outOfMemory(bytes: Int, what: String)

  public var description: String {
    switch self {
    case .graph(let e): e.description
    case .foreign(let problem): problem.description
    case .missingInput(let name, let expected): "input \"\(name)\" was not given; the graph reads \(expected.joined(separator: ", "))"
    case .unknownInput(let name, let expected): "there is no input \"\(name)\"; the graph reads \(expected.joined(separator: ", "))"
    case .wrongInputType(let name, let found): "input \"\(name)\" has elements of type \(found.rawValue), which do not convert to F32"
    case .unknownOutput(let name, let available): "there is no output \"\(name)\"; available: \(available.joined(separator: ", "))"
    case .unsupported(let node, let reason): "\(node) cannot run here: \(reason)"
    case .precisionUnavailable(let p, let reason): "precision \(p.rawValue) is not available: \(reason)"
    case .outOfMemory(let bytes, let what): "\(what) needs \(bytes) bytes, which the system does not give; try a smaller image or batch"
    }
  }
}
