// Plain twins of foreign operators: reductions over axes, and CumSum. Floats are summed in several lanes or in F64 and rounded once, so that long sums stay
// accurate; integers wrap.

import DinoGraph
import DinoTensor

extension OperatorCall {
  func reduction(_ kind: ReductionKind) throws(GenericProblem) -> [Tensor] {
    let (dtype, shape) = try inferredShape()
    let half = dtype == .f16 || dtype == .bf16
    let x = half ? try input(0).float32() : try input(0)
    let result: Tensor
    if kind == .cumSum {
      result = try cumulate(x)
    } else {
      guard let axes = try op.reducedAxes(inputs.map { $0.map(ValueFact.init) }, rank: x.shape.rank) else {
        throw .unsupported("\(op.kind.name): its axes are not known")
      }
      result = try reduce(kind, x, axes, shape)
    }
    return [half ? try result.rounded(to: dtype) : result]
  }

  private func reduce(_ kind: ReductionKind, _ x: Tensor, _ axes: Set<Int>, _ shape: Shape) throws(GenericProblem) -> Tensor {
    var source = x, view: ReductionView
    if let direct = ReductionView(x.shape, axes) {
      view = direct
    } else {
      // Reduced axes that are apart are brought together at the end.
      let kept = (0..<x.shape.rank).filter { !axes.contains($0) }, count = Shape(kept.map { x.shape.dims[$0] }).checkedCount ?? 0
      source = x.count == 0 ? x : try x.transposed(kept + axes.sorted())
      view = ReductionView(outer: count, extent: count == 0 ? 0 : x.count / count, inner: 1)
    }
    let result = try Tensor.result(x.dtype, shape)
    guard result.count > 0 else { return result }
    if kind == .mean, view.extent == 0, x.dtype != .f32, x.dtype != .f64 { throw .invalid("ReduceMean of no integers") }
    switch x.dtype {
    case .f32: try RealReduction(kind: kind, x: source, view: view, result: result).run(Float.self)
    case .f64: try RealReduction(kind: kind, x: source, view: view, result: result).run(Double.self)
    default: try IntegerReduction(kind: kind, x: source, view: view, result: result).dispatch(x.dtype)
    }
    return result
  }

  private func cumulate(_ x: Tensor) throws(GenericProblem) -> Tensor {
    let result = try Tensor.result(x.dtype, x.shape)
    let given = try input(1).int64s()[0], axis = given < 0 ? given + x.shape.rank : given
    guard result.count > 0 else { return result }
    let work = CumulativeWork(x: x, view: AxisView(x.shape, axis: axis), result: result,
                              exclusive: (op.int("exclusive") ?? 0) != 0, reverse: (op.int("reverse") ?? 0) != 0)
    try work.dispatch(x.dtype)
    return result
  }
}

/// A tensor seen as [outer, extent, inner], of which the middle is reduced.
struct ReductionView {
  var outer: Int, extent: Int, inner: Int

  init(outer: Int, extent: Int, inner: Int) { (self.outer, self.extent, self.inner) = (outer, extent, inner) }

  /// Nil where the reduced axes are apart (others of extent 1 between them do not count).
  init?(_ shape: Shape, _ axes: Set<Int>) {
    let long = shape.dims.indices.filter { shape.dims[$0] != 1 }
    guard let first = long.firstIndex(where: axes.contains), let last = long.lastIndex(where: axes.contains) else {
      guard let count = shape.checkedCount else { return nil }
      self.init(outer: 1, extent: 1, inner: count)
      return
    }
    guard long[first...last].allSatisfy(axes.contains) else { return nil }
    func product(_ part: ArraySlice<Int>) -> Int? { Shape(part.map { shape.dims[$0] }).checkedCount }
    guard let outer = product(long[..<first]), let extent = product(long[first...last]), let inner = product(long[(last + 1)...]) else { return nil }
    self.init(outer: outer, extent: extent, inner: inner)
  }
}

// MARK: - Floats

private struct RealReduction {
  let kind: ReductionKind
  let x: Tensor
  let view: ReductionView
  let result: Tensor

  @inline(__always)
  func run<T: FloatElement>(_ type: T.Type) throws(GenericProblem) {
    let n = Double(view.extent)
    switch kind {
    case .sum: try fold(T.self, { Double($0) }, { $0 }) { $0 }
    case .mean: try fold(T.self, { Double($0) }, { $0 }) { $0 / n }
    case .l1: try fold(T.self, { Double($0.magnitude) }, { $0.magnitude }) { $0 }
    case .sumSquare: try fold(T.self, { Double($0) * Double($0) }, { $0 * $0 }) { $0 }
    case .l2: try fold(T.self, { Double($0) * Double($0) }, { $0 * $0 }) { $0.squareRoot() }
    case .logSum: try fold(T.self, { Double($0) }, { $0 }) { Double.cLog($0) }
    case .prod: try scan(T.self, 1) { $0 * $1 }
    case .max: try scan(T.self, -.infinity) { $0 > $1 || $0.isNotANumber ? $0 : $1 }
    case .min: try scan(T.self, .infinity) { $0 < $1 || $0.isNotANumber ? $0 : $1 }
    case .logSumExp: try logSumExp(T.self)
    case .cumSum: throw .unsupported("CumSum is no reduction")
    }
  }

  /// Sums of a function of the elements, and a function of the sum. The term is given for doubles and for lanes in the element's own type.
  @inline(__always)
  private func fold<T: FloatElement>(_ type: T.Type, _ wide: (T) -> Double, _ term: (T) -> T, _ finish: (Double) -> Double) throws(GenericProblem) {
    let (outer, extent, inner) = (view.outer, view.extent, view.inner)
    let out = result.storage.base.assumingMemoryBound(to: T.self)
    try x.read(T.self) { p in
      if inner == 1 {
        for o in 0..<outer { out[o] = T(finish(rowSum(p + o &* extent, extent, term))) }
        return
      }
      withUnsafeTemporaryAllocation(of: Double.self, capacity: inner) { sums in
        let sums = sums.baseAddress!
        for o in 0..<outer {
          for i in 0..<inner { sums[i] = 0 }
          for e in 0..<extent {
            let row = p + (o &* extent &+ e) &* inner
            for i in 0..<inner { sums[i] += wide(row[i]) }
          }
          for i in 0..<inner { out[o &* inner &+ i] = T(finish(sums[i])) }
        }
      }
    }
  }

  /// One row in eight lanes, gathered in F64 after each block of 1024: short partial sums lose little.
  @inline(__always)
  private func rowSum<T: FloatElement>(_ p: UnsafePointer<T>, _ n: Int, _ term: (T) -> T) -> Double {
    var total = 0.0, at = 0
    while n &- at >= 8 {
      let end = at &+ Swift.min((n &- at) & ~7, 1024)
      var lane: (T, T, T, T, T, T, T, T) = (0, 0, 0, 0, 0, 0, 0, 0)
      while at < end {
        lane.0 += term(p[at]); lane.1 += term(p[at &+ 1]); lane.2 += term(p[at &+ 2]); lane.3 += term(p[at &+ 3])
        lane.4 += term(p[at &+ 4]); lane.5 += term(p[at &+ 5]); lane.6 += term(p[at &+ 6]); lane.7 += term(p[at &+ 7])
        at &+= 8
      }
      let low = (Double(lane.0) + Double(lane.1)) + (Double(lane.2) + Double(lane.3))
      let high = (Double(lane.4) + Double(lane.5)) + (Double(lane.6) + Double(lane.7))
      total += low + high
    }
    while at < n {
      total += Double(term(p[at]))
      at &+= 1
    }
    return total
  }

  @inline(__always)
  private func scan<T: FloatElement>(_ type: T.Type, _ start: T, _ f: (T, T) -> T) throws(GenericProblem) {
    let (outer, extent, inner) = (view.outer, view.extent, view.inner)
    let out = result.storage.base.assumingMemoryBound(to: T.self)
    try x.read(T.self) { p in scanRows(p, out, outer, extent, inner, start, f) }
  }

  /// log Σ exp, with the largest element taken out first.
  private func logSumExp<T: FloatElement>(_ type: T.Type) throws(GenericProblem) {
    let (outer, extent, inner) = (view.outer, view.extent, view.inner)
    let out = result.storage.base.assumingMemoryBound(to: T.self)
    try x.read(T.self) { p in
      for o in 0..<outer {
        for i in 0..<inner {
          let column = p + (o &* extent &* inner &+ i)
          var most = -T.infinity, sum = 0.0
          for e in 0..<extent { most = column[e &* inner] > most || column[e &* inner].isNotANumber ? column[e &* inner] : most }
          // Infinite or no elements: there is nothing to scale by.
          let shift = most.isFinite ? most : 0
          for e in 0..<extent { sum += Double(T.cExp(column[e &* inner] - shift)) }
          out[o &* inner &+ i] = T(Double.cLog(sum)) + shift
        }
      }
    }
  }
}

/// Folds the middle of [outer, extent, inner] from the first element on.
@inline(__always)
private func scanRows<T>(_ p: UnsafePointer<T>, _ out: UnsafeMutablePointer<T>, _ outer: Int, _ extent: Int, _ inner: Int, _ start: T, _ f: (T, T) -> T) {
  for o in 0..<outer {
    let target = out + o &* inner
    if inner == 1 {
      var value = start
      let row = p + o &* extent
      for e in 0..<extent { value = f(value, row[e]) }
      target[0] = value
    } else {
      for i in 0..<inner { target[i] = start }
      for e in 0..<extent {
        let row = p + (o &* extent &+ e) &* inner
        for i in 0..<inner { target[i] = f(target[i], row[i]) }
      }
    }
  }
}

// MARK: - Integers

private struct IntegerReduction: IntegerWork {
  let kind: ReductionKind
  let x: Tensor
  let view: ReductionView
  let result: Tensor

  func run<T: NumericElement & FixedWidthInteger>(_ type: T.Type) throws(GenericProblem) {
    let isBool = x.dtype == .bool
    switch kind {
    case .sum: try scan(T.self, 0) { $0 &+ $1 }
    case .prod: try scan(T.self, 1) { $0 &* $1 }
    // BOOL has 0 and 1 only.
    case .max: try scan(T.self, isBool ? 0 : T.min) { Swift.max($0, $1) }
    case .min: try scan(T.self, isBool ? 1 : T.max) { Swift.min($0, $1) }
    case .l1: try scan(T.self, 0) { $0 &+ ($1 < 0 ? 0 &- $1 : $1) }
    case .sumSquare: try scan(T.self, 0) { $0 &+ $1 &* $1 }
    case .mean, .l2:
      // Summed in F64 and truncated, as NumPy does and casts back.
      let out = result.storage.base.assumingMemoryBound(to: T.self)
      let (extent, inner, square) = (view.extent, view.inner, kind == .l2)
      try x.read(T.self) { p in
        for o in 0..<view.outer {
          for i in 0..<inner {
            var sum = 0.0, wrapped: T = 0
            for e in 0..<extent {
              let v = p[(o &* extent &+ e) &* inner &+ i]
              sum += Double(v)
              if square { wrapped &+= v &* v }
            }
            out[o &* inner &+ i] = T(wrapping: square ? Double(wrapped).squareRoot() : sum / Double(extent))
          }
        }
      }
    case .logSum, .logSumExp, .cumSum: throw .unsupported("\(kind.rawValue) of integers is not defined")
    }
  }

  @inline(__always)
  private func scan<T: NumericElement>(_ type: T.Type, _ start: T, _ f: (T, T) -> T) throws(GenericProblem) {
    let (outer, extent, inner) = (view.outer, view.extent, view.inner)
    let out = result.storage.base.assumingMemoryBound(to: T.self)
    try x.read(T.self) { p in scanRows(p, out, outer, extent, inner, start, f) }
  }
}

// MARK: - CumSum

private struct CumulativeWork: ElementWork {
  let x: Tensor
  let view: AxisView
  let result: Tensor
  let exclusive: Bool, reverse: Bool

  func run<T: NumericElement>(_ type: T.Type) throws(GenericProblem) {
    let out = result.storage.base.assumingMemoryBound(to: T.self)
    let (extent, inner, exclusive, reverse) = (view.extent, view.inner, exclusive, reverse)
    try x.read(T.self) { p in
      for o in 0..<view.outer {
        for i in 0..<inner {
          var sum: T = 0
          for step in 0..<extent {
            let at = (o &* extent &+ (reverse ? extent - 1 - step : step)) &* inner &+ i
            let next = T.add(sum, p[at])
            out[at] = exclusive ? sum : next
            sum = next
          }
        }
      }
    }
  }
}
