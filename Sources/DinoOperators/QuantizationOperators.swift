// Plain twins of foreign operators: quantization.

import DinoGraph
import DinoTensor

extension OperatorCall {
  func quantization(_ kind: QuantizationKind) throws(GenericProblem) -> [Tensor] {
    throw .unsupported("\(op.kind.name) is not computed here yet")
  }
}
