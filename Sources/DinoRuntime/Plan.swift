// A compiled graph for one set of shapes: steps over one arena. Running it neither allocates nor throws. Each thread has a share of a step's chunks, the same
// on every run, so that what it wrote in one step is in its own cache when it reads it in the next; who is done with his share takes from the others'. A step
// begins when all chunks of the one before are done.

import DinoKernels
import DinoTensor
import Synchronization

final class Plan: @unchecked Sendable {
  let steps: [Step]
  let arenaBytes: Int
  /// `settled`: the step after which nobody writes or reads it any more; -1 where no step does.
  let outputs: [(name: String, operand: Operand, shape: Shape, settled: Int)]
  let inputs: [(name: String, shape: Shape)]
  private let arena: Storage
  private let scratchOffset: Int
  private let scratchBytes: Int
  private let kept: [FloatBlock]
  private let table: KernelTable
  private let threads: Int
  private let bindings: Bindings
  private let stepList: UnsafeMutablePointer<Step>
  /// For each thread and step: how many chunks of its share are taken.
  private let taken: UnsafeMutablePointer<Atomic<Int>>
  /// For each step: the chunks done.
  private let done: UnsafeMutablePointer<Atomic<Int>>
  /// Seconds spent in each step, as the caller's thread saw it; only while profiling.
  private(set) var seconds: [Double]
  var profiling = false
  /// Told of each step that is done, on the caller's thread, while the others go on.
  private var watcher: ((Int) -> Void)?
  /// For each thread, seconds in each operation of chains; only while profiling.
  private let timings: UnsafeMutablePointer<Double>
  private let timingCount: Int

  init(steps: [Step], arena: Storage, arenaBytes: Int, scratchOffset: Int, scratchBytes: Int, outputs: [(name: String, operand: Operand, shape: Shape, settled: Int)],
       inputs: [(name: String, shape: Shape)], kept: [FloatBlock], table: KernelTable, threads: Int) {
    var steps = steps, operations = 0
    for i in steps.indices {
      guard case .chain(var chain) = steps[i].kind else { continue }
      chain.firstTiming = operations
      operations += chain.operations.count
      steps[i].kind = .chain(chain)
    }
    timingCount = operations
    timings = .allocate(capacity: max(operations * threads, 1))
    timings.initialize(repeating: 0, count: max(operations * threads, 1))
    self.steps = steps
    self.arena = arena
    self.arenaBytes = arenaBytes
    self.scratchOffset = scratchOffset
    self.scratchBytes = scratchBytes
    self.outputs = outputs
    self.inputs = inputs
    self.kept = kept
    self.table = table
    self.threads = threads
    bindings = .allocate(capacity: max(inputs.count, 1))
    bindings.initialize(repeating: nil, count: max(inputs.count, 1))
    stepList = .allocate(capacity: max(steps.count, 1))
    stepList.initialize(from: steps, count: steps.count)
    taken = .allocate(capacity: max(steps.count * threads, 1))
    done = .allocate(capacity: max(steps.count, 1))
    for i in 0..<steps.count * threads { (taken + i).initialize(to: Atomic(0)) }
    for i in steps.indices { (done + i).initialize(to: Atomic(0)) }
    seconds = Array(repeating: 0, count: steps.count)
  }

  deinit {
    timings.deallocate()
    bindings.deallocate()
    stepList.deinitialize(count: steps.count)
    stepList.deallocate()
    taken.deinitialize(count: steps.count * threads)
    done.deinitialize(count: steps.count)
    taken.deallocate()
    done.deallocate()
  }

  var flops: Double { steps.reduce(0) { $0 + $1.flops } }
  var scratchTotal: Int { scratchBytes * threads }

  /// One run. `pointers` are the inputs in the graph's order, dense floats; they are only read.
  func run(inputs pointers: [UnsafeMutablePointer<Float>?], team: ThreadTeam, after: ((Int) -> Void)? = nil) {
    watcher = after
    defer { watcher = nil }
    for (i, p) in pointers.enumerated() { bindings[i] = p }
    for i in 0..<steps.count * threads { taken[i].store(0, ordering: .relaxed) }
    for i in steps.indices { done[i].store(0, ordering: .relaxed) }
    if profiling {
      seconds.withUnsafeMutableBufferPointer { $0.update(repeating: 0) }
      timings.update(repeating: 0, count: max(timingCount * threads, 1))
    }
    team.run(Unmanaged.passUnretained(self).toOpaque()) { context, participant in
      Unmanaged<Plan>.fromOpaque(context)._withUnsafeGuaranteedRef { $0.participate(participant) }
    }
  }

  private func participate(_ participant: Int) {
    let context = StepContext(table: table, bindings: bindings,
                              scratch: (arena.base + scratchOffset + participant * scratchBytes).assumingMemoryBound(to: Float.self),
                              timings: profiling ? timings + participant * timingCount : nil)
    let timing = profiling && participant == 0
    var clock = timing ? monotonicSeconds() : 0
    for i in 0..<steps.count {
      let chunks = stepList[i].chunks
      var finished = 0, owner = participant
      for _ in 0..<threads {
        let share = slice(chunks, threads, owner), counter = taken + (owner * steps.count + i)
        while counter.pointee.load(ordering: .relaxed) < share.count {
          let chunk = share.lowerBound + counter.pointee.wrappingAdd(1, ordering: .relaxed).oldValue
          if chunk >= share.upperBound { break }
          stepList[i].run(chunk, context)
          finished += 1
        }
        owner = owner + 1 == threads ? 0 : owner + 1
      }
      if finished > 0 { done[i].wrappingAdd(finished, ordering: .releasing) }
      var spins = 0
      while done[i].load(ordering: .acquiring) < chunks { spinOnce(&spins) }
      if participant == 0, let watcher { watcher(i) }
      if timing {
        let now = monotonicSeconds()
        seconds[i] = now - clock
        clock = now
      }
    }
  }

  /// What the last profiled run spent where: a chain's operations one by one, their times added up over threads and divided by the threads, other steps as a
  /// whole.
  var profile: [(name: String, flops: Double, chunks: Int, seconds: Double)] {
    steps.indices.flatMap { i -> [(name: String, flops: Double, chunks: Int, seconds: Double)] in
      guard case .chain(let chain) = steps[i].kind else { return [(steps[i].name, steps[i].flops, steps[i].chunks, seconds[i])] }
      return chain.labels.indices.map { o in
        let all = (0..<threads).reduce(0) { $0 + timings[$1 * timingCount + chain.firstTiming + o] }
        return (chain.labels[o].name, chain.labels[o].flops, steps[i].chunks, all / Double(threads))
      }
    }
  }

  /// Copies an output out of the arena, row by row.
  func result(_ index: Int) throws -> Tensor {
    let (_, operand, shape, _) = outputs[index]
    return try Tensor(dtype: .f32, shape: shape) { bytes in
      let to = bytes.baseAddress!.assumingMemoryBound(to: Float.self)
      let from = operand.pointer(bindings), layout = operand.layout
      for row in 0..<layout.rows { (to + row * layout.columns).update(from: from + row * layout.stride, count: layout.columns) }
    }
  }
}
