// What a user of the runtime holds: a graph with its packed weights and the plans for the shapes seen lately.

public import DinoGraph
public import DinoTensor
import DinoKernels
import Synchronization

/// What a plan will do and need, before it runs.
public struct PlanSummary: Sendable {
  public struct StepSummary: Sendable {
    public var name: String
    public var flops: Double
    public var chunks: Int
    /// Seconds of the last profiled run; 0 where there was none.
    public var seconds: Double
  }
  public var steps: [StepSummary]
  /// Floating-point operations of one run; a multiply-add counts two.
  public var flops: Double
  /// Memory for values while it runs, in bytes, packed weights not counted.
  public var arenaBytes: Int
  /// Packed weights and other constants of the session so far, in bytes.
  public var weightBytes: Int
}

/// Runs a graph. Thread-safe: runs take turns.
public final class Session: @unchecked Sendable {
  public let graph: Graph
  public let options: SessionOptions
  public let threads: Int
  private let table: KernelTable
  private let team: ThreadTeam
  private let lock = Mutex<Void>(())
  /// Only touched under `lock`.
  private var state: State

  /// The name of the kernel table in use ("avx512").
  public var instructionSet: String { table.name }

  private struct State {
    let store: WeightStore
    /// Where attention weights are wanted of an int8 session: their masks do not bear 8 bits anywhere before them (measured: keeping the last blocks in f32 changes little).
    let attentionStore: WeightStore?
    /// One for all plans, as runs take turns: the last images of a folder, fewer than a batch, take no memory of their own.
    let arena = SharedArena()
    /// Latest used last.
    var plans: [(key: PlanKey, plan: Plan)] = []
  }
  private struct PlanKey: Hashable {
    var shapes: [Shape]
    var outputs: [String]
  }

  /// Verifies the graph; packs nothing yet. Weights are packed when the first plan is made.
  public init(_ graph: Graph, options: SessionOptions = .init()) throws(RuntimeError) {
    do { try graph.verify() } catch { throw .graph(error) }
    self.graph = graph
    self.options = options
    if let name = options.kernels {
      guard let table = KernelTable.named(name) else {
        throw .unsupported(node: "kernel table \(name)", reason: "this machine has \(KernelTable.available.map(\.name).joined(separator: ", "))")
      }
      self.table = table
    } else {
      table = KernelTable.selected
    }
    threads = options.threads > 0 ? min(options.threads, 1024) : availableCores()
    team = ThreadTeam.shared(threads)
    let store = WeightStore(table: table, team: team, precision: options.precision, manyImages: options.manyImages)
    state = State(store: store, attentionStore: options.precision == .int8 ? WeightStore(table: table, team: team, precision: .bf16) : nil)
  }

  /// Computes `outputs` from `inputs`. Inputs of another element type are converted; results are f32, dense.
  public func run(_ inputs: [String: Tensor], outputs: [String]) throws(RuntimeError) -> [String: Tensor] {
    for name in inputs.keys where !graph.inputs.contains(where: { $0.name == name }) {
      throw .unknownInput(name: name, expected: graph.inputs.map(\.name))
    }
    var bound: [Tensor] = []
    for input in graph.inputs {
      guard let tensor = inputs[input.name] else { throw .missingInput(name: input.name, expected: graph.inputs.map(\.name)) }
      guard tensor.dtype.convertsToFloat else { throw .wrongInputType(name: input.name, found: tensor.dtype) }
      let aligned = Int(bitPattern: tensor.storage.base + tensor.byteOffset) % MemoryLayout<Float>.alignment == 0
      bound.append(tensor.dtype == .f32 && aligned ? tensor : Tensor(tensor.floats(), shape: tensor.shape))
    }
    let tensors = bound
    return try locked { (state: inout State) throws(RuntimeError) in
      let plan = try self.plan(&state, shapes: tensors.map(\.shape), outputs: outputs)
      plan.run(inputs: tensors.map { ($0.storage.base + $0.byteOffset).assumingMemoryBound(to: Float.self) }, team: team)
      var results: [String: Tensor] = [:]
      for (i, output) in plan.outputs.enumerated() {
        do { results[output.name] = try plan.result(i) } catch { throw .outOfMemory(bytes: output.shape.count * 4, what: "output \(output.name)") }
      }
      withExtendedLifetime(tensors) {}
      return results
    }
  }

  /// Makes the plan (and packs the weights) without running it.
  public func plan(shapes: [String: Shape], outputs: [String]) throws(RuntimeError) -> PlanSummary {
    var ordered: [Shape] = []
    for input in graph.inputs {
      guard let s = shapes[input.name] else { throw .missingInput(name: input.name, expected: graph.inputs.map(\.name)) }
      ordered.append(s)
    }
    let list = ordered
    return try locked { (state: inout State) throws(RuntimeError) in
      let plan = try self.plan(&state, shapes: list, outputs: outputs)
      return summary(plan, state.store, state.attentionStore?.bytes ?? 0)
    }
  }

  /// Runs once with a clock around each step.
  public func profile(_ inputs: [String: Tensor], outputs: [String]) throws(RuntimeError) -> PlanSummary {
    let shapes = inputs.mapValues(\.shape)
    func set(_ on: Bool) throws(RuntimeError) {
      let ordered = graph.inputs.compactMap { shapes[$0.name] }
      try locked { (state: inout State) throws(RuntimeError) in try self.plan(&state, shapes: ordered, outputs: outputs).profiling = on }
    }
    try set(true)
    _ = try run(inputs, outputs: outputs)
    try set(false)
    return try plan(shapes: shapes, outputs: outputs)
  }

  private func summary(_ plan: Plan, _ store: WeightStore, _ attentionStore: Int) -> PlanSummary {
    PlanSummary(steps: plan.profile.map { .init(name: $0.name, flops: $0.flops, chunks: $0.chunks, seconds: $0.seconds) }, flops: plan.flops,
                arenaBytes: plan.arenaBytes + plan.scratchTotal, weightBytes: store.bytes + attentionStore)
  }

  private func plan(_ state: inout State, shapes: [Shape], outputs: [String]) throws(RuntimeError) -> Plan {
    let key = PlanKey(shapes: shapes, outputs: outputs)
    if let i = state.plans.firstIndex(where: { $0.key == key }) {
      let entry = state.plans.remove(at: i)
      state.plans.append(entry)
      return entry.plan
    }
    let optimized: Graph, inferred: [ValueID: Shape]
    do {
      optimized = PassList.standard.run(try graph.pruned(outputs: outputs), disabled: options.disabledPasses)
      inferred = try optimized.inferShapes(inputs: Dictionary(uniqueKeysWithValues: zip(graph.inputs.map(\.name), shapes)))
    } catch { throw .graph(error) }
    let store = optimized.wantsAttentionWeights ? state.attentionStore ?? state.store : state.store
    var compiler = Compiler(graph: optimized, shapes: inferred, store: store, threads: threads)
    for (id, constant) in optimized.constants where options.keptInF32.contains(constant.name) { compiler.keptWeights.insert(id) }
    compiler.hiddenBytes = options.hiddenBytes
    compiler.sharedArena = state.arena
    let plan = try compiler.compile()
    store.releaseUnused()
    while state.plans.count >= max(options.maxPlans, 1) { state.plans.removeFirst() }
    state.plans.append((key, plan))
    return plan
  }

  /// The lock, with typed errors carried through a result.
  private func locked<R>(_ body: (inout State) throws(RuntimeError) -> R) throws(RuntimeError) -> R {
    let result: Result<R, RuntimeError> = lock.withLock { _ in
      do throws(RuntimeError) { return .success(try body(&state)) } catch { return .failure(error) }
    }
    return try result.get()
  }
}

extension Graph {
  /// Whether an output, or what leads to one, is attention itself.
  var wantsAttentionWeights: Bool {
    nodes.contains { if case .core(.attentionWeights) = $0.op { true } else { false } }
  }
}
