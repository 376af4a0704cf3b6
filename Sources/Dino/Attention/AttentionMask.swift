// From an attention map to a mask: the rule of the official visualize_attention.py, connected components, and sizes. Pure arithmetic on
// patch grids: no images are read or drawn here.

/// Values on a patch grid, row by row.
public struct PatchMap: Sendable, Equatable {
  public var rows: Int
  public var columns: Int
  /// [rows · columns]
  public var values: [Float]

  public init(rows: Int, columns: Int, values: [Float]) {
    precondition(values.count == rows * columns)
    self.rows = rows
    self.columns = columns
    self.values = values
  }

  /// The patches that hold the given share of the map's mass, the strongest first: `visualize_attention.py --threshold`, to the letter.
  ///
  /// Values are sorted upwards, divided by their sum, and added up; a patch stays where that running sum is above `1 - mass`. As in
  /// torch, the running sum is kept in double and compared in single precision.
  public func mask(holding mass: Double) -> PatchMask {
    let order = values.indices.sorted { values[$0] != values[$1] ? values[$0] < values[$1] : $0 < $1 }
    var total = 0.0
    for v in values { total += Double(v) }
    let sum = Float(total), threshold = Float(1 - mass)
    var mask = PatchMask(rows: rows, columns: columns, kept: [Bool](repeating: false, count: values.count))
    guard sum > 0 else { return mask }
    var running = 0.0
    for i in order {
      running += Double(values[i] / sum)
      mask.kept[i] = Float(running) > threshold
    }
    return mask
  }

  /// The mean of maps of one grid; a map of no patches where there are none.
  public static func mean(_ maps: [PatchMap]) -> PatchMap {
    guard var result = maps.first else { return PatchMap(rows: 0, columns: 0, values: []) }
    for i in result.values.indices {
      var sum: Float = 0
      for m in maps { sum += m.values[i] }
      result.values[i] = sum / Float(maps.count)
    }
    return result
  }
}

/// Which patches of a grid belong to the object.
public struct PatchMask: Sendable, Equatable {
  public var rows: Int
  public var columns: Int
  /// [rows · columns]
  public var kept: [Bool]

  public init(rows: Int, columns: Int, kept: [Bool]) {
    precondition(kept.count == rows * columns)
    self.rows = rows
    self.columns = columns
    self.kept = kept
  }

  public var count: Int { kept.reduce(0) { $0 + ($1 ? 1 : 0) } }

  /// Connected parts (neighbours share an edge), as lists of patch indices; in order of their first patch.
  public func components() -> [[Int]] {
    var seen = [Bool](repeating: false, count: kept.count)
    var result: [[Int]] = []
    for start in kept.indices where kept[start] && !seen[start] {
      var part: [Int] = [], queue = [start]
      seen[start] = true
      while let i = queue.popLast() {
        part.append(i)
        let r = i / columns, c = i % columns
        for (nr, nc) in [(r - 1, c), (r + 1, c), (r, c - 1), (r, c + 1)] where nr >= 0 && nr < rows && nc >= 0 && nc < columns {
          let j = nr * columns + nc
          if kept[j] && !seen[j] {
            seen[j] = true
            queue.append(j)
          }
        }
      }
      result.append(part.sorted())
    }
    return result
  }

  /// The connected part that holds the most of `map`'s mass; the mask itself where it is empty or the map is of another grid.
  public func strongestComponent(of map: PatchMap) -> PatchMask {
    guard map.rows == rows, map.columns == columns else { return self }
    func mass(_ part: [Int]) -> Double { part.reduce(0) { $0 + Double(map.values[$1]) } }
    guard let best = components().map({ ($0, mass($0)) }).max(by: { $0.1 < $1.1 })?.0 else { return self }
    var result = PatchMask(rows: rows, columns: columns, kept: [Bool](repeating: false, count: kept.count))
    for i in best { result.kept[i] = true }
    return result
  }

  /// One byte a pixel, 0 or 255, each patch drawn as `patch` × `patch` pixels: [rows · patch, columns · patch].
  public func pixels(patch: Int) -> PixelMask {
    var out = PixelMask(height: rows * patch, width: columns * patch)
    for y in 0..<out.height {
      for x in 0..<out.width where kept[y / patch * columns + x / patch] { out.values[y * out.width + x] = 255 }
    }
    return out
  }

  /// The mask on a photograph of `height` × `width` that was resized to `model` pixels (and then cut at the bottom and right, and by
  /// `crop`, the corner of what the model saw) before the model saw it: each pixel takes the patch that its centre falls in, and pixels that the model did not see
  /// are 0.
  public func pixels(height: Int, width: Int, patch: Int, resized: (height: Int, width: Int), crop: (top: Int, left: Int) = (0, 0)) -> PixelMask {
    var out = PixelMask(height: height, width: width)
    let columnOf = (0..<width).map { patchIndex($0, of: width, resized: resized.width, crop: crop.left, patch: patch, count: columns) }
    for y in 0..<height {
      guard let r = patchIndex(y, of: height, resized: resized.height, crop: crop.top, patch: patch, count: rows) else { continue }
      for x in 0..<width {
        if let c = columnOf[x], kept[r * columns + c] { out.values[y * width + x] = 255 }
      }
    }
    return out
  }
}

/// The patch under the centre of pixel `i` of `extent`, or nil where the model saw nothing of it.
private func patchIndex(_ i: Int, of extent: Int, resized: Int, crop: Int, patch: Int, count: Int) -> Int? {
  let seen = (Double(i) + 0.5) * Double(resized) / Double(extent) - Double(crop)
  guard seen >= 0 else { return nil }
  let p = Int(seen) / patch
  return p < count ? p : nil
}

/// A mask of pixels: 0 or 255.
public struct PixelMask: Sendable, Equatable {
  public var height: Int
  public var width: Int
  /// [height · width]
  public var values: [UInt8]

  public init(height: Int, width: Int) {
    self.height = height
    self.width = width
    values = [UInt8](repeating: 0, count: height * width)
  }

  public var area: Int { values.reduce(0) { $0 + ($1 > 0 ? 1 : 0) } }

  /// The smallest box around the mask: left, top, width, height in pixels; nil where it is empty.
  public var box: (x: Int, y: Int, width: Int, height: Int)? {
    var left = width, right = -1, top = height, bottom = -1
    for y in 0..<height {
      for x in 0..<width where values[y * width + x] > 0 {
        left = min(left, x)
        right = max(right, x)
        top = min(top, y)
        bottom = max(bottom, y)
      }
    }
    return right < 0 ? nil : (left, top, right - left + 1, bottom - top + 1)
  }

  /// COCO's run lengths: column by column, zeros first.
  public var runLengths: [Int] {
    var runs: [Int] = [], current = false, length = 0
    for x in 0..<width {
      for y in 0..<height {
        let on = values[y * width + x] > 0
        if on != current {
          runs.append(length)
          length = 0
          current = on
        }
        length += 1
      }
    }
    runs.append(length)
    return runs
  }

  /// The run lengths in COCO's compressed text: as `pycocotools.mask.encode` writes them. Each run from the third on is stored as its difference to the one
  /// two before it, in groups of five bits, lowest first, with a bit for "more follows", offset by 48 into readable characters.
  public var compressedRunLengths: String {
    var out: [UInt8] = []
    let runs = runLengths
    for (i, run) in runs.enumerated() {
      var x = i > 2 ? run - runs[i - 2] : run
      var more = true
      while more {
        var c = x & 0x1F
        x >>= 5
        more = c & 0x10 != 0 ? x != -1 : x != 0
        if more { c |= 0x20 }
        out.append(UInt8(c + 48))
      }
    }
    return String(decoding: out, as: UTF8.self)
  }
}
