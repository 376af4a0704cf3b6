// Plain twins of foreign operators that sum products: MatMul, Gemm, integer products, and ONNX Runtime's fused forms of them. Einsum is EinsumOperator.swift.

import DinoGraph
import DinoTensor

extension OperatorCall {
  func product(_ kind: ProductKind) throws(GenericProblem) -> [Tensor] {
    switch kind {
    case .matMul: return [try matMul(try input(0), try input(1))]
    case .fusedMatMul:
      func flipped(_ x: Tensor, _ attribute: String) throws(GenericProblem) -> Tensor { op.int(attribute) ?? 0 != 0 && x.shape.rank >= 2 ? try swapLastAxes(x) : x }
      _ = try inferred()
      return [try scaled(try matMul(flipped(try input(0), "transA"), flipped(try input(1), "transB")), by: op.float("alpha") ?? 1)]
    case .gemm: return [try gemm()]
    case .fusedGemm:
      guard op.string("activation") == "Relu" else { throw .unsupported("FusedGemm with the activation \(op.string("activation") ?? "none")") }
      return try Generic(.unary(.relu), version: op.version).evaluate([try gemm()], outputs: 1, context: context)
    case .matMulInteger: return [try matMulInteger(try input(0), try input(1), optional(2), optional(3))]
    case .matMulIntegerToFloat:
      let product = try matMulInteger(try input(0), try input(1), optional(4), optional(5))
      return [try dequantized(product, scales: [try input(2), try input(3)], bias: optional(6))]
    case .dynamicQuantizeMatMul:
      let parts = try Generic(.quantization(.dynamicQuantize), version: max(op.version, 11)).evaluate([try input(0)], outputs: 3, context: context)
      let product = try matMulInteger(parts[0], try input(1), parts[2], optional(3))
      return [try dequantized(product, scales: [parts[1], try input(2)], bias: optional(4))]
    case .matMulNBits: return [try matMulNBits()]
    case .einsum: return [try einsum()]
    }
  }

  // MARK: MatMul

  /// numpy.matmul of tensors of one type.
  func matMul(_ a: Tensor, _ b: Tensor) throws(GenericProblem) -> Tensor {
    let facts = try Generic(.product(.matMul), version: op.version).infer([ValueFact(a), ValueFact(b)], outputs: 1)
    guard let shape = facts[0].shape else { throw .invalid("MatMul of unknown shapes") }
    if shape.count == 0 { return try Tensor.result(a.dtype, shape) }
    switch a.dtype {
    case .f32: return try floatProduct(a, b, shape)
    case .f16, .bf16: return try floatProduct(try a.float32(), try b.float32(), shape).rounded(to: a.dtype)
    default: return try PlainProduct(a: a, b: b, shape: shape).dispatch(a.dtype)
    }
  }

  private func floatProduct(_ a: Tensor, _ b: Tensor, _ shape: Shape) throws(GenericProblem) -> Tensor {
    let plan = ProductPlan(a.shape, b.shape)
    return try Tensor.result(.f32, shape, of: Float.self) { c throws(GenericProblem) in
      try a.read(Float.self) { x throws(GenericProblem) in
        try b.read(Float.self) { y throws(GenericProblem) in
          if plan.rightIsShared {
            // One matrix for all: the rows of all images are one matrix.
            try FloatProduct.multiply(x, plan.k, y, plan.n, into: c, plan.n, m: plan.batch * plan.m, k: plan.k, n: plan.n, context)
          } else {
            for i in 0..<plan.batch {
              try FloatProduct.multiply(x + plan.left(i) * plan.m * plan.k, plan.k, y + plan.right(i) * plan.k * plan.n, plan.n, into: c + i * plan.m * plan.n, plan.n, m: plan.m, k: plan.k,
                                        n: plan.n, context)
            }
          }
        }
      }
    }
  }

  private func swapLastAxes(_ x: Tensor) throws(GenericProblem) -> Tensor {
    let r = x.shape.rank
    let transpose = Generic(.layout(.transpose), version: op.version, attributes: ["perm": .ints(Array(0..<r - 2) + [r - 1, r - 2])])
    return try transpose.evaluate([x], outputs: 1, context: context)[0]
  }

  private func scaled(_ x: Tensor, by factor: Float) throws(GenericProblem) -> Tensor {
    factor == 1 ? x : try arithmeticHelper(.mul, x, try Tensor([factor], shape: []).rounded(to: x.dtype))
  }

  func arithmeticHelper(_ kind: ArithmeticKind, _ a: Tensor, _ b: Tensor) throws(GenericProblem) -> Tensor {
    try Generic(.arithmetic(kind), version: max(op.version, 13)).evaluate([a, b], outputs: 1, context: context)[0]
  }

  // MARK: Gemm

  private func gemm() throws(GenericProblem) -> Tensor {
    _ = try inferred()
    var a = try input(0), b = try input(1)
    if op.int("transA") ?? 0 != 0 { a = try swapLastAxes(a) }
    if op.int("transB") ?? 0 != 0 { b = try swapLastAxes(b) }
    let alpha = op.float("alpha") ?? 1, beta = op.float("beta") ?? 1
    let isFloat = [.f32, .f16, .bf16, .f64].contains(a.dtype)
    guard isFloat || (alpha == 1 && beta == 1) else { throw .unsupported("Gemm of \(a.dtype.rawValue) with factors") }
    var y = try matMul(a, b)
    if alpha != 1 { y = try scaled(y, by: alpha) }
    guard let c = optional(2), beta != 0 else { return y }
    return try arithmeticHelper(.add, y, beta == 1 ? c : try scaled(c, by: beta))
  }

  // MARK: Integers

  /// Products of bytes, each minus its zero point, as 32-bit integers. Zero points: one; one for each row of a; one for each column of b.
  func matMulInteger(_ a: Tensor, _ b: Tensor, _ aZero: Tensor?, _ bZero: Tensor?) throws(GenericProblem) -> Tensor {
    let facts = try Generic(.product(.matMulInteger), version: max(op.version, 10)).infer([ValueFact(a), ValueFact(b)], outputs: 1)
    guard let shape = facts[0].shape else { throw .invalid("MatMulInteger of unknown shapes") }
    if shape.count == 0 { return try Tensor.result(.i32, shape) }
    let plan = ProductPlan(a.shape, b.shape)
    let left = try a.integerMatrices(zero: aZero, perRow: true, rows: plan.m, columns: plan.k), right = try b.integerMatrices(zero: bZero, perRow: false, rows: plan.k, columns: plan.n)
    defer { withExtendedLifetime((a.storage, b.storage)) {} }
    return try Tensor.result(.i32, shape, of: Int32.self) { c throws(GenericProblem) in
      if plan.rightIsShared {
        try IntegerProduct.multiply(left.stacked(plan.batch), right.matrix(0), into: c, rows: plan.batch * plan.m, depth: plan.k, columns: plan.n, context)
      } else {
        for i in 0..<plan.batch {
          try IntegerProduct.multiply(left.matrix(plan.left(i)), right.matrix(plan.right(i)), into: c + i * plan.m * plan.n, rows: plan.m, depth: plan.k, columns: plan.n, context)
        }
      }
    }
  }

  /// Integers times scales (which broadcast over columns), plus a bias.
  private func dequantized(_ product: Tensor, scales: [Tensor], bias: Tensor?) throws(GenericProblem) -> Tensor {
    var y = try product.float32(), scale = scales[0]
    for next in scales.dropFirst() { scale = try arithmeticHelper(.mul, scale, next) }
    y = try arithmeticHelper(.mul, y, scale)
    if let bias { y = try arithmeticHelper(.add, y, bias) }
    return y
  }

  /// x · Wᵀ with W in blocks of 4 or 8 bits: [N, blocks, bytes], scales and zero points for each block (ONNX Runtime's MatMulNBits).
  private func matMulNBits() throws(GenericProblem) -> Tensor {
    let (dtype, shape) = try inferredShape()
    guard let k = op.int("K"), let n = op.int("N") else { throw .invalid("MatMulNBits needs K and N") }
    let bits = op.int("bits") ?? 4, size = op.int("block_size") ?? 32
    guard bits == 4 || bits == 8, (16...1 << 20).contains(size), size & (size - 1) == 0, optional(4) == nil else { throw .unsupported("MatMulNBits of \(bits) bits in blocks of \(size)\(optional(4) == nil ? "" : ", with group indices")") }
    let blocks = (k + size - 1) / size, packed = try input(1), scales = try input(2).float32()
    guard packed.dtype == .u8, packed.count == n * blocks * (size * bits / 8), scales.count == n * blocks else { throw .invalid("MatMulNBits: weights \(packed.shape) or scales \(scales.shape) do not fit N = \(n), K = \(k)") }
    let zeros = try optional(3).map { tensor throws(GenericProblem) -> [Float] in
      if tensor.dtype != .u8 {
        guard tensor.count == n * blocks else { throw .invalid("MatMulNBits: zero points \(tensor.shape) do not fit") }
        return tensor.floats()
      }
      let perRow = (blocks * bits + 7) / 8, bytes = try tensor.elements(UInt8.self)
      guard bytes.count == n * perRow else { throw .invalid("MatMulNBits: zero points \(tensor.shape) do not fit") }
      return (0..<n * blocks).map { i in
        let row = i / blocks, block = i % blocks
        return bits == 8 ? Float(bytes[row * perRow + block]) : Float((bytes[row * perRow + block / 2] >> UInt8(block % 2 * 4)) & 15)
      }
    } ?? Array(repeating: Float(1 << (bits - 1)), count: n * blocks)
    let bytes = try packed.elements(UInt8.self), s = scales.floats()
    let weight = try Tensor.result(.f32, [k, n], of: Float.self) { w in
      for row in 0..<n {
        for i in 0..<k {
          let block = row * blocks + i / size, inside = i % size
          let code = bits == 8 ? bytes[block * size + inside] : (bytes[block * (size / 2) + inside / 2] >> UInt8(inside % 2 * 4)) & 15
          w[i * n + row] = (Float(code) - zeros[block]) * s[block]
        }
      }
    }
    var y = try matMul(try input(0).float32(), weight)
    if let bias = optional(5) { y = try arithmeticHelper(.add, y, try bias.float32()) }
    return try y.viewed(as: shape).rounded(to: dtype)
  }
}

/// How the matrices of two batches meet.
struct ProductPlan {
  let m: Int
  let k: Int
  let n: Int
  let batch: Int
  private let leftIndex: [Int]
  private let rightIndex: [Int]
  /// All left matrices meet the one right matrix.
  let rightIsShared: Bool

  /// Shapes that numpy.matmul accepts.
  init(_ a: Shape, _ b: Shape) {
    m = a.rank == 1 ? 1 : a[-2]
    k = a[-1]
    n = b.rank == 1 ? 1 : b[-1]
    let la = Array(a.dims.dropLast(2)), lb = Array(b.dims.dropLast(2)), rank = max(la.count, lb.count)
    let pa = Array(repeating: 1, count: rank - la.count) + la, pb = Array(repeating: 1, count: rank - lb.count) + lb
    let dims = zip(pa, pb).map { $0 == 1 ? $1 : $0 }
    let count = dims.reduce(1, *)
    batch = count
    rightIsShared = pb.allSatisfy { $0 == 1 } && pa == dims
    func indices(_ extents: [Int]) -> [Int] {
      (0..<count).map { i in
        var rest = i, index = 0, step = 1
        for axis in dims.indices.reversed() {
          let position = rest % max(dims[axis], 1)
          rest /= max(dims[axis], 1)
          if extents[axis] != 1 { index += position * step }
          step *= extents[axis]
        }
        return index
      }
    }
    leftIndex = rightIsShared ? [] : indices(pa)
    rightIndex = rightIsShared ? [] : indices(pb)
  }

  func left(_ i: Int) -> Int { leftIndex[i] }
  func right(_ i: Int) -> Int { rightIndex[i] }
}

/// Matrix products of any type in plain loops: the oracle of the fast ones.
struct PlainProduct: ElementWork {
  let a: Tensor
  let b: Tensor
  let shape: Shape

  func run<T: NumericElement>(_ type: T.Type) throws(GenericProblem) -> Tensor {
    let plan = ProductPlan(a.shape, b.shape)
    return try Tensor.result(a.dtype, shape, of: T.self) { c throws(GenericProblem) in
      try a.read(T.self) { x throws(GenericProblem) in
        try b.read(T.self) { y in
          for i in 0..<plan.batch {
            let left = x + (plan.rightIsShared ? i : plan.left(i)) * plan.m * plan.k, right = y + (plan.rightIsShared ? 0 : plan.right(i)) * plan.k * plan.n
            for row in 0..<plan.m {
              for column in 0..<plan.n {
                var sum: T = 0
                for l in 0..<plan.k { sum = T.add(sum, T.mul(left[row * plan.k + l], right[l * plan.n + column])) }
                c[(i * plan.m + row) * plan.n + column] = sum
              }
            }
          }
        }
      }
    }
  }
}
