// Semantic segmentation's measures: the IoU of each class and their mean, over a data set as a whole, as PASCAL VOC defines them. Classes that are in no true mask and were found nowhere do not count.

public import DinoImaging

public struct ClassScores: Sendable {
  /// One matrix over all photographs: [true label · 256 + found label], in pixels.
  private var counts = [Int](repeating: 0, count: 256 * 256)

  public init() {}

  /// - Parameter void: pixels of which nobody says what they are; they do not count.
  public mutating func add(_ found: LabelMap, truth: LabelMap, void: Mask? = nil) {
    precondition(found.width == truth.width && found.height == truth.height)
    for i in truth.values.indices where void?.values[i] != 1 { counts[Int(truth.values[i]) << 8 | Int(found.values[i])] += 1 }
  }

  /// Pixels of the label that are found as it, of its own in truth, and found as it.
  private func pixels(of label: Int) -> (right: Int, own: Int, found: Int) {
    (counts[label << 8 | label], counts[label << 8..<(label + 1) << 8].reduce(0, +), stride(from: label, to: counts.count, by: 256).reduce(0) { $0 + counts[$1] })
  }

  /// The IoU of each label, from the least.
  public var classes: [(label: UInt8, iou: Double)] {
    (0..<256).compactMap { label in
      let (right, own, found) = pixels(of: label), either = own + found - right
      return either > 0 ? (UInt8(label), Double(right) / Double(either)) : nil
    }
  }

  public var meanIoU: Double {
    let all = classes
    return all.isEmpty ? 0 : all.reduce(0) { $0 + $1.iou } / Double(all.count)
  }

  /// Share of all pixels whose label is found.
  public var accuracy: Double {
    let all = counts.reduce(0, +), right = (0..<256).reduce(0) { $0 + counts[$1 << 8 | $1] }
    return all > 0 ? Double(right) / Double(all) : 0
  }
}
