// A graph whose constants may change between runs, compiled for fixed shapes: what a training step runs. Parameters lie in memory of the caller's, outputs are
// written to memory of the caller's; weights are packed in each run. f32, or products of bfloat16 between f32 values.

public import DinoGraph
public import DinoTensor
import DinoKernels

/// Runs one step's graph. Not for several threads at once.
public final class TrainingPlan {
  private let plan: Plan
  private let team: ThreadTeam
  private let store: WeightStore
  private let inputs: [GraphInput]
  /// Keeps what live constants and outputs lie in.
  private let held: [Tensor]
  private var pointers: [UnsafeMutablePointer<Float>?]

  public let threads: Int
  public var flops: Double { plan.flops }
  /// Memory for values while it runs.
  public var arenaBytes: Int { plan.arenaBytes + plan.scratchTotal }
  public var instructionSet: String { store.table.name }

  /// - Parameters:
  ///   - graph: all its inputs have fixed extents.
  ///   - live: constants that may change between runs: 32-bit floats in allocated memory.
  ///   - outputs: where each output goes: 32-bit floats, of the output's shape.
  public init(_ graph: Graph, live: Set<ValueID>, outputs: [String: Tensor], options: SessionOptions = .init()) throws(RuntimeError) {
    let table: KernelTable
    if let name = options.kernels {
      guard let named = KernelTable.named(name) else {
        throw .unsupported(node: "kernel table \(name)", reason: "this machine has \(KernelTable.available.map(\.name).joined(separator: ", "))")
      }
      table = named
    } else {
      table = KernelTable.selected
    }
    guard options.precision != .int8 else { throw .precisionUnavailable(options.precision, reason: "training steps compute in f32 or bf16") }
    threads = options.threads > 0 ? min(options.threads, 1024) : availableCores()
    team = ThreadTeam.shared(threads)
    store = WeightStore(table: table, team: team, precision: options.precision)
    let optimized: Graph, shapes: [ValueID: Shape]
    do {
      try graph.verify()
      optimized = PassList([FuseLinearActivation(), FuseResidual()]).run(try graph.pruned(outputs: outputs.keys.sorted()), disabled: options.disabledPasses)
      shapes = try optimized.inferShapes(inputs: try Self.fixedShapes(graph.inputs))
    } catch { throw .graph(error) }
    var compiler = Compiler(graph: optimized, shapes: shapes, store: store, threads: threads)
    compiler.live = live
    for output in optimized.outputs {
      guard let tensor = outputs[output.name] else { continue }
      guard tensor.shape == shapes[output.value], tensor.dtype == .f32 else {
        throw .unsupported(node: output.name, reason: "it has shape \(shapes[output.value] ?? []), the memory given for it \(tensor.shape)")
      }
      if compiler.sinks[output.value] == nil { compiler.sinks[output.value] = FloatBlock(viewing: tensor) } else { compiler.copies[output.name] = FloatBlock(viewing: tensor) }
    }
    plan = try compiler.compile()
    inputs = graph.inputs
    pointers = Array(repeating: nil, count: inputs.count)
    held = Array(outputs.values) + graph.constants.values.map(\.tensor)
  }

  private static func fixedShapes(_ inputs: [GraphInput]) throws(GraphError) -> [String: Shape] {
    var shapes: [String: Shape] = [:]
    for input in inputs {
      var dims: [Int] = []
      for case .fixed(let n) in input.dims { dims.append(n) }
      guard dims.count == input.dims.count else { throw .missingInput(name: input.name) }
      shapes[input.name] = Shape(dims)
    }
    return shapes
  }

  /// One run. `tensors` are the graph's inputs in its order: 32-bit floats of the declared shapes.
  /// - Parameter after: told of each step's number when it is done, on the caller's thread, while the other threads go on.
  public func run(_ tensors: [Tensor], after: ((Int) -> Void)? = nil) {
    precondition(tensors.count == inputs.count, "\(tensors.count) inputs for \(inputs.count)")
    for i in tensors.indices {
      precondition(tensors[i].dtype == .f32 && tensors[i].count == plan.inputs[i].shape.count, "input \(inputs[i].name)")
      pointers[i] = (tensors[i].storage.base + tensors[i].byteOffset).assumingMemoryBound(to: Float.self)
    }
    plan.run(inputs: pointers, team: team, after: after)
    withExtendedLifetime(tensors) {}
  }

  /// The step after which an output has its value and is read no more: the caller may then do with it as it likes, though the run goes on.
  public func settled(_ output: String) -> Int {
    guard let found = plan.outputs.first(where: { $0.name == output }) else { preconditionFailure("no output '\(output)'") }
    return found.settled
  }

  /// Runs with a clock around each step.
  public func profile(_ tensors: [Tensor]) -> [PlanSummary.StepSummary] {
    plan.profiling = true
    run(tensors)
    plan.profiling = false
    return plan.profile.map { PlanSummary.StepSummary(name: $0.name, flops: $0.flops, chunks: $0.chunks, seconds: $0.seconds) }
  }
}
