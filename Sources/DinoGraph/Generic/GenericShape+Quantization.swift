// Shape rules of foreign operators: quantization.

internal import DinoTensor

extension GenericRule {
  func quantization(_ kind: QuantizationKind) throws(GenericProblem) -> [ValueFact] {
    throw .unsupported("\(op.kind.name) is not computed here yet")
  }
}
