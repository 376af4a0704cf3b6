// Shape rules of foreign operators: normalization.

internal import DinoTensor

extension GenericRule {
  func normalization(_ kind: NormalizationKind) throws(GenericProblem) -> [ValueFact] {
    throw .unsupported("\(op.kind.name) is not computed here yet")
  }
}
