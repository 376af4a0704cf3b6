// Labels of a video's first frame carried through it, as eval_video_segmentation.py of the DINO paper does: each patch takes the labels of the patches most like it in the
// first frame and the last few, near its own place. Patch tokens after the last norm. What frames and labels are read from is VideoFrames.swift's.

internal import DinoKernels
#if canImport(Glibc)
internal import Glibc
#elseif canImport(Musl)
internal import Musl
#endif

public struct LabelPropagation: Sendable {
  /// The numbers of the paper's code.
  public struct Settings: Sendable {
    /// How many frames before this one are looked at, besides the first.
    public var lastFrames = 7
    /// How far away a patch may be, in rows and columns; 0 for anywhere.
    public var neighbourhood = 12
    /// How many patches are listened to.
    public var topK = 5
    public var temperature: Float = 0.1
    /// 0 for the cores that this process may use.
    public var threads = 0
    public init() {}
  }

  /// How much each patch is of each label, [rows · columns, labels]; a row's sum is 1.
  public struct SoftLabels: Sendable, Equatable {
    public var rows: Int
    public var columns: Int
    public var labels: Int
    public var values: [Float]

    public init(rows: Int, columns: Int, labels: Int, values: [Float]) {
      precondition(labels > 0 && values.count == rows * columns * labels)
      (self.rows, self.columns, self.labels, self.values) = (rows, columns, labels, values)
    }
  }

  private struct Frame {
    /// Patches' features, each of length 1.
    var unit: [Float]
    var labels: [Float]
  }

  public let settings: Settings
  private let rows: Int
  private let columns: Int
  private let width: Int
  private let labels: Int
  private let first: Frame
  private var last: [Frame] = []

  /// - Parameters:
  ///   - features: of the first frame.
  ///   - labels: of the same patches.
  public init(first features: PatchFeatures, labels: SoftLabels, settings: Settings = Settings()) {
    precondition(labels.rows == features.rows && labels.columns == features.columns && settings.topK > 0)
    self.settings = settings
    (rows, columns, width, self.labels) = (features.rows, features.columns, features.width, labels.labels)
    first = Frame(unit: unitRows(features.values, width: features.width), labels: labels.values)
  }

  /// Labels of the next frame, whose features must be of the same grid.
  public mutating func next(_ features: PatchFeatures) -> SoftLabels {
    precondition(features.rows == rows && features.columns == columns && features.width == width, "frames of one video have one size")
    let unit = unitRows(features.values, width: width)
    let found = propagate(to: unit, from: [first] + last)
    if settings.lastFrames > 0 {
      if last.count == settings.lastFrames { last.removeFirst() }
      last.append(Frame(unit: unit, labels: found))
    }
    return SoftLabels(rows: rows, columns: columns, labels: labels, values: found)
  }

  /// Rows of patches whose products with all rows near them are made together: never much more than is needed, and no N×N.
  private static let rowsAtOnce = 8

  private func propagate(to unit: [Float], from frames: [Frame]) -> [Float] {
    let products = RowProducts(threads: settings.threads), reach = settings.neighbourhood > 0 ? settings.neighbourhood : max(rows, columns)
    var out = [Float](repeating: 0, count: rows * columns * labels)
    for top in stride(from: 0, to: rows, by: Self.rowsAtOnce) {
      let bottom = min(top + Self.rowsAtOnce, rows)
      // Rows of the sources that any of these patches may look at.
      let from = max(0, top - reach), to = min(rows, bottom + reach)
      let targets = Array(unit[top * columns * width..<bottom * columns * width])
      let cosines = frames.map { products.all(targets, Array($0.unit[from * columns * width..<to * columns * width]), width: width) }
      let across = (to - from) * columns
      for r in top..<bottom {
        let low = max(from, r - reach) - from, high = min(to, r + reach + 1) - from
        for c in 0..<columns {
          let window = (low..<high, max(0, c - reach)..<min(columns, c + reach + 1))
          let start = ((r - top) * columns + c) * across
          let limit = threshold(cosines, start, window)
          add(cosines, start, window, from, limit, frames, to: &out, at: (r * columns + c) * labels)
        }
      }
    }
    return out
  }

  /// The topK-th greatest cosine in a window of all frames; -∞ where there are not so many.
  private func threshold(_ cosines: [[Float]], _ start: Int, _ window: (rows: Range<Int>, columns: Range<Int>)) -> Float {
    let k = settings.topK
    // Greatest first.
    var best = [Float](repeating: -.infinity, count: k)
    for frame in cosines {
      for r in window.rows {
        let row = start + r * columns
        for i in row + window.columns.lowerBound..<row + window.columns.upperBound where frame[i] > best[k - 1] {
          var at = k - 1
          while at > 0 && best[at - 1] < frame[i] {
            best[at] = best[at - 1]
            at -= 1
          }
          best[at] = frame[i]
        }
      }
    }
    return best[k - 1]
  }

  /// Adds the labels of the patches with a cosine of at least `limit`, weighted by exp(cosine / temperature). Ties at the limit all count, as in the original.
  private func add(_ cosines: [[Float]], _ start: Int, _ window: (rows: Range<Int>, columns: Range<Int>), _ from: Int, _ limit: Float, _ frames: [Frame],
                   to out: inout [Float], at target: Int) {
    var sum = 0.0, sums = [Double](repeating: 0, count: labels)
    for (frame, values) in zip(frames, cosines) {
      for r in window.rows {
        let row = start + r * columns
        for c in window.columns where values[row + c] >= limit {
          let weight = exp(Double(values[row + c] / settings.temperature)), source = ((from + r) * columns + c) * labels
          sum += weight
          for l in 0..<labels { sums[l] += weight * Double(frame.labels[source + l]) }
        }
      }
    }
    for l in 0..<labels { out[target + l] = Float(sums[l] / sum) }
  }
}
