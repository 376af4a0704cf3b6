// Loops over a result while several operands are read with steps of their own: broadcasting, transposing, slicing. Axes that can be walked as one are merged
// first, so that the innermost loop is long.

import DinoTensor

/// The extents of a result and, for each operand, how many elements a step along each axis moves (0: broadcast).
struct StridedLoop {
  /// Merged extents, outermost first; never empty.
  private(set) var dims: [Int]
  /// `steps[operand][axis]`.
  private(set) var steps: [[Int]]
  let count: Int

  init(_ result: Shape, steps given: [[Int]]) {
    count = result.checkedCount ?? 0
    dims = []
    steps = given.map { _ in [] }
    for (axis, n) in result.dims.enumerated() where n != 1 {
      let merges = !dims.isEmpty && given.indices.allSatisfy { steps[$0].last! == given[$0][axis] &* n }
      if merges { dims[dims.count - 1] &*= n } else { dims.append(n) }
      for k in given.indices {
        if merges { steps[k][dims.count - 1] = given[k][axis] } else { steps[k].append(given[k][axis]) }
      }
    }
    if dims.isEmpty {
      dims = [1]
      for k in given.indices { steps[k] = [0] }
    }
  }

  /// Operands of these shapes, broadcast to `result` by NumPy's rule (which must hold).
  init(broadcasting operands: [Shape], to result: Shape) {
    self.init(result, steps: operands.map { Self.broadcastSteps($0, to: result) })
  }

  static func broadcastSteps(_ operand: Shape, to result: Shape) -> [Int] {
    let strides = operand.strides, lead = result.rank - operand.rank
    return (0..<result.rank).map { axis in
      let own = axis - lead
      return own < 0 || operand.dims[own] == 1 ? 0 : strides[own]
    }
  }

  /// Length of the innermost loop.
  var rowLength: Int { dims[dims.count - 1] }
  /// The step of an operand in the innermost loop.
  func rowStep(_ operand: Int) -> Int { steps[operand][dims.count - 1] }

  /// Calls `body` for each innermost row, in order of the result: the index of its first element, and the offset of the row in the operand.
  @inline(__always)
  func forEachRow(_ body: (_ out: Int, _ a: Int) -> Void) {
    guard count > 0 else { return }
    walk { out, offsets in body(out, offsets[0]) }
  }
  @inline(__always)
  func forEachRow(_ body: (_ out: Int, _ a: Int, _ b: Int) -> Void) {
    guard count > 0 else { return }
    walk { out, offsets in body(out, offsets[0], offsets[1]) }
  }
  @inline(__always)
  func forEachRow(_ body: (_ out: Int, _ a: Int, _ b: Int, _ c: Int) -> Void) {
    guard count > 0 else { return }
    walk { out, offsets in body(out, offsets[0], offsets[1], offsets[2]) }
  }

  @inline(__always)
  private func walk(_ body: (Int, UnsafeMutablePointer<Int>) -> Void) {
    let outer = dims.count - 1, row = dims[outer], operands = steps.count
    // Offsets of the operands, then the position along each outer axis, then the steps axis by axis.
    withUnsafeTemporaryAllocation(of: Int.self, capacity: operands + outer + outer * operands + outer + 1) { work in
      let offsets = work.baseAddress!, position = offsets + operands, step = position + outer, extent = step + outer * operands
      for k in 0..<operands { offsets[k] = 0 }
      for axis in 0..<outer {
        position[axis] = 0
        extent[axis] = dims[axis]
        for k in 0..<operands { step[axis * operands + k] = steps[k][axis] }
      }
      var out = 0
      while out < count {
        body(out, offsets)
        out &+= row
        var axis = outer &- 1
        while axis >= 0 {
          position[axis] &+= 1
          if position[axis] < extent[axis] {
            for k in 0..<operands { offsets[k] &+= step[axis &* operands &+ k] }
            break
          }
          for k in 0..<operands { offsets[k] &-= step[axis &* operands &+ k] &* (extent[axis] &- 1) }
          position[axis] = 0
          axis &-= 1
        }
      }
    }
  }
}

/// `out[i] = f(a[i], b[i])` over a broadcast. Fast where both run along the rows, or one of them stands still.
@inline(__always)
func combine<A, B, R>(_ a: UnsafePointer<A>, _ b: UnsafePointer<B>, _ out: UnsafeMutablePointer<R>, _ loop: StridedLoop, _ f: (A, B) -> R) {
  let n = loop.rowLength, stepA = loop.rowStep(0), stepB = loop.rowStep(1)
  loop.forEachRow { o, oa, ob in
    let out = out + o, a = a + oa, b = b + ob
    switch (stepA, stepB) {
    case (1, 1): for i in 0..<n { out[i] = f(a[i], b[i]) }
    case (1, 0):
      let y = b[0]
      for i in 0..<n { out[i] = f(a[i], y) }
    case (0, 1):
      let x = a[0]
      for i in 0..<n { out[i] = f(x, b[i]) }
    default: for i in 0..<n { out[i] = f(a[i &* stepA], b[i &* stepB]) }
    }
  }
}
