// A session over a network whose graph is made anew for each set of input shapes, as an importer does: shape arithmetic is gone from such a graph, and what it says
// holds for those shapes exactly. Packed weights are shared by all of them; the latest programs are kept.

public import DinoGraph
public import DinoTensor
import DinoKernels
import Synchronization

/// Where graphs come from.
public struct GraphSource: Sendable {
  public struct Input: Sendable, Hashable {
    public var name: String
    public var dtype: DType
    public init(name: String, dtype: DType) {
      self.name = name
      self.dtype = dtype
    }
  }
  public var inputs: [Input]
  /// The graph for inputs of these shapes that gives these outputs. `values` holds inputs of few integers, which may decide shapes. Its inputs are in the order of
  /// `inputs`.
  public var graph: @Sendable (_ shapes: [String: Shape], _ values: [String: Tensor], _ outputs: [String]) throws(GenericProblem) -> Graph

  public init(inputs: [Input], graph: @escaping @Sendable ([String: Shape], [String: Tensor], [String]) throws(GenericProblem) -> Graph) {
    self.inputs = inputs
    self.graph = graph
  }
}

/// Runs a network of foreign or recognised operators. Thread-safe: runs take turns.
public final class ShapedSession: @unchecked Sendable {
  /// Integer inputs up to this many elements are part of what a graph is made for.
  private static let decidingElements = 64

  public let source: GraphSource
  public let options: SessionOptions
  public let threads: Int
  private let lock = Mutex<Void>(())
  /// Only touched under `lock`.
  private let store: WeightStore
  private var programs: [(key: Key, program: Program, graph: Graph)] = []

  private struct Key: Hashable {
    var shapes: [Shape]
    var values: [[Int]?]
    var outputs: [String]
  }

  public init(_ source: GraphSource, options: SessionOptions = .init()) throws(RuntimeError) {
    guard options.precision == .f32 else {
      throw .precisionUnavailable(options.precision, reason: "a network that is run by its file's own graph computes as that graph says; use --precision f32")
    }
    self.source = source
    self.options = options
    let table: KernelTable
    if let name = options.kernels {
      guard let named = KernelTable.named(name) else {
        throw .unsupported(node: "kernel table \(name)", reason: "this machine has \(KernelTable.available.map(\.name).joined(separator: ", "))")
      }
      table = named
    } else {
      table = KernelTable.selected
    }
    threads = options.threads > 0 ? min(options.threads, 1024) : availableCores()
    store = WeightStore(table: table, team: ThreadTeam.shared(threads), precision: .f32)
  }

  /// Computes `outputs` from `inputs`. Element types of the inputs are the declared ones; floats are converted.
  public func run(_ inputs: [String: Tensor], outputs: [String]) throws(RuntimeError) -> [String: Tensor] {
    let bound = try bind(inputs)
    return try locked { () throws(RuntimeError) in
      let (program, graph) = try self.program(bound, outputs)
      return try program.run(Dictionary(uniqueKeysWithValues: zip(graph.inputs.map(\.value), bound)))
    }
  }

  /// Makes the program without running it.
  public func plan(_ inputs: [String: Tensor], outputs: [String]) throws(RuntimeError) -> PlanSummary {
    let bound = try bind(inputs)
    return try locked { () throws(RuntimeError) in
      let (program, _) = try self.program(bound, outputs)
      let steps = program.steps
      return PlanSummary(steps: steps, flops: steps.reduce(0) { $0 + $1.flops }, arenaBytes: program.arenaBytes, weightBytes: store.bytes)
    }
  }

  /// How many foreign operators a run applies, and how many plans run between them.
  public func stages(_ inputs: [String: Tensor], outputs: [String]) throws(RuntimeError) -> (foreign: Int, plans: Int) {
    let bound = try bind(inputs)
    return try locked { () throws(RuntimeError) in try self.program(bound, outputs).0.counts }
  }

  private func bind(_ inputs: [String: Tensor]) throws(RuntimeError) -> [Tensor] {
    let names = source.inputs.map(\.name)
    for name in inputs.keys.sorted() where !names.contains(name) { throw .unknownInput(name: name, expected: names) }
    var bound: [Tensor] = []
    for input in source.inputs {
      guard var tensor = inputs[input.name] else { throw .missingInput(name: input.name, expected: names) }
      if tensor.dtype != input.dtype {
        let floats: [DType] = [.f16, .bf16, .f32, .f64]
        guard floats.contains(tensor.dtype), [.f16, .bf16, .f32].contains(input.dtype), let converted = try? tensor.converted(to: input.dtype) else {
          throw .wrongInputType(name: input.name, found: tensor.dtype)
        }
        tensor = converted
      }
      bound.append(tensor)
    }
    return bound
  }

  private func program(_ bound: [Tensor], _ outputs: [String]) throws(RuntimeError) -> (Program, Graph) {
    let deciding = bound.map { $0.count <= Self.decidingElements ? $0.integers() : nil }
    let key = Key(shapes: bound.map(\.shape), values: deciding, outputs: outputs)
    if let i = programs.firstIndex(where: { $0.key == key }) {
      let entry = programs.remove(at: i)
      programs.append(entry)
      return (entry.program, entry.graph)
    }
    let names = source.inputs.map(\.name)
    var shapes: [String: Shape] = [:], values: [String: Tensor] = [:]
    for (i, name) in names.enumerated() {
      shapes[name] = bound[i].shape
      if deciding[i] != nil { values[name] = bound[i] }
    }
    let graph: Graph
    do { graph = try source.graph(shapes, values, outputs) } catch { throw .foreign(error) }
    do { try graph.verify() } catch { throw .graph(error) }
    let program = try Program(graph, store: WeightStore(sharing: store), threads: threads, disabledPasses: options.disabledPasses)
    try program.prepare(Dictionary(uniqueKeysWithValues: zip(graph.inputs.map(\.value), bound.map(\.shape))))
    while programs.count >= max(options.maxPlans, 1) { programs.removeFirst() }
    programs.append((key, program, graph))
    return (program, graph)
  }

  private func locked<R>(_ body: () throws(RuntimeError) -> R) throws(RuntimeError) -> R {
    let result: Result<R, RuntimeError> = lock.withLock { _ in
      do throws(RuntimeError) { return .success(try body()) } catch { return .failure(error) }
    }
    return try result.get()
  }
}
