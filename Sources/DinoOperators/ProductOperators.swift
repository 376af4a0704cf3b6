// Plain twins of foreign operators: product.

import DinoGraph
import DinoTensor

extension OperatorCall {
  func product(_ kind: ProductKind) throws(GenericProblem) -> [Tensor] {
    throw .unsupported("\(op.kind.name) is not computed here yet")
  }
}
