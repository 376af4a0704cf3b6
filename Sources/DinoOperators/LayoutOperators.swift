// Plain twins of foreign operators: layout.

import DinoGraph
import DinoTensor

extension OperatorCall {
  func layout(_ kind: LayoutKind) throws(GenericProblem) -> [Tensor] {
    throw .unsupported("\(op.kind.name) is not computed here yet")
  }
}
