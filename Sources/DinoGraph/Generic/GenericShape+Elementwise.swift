// Shape rules of foreign operators: arithmetic, unary, comparison.

internal import DinoTensor

extension GenericRule {
  func arithmetic(_ kind: ArithmeticKind) throws(GenericProblem) -> [ValueFact] {
    throw .unsupported("\(op.kind.name) is not computed here yet")
  }

  func unary(_ kind: UnaryKind) throws(GenericProblem) -> [ValueFact] {
    throw .unsupported("\(op.kind.name) is not computed here yet")
  }

  func comparison(_ kind: ComparisonKind) throws(GenericProblem) -> [ValueFact] {
    throw .unsupported("\(op.kind.name) is not computed here yet")
  }
}
