// Plain twins of foreign operators: indexing.

import DinoGraph
import DinoTensor

extension OperatorCall {
  func indexing(_ kind: IndexingKind) throws(GenericProblem) -> [Tensor] {
    throw .unsupported("\(op.kind.name) is not computed here yet")
  }
}
