// Shrinking by whole factors exactly as Pillow's Image.reduce on 8-bit pictures, and what Image.thumbnail makes of it: a coarse reduce first, then the filter.

extension Image {
  /// Each cell of `x` × `y` pixels as its mean; cells at the right and lower edge may have fewer.
  func reduced(x: Int, y: Int) -> Image {
    precondition(x > 0 && y > 0)
    let columns = (width + x - 1) / x, rows = (height + y - 1) / y
    var out = [UInt8](repeating: 0, count: columns * rows * channels)
    for row in 0..<rows {
      let first = row * y, last = min(first + y, height)
      var sums = [Int](repeating: 0, count: columns * channels)
      for line in first..<last {
        var at = line * stride
        for column in 0..<width {
          let cell = column / x * channels
          for c in 0..<channels { sums[cell + c] += Int(pixels[at + c]) }
          at += channels
        }
      }
      for column in 0..<columns {
        let count = (min(column * x + x, width) - column * x) * (last - first)
        // Pillow's reciprocal, in 24 bits and of single precision.
        let reciprocal = Int(4_294_967_296 / Float(256 * count))
        for c in 0..<channels {
          let sum = sums[column * channels + c]
          out[(row * columns + column) * channels + c] = UInt8(truncatingIfNeeded: ((sum + count / 2) * reciprocal) >> 24)
        }
      }
    }
    return Image(width: columns, height: rows, channels: channels, pixels: out)
  }

  /// Pillow's `resize(size, LANCZOS, reducing_gap=2)`, which `thumbnail` calls: where a side shrinks to a quarter or less, means of cells come first, and leave twice the size at least.
  public func thumbnail(width newWidth: Int, height newHeight: Int) throws(ImageError) -> Image {
    let x = max(1, Int(Double(width) / Double(newWidth) / 2)), y = max(1, Int(Double(height) / Double(newHeight) / 2))
    guard x > 1 || y > 1 else { return try Resampler.resize(self, width: newWidth, height: newHeight, interpolation: .lanczos) }
    // The last cells may reach beyond the picture; the box does not.
    let box = PixelRectangle(x: 0, y: 0, width: Double(width) / Double(x), height: Double(height) / Double(y))
    return try Resampler.resize(reduced(x: x, y: y), width: newWidth, height: newHeight, interpolation: .lanczos, box: box)
  }
}
