// Pictures from memory as cameras and video decoders have them: channels in other orders, rows with a rest. It decodes no file and converts no colours (YUV is not read).

/// Order of the 8-bit channels of a picture in memory.
public enum PixelLayout: String, Sendable, CaseIterable {
  case grey
  case rgb
  /// OpenCV's.
  case bgr
  /// The fourth channel is passed over, as Pillow's `convert("RGB")` does.
  case rgba
  case bgra

  public var bytesPerPixel: Int {
    switch self {
    case .grey: 1
    case .rgb, .bgr: 3
    case .rgba, .bgra: 4
    }
  }

  var isReversed: Bool { self == .bgr || self == .bgra }
}

extension Image {
  /// A picture of a camera's or a decoder's memory, copied: grey stays grey, all else becomes RGB.
  ///
  /// - Parameter bytesPerRow: from the start of one row to the next; nil where rows follow each other without a rest. The last row needs no rest.
  public init(width: Int, height: Int, bytesPerRow: Int? = nil, layout: PixelLayout, bytes: Span<UInt8>) throws(ImageError) {
    guard width > 0, height > 0, width <= Int(Int32.max), height <= Int(Int32.max) else { throw .invalidParameter("a picture of \(width)x\(height) pixels") }
    let step = layout.bytesPerPixel, row = bytesPerRow ?? width * step, channels = layout == .grey ? 1 : 3
    guard row >= width * step else { throw .invalidParameter("rows of \(row) bytes for \(width) pixels of \(step)") }
    let (before, overflow) = row.multipliedReportingOverflow(by: height - 1)
    guard !overflow, before <= bytes.count, bytes.count - before >= width * step else {
      throw .invalidParameter("\(bytes.count) bytes for \(width)x\(height) pixels of \(layout.rawValue) in rows of \(row)")
    }
    // The count is bounded by that of the bytes given, so nothing larger is allocated than the caller holds.
    var pixels = [UInt8](repeating: 0, count: width * height * channels)
    let red = layout.isReversed ? 2 : 0
    var to = 0
    for y in 0..<height {
      var from = y * row
      for _ in 0..<width {
        if channels == 1 {
          pixels[to] = bytes[from]
        } else {
          pixels[to] = bytes[from + red]
          pixels[to + 1] = bytes[from + 1]
          pixels[to + 2] = bytes[from + 2 - red]
        }
        to += channels
        from += step
      }
    }
    self.init(width: width, height: height, channels: channels, pixels: pixels)
  }
}
