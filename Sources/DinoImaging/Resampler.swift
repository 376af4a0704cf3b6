// Resizing exactly as Pillow's Image.resize on 8-bit pictures: separable, antialiased, 22-bit fixed-point weights, the first pass
// rounded to bytes. Any part of the result can be computed alone. No gamma, no premultiplied alpha: convert first.

internal import CImageCodecs
#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

/// A resampling filter; the names are Pillow's.
public enum Interpolation: String, Sendable, CaseIterable, Codable {
  case nearest, box, bilinear, hamming, bicubic, lanczos

  /// Half the filter's width at scale 1.
  var support: Double {
    switch self {
    case .nearest, .box: 0.5
    case .bilinear, .hamming: 1
    case .bicubic: 2
    case .lanczos: 3
    }
  }

  /// The filter's value at distance `x` from its centre.
  func weight(_ x: Double) -> Double {
    let d = abs(x)
    switch self {
    case .nearest, .box: return x > -0.5 && x <= 0.5 ? 1 : 0
    case .bilinear: return d < 1 ? 1 - d : 0
    case .hamming:
      if d == 0 { return 1 }
      if d >= 1 { return 0 }
      let angle = d * Double.pi
      // Pillow's constants are single precision.
      return sin(angle) / angle * (Double(Float(0.54)) + Double(Float(0.46)) * cos(angle))
    case .bicubic:
      // Keys' cubic, a = -0.5.
      if d < 1 { return ((-0.5 + 2) * d - (-0.5 + 3)) * d * d + 1 }
      return d < 2 ? (((d - 5) * d + 8) * d - 4) * -0.5 : 0
    case .lanczos: return x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0
    }
  }
}

private func sinc(_ x: Double) -> Double {
  if x == 0 { return 1 }
  let angle = x * Double.pi
  return sin(angle) / angle
}

/// The weights of one axis for a run of output samples.
struct AxisFilter {
  let count: Int
  /// Weights kept for each sample: a multiple of 4, zero beyond `used`.
  let taps: Int
  /// First source sample of each output sample.
  var first: [Int32]
  var used: [Int32]
  private let whole: [Int32]
  private let low: [Int16]
  private let high: [Int16]

  /// Weights from `inputSize` samples, of which `from ..< to` is stretched to `outputSize`; for output samples `window` only.
  init(_ kind: Interpolation, inputSize: Int, from: Float, to: Float, outputSize: Int, window: Range<Int>) {
    let scale = Double(to - from) / Double(outputSize)
    let filterScale = max(scale, 1)
    let support = kind.support * filterScale
    let inverse = 1 / filterScale
    count = window.count
    let longest = Int(support.rounded(.up)) * 2 + 1
    taps = (min(longest, inputSize) + 3) / 4 * 4
    first = [Int32](repeating: 0, count: count)
    used = first
    var whole = [Int32](repeating: 0, count: count * taps)
    var weights = [Double](repeating: 0, count: longest)
    for (i, o) in window.enumerated() {
      let center = Double(from) + (Double(o) + 0.5) * scale
      let begin = max(0, Int(center - support + 0.5))
      let end = min(inputSize, Int(center + support + 0.5))
      // Boxes thinner than a sample at the far edge would leave nothing; Pillow's sum is then zero too.
      let n = max(0, min(end - begin, longest))
      var sum = 0.0
      for t in 0..<n {
        let w = kind.weight((Double(t + begin) - center + 0.5) * inverse)
        weights[t] = w
        sum += w
      }
      for t in 0..<n {
        let w = (sum != 0 ? weights[t] / sum : weights[t]) * Double(1 << 22)
        whole[i * taps + t] = Int32(w < 0 ? w - 0.5 : w + 0.5)
      }
      first[i] = Int32(min(begin, inputSize - 1))
      used[i] = Int32(n)
    }
    self.whole = whole
    low = whole.map { Int16($0 & 0x7FFF) }
    high = whole.map { Int16(truncatingIfNeeded: $0 >> 15) }
  }

  /// Source samples that are read.
  var sourceRange: Range<Int> {
    var begin = Int.max, end = 0
    for i in 0..<count where used[i] > 0 {
      begin = min(begin, Int(first[i]))
      end = max(end, Int(first[i]) + Int(used[i]))
    }
    return begin < end ? begin..<end : 0..<1
  }

  /// Counts source samples from `start` instead of 0.
  mutating func shift(by start: Int) {
    for i in 0..<count { first[i] = used[i] == 0 ? 0 : first[i] - Int32(start) }
  }

  func withC<R>(_ body: (UnsafePointer<ic_filter>) -> R) -> R {
    unsafe first.withUnsafeBufferPointer { f in
      unsafe used.withUnsafeBufferPointer { u in
        unsafe whole.withUnsafeBufferPointer { w in
          unsafe low.withUnsafeBufferPointer { l in
            unsafe high.withUnsafeBufferPointer { h in
              var filter = unsafe ic_filter(count: Int32(count), taps: Int32(taps), first: f.baseAddress, used: u.baseAddress,
                                            whole: w.baseAddress, low: l.baseAddress, high: h.baseAddress)
              return unsafe body(&filter)
            }
          }
        }
      }
    }
  }
}

/// Which of the two passes comes first; the one rounded to bytes. Results differ by a grey level here and there.
public enum PassOrder: String, Sendable, Codable {
  /// Pillow 13 and later: vertical first where the height shrinks by more than twice as many pixels as the width.
  case pillow13
  /// Pillow 12 and earlier.
  case horizontalFirst
}

/// Resizing.
public enum Resampler {
  /// Whether the AVX2 loops are used: they exist here and `DINO_FORCE_ISA` does not name a lower set. Results do not depend on it.
  static let usesAVX2: Bool = {
    guard ic_has_avx2() != 0 else { return false }
    guard let forced = unsafe getenv("DINO_FORCE_ISA") else { return true }
    let name = unsafe String(cString: forced)
    return name.isEmpty || name.hasPrefix("avx")
  }()

  /// Largest side of a result.
  public static let maximumSide = 1 << 16

  /// The picture, or the part of it in `box` (default: all), at `width` × `height`. `window` asks for a part of the result only: the
  /// pixels are those that cropping the full result would give.
  public static func resize(_ image: Image, width: Int, height: Int, interpolation: Interpolation, box: PixelRectangle? = nil,
                            window: PixelBox? = nil, order: PassOrder = .pillow13) throws(ImageError) -> Image {
    try resize(image, width: width, height: height, interpolation: interpolation, box: box, window: window, order: order, avx2: usesAVX2)
  }

  static func resize(_ image: Image, width: Int, height: Int, interpolation: Interpolation, box: PixelRectangle? = nil,
                     window: PixelBox? = nil, order: PassOrder = .pillow13, avx2: Bool) throws(ImageError) -> Image {
    guard (1...maximumSide).contains(width), (1...maximumSide).contains(height) else {
      throw .invalidParameter("an image cannot be resized to \(width)x\(height); sides are 1 to \(maximumSide)")
    }
    let window = window ?? PixelBox(x: 0, y: 0, width: width, height: height)
    guard window.x >= 0, window.y >= 0, window.width > 0, window.height > 0, window.x <= width - window.width, window.y <= height - window.height else {
      throw .invalidParameter("the part \(window) is not inside a picture of \(width)x\(height)")
    }
    let box = box ?? PixelRectangle(x: 0, y: 0, width: Double(image.width), height: Double(image.height))
    // Pillow keeps the box in single precision.
    let (x0, y0) = (Float(box.x), Float(box.y))
    let (x1, y1) = (Float(box.x + box.width), Float(box.y + box.height))
    guard x0 >= 0, y0 >= 0, x1 <= Float(image.width), y1 <= Float(image.height), x1 >= x0, y1 >= y0 else {
      throw .invalidParameter("the box \(box) is not inside a picture of \(image.width)x\(image.height)")
    }
    // A box of whole pixels at its own size is a copy.
    if x0 == x0.rounded(), y0 == y0.rounded(), x1 - x0 == Float(width), y1 - y0 == Float(height) {
      return image.cropped(to: PixelBox(x: Int(x0) + window.x, y: Int(y0) + window.y, width: window.width, height: window.height))
    }
    if interpolation == .nearest {
      return nearest(image, x0: x0, y0: y0, scaleX: Double(x1 - x0) / Double(width), scaleY: Double(y1 - y0) / Double(height), window: window)
    }
    let needHorizontal = width != image.width || x0 != 0 || x1 != Float(width)
    let needVertical = height != image.height || y0 != 0 || y1 != Float(height)
    let columns = window.x..<(window.x + window.width), rows = window.y..<(window.y + window.height)
    var vertical = needVertical
      ? AxisFilter(interpolation, inputSize: image.height, from: y0, to: y1, outputSize: height, window: rows) : nil
    let horizontal = needHorizontal
      ? AxisFilter(interpolation, inputSize: image.width, from: x0, to: x1, outputSize: width, window: columns) : nil
    // Pillow compares whole pictures here, not the box.
    let shrink = image.height - height
    if order == .pillow13, shrink > 0, shrink > (image.width - width) * 2 {
      let all = vertical.map { verticalPass(image, filter: $0, avx2: avx2) }
        ?? image.cropped(to: PixelBox(x: 0, y: rows.lowerBound, width: image.width, height: rows.count))
      guard let horizontal else {
        return all.cropped(to: PixelBox(x: columns.lowerBound, y: 0, width: columns.count, height: rows.count))
      }
      return horizontalPass(all, rows: 0..<rows.count, filter: horizontal, avx2: avx2)
    }
    let sourceRows = vertical?.sourceRange ?? rows
    let middle = horizontal.map { horizontalPass(image, rows: sourceRows, filter: $0, avx2: avx2) }
      ?? image.cropped(to: PixelBox(x: columns.lowerBound, y: sourceRows.lowerBound, width: columns.count, height: sourceRows.count))
    vertical?.shift(by: sourceRows.lowerBound)
    return vertical.map { verticalPass(middle, filter: $0, avx2: avx2) } ?? middle
  }

  private static func horizontalPass(_ image: Image, rows: Range<Int>, filter: AxisFilter, avx2: Bool) -> Image {
    let stride = filter.count * image.channels
    let reach = (Int(filter.first.max() ?? 0) + filter.taps) * image.channels + 16
    var scratch = [UInt8](repeating: 0, count: max(reach, image.stride))
    let pixels = unsafe [UInt8](unsafeUninitializedCapacity: stride * rows.count) { out, filled in
      unsafe image.pixels.withUnsafeBufferPointer { source in
        unsafe filter.withC { f in
          let offset = rows.lowerBound * image.stride
          unsafe ic_resample_rows(source.baseAddress! + offset, source.count - offset, image.stride, Int32(rows.count), Int32(image.channels),
                                  out.baseAddress!, stride, f, &scratch, avx2 ? 1 : 0)
        }
      }
      filled = stride * rows.count
    }
    return Image(width: filter.count, height: rows.count, channels: image.channels, pixels: pixels)
  }

  private static func verticalPass(_ image: Image, filter: AxisFilter, avx2: Bool) -> Image {
    let stride = image.stride
    let pixels = unsafe [UInt8](unsafeUninitializedCapacity: stride * filter.count) { out, filled in
      unsafe image.pixels.withUnsafeBufferPointer { source in
        unsafe filter.withC { f in
          unsafe ic_resample_columns(source.baseAddress!, stride, stride, out.baseAddress!, stride, f, avx2 ? 1 : 0)
        }
      }
      filled = stride * filter.count
    }
    return Image(width: image.width, height: filter.count, channels: image.channels, pixels: pixels)
  }

  /// Pillow's nearest: the source pixel under the centre of each result pixel, positions summed step by step.
  private static func nearest(_ image: Image, x0: Float, y0: Float, scaleX: Double, scaleY: Double, window: PixelBox) -> Image {
    func positions(_ start: Float, _ scale: Double, _ range: Range<Int>, _ size: Int) -> [Int] {
      var at = Double(start) + scale * 0.5
      var out: [Int] = []
      for i in 0..<range.upperBound {
        if i >= range.lowerBound { out.append(Int(at)) }
        at += scale
      }
      return out
    }
    let xs = positions(x0, scaleX, window.x..<(window.x + window.width), image.width)
    let ys = positions(y0, scaleY, window.y..<(window.y + window.height), image.height)
    let channels = image.channels
    var out = [UInt8](repeating: 0, count: window.width * window.height * channels)
    var to = 0
    for y in ys {
      for x in xs {
        if y < image.height && x < image.width {
          let from = (y * image.width + x) * channels
          for c in 0..<channels { out[to + c] = image.pixels[from + c] }
        }
        to += channels
      }
    }
    return Image(width: window.width, height: window.height, channels: channels, pixels: out)
  }
}
