// ONNX Runtime's own operators (com.microsoft) against the results of ONNX Runtime itself (Tests/Reference/check_contrib_operators.py): through the shape rules and
// the twins. A case may be refused where the table says why; a wrong result is never allowed.

import DinoGraph
import DinoOperators
import Foundation
import Safetensors
import TestSupport
import Testing

@Suite struct ContribTests {
  /// Cases that are refused, by the beginning of their names, and why.
  static let refused: [(prefix: String, reason: String)] = [
    ("fused_gemm_LeakyRelu", "of FusedGemm's activations only Relu is computed"),
    ("fused_gemm_Tanh", "of FusedGemm's activations only Relu is computed"),
    ("fused_gemm_Sigmoid", "of FusedGemm's activations only Relu is computed"),
    ("q_global_last", "pools of scaled integers read [N, C, …], not [N, …, C]"),
  ]

  @Test func everyCaseOfONNXRuntime() throws {
    let file = try SafetensorsFile(path: Fixtures.path("operators/contrib.safetensors"))
    let cases = try JSONDecoder().decode(NodeCases.self, from: Data(contentsOf: URL(fileURLWithPath: Fixtures.path("operators/contrib.json")))).cases
    #expect(cases.count >= 140)
    for node in cases {
      let expected = Self.refused.first { node.name.hasPrefix($0.prefix) }
      do {
        let problem = try node.check(file)
        if let problem { Issue.record("\(node.name): \(problem)") }
        if let expected, problem == nil { Issue.record("\(node.name) is not refused any more (\(expected.reason))") }
      } catch let problem as GenericProblem {
        if expected == nil || problem.kind != .unsupported { Issue.record("\(node.name) is refused: \(problem)") }
      }
    }
  }
}
