// Which elements of a tensor share a scale, in QuantizeLinear and DequantizeLinear: all, those at one index of an axis, or blocks along an axis. Shapes only.

public import DinoTensor

/// How scales lie on a tensor, as runs of elements whose scales are one scale or neighbours.
public struct ScaleGroups: Sendable {
  enum Layout: Sendable { case tensor, axis, blocks(size: Int) }
  let layout: Layout
  /// The tensor seen as [outer, extent, inner], the axis of the scales in the middle.
  let outer: Int, extent: Int, inner: Int

  /// Calls `body` with the first element and the length of each run, its first scale, and 1 where every element has the next scale, 0 where all share one.
  public func forEachRun(_ body: (_ start: Int, _ length: Int, _ scale: Int, _ step: Int) -> Void) {
    if outer == 0 || extent == 0 || inner == 0 { return }
    switch layout {
    case .tensor: body(0, outer * extent * inner, 0, 0)
    case .axis:
      for o in 0..<outer {
        if inner == 1 {
          body(o * extent, extent, 0, 1)
        } else {
          for a in 0..<extent { body((o * extent + a) * inner, inner, a, 0) }
        }
      }
    case .blocks(let size):
      let blocks = (extent - 1) / size + 1
      for o in 0..<outer {
        if inner == 1 {
          for b in 0..<blocks { body(o * extent + b * size, Swift.min(size, extent - b * size), o * blocks + b, 0) }
        } else {
          for a in 0..<extent { body((o * extent + a) * inner, inner, (o * blocks + a / size) * inner, 1) }
        }
      }
    }
  }
}

extension Generic {
  /// How scales of that shape lie on a tensor of shape `x`, by the attributes `axis` and `block_size`.
  public func scaleGroups(_ x: Shape, scale: Shape) throws(GenericProblem) -> ScaleGroups {
    let name = kind.name, block = int("block_size") ?? 0
    guard block >= 0 else { throw .invalid("\(name) has block_size=\(block)") }
    if block == 0, scale.rank <= 1, scale.checkedCount == 1 { return ScaleGroups(layout: .tensor, outer: 1, extent: 1, inner: x.count) }
    let given = int("axis") ?? 1
    guard given >= -x.rank, given < x.rank else { throw .invalid("\(name) names axis \(given) of a tensor of rank \(x.rank)") }
    let axis = given < 0 ? given + x.rank : given, extent = x.dims[axis]
    let outer = x.dims[..<axis].reduce(1, *), inner = x.dims[(axis + 1)...].reduce(1, *)
    guard block > 0 else {
      guard scale.rank == 1, scale.dims[0] == extent else { throw .invalid("\(name) has scales of shape \(scale) for axis \(axis) of \(x)") }
      return ScaleGroups(layout: .axis, outer: outer, extent: extent, inner: inner)
    }
    var expected = x.dims
    expected[axis] = extent == 0 ? 0 : (extent - 1) / block + 1
    guard scale.dims == expected else { throw .invalid("\(name) has scales of shape \(scale) for blocks of \(block) along axis \(axis) of \(x)") }
    return ScaleGroups(layout: .blocks(size: block), outer: outer, extent: extent, inner: inner)
  }
}
