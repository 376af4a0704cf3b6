// The ONNX project's own single-operator tests (Tests/Reference/make_operator_fixtures.py) through the shape rules and the twins: type, shape and values of every
// output. A case may be refused, where the table below says why; a wrong result is never allowed, and neither is a refusal that the table does not know.

import DinoGraph
import DinoOperators
import DinoTensor
import Foundation
import Safetensors
import TestSupport
import Testing

@Suite struct NodeTests {
  /// Cases that are refused, by the beginning and end of their names, and why.
  static let refused: [(prefix: String, suffix: String, reason: String)] = [
    ("test_attention_", "_bf16", "ONNX rounds to BF16 after each operator of Attention"),
    ("test_training_dropout", "", "Dropout drops at random when training"),
    ("test_batchnorm_example_training_mode", "", "BatchNormalization computes running statistics when training"),
    ("test_batchnorm_epsilon_training_mode", "", "the same"),
  ]

  @Test func everyNodeTestOfONNX() throws {
    let file = try SafetensorsFile(path: Fixtures.path("operators/node_tests.safetensors"))
    let cases = try JSONDecoder().decode(NodeCases.self, from: Data(contentsOf: URL(fileURLWithPath: Fixtures.path("operators/node_tests.json")))).cases
    #expect(cases.count > 900)
    var refusals = 0, used: Set<String> = []
    for node in cases {
      let expected = Self.refused.first { node.name.hasPrefix($0.prefix) && node.name.hasSuffix($0.suffix) }
      do {
        let problem = try node.check(file)
        if let problem { Issue.record("\(node.name): \(problem)") }
      } catch let problem as GenericProblem {
        if let expected { used.insert(expected.prefix) } else { Issue.record("\(node.name) is refused: \(problem)") }
        refusals += 1
      }
    }
    for row in Self.refused where !used.contains(row.prefix) { Issue.record("\(row.prefix) is not refused any more (\(row.reason))") }
    print("node tests: \(cases.count - refusals) of \(cases.count) computed, \(refusals) refused")
  }
}

struct NodeCases: Decodable { var cases: [NodeCase] }

struct NodeCase: Decodable {
  struct Element: Decodable { var dtype: DType, bits: String }
  struct Attribute: Decodable {
    var int: Int?, float: Double?, string: String?, ints: [Int]?, floats: [Double]?, strings: [String]?, element: Element?

    var value: GenericAttribute? {
      if let int { return .int(int) }
      if let float { return .float(Float(float)) }
      if let string { return .string(string) }
      if let ints { return .ints(ints) }
      if let floats { return .floats(floats.map { Float($0) }) }
      if let strings { return .strings(strings) }
      if let element { return UInt64(element.bits).map { .element(element.dtype, bits: $0) } }
      return nil
    }
  }
  var name: String, `operator`: String, version: Int
  var attributes: [String: Attribute]
  var inputs: [String?], outputs: [String?]
  var rtol: Double, atol: Double

  /// What is wrong; nil where all is right.
  func check(_ file: SafetensorsFile) throws -> String? {
    guard let kind = GenericKind(name: self.operator) else { return "there is no operator \(self.operator)" }
    let op = Generic(kind, version: version, attributes: attributes.compactMapValues(\.value))
    let given = inputs.map { $0.flatMap(file.tensor) }
    let known = try op.infer(given.map { $0.map(ValueFact.init) }, outputs: outputs.count)
    let shapesOnly = try op.infer(given.map { $0.map { ValueFact(dtype: $0.dtype, shape: $0.shape) } }, outputs: outputs.count)
    let results = try op.evaluate(given, outputs: outputs.count)
    for (i, key) in outputs.enumerated() {
      guard let key, let expected = file.tensor(key) else { continue }
      let result = results[i]
      if result.dtype != expected.dtype { return "output \(i) is \(result.dtype.rawValue), not \(expected.dtype.rawValue)" }
      if result.shape != expected.shape { return "output \(i) has shape \(result.shape), not \(expected.shape)" }
      if known[i].dtype != result.dtype || known[i].shape != result.shape { return "the rule says \(known[i].dtype.rawValue) \(known[i].shape as Any)" }
      if shapesOnly[i].dtype != result.dtype || (shapesOnly[i].shape != nil && shapesOnly[i].shape != result.shape) {
        return "the rule, from shapes alone, says \(shapesOnly[i].dtype.rawValue) \(shapesOnly[i].shape as Any)"
      }
      if let at = difference(result, expected) { return "output \(i) \(at)" }
    }
    return nil
  }

  private func difference(_ a: Tensor, _ b: Tensor) -> String? {
    if let x = a.integers(), let y = b.integers() {
      // Whole steps are allowed only to scaled integers of other runtimes.
      let step = Int(atol)
      return x.count == y.count && zip(x, y).allSatisfy { abs($0 - $1) <= step } ? nil : "differs: \(x.prefix(12)), not \(y.prefix(12))"
    }
    for (i, (x, y)) in zip(a.reals, b.reals).enumerated() {
      if x == y || (x.isNaN && y.isNaN) { continue }
      if !(abs(x - y) <= atol + rtol * abs(y)) { return "differs at \(i): \(x), not \(y)" }
    }
    return nil
  }
}

extension Tensor {
  /// Float elements as doubles.
  fileprivate var reals: [Double] {
    guard dtype == .f64 else { return dtype.convertsToFloat ? floats().map(Double.init) : [] }
    return unsafeBytes.withMemoryRebound(to: UInt8.self) { bytes in
      (0..<count).map { UnsafeRawPointer(bytes.baseAddress! + $0 * 8).loadUnaligned(as: Double.self) }
    }
  }
}
