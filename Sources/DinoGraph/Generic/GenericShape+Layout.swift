// Shape rules of foreign operators: layout.

internal import DinoTensor

extension GenericRule {
  func layout(_ kind: LayoutKind) throws(GenericProblem) -> [ValueFact] {
    throw .unsupported("\(op.kind.name) is not computed here yet")
  }
}
