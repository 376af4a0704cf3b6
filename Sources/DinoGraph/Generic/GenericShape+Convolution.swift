// Shape rules of foreign operators: convolution.

internal import DinoTensor

extension GenericRule {
  func convolution(_ kind: ConvolutionKind) throws(GenericProblem) -> [ValueFact] {
    throw .unsupported("\(op.kind.name) is not computed here yet")
  }
}
