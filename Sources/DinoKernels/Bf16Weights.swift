// Weights of a linear layer rounded to bfloat16, in the panels that a table's bf16 kernels read.

internal import CDinoKernels
public import DinoTensor

public struct Bf16Weights: Sendable {
  public let panelBytes: Int
  public let panelColumns: Int
  private let panels: Int
  private let storage: Storage
  private let byteOffset: Int

  public var base: UnsafeRawPointer { UnsafeRawPointer(storage.base + byteOffset) }
  public var byteCount: Int { panels * panelBytes }

  /// - Parameter weight: seen as [outFeatures, inFeatures], whatever its element type.
  public init(_ weight: Tensor, outFeatures: Int, table: KernelTable, team: ThreadTeam, pool: inout WeightPool) throws(StorageError) {
    precondition(outFeatures > 0 && weight.count % outFeatures == 0 && weight.dtype.convertsToFloat)
    let depth = weight.count / outFeatures, kernels = table.c.pointee.bf16.pointee
    let bytes = (kernels.panel_bytes(depth) + 63) / 64 * 64
    panelBytes = bytes
    panelColumns = kernels.nr
    panels = (outFeatures + kernels.nr - 1) / kernels.nr
    (storage, byteOffset) = try pool.take(panels * bytes)
    if pool.isMeasuring { return }
    let destination = Sendables((storage.base + byteOffset).assumingMemoryBound(to: UInt8.self))
    team.forEach(panels) { panel in
      let first = panel * kernels.nr, count = min(kernels.nr, outFeatures - first)
      withUnsafeTemporaryAllocation(of: Float.self, capacity: max(count * depth, 1)) { rows in
        weight.convert(range: first * depth..<(first + count) * depth, into: rows.baseAddress!)
        kernels.pack(rows.baseAddress!, depth, count, depth, destination.pointer + panel * bytes)
      }
    }
    weight.releasePages()
  }
}
