// Shape rules of foreign operators: layout, where an input or an attribute list gives extents, axes or pads. What the twins need as well is said once, in
// structs that both use: `SliceRange`, `PadPlan`.

public import DinoTensor

extension GenericRule {
  /// Integers that an operator takes from an attribute before `version`, and from an input since then.
  private func numbers(_ attribute: String, input i: Int, since version: Int) throws(GenericProblem) -> GivenList {
    if op.version >= version { return try list(i) }
    guard let given = op.ints(attribute) else { return .absent }
    return .known(given)
  }

  func reshape() throws(GenericProblem) -> ValueFact {
    try atMost(2)
    let x = try input(0)
    _ = try input(1, [.i64])
    guard case .known(let target) = try list(1) else { return ValueFact(dtype: x.dtype, shape: nil) }
    let zeroIsZero = op.version >= 14 && (op.int("allowzero") ?? 0) != 0
    var dims = target, open: Int?
    for (i, n) in target.enumerated() {
      if n == -1 {
        guard open == nil else { throw .invalid("Reshape to \(target) leaves two extents open") }
        open = i
      } else if n < 0 {
        throw .invalid("Reshape to \(target) has a negative extent")
      } else if n == 0, !zeroIsZero {
        guard let shape = x.shape else { return ValueFact(dtype: x.dtype, shape: nil) }
        guard i < shape.rank else { throw .invalid("Reshape to \(target) keeps extent \(i) of a tensor of rank \(shape.rank)") }
        dims[i] = shape.dims[i]
      }
    }
    if open != nil, zeroIsZero, target.contains(0) { throw .invalid("Reshape to \(target) has an open extent beside one of 0") }
    if let open {
      guard let count = x.shape?.checkedCount else { return ValueFact(dtype: x.dtype, shape: nil) }
      dims[open] = 1
      guard let rest = Shape(dims).checkedCount, rest > 0, count % rest == 0 else { throw .invalid("Reshape cannot see \(x.shape!) as \(target)") }
      dims[open] = count / rest
    }
    if let shape = x.shape, Shape(dims).checkedCount != shape.checkedCount { throw .invalid("Reshape cannot see \(shape) as \(target)") }
    return ValueFact(dtype: x.dtype, shape: Shape(dims))
  }

  func slice() throws(GenericProblem) -> ValueFact {
    try atMost(op.version >= 10 ? 5 : 1)
    let x = try input(0)
    guard let shape = x.shape, let ranges = try sliceRanges(shape) else { return ValueFact(dtype: x.dtype, shape: nil) }
    return ValueFact(dtype: x.dtype, shape: Shape(ranges.map(\.count)))
  }

  /// The range of each axis that Slice keeps; nil where that is not known before running.
  func sliceRanges(_ shape: Shape) throws(GenericProblem) -> [SliceRange]? {
    let starts = try numbers("starts", input: 1, since: 10), ends = try numbers("ends", input: 2, since: 10)
    let axes = try numbers("axes", input: 3, since: 10), steps: GivenList = op.version >= 10 ? try list(4) : .absent
    guard case .known(let s) = starts, case .known(let e) = ends else {
      if case .absent = starts { throw .invalid("Slice needs starts") }
      if case .absent = ends { throw .invalid("Slice needs ends") }
      return nil
    }
    guard s.count == e.count else { throw .invalid("Slice has \(s.count) starts and \(e.count) ends") }
    var which = Array(s.indices), by = [Int](repeating: 1, count: s.count)
    switch axes {
    case .absent: break
    case .unknown: return nil
    case .known(let given): which = given
    }
    switch steps {
    case .absent: break
    case .unknown: return nil
    case .known(let given): by = given
    }
    guard which.count == s.count, by.count == s.count else { throw .invalid("Slice has \(s.count) starts, \(which.count) axes and \(by.count) steps") }
    var ranges = shape.dims.map { SliceRange(start: 0, step: 1, count: $0) }
    var seen: Set<Int> = []
    for i in s.indices {
      let a = try axis(which[i], rank: shape.rank)
      guard seen.insert(a).inserted else { throw .invalid("Slice names axis \(a) twice") }
      guard by[i] != 0 else { throw .invalid("Slice has the step 0") }
      ranges[a] = SliceRange(start: s[i], end: e[i], step: by[i], extent: shape.dims[a])
    }
    return ranges
  }

  func split() throws(GenericProblem) -> [ValueFact] {
    try atMost(op.version >= 13 ? 2 : 1)
    let x = try input(0), sizes = try numbers("split", input: 1, since: 13)
    let wanted = op.version >= 18 ? op.int("num_outputs") : nil
    guard outputs >= 1 else { throw .invalid("Split has no outputs") }
    if let wanted, wanted < outputs { throw .invalid("Split has num_outputs=\(wanted) and \(outputs) outputs") }
    let none = [ValueFact](repeating: ValueFact(dtype: x.dtype, shape: nil), count: outputs)
    guard let shape = x.shape else { return none }
    let a = try axis(op.int("axis") ?? 0, rank: shape.rank), extent = shape.dims[a]
    let parts: [Int]
    switch sizes {
    case .unknown: return none
    case .known(let given):
      if wanted != nil { throw .invalid("Split has both sizes and num_outputs") }
      var sum = 0
      for n in given {
        guard n >= 0, n <= extent - sum else { throw .invalid("Split cannot cut \(extent) into \(given)") }
        sum += n
      }
      guard sum == extent, given.count >= outputs else { throw .invalid("Split cannot cut \(extent) into \(given), for \(outputs) outputs") }
      parts = given
    case .absent:
      let n = wanted ?? outputs
      guard n <= 1 << 16 else { throw .unsupported("Split into \(n) parts") }
      // The last part is smaller where they are not equal; before num_outputs existed, they had to be.
      let size = (extent + n - 1) / n
      guard wanted != nil || extent % n == 0 else { throw .invalid("Split cannot cut \(extent) into \(n) equal parts") }
      guard size * (n - 1) <= extent else { throw .invalid("Split cannot cut \(extent) into \(n) parts of \(size)") }
      parts = [Int](repeating: size, count: n - 1) + [extent - size * (n - 1)]
    }
    return parts.map { n in
      var dims = shape.dims
      dims[a] = n
      return ValueFact(dtype: x.dtype, shape: Shape(dims))
    }
  }

  func squeeze() throws(GenericProblem) -> ValueFact {
    try atMost(op.version >= 13 ? 2 : 1)
    let x = try input(0), axes = try numbers("axes", input: 1, since: 13)
    guard let shape = x.shape else { return ValueFact(dtype: x.dtype, shape: nil) }
    switch axes {
    case .unknown: return ValueFact(dtype: x.dtype, shape: nil)
    case .absent: return ValueFact(dtype: x.dtype, shape: Shape(shape.dims.filter { $0 != 1 }))
    case .known(let given):
      var gone: Set<Int> = []
      for g in given {
        let a = try axis(g, rank: shape.rank)
        guard shape.dims[a] == 1 else { throw .invalid("Squeeze of axis \(a) of \(shape), whose extent is not 1") }
        gone.insert(a)
      }
      return ValueFact(dtype: x.dtype, shape: Shape(shape.dims.indices.filter { !gone.contains($0) }.map { shape.dims[$0] }))
    }
  }

  func unsqueeze() throws(GenericProblem) -> ValueFact {
    try atMost(op.version >= 13 ? 2 : 1)
    let x = try input(0)
    switch try numbers("axes", input: 1, since: 13) {
    case .absent: throw .invalid("Unsqueeze needs axes")
    case .unknown: return ValueFact(dtype: x.dtype, shape: nil)
    case .known(let given):
      guard let shape = x.shape else { return ValueFact(dtype: x.dtype, shape: nil) }
      let rank = shape.rank + given.count
      var new: Set<Int> = []
      for g in given {
        guard new.insert(try axis(g, rank: rank)).inserted else { throw .invalid("Unsqueeze names axis \(g) twice") }
      }
      var old = shape.dims.makeIterator()
      return ValueFact(dtype: x.dtype, shape: Shape((0..<rank).map { new.contains($0) ? 1 : old.next()! }))
    }
  }

  func expand() throws(GenericProblem) -> ValueFact {
    try atMost(2)
    let x = try input(0)
    _ = try input(1, [.i64])
    guard case .known(let target) = try list(1) else { return ValueFact(dtype: x.dtype, shape: nil) }
    guard target.allSatisfy({ $0 >= 0 }) else { throw .invalid("Expand to \(target), which has a negative extent") }
    return ValueFact(dtype: x.dtype, shape: try broadcast([x.shape, Shape(target)]))
  }

  func tile() throws(GenericProblem) -> ValueFact {
    try atMost(2)
    let x = try input(0)
    _ = try input(1, [.i64])
    guard let shape = x.shape, case .known(let repeats) = try list(1) else { return ValueFact(dtype: x.dtype, shape: nil) }
    guard repeats.count == shape.rank, repeats.allSatisfy({ $0 >= 0 }) else { throw .invalid("Tile has the repeats \(repeats) for a tensor of shape \(shape)") }
    var dims: [Int] = []
    for (n, r) in zip(shape.dims, repeats) { dims.append(try times(n, r)) }
    return ValueFact(dtype: x.dtype, shape: Shape(dims))
  }

  func pad() throws(GenericProblem) -> ValueFact {
    try atMost(op.version >= 18 ? 4 : op.version >= 11 ? 3 : 1)
    let x = try input(0, TypeSet.plain)
    if op.version >= 11, let fill = try optional(2, TypeSet.plain) {
      try same(x, fill)
      if let shape = fill.shape, shape.checkedCount != 1 { throw .invalid("Pad needs one constant_value, not \(shape)") }
    }
    guard let shape = x.shape, let plan = try padPlan(shape) else { return ValueFact(dtype: x.dtype, shape: nil) }
    return ValueFact(dtype: x.dtype, shape: plan.result)
  }

  /// What Pad does to each axis; nil where that is not known before running.
  func padPlan(_ shape: Shape) throws(GenericProblem) -> PadPlan? {
    let name = op.string("mode") ?? "constant"
    guard let mode = PadPlan.Mode(rawValue: name), mode != .wrap || op.version >= 19 else { throw .invalid("Pad has mode=\(name)") }
    let pads: [Int]
    switch try numbers("pads", input: 1, since: 11) {
    case .absent: throw .invalid("Pad needs pads")
    case .unknown: return nil
    case .known(let given): pads = given
    }
    var axes = Array(0..<shape.rank)
    if op.version >= 18 {
      switch try list(3) {
      case .absent: break
      case .unknown: return nil
      case .known(let given):
        axes = []
        for g in given { axes.append(try axis(g, rank: shape.rank)) }
        guard Set(axes).count == axes.count else { throw .invalid("Pad names an axis twice") }
      }
    }
    guard pads.count == 2 * axes.count else { throw .invalid("Pad has \(pads.count) pads for \(axes.count) axes") }
    var begin = [Int](repeating: 0, count: shape.rank), end = begin
    for (i, a) in axes.enumerated() {
      begin[a] = pads[i]
      end[a] = pads[axes.count + i]
    }
    var dims: [Int] = []
    for a in 0..<shape.rank {
      // Cut first (negative pads), then pad what is left.
      let limit = 1 << 48
      guard abs(clamped: begin[a]) < limit, abs(clamped: end[a]) < limit else { throw .invalid("Pad by \(pads)") }
      let left = shape.dims[a] + Swift.min(begin[a], 0) + Swift.min(end[a], 0)
      guard left >= 0 else { throw .invalid("Pad by \(pads) cuts more than there is of \(shape)") }
      let more = Swift.max(begin[a], 0) + Swift.max(end[a], 0)
      if left == 0, more > 0, mode != .constant { throw .invalid("Pad with mode=\(name) of an axis without elements") }
      dims.append(left + more)
    }
    return PadPlan(mode: mode, begin: begin, end: end, result: Shape(dims))

    func abs(clamped v: Int) -> Int { v == .min ? .max : Swift.abs(v) }
  }

  func range() throws(GenericProblem) -> ValueFact {
    try atMost(3)
    let start = try number(0, TypeSet.numbers), limit = try number(1, TypeSet.numbers), delta = try number(2, TypeSet.numbers)
    let first = try input(0)
    try same(first, try input(1))
    try same(first, try input(2))
    guard let start, let limit, let delta else { return ValueFact(dtype: first.dtype, shape: nil) }
    guard delta.double != 0 else { throw .invalid("Range has the step 0") }
    if case .integer(let a) = start, case .integer(let b) = limit, case .integer(let d) = delta {
      let (span, overflow) = b.subtractingReportingOverflow(a)
      guard !overflow, span != .min, d != .min else { throw .invalid("Range from \(a) to \(b)") }
      guard (span > 0) == (d > 0), span != 0 else { return ValueFact(dtype: first.dtype, shape: [0]) }
      let whole = Swift.abs(span), by = Swift.abs(d)
      return ValueFact(dtype: first.dtype, shape: [whole / by + (whole % by == 0 ? 0 : 1)])
    }
    let count = ((limit.double - start.double) / delta.double).rounded(.up)
    guard count.isFinite, count < 1e12 else { throw .invalid("Range from \(start.double) to \(limit.double) by \(delta.double)") }
    return ValueFact(dtype: first.dtype, shape: [Int(Swift.max(count, 0))])
  }

  func constantOfShape() throws(GenericProblem) -> ValueFact {
    try atMost(1)
    _ = try input(0, [.i64])
    var dtype = DType.f32
    if case .element(let given, bits: _)? = op.attributes["value"] { dtype = given } else if op.attributes["value"] != nil {
      throw .invalid("ConstantOfShape has a value that is no tensor of one element")
    }
    guard case .known(let dims) = try list(0) else { return ValueFact(dtype: dtype, shape: nil) }
    guard dims.allSatisfy({ $0 >= 0 }) else { throw .invalid("ConstantOfShape has a negative extent: \(dims)") }
    return ValueFact(dtype: dtype, shape: Shape(dims))
  }
}

/// What Slice keeps of one axis: `count` elements from `start` on, `step` apart.
public struct SliceRange: Sendable, Hashable {
  public var start: Int
  public var step: Int
  public var count: Int

  init(start: Int, step: Int, count: Int) {
    self.start = start
    self.step = step
    self.count = count
  }

  /// Bounds as files give them: counted from the end where negative, and clamped.
  init(start: Int, end: Int, step: Int, extent: Int) {
    func bound(_ v: Int, _ low: Int, _ high: Int) -> Int {
      let near = v < 0 ? (v < -extent ? -1 - extent : v) + extent : v
      return Swift.min(Swift.max(near, low), high)
    }
    let from, to: Int
    if step > 0 {
      (from, to) = (bound(start, 0, extent), bound(end, 0, extent))
    } else {
      (from, to) = (bound(start, -1, extent - 1), bound(end, -1, extent - 1))
    }
    let span = step > 0 ? to - from : from - to, by = step == .min ? .max : Swift.abs(step)
    count = span > 0 ? (span - 1) / by + 1 : 0
    self.start = count > 0 ? from : 0
    self.step = count > 1 ? step : 1
  }
}

/// What Pad does: elements added (or, where negative, cut) before and after each axis.
public struct PadPlan: Sendable, Hashable {
  public enum Mode: String, Sendable { case constant, reflect, edge, wrap }
  public var mode: Mode
  public var begin: [Int]
  public var end: [Int]
  public var result: Shape
}

extension Generic {
  /// For the twin of Slice: its ranges, by the rule above.
  public func sliceRanges(_ inputs: [ValueFact?], of shape: Shape) throws(GenericProblem) -> [SliceRange]? {
    try GenericRule(op: self, inputs: inputs, outputs: 1).sliceRanges(shape)
  }

  /// For the twin of Pad: its plan, by the rule above.
  public func padPlan(_ inputs: [ValueFact?], of shape: Shape) throws(GenericProblem) -> PadPlan? {
    try GenericRule(op: self, inputs: inputs, outputs: 1).padPlan(shape)
  }
}
