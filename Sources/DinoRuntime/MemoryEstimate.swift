// What a run will take, from shapes alone: the same lowering as for a plan, with nothing read, packed, computed or allocated. So a network that no machine here could hold
// can be asked about too.

public import DinoGraph
public import DinoTensor
import DinoKernels

/// Bytes that a session takes for one plan.
public struct MemoryEstimate: Sendable, Equatable {
  /// Packed weights and other constants.
  public var weights: Int
  /// The same in the huge pages that they begin.
  public var weightPages: Int
  /// Positions for the size of the image, and other constants of the plan's own.
  public var positions: Int
  /// Values of a run.
  public var values: Int
  /// Of all threads.
  public var scratch: Int
  /// Results, copied out.
  public var outputs: Int

  public init(weights: Int, weightPages: Int, positions: Int, values: Int, scratch: Int, outputs: Int) {
    self.weights = weights
    self.weightPages = weightPages
    self.positions = positions
    self.values = values
    self.scratch = scratch
    self.outputs = outputs
  }

  /// The most at once: when the last layer is packed, when positions are made (before there are values, in three copies), or in a run.
  /// - Parameter layer: the bytes that the largest layer is packed from.
  public func peak(layer: Int) -> Int {
    weightPages + max(layer, 3 * positions, Storage.residentBytes(positions) + Storage.residentBytes(values + scratch) + outputs)
  }
}

extension MemoryEstimate {
  /// - Parameter graph: its constants' shapes and element types are looked at, not what they hold.
  public init(_ graph: Graph, shapes: [String: Shape], outputs: [String], options: SessionOptions = .init()) throws(RuntimeError) {
    let optimized: Graph, inferred: [ValueID: Shape]
    do {
      try graph.verify()
      optimized = PassList.standard.run(try graph.pruned(outputs: outputs), disabled: options.disabledPasses)
      inferred = try optimized.inferShapes(inputs: shapes)
    } catch { throw .graph(error) }
    let precision = options.precision == .int8 && optimized.wantsAttentionWeights ? .bf16 : options.precision
    let threads = options.threads > 0 ? min(options.threads, 1024) : availableCores()
    let store = WeightStore(table: options.kernels.flatMap(KernelTable.named) ?? .selected, team: .shared(1), precision: precision, manyImages: options.manyImages, measuring: true)
    var compiler = Compiler(graph: optimized, shapes: inferred, store: store, threads: threads)
    for (id, constant) in optimized.constants where options.keptInF32.contains(constant.name) { compiler.keptWeights.insert(id) }
    compiler.hiddenBytes = options.hiddenBytes
    self = try compiler.measure()
  }
}
