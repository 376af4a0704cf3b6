// Weights of a linear layer as int8: symmetric, a scale for each output channel, the range of each channel searched for the least squared error. Made from whatever
// element type the file has; nothing is needed but the weights.

internal import CDinoKernels
public import DinoTensor

public struct Int8Weights: Sendable {
  public let packed: PackedInt8
  /// One for each output channel.
  private let scaleStorage: Storage

  public var scales: UnsafePointer<Float> { UnsafePointer(scaleStorage.base.assumingMemoryBound(to: Float.self)) }
  public var byteCount: Int { packed.byteCount + scaleStorage.byteCount }

  /// - Parameters:
  ///   - weight: seen as [outFeatures, inFeatures].
  ///   - factors: what each input channel's weights are multiplied with first, where the layer before divides by the same.
  public init(_ weight: Tensor, outFeatures: Int, factors: [Float]? = nil, table: KernelTable, team: ThreadTeam, pool: inout WeightPool) throws(StorageError) {
    precondition(outFeatures > 0 && weight.count % outFeatures == 0)
    let depth = weight.count / outFeatures
    let storage = try Storage(byteCount: outFeatures * 4)
    scaleStorage = storage
    let scales = Sendables(storage.base.assumingMemoryBound(to: Float.self))
    let kernels = table.c.pointee.i8.pointee
    packed = try PackedInt8(depth: depth, columns: outFeatures, table: table, team: team, pool: &pool) { first, count, panel in
      withUnsafeTemporaryAllocation(of: Int8.self, capacity: max(count * depth, 1)) { bytes in
        Self.quantize(weight, rows: first..<first + count, depth: depth, factors: factors, table: table, bytes.baseAddress!, scales.pointer + first)
        kernels.pack(bytes.baseAddress!, depth, 1, count, depth, panel)
      }
    }
    if !pool.isMeasuring { weight.releasePages() }
  }

  /// Weights that are integers already, straight from where they lie (a mapped file): no copy but the packed one is made.
  /// - Parameters:
  ///   - bytes: I8, its first axis the output channels.
  ///   - scales: of the output channels.
  public init(quantized bytes: Tensor, scales: Tensor, table: KernelTable, team: ThreadTeam, pool: inout WeightPool) throws(StorageError) {
    let columns = scales.count
    precondition(bytes.dtype == .i8 && columns > 0 && bytes.count % columns == 0)
    let depth = bytes.count / columns
    scaleStorage = try Storage(byteCount: columns * 4)
    if !pool.isMeasuring { scales.convert(range: 0..<columns, into: scaleStorage.base.assumingMemoryBound(to: Float.self)) }
    let source = (bytes.storage.base + bytes.byteOffset).assumingMemoryBound(to: Int8.self)
    packed = try PackedInt8(source, depth: depth, columns: columns, depthStride: 1, columnStride: depth, table: table, team: team, pool: &pool)
    bytes.releasePages()
  }

  /// The same integers and scales as layers would be packed from, as tensors: I8 of the weight's shape, F32 [outFeatures].
  public static func rounded(_ weight: Tensor, factors: [Float]? = nil, table: KernelTable = .selected, team: ThreadTeam) throws -> (values: Tensor, scales: Tensor) {
    let out = weight.shape[0], depth = weight.count / max(out, 1)
    let values = try Tensor(dtype: .i8, shape: weight.shape) { _ in }, scales = try Tensor(dtype: .f32, shape: [out]) { _ in }
    let bytes = Sendables(values.storage.base.assumingMemoryBound(to: Int8.self)), factorsOf = Sendables(scales.storage.base.assumingMemoryBound(to: Float.self))
    team.forEach(out) { row in
      quantize(weight, rows: row..<row + 1, depth: depth, factors: factors, table: table, bytes.pointer + row * depth, factorsOf.pointer + row)
    }
    weight.releasePages()
    return (values, scales)
  }

  private static func quantize(_ weight: Tensor, rows: Range<Int>, depth: Int, factors: [Float]?, table: KernelTable, _ bytes: UnsafeMutablePointer<Int8>,
                               _ scales: UnsafeMutablePointer<Float>) {
    precondition(weight.dtype.convertsToFloat && (factors == nil || factors!.count == depth))
    withUnsafeTemporaryAllocation(of: Float.self, capacity: max(rows.count * depth, 1)) { floats in
      weight.convert(range: rows.lowerBound * depth..<rows.upperBound * depth, into: floats.baseAddress!)
      for j in 0..<rows.count {
        let row = floats.baseAddress! + j * depth
        if let factors { for p in 0..<depth { row[p] *= factors[p] } }
        scales[j] = table.c.pointee.i8.pointee.quantize_weights(row, depth, bytes + j * depth)
      }
    }
  }
}
