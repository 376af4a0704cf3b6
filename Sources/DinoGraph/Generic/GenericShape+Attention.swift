// Shape rules of foreign operators: attention.

internal import DinoTensor

extension GenericRule {
  func attention(_ kind: AttentionKind) throws(GenericProblem) -> [ValueFact] {
    throw .unsupported("\(op.kind.name) is not computed here yet")
  }
}
