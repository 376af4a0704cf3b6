// The two matrix products that a linear classifier needs over a fixed table of rows X [n, d]: X · Wᵀ + b, and Rᵀ · X for residuals R [n, C]. The second is
// summed in double over blocks of rows in a fixed order, so the number of threads changes no bit. Not for the runtime's layers.

internal import CDinoKernels
public import DinoTensor

public struct DenseProducts: Sendable {
  public let count: Int
  public let width: Int
  private let rows: Storage
  /// X as the right side of a product: panels of columns, all rows one after the other in each.
  private let panels: Storage
  private let table: KernelTable
  private let team: ThreadTeam
  private static let rowBlock = 512

  /// - Parameter values: [n, d], row-major.
  public init(_ values: [Float], width: Int, table: KernelTable = .selected, team: ThreadTeam) throws(StorageError) {
    precondition(width > 0 && !values.isEmpty && values.count % width == 0)
    self.width = width
    self.table = table
    self.team = team
    let count = values.count / width, columns = table.panelColumns
    self.count = count
    let panelCount = (width + columns - 1) / columns
    rows = try Storage(byteCount: values.count * 4)
    panels = try Storage(byteCount: panelCount * columns * count * 4, zeroed: true)
    values.withUnsafeBytes { rows.base.copyMemory(from: $0.baseAddress!, byteCount: $0.count) }
    let from = Sendables(rows.base.assumingMemoryBound(to: Float.self)), to = Sendables(panels.base.assumingMemoryBound(to: Float.self))
    team.forEach(panelCount) { p in
      let n = min(columns, width - p * columns)
      for i in 0..<count { (to.pointer + (p * count + i) * columns).update(from: from.pointer + i * width + p * columns, count: n) }
    }
  }

  /// X · Wᵀ + b: [n, C] of W [C, d] and b [C].
  public func scores(weights: [Float], bias: [Float]) -> [Float] {
    let classes = bias.count, columns = table.panelColumns
    precondition(classes > 0 && weights.count == classes * width)
    let panelCount = (classes + columns - 1) / columns
    var packed = [Float](repeating: 0, count: panelCount * columns * width)
    var out = [Float](repeating: 0, count: count * classes)
    packed.withUnsafeMutableBufferPointer { packed in
      weights.withUnsafeBufferPointer { w in
        for p in 0..<panelCount {
          table.c.pointee.f32_pack(w.baseAddress! + p * columns * width, width, min(columns, classes - p * columns), width, packed.baseAddress! + p * columns * width)
        }
      }
      out.withUnsafeMutableBufferPointer { out in
        bias.withUnsafeBufferPointer { bias in
          let a = Sendables(rows.base.assumingMemoryBound(to: Float.self)), b = Sendables(packed.baseAddress!), c = Sendables(out.baseAddress!)
          let shift = Sendables(UnsafeMutablePointer(mutating: bias.baseAddress!))
          team.forEach((count + Self.rowBlock - 1) / Self.rowBlock) { task in
            let first = task * Self.rowBlock
            for p in 0..<panelCount {
              var call = dk_f32_gemm_block()
              call.a = UnsafePointer(a.pointer + first * width)
              call.a_row = width
              call.b = UnsafePointer(b.pointer + p * columns * width)
              call.k = width
              call.c = c.pointer + first * classes + p * columns
              call.c_row = classes
              call.bias = UnsafePointer(shift.pointer + p * columns)
              call.activation = Int32(DK_NONE)
              call.rows = min(Self.rowBlock, count - first)
              call.columns = min(columns, classes - p * columns)
              table.c.pointee.f32_gemm(&call)
            }
          }
        }
      }
    }
    return out
  }

  /// Rᵀ · X: [C, d] of R [n, C].
  public func gradient(residuals: [Float], classes: Int) -> [Double] {
    precondition(classes > 0 && residuals.count == count * classes)
    let columns = table.panelColumns, panelCount = (width + columns - 1) / columns
    var turned = [Float](repeating: 0, count: residuals.count)
    for i in 0..<count { for c in 0..<classes { turned[c * count + i] = residuals[i * classes + c] } }
    var out = [Double](repeating: 0, count: classes * width)
    turned.withUnsafeMutableBufferPointer { turned in
      out.withUnsafeMutableBufferPointer { out in
        let a = Sendables(turned.baseAddress!), b = Sendables(panels.base.assumingMemoryBound(to: Float.self)), c = Sendables(out.baseAddress!)
        team.forEach(panelCount) { p in
          let n = min(columns, width - p * columns)
          withUnsafeTemporaryAllocation(of: Float.self, capacity: classes * columns) { part in
            for first in stride(from: 0, to: count, by: Self.rowBlock) {
              var call = dk_f32_gemm_block()
              call.a = UnsafePointer(a.pointer + first)
              call.a_row = count
              call.b = UnsafePointer(b.pointer + (p * count + first) * columns)
              call.k = min(Self.rowBlock, count - first)
              call.c = part.baseAddress!
              call.c_row = columns
              call.activation = Int32(DK_NONE)
              call.rows = classes
              call.columns = n
              table.c.pointee.f32_gemm(&call)
              for k in 0..<classes {
                for j in 0..<n { c.pointer[k * width + p * columns + j] += Double(part[k * columns + j]) }
              }
            }
          }
        }
      }
    }
    return out
  }
}
