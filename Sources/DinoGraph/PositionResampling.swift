// How learned positions of one grid are resampled to another: for each output row and column, the source rows and columns it reads and their weights
// (ANCHORS 2.3). The weights are plain data that a runtime applies; `apply` is the plain twin. No graph, no tensors.
//
// The arithmetic follows torch.nn.functional.interpolate on the CPU (aten/src/ATen/native/UpSample.h, cpu/UpSampleKernel.cpp): scale and
// coordinate in 32-bit floats as there, so that the same source cells are picked; the weights themselves in doubles.

#if canImport(Glibc)
internal import Glibc
#elseif canImport(Musl)
internal import Musl
#endif

/// One axis of a separable resampling: output i is the sum of `weights[i][j]` · source[`sources[i][j]`].
public struct ResamplingAxis: Sendable, Hashable {
  /// One source cell and its weight.
  public struct Tap: Sendable, Hashable {
    public var source: Int
    public var weight: Float
    public init(source: Int, weight: Float) {
      self.source = source
      self.weight = weight
    }
  }
  /// The taps of each output cell, sources ascending and distinct: taps that fall outside are added to the border cell.
  public var taps: [[Tap]]
}

/// A resampling of a grid of vectors.
public struct PositionResampling: Sendable, Hashable {
  public var rows: ResamplingAxis
  public var columns: ResamplingAxis

  /// The weights that take a native grid to the grid of an image, or nil where the positions are used untouched.
  ///
  /// - Parameters:
  ///   - nativeRows: rows of the grid that the positions were learned on; `nativeColumns` likewise. Positive.
  ///   - height: of the image in pixels; `width` likewise. At least one patch.
  ///
  /// With an offset (the original DINO) the rule is that code's own: untouched only where the number of patches is the native one *and* the image
  /// is square, so a 448x112 image is resampled although it has as many patches as a 224x224 one, and so is 230x224. Otherwise: untouched where
  /// the grids are the same. (A native grid that is not square, which that code cannot have, follows the second rule.)
  public init?(nativeRows: Int, nativeColumns: Int, height: Int, width: Int, patch: Int, resize: PositionResize) {
    precondition(nativeRows > 0 && nativeColumns > 0 && patch > 0 && height >= patch && width >= patch)
    let toRows = height / patch, toColumns = width / patch
    let sameGrid = toRows == nativeRows && toColumns == nativeColumns
    if resize.offset != nil && nativeRows == nativeColumns {
      if sameGrid && height == width { return nil }
    } else if sameGrid {
      return nil
    }
    self.init(nativeRows: nativeRows, nativeColumns: nativeColumns, toRows: toRows, toColumns: toColumns, resize: resize)
  }

  /// The weights between two grids, without the question whether the positions may stay as they are.
  public init(nativeRows: Int, nativeColumns: Int, toRows: Int, toColumns: Int, resize: PositionResize) {
    rows = ResamplingAxis(from: nativeRows, to: toRows, resize: resize)
    columns = ResamplingAxis(from: nativeColumns, to: toColumns, resize: resize)
  }

  /// Applies the weights: `values` is [nativeRows · nativeColumns, width] row by row, so is the result with the new grid.
  public func apply(_ values: [Float], nativeColumns: Int, width: Int) -> [Float] {
    let nativeRows = width * nativeColumns == 0 ? 0 : values.count / (width * nativeColumns)
    precondition(nativeRows * nativeColumns * width == values.count)
    var result = [Float](repeating: 0, count: rows.taps.count * columns.taps.count * width)
    var sum = [Double](repeating: 0, count: width)
    var start = 0
    for rowTaps in rows.taps {
      for columnTaps in columns.taps {
        for d in 0..<width { sum[d] = 0 }
        for r in rowTaps {
          for c in columnTaps {
            let weight = Double(r.weight) * Double(c.weight)
            let cell = (r.source * nativeColumns + c.source) * width
            for d in 0..<width { sum[d] += weight * Double(values[cell + d]) }
          }
        }
        for d in 0..<width { result[start + d] = Float(sum[d]) }
        start += width
      }
    }
    return result
  }

  /// The weights written out: for each cell of the new grid the native cells that it is made of.
  public func contributions(nativeColumns: Int) -> [[(source: Int, weight: Float)]] {
    rows.taps.flatMap { rowTaps in columns.taps.map { columnTaps in
      rowTaps.flatMap { r in columnTaps.map { c in (source: r.source * nativeColumns + c.source, weight: Float(Double(r.weight) * Double(c.weight))) } }
    } }
  }

  /// The transpose of `apply`: what each cell of the native grid gave to the new one comes back to it. `values` is [new grid, width].
  public func applyTransposed(_ values: [Float], nativeRows: Int, nativeColumns: Int, width: Int) -> [Float] {
    precondition(values.count == rows.taps.count * columns.taps.count * width)
    var sums = [Double](repeating: 0, count: nativeRows * nativeColumns * width)
    var start = 0
    for rowTaps in rows.taps {
      for columnTaps in columns.taps {
        for r in rowTaps {
          for c in columnTaps {
            let weight = Double(r.weight) * Double(c.weight)
            let cell = (r.source * nativeColumns + c.source) * width
            for d in 0..<width { sums[cell + d] += weight * Double(values[start + d]) }
          }
        }
        start += width
      }
    }
    return sums.map { Float($0) }
  }
}

extension ResamplingAxis {
  /// The weights of one axis of `from` cells resampled to `to` cells.
  public init(from: Int, to: Int, resize: PositionResize) {
    precondition(from > 0 && to > 0)
    // area_pixel_compute_scale: the passed scale's reciprocal, else the ratio of sizes.
    let scale: Float
    if let offset = resize.offset {
      scale = Float(1 / ((Double(to) + offset) / Double(from)))
    } else {
      scale = Float(from) / Float(to)
    }
    taps = (0..<to).map { i in
      switch resize.kernel {
      case .nearest:
        return [Tap(source: Self.nearest(i, scale, from), weight: 1)]
      case .bilinear:
        return resize.antialias ? Self.antialiased(i, scale, from, support: 1, filter: Self.triangle) : Self.linear(i, scale, from)
      case .bicubic:
        let a = resize.cubicA
        return resize.antialias
          ? Self.antialiased(i, scale, from, support: 2, filter: { Self.cubic($0, a) }) : Self.bicubic(i, scale, from, a)
      }
    }
  }

  private static func nearest(_ i: Int, _ scale: Float, _ count: Int) -> Int {
    min(Int(floorf(Float(i) * scale)), count - 1)
  }

  /// Two taps; coordinates left of the first cell's centre stay there.
  private static func linear(_ i: Int, _ scale: Float, _ count: Int) -> [Tap] {
    let x = max(0, scale * (Float(i) + 0.5) - 0.5)
    let left = min(Int(x), count - 1)
    let t = Double(min(max(x - Float(left), 0), 1))
    return merged([(left, 1 - t), (left + 1, t)], count)
  }

  /// Four taps of the cubic kernel around the coordinate, the border cell standing for all outside it.
  private static func bicubic(_ i: Int, _ scale: Float, _ count: Int, _ a: Double) -> [Tap] {
    let x = scale * (Float(i) + 0.5) - 0.5
    let left = min(Int(floorf(x)), count - 1)
    let t = Double(min(max(x - Float(left), 0), 1))
    return merged((-1...2).map { (left + $0, cubic(Double($0) - t, a)) }, count)
  }

  /// Pillow's scheme: when shrinking the kernel is widened by the scale; taps outside are left out and the rest normalised to sum 1.
  private static func antialiased(_ i: Int, _ scale: Float, _ count: Int, support: Float, filter: (Double) -> Double) -> [Tap] {
    let reach = scale >= 1 ? support * scale : support
    let inverse = scale >= 1 ? 1 / Double(scale) : 1
    let center = scale * (Float(i) + 0.5)
    let first = max(Int(center - reach + 0.5), 0)
    let end = min(Int(center + reach + 0.5), count)
    let weights = (first..<max(end, first)).map { filter((Double($0) - Double(center) + 0.5) * inverse) }
    let total = weights.reduce(0, +)
    guard total != 0 else { return [Tap(source: min(max(Int(center), 0), count - 1), weight: 1)] }
    return weights.enumerated().map { Tap(source: first + $0.offset, weight: Float($0.element / total)) }
  }

  /// The taps with sources clamped to the axis, equal ones added up.
  private static func merged(_ taps: [(source: Int, weight: Double)], _ count: Int) -> [Tap] {
    var result: [(source: Int, weight: Double)] = []
    for tap in taps {
      let source = min(max(tap.source, 0), count - 1)
      if let last = result.last, last.source == source {
        result[result.count - 1].weight += tap.weight
      } else {
        result.append((source, tap.weight))
      }
    }
    return result.map { Tap(source: $0.source, weight: Float($0.weight)) }
  }

  /// Keys' cubic convolution kernel with parameter a.
  private static func cubic(_ x: Double, _ a: Double) -> Double {
    let x = abs(x)
    if x <= 1 { return ((a + 2) * x - (a + 3)) * x * x + 1 }
    if x < 2 { return ((x - 5) * x + 8) * x * a - 4 * a }
    return 0
  }

  private static func triangle(_ x: Double) -> Double { max(0, 1 - abs(x)) }
}
