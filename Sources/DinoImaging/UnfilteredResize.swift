// OpenCV's default resize (INTER_LINEAR) of 8-bit pictures, to the bit: bilinear between the two nearest pixels however much the picture shrinks, in its fixed-point
// arithmetic of 11 bits. The DAVIS protocol reads video frames through it. Everything else resizes with Resampler, which filters.

extension Image {
  /// The picture at another size, as `cv2.resize(image, (width, height))` gives it.
  public func resizedUnfiltered(width newWidth: Int, height newHeight: Int) -> Image {
    precondition(newWidth > 0 && newHeight > 0)
    if newWidth == width && newHeight == height { return self }
    let columns = Self.places(from: width, to: newWidth, stopsAtEdges: true), rows = Self.places(from: height, to: newHeight, stopsAtEdges: false)
    var out = [UInt8](repeating: 0, count: newWidth * newHeight * channels)
    var above = [Int32](repeating: 0, count: newWidth * channels), below = above, aboveRow = -1, belowRow = -1
    for (y, row) in rows.enumerated() {
      // Rows that were needed last are often needed again.
      if row.first != aboveRow {
        if row.first == belowRow { swap(&above, &below); swap(&aboveRow, &belowRow) } else { widen(row.first, columns, &above) }
        aboveRow = row.first
      }
      if row.second != belowRow {
        widen(row.second, columns, &below)
        belowRow = row.second
      }
      let base = y * newWidth * channels
      for i in above.indices {
        let sum = ((row.weightOfFirst * (above[i] >> 4)) >> 16) + ((row.weightOfSecond * (below[i] >> 4)) >> 16)
        out[base + i] = UInt8(truncatingIfNeeded: (sum + 2) >> 2)
      }
    }
    return Image(width: newWidth, height: newHeight, channels: channels, pixels: out)
  }

  /// The two pixels under a pixel of the result and their weights, which add up to 2048.
  private struct Place {
    var first: Int
    var second: Int
    var weightOfFirst: Int32
    var weightOfSecond: Int32
  }

  private static func places(from: Int, to: Int, stopsAtEdges: Bool) -> [Place] {
    let scale = Double(from) / Double(to)
    return (0..<to).map { i in
      let at = Float((Double(i) + 0.5) * scale - 0.5)
      var low = Int(at.rounded(.down)), part = at - Float(low)
      // Along rows a place beyond the edge is the edge; along columns OpenCV keeps the two weights there, and both are of the edge.
      if stopsAtEdges && low < 0 { (low, part) = (0, 0) }
      if stopsAtEdges && low >= from - 1 { (low, part) = (from - 1, 0) }
      return Place(first: min(max(low, 0), from - 1), second: min(max(low + 1, 0), from - 1), weightOfFirst: Int32(((1 - part) * 2048).rounded(.toNearestOrEven)),
                   weightOfSecond: Int32((part * 2048).rounded(.toNearestOrEven)))
    }
  }

  private func widen(_ y: Int, _ columns: [Place], _ out: inout [Int32]) {
    let row = y * stride
    for (x, place) in columns.enumerated() {
      for c in 0..<channels {
        out[x * channels + c] = Int32(pixels[row + place.first * channels + c]) * place.weightOfFirst + Int32(pixels[row + place.second * channels + c]) * place.weightOfSecond
      }
    }
  }
}
