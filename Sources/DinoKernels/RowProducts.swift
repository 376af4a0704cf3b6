// Products of rows with rows, X·Yᵀ, by the runtime's matrix kernel, for what is done with features after the network: all similarities as floats, or of each
// pair only whether it is above a threshold, a bit a pair. The second never holds more floats than one tile a thread.

internal import CDinoKernels

/// X·Yᵀ. Sums run over the width in the kernel's order, so a pair gives the same number wherever it stands.
public struct RowProducts: Sendable {
  /// Rows of X that one thread takes at a time.
  private static let block = 64

  private let table: KernelTable
  private let team: ThreadTeam

  /// - Parameter threads: 0 for the cores that this process may use.
  public init(threads: Int = 0, table: KernelTable = .selected) {
    self.table = table
    team = ThreadTeam.shared(threads > 0 ? threads : availableCores())
  }

  /// x [m, width], y [n, width] → [m, n].
  public func all(_ x: [Float], _ y: [Float], width: Int) -> [Float] {
    precondition(width > 0 && x.count % width == 0 && y.count % width == 0)
    let m = x.count / width, n = y.count / width
    if m == 0 || n == 0 { return [] }
    return [Float](unsafeUninitializedCapacity: m * n) { out, count in
      let target = Sendables(out.baseAddress!)
      tiles(x, y, width: width) { first, rows, column, columns, tile, stride in
        for r in 0..<rows { (target.pointer + (first + r) * n + column).update(from: tile + r * stride, count: columns) }
      }
      count = m * n
    }
  }

  /// x [n, width] → for every pair of rows whether their product is above `threshold`: bit b of byte [g · n + i] is that of row i with row 8g + b.
  public func bits(_ x: [Float], width: Int, above threshold: Float) -> [UInt8] {
    precondition(width > 0 && x.count % width == 0)
    let n = x.count / width, groups = (n + 7) / 8
    if n == 0 { return [] }
    return [UInt8](unsafeUninitializedCapacity: groups * n) { out, count in
      out.initialize(repeating: 0)
      let target = Sendables(out.baseAddress!)
      tiles(x, x, width: width) { first, rows, column, columns, tile, stride in
        // A row's bytes are its thread's alone: panels of one block of rows run on one thread.
        for r in 0..<rows {
          let row = tile + r * stride
          for c in 0..<columns where row[c] > threshold {
            target.pointer[(column + c) / 8 * n + first + r] |= 1 << UInt8((column + c) % 8)
          }
        }
      }
      count = groups * n
    }
  }

  /// Calls `use` with each tile of X·Yᵀ: its first row and number of rows, first column and number of columns, and the values.
  private func tiles(_ x: [Float], _ y: [Float], width: Int, _ use: (Int, Int, Int, Int, UnsafePointer<Float>, Int) -> Void) {
    let m = x.count / width, n = y.count / width, nr = table.panelColumns, panels = (n + nr - 1) / nr
    let blocks = (m + Self.block - 1) / Self.block
    let packed = UnsafeMutablePointer<Float>.allocate(capacity: panels * nr * width)
    defer { packed.deallocate() }
    let panelStart = Sendables(packed)
    x.withUnsafeBufferPointer { x in
      y.withUnsafeBufferPointer { y in
        team.forEach(panels) { p in
          table.c.pointee.f32_pack(y.baseAddress! + p * nr * width, width, min(nr, n - p * nr), width, panelStart.pointer + p * nr * width)
        }
        team.forEach(blocks) { b in
          let first = b * Self.block, rows = min(Self.block, m - first)
          withUnsafeTemporaryAllocation(byteCount: Self.block * nr * 4, alignment: 64) { raw in
            let tile = raw.baseAddress!.assumingMemoryBound(to: Float.self)
            for p in 0..<panels {
              let columns = min(nr, n - p * nr)
              var args = dk_f32_gemm_block(
                a: x.baseAddress! + first * width, a_row: width, b: panelStart.pointer + p * nr * width, k: width, c: tile, c_row: nr, bias: nil, scale: nil,
                residual: nil, residual_row: 0, activation: 0, rows: rows, columns: columns, prefetch: nil, prefetch_bytes: 0)
              table.c.pointee.f32_gemm(&args)
              use(first, rows, p * nr, columns, tile, nr)
            }
          }
        }
      }
    }
  }
}
