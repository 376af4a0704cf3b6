// A mask from a few points that a person names: each patch goes with the point whose patch it resembles most.

public import Dino
internal import DinoKernels

public enum Clicks {
  /// The patches that are more like one of the `foreground` patches than like any of the `background` ones (cosine of keys), and connected to a foreground patch.
  ///
  /// Without background points, the limit is the similarity that divides the photograph's patches best into alike and unalike (Otsu's threshold).
  public static func object(_ features: PatchFeatures, foreground: [Int], background: [Int], threads: Int = 0) -> PatchMask {
    let unit = unitRows(features.values, width: features.width), n = features.count
    func likeness(_ points: [Int]) -> [Float] {
      let rows = points.flatMap { unit[$0 * features.width..<($0 + 1) * features.width] }
      let products = RowProducts(threads: threads).all(unit, rows, width: features.width)
      return (0..<n).map { i in products[i * points.count..<(i + 1) * points.count].max() ?? -1 }
    }
    guard !foreground.isEmpty else { return .empty(rows: features.rows, columns: features.columns) }
    let near = likeness(foreground)
    let limits = background.isEmpty ? [Float](repeating: otsu(near), count: n) : likeness(background)
    var mask = PatchMask(rows: features.rows, columns: features.columns, kept: (0..<n).map { near[$0] > limits[$0] })
    for i in foreground { mask.kept[i] = true }
    for i in background where !foreground.contains(i) { mask.kept[i] = false }
    var result = PatchMask.empty(rows: features.rows, columns: features.columns)
    for part in mask.components() where part.contains(where: foreground.contains) {
      for i in part { result.kept[i] = true }
    }
    return result
  }

  /// The value that splits `values` into two groups of greatest variance between them.
  static func otsu(_ values: [Float]) -> Float {
    let sorted = values.sorted(), n = sorted.count
    let total = sorted.reduce(0.0) { $0 + Double($1) }
    var sum = 0.0, best = -1.0, threshold = sorted.first ?? 0
    for i in 0..<max(n - 1, 0) {
      sum += Double(sorted[i])
      if sorted[i] == sorted[i + 1] { continue }
      let low = Double(i + 1), high = Double(n - i - 1)
      let difference = sum / low - (total - sum) / high
      let between = low * high * difference * difference
      if between > best {
        best = between
        threshold = sorted[i]
      }
    }
    return threshold
  }
}

extension PreparedImage.Geometry {
  /// The patch that a pixel of the photograph is in; nil where the network does not see it.
  public func patch(x: Int, y: Int) -> Int? {
    func place(_ i: Int, _ extent: Int, _ resized: Int, _ start: Int, _ count: Int) -> Int? {
      guard (0..<extent).contains(i) else { return nil }
      let seen = (Double(i) + 0.5) * Double(resized) / Double(extent) - Double(start)
      return seen >= 0 && Int(seen) / patch < count ? Int(seen) / patch : nil
    }
    guard let row = place(y, height, resizedHeight, top, rows), let column = place(x, width, resizedWidth, left, columns) else { return nil }
    return row * columns + column
  }
}
