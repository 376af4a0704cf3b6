// Plain twins of foreign operators: those on scaled 8-bit integers that compute in F32 between DequantizeLinear and QuantizeLinear.

import DinoGraph
import DinoTensor

extension OperatorCall {
  func quantizedBinary(_ apply: (Float, Float) -> Float) throws(GenericProblem) -> Tensor {
    let (_, shape) = try inferredShape()
    let a = try reals(0, 1, 2).broadcast(to: shape), b = try reals(3, 4, 5).broadcast(to: shape), n = shape.count
    let result = try a.read(Float.self) { a throws(GenericProblem) in
      try b.read(Float.self) { b throws(GenericProblem) in
        try Tensor.result(.f32, shape, of: Float.self) { out in for i in 0..<n { out[i] = apply(a[i], b[i]) } }
      }
    }
    return try scaled(result, 6, 7, try input(0).dtype)
  }

  func quantizedUnary(_ apply: (Float) -> Float) throws(GenericProblem) -> Tensor {
    _ = try inferred()
    let x = try input(0)
    // 256 values at most: computed once each.
    let table = try bytesTable(x.dtype, 1, 2)
    let results = try scaled(Tensor(table.map(apply), shape: [256]), 3, 4, x.dtype).elements(UInt8.self)
    return try x.mappedBytes(results, to: x.dtype)
  }

  func quantizedSoftmax() throws(GenericProblem) -> Tensor { try between(op.plainSoftmax()) }
  func quantizedAveragePool() throws(GenericProblem) -> Tensor { try between(try op.plainPool(.averagePool)) }
  func quantizedGlobalPool() throws(GenericProblem) -> Tensor { try between(try op.plainPool(.globalAveragePool)) }
  func quantizedReduceMean() throws(GenericProblem) -> Tensor { try between(op.plainMean()) }

  /// The plain operator's result on the reals, scaled.
  private func between(_ plain: Generic) throws(GenericProblem) -> Tensor {
    _ = try inferred()
    return try scaled(try plain.evaluate([try reals(0, 1, 2)], outputs: 1, context: context)[0], 3, 4, try input(0).dtype)
  }

  func quantizedConcat() throws(GenericProblem) -> Tensor {
    let (target, _) = try inferredShape()
    var parts: [Tensor?] = []
    for i in stride(from: 2, to: inputs.count, by: 3) {
      parts.append(try rescaled(i, i + 1, i + 2, to: 0, 1, target))
    }
    return try Generic(.layout(.concat), version: 13, attributes: op.attributes).evaluate(parts, outputs: 1, context: context)[0]
  }

  func quantizedWhere() throws(GenericProblem) -> Tensor {
    let (target, _) = try inferredShape()
    let x = try rescaled(1, 2, 3, to: 7, 8, target), y = try rescaled(4, 5, 6, to: 7, 8, target)
    return try Generic(.indexing(.where), version: 16).evaluate([try input(0), x, y], outputs: 1, context: context)[0]
  }

  // MARK: - Scales

  /// The one number of an input.
  func oneFloat(_ i: Int) throws(GenericProblem) -> Float {
    let values = try input(i).float32()
    guard values.count == 1 else { throw .invalid("\(op.kind.name) needs one number as its input \(i)") }
    return values.floats()[0]
  }

  private func zeroPoint(_ i: Int) throws(GenericProblem) -> Float { optional(i) == nil ? 0 : try oneFloat(i) }

  /// The real that each byte stands for, whatever its sign.
  private func bytesTable(_ type: DType, _ scale: Int, _ zero: Int) throws(GenericProblem) -> [Float] {
    let scale = try oneFloat(scale), zero = try zeroPoint(zero)
    return (0..<256).map { (Float(type == .i8 ? Int(Int8(truncatingIfNeeded: $0)) : $0) - zero) * scale }
  }

  private func reals(_ x: Int, _ scale: Int, _ zero: Int) throws(GenericProblem) -> Tensor {
    let x = try input(x), table = try bytesTable(x.dtype, scale, zero), n = x.count
    return try x.read(UInt8.self) { p throws(GenericProblem) in
      try Tensor.result(.f32, x.shape, of: Float.self) { out in
        table.withUnsafeBufferPointer { table in for i in 0..<n { out[i] = table[Int(p[i])] } }
      }
    }
  }

  /// F32 values as scaled integers.
  private func scaled(_ x: Tensor, _ scale: Int, _ zero: Int, _ target: DType) throws(GenericProblem) -> Tensor {
    let scale = try oneFloat(scale), zero = try zeroPoint(zero), n = x.count
    return try x.read(Float.self) { p throws(GenericProblem) in
      if target == .u8 {
        return try Tensor.result(.u8, x.shape, of: UInt8.self) { out in
          for i in 0..<n { out[i] = UInt8(saturated((p[i] / scale).rounded(.toNearestOrEven) + zero, 0, 255)) }
        }
      }
      return try Tensor.result(.i8, x.shape, of: Int8.self) { out in
        for i in 0..<n { out[i] = Int8(saturated((p[i] / scale).rounded(.toNearestOrEven) + zero, -128, 127)) }
      }
    }
  }

  /// Scaled integers under another scale and zero point.
  private func rescaled(_ x: Int, _ scale: Int, _ zero: Int, to newScale: Int, _ newZero: Int, _ target: DType) throws(GenericProblem) -> Tensor {
    let x = try input(x)
    let table = try scaled(Tensor(try bytesTable(x.dtype, scale, zero), shape: [256]), newScale, newZero, target).elements(UInt8.self)
    return try x.mappedBytes(table, to: target)
  }
}

extension Tensor {
  /// Each byte through a table of 256.
  fileprivate func mappedBytes(_ table: [UInt8], to target: DType) throws(GenericProblem) -> Tensor {
    let n = count
    return try read(UInt8.self) { p throws(GenericProblem) in
      try Tensor.result(target, shape, of: UInt8.self) { out in
        table.withUnsafeBufferPointer { table in for i in 0..<n { out[i] = table[Int(p[i])] } }
      }
    }
  }
}
