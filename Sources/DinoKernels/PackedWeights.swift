// Weights of a linear layer in the layout that a kernel table reads: panels of NR output columns, each K × NR. Packed once, from whatever
// element type the file has, straight from the mapped pages; the pages are released behind.

internal import CDinoKernels
public import DinoTensor

public struct PackedWeights: Sendable {
  public let outFeatures: Int
  public let inFeatures: Int
  public let panelColumns: Int
  public let storage: Storage

  public var panelCount: Int { (outFeatures + panelColumns - 1) / panelColumns }
  public var panelFloats: Int { inFeatures * panelColumns }
  public var base: UnsafePointer<Float> { UnsafePointer(storage.base.assumingMemoryBound(to: Float.self)) }

  /// Packs `weight`, seen as [outFeatures, inFeatures], whatever its element type. Panels are shared out over `team`.
  public init(_ weight: Tensor, outFeatures: Int, table: KernelTable, team: ThreadTeam) throws(StorageError) {
    precondition(outFeatures > 0 && weight.count % outFeatures == 0 && weight.dtype.convertsToFloat)
    self.outFeatures = outFeatures
    let inFeatures = weight.count / outFeatures
    self.inFeatures = inFeatures
    let columns = table.panelColumns
    panelColumns = columns
    let panels = (outFeatures + columns - 1) / columns
    storage = try Storage(byteCount: panels * inFeatures * columns * MemoryLayout<Float>.stride)
    let destination = Sendables(storage.base.assumingMemoryBound(to: Float.self))
    let source = weight.storage.base + weight.byteOffset
    let direct = weight.dtype == .f32 && Int(bitPattern: source) % MemoryLayout<Float>.alignment == 0
    let rows = Sendables(source.assumingMemoryBound(to: Float.self))
    team.forEach(panels) { panel in
      let first = panel * columns, count = min(columns, outFeatures - first)
      let out = destination.pointer + panel * columns * inFeatures
      if direct {
        table.c.pointee.f32_pack(rows.pointer + first * inFeatures, inFeatures, count, inFeatures, out)
      } else {
        withUnsafeTemporaryAllocation(of: Float.self, capacity: max(count * inFeatures, 1)) { row in
          weight.convert(range: first * inFeatures..<(first + count) * inFeatures, into: row.baseAddress!)
          table.c.pointee.f32_pack(row.baseAddress!, inFeatures, count, inFeatures, out)
        }
      }
    }
    weight.releasePages()
  }
}

/// A pointer whose users write disjoint parts.
struct Sendables<T>: @unchecked Sendable {
  let pointer: UnsafeMutablePointer<T>
  init(_ pointer: UnsafeMutablePointer<T>) { self.pointer = pointer }
}
