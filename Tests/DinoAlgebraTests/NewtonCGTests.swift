// Newton's steps on functions whose minimum is known, and where values are too coarse to tell descent; inverses against what they are to be.

import DinoAlgebra
import Foundation
import TestSupport
import Testing

/// Σ cₖ xₖ² / 2 with curvatures from 1 down to `least`, around a minimum at 0.
private struct Quadratic {
  let curvatures: [Double]
  init(_ n: Int, least: Double) { curvatures = (0..<n).map { pow(least, Double($0) / Double(n - 1)) } }
  func place(_ x: [Double], value: (Double) -> Double = { $0 }, preconditioner: @escaping () -> ([Double]) -> [Double] = { { $0 } }) -> NewtonCG.Place {
    let curvatures = curvatures
    return .init(value: value(zip(x, curvatures).reduce(0) { $0 + $1.0 * $1.0 * $1.1 / 2 }), gradient: zip(x, curvatures).map { $0 * $1 }, curvature: { zip($0, curvatures).map { $0 * $1 } },
                 preconditioner: preconditioner)
  }
}

@Suite struct NewtonCGTests {
  /// Σ exp(xₖ) - k xₖ: the minimum is at log k, and far from it a whole step of Newton's goes too far.
  @Test func itFindsTheMinimumOfExponentials() {
    let n = 7
    let result = NewtonCG(iterations: 60).minimize([Double](repeating: -3, count: n), preconditionerCost: 0, isMinimum: { _, g in g.allSatisfy { abs($0) <= 1e-12 } }) { x in
      let e = x.map { exp($0) }
      return .init(value: (0..<n).reduce(0) { $0 + e[$1] - Double($1 + 1) * x[$1] }, gradient: (0..<n).map { e[$0] - Double($0 + 1) }, curvature: { v in zip(e, v).map { $0 * $1 } },
                   preconditioner: { { v in zip(e, v).map { $1 / $0 } } })
    }
    #expect(result.isConverged && result.iterations < 40)
    for k in 0..<n { #expect(abs(result.x[k] - log(Double(k + 1))) < 1e-12) }
  }

  @Test func aPreconditionerSavesProducts() {
    let quadratic = Quadratic(60, least: 1e-6), start = [Double](repeating: 1, count: 60)
    func minimum(_ preconditioner: @escaping () -> ([Double]) -> [Double]) -> NewtonCG.Result {
      NewtonCG(iterations: 50).minimize(start, preconditionerCost: 0, isMinimum: { _, g in g.allSatisfy { abs($0) <= 1e-12 } }) { quadratic.place($0, preconditioner: preconditioner) }
    }
    let without = minimum { { $0 } }, exact = minimum { { zip($0, quadratic.curvatures).map { $0 / $1 } } }
    #expect(without.isConverged && without.products > 60)
    #expect(exact.isConverged && exact.products <= 2 && exact.iterations <= 2)
  }

  /// One is kept until the products made with it cost as much as making it.
  @Test func preconditionersAreMadeAsOftenAsTheyPay() {
    let quadratic = Quadratic(40, least: 1e-3)
    func made(cost: Double) -> (made: Int, steps: Int) {
      var made = 0
      let result = NewtonCG(iterations: 50).minimize([Double](repeating: 1, count: 40), preconditionerCost: cost, isMinimum: { _, g in g.allSatisfy { abs($0) <= 1e-10 } }) {
        quadratic.place($0, preconditioner: { made += 1; return { $0 } })
      }
      #expect(result.isConverged)
      return (made, result.iterations)
    }
    let always = made(cost: 0), once = made(cost: .infinity)
    #expect(always.made == always.steps && always.steps > 2)
    #expect(once.made == 1)
  }

  /// Values that are a large constant with an error in their last digits: near the minimum they say nothing, the gradient does.
  @Test func slopesLeadWhereValuesAreRounded() {
    let quadratic = Quadratic(20, least: 1e-2)
    func minimum(_ search: NewtonCG) -> NewtonCG.Result {
      search.minimize([Double](repeating: 1, count: 20), preconditionerCost: 0, isMinimum: { _, g in g.allSatisfy { abs($0) <= 1e-13 } }) { x in quadratic.place(x, value: { 1e3 + 1e-11 * sin(1e12 * x[0]) + $0 }) }
    }
    let found = minimum(NewtonCG(iterations: 200))
    #expect(found.isConverged && found.x.allSatisfy { abs($0) <= 1e-11 })
    // With values alone it ends where they stop falling.
    var byValues = NewtonCG(iterations: 200)
    byValues.valueRounding = -1
    let stuck = minimum(byValues)
    #expect(!stuck.isConverged)
  }

  @Test func anEndWithoutAMinimumIsTold() {
    // Falls for ever, without curvature.
    let endless = NewtonCG(iterations: 5).minimize([0], preconditionerCost: 0, isMinimum: { _, _ in false }) { x in .init(value: -x[0], gradient: [-1], curvature: { _ in [0] }, preconditioner: { { $0 } }) }
    #expect(!endless.isConverged && endless.iterations == 5 && endless.x[0] > 0)
    let none = NewtonCG(iterations: 5).minimize([0], preconditionerCost: 0, isMinimum: { _, g in g == [0] }) { _ in .init(value: 1, gradient: [0], curvature: { $0 }, preconditioner: { { $0 } }) }
    #expect(none.isConverged && none.iterations == 0)
  }

  @Test(arguments: [1, 2, 7, 8, 33]) func inversesAreInverses(n: Int) throws {
    var random = SplitMix64(seed: UInt64(n))
    let b = (0..<n * n).map { _ in Double.random(in: -1...1, using: &random) }
    var a = [Double](repeating: 0, count: n * n)
    for i in 0..<n { for j in 0..<n { a[i * n + j] = (0..<n).reduce(i == j ? 0.1 : 0) { $0 + b[i * n + $1] * b[j * n + $1] } } }
    let found = try #require(inverse(positiveDefinite: a, size: n))
    for i in 0..<n {
      for j in 0..<n {
        let product = (0..<n).reduce(0) { $0 + a[i * n + $1] * found[$1 * n + j] }
        #expect(abs(product - (i == j ? 1 : 0)) < 1e-10)
        #expect(found[i * n + j] == found[j * n + i])
      }
    }
    // With one eigenvalue below 0 there is none.
    a[n * n - 1] = -1
    #expect(inverse(positiveDefinite: a, size: n) == nil)
  }
}
