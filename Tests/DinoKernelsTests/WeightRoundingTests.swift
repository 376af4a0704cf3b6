// Rounding of weights: for results rather than for themselves, against every choice there is on small rows; four bits against the specification's bytes.

import DinoKernels
import DinoTensor
import Foundation
import Testing
import TestSupport

@Suite struct WeightRoundingTests {
  let team = ThreadTeam.shared(2)

  static func moments(_ rows: [[Double]]) -> [Double] {
    let d = rows[0].count
    var m = [Double](repeating: 0, count: d * d)
    for r in rows { for i in 0..<d { for j in 0..<d { m[i * d + j] += r[i] * r[j] / Double(rows.count) } } }
    return m
  }

  /// (w − q)ᵀ G (w − q), with the damping that the rounding adds.
  static func error(_ w: [Float], _ q: [Float], _ g: [Double]) -> Double {
    let d = w.count, e = zip(w, q).map { Double($0 - $1) }
    let damping = 0.01 * (0..<d).reduce(0.0) { $0 + g[$1 * d + $1] } / Double(d)
    var sum = 0.0
    for i in 0..<d { for j in 0..<d { sum += e[i] * e[j] * (g[i * d + j] + (i == j ? damping : 0)) } }
    return sum
  }

  /// With inputs that do not depend on each other there is nothing to take up: each weight goes to its nearest step.
  @Test func independentInputsGiveNearestSteps() throws {
    var random = SplitMix64(seed: 3)
    for d in [1, 2, 7, 33, 64] {
      var g = [Double](repeating: 0, count: d * d)
      for i in 0..<d { g[i * d + i] = 1 }
      let w = Tensor((0..<3 * d).map { _ in Float.random(in: -2...2, using: &random) }, shape: [3, d])
      let (values, scales) = try #require(LatticeRounding(moments: g, width: d)).int8(w, team: team)
      let x = w.floats(), q = values.floats(), s = scales.floats()
      for i in x.indices { #expect(q[i] == min(max((x[i] / s[i / d]).rounded(.toNearestOrEven), -127), 127)) }
    }
  }

  /// Inputs that nearly repeat each other: errors cancel, and the result is near the best of all choices, which is far better than the nearest steps.
  @Test func dependentInputsShareTheirErrors() throws {
    var random = SplitMix64(seed: 5)
    var gained = 0.0
    for trial in 0..<20 {
      let d = 5, g = Self.moments((0..<40).map { _ in
        let common = Double.random(in: -1...1, using: &random)
        return (0..<d).map { _ in common + 0.1 * Double.random(in: -1...1, using: &random) }
      })
      let w = (0..<d).map { _ in Float.random(in: -1...1, using: &random) }
      let (values, scales) = try #require(LatticeRounding(moments: g, width: d)).int8(Tensor(w, shape: [1, d]), team: team)
      let s = scales.floats()[0], found = Self.error(w, values.floats().map { $0 * s }, g)
      let nearest = Self.error(w, w.map { min(max(($0 / s).rounded(.toNearestOrEven), -127), 127) * s }, g)
      // Every choice of the two steps beside each weight.
      var best = Double.infinity
      for choice in 0..<1 << d {
        let q = w.enumerated().map { i, x in min(max((x / s).rounded(.down) + Float(choice >> i & 1), -127), 127) * s }
        best = min(best, Self.error(w, q, g))
      }
      #expect(found <= nearest * 1.0001 + 1e-12 && found >= best * 0.5 - 1e-12, "trial \(trial): \(found), nearest \(nearest), best \(best)")
      gained += nearest / max(found, 1e-12)
    }
    #expect(gained / 20 > 3)
  }

  @Test func momentsThatAreNoneAreRefused() {
    #expect(LatticeRounding(moments: [.nan], width: 1) == nil)
    #expect(LatticeRounding(moments: [1, 5, 5, 1], width: 2) == nil)
    #expect(LatticeRounding(moments: [0, 0, 0, 0], width: 2) != nil)
  }

  /// Rows of zeros, of one value, and of the largest floats come back as they can.
  @Test func extremes() throws {
    let w = Tensor([0, 0, 0, 1e-30, 0, 0, 3, 3, -3], shape: [3, 3])
    let (values, scales) = try #require(LatticeRounding(moments: [1, 0, 0, 0, 1, 0, 0, 0, 1], width: 3)).int8(w, team: team)
    let back = values.multipliedRows(by: scales).floats()
    #expect(scales.floats().allSatisfy { $0 > 0 && $0.isFinite } && back.allSatisfy(\.isFinite))
    #expect(Array(back[0..<3]) == [0, 0, 0] && abs(back[6] - 3) < 0.02 && back[6] == -back[8])
  }

  /// The bytes of the specification.
  @Test func fourBitsAsSpecified() throws {
    let steps = Array(-7...7).map(Float.init)
    let row = (steps + steps + [0, 1]).map { $0 * 0.25 }
    let (values, scales) = try Int4Groups.rounded(Tensor(row, shape: [1, 32]), team: team)
    let text = "21 43 65 87 a9 cb ed 1f 32 54 76 98 ba dc fe 98"
    #expect(values.unsafeBytes.map { String(format: "%02x", $0) }.joined(separator: " ") == text)
    #expect(scales.floats() == [0.25] && !Int4Groups.hasForbidden(values))
    #expect(try Int4Groups.expanded(values, scales: scales, shape: [1, 32], team: team).floats() == row)
  }

  @Test func fourBitsOfRaggedRows() throws {
    var random = SplitMix64(seed: 8)
    for (out, inner) in [(1, 1), (3, 31), (2, 33), (5, 64), (4, 100)] {
      let w = (0..<out * inner).map { _ in Float.random(in: -1...1, using: &random) }
      let (values, scales) = try Int4Groups.rounded(Tensor(w, shape: [out, inner]), team: team)
      #expect(values.shape == [out, 16 * ((inner + 31) / 32)] && scales.shape == [out, (inner + 31) / 32] && scales.dtype == .f16)
      let back = try Int4Groups.expanded(values, scales: scales, shape: [out, inner], team: team).floats()
      let s = scales.floats(), groups = (inner + 31) / 32
      for i in w.indices {
        let step = s[i / inner * groups + i % inner / 32]
        // Within half a step, or cut off at the end of the range.
        #expect(abs(back[i] - w[i]) <= step * 0.5001 || abs(back[i]) == step * 7)
      }
      // What fills the last group up is zero.
      let last = values.unsafeBytes.last!
      if inner % 32 != 0, inner % 2 == 0 { #expect(last == 0x88) }
      // Where all count the same, results matter no more than weights.
      var g = [Double](repeating: 0, count: inner * inner)
      for i in 0..<inner { g[i * inner + i] = 1 }
      let lattice = try #require(LatticeRounding(moments: g, width: inner)).int4(Tensor(w, shape: [out, inner]), team: team)
      #expect(try Int4Groups.expanded(lattice.values, scales: lattice.scales, shape: [out, inner], team: team).floats() == back)
    }
  }
}
