// Exact products of 8-bit matrices with zero points, for whoever needs the integers themselves: ONNX MatMulInteger, ConvInteger, QLinearMatMul. Signed or unsigned
// on either side, any zero points; sums modulo 2^32, as int32 has them. The same kernels as int8 linear layers. Twin: Reference.int8Product.

internal import CDinoKernels
public import DinoTensor

/// Bytes of a matrix, row-major, read as Int8 or UInt8.
public struct ByteMatrix {
  public var bytes: UnsafeRawPointer
  public var isSigned: Bool
  /// One for all, or one for each row of A (each column of B).
  public var zeroPoints: [Int32]

  public init(_ bytes: UnsafeRawPointer, isSigned: Bool, zeroPoints: [Int32] = [0]) {
    self.bytes = bytes
    self.isSigned = isSigned
    self.zeroPoints = zeroPoints
  }
}

public enum Int8Products {
  /// B ready to be multiplied with, for products that use it more than once.
  public struct Prepared: Sendable {
    public let depth: Int
    public let columns: Int
    let packed: PackedInt8
    /// Of the bytes as signed ones (an unsigned byte less 128).
    let columnSums: [Int32]
    let zeroPoints: [Int32]

    /// - Parameter b: depth × columns.
    public init(_ b: ByteMatrix, depth: Int, columns: Int, table: KernelTable = .selected, team: ThreadTeam) throws(StorageError) {
      precondition(b.zeroPoints.count == 1 || b.zeroPoints.count == columns)
      self.depth = depth
      self.columns = columns
      zeroPoints = b.zeroPoints.map { b.isSigned ? $0 : $0 &- 128 }
      let count = depth * columns
      var sums = [Int32](repeating: 0, count: columns)
      let flip: UInt8 = b.isSigned ? 0 : 0x80
      let signed = [Int8](unsafeUninitializedCapacity: max(count, 1)) { out, filled in
        let source = b.bytes.assumingMemoryBound(to: UInt8.self)
        for p in 0..<depth {
          for j in 0..<columns {
            let value = Int8(bitPattern: source[p * columns + j] ^ flip)
            out[p * columns + j] = value
            sums[j] &+= Int32(value)
          }
        }
        filled = count
      }
      columnSums = sums
      var pool = WeightPool(block: 0)
      packed = try signed.withUnsafeBufferPointer { source throws(StorageError) in
        try PackedInt8(source.baseAddress!, depth: depth, columns: columns, depthStride: columns, columnStride: 1, table: table, team: team, pool: &pool)
      }
    }
  }

  /// c[i, j] = Σ_p (a[i, p] - a's zero point)·(b[p, j] - b's zero point), rows × columns, row-major.
  /// - Parameter a: rows × depth.
  public static func multiply(_ a: ByteMatrix, rows: Int, _ b: Prepared, into c: UnsafeMutablePointer<Int32>, table: KernelTable = .selected, team: ThreadTeam) {
    precondition(a.zeroPoints.count == 1 || a.zeroPoints.count == rows)
    let kernels = table.c.pointee.i8.pointee, depth = b.depth, columns = b.columns
    precondition(b.packed.panelColumns == kernels.nr, "B was prepared for another kernel table")
    if rows == 0 || columns == 0 { return }
    let words = (depth + kernels.depth - 1) / kernels.depth
    let blockRows = 64, blocks = (rows + blockRows - 1) / blockRows
    let source = Sendables(UnsafeMutablePointer(mutating: a.bytes.assumingMemoryBound(to: UInt8.self))), out = Sendables(c)
    let flip: UInt8 = a.isSigned ? 0x80 : 0
    team.forEach(blocks) { block in
      let first = block * blockRows, count = min(blockRows, rows - first)
      var quantized = [Int32](repeating: 0, count: max(count * words, 1)), row = [UInt8](repeating: 0, count: max(depth, 1)), sums = [Int32](repeating: 0, count: count)
      for r in 0..<count {
        for p in 0..<depth {
          row[p] = source.pointer[(first + r) * depth + p] ^ flip
          sums[r] &+= Int32(row[p]) - 128
        }
        quantized.withUnsafeMutableBufferPointer { kernels.words(row, depth, $0.baseAddress! + r * words) }
      }
      for panel in 0..<b.packed.panelCount {
        let column = panel * kernels.nr
        kernels.products(quantized, words, b.packed.base + panel * b.packed.panelBytes, depth, out.pointer + first * columns + column, columns, count,
                         min(kernels.nr, columns - column))
      }
      for r in 0..<count {
        let zero = a.zeroPoints[a.zeroPoints.count == 1 ? 0 : first + r] &- (a.isSigned ? 0 : 128)
        if zero == 0, b.zeroPoints.allSatisfy({ $0 == 0 }) { continue }
        // Σ (a - za)(b - zb) = Σ ab - za Σ b - zb Σ a + depth · za · zb
        let to = out.pointer + (first + r) * columns
        for j in 0..<columns {
          let other = b.zeroPoints[b.zeroPoints.count == 1 ? 0 : j]
          to[j] = to[j] &- zero &* b.columnSums[j] &- other &* sums[r] &+ Int32(truncatingIfNeeded: depth) &* zero &* other
        }
      }
    }
  }

  /// The same in one call.
  public static func multiply(_ a: ByteMatrix, rows: Int, depth: Int, _ b: ByteMatrix, columns: Int, table: KernelTable = .selected, team: ThreadTeam) throws(StorageError) -> [Int32] {
    let prepared = try Prepared(b, depth: depth, columns: columns, table: table, team: team)
    var c = [Int32](repeating: 0, count: rows * columns)
    if !c.isEmpty { c.withUnsafeMutableBufferPointer { multiply(a, rows: rows, prepared, into: $0.baseAddress!, table: table, team: team) } }
    return c
  }
}
