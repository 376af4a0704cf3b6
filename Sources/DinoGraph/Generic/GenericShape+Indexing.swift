// Shape rules of foreign operators: indexing.

internal import DinoTensor

extension GenericRule {
  func indexing(_ kind: IndexingKind) throws(GenericProblem) -> [ValueFact] {
    throw .unsupported("\(op.kind.name) is not computed here yet")
  }
}
