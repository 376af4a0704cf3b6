// Sessions whose graphs are made for each shape: what is kept of them.

import DinoGraph
import DinoRuntime
import DinoTensor
import Testing
import TestSupport

@Suite struct ShapedSessionTests {
  /// More shapes than programs are kept, round after round: constants that were made for a shape go with its program, the file's stay.
  @Test func constantsOfAShapeGoWithItsProgram() throws {
    var random = SplitMix64(seed: 5)
    let weight = Tensor(random.floats(256), shape: [16, 16]), bias = Tensor(random.floats(16), shape: [16])
    let source = GraphSource(inputs: [.init(name: "x", dtype: .f32)]) { (shapes, _, _) throws(GenericProblem) in
      let rows = shapes["x"]?[0] ?? 0
      var g = Graph()
      let x = g.input("x", dtype: .f32, dims: [.fixed(rows), .fixed(16)])
      let w = g.constant("w", weight), b = g.constant("b", bias)
      let line = g.core(.linear(LinearEpilogue(bias: true)), [x, w, b], name: "linear")
      let made = g.constant("made", Tensor([Float](repeating: Float(rows), count: rows * 16), shape: [rows, 16]))
      g.output("y", g.core(.add, [line, made], name: "add"))
      return g
    }
    let session = try ShapedSession(source, options: SessionOptions(threads: 1, maxPlans: 3))
    let still = Tensor([Float](repeating: 0, count: 5 * 16), shape: [5, 16])
    var bytes: [Int] = []
    for _ in 0..<4 {
      for rows in 1...5 {
        let found = try session.run(["x": Tensor([Float](repeating: 0, count: rows * 16), shape: [rows, 16])], outputs: ["y"])["y"]?.floats() ?? []
        let expected = (0..<rows * 16).map { bias.floats()[$0 % 16] + Float(rows) }
        #expect(maxAbsoluteDifference(found, expected) <= 1e-6)
      }
      bytes.append(try session.plan(["x": still], outputs: ["y"]).weightBytes)
    }
    #expect(Set(bytes).count == 1, "\(bytes)")
  }
}
