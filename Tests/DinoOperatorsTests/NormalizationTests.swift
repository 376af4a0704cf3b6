// Twins and shape rules of normalisations: known answers of scales and biases of every shape that broadcasts.

import DinoGraph
import DinoOperators
import DinoTensor
import Testing

@Suite struct NormalizationTests {
  /// Each row is -1, 1 once it is normed.
  private let x = floats([1, 3, 5, 9, -2, 2, 0, 8], [2, 2, 2])

  @Test(arguments: [
    ([2], [1, 3], [-1, 3, -1, 3, -1, 3, -1, 3]), ([1, 1, 2], [1, 3], [-1, 3, -1, 3, -1, 3, -1, 3]), ([1, 1, 1], [2], [-2, 2, -2, 2, -2, 2, -2, 2]),
    ([2, 2], [1, 2, 3, 4], [-1, 2, -3, 4, -1, 2, -3, 4]), ([2, 1, 1], [1, 2], [-1, 1, -1, 1, -2, 2, -2, 2]),
  ] as [(Shape, [Float], [Float])]) func layerNormScales(_ shape: Shape, _ scale: [Float], _ expected: [Float]) throws {
    let attributes: [String: GenericAttribute] = ["epsilon": .float(0)]
    let y = try applied("LayerNormalization", 17, [x, floats(scale, shape)], attributes)[0].floats()
    let shifted = try applied("LayerNormalization", 17, [x, floats(scale, shape), floats([10, 20], [2, 1])], attributes)[0].floats()
    for i in 0..<8 {
      #expect(abs(y[i] - expected[i]) < 1e-5)
      #expect(abs(shifted[i] - expected[i] - (i % 4 < 2 ? 10 : 20)) < 1e-5)
    }
  }

  @Test func scalesThatDoNotFitAreRefused() {
    for shape: Shape in [[3], [2, 2, 2, 1], [1, 2, 2, 2], [3, 1, 1]] {
      #expect(refused("LayerNormalization", 17, [x, floats([Float](repeating: 1, count: shape.count), shape)]))
    }
  }
}
