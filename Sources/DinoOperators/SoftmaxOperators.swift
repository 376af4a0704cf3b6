// Plain twins of Softmax, LogSoftmax and Hardmax. From operator set 13 they work along one axis; before, over all axes from `axis` on, seen as one.

import CDinoKernels
import DinoGraph
import DinoKernels
import DinoTensor

extension OperatorCall {
  func softmax(_ kind: NormalizationKind) throws(GenericProblem) -> Tensor {
    let x = try input(0), shape = x.shape
    if op.version >= 13 {
      let axis = op.int("axis") ?? -1
      let isLast = axis == -1 || axis == shape.rank - 1
      if kind == .softmax, isLast, x.dtype == .f32, shape.rank > 0, shape[-1] > 0 { return try fast(x, columns: shape[-1]) }
      return try alongAxis(axis, x) { Self.apply(kind, &$0) }
    }
    var axis = op.int("axis") ?? 1
    if axis < 0 { axis += shape.rank }
    guard axis >= 0, axis <= shape.rank else { throw .invalid("\(op.kind.name) from axis \(axis) of \(shape)") }
    let columns = shape.dims[axis...].reduce(1, *)
    guard columns > 0 else { return x }
    if kind == .softmax, x.dtype == .f32 { return try fast(x, columns: columns) }
    return try alongAxis(1, try x.viewed(as: [shape.count / columns, columns])) { Self.apply(kind, &$0) }.viewed(as: shape)
  }

  private func fast(_ x: Tensor, columns: Int) throws(GenericProblem) -> Tensor {
    try Tensor.result(.f32, x.shape, of: Float.self) { y throws(GenericProblem) in
      try x.read(Float.self) { p in context.table.c.pointee.f32_softmax(p, columns, y, columns, x.count / columns, columns) }
    }
  }

  private static func apply(_ kind: NormalizationKind, _ values: inout [Double]) {
    let top = values.max() ?? 0
    if kind == .hardmax {
      let first = values.firstIndex(of: top)
      for i in values.indices { values[i] = i == first ? 1 : 0 }
      return
    }
    let sum = values.reduce(0.0) { $0 + exponential($1 - top) }
    for i in values.indices { values[i] = kind == .logSoftmax ? values[i] - top - logarithm(sum) : exponential(values[i] - top) / sum }
  }
}
