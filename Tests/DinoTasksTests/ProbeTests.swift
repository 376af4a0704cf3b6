// Logistic regression against scikit-learn's minimum; the official probe's schedule against torch's and what it learns; the same result on any number of threads.

import DinoKernels
@testable import DinoTasks
import Safetensors
import TestSupport
import Testing

private func set(_ json: JSONValue) throws -> TrainingSet {
  let rows = json["features"]!.rows(json["width"]!.integerValue!)
  return try TrainingSet(try LabelledRows(features: rows, names: rows.indices.map(String.init), classNames: json["labels"]!.integers.map { "\($0)" }), name: "made up")
}

@Suite struct ProbeTests {
  @Test func logisticRegressionFindsScikitLearnsMinimum() throws {
    let json = Golden["logistic"], training = try set(json), d = training.width
    for expected in try #require(json["fits"]?.arrayValue) {
      var regression = LogisticRegression()
      regression.inverseRegularization = expected["c"]!.doubleValue!
      regression.tolerance = 1e-9
      let fit = try regression.fit(training, threads: 2), weights = expected["weights"]!.floats
      #expect(fit.isConverged)
      #expect(abs(fit.objective - expected["objective"]!.doubleValue!) < 1e-12 * fit.objective, "C = \(regression.inverseRegularization)")
      // Both sides are rounded to f32.
      let largest = weights.map(abs).max()!
      #expect(maxAbsoluteDifference(fit.classifier.weights, weights) <= 1.2e-7 * largest, "C = \(regression.inverseRegularization)")
      // With the tolerance of the command: as far away as it says at most.
      var quick = LogisticRegression()
      quick.inverseRegularization = regression.inverseRegularization
      let apart = zip(try quick.fit(training, threads: 2).classifier.weights, weights).reduce(0) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) }
      #expect(apart.squareRoot() <= Float(quick.tolerance) * weights.reduce(0) { $0 + $1 * $1 }.squareRoot())
      // Probabilities do not depend on what the biases have in common.
      let answers = (0..<10).flatMap { i -> [Float] in
        var scores = fit.classifier.logits(Array(training.values[i * d..<(i + 1) * d]))
        _ = crossEntropy(&scores, labels: [0], classes: training.classes.count)
        scores[0] += 1
        return scores
      }
      #expect(maxAbsoluteDifference(answers, expected["probabilities"]!.floats) < 1e-5, "C = \(regression.inverseRegularization)")
      let again = try regression.fit(training, threads: 1)
      #expect(again.classifier == fit.classifier && again.iterations == fit.iterations)
    }
  }

  /// The strength that C stands for is another where scikit-learn fits one row of weights in place of two.
  @Test func twoClassesHaveScikitLearnsStrength() throws {
    let json = Golden["two_classes"], training = try set(json), d = training.width
    for expected in try #require(json["fits"]?.arrayValue) {
      var regression = LogisticRegression()
      regression.inverseRegularization = expected["c"]!.doubleValue!
      regression.tolerance = 1e-9
      let fit = try regression.fit(training, threads: 1), w = fit.classifier.weights, difference = expected["difference"]!.floats
      #expect(fit.isConverged && abs(fit.objective - expected["objective"]!.doubleValue!) < 1e-12 * fit.objective)
      #expect(maxAbsoluteDifference((0..<d).map { w[d + $0] - w[$0] }, difference) <= 1e-6 * difference.map(abs).max()!)
    }
  }

  /// Features as a network gives them, where the curvature spans nine magnitudes: the tolerance of the command is enough, in few steps.
  @Test func aBadlyConditionedMinimumIsFound() throws {
    let json = Golden["ill_conditioned"], training = try set(json), d = training.width
    for expected in try #require(json["fits"]?.arrayValue) {
      var regression = LogisticRegression()
      regression.inverseRegularization = expected["c"]!.doubleValue!
      let fit = try regression.fit(training, threads: 2), weights = expected["weights"]!.floats, objective = expected["objective"]!.doubleValue!
      #expect(fit.isConverged && fit.iterations <= 40, "C = \(regression.inverseRegularization): \(fit.iterations) steps")
      #expect(abs(fit.objective - objective) < 1e-9 * objective)
      let length = weights.reduce(0) { $0 + $1 * $1 }.squareRoot(), apart = zip(fit.classifier.weights, weights).reduce(0) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) }.squareRoot()
      #expect(apart <= Float(regression.tolerance) * length)
      let predictions = (0..<training.count).map { LinearClassifier.ranking(fit.classifier.logits(Array(training.values[$0 * d..<($0 + 1) * d])), count: 1)[0] }
      #expect(predictions == expected["predictions"]!.integers)
      #expect(try regression.fit(training, threads: 1).classifier == fit.classifier)
    }
  }

  /// The curvature against differences of the gradient that it is the derivative of; the preconditioner is symmetric, positive, and keeps sums over classes at zero.
  @Test func theCurvatureIsTheGradientsDerivative() throws {
    let training = try set(Golden["logistic"]), classes = training.classes.count, d = training.width, n = training.count
    let products = DoubleProducts(training.values, width: d, team: .shared(2))
    var random = SplitMix64(seed: 4)
    func vector() -> [Double] { (0..<classes * (d + 1)).map { _ in Double.random(in: -0.5...0.5, using: &random) } }
    func residuals(_ x: [Double]) -> [Double] {
      var r = products.scores(weights: x[..<(classes * d)], bias: x[(classes * d)...])
      _ = crossEntropy(&r, labels: training.labels, classes: classes)
      return r
    }
    func gradient(_ x: [Double]) -> [Double] {
      let r = residuals(x)
      return (products.gradient(residuals: r, classes: classes) + SoftmaxCurvature.columnSums(r, classes: classes)).enumerated().map { $1 / Double(n) + ($0 < classes * d ? 0.01 * x[$0] : 0) }
    }
    let x = vector(), v = vector(), step = 1e-5
    var p = residuals(x)
    for (i, label) in training.labels.enumerated() { p[i * classes + label] += 1 }
    let curvature = SoftmaxCurvature(products: products, classes: classes, probabilities: p, strength: 0.01), bent = curvature.product(v)
    let ahead = gradient(zip(x, v).map { $0 + step * $1 }), behind = gradient(zip(x, v).map { $0 - step * $1 })
    for i in bent.indices { #expect(abs(bent[i] - (ahead[i] - behind[i]) / (2 * step)) < 1e-8) }

    let precondition = curvature.preconditioner(), w = vector(), pv = precondition(v), pw = precondition(w)
    func dot(_ a: [Double], _ b: [Double]) -> Double { zip(a, b).reduce(0) { $0 + $1.0 * $1.1 } }
    #expect(abs(dot(pv, w) - dot(pw, v)) < 1e-9 * abs(dot(pv, w)) && dot(pv, v) > 0)
    for j in 0..<d { #expect(abs((0..<classes).reduce(0) { $0 + pv[$1 * d + j] }) < 1e-9) }
  }

  @Test func theRateFallsAsTorchLetsIt() {
    let json = Golden["rate"]
    var probe = LinearProbe()
    probe.epochs = json["epochs"]!.integerValue!
    probe.batchSize = json["batch"]!.integerValue!
    for (epoch, rate) in json["rates"]!.doubles.enumerated() { #expect(abs(probe.rate(epoch: epoch) - rate) < 1e-12, "epoch \(epoch)") }
  }

  @Test func theProbeLearnsTheSameFromTheSameSeed() throws {
    let training = try set(Golden["logistic"])
    var probe = LinearProbe()
    probe.epochs = 60
    probe.batchSize = 32
    probe.learningRate = 0.5
    let a = try probe.fit(training, threads: 1), b = try probe.fit(training, threads: 3)
    #expect(a == b)
    probe.seed = 1
    #expect(try probe.fit(training, threads: 1) != a)
    let correct = (0..<training.count).count { i in
      LinearClassifier.ranking(a.logits(Array(training.values[i * training.width..<(i + 1) * training.width])), count: 1)[0] == training.labels[i]
    }
    #expect(Double(correct) > 0.8 * Double(training.count))
  }

  /// The same features in every class: the minimum has no weights, and is found.
  @Test func weightsOfNoLengthAreAMinimum() throws {
    var random = SplitMix64(seed: 4)
    let features = (0..<5).map { _ in random.floats(8) }
    let names = (0..<15).map { "\($0)" }, classNames = (0..<15).map { ["x", "y", "z"][$0 / 5] }
    let rows = try LabelledRows(features: features + features + features, names: names, classNames: classNames)
    let fit = try LogisticRegression().fit(try TrainingSet(rows, name: "T"), threads: 1)
    #expect(fit.isConverged && fit.gradient <= 1e-12)
  }

  /// Rows that are held against a classifier in batches, on any number of threads, get the answers of one row at a time.
  @Test(arguments: [1, 3]) func answersAreThoseOfOneRowAtATime(_ threads: Int) throws {
    var random = SplitMix64(seed: 5)
    let classes = 7, width = 9, names = (0..<classes).map { "c\($0)" }, features = (0..<1100).map { _ in random.floats(width) }
    // The first two classes have equal scores everywhere.
    let one = random.floats(width), weights = one + one + random.floats((classes - 2) * width)
    let classifier = LinearClassifier(classes: classes, width: width, weights: weights, bias: [0.1, 0.1] + random.floats(classes - 2))
    let rows = try LabelledRows(features: features, names: features.indices.map { "\($0)" }, classNames: features.indices.map { $0 == 3 ? nil : $0 == 4 ? "other" : "c\($0 % classes)" })
    var asked = 0
    let report = classifier.evaluate(rows, classes: names, threads: threads) { asked += $0 }
    #expect(asked == 1100 && report.images.map(\.row) == rows.rows)
    #expect(report.images.map(\.truth) == features.indices.map { $0 == 3 || $0 == 4 ? nil : $0 % classes })
    for (image, feature) in zip(report.images, features) {
      let scores = classifier.logits(feature), sorted = scores.indices.sorted { scores[$0] != scores[$1] ? scores[$0] > scores[$1] : $0 < $1 }
      #expect(image.ranking == Array(sorted.prefix(5)))
    }
  }

  /// What no memory holds is refused before it is asked for.
  @Test func whatDoesNotFitIsRefused() {
    let count = 2_000_000, names = (0..<count).map { "\($0)" }
    let set = TrainingSet(width: 1, classes: names, values: [Float](repeating: 1, count: count), labels: Array(0..<count))
    let error = #expect(throws: TaskError.self) { _ = try LogisticRegression().fit(set, threads: 1) }
    #expect(error?.description.contains("2000000 features of 2000000 classes: 64000000 MB are needed") == true, "\(error?.description ?? "")")
    #expect(throws: TaskError.self) { try requireMemory(1 << 60, for: "x", advice: "y") }
    #expect(throws: Never.self) { try requireMemory(1 << 20, for: "x", advice: "y") }
  }

  /// A regularisation whose strength double precision does not hold gives no classifier.
  @Test func noClassifierIsMadeOfWhatIsNoNumber() throws {
    var regression = LogisticRegression()
    regression.inverseRegularization = .leastNonzeroMagnitude
    let training = try set(Golden["logistic"])
    #expect(throws: TaskError.noMinimum(inverseRegularization: .leastNonzeroMagnitude)) { _ = try regression.fit(training, threads: 1) }
    let infinite = TrainingSet(width: 1, classes: ["x", "y"], values: [1, .infinity], labels: [0, 1])
    #expect(throws: TaskError.noMinimum(inverseRegularization: 1)) { _ = try LogisticRegression().fit(infinite, threads: 1) }
  }

  @Test func tooFewClassesAreRefused() throws {
    let one = try LabelledRows(features: [[1], [2]], names: ["a", "b"], classNames: ["x", "x"]), none = try LabelledRows(features: [[1]], names: ["a"], classNames: [nil])
    #expect(throws: TaskError.tooFewClasses(name: "T", count: 1)) { _ = try TrainingSet(one, name: "T") }
    #expect(throws: TaskError.noLabels(name: "T", example: "a")) { _ = try TrainingSet(none, name: "T") }
  }
}
