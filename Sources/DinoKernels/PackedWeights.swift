// Weights of a linear layer in the layout that a kernel table reads: panels of NR output columns, each K × NR, or of split values. Packed once,
// from whatever element type the file has, straight from the mapped pages; the pages are released behind.

public import CDinoKernels
public import DinoTensor

/// Packed panels as a product reads them, wherever they lie.
public struct WeightPanels: @unchecked Sendable {
  public var base: UnsafePointer<Float>
  public var outFeatures: Int
  public var inFeatures: Int
  public var panelColumns: Int
  public var panelCount: Int { (outFeatures + panelColumns - 1) / panelColumns }
  public var panelFloats: Int { inFeatures * panelColumns }
  public init(base: UnsafePointer<Float>, outFeatures: Int, inFeatures: Int, panelColumns: Int) {
    self.base = base
    self.outFeatures = outFeatures
    self.inFeatures = inFeatures
    self.panelColumns = panelColumns
  }
}

public struct PackedWeights: Sendable {
  public let outFeatures: Int
  public let inFeatures: Int
  public let panelColumns: Int
  /// Floats from panel to panel.
  public let panelFloats: Int
  private let storage: Storage
  private let byteOffset: Int

  public var panelCount: Int { (outFeatures + panelColumns - 1) / panelColumns }
  public var base: UnsafePointer<Float> { UnsafePointer((storage.base + byteOffset).assumingMemoryBound(to: Float.self)) }
  /// Of weights that are packed plainly, without `split`.
  public var panels: WeightPanels { WeightPanels(base: base, outFeatures: outFeatures, inFeatures: inFeatures, panelColumns: panelColumns) }
  public var byteCount: Int { panelCount * panelFloats * MemoryLayout<Float>.stride }

  /// Packs `weight`, seen as [outFeatures, inFeatures] (or [inFeatures, outFeatures] where `transposed`), whatever its element type. Panels are shared
  /// out over `team`.
  /// - Parameter split: the kernels that split values, where those are wanted.
  public init(_ weight: Tensor, outFeatures: Int, transposed: Bool = false, table: KernelTable, split: dk_f32_split_kernels? = nil, team: ThreadTeam, pool: inout WeightPool) throws(StorageError) {
    precondition(outFeatures > 0 && weight.count % outFeatures == 0 && weight.dtype.convertsToFloat)
    self.outFeatures = outFeatures
    let inFeatures = weight.count / outFeatures
    self.inFeatures = inFeatures
    let columns = table.panelColumns
    panelColumns = columns
    let panels = (outFeatures + columns - 1) / columns, panelFloats = split.map { ($0.panel_bytes(inFeatures) + 63) / 64 * 16 } ?? inFeatures * columns
    self.panelFloats = panelFloats
    (storage, byteOffset) = try pool.take(panels * panelFloats * MemoryLayout<Float>.stride)
    if pool.isMeasuring { return }
    let destination = Sendables((storage.base + byteOffset).assumingMemoryBound(to: Float.self))
    weight.storage.reading { start in
      let source = start + weight.byteOffset, rows = Sendables(source.assumingMemoryBound(to: Float.self))
      let direct = weight.dtype == .f32 && Int(bitPattern: source) % MemoryLayout<Float>.alignment == 0

      /// A plain panel of `count` columns from output `first` on.
      func pack(_ first: Int, _ count: Int, _ out: UnsafeMutablePointer<Float>) {
        if transposed {
          // A row of a panel is a piece of a row of the weight.
          for k in 0..<inFeatures {
            let row = out + k * columns
            if direct { row.update(from: rows.pointer + k * outFeatures + first, count: count) } else {
              weight.convert(range: k * outFeatures + first..<k * outFeatures + first + count, into: row)
            }
            if count < columns { (row + count).update(repeating: 0, count: columns - count) }
          }
          return
        }
        if direct {
          table.c.pointee.f32_pack(rows.pointer + first * inFeatures, inFeatures, count, inFeatures, out)
        } else {
          withUnsafeTemporaryAllocation(of: Float.self, capacity: max(count * inFeatures, 1)) { row in
            weight.convert(range: first * inFeatures..<(first + count) * inFeatures, into: row.baseAddress!)
            table.c.pointee.f32_pack(row.baseAddress!, inFeatures, count, inFeatures, out)
          }
        }
      }

      team.forEach(panels) { panel in
        let first = panel * columns, count = min(columns, outFeatures - first), out = destination.pointer + panel * panelFloats
        guard let split else { return pack(first, count, out) }
        withUnsafeTemporaryAllocation(of: Float.self, capacity: inFeatures * columns) { plain in
          pack(first, count, plain.baseAddress!)
          split.pack(plain.baseAddress!, columns, count, inFeatures, out)
        }
      }
    }
    weight.releasePages()
  }
}

/// Memory for packed weights, taken in order from large blocks: huge pages without a half-empty one behind every layer.
public struct WeightPool {
  private let block: Int
  private var storage: Storage?
  /// Bytes of the current block, and those of it that are taken.
  private var size = 0, used = 0
  /// Resident memory of the blocks before the current one.
  private var closed = 0
  /// Whether sizes alone are wanted: no memory is taken, and what is packed from this pool must not be read.
  public let isMeasuring: Bool

  /// - Parameter block: bytes that are asked for at once; 0 gives every matrix its own memory.
  public init(block: Int = 16 << 20, measuring: Bool = false) {
    self.block = block
    isMeasuring = measuring
  }

  /// What the blocks take of resident memory once `releaseEnd` was called: before, a huge page that is begun is taken whole. The same whether measuring or not.
  public var residentBytes: Int { closed + used }

  /// Gives what the current block has beyond its last matrix back to the system; a later one may still go there.
  public func releaseEnd() { storage?.releaseEnd(from: used) }

  mutating func take(_ bytes: Int) throws(StorageError) -> (Storage, Int) {
    let wanted = (bytes + 63) / 64 * 64
    if used + wanted <= size, let storage {
      defer { used += wanted }
      return (storage, isMeasuring ? 0 : used)
    }
    let fresh = try Storage(byteCount: isMeasuring ? 0 : max(wanted, block))
    // What is left of a block stays unused; a layer larger than a block gets its own, and the old one goes on.
    if wanted >= block {
      closed += Storage.residentBytes(wanted)
      return (fresh, 0)
    }
    closed = residentBytes
    releaseEnd()
    (storage, size, used) = (fresh, block, wanted)
    return (fresh, 0)
  }
}

/// A pointer whose users write disjoint parts.
struct Sendables<T>: @unchecked Sendable {
  let pointer: UnsafeMutablePointer<T>
  init(_ pointer: UnsafeMutablePointer<T>) { self.pointer = pointer }
}
