// Extremes and a sample of the elements of one value over several runs, and the range for quantizing it that loses least. Memory is bounded: the sample is
// thinned as it grows. Nothing is random: the same runs in the same order give the same answer.

/// What the elements of a value are like.
public struct ValueStatistics: Sendable {
  public private(set) var minimum = Float.infinity
  public private(set) var maximum = -Float.infinity
  public private(set) var isFinite = true
  /// Elements at regular distances.
  private(set) var sample: [Float] = []
  /// Each how-many-th element is kept.
  private var distance = 1
  private var position = 0

  /// Elements kept at most; beyond that one in seven stays, which walks through all columns of widths that seven does not divide.
  static let sampleLimit = 1 << 18

  public init() {}

  public mutating func add(_ values: [Float]) {
    for v in values {
      if v < minimum { minimum = v }
      if v > maximum { maximum = v }
      if !v.isFinite { isFinite = false }
    }
    var i = position
    while i < values.count {
      sample.append(values[i])
      i += distance
    }
    position = i - values.count
    while sample.count > Self.sampleLimit {
      sample = stride(from: 0, to: sample.count, by: 7).map { sample[$0] }
      distance *= 7
    }
  }

  /// The range for so many equal steps, zero among them, that gives the least squared error on the sample: values beyond it are cut off, values within it get
  /// finer steps. Nil where nothing finite was seen.
  public func bestRange(steps: Int = 255) -> ClosedRange<Float>? {
    guard isFinite, minimum <= maximum else { return nil }
    var range = min(minimum, 0)...max(maximum, 0)
    guard range.lowerBound < range.upperBound else { return range }
    // Both ends are moved in turn, each to where it is best with the other held. Two rounds: a third changes nothing that matters.
    for _ in 0..<2 {
      let lower = Self.fractions.map { range.lowerBound * $0 ... range.upperBound }
      range = best(of: lower, steps) ?? range
      let upper = Self.fractions.map { range.lowerBound ... range.upperBound * $0 }
      range = best(of: upper, steps) ?? range
    }
    return range
  }

  /// What an end may shrink to.
  private static let fractions: [Float] = [1, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.65, 0.6, 0.5, 0.4, 0.3]

  private func best(of ranges: [ClosedRange<Float>], _ steps: Int) -> ClosedRange<Float>? {
    ranges.map { (range: $0, error: error($0, steps)) }.min { $0.error < $1.error }?.range
  }

  /// Squared error of the sample in a range.
  private func error(_ range: ClosedRange<Float>, _ steps: Int) -> Double {
    let step = (range.upperBound - range.lowerBound) / Float(steps)
    guard step > 0 else { return .infinity }
    // Adding and taking away 1.5·2^23 rounds to a whole number.
    let inverse = 1 / step, big: Float = 12_582_912
    var sum: Double = 0
    for v in sample {
      let bounded = min(max(v, range.lowerBound), range.upperBound)
      let rounded = ((bounded * inverse + big) - big) * step
      sum += Double((v - rounded) * (v - rounded))
    }
    return sum
  }
}
