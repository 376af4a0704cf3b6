// Products of matrices of 32-bit floats: through the packed SIMD kernels where they are large enough, in plain loops where they are not. The plain loops are also the
// oracle. Which threads take part changes no bit: each panel of columns is computed by one.

import CDinoKernels
import DinoGraph
import DinoKernels
import DinoTensor

enum FloatProduct {
  /// Below this many multiplications packing costs more than it saves.
  private static let smallest = 8192

  /// c[m, n] = a[m, k] · b[k, n], rows `aRow`, `bRow` and `cRow` elements apart.
  static func multiply(_ a: UnsafePointer<Float>, _ aRow: Int, _ b: UnsafePointer<Float>, _ bRow: Int, into c: UnsafeMutablePointer<Float>, _ cRow: Int, m: Int, k: Int, n: Int,
                       _ context: OperatorContext) throws(GenericProblem) {
    guard m > 0, n > 0 else { return }
    guard k > 0 else {
      for i in 0..<m { for j in 0..<n { c[i * cRow + j] = 0 } }
      return
    }
    if m * k * n < smallest { return plain(a, aRow, b, bRow, into: c, cRow, m: m, k: k, n: n) }
    let nr = context.table.panelColumns, panels = (n + nr - 1) / nr
    let packed = try scratch(panels * nr * k)
    let memory = packed.storage.base.assumingMemoryBound(to: Float.self)
    let places = Places(a: a, b: b, c: c, packed: memory)
    context.team.forEach(panels) { panel in
      let first = panel * nr, columns = min(nr, n - first), out = places.packed + panel * nr * k
      for row in 0..<k {
        (out + row * nr).update(from: places.b + row * bRow + first, count: columns)
        if columns < nr { (out + row * nr + columns).update(repeating: 0, count: nr - columns) }
      }
      panelProduct(places.a, aRow, out, k: k, into: places.c + first, cRow, rows: m, columns: columns, context)
    }
    withExtendedLifetime(packed) {}
  }

  /// Rows of a against one packed panel.
  @inline(__always)
  static func panelProduct(_ a: UnsafePointer<Float>, _ aRow: Int, _ panel: UnsafePointer<Float>, k: Int, into c: UnsafeMutablePointer<Float>, _ cRow: Int, rows: Int, columns: Int,
                           _ context: OperatorContext) {
    var block = dk_f32_gemm_block(a: a, a_row: aRow, b: panel, k: k, c: c, c_row: cRow, bias: nil, scale: nil, residual: nil, residual_row: 0, activation: Int32(DK_NONE), rows: rows,
                                  columns: columns, prefetch: nil, prefetch_bytes: 0)
    context.table.c.pointee.f32_gemm(&block)
  }

  /// The same in plain loops, sums in F32 row by row.
  static func plain(_ a: UnsafePointer<Float>, _ aRow: Int, _ b: UnsafePointer<Float>, _ bRow: Int, into c: UnsafeMutablePointer<Float>, _ cRow: Int, m: Int, k: Int, n: Int) {
    for i in 0..<m {
      let out = c + i * cRow
      for j in 0..<n { out[j] = 0 }
      for l in 0..<k {
        let factor = a[i * aRow + l], row = b + l * bRow
        for j in 0..<n { out[j] += factor * row[j] }
      }
    }
  }

  static func scratch(_ floats: Int) throws(GenericProblem) -> Tensor { try Tensor.result(.f32, [floats]) }

  /// Pointers whose users write disjoint parts.
  struct Places: @unchecked Sendable {
    let a: UnsafePointer<Float>
    let b: UnsafePointer<Float>
    let c: UnsafeMutablePointer<Float>
    let packed: UnsafeMutablePointer<Float>
  }
}
