// What a pass is, and the order in which they run. A pass rewrites a graph into one with the same outputs; it never changes a constant's value.

/// A rewrite of graphs. Total: what it does not match it leaves as it is.
public protocol GraphPass: Sendable {
  /// A short name in kebab case, by which it can be switched off.
  var name: String { get }
  /// The rewritten graph: same inputs and outputs, same meaning.
  func run(_ graph: Graph) -> Graph
}

/// A list of passes in the order in which they run.
public struct PassList: Sendable {
  public var passes: [any GraphPass]

  public init(_ passes: [any GraphPass]) { self.passes = passes }

  /// What the runtime applies: first what is not to be computed at all; then the order is that of a linear's epilogue, so that each pass finds what the one before it made.
  public static let standard = PassList([NarrowToFirstToken(), FuseLinearActivation(), FuseLayerScale(), FuseResidual()])

  public var names: [String] { passes.map(\.name) }

  /// Runs all passes except those named.
  /// - Parameter observe: called after each pass with its name and the graph, for printing; nothing else may be done with it.
  public func run(_ graph: Graph, disabled: Set<String> = [], observe: ((String, Graph) -> Void)? = nil) -> Graph {
    var result = graph
    for pass in passes where !disabled.contains(pass.name) {
      result = pass.run(result)
      observe?(pass.name, result)
    }
    return result
  }
}
