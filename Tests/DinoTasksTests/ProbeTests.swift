// Logistic regression against scikit-learn's minimum; the official probe's schedule against torch's and what it learns; the same result on any number of threads.

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
      let fit = regression.fit(training, threads: 2), weights = expected["weights"]!.floats
      #expect(fit.isConverged)
      #expect(abs(fit.objective - expected["objective"]!.doubleValue!) < 1e-12 * fit.objective, "C = \(regression.inverseRegularization)")
      // Both sides are rounded to f32.
      let largest = weights.map(abs).max()!
      #expect(maxAbsoluteDifference(fit.classifier.weights, weights) <= 1.2e-7 * largest, "C = \(regression.inverseRegularization)")
      // With the tolerance of the command: as far away as it says at most.
      var quick = LogisticRegression()
      quick.inverseRegularization = regression.inverseRegularization
      let apart = zip(quick.fit(training, threads: 2).classifier.weights, weights).reduce(0) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) }
      #expect(apart.squareRoot() <= Float(quick.tolerance) * weights.reduce(0) { $0 + $1 * $1 }.squareRoot())
      // Probabilities do not depend on what the biases have in common.
      let answers = (0..<10).flatMap { i -> [Float] in
        var scores = fit.classifier.logits(Array(training.values[i * d..<(i + 1) * d]))
        _ = crossEntropy(&scores, labels: [0], classes: training.classes.count)
        scores[0] += 1
        return scores
      }
      #expect(maxAbsoluteDifference(answers, expected["probabilities"]!.floats) < 1e-5, "C = \(regression.inverseRegularization)")
      let again = regression.fit(training, threads: 1)
      #expect(again.classifier == fit.classifier && again.iterations == fit.iterations)
    }
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

  @Test func tooFewClassesAreRefused() throws {
    let one = try LabelledRows(features: [[1], [2]], names: ["a", "b"], classNames: ["x", "x"]), none = try LabelledRows(features: [[1]], names: ["a"], classNames: [nil])
    #expect(throws: TaskError.tooFewClasses(name: "T", count: 1)) { _ = try TrainingSet(one, name: "T") }
    #expect(throws: TaskError.noLabels(name: "T")) { _ = try TrainingSet(none, name: "T") }
  }
}
