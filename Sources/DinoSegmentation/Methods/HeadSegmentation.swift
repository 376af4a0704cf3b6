// What a segmentation head says of a photograph, a mask a class; and the classes of patches in a true mask, which a head is trained from. The training is DinoTasks' logistic regression.

public import Dino

public enum HeadSegmentation {
  /// A mask for each class but the background, in the head's order; of classes that are nowhere an empty one.
  public static func masks(_ features: PatchFeatures, _ head: SegmentationHead) -> [PatchMask] {
    let classes = head.classes(features.values)
    return head.labels.enumerated().filter { $1 != 0 }.map { c, _ in PatchMask(rows: features.rows, columns: features.columns, kept: classes.map { $0 == c }) }
  }
}

extension LabelMap {
  /// The label under the centre of each patch of a photograph that this is the mask of; nil of patches outside the photograph.
  public func labels(under g: PreparedImage.Geometry) -> [UInt8?] {
    precondition(width == g.width && height == g.height)
    return (0..<g.rows * g.columns).map { i in
      let x = Double(g.left) + (Double(i % g.columns) + 0.5) * Double(g.patch), y = Double(g.top) + (Double(i / g.columns) + 0.5) * Double(g.patch)
      let column = Int((x * Double(width) / Double(g.resizedWidth)).rounded(.down)), row = Int((y * Double(height) / Double(g.resizedHeight)).rounded(.down))
      return column >= 0 && column < width && row >= 0 && row < height ? values[row * width + column] : nil
    }
  }
}
