// What a probe learns: weights and biases of one linear layer, and how its answers are scored. Learning is in LogisticRegression.swift and LinearProbe.swift.

internal import DinoKernels

/// One linear layer on features.
public struct LinearClassifier: Sendable, Equatable {
  public let classes: Int
  public let width: Int
  /// [classes, width]
  public var weights: [Float]
  public var bias: [Float]

  public init(classes: Int, width: Int, weights: [Float], bias: [Float]) {
    precondition(weights.count == classes * width && bias.count == classes)
    self.classes = classes
    self.width = width
    self.weights = weights
    self.bias = bias
  }

  /// The class scores of one feature.
  public func logits(_ feature: [Float]) -> [Float] {
    precondition(feature.count == width)
    return (0..<classes).map { c in
      var sum = Double(bias[c])
      for i in 0..<width { sum += Double(weights[c * width + i]) * Double(feature[i]) }
      return Float(sum)
    }
  }

  /// Classes by score, highest first, at most `count`; of equal scores the lower index.
  public static func ranking(_ logits: [Float], count: Int) -> [Int] {
    highest(logits, count: count)
  }

  /// Holds the classifier against rows with classes, of which those that `names` has are the classifier's.
  /// - Parameter progress: told how many rows have been asked since.
  public func evaluate(_ rows: LabelledRows, classes names: [String], threads: Int, progress: (Int) -> Void = { _ in }) -> ClassificationReport {
    let index = ClassName.places(names), truths = rows.classes.map { index[ClassName($0)] }, team = ThreadTeam.shared(max(1, threads))
    let weights = weights.map { Double($0) }, bias = bias.map { Double($0) }
    var images: [ClassifiedImage] = []
    images.reserveCapacity(rows.rows.count)
    // Every sum in double and in `logits`' order: the answers are those of one image at a time.
    let atOnce = max(64, min(1024, (64 << 20) / (8 * classes)))
    for first in stride(from: 0, to: rows.rows.count, by: atOnce) {
      let batch = rows.rows[first..<min(first + atOnce, rows.rows.count)]
      var values: [Float] = []
      values.reserveCapacity(batch.count * width)
      for row in batch { values += rows.feature(row) }
      let scores = DoubleProducts(values, width: width, team: team).scores(weights: weights[...], bias: bias[...])
      for (i, row) in batch.enumerated() {
        let ranking = highest(scores[i * classes..<(i + 1) * classes].lazy.map { Float($0) }, count: 5)
        images.append(ClassifiedImage(row: row, truth: rows.labels[row].flatMap { truths[$0] }, ranking: ranking))
      }
      progress(batch.count)
    }
    return ClassificationReport(classes: names, images: images)
  }
}

/// Features and classes as the learners want them.
public struct TrainingSet: Sendable {
  public let width: Int
  public let classes: [String]
  /// [n, width]
  public let values: [Float]
  public let labels: [Int]
  public var count: Int { labels.count }

  public init(_ rows: LabelledRows, name: String) throws(TaskError) {
    try rows.requireClasses(name: name)
    guard rows.classes.count >= 2 else { throw .tooFewClasses(name: name, count: rows.classes.count) }
    try requireMemory(rows.rows.count * rows.width * MemoryLayout<Float>.size, for: "\(name): its \(rows.rows.count) features of \(rows.width) numbers", advice: "name fewer images")
    width = rows.width
    classes = rows.classes
    var values: [Float] = []
    values.reserveCapacity(rows.rows.count * rows.width)
    for row in rows.rows { values += rows.feature(row) }
    self.values = values
    labels = rows.rows.map { rows.labels[$0]! }
  }

  /// Rows [n, width] with the number of each one's class.
  public init(width: Int, classes: [String], values: [Float], labels: [Int]) {
    precondition(values.count == labels.count * width && labels.allSatisfy(classes.indices.contains))
    self.width = width
    self.classes = classes
    self.values = values
    self.labels = labels
  }
}

/// Refuses what cannot fit, before the system ends the process for it. Little is not worth asking the system for.
func requireMemory(_ bytes: Int, for what: String, advice: String) throws(TaskError) {
  guard bytes > 256 << 20, let available = availableMemory(), bytes > available else { return }
  throw .tooLarge(what: what, bytes: bytes, available: available, advice: advice)
}

/// The sum of -log p over rows of scores [n, C], p the softmax of a row at its true class. On return `scores` holds what the loss changes with: p - 1 at the true class, p elsewhere.
func crossEntropy<Score: BinaryFloatingPoint>(_ scores: inout [Score], labels: [Int], classes: Int) -> Double {
  var loss = 0.0
  for i in labels.indices {
    let row = i * classes
    var largest = -Score.infinity
    for c in 0..<classes { largest = max(largest, scores[row + c]) }
    var sum = 0.0
    for c in 0..<classes { sum += exponential(Double(scores[row + c] - largest)) }
    let normalizer = Double(largest) + logarithm(sum)
    loss += normalizer - Double(scores[row + labels[i]])
    for c in 0..<classes { scores[row + c] = Score(exponential(Double(scores[row + c]) - normalizer)) }
    scores[row + labels[i]] -= 1
  }
  return loss
}
