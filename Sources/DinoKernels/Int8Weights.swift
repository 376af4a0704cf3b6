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
    precondition(outFeatures > 0 && weight.count % outFeatures == 0 && weight.dtype.convertsToFloat)
    let depth = weight.count / outFeatures
    precondition(factors == nil || factors!.count == depth)
    let storage = try Storage(byteCount: outFeatures * 4)
    scaleStorage = storage
    let scales = Sendables(storage.base.assumingMemoryBound(to: Float.self))
    let kernels = table.c.pointee.i8.pointee
    packed = try PackedInt8(depth: depth, columns: outFeatures, table: table, team: team, pool: &pool) { first, count, panel in
      withUnsafeTemporaryAllocation(of: Float.self, capacity: max(count * depth, 1)) { rows in
        withUnsafeTemporaryAllocation(of: Int8.self, capacity: max(count * depth, 1)) { bytes in
          weight.convert(range: first * depth..<(first + count) * depth, into: rows.baseAddress!)
          for j in 0..<count {
            let row = rows.baseAddress! + j * depth
            if let factors { for p in 0..<depth { row[p] *= factors[p] } }
            scales.pointer[first + j] = kernels.quantize_weights(row, depth, bytes.baseAddress! + j * depth)
          }
          kernels.pack(bytes.baseAddress!, depth, 1, count, depth, panel)
        }
      }
    }
    weight.releasePages()
  }
}
