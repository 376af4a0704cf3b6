// Where a value lies while a plan runs: rows of the last axis, and the distance between them.

import DinoTensor

/// A value as rows × columns; `stride` floats from row to row.
struct Layout: Hashable {
  var rows: Int
  var columns: Int
  var stride: Int

  var floats: Int { rows == 0 ? 0 : (rows - 1) * stride + columns }

  /// Rows that follow each other without gaps: what comes from and goes to the outside.
  static func dense(_ shape: Shape) -> Layout {
    let columns = shape.isScalar ? 1 : shape[-1]
    return Layout(rows: columns == 0 ? 0 : shape.count / columns, columns: columns, stride: columns)
  }

  /// Rows padded to an odd number of 64-byte lines. Widths of networks are multiples of large powers of two; without the padding the rows
  /// of a register tile would fall into the same few sets of the first-level cache.
  static func padded(_ shape: Shape) -> Layout {
    var layout = dense(shape)
    if layout.columns > 16 {
      let lines = (layout.columns + 15) / 16
      layout.stride = (lines | 1) * 16
    }
    return layout
  }
}

/// Where a step reads or writes: fixed memory (arena, constants), or what the caller binds for a run.
struct Operand {
  var fixed: UnsafeMutablePointer<Float>?
  var slot: Int
  var layout: Layout

  @inline(__always)
  func pointer(_ bindings: UnsafeMutablePointer<UnsafeMutablePointer<Float>?>) -> UnsafeMutablePointer<Float> {
    if let fixed { return fixed }
    return bindings[slot]!
  }
}

typealias Bindings = UnsafeMutablePointer<UnsafeMutablePointer<Float>?>
