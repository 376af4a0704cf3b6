// The official probe's schedule against torch's and what it learns; the same result on any number of threads.

@testable import DinoTasks
import Safetensors
import TestSupport
import Testing

private func set(_ json: JSONValue) throws -> TrainingSet {
  let rows = json["features"]!.rows(json["width"]!.integerValue!)
  return try TrainingSet(try LabelledRows(features: rows, names: rows.indices.map(String.init), classNames: json["labels"]!.integers.map { "\($0)" }), name: "made up")
}

@Suite struct ProbeTests {
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
