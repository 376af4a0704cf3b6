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

private struct Int8Key: Hashable {
  var id: ValueID
  var factors: [Float]?
}

private struct BalanceKey: Hashable {
  var weight: ValueID
  var bias: ValueID
  var consumers: [ValueID]
}

/// Guarded by the session's lock.
final class WeightStore {
  private var packed: [ValueID: PackedWeights] = [:]
  private var blocks: [ValueID: FloatBlock] = [:]
  private var computed: [ValueID: Tensor] = [:]
  private var pool = WeightPool()
  private var quantized: [Int8Key: Int8Weights] = [:]
  private var rounded: [ValueID: Bf16Weights] = [:]
  private var balances: [BalanceKey: Balance] = [:]
  let table: KernelTable
  let team: ThreadTeam
  let precision: Precision

  init(table: KernelTable, team: ThreadTeam, precision: Precision) {
    self.precision = precision
    self.table = table
    self.team = team
  }

  var bytes: Int {
    packed.values.reduce(0) { $0 + $1.byteCount } + quantized.values.reduce(0) { $0 + $1.byteCount } + rounded.values.reduce(0) { $0 + $1.byteCount } + blocks.values.reduce(0) { $0 + $1.storage.byteCount }
  }

  func packed(_ id: ValueID, _ tensor: Tensor, outFeatures: Int) throws(StorageError) -> PackedWeights {
    if let p = packed[id] { return p }
    let p = try PackedWeights(tensor, outFeatures: outFeatures, table: table, team: team, pool: &pool)
    packed[id] = p
    return p
  }

  /// - Parameter factors: of the input channels; a weight is quantized once for each set of them.
  func int8(_ id: ValueID, _ tensor: Tensor, outFeatures: Int, factors: [Float]?) throws(StorageError) -> Int8Weights {
    let key = Int8Key(id: id, factors: factors)
    if let w = quantized[key] { return w }
    let w = try Int8Weights(tensor, outFeatures: outFeatures, factors: factors, table: table, team: team, pool: &pool)
    quantized[key] = w
    return w
  }

  func bf16(_ id: ValueID, _ tensor: Tensor, outFeatures: Int) throws(StorageError) -> Bf16Weights {
    if let w = rounded[id] { return w }
    let w = try Bf16Weights(tensor, outFeatures: outFeatures, table: table, team: team, pool: &pool)
    rounded[id] = w
    return w
  }

  /// A norm's weight and bias, and the factors of its consumers' input channels, with channel outliers folded from the one into the others.
  func balance(weight: ValueID, bias: ValueID, consumers: [ValueID], graph constants: [ValueID: Tensor]) throws(StorageError) -> Balance {
    let key = BalanceKey(weight: weight, bias: bias, consumers: consumers)
    if let b = balances[key] { return b }
    let b = try Balance(weight: constants[weight]!.floats(), bias: constants[bias]!.floats(), consumers: consumers.map { constants[$0]! })
    balances[key] = b
    return b
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
