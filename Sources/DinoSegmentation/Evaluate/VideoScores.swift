// The measures of the DAVIS challenge: J, how far regions agree, and F, how far their outlines do, to the letter of davis2017-evaluation's metrics.py.

public import DinoImaging

public enum VideoMeasures {
  /// Region similarity: intersection over union, 1 where both are empty.
  public static func j(_ found: Mask, truth: Mask) -> Double { MaskMeasures.iou(found, truth) }

  /// Outline accuracy: outline pixels with one of the other within 0.8 % of the diagonal, as precision and recall, and their harmonic mean.
  public static func f(_ found: Mask, truth: Mask) -> Double {
    precondition(found.width == truth.width && found.height == truth.height)
    let diagonal = (Double(found.width) * Double(found.width) + Double(found.height) * Double(found.height)).squareRoot()
    let radius = Int((0.008 * diagonal).rounded(.up))
    let a = outline(found), b = outline(truth)
    let aCount = a.reduce(0) { $0 + Int($1) }, bCount = b.reduce(0) { $0 + Int($1) }
    let precision: Double, recall: Double
    switch (aCount, bCount) {
    case (0, 0): (precision, recall) = (1, 1)
    case (0, _): (precision, recall) = (1, 0)
    case (_, 0): (precision, recall) = (0, 1)
    default:
      let nearA = dilated(a, width: found.width, height: found.height, radius: radius), nearB = dilated(b, width: found.width, height: found.height, radius: radius)
      var aMatched = 0, bMatched = 0
      for i in a.indices {
        aMatched += Int(a[i] & nearB[i])
        bMatched += Int(b[i] & nearA[i])
      }
      precision = Double(aMatched) / Double(aCount)
      recall = Double(bMatched) / Double(bCount)
    }
    return precision + recall == 0 ? 0 : 2 * precision * recall / (precision + recall)
  }

  /// Pixels that differ from the one at their right, below, or both; the last row looks right only, the last column down only.
  static func outline(_ mask: Mask) -> [UInt8] {
    let w = mask.width, h = mask.height, v = mask.values
    var out = [UInt8](repeating: 0, count: w * h)
    for y in 0..<h {
      for x in 0..<w {
        let i = y * w + x, here = v[i]
        let hasRight = x + 1 < w, hasBelow = y + 1 < h
        var differs = false
        if hasRight { differs = v[i + 1] != here }
        if hasBelow { differs = differs || v[i + w] != here }
        if hasRight && hasBelow { differs = differs || v[i + w + 1] != here }
        out[i] = differs ? 1 : 0
      }
    }
    return out
  }

  /// With all pixels at a distance of at most `radius` (skimage.morphology.disk).
  static func dilated(_ pixels: [UInt8], width: Int, height: Int, radius: Int) -> [UInt8] {
    var out = [UInt8](repeating: 0, count: pixels.count)
    // Outlines are sparse: each of their pixels sets the rows of its disk.
    let reach = (-radius...radius).map { dy in Int(Double(radius * radius - dy * dy).squareRoot()) }
    for y in 0..<height {
      for x in 0..<width where pixels[y * width + x] != 0 {
        for dy in max(-radius, -y)...min(radius, height - 1 - y) {
          let half = reach[dy + radius], row = (y + dy) * width
          for at in row + max(0, x - half)...row + min(width - 1, x + half) { out[at] = 1 }
        }
      }
    }
    return out
  }
}

/// Means of one video's objects over its frames.
public struct VideoScores: Sendable {
  /// One object's means over its frames, and the rest of davis2017-evaluation's statistics.
  public struct Object: Sendable, Equatable {
    public var j: Double
    public var f: Double
    /// Share of frames above a half.
    public var jRecall: Double
    public var fRecall: Double
    /// By how much the last quarter of the frames is worse than the first.
    public var jDecay: Double
    public var fDecay: Double
  }

  private var j: [[Double]]
  private var f: [[Double]]

  public init(objects: Int) {
    j = [[Double]](repeating: [], count: objects)
    f = j
  }

  /// Counts one frame. The challenge counts neither the first, which is given, nor the last; which to count is the caller's.
  ///
  /// - Parameter labels: the objects' labels, as many as there are objects.
  public mutating func add(found: LabelMap, truth: LabelMap, labels: [UInt8]) {
    precondition(labels.count == j.count)
    for (k, label) in labels.enumerated() {
      let a = found.mask(of: label), b = truth.mask(of: label)
      j[k].append(VideoMeasures.j(a, truth: b))
      f[k].append(VideoMeasures.f(a, truth: b))
    }
  }

  public var objects: [Object] {
    zip(j, f).map { Object(j: mean($0), f: mean($1), jRecall: Self.recall($0), fRecall: Self.recall($1), jDecay: Self.decay($0), fDecay: Self.decay($1)) }
  }

  static func recall(_ frames: [Double]) -> Double { mean(frames.map { $0 > 0.5 ? 1 : 0 }) }

  /// Quarters as db_statistics cuts them: from one bound up to the next and with it, so that the frame at a bound is in two.
  static func decay(_ frames: [Double]) -> Double {
    guard !frames.isEmpty else { return 0 }
    let bounds = (0...4).map { Int((1 + Double($0 * (frames.count - 1)) / 4 + 1e-10).rounded(.toNearestOrEven)) - 1 }
    return mean(Array(frames[bounds[0]...bounds[1]])) - mean(Array(frames[bounds[3]...bounds[4]]))
  }
}

extension [VideoScores.Object] {
  /// Of one video's objects, or of all videos'.
  public var mean: VideoScores.Object {
    func of(_ value: KeyPath<VideoScores.Object, Double>) -> Double { DinoSegmentation.mean(map { $0[keyPath: value] }) }
    return VideoScores.Object(j: of(\.j), f: of(\.f), jRecall: of(\.jRecall), fRecall: of(\.fRecall), jDecay: of(\.jDecay), fDecay: of(\.fDecay))
  }
}

private func mean(_ values: [Double]) -> Double { values.isEmpty ? 0 : values.reduce(0, +) / Double(values.count) }
