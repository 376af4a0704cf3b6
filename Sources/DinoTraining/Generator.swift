// The random numbers of training: SplitMix64, one stream for each purpose and position, so that no state has to be kept to go on where a run was stopped, and
// the order in which threads ask changes nothing.

public struct Generator: RandomNumberGenerator, Sendable {
  private var state: UInt64

  /// - Parameter keys: what the stream is for: purpose, epoch, position.
  public init(seed: UInt64, _ keys: Int...) {
    state = Self.mix(seed &+ 0x9E37_79B9_7F4A_7C15)
    for key in keys { state = Self.mix(state ^ Self.mix(UInt64(bitPattern: Int64(key)) &+ 0x9E37_79B9_7F4A_7C15)) }
  }

  private static func mix(_ x: UInt64) -> UInt64 {
    var z = x
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }

  public mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    return Self.mix(state)
  }

  /// In [0, 1), 53 bits.
  public mutating func unit() -> Double { Double(next() >> 11) * 0x1p-53 }

  public mutating func uniform(_ low: Double, _ high: Double) -> Double { low + (high - low) * unit() }

  /// Below `count`.
  public mutating func index(_ count: Int) -> Int { min(Int(unit() * Double(count)), count - 1) }

  /// 0 ..< count in random order.
  public mutating func permutation(_ count: Int) -> [Int] {
    var order = Array(0..<count)
    for i in stride(from: count - 1, to: 0, by: -1) { order.swapAt(i, index(i + 1)) }
    return order
  }

  /// What the first key of a stream means.
  public enum Purpose: Int, Sendable { case order, crops, dropPath, maskedPatches }
}
