// Plain twins of foreign operators: arithmetic, unary, comparison.

import DinoGraph
import DinoTensor

extension OperatorCall {
  func arithmetic(_ kind: ArithmeticKind) throws(GenericProblem) -> [Tensor] {
    throw .unsupported("\(op.kind.name) is not computed here yet")
  }

  func unary(_ kind: UnaryKind) throws(GenericProblem) -> [Tensor] {
    throw .unsupported("\(op.kind.name) is not computed here yet")
  }

  func comparison(_ kind: ComparisonKind) throws(GenericProblem) -> [Tensor] {
    throw .unsupported("\(op.kind.name) is not computed here yet")
  }
}
