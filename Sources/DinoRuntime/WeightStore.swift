// Constants in the form that kernels read, made once and shared by all plans of a session: packed panels for linear layers, plain floats
// for the rest.

import DinoGraph
import DinoKernels
import DinoTensor

/// Floats that live as long as the store or plan that holds them.
final class FloatBlock: @unchecked Sendable {
  let storage: Storage
  let count: Int
  var pointer: UnsafeMutablePointer<Float> { storage.base.assumingMemoryBound(to: Float.self) }

  init(count: Int) throws(StorageError) {
    storage = try Storage(byteCount: max(count, 1) * 4)
    self.count = count
  }

  convenience init(_ values: [Float]) throws(StorageError) {
    try self.init(count: values.count)
    values.withUnsafeBufferPointer { pointer.update(from: $0.baseAddress!, count: $0.count) }
  }

  convenience init(_ tensor: Tensor) throws(StorageError) {
    try self.init(count: tensor.count)
    tensor.convert(range: 0..<tensor.count, into: pointer)
    tensor.releasePages()
  }
}

/// Guarded by the session's lock.
final class WeightStore {
  private var packed: [ValueID: PackedWeights] = [:]
  private var blocks: [ValueID: FloatBlock] = [:]
  private var computed: [ValueID: Tensor] = [:]
  private var pool = WeightPool()
  let table: KernelTable
  let team: ThreadTeam

  init(table: KernelTable, team: ThreadTeam) {
    self.table = table
    self.team = team
  }

  var bytes: Int { packed.values.reduce(0) { $0 + $1.byteCount } + blocks.values.reduce(0) { $0 + $1.storage.byteCount } }

  func packed(_ id: ValueID, _ tensor: Tensor, outFeatures: Int) throws(StorageError) -> PackedWeights {
    if let p = packed[id] { return p }
    let p = try PackedWeights(tensor, outFeatures: outFeatures, table: table, team: team, pool: &pool)
    packed[id] = p
    return p
  }

  func floats(_ id: ValueID, _ tensor: Tensor) throws(StorageError) -> FloatBlock {
    if let b = blocks[id] { return b }
    let b = try FloatBlock(tensor)
    blocks[id] = b
    return b
  }

  /// The result of a node whose operands are all constants of the graph, computed when first asked for.
  func folded(_ id: ValueID, _ compute: () -> Tensor) -> Tensor {
    if let t = computed[id] { return t }
    let t = compute()
    computed[id] = t
    return t
  }
}
