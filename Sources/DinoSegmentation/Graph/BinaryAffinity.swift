// Which patches are alike: a symmetric matrix of zeros and ones, a bit an entry, made by tiles; and its product with a vector, which looks up sums of
// eight entries at a time. No matrix of floats is ever held: 900 patches take 100 kB, 3600 take 1.6 MB.

internal import DinoKernels

/// B, with B[i,j] = 1 where x_i · x_j > threshold.
public struct BinaryAffinity: Sendable {
  /// Patches, n.
  public let count: Int
  /// Bit b of byte [g · n + i] is B[i, 8g + b].
  private let bits: [UInt8]

  /// - Parameter rows: x, [n, width].
  public init(rows: [Float], width: Int, above threshold: Float, threads: Int = 0) {
    count = rows.count / width
    bits = RowProducts(threads: threads).bits(rows, width: width, above: threshold)
  }

  public subscript(i: Int, j: Int) -> Bool { bits[j / 8 * count + i] >> UInt8(j % 8) & 1 == 1 }

  /// Ones in each row.
  public var degrees: [Int] {
    var sums = [Int](repeating: 0, count: count)
    for g in 0..<(count + 7) / 8 {
      for i in 0..<count { sums[i] += bits[g * count + i].nonzeroBitCount }
    }
    return sums
  }

  /// B·v: for each group of eight columns all 256 sums of its entries of v are made once, then each row adds the one that its byte names.
  public func product(_ v: [Double]) -> [Double] {
    precondition(v.count == count)
    let n = count
    var out = [Double](repeating: 0, count: n)
    var a = InlineArray<256, Double>(repeating: 0), b = a
    let groups = (n + 7) / 8
    var g = 0
    while g < groups {
      fill(&a, v, first: 8 * g)
      fill(&b, v, first: 8 * (g + 1))
      let one = g * n, two = g + 1 < groups ? one + n : one
      if two == one { b = InlineArray(repeating: 0) }
      for i in 0..<n { out[i] += a[Int(bits[one &+ i])] + b[Int(bits[two &+ i])] }
      g += 2
    }
    return out
  }

  /// sums[s] = the sum of the entries v[first + k] for the bits k of s.
  private func fill(_ sums: inout InlineArray<256, Double>, _ v: [Double], first: Int) {
    sums[0] = 0
    var size = 1
    for k in 0..<8 {
      let value = first + k < v.count ? v[first + k] : 0
      for s in 0..<size { sums[size &+ s] = sums[s] + value }
      size *= 2
    }
  }
}
