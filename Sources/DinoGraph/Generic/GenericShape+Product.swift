// Shape rules of foreign operators that sum products: matrix products by NumPy's rule, Gemm, Einsum, and ONNX Runtime's fused forms.

internal import DinoTensor

extension GenericRule {
  func product(_ kind: ProductKind) throws(GenericProblem) -> [ValueFact] {
    let a = try input(0), b = try input(kind == .einsum ? 0 : 1)
    switch kind {
    case .matMul:
      guard a.dtype == b.dtype else { throw .invalid("MatMul multiplies \(a.dtype.rawValue) with \(b.dtype.rawValue)") }
      return [ValueFact(dtype: a.dtype, shape: try matrixProduct(a.shape, b.shape))]
    case .matMulInteger: return [ValueFact(dtype: .i32, shape: try matrixProduct(try bytes(a), try bytes(b)))]
    case .dynamicQuantizeMatMul:
      guard a.dtype == .f32 else { throw .unsupported("DynamicQuantizeMatMul of \(a.dtype.rawValue)") }
      return [ValueFact(dtype: .f32, shape: try matrixProduct(a.shape, try bytes(b)))]
    case .matMulIntegerToFloat: return [ValueFact(dtype: .f32, shape: try matrixProduct(try bytes(a), try bytes(b)))]
    case .fusedMatMul:
      guard op.int("transBatchA") ?? 0 == 0, op.int("transBatchB") ?? 0 == 0 else { throw .unsupported("FusedMatMul with transposed batches") }
      return [ValueFact(dtype: a.dtype, shape: try matrixProduct(flipped(a.shape, "transA"), flipped(b.shape, "transB")))]
    case .gemm, .fusedGemm: return [ValueFact(dtype: a.dtype, shape: try gemm(a.shape, b.shape))]
    case .matMulNBits:
      guard let k = op.int("K"), let n = op.int("N"), k > 0, n > 0 else { throw .invalid("MatMulNBits needs positive K and N") }
      guard let x = a.shape else { return [ValueFact(dtype: a.dtype, shape: nil)] }
      guard x.rank >= 1, x[-1] == k else { throw .invalid("MatMulNBits: the input of shape \(x) does not end in K = \(k)") }
      return [ValueFact(dtype: a.dtype, shape: Shape(x.dims.dropLast() + [n]))]
    case .einsum:
      guard let equation = op.string("equation") else { throw .invalid("Einsum has no equation") }
      var shapes: [Shape] = []
      for i in inputs.indices {
        let fact = try input(i)
        guard fact.dtype == a.dtype else { throw .invalid("Einsum of \(a.dtype.rawValue) and \(fact.dtype.rawValue)") }
        guard let shape = fact.shape else { return [ValueFact(dtype: a.dtype, shape: nil)] }
        shapes.append(shape)
      }
      return [ValueFact(dtype: a.dtype, shape: try EinsumPlan(equation, shapes).result)]
    }
  }

  private func bytes(_ fact: ValueFact) throws(GenericProblem) -> Shape? {
    guard fact.dtype == .u8 || fact.dtype == .i8 else { throw .invalid("\(op.kind.name) multiplies U8 and I8, not \(fact.dtype.rawValue)") }
    return fact.shape
  }

  private func flipped(_ shape: Shape?, _ attribute: String) -> Shape? {
    guard let shape, shape.rank >= 2, op.int(attribute) ?? 0 != 0 else { return shape }
    return Shape(shape.dims.dropLast(2) + [shape[-1], shape[-2]])
  }

  /// numpy.matmul: vectors are rows on the left and columns on the right; leading axes broadcast.
  private func matrixProduct(_ a: Shape?, _ b: Shape?) throws(GenericProblem) -> Shape? {
    guard let a, let b else { return nil }
    guard a.rank >= 1, b.rank >= 1, a[-1] == b[b.rank == 1 ? 0 : -2] else { throw .invalid("\(op.kind.name) cannot multiply \(a) with \(b)") }
    let lead = try broadcast([Shape(Array(a.dims.dropLast(2))), Shape(Array(b.dims.dropLast(2)))]) ?? []
    return Shape(lead.dims + (a.rank == 1 ? [] : [a[-2]]) + (b.rank == 1 ? [] : [b[-1]]))
  }

  private func gemm(_ a: Shape?, _ b: Shape?) throws(GenericProblem) -> Shape? {
    guard let a, let b else { return nil }
    guard a.rank == 2, b.rank == 2 else { throw .invalid("Gemm multiplies matrices, not \(a) with \(b)") }
    let (m, k) = op.int("transA") ?? 0 != 0 ? (a[1], a[0]) : (a[0], a[1]), (l, n) = op.int("transB") ?? 0 != 0 ? (b[1], b[0]) : (b[0], b[1])
    guard k == l else { throw .invalid("Gemm cannot multiply \(a) with \(b)") }
    if let c = optional(2)?.shape, try broadcast([c, [m, n]]) != [m, n] { throw .invalid("Gemm cannot add \(c) to \([m, n])") }
    return [m, n]
  }
}
