// Drawing on photographs: tints, outlines, heat maps, boxes. Blending is in whole numbers, so results are the same everywhere.

extension Image {
  /// The picture with the inside of a mask of the same size tinted by `color` (RGB) and outlined in it. `opacity` 0...1.
  public func overlaying(_ mask: Mask, color: [UInt8] = [255, 64, 32], opacity: Float = 0.45, outline thickness: Int = 2) -> Image {
    precondition(mask.width == width && mask.height == height, "the mask has another size than the picture")
    precondition(color.count == 3, "a colour has red, green and blue")
    var out = rgb()
    let weight = blendWeight(opacity)
    let edge = mask.outline(thickness: thickness)
    for i in 0..<mask.values.count where mask.values[i] != 0 {
      let solid = edge.values[i] != 0
      for c in 0..<3 { out.pixels[3 * i + c] = solid ? color[c] : blend(out.pixels[3 * i + c], color[c], weight) }
    }
    return out
  }

  /// The picture with another of the same size laid over it. `opacity` 0...1.
  public func overlaying(_ other: Image, opacity: Float = 0.5) -> Image {
    precondition(other.width == width && other.height == height, "the pictures have different sizes")
    let below = rgb().pixels, above = other.rgb().pixels
    let weight = blendWeight(opacity)
    return Image(width: width, height: height, channels: 3, pixels: (0..<below.count).map { blend(below[$0], above[$0], weight) })
  }

  /// Draws the frame of a box, inwards from its edges. What lies outside the picture is left out.
  public mutating func drawBox(_ box: PixelBox, color: [UInt8], thickness: Int = 2) {
    fill(PixelBox(x: box.x, y: box.y, width: box.width, height: thickness), color: color)
    fill(PixelBox(x: box.x, y: box.y + box.height - thickness, width: box.width, height: thickness), color: color)
    fill(PixelBox(x: box.x, y: box.y, width: thickness, height: box.height), color: color)
    fill(PixelBox(x: box.x + box.width - thickness, y: box.y, width: thickness, height: box.height), color: color)
  }

  /// Fills a box with a colour of as many channels as the picture has. What lies outside the picture is left out.
  public mutating func fill(_ box: PixelBox, color: [UInt8]) {
    precondition(color.count == channels, "the colour has \(color.count) channels, the picture \(channels)")
    let left = max(0, box.x), right = min(width, box.x + box.width)
    guard left < right else { return }
    for y in max(0, box.y)..<max(0, box.y, min(height, box.y + box.height)) {
      for x in left..<right {
        for c in 0..<channels { pixels[(y * width + x) * channels + c] = color[c] }
      }
    }
  }

  /// Copies another picture of the same number of channels to a place. What lies outside is left out.
  public mutating func draw(_ other: Image, x: Int, y: Int) {
    precondition(other.channels == channels, "the pictures have different numbers of channels")
    let left = max(0, x), right = min(width, x + other.width)
    guard left < right else { return }
    for row in max(0, y)..<max(0, y, min(height, y + other.height)) {
      let from = ((row - y) * other.width + left - x) * channels
      let to = (row * width + left) * channels
      for i in 0..<((right - left) * channels) { pixels[to + i] = other.pixels[from + i] }
    }
  }
}

private func blendWeight(_ opacity: Float) -> Int { opacity > 0 ? Int((min(opacity, 1) * 256).rounded()) : 0 }

private func blend(_ below: UInt8, _ above: UInt8, _ weight: Int) -> UInt8 {
  UInt8((Int(below) * (256 - weight) + Int(above) * weight + 128) >> 8)
}
