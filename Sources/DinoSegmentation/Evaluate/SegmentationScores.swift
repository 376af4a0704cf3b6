// The published measures of masks against true masks, photograph by photograph, and their means. Definitions are those of TokenCut's metric.py (IoU, accuracy, maxF),
// LOST's (CorLoc), and of the DINO paper's figure 4 as its author states it (Jaccard).

public import DinoImaging

/// Measures of one true mask against one found.
public enum MaskMeasures {
  /// |A ∩ B| / |A ∪ B|; 1 where both are empty.
  public static func iou(_ a: Mask, _ b: Mask) -> Double {
    precondition(a.width == b.width && a.height == b.height)
    var both = 0, either = 0
    for i in a.values.indices {
      both += Int(a.values[i] & b.values[i])
      either += Int(a.values[i] | b.values[i])
    }
    return either == 0 ? 1 : Double(both) / Double(either)
  }

  /// Share of the pixels on which the two agree.
  public static func accuracy(_ a: Mask, _ b: Mask) -> Double {
    precondition(a.width == b.width && a.height == b.height)
    return Double(a.values.indices.count { a.values[$0] == b.values[$0] }) / Double(a.values.count)
  }

  /// IoU of two boxes, as areas of their pixels.
  public static func iou(_ a: PixelBox, _ b: PixelBox) -> Double {
    let width = min(a.x + a.width, b.x + b.width) - max(a.x, b.x), height = min(a.y + a.height, b.y + b.height) - max(a.y, b.y)
    let both = Double(max(width, 0) * max(height, 0))
    return both / (Double(a.width * a.height + b.width * b.height) - both)
  }

  /// Correct localisation: whether the box around what was found and the box around the true mask have an IoU of at least a half.
  public static func isLocalized(_ found: Mask, truth: Mask) -> Bool {
    guard let a = found.boundingBox, let b = truth.boundingBox else { return found.boundingBox == nil && truth.boundingBox == nil }
    return iou(a, b) >= 0.5
  }

  /// The greatest IoU that any of `candidates` (a mask a head) has with the true one.
  public static func jaccard(_ candidates: [Mask], truth: Mask) -> Double { candidates.map { iou($0, truth) }.max() ?? 0 }

  /// Precision and recall of `values > threshold` for the thresholds k / 255, k = 0 … 254. No pixel above gives a precision of 1, no true one a recall of 1.
  public static func precisionRecall(_ values: [Float], truth: Mask) -> [(precision: Double, recall: Double)] {
    precondition(values.count == truth.values.count)
    // above[k]: pixels with more than k thresholds below them.
    var all = [Int](repeating: 0, count: thresholds + 1), hit = all
    for (i, v) in values.enumerated() {
      // The number of thresholds t with v > t; thresholds are in double precision, as NumPy's.
      var k = min(max(Int((Double(v) * Double(thresholds)).rounded(.down)), -1), thresholds - 1)
      while k + 1 < thresholds && Double(v) > Double(k + 1) / Double(thresholds) { k += 1 }
      while k >= 0 && !(Double(v) > Double(k) / Double(thresholds)) { k -= 1 }
      all[k + 1] += 1
      hit[k + 1] += Int(truth.values[i])
    }
    let positives = truth.area
    var result = [(precision: Double, recall: Double)](repeating: (1, 1), count: thresholds), above = 0, correct = 0
    for k in stride(from: thresholds - 1, through: 0, by: -1) {
      above += all[k + 1]
      correct += hit[k + 1]
      result[k] = (above == 0 ? 1 : Double(correct) / Double(above), positives == 0 ? 1 : Double(correct) / Double(positives))
    }
    return result
  }
  static let thresholds = 255

  /// F with β² = 0.3; 0 where precision and recall are.
  public static func f(_ p: Double, _ r: Double) -> Double { p == 0 && r == 0 ? 0 : 1.3 * p * r / (0.3 * p + r) }
}

/// Means over photographs.
public struct SegmentationScores: Sendable {
  public private(set) var count = 0
  private var iouSum = 0.0, accuracySum = 0.0, localized = 0, jaccardSum = 0.0, jaccardCount = 0
  private var fSums = [Double](repeating: 0, count: MaskMeasures.thresholds)

  public init() {}

  /// - Parameters:
  ///   - soft: values from 0 to 1 that maxF is made from; nil for the mask's own 0 and 1.
  ///   - heads: a mask for each attention head, where the method has them.
  ///   - void: pixels of which nobody says what they are; they do not count, nor does a photograph of nothing else.
  public mutating func add(_ found: Mask, truth: Mask, soft: [Float]? = nil, heads: [Mask]? = nil, void: Mask? = nil) {
    if let void, void.area > 0 { return addCounted(found, truth, soft, heads, void) }
    count += 1
    localized += MaskMeasures.isLocalized(found, truth: truth) ? 1 : 0
    addPixels(found, truth, soft, heads)
  }

  /// Boxes need the places of pixels; all else only which of them are counted.
  private mutating func addCounted(_ found: Mask, _ truth: Mask, _ soft: [Float]?, _ heads: [Mask]?, _ void: Mask) {
    let counted = void.values.indices.filter { void.values[$0] == 0 }
    guard !counted.isEmpty else { return }
    func only(_ mask: Mask) -> Mask { Mask(width: counted.count, height: 1, values: counted.map { mask.values[$0] }) }
    func without(_ mask: Mask) -> Mask { Mask(width: mask.width, height: mask.height, values: zip(mask.values, void.values).map { $0 & (1 - $1) }) }
    count += 1
    localized += MaskMeasures.isLocalized(without(found), truth: without(truth)) ? 1 : 0
    addPixels(only(found), only(truth), soft.map { values in counted.map { values[$0] } }, heads?.map(only))
  }

  private mutating func addPixels(_ found: Mask, _ truth: Mask, _ soft: [Float]?, _ heads: [Mask]?) {
    iouSum += MaskMeasures.iou(found, truth)
    accuracySum += MaskMeasures.accuracy(found, truth)
    for (k, pr) in MaskMeasures.precisionRecall(soft ?? found.values.map(Float.init), truth: truth).enumerated() { fSums[k] += MaskMeasures.f(pr.precision, pr.recall) }
    if let heads {
      jaccardSum += MaskMeasures.jaccard(heads, truth: truth)
      jaccardCount += 1
    }
  }

  private func mean(_ sum: Double) -> Double { count > 0 ? sum / Double(count) : 0 }
  public var iou: Double { mean(iouSum) }
  public var accuracy: Double { mean(accuracySum) }
  public var corLoc: Double { mean(Double(localized)) }
  /// The greatest over thresholds of the mean over photographs.
  public var maxF: Double { mean(fSums.max() ?? 0) }
  /// Nil where no masks of heads were given.
  public var jaccard: Double? { jaccardCount > 0 ? jaccardSum / Double(jaccardCount) : nil }
}
