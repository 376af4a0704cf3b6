// Plain twin of a foreign operator: Pad. One table for each axis says which element of the source stands where; -1 is the constant.

import DinoGraph
import DinoTensor

extension OperatorCall {
  func pad(_ shape: Shape) throws(GenericProblem) -> Tensor {
    let x = try input(0)
    guard let plan = try op.padPlan(inputs.map { $0.map(ValueFact.init) }, of: x.shape) else { throw .unsupported("Pad: its pads are not known") }
    let fill: Tensor? = if op.version >= 11 { optional(2) } else {
      try Tensor.result(.f32, [], of: Float.self) { $0[0] = op.float("value") ?? 0 }.cast(to: x.dtype)
    }
    let result = try Tensor.result(x.dtype, shape)
    guard result.count > 0 else { return result }
    guard shape.dims.allSatisfy({ $0 <= 1 << 28 }) else { throw .unsupported("Pad to an extent of more than 2^28") }
    if shape.isScalar {
      result.storage.base.copyMemory(from: x.storage.base + x.byteOffset, byteCount: x.byteCount)
      return result
    }
    let tables = x.shape.dims.indices.map { axis in
      Self.padTable(plan.mode, extent: x.shape.dims[axis], begin: plan.begin[axis], end: plan.end[axis], count: shape.dims[axis])
    }
    try PadWork(source: try x.aligned(), fill: try fill?.aligned(), tables: tables, result: result).dispatch(x.dtype)
    return result
  }

  /// The source's index for each index of the result, -1 where there is none.
  private static func padTable(_ mode: PadPlan.Mode, extent: Int, begin: Int, end: Int, count: Int) -> [Int] {
    // What is left of the source after negative pads have cut it: `left` elements from `first` on.
    let first = Swift.max(-begin, 0), left = extent - first - Swift.max(-end, 0), before = Swift.max(begin, 0)
    return (0..<count).map { position in
      let i = position - before
      if i >= 0, i < left { return first + i }
      switch mode {
      case .constant: return -1
      case .edge: return first + (i < 0 ? 0 : left - 1)
      case .wrap: return first + (i % left + left) % left
      case .reflect:
        if left == 1 { return first }
        let period = 2 * (left - 1), at = (i % period + period) % period
        return first + (at < left ? at : period - at)
      }
    }
  }
}

private struct PadWork: MoveWork {
  let source: Tensor
  let fill: Tensor?
  let tables: [[Int]]
  let result: Tensor

  func run<T: FixedWidthInteger & UnsignedInteger & BitwiseCopyable>(_ type: T.Type) throws(GenericProblem) {
    let from = (source.storage.base + source.byteOffset).assumingMemoryBound(to: T.self), out = result.storage.base.assumingMemoryBound(to: T.self)
    let constant: T = try fill?.elements(T.self)[0] ?? 0
    let last = tables.count - 1, strides = source.shape.strides, columns = tables[last].count
    // The stretch of a row in which the source runs along.
    let inner = tables[last]
    var runStart = 0
    while runStart < columns, inner[runStart] < 0 { runStart += 1 }
    var runEnd = runStart
    while runEnd < columns, inner[runEnd] >= 0, inner[runEnd] == inner[runStart] + (runEnd - runStart) { runEnd += 1 }
    var position = [Int](repeating: 0, count: last)
    inner.withUnsafeBufferPointer { inner in
      for row in 0..<result.count / columns {
        let o = out + row * columns
        var base = 0, inside = true
        for axis in 0..<last {
          let i = tables[axis][position[axis]]
          if i < 0 { inside = false }
          base += i * strides[axis]
        }
        if inside {
          let f = from + base
          for j in 0..<runStart { o[j] = inner[j] < 0 ? constant : f[inner[j]] }
          if runEnd > runStart { (o + runStart).update(from: f + inner[runStart], count: runEnd - runStart) }
          for j in runEnd..<columns { o[j] = inner[j] < 0 ? constant : f[inner[j]] }
        } else {
          o.update(repeating: constant, count: columns)
        }
        var axis = last - 1
        while axis >= 0 {
          position[axis] += 1
          if position[axis] < tables[axis].count { break }
          position[axis] = 0
          axis -= 1
        }
      }
    }
    withExtendedLifetime((source.storage, result.storage)) {}
  }
}
