// Constants in the form that kernels read, made once and shared by all plans of a session: packed panels for linear layers, plain floats
// for the rest. What is made of a constant goes with the last graph that has it.

import CDinoKernels
import DinoGraph
import DinoKernels
import DinoTensor

/// Floats that live as long as the store or plan that holds them.
final class FloatBlock: @unchecked Sendable {
  let storage: Storage
  let byteOffset: Int
  let count: Int
  var pointer: UnsafeMutablePointer<Float> { (storage.base + byteOffset).assumingMemoryBound(to: Float.self) }

  init(count: Int) throws(StorageError) {
    storage = try Storage(byteCount: max(count, 1) * 4)
    byteOffset = 0
    self.count = count
  }

  /// The tensor's own memory, not a copy: what is written there later is seen here.
  init(viewing tensor: Tensor) {
    precondition(tensor.dtype == .f32 && tensor.storage.kind == .allocated && tensor.byteOffset % 4 == 0)
    storage = tensor.storage
    byteOffset = tensor.byteOffset
    count = tensor.count
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
    var integers: [Key: PackedInt8] = [:]
    /// How many graphs read each storage.
    var readers: [ObjectIdentifier: Int] = [:]
    var pool: WeightPool
    init(measuring: Bool) { pool = WeightPool(measuring: measuring) }

    /// A graph is gone, and what was made of constants that it alone had: an importer makes some for one shape of the inputs.
    func leave(_ storages: [ObjectIdentifier]) {
      var gone: Set<ObjectIdentifier> = []
      for id in storages {
        let left = (readers[id] ?? 1) - 1
        readers[id] = left > 0 ? left : nil
        if left <= 0 { gone.insert(id) }
      }
      if gone.isEmpty { return }
      packed = packed.filter { !gone.contains($0.key.storage) }
      blocks = blocks.filter { !gone.contains($0.key.storage) }
      integers = integers.filter { !gone.contains($0.key.storage) }
    }
  }
  private let shared: Shared
  /// What this graph's keys name stays alive with it: a freed address could be used again.
  private var kept: [ObjectIdentifier: Storage] = [:]
  private var computed: [ValueID: Tensor] = [:]
  /// Constants that were counted.
  private var measured: Set<Key> = []
  /// Low precision is for graphs of families, whose values keep their names: no sharing between graphs.
  private var quantized: [Int8Key: Int8Weights] = [:]
  private var rounded: [ValueID: Bf16Weights] = [:]
  private var balances: [BalanceKey: Balance] = [:]
  let table: KernelTable
  let team: ThreadTeam
  let precision: Precision
  /// How linear layers multiply f32 instead of by its own multiply-adds; nil where they do not.
  let split: dk_f32_split_kernels?
  /// Whether sizes alone are wanted: nothing is read, packed or computed.
  let isMeasuring: Bool
  /// Bytes of plain floats that would have been taken.
  private var measuredFloats = 0

  /// - Parameter manyImages: `SessionOptions.manyImages`.
  init(table: KernelTable, team: ThreadTeam, precision: Precision, manyImages: Bool = false, measuring: Bool = false) {
    split = manyImages && precision == .f32 ? table.c.pointee.split?.pointee : nil
    isMeasuring = measuring
    self.precision = precision
    self.table = table
    self.team = team
    shared = Shared(measuring: measuring)
  }

  /// A store for another graph over the same constants.
  init(sharing other: WeightStore) {
    isMeasuring = other.isMeasuring
    precision = other.precision
    split = other.split
    table = other.table
    team = other.team
    shared = other.shared
  }

  deinit { shared.leave(Array(kept.keys)) }

  /// Gives memory for packed weights that none took back to the system; called when a plan has all of its own.
  func releaseUnused() { shared.pool.releaseEnd() }

  /// What they take of resident memory.
  var residentBytes: Int {
    shared.pool.residentBytes + quantized.values.reduce(0) { $0 + $1.byteCount - $1.packed.byteCount } + shared.blocks.values.reduce(0) { $0 + $1.storage.byteCount } + measuredFloats
  }

  var bytes: Int {
    shared.packed.values.reduce(0) { $0 + $1.byteCount } + shared.integers.values.reduce(0) { $0 + $1.byteCount } + quantized.values.reduce(0) { $0 + $1.byteCount } + rounded.values.reduce(0) { $0 + $1.byteCount }
      + shared.blocks.values.reduce(0) { $0 + $1.storage.byteCount } + measuredFloats
  }

  private func key(_ tensor: Tensor, transposed: Bool = false) -> Key {
    let id = ObjectIdentifier(tensor.storage)
    if kept.updateValue(tensor.storage, forKey: id) == nil { shared.readers[id, default: 0] += 1 }
    return Key(storage: id, offset: tensor.byteOffset, shape: tensor.shape, transposed: transposed)
  }

  func packed(_ tensor: Tensor, outFeatures: Int, transposed: Bool = false) throws(StorageError) -> PackedWeights {
    let key = key(tensor, transposed: transposed)
    if let p = shared.packed[key] { return p }
    let p = try PackedWeights(tensor, outFeatures: outFeatures, transposed: transposed, table: table, split: split, team: team, pool: &shared.pool)
    shared.packed[key] = p
    return p
  }

  /// A matrix of 8-bit integers as it is; unsigned ones less 128.
  /// - Parameter transposed: it lies as [in, out].
  func integers(_ tensor: Tensor, transposed: Bool) throws(StorageError) -> PackedInt8 {
    let key = key(tensor, transposed: transposed)
    if let p = shared.integers[key] { return p }
    let out = tensor.shape[transposed ? 1 : 0], depth = tensor.shape[transposed ? 0 : 1], flip: UInt8 = tensor.dtype == .u8 ? 0x80 : 0
    let bytes = [Int8](unsafeUninitializedCapacity: max(tensor.count, 1)) { target, filled in
      let source = (tensor.storage.base + tensor.byteOffset).assumingMemoryBound(to: UInt8.self)
      for i in 0..<tensor.count { target[i] = Int8(bitPattern: source[i] ^ flip) }
      filled = tensor.count
    }
    let p = try bytes.withUnsafeBufferPointer { b throws(StorageError) in
      try PackedInt8(b.baseAddress!, depth: depth, columns: out, depthStride: transposed ? out : 1, columnStride: transposed ? 1 : depth, table: table, team: team, pool: &shared.pool)
    }
    shared.integers[key] = p
    return p
  }

  /// - Parameters:
  ///   - scales: where the tensor is quantized already.
  ///   - factors: of the input channels; a weight is quantized once for each set of them.
  func int8(_ id: ValueID, _ tensor: Tensor, scales: Tensor?, outFeatures: Int, factors: [Float]?) throws(StorageError) -> Int8Weights {
    let key = Int8Key(id: id, factors: scales == nil ? factors : nil)
    if let w = quantized[key] { return w }
    let w = if let scales { try Int8Weights(quantized: tensor, scales: scales, table: table, team: team, pool: &shared.pool) } else { try Int8Weights(tensor, outFeatures: outFeatures, factors: factors, table: table, team: team, pool: &shared.pool) }
    quantized[key] = w
    return w
  }

  func bf16(_ id: ValueID, _ tensor: Tensor, outFeatures: Int) throws(StorageError) -> Bf16Weights {
    if let w = rounded[id] { return w }
    let w = try Bf16Weights(tensor, outFeatures: outFeatures, table: table, team: team, pool: &shared.pool)
    rounded[id] = w
    return w
  }

  /// A norm's weight and bias, and the factors of its consumers' input channels, with channel outliers folded from the one into the others.
  func balance(weight: ValueID, bias: ValueID, consumers: [ValueID], graph constants: [ValueID: Tensor]) throws(StorageError) -> Balance {
    let key = BalanceKey(weight: weight, bias: bias, consumers: consumers)
    if let b = balances[key] { return b }
    if isMeasuring { return try Balance(ordinary: constants[weight]!.count) }
    let b = try Balance(weight: constants[weight]!.floats(), bias: constants[bias]!.floats(), consumers: consumers.map { constants[$0]! })
    balances[key] = b
    return b
  }

  /// A tensor for its shape alone: large ones are pages that nobody touches.
  func unread(_ shape: Shape) throws(StorageError) -> Tensor {
    let storage = try Storage(byteCount: shape.count * 4)
    return Tensor(dtype: .f32, shape: shape, storage: storage, byteOffset: 0)!
  }

  func floats(_ tensor: Tensor) throws(StorageError) -> FloatBlock {
    let key = key(tensor)
    if let b = shared.blocks[key] { return b }
    if isMeasuring {
      if measured.insert(key).inserted { measuredFloats += tensor.count * 4 }
      return try FloatBlock(count: 1)
    }
    let b = try FloatBlock(tensor)
    shared.blocks[key] = b
    return b
  }

  /// The result of a node whose operands are all constants of the graph, computed when first asked for.
  func folded(_ id: ValueID, shape: Shape, _ compute: () -> Tensor) throws(StorageError) -> Tensor {
    if let t = computed[id] { return t }
    let t = isMeasuring ? try unread(shape) : compute()
    if isMeasuring { measuredFloats += t.byteCount }
    computed[id] = t
    return t
  }
}
