// The picture type of this room: 8-bit samples, interleaved, top row first. No colour management, no other widths.

/// A picture of `width` × `height` pixels with 1 (grey), 3 (RGB) or 4 (RGBA) 8-bit channels, interleaved, rows from the top.
public struct Image: Sendable, Equatable {
  public let width: Int
  public let height: Int
  /// 1, 3 or 4.
  public let channels: Int
  /// `width * height * channels` bytes.
  public var pixels: [UInt8] {
    didSet { precondition(pixels.count == width * height * channels, "the number of pixels of an image cannot change") }
  }

  /// A picture of given pixels. The count must be `width * height * channels`, both sides at least 1.
  public init(width: Int, height: Int, channels: Int, pixels: [UInt8]) {
    precondition(width > 0 && height > 0 && (channels == 1 || channels == 3 || channels == 4), "not an image size")
    precondition(pixels.count == width * height * channels, "\(pixels.count) bytes for \(width)x\(height)x\(channels)")
    self.width = width
    self.height = height
    self.channels = channels
    self.pixels = pixels
  }

  /// A picture of one colour, of `color.count` channels.
  public init(width: Int, height: Int, color: [UInt8]) {
    var pixels = [UInt8](repeating: color[0], count: width * height * color.count)
    if color.count > 1 {
      for i in 0..<pixels.count { pixels[i] = color[i % color.count] }
    }
    self.init(width: width, height: height, channels: color.count, pixels: pixels)
  }

  /// Bytes of one row.
  public var stride: Int { width * channels }

  /// The value of a channel at a place.
  public subscript(x: Int, y: Int, channel: Int) -> UInt8 {
    get { pixels[(y * width + x) * channels + channel] }
    set { pixels[(y * width + x) * channels + channel] = newValue }
  }
}

/// A rectangle of pixels or of fractions of pixels: left and top edges, width and height.
public struct PixelRectangle: Sendable, Equatable, Hashable, Codable {
  public var x: Double
  public var y: Double
  public var width: Double
  public var height: Double

  public init(x: Double, y: Double, width: Double, height: Double) {
    self.x = x
    self.y = y
    self.width = width
    self.height = height
  }
}

/// A rectangle of whole pixels.
public struct PixelBox: Sendable, Equatable, Hashable, Codable {
  public var x: Int
  public var y: Int
  public var width: Int
  public var height: Int

  public init(x: Int, y: Int, width: Int, height: Int) {
    self.x = x
    self.y = y
    self.width = width
    self.height = height
  }
}
