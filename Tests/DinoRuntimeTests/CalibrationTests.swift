// What a calibrator sees of values inside a graph, and the range that it chooses.

import DinoGraph
import DinoRuntime
import DinoTensor
import TestSupport
import Testing

@Suite struct CalibrationTests {
  @Test func seesValuesInside() throws {
    var g = Graph()
    let x = g.input("x", dtype: .f32, dims: [.free("N"), .fixed(2)])
    let double = g.core(.add, [x, x], name: "double")
    g.output("y", g.core(.activation(.relu), [double], name: "relu"))
    var calibrator = try Calibrator(g, values: [double, double])
    try calibrator.observe(["x": Tensor([-3, 1, 0, 2], shape: [2, 2])])
    try calibrator.observe(["x": Tensor([5, -1], shape: [1, 2])])
    let seen = try #require(calibrator.statistics[double])
    #expect(calibrator.statistics.count == 1 && seen.minimum == -6 && seen.maximum == 10 && seen.isFinite)
  }

  @Test func cutsOffWhatIsRare() throws {
    var generator = SplitMix64(seed: 1)
    var even = ValueStatistics(), tailed = ValueStatistics()
    let values = (0..<200_000).map { _ in Float.random(in: -1...1, using: &generator) }
    even.add(values)
    let kept = try #require(even.bestRange())
    #expect(kept.lowerBound < -0.9 && kept.upperBound > 0.9)
    // One element of all is twice as large as the others: finer steps for those are worth more.
    tailed.add([2] + values)
    let cut = try #require(tailed.bestRange())
    #expect(cut.upperBound < 1.9 && cut.upperBound > 0.9 && tailed.maximum == 2)
  }

  @Test func neverWithoutZeroNorFromNothing() throws {
    #expect(ValueStatistics().bestRange() == nil)
    var positive = ValueStatistics(), damaged = ValueStatistics()
    positive.add((0..<1000).map { 2 + Float($0) / 1000 })
    #expect(try #require(positive.bestRange()).lowerBound == 0)
    damaged.add([1, .nan])
    #expect(damaged.bestRange() == nil)
  }
}
