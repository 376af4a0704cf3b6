// Moving pixels without changing them: crop, mirror, turn. Resampling is in Resampler.swift.

extension Image {
  /// The part of the picture in a box. What lies outside the picture is zero, as in Pillow's crop.
  public func cropped(to box: PixelBox) -> Image {
    precondition(box.width > 0 && box.height > 0, "a crop needs pixels")
    let left = max(0, box.x), right = min(width, box.x + box.width)
    let top = max(0, box.y), bottom = min(height, box.y + box.height)
    if left == box.x && top == box.y && right - left == width && bottom - top == height && box.width == width && box.height == height {
      return self
    }
    var out = [UInt8](repeating: 0, count: box.width * box.height * channels)
    if left < right {
      for y in top..<max(top, bottom) {
        let from = (y * width + left) * channels
        let to = ((y - box.y) * box.width + left - box.x) * channels
        out.replaceSubrange(to..<(to + (right - left) * channels), with: pixels[from..<(from + (right - left) * channels)])
      }
    }
    return Image(width: box.width, height: box.height, channels: channels, pixels: out)
  }

  /// torchvision's `resized_crop`: the box is cut out first, so what lies around it does not bleed in, then resized.
  public func resizedCrop(_ box: PixelBox, width: Int, height: Int, interpolation: Interpolation) throws(ImageError) -> Image {
    try Resampler.resize(cropped(to: box), width: width, height: height, interpolation: interpolation)
  }

  /// Left and right exchanged.
  public func mirrored() -> Image { oriented(2) }

  /// The picture upright, where `orientation` (EXIF, 1...8) says how it is stored. Other numbers change nothing.
  public func oriented(_ orientation: Int) -> Image {
    guard (2...8).contains(orientation) else { return self }
    let turned = orientation >= 5
    let w = turned ? height : width, h = turned ? width : height
    var out = [UInt8](repeating: 0, count: pixels.count)
    var at = 0
    for y in 0..<h {
      for x in 0..<w {
        let (sx, sy) = switch orientation {
        case 2: (width - 1 - x, y)
        case 3: (width - 1 - x, height - 1 - y)
        case 4: (x, height - 1 - y)
        case 5: (y, x)
        case 6: (y, height - 1 - x)
        case 7: (width - 1 - y, height - 1 - x)
        default: (width - 1 - y, x)
        }
        let from = (sy * width + sx) * channels
        for c in 0..<channels { out[at + c] = pixels[from + c] }
        at += channels
      }
    }
    return Image(width: w, height: h, channels: channels, pixels: out)
  }

  /// The same picture with three channels: grey is repeated, alpha is dropped.
  public func rgb() -> Image {
    if channels == 3 { return self }
    var out = [UInt8](repeating: 0, count: width * height * 3)
    for i in 0..<(width * height) {
      for c in 0..<3 { out[3 * i + c] = pixels[i * channels + (channels == 1 ? 0 : c)] }
    }
    return Image(width: width, height: height, channels: 3, pixels: out)
  }

  /// Grey by ITU-R 601-2 luma, rounded as Pillow's convert('L') rounds. Alpha is dropped.
  public func grey() -> Image {
    if channels == 1 { return self }
    var out = [UInt8](repeating: 0, count: width * height)
    for i in 0..<out.count {
      let p = i * channels
      out[i] = luma(pixels[p], pixels[p + 1], pixels[p + 2])
    }
    return Image(width: width, height: height, channels: 1, pixels: out)
  }
}

/// Pillow's grey of a colour: (19595 r + 38470 g + 7471 b + 2^15) / 2^16.
@inline(__always)
func luma(_ r: UInt8, _ g: UInt8, _ b: UInt8) -> UInt8 {
  UInt8(truncatingIfNeeded: (Int32(r) &* 19595 &+ Int32(g) &* 38470 &+ Int32(b) &* 7471 &+ 0x8000) >> 16)
}
