// Shape rules of foreign operators: reduction.

internal import DinoTensor

extension GenericRule {
  func reduction(_ kind: ReductionKind) throws(GenericProblem) -> [ValueFact] {
    throw .unsupported("\(op.kind.name) is not computed here yet")
  }
}
