// The product of integer matrices that MatMulInteger, ConvInteger, QLinearMatMul, QLinearConv and their like share. Exact modulo 2^32, as ONNX's Int32
// accumulator is. Zero points, scales and rounding are the callers' matter.

import DinoKernels

enum IntegerProduct {
  /// `c[i, j]` = sum over `l` of `a[i, l] · b[l, j]`, all row-major; values are already shifted by their zero points. Sums wrap.
  static func multiply(_ a: UnsafePointer<Int16>, _ b: UnsafePointer<Int16>, into c: UnsafeMutablePointer<Int32>, rows m: Int, depth k: Int, columns n: Int,
                       _ context: OperatorContext) {
    guard m > 0, n > 0 else { return }
    // Rows are independent; each stretch of them is worth waking a thread for.
    let work = max(Double(n) * Double(max(k, 1)), 1), stretch = max(8, Int(min(Double(m), Double(1 << 20) / work)))
    if context.team.count == 1 || m <= stretch { return rows(a, b, into: c, rows: m, depth: k, columns: n) }
    context.team.forEach((m + stretch - 1) / stretch) { task in
      let first = task * stretch
      rows(a + first * k, b, into: c + first * n, rows: min(stretch, m - first), depth: k, columns: n)
    }
  }

  private static func rows(_ a: UnsafePointer<Int16>, _ b: UnsafePointer<Int16>, into c: UnsafeMutablePointer<Int32>, rows m: Int, depth k: Int, columns n: Int) {
    // Panels keep the rows of `b` that are being read, and the row of `c`, in the first caches.
    let depthPanel = 256, columnPanel = 512
    c.initialize(repeating: 0, count: m * n)
    for j0 in stride(from: 0, to: n, by: columnPanel) {
      let width = min(columnPanel, n - j0)
      for l0 in stride(from: 0, to: k, by: depthPanel) {
        let l1 = min(k, l0 + depthPanel)
        for i in 0..<m {
          let row = a + i * k
          let out = c + i * n + j0
          var l = l0
          // Four rows of `b` for each pass over the row of `c`: a quarter of the loads and stores of `c`.
          while l + 4 <= l1 {
            let a0 = Int32(row[l]), a1 = Int32(row[l + 1]), a2 = Int32(row[l + 2]), a3 = Int32(row[l + 3])
            let b0 = b + l * n + j0, b1 = b0 + n, b2 = b1 + n, b3 = b2 + n
            for j in 0..<width {
              let s0 = (a0 &* Int32(b0[j])) &+ (a1 &* Int32(b1[j]))
              let s1 = (a2 &* Int32(b2[j])) &+ (a3 &* Int32(b3[j]))
              out[j] = out[j] &+ (s0 &+ s1)
            }
            l += 4
          }
          while l < l1 {
            let factor = Int32(row[l])
            let values = b + l * n + j0
            for j in 0..<width { out[j] = out[j] &+ (factor &* Int32(values[j])) }
            l += 1
          }
        }
      }
    }
  }
}
