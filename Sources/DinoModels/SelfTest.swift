// A file's own check: an input made from a seed by a fixed formula, and what the network must give on it (`dino.self_test`). Running the network is
// the caller's business.

public import DinoTensor

public enum SelfTest {
  /// The increment of SplitMix64.
  static let golden: UInt64 = 0x9E37_79B9_7F4A_7C15

  /// SplitMix64's finalizer.
  @inline(__always)
  static func mix(_ x: UInt64) -> UInt64 {
    var z = x
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }

  /// The input's values: element i, row-major over [channels, height, width], is mix(seed·G + (i+1)·G) in wrapping 64-bit arithmetic, its upper 24 bits
  /// over 2^24, times 2, minus 1. In [-1, 1); exact in 32-bit floats, so equal everywhere.
  public static func values(seed: UInt64, count: Int) -> [Float] {
    let start = seed &* golden
    return (0..<count).map { i in
      Float(mix(start &+ UInt64(i + 1) &* golden) >> 40) / 16_777_216 * 2 - 1
    }
  }

  /// The input as a tensor [1, channels, height, width].
  public static func input(seed: UInt64, height: Int, width: Int, channels: Int = 3) -> Tensor {
    Tensor(values(seed: seed, count: channels * height * width), shape: [1, channels, height, width])
  }

  /// The sizes that a file is checked at: its native size, and one with fewer rows than columns, for which positions are resampled.
  public static func sizes(for config: ViTConfig) -> [(height: Int, width: Int)] {
    let p = config.patchSize, rows = config.nativeRows, columns = config.nativeColumns
    return [(rows * p, columns * p), (max(1, rows * 2 / 3) * p, (columns + 1) * p)]
  }

  /// How many values of the class token are kept.
  public static let keptValues = 16

  /// One entry of the record.
  public struct Entry: Sendable, Hashable, Codable {
    public var version: Int
    public var seed: Int
    public var height: Int
    public var width: Int
    /// The first values of `cls`.
    public var cls: [Float]
    /// Euclidean length of `cls`.
    public var norm: Float
    /// The largest difference that is accepted, by precision ("f32"): absolute for the values, relative for the length.
    public var tolerance: [String: Double]

    /// An entry from what the network gave.
    public init(seed: Int, height: Int, width: Int, cls: [Float], tolerance: [String: Double] = ["f32": 1e-3]) {
      version = 1
      self.seed = seed
      self.height = height
      self.width = width
      self.cls = Array(cls.prefix(SelfTest.keptValues))
      norm = SelfTest.norm(cls)
      self.tolerance = tolerance
    }

    /// Compares what the network gives now, the whole of `cls`, with the entry.
    public func compare(_ found: [Float], precision: String) -> Comparison {
      var worst: Double = found.count < cls.count ? .infinity : 0
      for (a, b) in zip(found, cls) {
        let d = Double(abs(a - b))
        if !(d <= worst) { worst = d.isNaN ? .infinity : d }
      }
      let length = Double(SelfTest.norm(found)), expected = Double(norm)
      let relative = expected > 0 ? abs(length - expected) / expected : abs(length - expected)
      return Comparison(maxAbsoluteDifference: worst, relativeNormDifference: relative.isNaN ? .infinity : relative,
                        tolerance: tolerance[precision])
    }

    /// Limits: an input of at most 2^26 values for 3 channels, finite values.
    public func validate() throws(ModelError) {
      guard version == 1 else { throw .invalid(key: "self_test.version", reason: "version \(version) is not known; 1 is") }
      guard seed >= 0 else { throw .invalid(key: "self_test.seed", reason: "it must not be negative, not \(seed)") }
      guard (1...8192).contains(height), (1...8192).contains(width), height * width <= 1 << 24 else {
        throw .invalid(key: "self_test.height", reason: "\(height)x\(width) is not a size that is run")
      }
      guard !cls.isEmpty, cls.count <= 65536, cls.allSatisfy(\.isFinite), norm.isFinite, norm >= 0 else {
        throw .invalid(key: "self_test.cls", reason: "its values must be finite numbers")
      }
      guard tolerance.values.allSatisfy({ $0.isFinite && $0 >= 0 }) else {
        throw .invalid(key: "self_test.tolerance", reason: "tolerances must be finite and not negative")
      }
    }
  }

  /// How far a result is from its entry.
  public struct Comparison: Sendable, Hashable {
    public var maxAbsoluteDifference: Double
    public var relativeNormDifference: Double
    /// Nil where the entry says nothing about the precision.
    public var tolerance: Double?
    /// Nil where nothing can be said.
    public var passed: Bool? { tolerance.map { maxAbsoluteDifference <= $0 && relativeNormDifference <= $0 } }
  }

  static func norm(_ values: [Float]) -> Float {
    Float(values.reduce(0.0) { $0 + Double($1) * Double($1) }.squareRoot())
  }
}
