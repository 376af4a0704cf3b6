// DINO's augmentation (DataAugmentationDINO in main_dino.py) on one photograph: two global and some local crops, with torchvision's steps in torchvision's order, their
// parameters drawn from our own generator. What each step does to pixels is DinoImaging's.

public import DinoImaging

/// What makes one crop of a photograph, in the order in which it is done.
struct CropParameters: Sendable, Equatable {
  enum ColorStep: Sendable, Equatable { case brightness(Float), contrast(Float), saturation(Float), hue(Double) }
  var box: PixelBox
  var isMirrored = false
  /// In this order; none where colours stay.
  var jitter: [ColorStep] = []
  var isGray = false
  var blurRadius: Float?
  var isSolarized = false
  var isNegative = false

  init(box: PixelBox) { self.box = box }

  func crop(of image: Image, size: Int) throws(ImageError) -> Image {
    var out = try image.resizedCrop(box, width: size, height: size, interpolation: .bicubic)
    if isMirrored { out = out.mirrored() }
    for step in jitter {
      switch step {
      case .brightness(let f): out = out.adjustingBrightness(f)
      case .contrast(let f): out = out.adjustingContrast(f)
      case .saturation(let f): out = out.adjustingSaturation(f)
      case .hue(let f): out = try out.adjustingHue(f)
      }
    }
    if isGray { out = out.grayscale() }
    if let blurRadius { out = try out.gaussianBlurred(radius: blurRadius) }
    if isSolarized { out = out.solarized() }
    return isNegative ? out.solarized(threshold: 0) : out
  }
}

public struct MultiCropAugmentation: Sendable, Equatable {
  public var globalSize: Int
  public var localSize: Int
  public var localCrops: Int
  public var globalScale = 0.4...1.0
  public var localScale = 0.05...0.4
  /// How likely a crop is made gray (0.2 in the original). More keeps few photographs from being told apart by their colours.
  public var grayscaleProbability = 0.2
  /// Deviation of the blur in pixels of the crop. The original's range is for crops of 224; on small ones it leaves nothing of what is fine.
  public var blurRadius = 0.1...2.0
  /// How likely a crop is turned into its negative, which the original does not do: what tells a light garment on dark ground from a dark one on light ground is then not its lightness.
  public var negativeProbability = 0.0

  public init(globalSize: Int, localSize: Int, localCrops: Int) {
    self.globalSize = globalSize
    self.localSize = localSize
    self.localCrops = localCrops
  }

  /// Under the flags of dinoctl; what the original does not have, and local crops, only where there is some.
  public var listed: [(flag: String, value: String)] {
    func range(_ r: ClosedRange<Double>) -> String { "\(r.lowerBound) \(r.upperBound)" }
    var all = [(flag: "--global-crops-scale", value: range(globalScale))]
    if localCrops > 0 { all.append((flag: "--local-crops-scale", value: range(localScale))) }
    all += [(flag: "--grayscale-probability", value: "\(grayscaleProbability)"), (flag: "--blur-radius", value: range(blurRadius))]
    if negativeProbability > 0 { all.append((flag: "--negative-probability", value: "\(negativeProbability)")) }
    return all
  }

  /// The crops, global ones first.
  public func crops(of image: Image, random: inout Generator) throws(ImageError) -> [Image] {
    var views: [Image] = []
    for (view, p) in parameters(width: image.width, height: image.height, random: &random).enumerated() {
      views.append(try p.crop(of: image, size: view < 2 ? globalSize : localSize))
    }
    return views
  }

  /// What is drawn for each crop.
  func parameters(width: Int, height: Int, random: inout Generator) -> [CropParameters] {
    (0..<2 + localCrops).map { view in
      var p = CropParameters(box: Self.box(width: width, height: height, scale: view < 2 ? globalScale : localScale, &random))
      p.isMirrored = random.unit() < 0.5
      if random.unit() < 0.8 { p.jitter = Self.jitter(&random) }
      p.isGray = random.unit() < grayscaleProbability
      let blur = view == 0 ? 1.0 : view == 1 ? 0.1 : 0.5
      if random.unit() < blur { p.blurRadius = Float(random.uniform(blurRadius.lowerBound, blurRadius.upperBound)) }
      p.isSolarized = view == 1 && random.unit() < 0.2
      // Nothing is drawn for what the original does not have: its runs stay what they were.
      if negativeProbability > 0 { p.isNegative = random.unit() < negativeProbability }
      return p
    }
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
  private static func jitter(_ random: inout Generator) -> [CropParameters.ColorStep] {
    let order = random.permutation(4)
    let brightness = Float(random.uniform(0.6, 1.4)), contrast = Float(random.uniform(0.6, 1.4)), saturation = Float(random.uniform(0.8, 1.2))
    let hue = random.uniform(-0.1, 0.1)
    let steps: [CropParameters.ColorStep] = [.brightness(brightness), .contrast(contrast), .saturation(saturation), .hue(hue)]
    return order.map { steps[$0] }
  }
}
