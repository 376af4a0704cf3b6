// Plain twins of foreign operators: reduction.

import DinoGraph
import DinoTensor

extension OperatorCall {
  func reduction(_ kind: ReductionKind) throws(GenericProblem) -> [Tensor] {
    throw .unsupported("\(op.kind.name) is not computed here yet")
  }
}
