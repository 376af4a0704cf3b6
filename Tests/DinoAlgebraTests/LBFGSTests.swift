// L-BFGS on functions whose minimum is known, and where values are too coarse to tell descent.

import DinoAlgebra
import Foundation
import TestSupport
import Testing

@Suite struct LBFGSTests {
  @Test func lbfgsFindsTheBottomOfRosenbrocksValley() {
    let result = LBFGS(iterations: 500).minimize([-1.2, 1], isMinimum: { _, g in max(abs(g[0]), abs(g[1])) <= 1e-9 }) { x in
      let a = 1 - x[0], b = x[1] - x[0] * x[0]
      return (a * a + 100 * b * b, [-2 * a - 400 * x[0] * b, 200 * b])
    }
    #expect(result.isConverged && abs(result.x[0] - 1) < 1e-6 && abs(result.x[1] - 1) < 1e-6)
  }

  /// A quadratic whose values are a large constant with an error in its last digits: near the minimum they say nothing, the gradient does.
  @Test func slopesLeadWhereValuesAreRounded() {
    let n = 20, curvatures = (0..<n).map { pow(1e-2, Double($0) / Double(n - 1)) }
    func minimum(_ search: LBFGS) -> LBFGS.Result {
      search.minimize([Double](repeating: 1, count: n), isMinimum: { _, g in g.allSatisfy { abs($0) <= 1e-13 } }) { x in
        (1e3 + 1e-11 * sin(1e12 * x[0]) + (0..<n).reduce(0) { $0 + curvatures[$1] * x[$1] * x[$1] / 2 }, (0..<n).map { curvatures[$0] * x[$0] })
      }
    }
    let found = minimum(LBFGS(iterations: 1000))
    #expect(found.isConverged && found.x.allSatisfy { abs($0) <= 1e-11 })
    // With values alone it ends where they stop falling.
    var byValues = LBFGS(iterations: 1000)
    byValues.valueRounding = -1
    let stuck = minimum(byValues)
    #expect(!stuck.isConverged && stuck.gradient.contains { abs($0) > 1e-9 })
  }

  @Test func anEndWithoutAMinimumIsTold() {
    // Falls for ever.
    let endless = LBFGS(iterations: 5).minimize([0], isMinimum: { _, _ in false }) { x in (-x[0], [-1]) }
    #expect(!endless.isConverged && endless.iterations <= 5)
    let none = LBFGS(iterations: 5).minimize([0], isMinimum: { _, g in g == [0] }) { _ in (1, [0]) }
    #expect(none.isConverged && none.iterations == 0)
  }
}
