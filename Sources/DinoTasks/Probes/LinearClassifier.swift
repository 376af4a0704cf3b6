// What a probe learns: weights and biases of one linear layer, and how its answers are scored. Learning is in LogisticRegression.swift and LinearProbe.swift.

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
    Array(logits.indices.sorted { logits[$0] != logits[$1] ? logits[$0] > logits[$1] : $0 < $1 }.prefix(count))
  }

  /// Holds the classifier against rows with classes; `index` maps the rows' classes to the classifier's.
  public func evaluate(_ rows: LabelledRows, classes names: [String]) -> ClassificationReport {
    let index = Dictionary(uniqueKeysWithValues: names.enumerated().map { ($1, $0) })
    let images = rows.rows.map { row in
      ClassifiedImage(row: row, truth: rows.labels[row].flatMap { index[rows.classes[$0]] }, ranking: Self.ranking(logits(rows.feature(row)), count: 5))
    }
    return ClassificationReport(neighbours: 0, classes: names, images: images)
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
    width = rows.width
    classes = rows.classes
    values = rows.rows.flatMap { rows.feature($0) }
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
