// Plain twins of foreign operators: attention.

import DinoGraph
import DinoTensor

extension OperatorCall {
  func attention(_ kind: AttentionKind) throws(GenericProblem) -> [Tensor] {
    throw .unsupported("\(op.kind.name) is not computed here yet")
  }
}
