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
  /// The bytes that a constant is: graphs made of one file for several shapes share what is packed of it.
  private struct Key: Hashable {
    var storage: ObjectIdentifier
    var offset: Int
    var shape: Shape
    var transposed: Bool
  }
  private final class Shared {
    var packed: [Key: PackedWeights] = [:]
    var blocks: [Key: FloatBlock] = [:]
    /// What the keys name stays alive: a freed address could be used again.
    var kept: [ObjectIdentifier: Storage] = [:]
    var pool = WeightPool()
  }
  private let shared: Shared
  private var computed: [ValueID: Tensor] = [:]
  let table: KernelTable
  let team: ThreadTeam

  init(table: KernelTable, team: ThreadTeam) {
    self.table = table
    self.team = team
    shared = Shared()
  }

  /// A store for another graph over the same constants.
  init(sharing other: WeightStore) {
    table = other.table
    team = other.team
    shared = other.shared
  }

  var bytes: Int { shared.packed.values.reduce(0) { $0 + $1.byteCount } + shared.blocks.values.reduce(0) { $0 + $1.storage.byteCount } }

  private func key(_ tensor: Tensor, transposed: Bool = false) -> Key {
    let id = ObjectIdentifier(tensor.storage)
    shared.kept[id] = tensor.storage
    return Key(storage: id, offset: tensor.byteOffset, shape: tensor.shape, transposed: transposed)
  }

  func packed(_ tensor: Tensor, outFeatures: Int, transposed: Bool = false) throws(StorageError) -> PackedWeights {
    let key = key(tensor, transposed: transposed)
    if let p = shared.packed[key] { return p }
    let p = try PackedWeights(tensor, outFeatures: outFeatures, transposed: transposed, table: table, team: team, pool: &shared.pool)
    shared.packed[key] = p
    return p
  }

  func floats(_ tensor: Tensor) throws(StorageError) -> FloatBlock {
    let key = key(tensor)
    if let b = shared.blocks[key] { return b }
    let b = try FloatBlock(tensor)
    shared.blocks[key] = b
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
