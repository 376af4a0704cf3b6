// Plain twins of foreign operators: convolution.

import DinoGraph
import DinoTensor

extension OperatorCall {
  func convolution(_ kind: ConvolutionKind) throws(GenericProblem) -> [Tensor] {
    throw .unsupported("\(op.kind.name) is not computed here yet")
  }
}
