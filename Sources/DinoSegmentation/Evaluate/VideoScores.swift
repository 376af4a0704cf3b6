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

/// Means of one video: over its frames for each object, then over objects. The first frame is given and the last is not counted, as in the challenge.
public struct VideoScores: Sendable {
  /// For each object a value for each counted frame.
  public private(set) var j: [[Double]] = []
  public private(set) var f: [[Double]] = []

  /// - Parameters:
  ///   - found, truth: the label of each pixel, a frame each, in order; label 0 is the background.
  ///   - labels: the objects' labels.
  public init(found: [LabelMap], truth: [LabelMap], labels: [UInt8]) {
    precondition(found.count == truth.count)
    for label in labels {
      var js: [Double] = [], fs: [Double] = []
      for t in 1..<max(found.count - 1, 1) {
        let a = found[t].mask(of: label), b = truth[t].mask(of: label)
        js.append(VideoMeasures.j(a, truth: b))
        fs.append(VideoMeasures.f(a, truth: b))
      }
      j.append(js)
      f.append(fs)
    }
  }

  public var meanJ: Double { mean(j.map(mean)) }
  public var meanF: Double { mean(f.map(mean)) }
  public var meanJF: Double { (meanJ + meanF) / 2 }
}

func mean(_ values: [Double]) -> Double { values.isEmpty ? 0 : values.reduce(0, +) / Double(values.count) }

/// Which object each pixel is.
public struct LabelMap: Sendable, Equatable {
  public var width: Int
  public var height: Int
  /// [height · width]; 0 is the background.
  public var values: [UInt8]

  public init(width: Int, height: Int, values: [UInt8]) {
    precondition(values.count == width * height)
    self.width = width
    self.height = height
    self.values = values
  }

  /// The labels other than 0, in order.
  public var labels: [UInt8] { Set(values).subtracting([0]).sorted() }

  public func mask(of label: UInt8) -> Mask { Mask(width: width, height: height, values: values.map { $0 == label ? 1 : 0 }) }
}
