// The two matrix products of DenseProducts with every sum in double, for learners that end at a minimum: in f32 the objective and its gradient are known to
// about 1e-7, and where only a weak regularisation bends the objective that is far from the minimum. Rows stay f32; a block of them is widened at a time.
// The order of every sum is fixed, so the number of threads changes no bit. In Swift alone: at the speed of the baseline instructions, which a probe can afford.

public struct DoubleProducts: Sendable {
  public let count: Int
  public let width: Int
  /// X, [n, d].
  private let rows: [Float]
  private let team: ThreadTeam
  private static let rowBlock = 64, columnBlock = 64

  private typealias Lane = SIMD8<Double>

  /// - Parameter values: [n, d], row-major.
  public init(_ values: [Float], width: Int, team: ThreadTeam) {
    precondition(width > 0 && !values.isEmpty && values.count % width == 0)
    self.width = width
    self.team = team
    rows = values
    count = values.count / width
  }

  /// X · Wᵀ + b: [n, C] of W [C, d] and b [C].
  public func scores(weights: ArraySlice<Double>, bias: ArraySlice<Double>) -> [Double] {
    let classes = bias.count, d = width, n = count
    precondition(classes > 0 && weights.count == classes * d)
    // Panels of eight classes: [panel, d] lanes.
    let panels = (classes + 7) / 8
    var packed = [Lane](repeating: .zero, count: panels * d), shifts = [Lane](repeating: .zero, count: panels)
    for c in 0..<classes {
      shifts[c / 8][c % 8] = bias[bias.startIndex + c]
      for k in 0..<d { packed[c / 8 * d + k][c % 8] = weights[weights.startIndex + c * d + k] }
    }
    var out = [Double](repeating: 0, count: n * classes)
    out.withUnsafeMutableBufferPointer { out in
      rows.withUnsafeBufferPointer { x in
        packed.withUnsafeBufferPointer { w in
          let to = Sendables(out.baseAddress!), x = Sendables(UnsafeMutablePointer(mutating: x.baseAddress!)), w = Sendables(UnsafeMutablePointer(mutating: w.baseAddress!))
          team.forEach((n + Self.rowBlock - 1) / Self.rowBlock) { task in
            let first = task * Self.rowBlock, last = min(first + Self.rowBlock, n)
            withUnsafeTemporaryAllocation(of: Double.self, capacity: 2 * d) { wide in
              let one = wide.baseAddress!, two = one + d
              for i in stride(from: first, to: last, by: 2) {
                // The last row of an odd number goes with itself.
                let j = min(i + 1, last - 1)
                for k in 0..<d { one[k] = Double(x.pointer[i &* d &+ k]) }
                for k in 0..<d { two[k] = Double(x.pointer[j &* d &+ k]) }
                for p in 0..<panels {
                  var a = shifts[p], b = a
                  let panel = w.pointer + p * d
                  for k in 0..<d {
                    a += panel[k] * one[k]
                    b += panel[k] * two[k]
                  }
                  for c in 8 * p..<min(8 * p + 8, classes) {
                    to.pointer[i &* classes &+ c] = a[c & 7]
                    to.pointer[j &* classes &+ c] = b[c & 7]
                  }
                }
              }
            }
          }
        }
      }
    }
    return out
  }

  /// Rᵀ · X: [C, d] of R [n, C].
  public func gradient(residuals: [Double], classes: Int) -> [Double] {
    precondition(classes > 0 && residuals.count == count * classes)
    let d = width, n = count
    var out = [Double](repeating: 0, count: classes * d)
    out.withUnsafeMutableBufferPointer { out in
      rows.withUnsafeBufferPointer { x in
        residuals.withUnsafeBufferPointer { r in
          let to = Sendables(out.baseAddress!), x = Sendables(UnsafeMutablePointer(mutating: x.baseAddress!)), r = Sendables(UnsafeMutablePointer(mutating: r.baseAddress!))
          team.forEach((d + Self.columnBlock - 1) / Self.columnBlock) { task in
            let left = task * Self.columnBlock, columns = min(Self.columnBlock, d - left), lanes = (columns + 7) / 8
            withUnsafeTemporaryAllocation(of: Lane.self, capacity: Self.rowBlock * lanes) { wide in
              let block = wide.baseAddress!
              for first in stride(from: 0, to: n, by: Self.rowBlock) {
                let height = min(Self.rowBlock, n - first)
                block.update(repeating: .zero, count: Self.rowBlock * lanes)
                for i in 0..<height {
                  let row = UnsafeMutableRawPointer(block + i * lanes).assumingMemoryBound(to: Double.self)
                  for k in 0..<columns { row[k] = Double(x.pointer[(first &+ i) &* d &+ left &+ k]) }
                }
                for c in 0..<classes {
                  for lane in 0..<lanes {
                    var sum = Lane.zero
                    for i in 0..<height { sum += block[i &* lanes &+ lane] * r.pointer[(first &+ i) &* classes &+ c] }
                    let at = to.pointer + (c * d + left + 8 * lane)
                    for k in 0..<min(8, columns - 8 * lane) { at[k] += sum[k] }
                  }
                }
              }
            }
          }
        }
      }
    }
    return out
  }

  /// X′ᵀ · diag(w) · X′: [d + 1, d + 1] of weights w [n], X′ the rows with a 1 after each.
  public func gram(weights: [Double]) -> [Double] {
    precondition(weights.count == count)
    let d = width, size = d + 1, n = count, step = 16
    var out = [Double](repeating: 0, count: size * size)
    out.withUnsafeMutableBufferPointer { out in
      rows.withUnsafeBufferPointer { x in
        weights.withUnsafeBufferPointer { weights in
          let to = Sendables(out.baseAddress!), x = Sendables(UnsafeMutablePointer(mutating: x.baseAddress!)), w = Sendables(UnsafeMutablePointer(mutating: weights.baseAddress!))
          // A task makes `step` rows of the lower triangle: columns up to its last row, whole lanes.
          team.forEach((size + step - 1) / step) { task in
            let top = task * step, bottom = min(top + step, size), lanes = (bottom + 7) / 8
            withUnsafeTemporaryAllocation(of: Lane.self, capacity: (Self.rowBlock + step) * lanes + Self.rowBlock / 8) { wide in
              let block = wide.baseAddress!, sums = block + Self.rowBlock * lanes
              let scaled = UnsafeMutableRawPointer(sums + step * lanes).assumingMemoryBound(to: Double.self)
              sums.update(repeating: .zero, count: step * lanes)
              block.update(repeating: .zero, count: Self.rowBlock * lanes)
              for first in stride(from: 0, to: n, by: Self.rowBlock) {
                let height = min(Self.rowBlock, n - first)
                for i in 0..<height {
                  let row = UnsafeMutableRawPointer(block + i * lanes).assumingMemoryBound(to: Double.self)
                  for k in 0..<min(bottom, d) { row[k] = Double(x.pointer[(first &+ i) &* d &+ k]) }
                  if bottom > d { row[d] = 1 }
                }
                for r in top..<bottom {
                  for i in 0..<height { scaled[i] = w.pointer[first &+ i] * (r < d ? Double(x.pointer[(first &+ i) &* d &+ r]) : 1) }
                  for lane in 0..<(r + 8) / 8 {
                    var sum = sums[(r &- top) &* lanes &+ lane]
                    for i in 0..<height { sum += block[i &* lanes &+ lane] * scaled[i] }
                    sums[(r &- top) &* lanes &+ lane] = sum
                  }
                }
              }
              for r in top..<bottom {
                let row = UnsafeMutableRawPointer(sums + (r - top) * lanes).assumingMemoryBound(to: Double.self)
                for c in 0...r { to.pointer[r * size + c] = row[c] }
              }
            }
          }
        }
      }
    }
    for r in 0..<size { for c in 0..<r { out[c * size + r] = out[r * size + c] } }
    return out
  }
}
