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
    let zerosA = try shifts(2), zerosB = try shifts(5)
    let scaling = Scaling(result: try oneFloat(6), zero: Float(try shifts(7)[0]), target: target)
    let result = try Tensor.result(target, shape)
    guard result.count > 0 else { return result }
    let rows = try Tensor.result(.i16, [m, k]), columns = try Tensor.result(.i16, [k, n]), sums = try Tensor.result(.i32, [m, n])
    defer { withExtendedLifetime((rows.storage, columns.storage, sums.storage, result.storage)) {} }
    let rowsPointer = rows.storage.base.assumingMemoryBound(to: Int16.self), columnsPointer = columns.storage.base.assumingMemoryBound(to: Int16.self)
    let sumsPointer = sums.storage.base.assumingMemoryBound(to: Int32.self)
    var held = (left: -1, right: -1)
    for batch in 0..<sizes.batch.reduce(1, *) {
      let at = (left: matrixIndex(batch, sizes.batch, of: sizes.leftBatch), right: matrixIndex(batch, sizes.batch, of: sizes.rightBatch))
      if at.left != held.left { a.shift(at.left * m * k, rows: m, columns: k, zeros: zerosA, perRow: true, into: rowsPointer) }
      if at.right != held.right { b.shift(at.right * k * n, rows: k, columns: n, zeros: zerosB, perRow: false, into: columnsPointer) }
      held = at
      IntegerProduct.multiply(rowsPointer, columnsPointer, into: sumsPointer, rows: m, depth: k, columns: n, context)
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
    let zerosA = try optional(2) == nil ? [0] : shifts(2), zerosB = try optional(5) == nil ? [0] : shifts(5)
    let left = (op.int("transA") ?? 0) != 0 ? try a.transposed([1, 0]) : a, right = (op.int("transB") ?? 0) != 0 ? try b.transposed([1, 0]) : b
    let rows = try Tensor.result(.i16, [m, k]), columns = try Tensor.result(.i16, [k, n]), sums = try Tensor.result(.i32, [m, n])
    defer { withExtendedLifetime((rows.storage, columns.storage, sums.storage, result.storage)) {} }
    let rowsPointer = rows.storage.base.assumingMemoryBound(to: Int16.self), columnsPointer = columns.storage.base.assumingMemoryBound(to: Int16.self)
    let sumsPointer = sums.storage.base.assumingMemoryBound(to: Int32.self)
    left.shift(0, rows: m, columns: k, zeros: zerosA, perRow: true, into: rowsPointer)
    right.shift(0, rows: k, columns: n, zeros: zerosB, perRow: false, into: columnsPointer)
    IntegerProduct.multiply(rowsPointer, columnsPointer, into: sumsPointer, rows: m, depth: k, columns: n, context)
    if let bias = optional(6) {
      let full = try bias.broadcast(to: shape)
      try full.read(Int32.self) { p throws(GenericProblem) in for i in 0..<m * n { sumsPointer[i] = sumsPointer[i] &+ p[i] } }
    }
    let zero: Float = target == .f32 || optional(8) == nil ? 0 : Float(try shifts(8)[0])
    let scaling = Scaling(result: target == .f32 ? 1 : try oneFloat(7), zero: zero, target: target)
    for i in 0..<m { scaling.write(sumsPointer + i * n, n, scales: scales, into: result, at: i * n) }
    return result
  }

  func quantizedConv() throws(GenericProblem) -> Tensor {
    let (target, shape) = try inferredShape()
    let x = try input(0), w = try input(3)
    let window = try op.quantizedWindow(x.shape, kernel: w.shape)
    let scale = try oneFloat(1), scales = try input(4).float32().floats(), zeroX = try shifts(2)[0], zerosW = try shifts(5)
    let bias = try optional(8)?.elements(Int32.self)
    let scaling = Scaling(result: try oneFloat(6), zero: Float(try shifts(7)[0]), target: target)
    let result = try Tensor.result(target, shape)
    guard result.count > 0 else { return result }
    let channels = w.shape.dims[0], perGroup = channels / window.groups, inputs = w.shape.dims[1]
    let depth = inputs * window.kernel.reduce(1, *), positions = window.output.reduce(1, *), spatial = x.shape.dims[2...].reduce(1, *)
    // Positions are taken in stretches, so that the unrolled input stays small.
    let stretch = Swift.max(1, Swift.min(positions, (1 << 20) / Swift.max(depth, 1)))
    let weights = try Tensor.result(.i16, [channels, depth]), columns = try Tensor.result(.i16, [depth, stretch]), sums = try Tensor.result(.i32, [perGroup, stretch])
    let weightsPointer = weights.storage.base.assumingMemoryBound(to: Int16.self), columnsPointer = columns.storage.base.assumingMemoryBound(to: Int16.self)
    let sumsPointer = sums.storage.base.assumingMemoryBound(to: Int32.self)
    w.shift(0, rows: channels, columns: depth, zeros: zerosW, perRow: true, into: weightsPointer)
    let unroll = WindowUnroll(window: window, extents: Array(x.shape.dims[2...]))
    for batch in 0..<x.shape.dims[0] {
      for group in 0..<window.groups {
        for first in stride(from: 0, to: positions, by: stretch) {
          let count = Swift.min(stretch, positions - first)
          let plane = (batch * window.groups + group) * inputs * spatial
          unroll.fill(x, plane: plane, channels: inputs, spatial: spatial, first: first, count: count, zero: zeroX, into: columnsPointer)
          IntegerProduct.multiply(weightsPointer + group * perGroup * depth, columnsPointer, into: sumsPointer, rows: perGroup, depth: depth, columns: count, context)
          for i in 0..<perGroup {
            let channel = group * perGroup + i, sum = sumsPointer + i * count
            if let bias { for j in 0..<count { sum[j] = sum[j] &+ bias[channel] } }
            scaling.write(sum, count, scales: [scale * scales[scales.count == 1 ? 0 : channel]], into: result, at: (batch * channels + channel) * positions + first)
          }
        }
      }
    }
    withExtendedLifetime((weights.storage, columns.storage, sums.storage, result.storage)) {}
    return result
  }

  /// Zero points as numbers to subtract.
  private func shifts(_ i: Int) throws(GenericProblem) -> [Int16] { try input(i).int64s().map { Int16(truncatingIfNeeded: $0) } }

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

extension Tensor {
  /// Writes a matrix of 8-bit integers, minus zero points (one, or one for each row or column), as 16-bit integers.
  func shift(_ at: Int, rows: Int, columns: Int, zeros: [Int16], perRow: Bool, into out: UnsafeMutablePointer<Int16>) {
    func run<T: FixedWidthInteger & BitwiseCopyable>(_ type: T.Type) {
      let from = (storage.base + byteOffset).assumingMemoryBound(to: T.self) + at
      for i in 0..<rows {
        let p = from + i * columns, o = out + i * columns
        if perRow || zeros.count == 1 {
          let zero = zeros[zeros.count == 1 ? 0 : i]
          for j in 0..<columns { o[j] = Int16(truncatingIfNeeded: p[j]) &- zero }
        } else {
          for j in 0..<columns { o[j] = Int16(truncatingIfNeeded: p[j]) &- zeros[j] }
        }
      }
    }
    if dtype == .u8 { run(UInt8.self) } else { run(Int8.self) }
    withExtendedLifetime(storage) {}
  }

  /// This tensor spread to a shape that it broadcasts to.
  func broadcast(to target: Shape) throws(GenericProblem) -> Tensor {
    if shape == target { return self }
    let own = shape.strides, skip = target.rank - shape.rank
    return try strided(target, steps: target.dims.indices.map { $0 < skip || shape.dims[$0 - skip] == 1 ? 0 : own[$0 - skip] })
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

/// The input under each weight of a window (rows), at each position of the output (columns).
private struct WindowUnroll {
  let window: Generic.QuantizedWindow
  let extents: [Int]

  func fill(_ x: Tensor, plane: Int, channels: Int, spatial: Int, first: Int, count: Int, zero: Int16, into out: UnsafeMutablePointer<Int16>) {
    func run<T: FixedWidthInteger & BitwiseCopyable>(_ type: T.Type) {
      let from = (x.storage.base + x.byteOffset).assumingMemoryBound(to: T.self) + plane
      let axes = extents.count, taps = window.kernel.reduce(1, *)
      // Where each position's window meets the input, for one tap; -1 outside. The same for all channels.
      var places = [Int](repeating: -1, count: count)
      for tap in 0..<taps {
        for j in 0..<count {
          var rest = first + j, restTap = tap, index = 0, scale = 1, inside = true
          for axis in stride(from: axes - 1, through: 0, by: -1) {
            let position = rest % window.output[axis], t = restTap % window.kernel[axis]
            rest /= window.output[axis]
            restTap /= window.kernel[axis]
            let at = position * window.strides[axis] + t * window.dilations[axis] - window.begin[axis]
            if at < 0 || at >= extents[axis] { inside = false }
            index += at * scale
            scale *= extents[axis]
          }
          places[j] = inside ? index : -1
        }
        places.withUnsafeBufferPointer { places in
          for c in 0..<channels {
            let p = from + c * spatial, o = out + (c * taps + tap) * count
            // Padding holds the zero point, that is, nothing.
            for j in 0..<count { o[j] = places[j] < 0 ? 0 : Int16(truncatingIfNeeded: p[places[j]]) &- zero }
          }
        }
      }
    }
    if x.dtype == .u8 { run(UInt8.self) } else { run(Int8.self) }
    withExtendedLifetime(x.storage) {}
  }
}
