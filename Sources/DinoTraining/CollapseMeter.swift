// Whether training collapses: what the loss alone does not say. The loss is the teacher's entropy plus the divergence between teacher and student; it can be low because
// the teacher says the same of every image, or stuck at ln K because it says nothing (ANCHORS 2.5).

public import Dino
internal import DinoAlgebra
internal import DinoTensor

public struct CollapseMeter: Sendable {
  /// What a stretch of steps looked like.
  public struct Reading: Sendable, Equatable {
    public var steps = 0
    public var loss = 0.0
    /// DINO's own part of the loss, without the terms that DINOv2 adds.
    public var viewLoss = 0.0
    /// Mean entropy of the teacher's distributions, and the rest of that part.
    public var teacherEntropy = 0.0
    public var divergence = 0.0
    /// Entropy of the mean distribution: how many prototypes share the images.
    public var marginalEntropy = 0.0
    public var logK = 0.0
    /// Prototypes that were the largest for some image, and the share of images of the most frequent one.
    public var activePrototypes = 0
    public var largestShare = 0.0
    /// Deviation of the unit-length features times √D: 1 where directions are spread, 0 where all are the same.
    public var featureSpread = 0.0
    /// How many directions the unit-length features, less their mean, spread over: the exponential of the entropy of their covariance's eigenvalues. 0 before any step.
    public var effectiveRank = 0.0
    public var centerNorm = 0.0

    /// Of a distillation: its teacher stands still.
    var isDistilled = false

    /// Whether there were distributions; without them only features are judged.
    public var hasPrototypes: Bool { logK > 0 }

    public var verdict: Verdict {
      if hasPrototypes, let verdict = prototypesVerdict { return verdict }
      return featureSpread < 0.02 ? isDistilled ? .sameStudentFeatures : .sameFeatures : .healthy
    }

    private var prototypesVerdict: Verdict? {
      if marginalEntropy < 0.1 * logK || largestShare > 0.95 { return .onePrototype }
      if divergence < 0.02 * logK && teacherEntropy > 0.95 * logK { return .uniform }
      return nil
    }
  }

  public enum Verdict: Sendable, Equatable {
    case healthy, onePrototype, uniform, sameFeatures, sameStudentFeatures

    /// A sentence with the flag to change; nil where all is well.
    public var advice: String? {
      switch self {
      case .healthy: nil
      case .onePrototype:
        "collapse onto one prototype: the teacher says the same of every image; lower --center-momentum (the centre lags, or stands still at 1), raise --teacher-temp, or lower --lr"
      case .uniform:
        "collapse to the uniform distribution: the teacher says nothing; lower --teacher-temp and --warmup-teacher-temp (0.02), or a smaller --out-dim"
      case .sameStudentFeatures: "the student's features of all images are nearly the same; lower --lr, or look whether the teacher's are"
      case .sameFeatures: "the features of all images are nearly the same although their prototypes are not; lower --lr or raise --momentum-teacher"
      }
    }
  }

  private var reading = Reading()
  private var marginal: [Double] = []
  private var winners: [Int: Int] = [:]
  private var rows = 0
  private var spectrum = Spectrum()

  public init() {}

  /// Counts one step, of all processes that train together: all count the same steps, and each has all counts.
  public mutating func add(_ report: StepReport, of trainer: Trainer) throws(DinoError) {
    reading.steps += 1
    reading.isDistilled = trainer.settings.distillation != nil
    reading.loss += report.loss
    reading.viewLoss += report.viewLoss
    let ofFeatures = try trainer.total(Spectrum.counts(trainer.features)), shape = trainer.features.shape
    reading.featureSpread += spectrum.add(ofFeatures, rows: shape[0] * trainer.rankCount, width: shape[1])
    guard let probabilities = trainer.teacherProbabilities else { return }
    let k = trainer.settings.outDim, q = probabilities.floats(), own = q.count / k, count = own * trainer.rankCount
    // Sums of the distributions, how often each prototype was the largest, and the sum of entropies.
    var found = [Double](repeating: 0, count: 2 * k + 1)
    for row in 0..<own {
      var best = 0, sum = 0.0
      for i in 0..<k {
        let p = q[row * k + i]
        found[i] += Double(p)
        if p > q[row * k + best] { best = i }
        if p > 1e-12 { sum -= Double(p) * naturalLogarithm(Double(p)) }
      }
      found[2 * k] += sum
      found[k + best] += 1
    }
    found = try trainer.total(found)
    if marginal.count != k { marginal = [Double](repeating: 0, count: k) }
    for i in 0..<k {
      marginal[i] += found[i]
      if found[k + i] > 0 { winners[i, default: 0] += Int(found[k + i]) }
    }
    rows += count
    reading.teacherEntropy += found[2 * k] / Double(count)
    reading.centerNorm = (trainer.center?.floats() ?? []).reduce(0) { $0 + Double($1) * Double($1) }.squareRoot()
  }

  /// What was counted, and a new start.
  public mutating func read() -> Reading {
    var r = reading
    let n = Double(max(r.steps, 1)), total = Double(max(rows, 1))
    r.loss /= n
    r.viewLoss /= n
    r.teacherEntropy /= n
    r.featureSpread /= n
    r.effectiveRank = spectrum.effectiveRank()
    r.divergence = r.viewLoss - r.teacherEntropy
    r.marginalEntropy = marginal.reduce(0) { $1 > 0 ? $0 - $1 / total * naturalLogarithm($1 / total) : $0 }
    r.logK = naturalLogarithm(Double(max(marginal.count, 1)))
    r.activePrototypes = winners.count
    r.largestShare = Double(winners.values.max() ?? 0) / total
    self = CollapseMeter()
    return r
  }
}

extension CollapseMeter {
  /// All that was counted, as numbers in a fixed order, for a run that goes on later; empty before any step.
  func counted(outputs k: Int) -> [Double] {
    guard reading.steps > 0 else { return [] }
    let r = reading, counts = (0..<k).map { Double(winners[$0] ?? 0) }
    return [Double(r.steps), r.loss, r.viewLoss, r.teacherEntropy, r.featureSpread, r.centerNorm, Double(rows), Double(spectrum.rows)] + marginal + counts + spectrum.sums + spectrum.products
  }

  /// What `counted` told. Nil where it is not of a training with so many outputs and features of this width.
  init?(counted x: [Double], outputs k: Int, width d: Int) {
    guard x.count == 8 + 2 * k + d + d * d, x.allSatisfy(\.isFinite), [0, 6, 7].allSatisfy({ (0...1e15).contains(x[$0]) }) else { return nil }
    (reading.steps, reading.loss, reading.viewLoss, reading.teacherEntropy, reading.featureSpread, reading.centerNorm) = (Int(x[0]), x[1], x[2], x[3], x[4], x[5])
    (rows, spectrum.rows) = (Int(x[6]), Int(x[7]))
    marginal = Array(x[8..<8 + k])
    for i in 0..<k where x[8 + k + i] > 0 { winners[i] = Int(min(x[8 + k + i], 1e15)) }
    spectrum.sums = Array(x[8 + 2 * k..<8 + 2 * k + d])
    spectrum.products = Array(x[(8 + 2 * k + d)...])
  }
}

/// Sums over features of unit length, from which their spread follows.
private struct Spectrum: Sendable {
  var rows = 0
  var sums: [Double] = []
  /// Lower triangle of Σ x·xᵀ, [D, D].
  var products: [Double] = []

  /// Of the rows of one step: the sums of their coordinates [D], of the squares of these [D], and `products` [D, D].
  static func counts(_ features: Tensor) -> [Double] {
    let n = features.shape[0], d = features.shape[1], x = features.floats()
    var own = [Double](repeating: 0, count: d), squares = own, unit = own, products = [Double](repeating: 0, count: d * d)
    for row in 0..<n {
      var length = 0.0
      for i in 0..<d { length += Double(x[row * d + i]) * Double(x[row * d + i]) }
      let inverse = length > 0 ? 1 / length.squareRoot() : 0
      for i in 0..<d {
        let v = Double(x[row * d + i]) * inverse
        unit[i] = v
        own[i] += v
        squares[i] += v * v
      }
      for i in 0..<d {
        let v = unit[i], base = i * d
        for j in 0...i { products[base + j] += v * unit[j] }
      }
    }
    return own + squares + products
  }

  /// Counts the `n` rows of one step by what `counts` found of them. Returns √D times the deviation, over these rows, of their coordinates.
  mutating func add(_ found: [Double], rows n: Int, width d: Int) -> Double {
    if sums.count != d {
      sums = [Double](repeating: 0, count: d)
      products = [Double](repeating: 0, count: d * d)
    }
    rows += n
    var variance = 0.0
    for i in 0..<d {
      sums[i] += found[i]
      let mean = found[i] / Double(n)
      variance += max(0, found[d + i] / Double(n) - mean * mean)
    }
    for i in products.indices { products[i] += found[2 * d + i] }
    return variance.squareRoot()
  }

  func effectiveRank() -> Double {
    let d = sums.count, n = Double(rows)
    guard rows > 0 else { return 0 }
    var covariance = products
    for i in 0..<d { for j in 0...i { covariance[i * d + j] = products[i * d + j] / n - sums[i] / n * (sums[j] / n) } }
    guard let values = SymmetricEigen(covariance, size: d)?.values.map({ max($0, 0) }) else { return 0 }
    let total = values.reduce(0, +)
    guard total > 1e-12 else { return 1 }
    return exponential(values.reduce(0) { $1 > 0 ? $0 - $1 / total * naturalLogarithm($1 / total) : $0 })
  }
}
