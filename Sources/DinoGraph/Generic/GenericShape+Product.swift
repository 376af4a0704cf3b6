// Shape rules of foreign operators: product.

internal import DinoTensor

extension GenericRule {
  func product(_ kind: ProductKind) throws(GenericProblem) -> [ValueFact] {
    throw .unsupported("\(op.kind.name) is not computed here yet")
  }
}
