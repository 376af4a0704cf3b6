// Small grids of numbers (an attention row, a similarity) as pictures: enlarged by blocks or smoothly, then coloured.

/// A grid of floats, row by row.
public struct HeatMap: Sendable, Equatable {
  public let width: Int
  public let height: Int
  public let values: [Float]

  public enum Enlargement: String, Sendable, CaseIterable {
    /// Blocks: what visualize_attention.py does.
    case nearest
    case bilinear, bicubic
  }

  /// A grid; `values.count` must be `width * height`.
  public init(width: Int, height: Int, values: [Float]) {
    precondition(width > 0 && height > 0 && values.count == width * height, "\(values.count) values for a grid of \(width)x\(height)")
    self.width = width
    self.height = height
    self.values = values
  }

  /// Least and greatest finite value; 0...0 where there is none.
  public var range: ClosedRange<Float> {
    var low = Float.infinity, high = -Float.infinity
    for v in values where v.isFinite {
      low = min(low, v)
      high = max(high, v)
    }
    return low <= high ? low...high : 0...0
  }

  /// The grid at another size. Positions are those of pixel centres (PyTorch's align_corners=False); edges repeat.
  public func resized(width newWidth: Int, height newHeight: Int, _ enlargement: Enlargement) -> HeatMap {
    precondition(newWidth > 0 && newHeight > 0)
    let columns = Self.taps(from: width, to: newWidth, enlargement), rows = Self.taps(from: height, to: newHeight, enlargement)
    var middle = [Float](repeating: 0, count: newWidth * height)
    for y in 0..<height {
      for x in 0..<newWidth {
        var sum: Float = 0
        for (i, w) in columns[x] { sum += values[y * width + i] * w }
        middle[y * newWidth + x] = sum
      }
    }
    var out = [Float](repeating: 0, count: newWidth * newHeight)
    for y in 0..<newHeight {
      for (i, w) in rows[y] {
        for x in 0..<newWidth { out[y * newWidth + x] += middle[i * newWidth + x] * w }
      }
    }
    return HeatMap(width: newWidth, height: newHeight, values: out)
  }

  /// The grid in colours. `range` (default: the grid's own) goes over the whole map; a flat grid is the map's lowest colour.
  public func image(_ map: ColorMap = .viridis, range: ClosedRange<Float>? = nil) -> Image {
    let range = range ?? self.range
    let span = range.upperBound - range.lowerBound
    var pixels: [UInt8] = []
    pixels.reserveCapacity(values.count * 3)
    for v in values {
      let (r, g, b) = map.color(span > 0 ? (v - range.lowerBound) / span : 0)
      pixels.append(r)
      pixels.append(g)
      pixels.append(b)
    }
    return Image(width: width, height: height, channels: 3, pixels: pixels)
  }

  /// True where a value is above `threshold`.
  public func mask(above threshold: Float) -> Mask {
    Mask(width: width, height: height, values: values.map { $0 > threshold ? 1 : 0 })
  }

  /// Sources and weights of each sample of a longer or shorter axis. No antialiasing: grids are enlarged.
  static func taps(from: Int, to: Int, _ kind: Enlargement) -> [[(Int, Float)]] {
    (0..<to).map { o in
      if kind == .nearest { return [(min(o * from / to, from - 1), 1)] }
      let center = (Float(o) + 0.5) * Float(from) / Float(to) - 0.5
      let base = Int(center.rounded(.down))
      let t = center - Float(base)
      let weights: [Float] = kind == .bilinear ? [0, 1 - t, t, 0] : [cubic(1 + t), cubic(t), cubic(1 - t), cubic(2 - t)]
      return (0..<4).compactMap { k in weights[k] == 0 ? nil : (min(max(base + k - 1, 0), from - 1), weights[k]) }
    }
  }

  /// Keys' cubic with a = -0.75, which PyTorch uses.
  private static func cubic(_ d: Float) -> Float {
    let a: Float = -0.75
    if d <= 1 { return ((a + 2) * d - (a + 3)) * d * d + 1 }
    if d < 2 { return ((a * d - 5 * a) * d + 8 * a) * d - 4 * a }
    return 0
  }
}
