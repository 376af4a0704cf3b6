// The cosines and sines of axial rotary positions (DINOv3): each patch's centre, down and across, over periods. Plain data that a runtime reads; no graph, no tensors.

#if canImport(Glibc)
internal import Glibc
#elseif canImport(Musl)
internal import Musl
#endif

public enum RotaryAngles {
  /// What `Core.rotaryAngles` gives: [special + rows·columns, 4·periods] row by row.
  public static func table(periods: [Float], rows: Int, columns: Int, special: Int, sine: Bool) -> [Float] {
    let width = 4 * periods.count
    let down = axis(rows, periods, sine: sine), across = axis(columns, periods, sine: sine)
    var result = [Float](repeating: sine ? 0 : 1, count: special * width)
    result.reserveCapacity((special + rows * columns) * width)
    for y in down {
      for x in across {
        let half = y + x
        result += half
        result += half
      }
    }
    return result
  }

  /// For each of `count` patches along an axis, the values of all periods.
  private static func axis(_ count: Int, _ periods: [Float], sine: Bool) -> [[Float]] {
    (0..<count).map { i in
      let centre = (Double(i) + 0.5) / Double(count) * 2 - 1
      return periods.map { period in
        let angle = 2 * Double.pi * centre / Double(period)
        return Float(sine ? sin(angle) : cos(angle))
      }
    }
  }
}
