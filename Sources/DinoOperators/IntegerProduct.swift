// The product of 8-bit integer matrices that MatMulInteger, ConvInteger, QLinearMatMul, QLinearConv and their like share: the exact kernels of int8 layers, on the team.
// Exact modulo 2^32, as ONNX's Int32 accumulator is. Scales and rounding are the callers' matter. Twin: Reference.int8Product.

import DinoGraph
import DinoKernels
import DinoTensor

/// Row-major bytes of matrices of one size, one after the other, and their zero points.
struct IntegerMatrices {
  let bytes: UnsafePointer<UInt8>
  let isSigned: Bool
  /// Elements of one matrix.
  let size: Int
  /// One, one for each row (column), or that many for each matrix.
  let zeros: [Int32]
  /// Rows, or columns, that zero points are of.
  let each: Int

  func matrix(_ i: Int) -> ByteMatrix {
    let own = zeros.count == 1 || zeros.count == each ? zeros : Array(zeros[i * each..<(i + 1) * each])
    return ByteMatrix(UnsafeRawPointer(bytes + i * size), isSigned: isSigned, zeroPoints: own)
  }

  /// Several matrices whose rows follow each other, as one.
  func stacked(_ count: Int) -> ByteMatrix {
    let all = zeros.count == 1 || zeros.count == each * count ? zeros : (0..<count).flatMap { _ in zeros }
    return ByteMatrix(UnsafeRawPointer(bytes), isSigned: isSigned, zeroPoints: all)
  }
}

enum IntegerProduct {
  /// c[i, j] = Σ (a[i, l] - zero of row i)·(b[l, j] - zero of column j), row-major; sums wrap.
  static func multiply(_ a: ByteMatrix, _ b: ByteMatrix, into c: UnsafeMutablePointer<Int32>, rows: Int, depth: Int, columns: Int, _ context: OperatorContext) throws(GenericProblem) {
    guard rows > 0, columns > 0 else { return }
    guard depth > 0 else { return c.update(repeating: 0, count: rows * columns) }
    Int8Products.multiply(a, rows: rows, try prepared(b, depth: depth, columns: columns, context), into: c, table: context.table, team: context.team)
  }

  /// b for several products.
  static func prepared(_ b: ByteMatrix, depth: Int, columns: Int, _ context: OperatorContext) throws(GenericProblem) -> Int8Products.Prepared {
    do { return try Int8Products.Prepared(b, depth: depth, columns: columns, table: context.table, team: context.team) } catch { throw .unsupported("there is no memory for a product of integers: \(error)") }
  }
}

extension Tensor {
  /// The bytes of matrices of `rows` × `columns`.
  /// - Parameters:
  ///   - zero: nil, one number, one for each row (`perRow`) or one for each column, of each matrix or of all.
  func integerMatrices(zero: Tensor?, perRow: Bool, rows: Int, columns: Int) throws(GenericProblem) -> IntegerMatrices {
    guard dtype == .u8 || dtype == .i8 else { throw .invalid("bytes are multiplied, not \(dtype.rawValue)") }
    if let zero, zero.dtype != dtype { throw .invalid("a zero point of \(zero.dtype.rawValue) does not fit \(dtype.rawValue)") }
    let points = zero?.integers()?.map { Int32(truncatingIfNeeded: $0) } ?? [0]
    let each = perRow ? rows : columns, size = rows * columns
    guard points.count == 1 || each > 0 && (points.count == each || points.count == count / max(size, 1) * each) else { throw .invalid("\(points.count) zero points do not fit \(shape)") }
    return IntegerMatrices(bytes: UnsafePointer((storage.base + byteOffset).assumingMemoryBound(to: UInt8.self)), isSigned: dtype == .i8, size: size, zeros: points, each: each)
  }

  /// This tensor spread to a shape that it broadcasts to.
  func broadcast(to target: Shape) throws(GenericProblem) -> Tensor {
    if shape == target { return self }
    let own = shape.strides, skip = target.rank - shape.rank
    return try strided(target, steps: target.dims.indices.map { $0 < skip || shape.dims[$0 - skip] == 1 ? 0 : own[$0 - skip] })
  }
}
