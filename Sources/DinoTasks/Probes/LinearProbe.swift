// The official linear probe (eval_linear.py) on cached features: SGD with momentum 0.9 and no decay, the rate lr · batch / 256 falling to 0 by a cosine over the
// epochs, weights from N(0, 0.01), biases 0. Cached features are those of the evaluation's crop; the official code takes a new random crop and flip every epoch.

internal import DinoKernels

public struct LinearProbe: Sendable {
  public var epochs = 100
  public var batchSize = 256
  /// The rate for a batch of 256.
  public var learningRate = 0.001
  public var momentum: Float = 0.9
  public var seed: UInt64 = 0

  public init() {}

  /// The rate of an epoch, as torch's CosineAnnealingLR with eta_min 0 gives it, stepped once an epoch.
  public func rate(epoch: Int) -> Double {
    learningRate * Double(batchSize) / 256 * (1 + cosine(ofAngle: .pi * Double(epoch) / Double(epochs))) / 2
  }

  public func fit(_ set: TrainingSet, threads: Int, progress: (Int) -> Void = { _ in }) throws(TaskError) -> LinearClassifier {
    var random = NormalRandom(seed: seed)
    let classes = set.classes.count, d = set.width, team = ThreadTeam.shared(max(1, threads))
    var weights = (0..<classes * d).map { _ in Float(0.01 * random.normal()) }, bias = [Float](repeating: 0, count: classes)
    var weightVelocity = [Float](repeating: 0, count: weights.count), biasVelocity = [Float](repeating: 0, count: classes)
    var order = Array(0..<set.count)
    for epoch in 0..<epochs {
      let rate = Float(rate(epoch: epoch))
      order.shuffle(using: &random)
      for first in stride(from: 0, to: set.count, by: batchSize) {
        let batch = order[first..<min(first + batchSize, set.count)]
        var values: [Float] = []
        values.reserveCapacity(batch.count * d)
        for i in batch { values += set.values[i * d..<(i + 1) * d] }
        let products: DenseProducts
        do { products = try DenseProducts(values, width: d, team: team) } catch { throw TaskError(error, path: "") }
        var residuals = products.scores(weights: weights, bias: bias)
        _ = crossEntropy(&residuals, labels: batch.map { set.labels[$0] }, classes: classes)
        let gradient = products.gradient(residuals: residuals, classes: classes), count = Double(batch.count)
        for i in weights.indices {
          weightVelocity[i] = momentum * weightVelocity[i] + Float(gradient[i] / count)
          weights[i] -= rate * weightVelocity[i]
        }
        for c in 0..<classes {
          var sum = 0.0
          for i in 0..<batch.count { sum += Double(residuals[i * classes + c]) }
          biasVelocity[c] = momentum * biasVelocity[c] + Float(sum / count)
          bias[c] -= rate * biasVelocity[c]
        }
      }
      progress(epoch + 1)
    }
    return LinearClassifier(classes: classes, width: d, weights: weights, bias: bias)
  }
}

/// A seeded generator (SplitMix64) with normal numbers by the polar method: the same probe from the same seed. Not for anything secret.
struct NormalRandom: RandomNumberGenerator {
  private var state: UInt64
  private var spare: Double?

  init(seed: UInt64) { state = seed }

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }

  mutating func normal() -> Double {
    if let value = spare {
      spare = nil
      return value
    }
    while true {
      let x = Double.random(in: -1...1, using: &self), y = Double.random(in: -1...1, using: &self), s = x * x + y * y
      guard s > 0, s < 1 else { continue }
      let factor = (-2 * logarithm(s) / s).squareRoot()
      spare = y * factor
      return x * factor
    }
  }
}
