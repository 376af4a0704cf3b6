// Four-bit weights as they are stored: rows cut into groups of 32 that share a scale in half precision (rules Q4 and Q5 of formats/). A form for files: they become
// floats before anything is computed.

public import DinoTensor

public enum Int4Groups {
  /// Elements of a group.
  public static let size = 32
  /// What the range of a group may shrink to; the least squared error decides.
  private static let steps = 10

  /// - Parameters:
  ///   - weight: seen as [shape[0], everything else].
  ///   - importance: of the elements of a row, the same for all rows: what a squared error there counts.
  /// - Returns: U8 [out, 16·groups] and F16 [out, groups].
  public static func rounded(_ weight: Tensor, importance: [Float]? = nil, team: ThreadTeam) throws -> (values: Tensor, scales: Tensor) {
    let out = weight.shape[0], depth = weight.count / max(out, 1), groups = (depth + size - 1) / size
    precondition(importance == nil || importance!.count == depth)
    let values = try Tensor(dtype: .u8, shape: [out, size / 2 * groups]) { _ in }, scales = try Tensor(dtype: .f16, shape: [out, groups]) { _ in }
    let bytes = Sendables(values.storage.base.assumingMemoryBound(to: UInt8.self)), halves = Sendables(scales.storage.base.assumingMemoryBound(to: UInt16.self))
    team.forEach(out) { row in
      withUnsafeTemporaryAllocation(of: Float.self, capacity: 2 * groups * size) { floats in
        let x = floats.baseAddress!, counts = x + groups * size
        x.update(repeating: 0, count: groups * size)
        counts.update(repeating: 1, count: groups * size)
        weight.convert(range: row * depth..<(row + 1) * depth, into: x)
        if let importance { for i in 0..<depth { counts[i] = importance[i] } }
        for g in 0..<groups {
          halves.pointer[row * groups + g] = group(x + g * size, counts + g * size, bytes.pointer + (row * groups + g) * (size / 2))
        }
      }
    }
    weight.releasePages()
    return (values, scales)
  }

  /// Rounds one group and returns its scale as a half.
  private static func group(_ x: UnsafeMutablePointer<Float>, _ counts: UnsafeMutablePointer<Float>, _ bytes: UnsafeMutablePointer<UInt8>) -> UInt16 {
    var largest: Float = 0
    for i in 0..<size { largest = max(largest, abs(x[i])) }
    var best = halfFromFloat(1), least = Float.infinity
    if largest > 0 {
      for step in 0..<steps {
        // The smallest half and the largest are as far as halves go.
        let half = min(max(halfFromFloat(largest * (1 - 0.04 * Float(step)) / 7), 1), 0x7BFF), scale = floatFromHalf(half)
        var error: Float = 0
        for i in 0..<size {
          let d = x[i] - nearest(x[i], scale) * scale
          error += d * d * counts[i]
        }
        if error < least { (least, best) = (error, half) }
      }
    }
    let scale = floatFromHalf(best)
    for j in 0..<size / 2 {
      let low = UInt8(nearest(x[2 * j], scale) + 8), high = UInt8(nearest(x[2 * j + 1], scale) + 8)
      bytes[j] = low | high << 4
    }
    return best
  }

  @inline(__always)
  private static func nearest(_ x: Float, _ scale: Float) -> Float { min(max((x / scale).rounded(.toNearestOrEven), -7), 7) }

  /// Whether stored bytes hold the nibble that means nothing.
  public static func hasForbidden(_ values: Tensor) -> Bool {
    var found = false
    for byte in values.unsafeBytes { found = found || byte & 0x0F == 0 || byte & 0xF0 == 0 }
    return found
  }

  /// The weight in f32, of shape `shape`.
  public static func expanded(_ values: Tensor, scales: Tensor, shape: Shape, team: ThreadTeam) throws -> Tensor {
    let out = shape[0], depth = shape.count / max(out, 1), groups = (depth + size - 1) / size
    precondition(values.count == out * groups * size / 2 && scales.count == out * groups)
    let result = try Tensor(dtype: .f32, shape: shape) { _ in }
    let to = Sendables(result.storage.base.assumingMemoryBound(to: Float.self)), bytes = Sendables((values.storage.base + values.byteOffset).assumingMemoryBound(to: UInt8.self))
    team.forEach(out) { row in
      withUnsafeTemporaryAllocation(of: Float.self, capacity: groups) { factors in
        scales.convert(range: row * groups..<(row + 1) * groups, into: factors.baseAddress!)
        for i in 0..<depth {
          let byte = bytes.pointer[row * groups * (size / 2) + i / 2], nibble = i % 2 == 0 ? byte & 15 : byte >> 4
          to.pointer[row * depth + i] = Float(Int(nibble) - 8) * factors[i / size]
        }
      }
    }
    values.releasePages()
    scales.releasePages()
    return result
  }
}
