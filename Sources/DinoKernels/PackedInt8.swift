// An int8 matrix in the panels that a table's int8 kernels read: for linear layers with quantized weights, and for integer products of any kind.
// Packed once; the plain values are not kept.

internal import CDinoKernels
public import DinoTensor

public struct PackedInt8: Sendable {
  /// Columns of B.
  public let columns: Int
  public let depth: Int
  public let panelColumns: Int
  public let panelBytes: Int
  private let storage: Storage
  private let byteOffset: Int

  public var panelCount: Int { (columns + panelColumns - 1) / panelColumns }
  public var base: UnsafeRawPointer { UnsafeRawPointer(storage.base + byteOffset) }
  public var byteCount: Int { panelCount * panelBytes }

  /// Packs B, `depth` × `columns`; column j begins at `source + j·columnStride`, its next value is `depthStride` further. Panels are shared out over `team`.
  public init(_ source: UnsafePointer<Int8>, depth: Int, columns: Int, depthStride: Int, columnStride: Int, table: KernelTable, team: ThreadTeam,
              pool: inout WeightPool) throws(StorageError) {
    let bytes = Sendables(UnsafeMutablePointer(mutating: source))
    try self.init(depth: depth, columns: columns, table: table, team: team, pool: &pool) { first, count, panel in
      table.c.pointee.i8.pointee.pack(bytes.pointer + first * columnStride, columnStride, depthStride, count, depth, panel)
    }
  }

  /// The panels as `fill` makes them, given the first column, the number of columns, and where the panel goes. Called from several threads.
  init(depth: Int, columns: Int, table: KernelTable, team: ThreadTeam, pool: inout WeightPool,
       fill: (_ first: Int, _ count: Int, _ panel: UnsafeMutableRawPointer) -> Void) throws(StorageError) {
    let kernels = table.c.pointee.i8.pointee
    self.columns = columns
    self.depth = depth
    panelColumns = kernels.nr
    let bytes = (kernels.panel_bytes(depth) + 63) / 64 * 64
    panelBytes = bytes
    let panels = (columns + kernels.nr - 1) / kernels.nr
    (storage, byteOffset) = try pool.take(max(panels * bytes, 1))
    if pool.isMeasuring { return }
    let destination = Sendables((storage.base + byteOffset).assumingMemoryBound(to: UInt8.self))
    team.forEach(panels) { panel in
      fill(panel * kernels.nr, min(kernels.nr, columns - panel * kernels.nr), UnsafeMutableRawPointer(destination.pointer + panel * bytes))
    }
  }
}
