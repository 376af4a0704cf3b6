// Plain twins of foreign operators: TopK, ArgMax, ArgMin. NaN counts as larger than everything, as in NumPy.

import DinoGraph
import DinoTensor

extension OperatorCall {
  func topK(_ shape: Shape) throws(GenericProblem) -> [Tensor] {
    let x = try input(0), half = x.dtype == .f16 || x.dtype == .bf16
    let largest = op.version < 11 || (op.int("largest") ?? 1) != 0
    let work = TopKWork(x: half ? try x.float32() : x, axis: axis(-1, rank: x.shape.rank), shape: shape, largest: largest)
    var results = try work.dispatch(half ? .f32 : x.dtype)
    if half { results[0] = try results[0].rounded(to: x.dtype) }
    return results
  }

  func extreme(_ shape: Shape, largest: Bool) throws(GenericProblem) -> Tensor {
    var x = try input(0)
    if x.dtype == .f16 || x.dtype == .bf16 { x = try x.float32() }
    let last = op.version >= 12 && (op.int("select_last_index") ?? 0) != 0
    return try ExtremeWork(x: x, axis: axis(0, rank: x.shape.rank), shape: shape, largest: largest, last: last).dispatch(x.dtype)
  }
}

/// A tensor seen as [outer, extent, inner] around one axis. Only for tensors with elements.
struct AxisView {
  let outer: Int, extent: Int, inner: Int
  init(_ shape: Shape, axis: Int) {
    outer = Shape(Array(shape.dims[..<axis])).count
    extent = shape.dims[axis]
    inner = Shape(Array(shape.dims[(axis + 1)...])).count
  }
}

private struct TopKWork: ElementWork {
  let x: Tensor
  let axis: Int
  let shape: Shape
  let largest: Bool

  func run<T: NumericElement>(_ type: T.Type) throws(GenericProblem) -> [Tensor] {
    let values = try Tensor.result(x.dtype, shape), indices = try Tensor.result(.i64, shape)
    guard values.count > 0 else { return [values, indices] }
    let view = AxisView(x.shape, axis: axis), k = shape.dims[axis], largest = largest
    try x.read(T.self) { p in
      let v = values.storage.base.assumingMemoryBound(to: T.self), at = indices.storage.base.assumingMemoryBound(to: Int64.self)
      var order = [Int](repeating: 0, count: view.extent)
      for o in 0..<view.outer {
        for i in 0..<view.inner {
          let column = p + (o * view.extent * view.inner + i), step = view.inner
          for j in 0..<view.extent { order[j] = j }
          // Equal elements stay in the order of their indices.
          order.sort { a, b in
            let x = column[a * step], y = column[b * step]
            let (xn, yn) = (x.isNotANumber, y.isNotANumber)
            if xn || yn { return xn && yn ? a < b : largest == xn }
            if x == y { return a < b }
            return largest ? x > y : x < y
          }
          for j in 0..<k {
            v[(o * k + j) * view.inner + i] = column[order[j] * step]
            at[(o * k + j) * view.inner + i] = Int64(order[j])
          }
        }
      }
    }
    return [values, indices]
  }
}

private struct ExtremeWork: ElementWork {
  let x: Tensor
  let axis: Int
  let shape: Shape
  let largest: Bool, last: Bool

  func run<T: NumericElement>(_ type: T.Type) throws(GenericProblem) -> Tensor {
    let result = try Tensor.result(.i64, shape)
    guard result.count > 0 else { return result }
    let view = AxisView(x.shape, axis: axis), largest = largest, last = last
    try x.read(T.self) { p in
      let out = result.storage.base.assumingMemoryBound(to: Int64.self)
      for o in 0..<view.outer {
        for i in 0..<view.inner {
          let column = p + (o * view.extent * view.inner + i)
          var best = column[0], at = 0
          for j in 1..<Swift.max(view.extent, 1) {
            let v = column[j &* view.inner]
            let better = best.isNotANumber ? last && v.isNotANumber : v.isNotANumber || (largest ? v > best : v < best) || (last && v == best)
            if better { (best, at) = (v, j) }
          }
          out[o * view.inner + i] = Int64(at)
        }
      }
    }
    return result
  }
}
