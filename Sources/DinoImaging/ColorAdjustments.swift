// The colour steps of DINO's augmentation, as torchvision does them on Pillow pictures, to the byte. Parameters come from the caller:
// nothing here is random.

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

extension Image {
  /// Towards black: 0 is black, 1 the picture, more is brighter (ImageEnhance.Brightness).
  public func adjustingBrightness(_ factor: Float) -> Image {
    blended(factor) { _, _ in 0 }
  }

  /// Towards the mean grey of the picture (ImageEnhance.Contrast).
  public func adjustingContrast(_ factor: Float) -> Image {
    let levels = grey().pixels
    let sum = levels.reduce(0) { $0 + Int($1) }
    let mean = UInt8(Double(sum) / Double(levels.count) + 0.5)
    return blended(factor) { _, _ in mean }
  }

  /// Towards its own grey: 0 is grey, 1 the picture (ImageEnhance.Color).
  public func adjustingSaturation(_ factor: Float) -> Image {
    if channels == 1 { return self }
    let levels = grey().pixels
    return blended(factor) { pixel, _ in levels[pixel] }
  }

  /// Grey in three channels.
  public func grayscale() -> Image { grey().rgb() }

  /// Values from `threshold` on are inverted (ImageOps.solarize).
  public func solarized(threshold: Int = 128) -> Image {
    var out = self
    out.pixels = pixels.enumerated().map { i, v in channels == 4 && i % 4 == 3 || Int(v) < threshold ? v : 255 - v }
    return out
  }

  /// Turns the hue by `shift` of the full circle, -0.5...0.5, through Pillow's 8-bit HSV.
  public func adjustingHue(_ shift: Double) throws(ImageError) -> Image {
    guard (-0.5...0.5).contains(shift) else { throw .invalidParameter("a hue shift of \(shift) is not in -0.5...0.5") }
    if channels == 1 { return self }
    let turn = UInt8(truncatingIfNeeded: Int(shift * 255))
    var out = pixels
    for i in Swift.stride(from: 0, to: pixels.count, by: channels) {
      let hsv = hsvFromRGB(pixels[i], pixels[i + 1], pixels[i + 2])
      (out[i], out[i + 1], out[i + 2]) = rgbFromHSV(hsv.h &+ turn, hsv.s, hsv.v)
    }
    return Image(width: width, height: height, channels: channels, pixels: out)
  }

  /// Pillow's blend of a degenerate picture and this one, in single precision, truncated. Alpha stays.
  private func blended(_ factor: Float, with degenerate: (_ pixel: Int, _ channel: Int) -> UInt8) -> Image {
    if factor == 1 { return self }
    let inside = factor >= 0 && factor <= 1
    var out = pixels
    for pixel in 0..<(width * height) {
      for c in 0..<min(channels, 3) {
        let from = Float(degenerate(pixel, c)), to = Float(pixels[pixel * channels + c])
        let v = from + factor * (to - from)
        out[pixel * channels + c] = inside ? UInt8(v) : v > 0 ? UInt8(min(v, 255)) : 0
      }
    }
    return Image(width: width, height: height, channels: channels, pixels: out)
  }
}

/// Pillow's RGB to HSV, following Python's colorsys, each to 8 bits.
func hsvFromRGB(_ r: UInt8, _ g: UInt8, _ b: UInt8) -> (h: UInt8, s: UInt8, v: UInt8) {
  let high = max(r, g, b), low = min(r, g, b)
  if high == low { return (0, 0, high) }
  let range = Float(high - low)
  let s = range / Float(high)
  let rc = Float(high - r) / range, gc = Float(high - g) / range, bc = Float(high - b) / range
  // Pillow's h is single precision, its arithmetic double where constants are.
  var h: Float
  if r == high {
    h = bc - gc
  } else if g == high {
    h = Float(2.0 + Double(rc) - Double(bc))
  } else {
    h = Float(4.0 + Double(gc) - Double(rc))
  }
  h = Float(fmod(Double(h) / 6.0 + 1.0, 1.0))
  return (UInt8(clamping: Int(Double(h) * 255.0)), UInt8(clamping: Int(Double(s) * 255.0)), high)
}

/// Pillow's HSV to RGB.
func rgbFromHSV(_ h: UInt8, _ s: UInt8, _ v: UInt8) -> (UInt8, UInt8, UInt8) {
  if s == 0 { return (v, v, v) }
  let scaled = Double(Float(h)) * 6.0 / 255.0
  let i = Int(scaled.rounded(.down))
  let f = Float(scaled - Double(Float(i)))
  let fs = Float(Double(Float(s)) / 255.0)
  func level(_ x: Double) -> UInt8 { UInt8(clamping: Int((Double(Float(v)) * x).rounded(.toNearestOrAwayFromZero))) }
  let p = level(1.0 - Double(fs))
  let q = level(1.0 - Double(fs * f))
  let t = level(1.0 - Double(fs) * (1.0 - Double(f)))
  switch i % 6 {
  case 0: return (v, t, p)
  case 1: return (q, v, p)
  case 2: return (p, v, t)
  case 3: return (p, q, v)
  case 4: return (t, p, v)
  default: return (v, p, q)
  }
}
