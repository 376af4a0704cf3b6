// Plain twins of foreign operators: normalization.

import DinoGraph
import DinoTensor

extension OperatorCall {
  func normalization(_ kind: NormalizationKind) throws(GenericProblem) -> [Tensor] {
    throw .unsupported("\(op.kind.name) is not computed here yet")
  }
}
