// A graph of Core and foreign operators, cut into stages: the largest connected runs of Core operators become plans, foreign operators between them are applied by
// their own twins. A graph of Core operators alone is one stage, one plan, and costs nothing beside it. With foreign operators a run allocates, and it may fail
// where data contradict an operator.

import DinoGraph
import DinoKernels
import DinoOperators
import DinoTensor

final class Program {
  private enum Stage {
    case core(CoreStage)
    case generic(Node, Generic)
  }
  private var stages: [Stage] = []
  /// For each stage, values that nobody reads after it.
  private var dead: [[ValueID]] = []
  private let graph: Graph
  private let context: OperatorContext

  /// - Parameter graph: topologically ordered; constants and outputs included.
  init(_ graph: Graph, store: WeightStore, threads: Int, disabledPasses: Set<String>) throws(RuntimeError) {
    self.graph = graph
    context = OperatorContext(table: store.table, team: store.team)
    let arena = SharedArena()
    for group in Self.groups(of: graph) {
      if case .generic(let op) = group[0].op {
        stages.append(.generic(group[0], op))
      } else {
        stages.append(.core(try CoreStage(group, of: graph, store: WeightStore(sharing: store), threads: threads, disabledPasses: disabledPasses, arena: arena)))
      }
    }
    findLastReads()
  }

  /// Stages as lists of nodes: a foreign operator alone, or Core operators that can run together. Nodes are taken as soon as what they read is there, Core
  /// operators first, so that few foreign operators cut the network into few pieces.
  private static func groups(of graph: Graph) -> [[Node]] {
    var known = Set(graph.inputs.map(\.value)).union(graph.constants.keys)
    var waiting = graph.nodes, groups: [[Node]] = []
    func isReady(_ node: Node) -> Bool { node.inputs.allSatisfy { $0 == .absent || known.contains($0) } }
    while !waiting.isEmpty {
      var group: [Node] = [], rest: [Node] = []
      for node in waiting {
        if case .core = node.op, isReady(node) {
          group.append(node)
          known.formUnion(node.outputs)
        } else {
          rest.append(node)
        }
      }
      if !group.isEmpty { groups.append(group) }
      waiting = []
      var took = false
      for node in rest {
        if case .generic = node.op, isReady(node) {
          groups.append([node])
          known.formUnion(node.outputs)
          took = true
        } else {
          waiting.append(node)
        }
      }
      // A graph that was verified always goes on; anything else would wait for ever.
      if group.isEmpty && !took { break }
    }
    return groups
  }

  private func findLastReads() {
    var seen = Set(graph.outputs.map(\.value)), lists: [[ValueID]] = []
    for stage in stages.reversed() {
      let reads: [ValueID], writes: [ValueID]
      switch stage {
      case .core(let core): (reads, writes) = (core.inputs, core.outputs)
      case .generic(let node, _): (reads, writes) = (node.inputs, node.outputs)
      }
      lists.append(Set(reads + writes).filter { seen.insert($0).inserted })
    }
    dead = lists.reversed()
  }

  /// The whole graph as one plan, where it is one.
  var isOnePlan: Bool {
    if stages.count == 1, case .core = stages[0] { return true }
    return false
  }

  /// How many foreign operators are applied on each run, and how many plans run between them.
  var counts: (foreign: Int, plans: Int) {
    stages.reduce(into: (0, 0)) { counts, stage in
      if case .generic = stage { counts.0 += 1 } else { counts.1 += 1 }
    }
  }

  /// Makes the plans whose input shapes are known already.
  func prepare(_ shapes: [ValueID: Shape]) throws(RuntimeError) {
    for stage in stages { if case .core(let core) = stage { try core.prepare(shapes) } }
  }

  func run(_ inputs: [ValueID: Tensor]) throws(RuntimeError) -> [String: Tensor] {
    try StorageRecycling.during { () throws(RuntimeError) in try runStages(inputs) }
  }

  private func runStages(_ inputs: [ValueID: Tensor]) throws(RuntimeError) -> [String: Tensor] {
    var values = inputs
    for (id, constant) in graph.constants { values[id] = constant.tensor }
    for (i, stage) in stages.enumerated() {
      switch stage {
      case .core(let core): try core.run(&values)
      case .generic(let node, let op):
        do {
          let results = try op.evaluate(node.inputs.map { values[$0] }, outputs: node.outputs.count, context: context)
          for (id, tensor) in zip(node.outputs, results) { values[id] = tensor }
        } catch {
          throw .foreign(GenericProblem(error.kind, "the node '\(node.name)' (\(op.kind.name)) cannot be computed: \(error)"))
        }
      }
      for id in dead[i] { values[id] = nil }
    }
    var results: [String: Tensor] = [:]
    for output in graph.outputs {
      guard let tensor = values[output.value] else { throw .unknownOutput(name: output.name, available: Array(results.keys)) }
      results[output.name] = tensor
    }
    return results
  }

  // MARK: For people

  /// Seconds of each stage's steps of the last profiled run, and what was planned.
  var steps: [PlanSummary.StepSummary] {
    stages.flatMap { stage -> [PlanSummary.StepSummary] in
      switch stage {
      case .core(let core): core.steps
      case .generic(let node, let op): [.init(name: "\(node.name) (\(op.kind.name))", flops: 0, chunks: 1, seconds: 0)]
      }
    }
  }
  /// Of the largest plan: they share it.
  var arenaBytes: Int { stages.reduce(0) { most, stage in if case .core(let core) = stage { max(most, core.arenaBytes) } else { most } } }
}

/// Memory that the plans of a program take turns with: what a plan leaves behind is copied out before the next one runs.
final class SharedArena {
  private var storage: Storage?

  func atLeast(_ bytes: Int) throws(StorageError) -> Storage {
    if let storage, storage.byteCount >= bytes { return storage }
    // Plans that were made before keep the smaller one: a little more, so that it does not grow often.
    let made = try Storage(byteCount: storage == nil ? bytes : bytes + bytes / 4)
    storage = made
    return made
  }
}

/// Core operators of a larger graph that run as one plan. Its inputs are what other stages give.
final class CoreStage {
  let inputs: [ValueID]
  let outputs: [ValueID]
  private let graph: Graph
  private let store: WeightStore
  private let threads: Int
  private var plan: (shapes: [Shape], plan: Plan)?

  init(_ nodes: [Node], of whole: Graph, store: WeightStore, threads: Int, disabledPasses: Set<String>, arena: SharedArena) throws(RuntimeError) {
    self.arena = arena
    self.store = store
    self.threads = threads
    let produced = Set(nodes.flatMap(\.outputs))
    var read: [ValueID] = [], seen: Set<ValueID> = []
    for id in nodes.flatMap(\.inputs) where !produced.contains(id) && whole.constants[id] == nil && seen.insert(id).inserted { read.append(id) }
    let inside = Set(nodes.map(\.output))
    var needed = Set(whole.outputs.map(\.value))
    for node in whole.nodes where !inside.contains(node.output) { needed.formUnion(node.inputs) }
    inputs = read
    outputs = nodes.map(\.output).filter(needed.contains)
    var part = whole
    part.nodes = nodes
    // Shapes are bound when they are known: each extent is a free name of its own.
    part.inputs = read.map { id in GraphInput(name: "%\(id.index)", value: id, dtype: .f32, dims: []) }
    part.outputs = outputs.map { GraphOutput(name: "%\($0.index)", value: $0) }
    let used = Set(nodes.flatMap(\.inputs))
    part.constants = whole.constants.filter { used.contains($0.key) }
    self.disabledPasses = disabledPasses
    graph = part
  }
  private let disabledPasses: Set<String>
  private let arena: SharedArena

  var steps: [PlanSummary.StepSummary] {
    guard let plan = plan?.plan else { return [] }
    return zip(plan.steps, plan.seconds).map { .init(name: $0.name, flops: $0.flops, chunks: $0.chunks, seconds: $1) }
  }
  var arenaBytes: Int { plan.map { $0.plan.arenaBytes + $0.plan.scratchTotal } ?? 0 }

  func prepare(_ known: [ValueID: Shape]) throws(RuntimeError) {
    var shapes: [Shape] = []
    for id in inputs {
      guard let shape = known[id] else { return }
      shapes.append(shape)
    }
    _ = try plan(for: shapes)
  }

  private func plan(for shapes: [Shape]) throws(RuntimeError) -> Plan {
    if let plan, plan.shapes == shapes { return plan.plan }
    var fixed = graph
    for i in shapes.indices { fixed.inputs[i].dims = shapes[i].dims.map(Dimension.fixed) }
    let optimized: Graph, inferred: [ValueID: Shape]
    do {
      optimized = PassList.standard.run(fixed, disabled: disabledPasses)
      inferred = try optimized.inferShapes(inputs: Dictionary(uniqueKeysWithValues: zip(fixed.inputs.map(\.name), shapes)))
    } catch { throw .graph(error) }
    var compiler = Compiler(graph: optimized, shapes: inferred, store: store, threads: threads)
    compiler.sharedArena = arena
    let made = try compiler.compile()
    plan = (shapes, made)
    return made
  }

  func run(_ values: inout [ValueID: Tensor]) throws(RuntimeError) {
    var bound: [Tensor] = []
    for id in inputs {
      guard let tensor = values[id] else { throw .unsupported(node: "%\(id.index)", reason: "nothing produces it") }
      bound.append(aligned(tensor))
    }
    let plan = try plan(for: bound.map(\.shape))
    plan.run(inputs: bound.map { ($0.storage.base + $0.byteOffset).assumingMemoryBound(to: Float.self) }, team: store.team)
    for (i, id) in outputs.enumerated() {
      do { values[id] = try plan.result(i) } catch { throw .outOfMemory(bytes: plan.outputs[i].shape.count * 4, what: "a value of the graph") }
    }
    withExtendedLifetime(bound) {}
  }
}

/// The tensor as dense floats at an address that floats may have.
func aligned(_ tensor: Tensor) -> Tensor {
  let fits = Int(bitPattern: tensor.storage.base + tensor.byteOffset) % MemoryLayout<Float>.alignment == 0
  return tensor.dtype == .f32 && fits ? tensor : Tensor(tensor.floats(), shape: tensor.shape)
}
