// Patches by their principal components, as the DINOv2 paper shows them: the first component tells the object from the rest, and the first three components of the
// object's patches alone are its colours. Tokens after the last norm.

public import Dino
internal import DinoAlgebra

public enum PrincipalComponents {
  public struct Result: Sendable {
    /// The patches on the object's side of the first component.
    public var mask: PatchMask
    public var first: PatchMap
    /// Red, green and blue of each patch, [rows · columns, 3]; black outside the mask.
    public var colours: [UInt8]
  }

  public static func object(_ features: PatchFeatures) -> Result {
    let n = features.count
    let first = project(features.values, width: features.width, components: 1).map { $0.first ?? 0 }
    // The sign of a component is arbitrary: the object is on the side that has the smaller share of the photograph's border.
    let isObject = sideOffBorder(first, rows: features.rows, columns: features.columns)
    let mask = PatchMask(rows: features.rows, columns: features.columns, kept: first.map { isObject ? $0 > 0 : $0 < 0 })
    let inside = (0..<n).filter { mask.kept[$0] }
    var colours = [UInt8](repeating: 0, count: 3 * n)
    let parts = project(inside.flatMap { features.row($0) }, width: features.width, components: 3)
    for c in 0..<3 {
      let values = parts.map { c < $0.count ? $0[c] : 0 }
      guard let low = values.min(), let high = values.max() else { break }
      for (k, i) in inside.enumerated() { colours[3 * i + c] = high > low ? UInt8(((values[k] - low) / (high - low) * 255).rounded()) : 0 }
    }
    return Result(mask: mask, first: PatchMap(rows: features.rows, columns: features.columns, values: first.map { Float(isObject ? $0 : -$0) }), colours: colours)
  }

  /// Whether the positive side has fewer of the border's patches than the negative one, each as a share of the side.
  private static func sideOffBorder(_ values: [Double], rows: Int, columns: Int) -> Bool {
    var border = [0.0, 0.0], all = [0.0, 0.0]
    for i in values.indices where values[i] != 0 {
      let side = values[i] > 0 ? 0 : 1, r = i / columns, c = i % columns
      all[side] += 1
      if r == 0 || c == 0 || r == rows - 1 || c == columns - 1 { border[side] += 1 }
    }
    return border[0] / max(all[0], 1) <= border[1] / max(all[1], 1)
  }

  /// The rows, less their mean, on their first principal components: for each row `components` numbers, fewer where there are not so many. The direction of a
  /// component is the one in which its largest entry is positive.
  static func project(_ values: [Float], width: Int, components: Int) -> [[Double]] {
    let n = values.count / width
    guard n > 0 else { return [] }
    var mean = [Double](repeating: 0, count: width)
    for i in 0..<n {
      for c in 0..<width { mean[c] += Double(values[i * width + c]) }
    }
    scale(&mean, by: 1 / Double(n))
    let centred = (0..<n).map { i in (0..<width).map { Double(values[i * width + $0]) - mean[$0] } }
    let pairs = Lanczos.largest(components, dimension: width) { v in
      var out = [Double](repeating: 0, count: width)
      for row in centred { add(dot(row, v), row, to: &out) }
      return out
    }
    let directions = pairs.filter { $0.value > 0 }.map { pair in
      let peak = pair.vector.max { abs($0) < abs($1) } ?? 1
      return peak < 0 ? pair.vector.map { -$0 } : pair.vector
    }
    return centred.map { row in directions.map { dot(row, $0) } }
  }
}
