// DINO's augmentation (DataAugmentationDINO in main_dino.py) on one photograph: two global and some local crops, with torchvision's steps in torchvision's order, their
// parameters drawn from our own generator. What each step does to pixels is DinoImaging's.

public import DinoImaging

public struct MultiCropAugmentation: Sendable, Equatable {
  public var globalSize: Int
  public var localSize: Int
  public var localCrops: Int
  public var globalScale = 0.4...1.0
  public var localScale = 0.05...0.4

  public init(globalSize: Int, localSize: Int, localCrops: Int) {
    self.globalSize = globalSize
    self.localSize = localSize
    self.localCrops = localCrops
  }

  /// The crops, global ones first.
  public func crops(of image: Image, random: inout Generator) throws(ImageError) -> [Image] {
    var views: [Image] = []
    for view in 0..<2 + localCrops {
      var crop = view < 2 ? try resizedCrop(image, scale: globalScale, size: globalSize, &random) : try resizedCrop(image, scale: localScale, size: localSize, &random)
      if random.unit() < 0.5 { crop = crop.mirrored() }
      if random.unit() < 0.8 { crop = try jittered(crop, &random) }
      if random.unit() < 0.2 { crop = crop.grayscale() }
      let blur = view == 0 ? 1.0 : view == 1 ? 0.1 : 0.5
      if random.unit() < blur { crop = try crop.gaussianBlurred(radius: Float(random.uniform(0.1, 2))) }
      if view == 1, random.unit() < 0.2 { crop = crop.solarized() }
      views.append(crop)
    }
    return views
  }

  /// torchvision's RandomResizedCrop, bicubic.
  private func resizedCrop(_ image: Image, scale: ClosedRange<Double>, size: Int, _ random: inout Generator) throws(ImageError) -> Image {
    try image.resizedCrop(Self.box(width: image.width, height: image.height, scale: scale, &random), width: size, height: size, interpolation: .bicubic)
  }

  /// A box of a share of the area in `scale` and an aspect ratio from 3/4 to 4/3, by its logarithm; after ten tries that do not fit, the largest such box in the middle.
  static func box(width: Int, height: Int, scale: ClosedRange<Double>, _ random: inout Generator) -> PixelBox {
    let area = Double(width * height)
    for _ in 0..<10 {
      let target = area * random.uniform(scale.lowerBound, scale.upperBound)
      // A power of the ratio's range: the exponential of a uniform logarithm.
      let ratio = 0.75 * naturalPower(of: random.unit())
      let w = Int((target * ratio).squareRoot().rounded(.toNearestOrEven)), h = Int((target / ratio).squareRoot().rounded(.toNearestOrEven))
      if w > 0, w <= width, h > 0, h <= height {
        let y = random.index(height - h + 1), x = random.index(width - w + 1)
        return PixelBox(x: x, y: y, width: w, height: h)
      }
    }
    let ratio = Double(width) / Double(height)
    var w = width, h = height
    if ratio < 0.75 { h = Int((Double(w) / 0.75).rounded(.toNearestOrEven)) } else if ratio > 4.0 / 3 { w = Int((Double(h) * 4 / 3).rounded(.toNearestOrEven)) }
    w = max(1, min(w, width))
    h = max(1, min(h, height))
    return PixelBox(x: (width - w) / 2, y: (height - h) / 2, width: w, height: h)
  }

  /// (16/9)^u.
  private static func naturalPower(of u: Double) -> Double { power(16.0 / 9, u) }

  /// ColorJitter(0.4, 0.4, 0.2, 0.1): its four steps in random order.
  private func jittered(_ image: Image, _ random: inout Generator) throws(ImageError) -> Image {
    let order = random.permutation(4)
    let brightness = Float(random.uniform(0.6, 1.4)), contrast = Float(random.uniform(0.6, 1.4)), saturation = Float(random.uniform(0.8, 1.2))
    let hue = random.uniform(-0.1, 0.1)
    var out = image
    for step in order {
      switch step {
      case 0: out = out.adjustingBrightness(brightness)
      case 1: out = out.adjustingContrast(contrast)
      case 2: out = out.adjustingSaturation(saturation)
      default: out = try out.adjustingHue(hue)
      }
    }
    return out
  }
}
