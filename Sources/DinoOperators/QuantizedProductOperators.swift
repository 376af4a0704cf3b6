// Plain twins of foreign operators: products of scaled 8-bit integers, QLinearMatMul, QGemm and QLinearConv. Sums are exact in 32 bits (they wrap, as ONNX's
// accumulator does); then each is scaled in F32 and rounded half to even.

import DinoGraph
import DinoKernels
import DinoTensor

extension OperatorCall {
  func quantizedMatMul() throws(GenericProblem) -> Tensor {
    let (target, shape) = try inferredShape()
    let a = try input(0), b = try input(3)
    let sizes = try op.quantizedMatMul(a.shape, b.shape), m = sizes.rows, k = sizes.depth, n = sizes.columns
    let left = try input(1).float32().floats(), right = try input(4).float32().floats()
    let scaling = Scaling(result: try oneFloat(6), zero: Float(try shift(7)), target: target)
    let result = try Tensor.result(target, shape)
    guard result.count > 0 else { return result }
    let rows = try a.integerMatrices(zero: try input(2), perRow: true, rows: m, columns: k), columns = try b.integerMatrices(zero: try input(5), perRow: false, rows: k, columns: n)
    let sums = try Tensor.result(.i32, [m, n])
    defer { withExtendedLifetime((a.storage, b.storage, sums.storage, result.storage)) {} }
    let sumsPointer = sums.storage.base.assumingMemoryBound(to: Int32.self)
    var held: (index: Int, matrix: Int8Products.Prepared)?
    for batch in 0..<sizes.batch.reduce(1, *) {
      let at = (left: matrixIndex(batch, sizes.batch, of: sizes.leftBatch), right: matrixIndex(batch, sizes.batch, of: sizes.rightBatch))
      if k == 0 {
        sumsPointer.update(repeating: 0, count: m * n)
      } else {
        let matrix = held?.index == at.right ? held!.matrix : try IntegerProduct.prepared(columns.matrix(at.right), depth: k, columns: n, context)
        held = (at.right, matrix)
        Int8Products.multiply(rows.matrix(at.left), rows: m, matrix, into: sumsPointer, table: context.table, team: context.team)
      }
      for i in 0..<m {
        let scale = left[left.count == 1 ? 0 : i]
        scaling.write(sumsPointer + i * n, n, scales: right.map { scale * $0 }, into: result, at: (batch * m + i) * n)
      }
    }
    return result
  }

  func quantizedGemm() throws(GenericProblem) -> Tensor {
    let (target, shape) = try inferredShape()
    let a = try input(0), b = try input(3)
    let (m, k, n) = try op.quantizedGemm(a.shape, b.shape)
    let alpha = op.float("alpha") ?? 1, scale = try oneFloat(1)
    let scales = try input(4).float32().floats().map { alpha * scale * $0 }
    let result = try Tensor.result(target, shape)
    guard result.count > 0 else { return result }
    let left = (op.int("transA") ?? 0) != 0 ? try a.transposed([1, 0]) : a, right = (op.int("transB") ?? 0) != 0 ? try b.transposed([1, 0]) : b
    let sums = try Tensor.result(.i32, [m, n])
    defer { withExtendedLifetime((left.storage, right.storage, sums.storage, result.storage)) {} }
    let sumsPointer = sums.storage.base.assumingMemoryBound(to: Int32.self)
    try IntegerProduct.multiply(try left.integerMatrices(zero: optional(2), perRow: true, rows: m, columns: k).matrix(0),
                                try right.integerMatrices(zero: optional(5), perRow: false, rows: k, columns: n).matrix(0), into: sumsPointer, rows: m, depth: k, columns: n, context)
    if let bias = optional(6) {
      let full = try bias.broadcast(to: shape)
      try full.read(Int32.self) { p throws(GenericProblem) in for i in 0..<m * n { sumsPointer[i] = sumsPointer[i] &+ p[i] } }
    }
    let zero: Float = target == .f32 || optional(8) == nil ? 0 : Float(try shift(8))
    let scaling = Scaling(result: target == .f32 ? 1 : try oneFloat(7), zero: zero, target: target)
    for i in 0..<m { scaling.write(sumsPointer + i * n, n, scales: scales, into: result, at: i * n) }
    return result
  }

  func quantizedConv() throws(GenericProblem) -> Tensor {
    let (target, shape) = try inferredShape()
    let x = try input(0), w = try input(3)
    let window = try op.quantizedWindow(x.shape, kernel: w.shape)
    let scale = try oneFloat(1), scales = try input(4).float32().floats()
    let bias = try optional(8)?.elements(Int32.self)
    let scaling = Scaling(result: try oneFloat(6), zero: Float(try shift(7)), target: target)
    let result = try Tensor.result(target, shape)
    guard result.count > 0 else { return result }
    let convolution = IntegerConvolution(x: x, w: w, zeroX: try input(2), zeroW: try input(5), window: window)
    try convolution.run(context) { sums, channel, at, count in
      if let bias { for j in 0..<count { sums[j] = sums[j] &+ bias[channel] } }
      scaling.write(sums, count, scales: [scale * scales[scales.count == 1 ? 0 : channel]], into: result, at: at)
    }
    withExtendedLifetime(result.storage) {}
    return result
  }

  /// A zero point that is one number.
  private func shift(_ i: Int) throws(GenericProblem) -> Int { Int(try input(i).int64s()[0]) }

  /// Which matrix of one side stands at a place of the broadcast batch.
  private func matrixIndex(_ batch: Int, _ dims: [Int], of own: [Int]) -> Int {
    var rest = batch, index = 0, stride = 1
    for back in 0..<dims.count {
      let extent = dims[dims.count - 1 - back], at = rest % extent
      rest /= extent
      guard back < own.count else { continue }
      let size = own[own.count - 1 - back]
      if size != 1 { index += at * stride }
      stride *= size
    }
    return index
  }
}

/// From 32-bit sums to results: 8-bit, or F32 as they are.
private struct Scaling {
  let result: Float, zero: Float
  let target: DType

  /// - Parameter scales: of the sums: one, or one for each.
  func write(_ sums: UnsafePointer<Int32>, _ n: Int, scales: [Float], into out: Tensor, at: Int) {
    func run<T: FixedWidthInteger>(_ type: T.Type) {
      let o = out.storage.base.assumingMemoryBound(to: T.self) + at
      let low = Float(T.min), high = Float(T.max)
      if scales.count == 1 {
        let factor = scales[0] / result
        for j in 0..<n { o[j] = T(saturated((Float(sums[j]) * factor).rounded(.toNearestOrEven) + zero, low, high)) }
      } else {
        for j in 0..<n { o[j] = T(saturated((Float(sums[j]) * (scales[j] / result)).rounded(.toNearestOrEven) + zero, low, high)) }
      }
    }
    switch target {
    case .u8: run(UInt8.self)
    case .i8: run(Int8.self)
    default:
      let o = out.storage.base.assumingMemoryBound(to: Float.self) + at
      for j in 0..<n { o[j] = Float(sums[j]) * scales[scales.count == 1 ? 0 : j] }
    }
  }
}
