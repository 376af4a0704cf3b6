// Shape rules of foreign operators: resampling.

internal import DinoTensor

extension GenericRule {
  func resampling(_ kind: ResamplingKind) throws(GenericProblem) -> [ValueFact] {
    throw .unsupported("\(op.kind.name) is not computed here yet")
  }
}
