// A weight as symmetric int8 with one scale for each output channel. The largest value of a channel need not be the end of its scale: cutting it a little can
// lose less than coarser steps would, so a few cuts are tried and the one with the least squared error is taken.

internal import DinoTensor

struct Int8Rows {
  let rows: Int
  let columns: Int
  /// [rows, columns], from -127 to 127.
  private(set) var values: [Int8]
  /// value ≈ int8 · scale, [rows].
  private(set) var scales: [Float]

  /// How much of the largest value stays within the scale.
  private static let cuts: [Float] = [1, 0.97, 0.94, 0.91, 0.88, 0.84, 0.8]

  /// - Parameter outAxis: the axis of `weight` (a matrix) that counts output channels.
  /// Nil where the elements are no numbers, or not finite.
  init?(_ weight: Tensor, outAxis: Int) {
    guard weight.dtype.convertsToFloat else { return nil }
    rows = weight.shape[outAxis]
    columns = weight.shape[1 - outAxis]
    let all = weight.floats()
    values = [Int8](repeating: 0, count: all.count)
    scales = []
    scales.reserveCapacity(rows)
    // A row padded to whole vectors of eight; the padding is zero and costs nothing.
    var row = [SIMD8<Float>](repeating: .zero, count: (columns + 7) / 8)
    for r in 0..<rows {
      let start = outAxis == 0 ? r &* columns : r, step = outAxis == 0 ? 1 : rows
      for c in 0..<columns { row[c / 8][c % 8] = all[start &+ c &* step] }
      guard let largest = Self.largest(row) else { return nil }
      let scale = largest > 0 ? Self.bestScale(row, largest) : 1
      scales.append(scale)
      for c in 0..<columns { values[r &* columns &+ c] = Int8(Self.steps(row[c / 8], scale)[c % 8]) }
    }
  }

  private static func largest(_ row: [SIMD8<Float>]) -> Float? {
    var largest: Float = 0
    for v in row {
      for lane in 0..<8 {
        guard v[lane].isFinite else { return nil }
        largest = max(largest, abs(v[lane]))
      }
    }
    return largest
  }

  private static func bestScale(_ row: [SIMD8<Float>], _ largest: Float) -> Float {
    var best = largest / 127, least = Float.infinity
    for cut in cuts {
      let scale = max(largest * cut / 127, .leastNormalMagnitude)
      var sum = SIMD8<Float>.zero
      for v in row {
        let error = v - steps(v, scale) * scale
        sum += error * error
      }
      let total = sum.sum()
      if total < least { (best, least) = (scale, total) }
    }
    return best
  }

  /// v/scale, rounded to whole steps (ties to even) within ±127.
  @inline(__always)
  private static func steps(_ v: SIMD8<Float>, _ scale: Float) -> SIMD8<Float> {
    // Adding 1.5·2^23 leaves no bits for a fraction: rounding without a call for each lane.
    let big = SIMD8<Float>(repeating: 12_582_912)
    let bounded = (v / scale).clamped(lowerBound: SIMD8(repeating: -127), upperBound: SIMD8(repeating: 127))
    return (bounded + big) - big
  }

  /// [columns, rows]: what MatMul wants.
  func transposedValues() -> [Int8] {
    var flipped = [Int8](repeating: 0, count: values.count)
    for r in 0..<rows { for c in 0..<columns { flipped[c &* rows &+ r] = values[r &* columns &+ c] } }
    return flipped
  }

  /// What the int8 values stand for, [rows, columns].
  func floats() -> [Float] { values.indices.map { Float(values[$0]) * scales[$0 / columns] } }
}
