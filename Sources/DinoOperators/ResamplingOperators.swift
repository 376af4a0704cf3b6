// Plain twins of foreign operators: resampling.

import DinoGraph
import DinoTensor

extension OperatorCall {
  func resampling(_ kind: ResamplingKind) throws(GenericProblem) -> [Tensor] {
    throw .unsupported("\(op.kind.name) is not computed here yet")
  }
}
