// From what the network saw back to the photograph: grids and masks over the network's input, at the photograph's own size.

extension PreprocessingGeometry {
  /// A grid that covers the network's input (one value a patch, or a pixel) at the photograph's size. Pixels of the photograph that
  /// the network did not see get `outside`.
  public func mapToSource(_ grid: HeatMap, smooth: Bool = false, outside: Float = 0) -> HeatMap {
    let columns = axis(source: sourceWidth, resized: resizedWidth, start: visible.x, length: visible.width, padding: padding.x,
                       output: outputWidth, grid: grid.width, smooth: smooth)
    let rows = axis(source: sourceHeight, resized: resizedHeight, start: visible.y, length: visible.height, padding: padding.y,
                    output: outputHeight, grid: grid.height, smooth: smooth)
    var out = [Float](repeating: outside, count: sourceWidth * sourceHeight)
    for y in 0..<sourceHeight {
      guard let row = rows[y] else { continue }
      for x in 0..<sourceWidth {
        guard let column = columns[x] else { continue }
        let a = grid.values[row.first * grid.width + column.first], b = grid.values[row.first * grid.width + column.second]
        let c = grid.values[row.second * grid.width + column.first], d = grid.values[row.second * grid.width + column.second]
        let upper = a + (b - a) * column.part, lower = c + (d - c) * column.part
        out[y * sourceWidth + x] = upper + (lower - upper) * row.part
      }
    }
    return HeatMap(width: sourceWidth, height: sourceHeight, values: out)
  }

  /// A mask over the network's input at the photograph's size: nearest, or bilinear and at least a half. Unseen pixels are outside.
  public func mapToSource(_ mask: Mask, smooth: Bool = false) -> Mask {
    let grid = mapToSource(HeatMap(width: mask.width, height: mask.height, values: mask.values.map(Float.init)), smooth: smooth)
    return Mask(width: grid.width, height: grid.height, values: grid.values.map { $0 >= 0.5 ? 1 : 0 })
  }

  /// For each pixel of the photograph along one axis the one or two cells of the grid, or nil where the network did not see it.
  private func axis(source: Int, resized: Int, start: Int, length: Int, padding: Int, output: Int, grid: Int,
                    smooth: Bool) -> [(first: Int, second: Int, part: Float)?] {
    (0..<source).map { i in
      let inResized = (Double(i) + 0.5) * Double(resized) / Double(source)
      guard inResized >= Double(start), inResized < Double(start + length) else { return nil }
      let cell = (inResized - Double(start) + Double(padding)) * Double(grid) / Double(output)
      if !smooth {
        let k = min(Int(cell), grid - 1)
        return (k, k, 0)
      }
      let base = (cell - 0.5).rounded(.down)
      let first = min(max(Int(base), 0), grid - 1), second = min(max(Int(base) + 1, 0), grid - 1)
      return (first, second, Float(cell - 0.5 - base))
    }
  }
}
