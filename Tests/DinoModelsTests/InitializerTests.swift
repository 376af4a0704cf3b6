// Random weights: distributions, determinism, exact bits; and the self-test's input.

import DinoModels
import DinoTensor
import Testing

private func statistics(_ values: [Float]) -> (mean: Double, deviation: Double, kurtosis: Double, largest: Float) {
  let n = Double(values.count)
  let mean = values.reduce(0) { $0 + Double($1) } / n
  let m2 = values.reduce(0) { $0 + (Double($1) - mean) * (Double($1) - mean) } / n
  let m4 = values.reduce(0) { $0 + (Double($1) - mean) * (Double($1) - mean) * (Double($1) - mean) * (Double($1) - mean) } / n
  return (mean, m2.squareRoot(), m4 / (m2 * m2), values.map(abs).max() ?? 0)
}

private func tensor(_ shape: Shape, _ start: TensorSpec.Start, seed: UInt64 = 0, name: String = "t") throws -> [Float] {
  try WeightInitializer.tensor(TensorSpec(name: name, shape: shape, start: start), seed: seed).floats()
}

@Suite struct InitializerTests {
  @Test func linearsAreNormal() throws {
    let s = statistics(try tensor([400, 500], .truncatedNormal))
    // Four standard errors of 200,000 samples.
    #expect(abs(s.mean) < 4 * 0.02 / 447)
    #expect(abs(s.deviation - 0.02) < 4 * 0.02 / 632)
    #expect(abs(s.kurtosis - 3) < 4 * 4.9 / 447)
    #expect(s.largest > 0.02 * 4 && s.largest < 0.02 * 6.5)
  }

  @Test func theNormalHasTheRightQuantiles() throws {
    let sorted = try tensor([200_000], .truncatedNormal).sorted()
    // Quantiles of the standard normal distribution, times 0.02.
    for (p, z) in [(0.001, -3.090232), (0.025, -1.959964), (0.25, -0.674490), (0.5, 0), (0.84134, 1), (0.975, 1.959964), (0.999, 3.090232)] {
      #expect(abs(Double(sorted[Int(p * 200_000)]) - 0.02 * z) < 0.02 * 0.08, "\(p)")
    }
  }

  @Test func convolutionsAreUniform() throws {
    let s = statistics(try tensor([192, 768], .uniform(fanIn: 768)))
    let bound = 1 / 768.0.squareRoot()
    #expect(Double(s.largest) <= bound && Double(s.largest) > bound * 0.999)
    #expect(abs(s.deviation - bound / 3.0.squareRoot()) < bound * 0.005)
    #expect(abs(s.kurtosis - 1.8) < 0.02)
    #expect(abs(s.mean) < bound * 0.01)
  }

  @Test func startsAreThoseOfTheOriginal() throws {
    let config = smallConfig(depth: 2, layerScale: true, head: .projection(.init(layers: 2, hiddenDim: 5, bottleneckDim: 4, outDim: 7, batchNorm: true)))
    let all = try weights(config)
    #expect(Set(all.keys) == Set(config.tensors.map(\.name)))
    for (name, tensor) in all {
      let values = tensor.floats()
      #expect(values.allSatisfy { $0.isFinite })
      switch name {
      case _ where name.hasSuffix("norm1.weight") || name.hasSuffix("norm2.weight") || name == "norm.weight": #expect(values.allSatisfy { $0 == 1 }, "\(name)")
      case "head.mlp.1.weight", "head.mlp.1.running_var", "head.last_layer.weight_g": #expect(values.allSatisfy { $0 == 1 }, "\(name)")
      case "patch_embed.proj.bias": #expect(values.contains { $0 != 0 } && values.allSatisfy { Double(abs($0)) <= 1 / 48.0.squareRoot() }, "\(name)")
      case _ where name.hasSuffix(".bias") || name.hasSuffix("running_mean"): #expect(values.allSatisfy { $0 == 0 }, "\(name)")
      case _ where name.hasSuffix("gamma"): #expect(values.allSatisfy { $0 == 1e-5 }, "\(name)")
      case "head.last_layer.weight_v", "patch_embed.proj.weight": #expect(values.contains { abs($0) > 0.08 }, "\(name)")
      default: #expect(values.contains { $0 != 0 } && values.allSatisfy { abs($0) < 0.13 }, "\(name)")
      }
    }
  }

  @Test func theSameSeedGivesTheSameBits() throws {
    // Bits recorded once: they may not change between versions or platforms.
    #expect(try tensor([4], .truncatedNormal, seed: 0, name: "cls_token").map(\.bitPattern) == goldenNormal)
    #expect(try tensor([4], .uniform(fanIn: 768), seed: 7, name: "patch_embed.proj.weight").map(\.bitPattern) == goldenUniform)
    let a = try weights(smallConfig(), seed: 3), b = try weights(smallConfig(), seed: 3), c = try weights(smallConfig(), seed: 4)
    #expect(a.allSatisfy { $0.value.floats() == b[$0.key]!.floats() })
    #expect(a["cls_token"]!.floats() != c["cls_token"]!.floats())
    #expect(a["blocks.0.attn.proj.weight"]!.floats() != a["blocks.0.mlp.fc1.weight"]!.floats().prefix(36).map { $0 })
  }

  @Test func aTensorDoesNotDependOnTheOthers() throws {
    let one = try weights(smallConfig()), two = try weights(smallConfig(depth: 3, head: .classifier(classes: 3)))
    for (name, tensor) in one { #expect(tensor.floats() == two[name]!.floats(), "\(name)") }
  }

  @Test func absurdConfigurationsAreRefused() {
    var config = smallConfig()
    config.embedDim = 1 << 40
    #expect(throws: ModelError.self) { try WeightInitializer.tensors(config: config, seed: 0) }
  }

  // MARK: Self-test

  @Test func theSelfTestInputFollowsItsFormula() {
    // Computed with Python's integers from the formula in the specification.
    #expect(SelfTest.values(seed: 0, count: 4) == selfTestSeed0)
    #expect(SelfTest.values(seed: 123, count: 4) == selfTestSeed123)
    let t = SelfTest.input(seed: 0, height: 2, width: 3)
    #expect(t.shape == [1, 3, 2, 3])
    #expect(t.floats() == SelfTest.values(seed: 0, count: 18))
    let many = statistics(SelfTest.values(seed: 5, count: 100_000))
    #expect(abs(many.mean) < 0.01 && abs(many.deviation - 0.57735) < 0.005 && many.largest <= 1)
    #expect(SelfTest.values(seed: .max, count: 2).allSatisfy { $0.isFinite })
  }

  @Test func theSelfTestTellsGoodFromBad() {
    let cls = (0..<40).map { Float($0) * 0.1 - 2 }
    let entry = SelfTest.Entry(seed: 0, height: 32, width: 32, cls: cls)
    #expect(entry.compare(cls, precision: "f32").passed == true)
    #expect(entry.compare(cls.map { $0 + 5e-4 }, precision: "f32").passed == true)
    #expect(entry.compare(cls.map { $0 + 2e-3 }, precision: "f32").passed == false)
    // The kept values agree, the rest does not.
    #expect(entry.compare(cls.prefix(16) + cls.dropFirst(16).map { $0 * 2 }, precision: "f32").passed == false)
    #expect(entry.compare(cls.map { _ in .nan }, precision: "f32").passed == false)
    #expect(entry.compare([], precision: "f32").passed == false)
    #expect(entry.compare(cls, precision: "int8").passed == nil)
  }

  @Test func selfTestSizesAreNativeAndNotSquare() throws {
    let config = try Registry.configuration("vit_small")
    let sizes = SelfTest.sizes(for: config)
    #expect(sizes.count == 2 && sizes[0] == (224, 224) && sizes[1] == (144, 240))
    var tiny = smallConfig()
    tiny.nativeRows = 1
    #expect(SelfTest.sizes(for: tiny).allSatisfy { $0.height >= 4 && $0.width >= 4 })
  }

  /// Against numpy's values of MAE's get_2d_sincos_pos_embed(12, (2, 3)), whose first half is of columns.
  @Test func sinCosPositions() throws {
    let t = try SinCosPositions.tensor(rows: 2, columns: 3, width: 12)
    #expect(t.shape == [1, 7, 12])
    let v = t.floats()
    #expect(v[..<12].allSatisfy { $0 == 0 })
    // The patch in row 1, column 2.
    let expected: [Float] = [0.90929743, 0.09269850, 0.00430886, -0.41614684, 0.99569422, 0.99999072, 0.84147098, 0.04639922, 0.00215443, 0.54030231, 0.99892298, 0.99999768]
    for (found, expected) in zip(v[72...], expected) { #expect(abs(found - expected) < 1e-6, "\(found) \(expected)") }
    #expect(throws: ModelError.self) { try SinCosPositions.tensor(rows: 2, columns: 2, width: 10) }
  }
}

private let selfTestSeed0: [Float] = [0.7666215896606445, -0.13694405555725098, -0.9471324682235718, 0.9417638778686523]
private let selfTestSeed123: [Float] = [-0.4945932626724243, 0.2622889280319214, 0.5646803379058838, -0.1322169303894043]

private let goldenNormal: [UInt32] = [3163047139, 1014282243, 1034128272, 1020351780]
private let goldenUniform: [UInt32] = [3171415782, 1024501734, 1011516039, 1010149809]
