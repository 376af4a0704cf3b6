// Products of integers with steps of a file, and rounding alone: plans against the plain twin, signed and unsigned, with and without zero points, both ways that a weight can lie.

import DinoGraph
import DinoRuntime
import DinoTensor
import Testing
import TestSupport

@Suite struct IntegerLinearTests {
  private struct Case: CustomTestStringConvertible {
    var input: IntegerInput
    var type: DType
    var zero: Int
    var transposed = false
    var activation: Activation?
    var residual = false
    var testDescription: String { "\(input) \(type) zero \(zero) transposed \(transposed) \(String(describing: activation)) residual \(residual)" }
  }
  private static let unsigned = IntegerInput.fixed(RoundingSteps(scale: 0.013, zero: 117, lower: 0, upper: 255))
  private static let signed = IntegerInput.fixed(RoundingSteps(scale: 0.021, zero: -4, lower: -128, upper: 127))
  private static let cases: [Case] = [
    Case(input: unsigned, type: .i8, zero: 0), Case(input: unsigned, type: .u8, zero: 128, transposed: true), Case(input: signed, type: .i8, zero: 0, transposed: true),
    Case(input: signed, type: .i8, zero: 5), Case(input: .dynamic, type: .u8, zero: 119, transposed: true), Case(input: .dynamic, type: .i8, zero: 0, activation: .relu),
    Case(input: unsigned, type: .u8, zero: 0, residual: true), Case(input: .dynamic, type: .u8, zero: 128, transposed: true, residual: true),
  ]

  private func graph(_ c: Case, tokens: Int, depth: Int, columns: Int, _ random: inout SplitMix64) -> Graph {
    var g = Graph()
    let x = g.input("x", dtype: .f32, dims: [.free("B"), .fixed(tokens), .fixed(depth)])
    let bytes = (0..<depth * columns).map { _ in UInt8.random(in: 0...255, using: &random) }, shape: Shape = c.transposed ? [depth, columns] : [columns, depth]
    let weight = g.constant("w", c.type == .u8 ? Tensor.copy(bytes, dtype: .u8, shape: shape) : Tensor.copy(bytes.map { Int8(bitPattern: $0) }, dtype: .i8, shape: shape))
    let scale = g.constant("s", Tensor(random.floats(columns, in: 0.001...0.01), shape: [columns])), zero = g.constant("z", Tensor([Float](repeating: Float(c.zero), count: columns), shape: [columns]))
    let bias = g.constant("b", Tensor(random.floats(columns), shape: [columns]))
    var e = LinearEpilogue(bias: true, activation: c.activation, residual: c.residual, transposedWeight: c.transposed), inputs = [x, weight, scale, zero, bias]
    e.integers = c.input
    if c.residual { inputs.append(g.input("r", dtype: .f32, dims: [.free("B"), .fixed(tokens), .fixed(columns)])) }
    g.output("y", g.core(.linear(e), inputs, name: "linear"))
    return g
  }

  @Test(arguments: cases) private func planIsTheTwin(_ c: Case) throws {
    for (batch, tokens, depth, columns) in [(1, 1, 1, 1), (2, 17, 48, 33), (3, 50, 130, 65), (1, 7, 5, 100)] {
      var random = SplitMix64(seed: 9)
      let g = graph(c, tokens: tokens, depth: depth, columns: columns, &random)
      var inputs = ["x": Tensor(random.floats(batch * tokens * depth, in: -2...1.5), shape: [batch, tokens, depth])]
      if c.residual { inputs["r"] = Tensor(random.floats(batch * tokens * columns), shape: [batch, tokens, columns]) }
      let wanted = try ReferenceEvaluator.run(g, inputs: inputs, outputs: ["y"])["y"]!.floats()
      for threads in [1, 2] {
        let found = try Session(g, options: SessionOptions(threads: threads)).run(inputs, outputs: ["y"])["y"]!.floats()
        // Sums of whole numbers are exact; what is left is F32 arithmetic on sums of up to 130 products of ±255 · ±255.
        let largest = wanted.reduce(1) { max($0, abs($1)) }
        #expect(maxAbsoluteDifference(found, wanted) <= 4e-6 * largest * 4, "\(batch)x\(tokens)x\(depth)x\(columns), \(threads) threads")
      }
    }
  }

  @Test func valuesWithoutARangeSaySo() throws {
    var random = SplitMix64(seed: 2)
    let g = graph(Case(input: .dynamic, type: .i8, zero: 0), tokens: 2, depth: 20, columns: 5, &random)
    var x = random.floats(40)
    x[33] = .infinity
    let y = try Session(g).run(["x": Tensor(x, shape: [1, 2, 20])], outputs: ["y"])["y"]!.floats()
    let isNoNumber = y.allSatisfy { $0.isNaN }
    #expect(isNoNumber)
  }

  @Test func roundingAlone() throws {
    var random = SplitMix64(seed: 3), g = Graph()
    let x = g.input("x", dtype: .f32, dims: [.free("B"), .fixed(33)])
    g.output("y", g.core(.round(RoundingSteps(scale: 0.1, zero: 10, lower: 0, upper: 255)), [x], name: "round"))
    let values = Tensor(random.floats(5 * 33, in: -4...40), shape: [5, 33])
    #expect(try Session(g).run(["x": values], outputs: ["y"])["y"]!.floats() == ReferenceEvaluator.run(g, inputs: ["x": values], outputs: ["y"])["y"]!.floats())
  }

  @Test func stepsThatAreNoneAreRefused() {
    var g = Graph()
    let x = g.input("x", dtype: .f32, dims: [.free("B"), .fixed(4)])
    for steps in [RoundingSteps(scale: 0, zero: 0, lower: 0, upper: 255), RoundingSteps(scale: .nan, zero: 0, lower: 0, upper: 255), RoundingSteps(scale: 1, zero: 300, lower: 0, upper: 255)] {
      var bad = g
      bad.output("y", bad.core(.round(steps), [x], name: "round"))
      #expect(throws: (any Error).self) { try bad.inferShapes(inputs: ["x": [1, 4]]) }
    }
    g.output("x", x)
  }
}
