// Frames and labels as the DAVIS protocol reads and writes them: the size that a frame is resized to, labels on the patch grid, and from patches back to the frame's pixels.

public import Dino
public import DinoImaging
public import DinoModels

/// How frames become the network's input.
public struct VideoPreparer: Sendable {
  /// The official code's, whose deviation of red is 0.228 where all others have 0.229.
  public static let officialMean = [0.485, 0.456, 0.406]
  public static let officialDeviation = [0.228, 0.224, 0.225]
  /// What the longer side is cut down to a multiple of.
  public static let multiple = 64

  /// The shorter side of what the network reads.
  public let side: Int
  public let patch: Int
  private let preparer: ImagePreparer

  /// Takes mean, deviation and channel order from `preprocessing`; sizes are the protocol's.
  public init(side: Int = 480, preprocessing: Preprocessing, patch: Int) throws(DinoError) {
    guard side >= patch else { throw DinoError(.usage, "frames of \(side) pixels are smaller than one patch of \(patch)", hint: "give a larger --size") }
    self.side = side
    self.patch = patch
    var record = preprocessing
    record.resize = nil
    record.crop = nil
    preparer = try ImagePreparer(record, patch: patch)
  }

  /// The size that a frame is resized to.
  public func size(height: Int, width: Int) -> (height: Int, width: Int) {
    let short = min(height, width), long = max(height, width), step = Self.multiple
    let other = max(side * long / short / step * step, min(side, step))
    return height > width ? (other, side) : (side, other)
  }

  public func decode(_ input: ImageInput) throws(DinoError) -> Image { try preparer.decode(input) }

  public func prepare(_ frame: Image) throws(DinoError) -> PreparedImage {
    let size = size(height: frame.height, width: frame.width)
    guard max(size.height, size.width) <= Resampler.maximumSide else {
      throw DinoError(.data, "a frame of \(frame.width)x\(frame.height) pixels would be resized to \(size.width)x\(size.height), where sides are 1 to \(Resampler.maximumSide); give a smaller --size")
    }
    try InputMemory.check(images: 1, height: size.height, width: size.width)
    return try preparer.prepare(frame.resizedUnfiltered(width: size.width, height: size.height))
  }
}

extension LabelPropagation.SoftLabels {
  /// Labels of pixels on a grid of patches, each the label under its centre (Pillow's nearest).
  public init(_ map: LabelMap, labels: [UInt8], rows: Int, columns: Int) throws(DinoError) {
    let small = try map.resized(width: columns, height: rows)
    // Label 0, the background, stands first.
    let classes = [0] + labels
    var values = [Float](repeating: 0, count: rows * columns * classes.count)
    for (i, value) in small.values.enumerated() { values[i * classes.count + (classes.firstIndex(of: value) ?? 0)] = 1 }
    self.init(rows: rows, columns: columns, labels: classes.count, values: values)
  }

  /// The label of each pixel of a frame: enlarged bilinearly by the patch size, each label from its least to its greatest value spread over 0 to 1, the greatest taken, and
  /// brought to the frame's size by nearest.
  public func map(labels: [UInt8], patch: Int, width: Int, height: Int) throws(DinoError) -> LabelMap {
    let classes = [0] + labels, w = columns * patch, h = rows * patch
    var best = [Float](repeating: -.infinity, count: w * h), chosen = [UInt8](repeating: 0, count: w * h)
    for (k, label) in classes.enumerated() {
      let grid = HeatMap(width: columns, height: rows, values: (0..<rows * columns).map { values[$0 * classes.count + k] }).resized(width: w, height: h, .bilinear)
      let range = grid.range, span = range.upperBound - range.lowerBound
      // As in the original a label that is nowhere keeps its zeros; one that is the same everywhere would be 0 / 0 there and is taken as it is here.
      let isSpread = range.upperBound > 0 && span > 0
      for i in best.indices {
        let value = isSpread ? (grid.values[i] - range.lowerBound) / span : grid.values[i]
        if value > best[i] {
          best[i] = value
          chosen[i] = label
        }
      }
    }
    return try LabelMap(width: w, height: h, values: chosen).resized(width: width, height: height)
  }
}
