// Plain twins of foreign operators: quantization. Here QuantizeLinear, DequantizeLinear and DynamicQuantizeLinear; operators on scaled integers are in
// Quantized*.swift.
//
// Everywhere: real = (integer - zero point) · scale, and back: saturate(round half to even(real / scale) + zero point).

import DinoGraph
import DinoTensor

extension OperatorCall {
  func quantization(_ kind: QuantizationKind) throws(GenericProblem) -> [Tensor] {
    switch kind {
    case .quantize, .microsoftQuantize: return [try quantizeLinear()]
    case .dequantize, .microsoftDequantize: return [try dequantizeLinear()]
    case .dynamicQuantize: return try dynamicQuantize()
    case .linearMatMul: return [try quantizedMatMul()]
    case .linearConv: return [try quantizedConv()]
    case .gemm: return [try quantizedGemm()]
    case .linearAdd: return [try quantizedBinary(+)]
    case .linearMul: return [try quantizedBinary(*)]
    case .linearSigmoid: return [try quantizedUnary { 1 / (1 + Float.cExp(-$0)) }]
    case .linearLeakyRelu:
      let alpha = op.float("alpha") ?? 0.01
      return [try quantizedUnary { $0 >= 0 ? $0 : alpha * $0 }]
    case .linearSoftmax: return [try quantizedSoftmax()]
    case .linearConcat: return [try quantizedConcat()]
    case .linearAveragePool: return [try quantizedAveragePool()]
    case .linearGlobalAveragePool: return [try quantizedGlobalPool()]
    case .linearReduceMean: return [try quantizedReduceMean()]
    case .linearWhere: return [try quantizedWhere()]
    }
  }

  private func quantizeLinear() throws(GenericProblem) -> Tensor {
    let (target, shape) = try inferredShape()
    let x = try input(0), scale = try input(1)
    let precision = try op.quantizePrecision(scale: scale.dtype)
    // 32-bit integers become floats of that precision first, as the definition's division asks.
    let reals = try x.float32().rounded(to: precision).float32(), scales = try scale.cast(to: .f32).rounded(to: precision).floats()
    let zeros = try optional(2)?.float32().floats()
    let work = QuantizeWork(x: reals, scales: scales, zeros: zeros, groups: try op.scaleGroups(shape, scale: scale.shape), precision: precision, target: target)
    return try work.dispatch(target)
  }

  private func dequantizeLinear() throws(GenericProblem) -> Tensor {
    let (target, shape) = try inferredShape()
    let x = try input(0), scale = try input(1)
    let zeros = try optional(2)?.float32().floats()
    if x.dtype == .i32, let zeros, zeros.contains(where: { $0 != 0 }) { throw .invalid("\(op.kind.name) of I32 has a zero point other than 0") }
    let work = DequantizeWork(x: try x.aligned(), scales: scale.floats(), zeros: zeros, groups: try op.scaleGroups(shape, scale: scale.shape))
    return try work.dispatch(x.dtype).rounded(to: target)
  }

  private func dynamicQuantize() throws(GenericProblem) -> [Tensor] {
    let (_, shape) = try inferredShape()
    let x = try input(0), n = shape.count
    return try x.read(Float.self) { p throws(GenericProblem) in
      var low: Float = 0, high: Float = 0, finite = true
      for i in 0..<n {
        let v = p[i]
        low = v < low ? v : low
        high = v > high ? v : high
        finite = finite && v.isFinite
      }
      guard finite, (high - low).isFinite else { throw .unsupported("DynamicQuantizeLinear of values that have no finite range") }
      // A tensor of zeros has no range; the definition's reference takes 1 then.
      let scale = (high == low ? 1 : high - low) / 255
      guard scale > 0 else { throw .unsupported("DynamicQuantizeLinear of values whose range is too small for a scale") }
      let zero = Swift.min(Swift.max(-low / scale, 0), 255).rounded(.toNearestOrEven)
      let y = try Tensor.result(.u8, shape, of: UInt8.self) { out in
        for i in 0..<n { out[i] = UInt8(saturated((p[i] / scale).rounded(.toNearestOrEven) + zero, 0, 255)) }
      }
      return [y, Tensor([scale], shape: []), Tensor.copy([UInt8(zero)], dtype: .u8, shape: [])]
    }
  }
}

/// Within bounds; NaN becomes the lower one.
@inline(__always)
func saturated(_ value: Float, _ low: Float, _ high: Float) -> Float {
  let v = value > low ? value : low
  return v < high ? v : high
}

private struct QuantizeWork: IntegerWork {
  let x: Tensor
  let scales: [Float], zeros: [Float]?
  let groups: ScaleGroups
  let precision: DType, target: DType

  func run<T: NumericElement & FixedWidthInteger>(_ type: T.Type) throws(GenericProblem) -> Tensor {
    // Only types whose bounds a float holds arrive here.
    let low = Float(T.min), high = Float(T.max)
    return try x.read(Float.self) { p throws(GenericProblem) in
      try Tensor.result(target, x.shape, of: T.self) { out in
        groups.forEachRun { start, n, first, step in
          let from = p + start, to = out + start
          if step == 0 {
            let scale = scales[first], zero = zeros?[zeros?.count == 1 ? 0 : first] ?? 0
            if precision == .f32 {
              for i in 0..<n { to[i] = T(saturated((from[i] / scale).rounded(.toNearestOrEven) + zero, low, high)) }
            } else {
              for i in 0..<n { to[i] = T(saturated(quotient(from[i], scale).rounded(.toNearestOrEven) + zero, low, high)) }
            }
          } else {
            for i in 0..<n {
              let zero = zeros?[first + i] ?? 0
              to[i] = T(saturated(quotient(from[i], scales[first + i]).rounded(.toNearestOrEven) + zero, low, high))
            }
          }
        }
      }
    }
  }

  /// The quotient as the precision rounds it: F32's has more than twice the digits of the narrower types, so rounding again gives what one rounding would.
  private func quotient(_ a: Float, _ b: Float) -> Float {
    switch precision {
    case .f16: return floatFromHalf(halfFromFloat(a / b))
    case .bf16: return Float(bitPattern: UInt32(bfloat16FromFloat(a / b)) << 16)
    default: return a / b
    }
  }
}

private struct DequantizeWork: IntegerWork {
  let x: Tensor
  let scales: [Float], zeros: [Float]?
  let groups: ScaleGroups

  func run<T: NumericElement & FixedWidthInteger>(_ type: T.Type) throws(GenericProblem) -> Tensor {
    try x.read(T.self) { p throws(GenericProblem) in
      try Tensor.result(.f32, x.shape, of: Float.self) { out in
        groups.forEachRun { start, n, first, step in
          let from = p + start, to = out + start
          if step == 0 {
            let scale = scales[first], zero = zeros?[zeros?.count == 1 ? 0 : first] ?? 0
            for i in 0..<n { to[i] = (Float(from[i]) - zero) * scale }
          } else {
            for i in 0..<n { to[i] = (Float(from[i]) - (zeros?[first + i] ?? 0)) * scales[first + i] }
          }
        }
      }
    }
  }
}
