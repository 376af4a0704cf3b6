// Which pixels belong to something: counts, boxes, connected parts, outlines. No colours: see Overlay.swift.

/// A picture of yes and no.
public struct Mask: Sendable, Equatable {
  public let width: Int
  public let height: Int
  /// 0 or 1, row by row.
  public let values: [UInt8]

  /// A mask; every value that is not 0 counts as 1.
  public init(width: Int, height: Int, values: [UInt8]) {
    precondition(width > 0 && height > 0 && values.count == width * height, "\(values.count) values for a mask of \(width)x\(height)")
    self.width = width
    self.height = height
    self.values = values.map { $0 == 0 ? 0 : 1 }
  }

  public subscript(x: Int, y: Int) -> Bool { values[y * width + x] != 0 }

  /// Pixels inside.
  public var area: Int { values.reduce(0) { $0 + Int($1) } }

  /// The smallest box around all pixels inside; nil where there are none.
  public var boundingBox: PixelBox? {
    var left = Int.max, right = -1, top = -1, bottom = -1
    for y in 0..<height {
      for x in 0..<width where self[x, y] {
        left = min(left, x)
        right = max(right, x)
        if top < 0 { top = y }
        bottom = y
      }
    }
    return right < 0 ? nil : PixelBox(x: left, y: top, width: right - left + 1, height: bottom - top + 1)
  }

  /// Inside and outside exchanged.
  public func inverted() -> Mask { Mask(width: width, height: height, values: values.map { 1 - $0 }) }

  /// White where inside, black elsewhere, one channel.
  public func image() -> Image { Image(width: width, height: height, channels: 1, pixels: values.map { $0 * 255 }) }

  // MARK: Connected parts

  /// Which pixels touch: by their sides, or also by their corners.
  public enum Connectivity: Int, Sendable { case four = 4, eight = 8 }

  /// The number of each pixel's part, counted from 1 in reading order of their first pixels, 0 outside; and the area of each part.
  public func components(_ connectivity: Connectivity = .four) -> (labels: [Int32], areas: [Int]) {
    var labels = [Int32](repeating: 0, count: values.count)
    var areas: [Int] = []
    var queue: [Int] = []
    for start in 0..<values.count where values[start] != 0 && labels[start] == 0 {
      let label = Int32(areas.count + 1)
      labels[start] = label
      queue.removeAll(keepingCapacity: true)
      queue.append(start)
      var next = 0
      while next < queue.count {
        let at = queue[next]
        next += 1
        let x = at % width, y = at / width
        for dy in -1...1 {
          for dx in -1...1 where (connectivity == .eight || dx == 0 || dy == 0) && (0..<width).contains(x + dx) && (0..<height).contains(y + dy) {
            let neighbour = at + dy * width + dx
            if values[neighbour] != 0 && labels[neighbour] == 0 {
              labels[neighbour] = label
              queue.append(neighbour)
            }
          }
        }
      }
      areas.append(queue.count)
    }
    return (labels, areas)
  }

  /// The largest connected part; of equal ones the first. An empty mask stays empty.
  public func largestComponent(_ connectivity: Connectivity = .four) -> Mask {
    let (labels, areas) = components(connectivity)
    guard let most = areas.max(), let index = areas.firstIndex(of: most) else { return self }
    return Mask(width: width, height: height, values: labels.map { $0 == Int32(index + 1) ? 1 : 0 })
  }

  /// The connected part that contains a pixel; empty where that pixel is outside the mask.
  public func component(containingX x: Int, y: Int, _ connectivity: Connectivity = .four) -> Mask {
    precondition((0..<width).contains(x) && (0..<height).contains(y), "the seed is not in the picture")
    let labels = components(connectivity).labels
    let seed = labels[y * width + x]
    return Mask(width: width, height: height, values: labels.map { seed != 0 && $0 == seed ? 1 : 0 })
  }

  /// A box for each connected part of at least `minimumArea` pixels, in the order of their numbers.
  public func componentBoxes(_ connectivity: Connectivity = .four, minimumArea: Int = 1) -> [PixelBox] {
    let (labels, areas) = components(connectivity)
    var left = [Int](repeating: .max, count: areas.count), top = left
    var right = [Int](repeating: -1, count: areas.count), bottom = right
    for i in 0..<labels.count where labels[i] != 0 {
      let k = Int(labels[i]) - 1, x = i % width, y = i / width
      left[k] = min(left[k], x)
      right[k] = max(right[k], x)
      top[k] = min(top[k], y)
      bottom[k] = max(bottom[k], y)
    }
    return areas.indices.filter { areas[$0] >= minimumArea }.map {
      PixelBox(x: left[$0], y: top[$0], width: right[$0] - left[$0] + 1, height: bottom[$0] - top[$0] + 1)
    }
  }

  // MARK: Outline and size

  /// The pixels inside that lie within `thickness` steps of the outside; the picture's border does not count as outside.
  public func outline(thickness: Int = 1) -> Mask {
    var core = values
    for _ in 0..<max(thickness, 0) {
      let before = core
      for y in 0..<height {
        for x in 0..<width where before[y * width + x] != 0 {
          let i = y * width + x
          let open = (x > 0 && before[i - 1] == 0) || (x < width - 1 && before[i + 1] == 0) || (y > 0 && before[i - width] == 0)
            || (y < height - 1 && before[i + width] == 0)
          if open { core[i] = 0 }
        }
      }
    }
    return Mask(width: width, height: height, values: (0..<values.count).map { values[$0] & (1 - core[$0]) })
  }

  /// The mask at another size. `smooth`: bilinear, inside where at least a half; otherwise nearest.
  public func resized(width newWidth: Int, height newHeight: Int, smooth: Bool = false) -> Mask {
    let grid = HeatMap(width: width, height: height, values: values.map(Float.init)).resized(width: newWidth, height: newHeight, smooth ? .bilinear : .nearest)
    return Mask(width: newWidth, height: newHeight, values: grid.values.map { $0 >= 0.5 ? 1 : 0 })
  }
}
