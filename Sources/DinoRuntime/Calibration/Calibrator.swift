// What values inside a graph look like on typical inputs: the graph is run with them as extra outputs, and their extremes and a sample of their elements are kept.
// Which values are of interest, and what is done with the answer, is the caller's business.

public import DinoGraph
public import DinoTensor

/// Collects statistics of some values of a graph over several runs.
public struct Calibrator {
  private let session: Session
  private let watched: [(value: ValueID, output: String)]
  public private(set) var statistics: [ValueID: ValueStatistics] = [:]

  /// - Parameter values: values that nodes of the graph give.
  public init(_ graph: Graph, values: [ValueID], options: SessionOptions = .init()) throws(RuntimeError) {
    var graph = graph
    graph.outputs = []
    var watched: [(value: ValueID, output: String)] = []
    for value in Set(values).sorted() {
      watched.append((value, "value.\(value.index)"))
      graph.output("value.\(value.index)", value)
    }
    self.watched = watched
    session = try Session(graph, options: options)
  }

  /// Runs the graph once and adds what is seen.
  public mutating func observe(_ inputs: [String: Tensor]) throws(RuntimeError) {
    guard !watched.isEmpty else { return }
    let results = try session.run(inputs, outputs: watched.map(\.output))
    for (value, output) in watched {
      if let tensor = results[output] { statistics[value, default: ValueStatistics()].add(tensor.floats()) }
    }
  }
}
