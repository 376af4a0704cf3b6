// Extents of a tensor, row-major. Arithmetic is checked: shapes come from files.

/// The extents of a tensor, outermost first. An empty shape is a scalar.
public struct Shape: Hashable, Sendable, ExpressibleByArrayLiteral, CustomStringConvertible {
  public var dims: [Int]

  public init(_ dims: [Int]) { self.dims = dims }
  public init(arrayLiteral elements: Int...) { dims = elements }

  public var rank: Int { dims.count }
  public var isScalar: Bool { dims.isEmpty }
  public subscript(_ axis: Int) -> Int { dims[axis < 0 ? dims.count + axis : axis] }

  /// Number of elements, or nil where an extent is negative or no machine could hold what the extents other than 0 say: then sums and products of a few extents cannot
  /// overflow either.
  public var checkedCount: Int? {
    var count = 1
    for d in dims {
      guard d >= 0 else { return nil }
      let (p, o) = count.multipliedReportingOverflow(by: max(d, 1))
      if o || p > 1 << 61 { return nil }
      count = p
    }
    return dims.contains(0) ? 0 : count
  }

  /// Number of elements. Traps where `checkedCount` is nil: call it on shapes that were checked.
  public var count: Int {
    guard let c = checkedCount else { preconditionFailure("shape \(self) has no valid element count") }
    return c
  }

  /// Elements between neighbours along each axis, of a contiguous row-major tensor.
  public var strides: [Int] {
    var s = [Int](repeating: 1, count: dims.count)
    var axis = dims.count - 2
    while axis >= 0 {
      s[axis] = s[axis + 1] &* dims[axis + 1]
      axis -= 1
    }
    return s
  }

  public var description: String { "[" + dims.map(String.init).joined(separator: ", ") + "]" }
}
