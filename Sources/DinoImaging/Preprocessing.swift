// From a picture to the network's input, as torchvision does it: resize, centre crop, scale to 0...1, normalise. Pure functions of
// their parameters; which parameters a model wants is not known here. Also says which part of the photograph the model saw.

internal import CImageCodecs
public import DinoTensor

/// What is done to a picture before the network sees it.
public struct PreprocessingPlan: Sendable, Equatable {
  public enum Resize: Sendable, Equatable {
    /// The shorter side to this many pixels, the longer in proportion, rounded down (torchvision's `Resize(S)`).
    case shorterSide(Int)
    /// To exactly this size (torchvision's `Resize((h, w))`).
    case exact(height: Int, width: Int)
    case none
  }

  public var resize: Resize
  public var interpolation: Interpolation
  /// Side of the centre crop, or nil for none. Where the picture is smaller, zeros are added around it.
  public var crop: Int?
  /// Where half the difference between picture and crop is not whole, the crop begins at the smaller number (transformers), not at the even one (torchvision).
  public var floorsCrop: Bool
  /// Of red, green and blue, in 0...1.
  public var mean: [Float]
  public var standardDeviation: [Float]
  /// What does not divide by this is cropped at the bottom and right.
  public var patchMultiple: Int

  public static let imageNetMean: [Float] = [0.485, 0.456, 0.406]
  public static let imageNetStandardDeviation: [Float] = [0.229, 0.224, 0.225]

  /// The default is the evaluation of the DINO paper: shorter side to 256 bicubic, centre crop 224, ImageNet statistics.
  public init(resize: Resize = .shorterSide(256), interpolation: Interpolation = .bicubic, crop: Int? = 224,
              mean: [Float] = imageNetMean, standardDeviation: [Float] = imageNetStandardDeviation, patchMultiple: Int = 1, floorsCrop: Bool = false) {
    self.resize = resize
    self.interpolation = interpolation
    self.crop = crop
    self.floorsCrop = floorsCrop
    self.mean = mean
    self.standardDeviation = standardDeviation
    self.patchMultiple = patchMultiple
  }

  /// The plan for another square size: shorter side to round(S · 256 / 224), centre crop S.
  public func withImageSize(_ size: Int) -> PreprocessingPlan {
    var plan = self
    plan.resize = .shorterSide(Int((Double(size) * 256 / 224).rounded()))
    plan.crop = size
    return plan
  }

  /// The plan for exactly this size, without a crop.
  public func withImageSize(height: Int, width: Int) -> PreprocessingPlan {
    var plan = self
    plan.resize = .exact(height: height, width: width)
    plan.crop = nil
    return plan
  }

  /// What the plan does to a picture of a given size.
  public func geometry(width: Int, height: Int) throws(ImageError) -> PreprocessingGeometry {
    try PreprocessingGeometry(plan: self, width: width, height: height)
  }

  /// The picture at the network's size, still in bytes: RGB, `geometry.outputWidth` × `geometry.outputHeight`.
  public func resized(_ image: Image) throws(ImageError) -> Image {
    let image = image.rgb()
    let g = try geometry(width: image.width, height: image.height)
    if g.visible.width == g.outputWidth && g.visible.height == g.outputHeight {
      return try resizedPart(image, g)
    }
    // A crop larger than the picture: zeros around it.
    let frame = PixelBox(x: -g.padding.x, y: -g.padding.y, width: g.outputWidth, height: g.outputHeight)
    return try resizedPart(image, g).cropped(to: frame)
  }

  private func resizedPart(_ image: Image, _ g: PreprocessingGeometry) throws(ImageError) -> Image {
    try Resampler.resize(image, width: g.resizedWidth, height: g.resizedHeight, interpolation: interpolation, window: g.visible)
  }

  /// The network's input: [3, H, W] floats, (value / 255 - mean) / deviation.
  public func tensor(_ image: Image) throws(ImageError) -> Tensor {
    let g = try geometry(width: image.width, height: image.height)
    let shape: Shape = [3, g.outputHeight, g.outputWidth]
    do {
      return unsafe try Tensor(dtype: .f32, shape: shape) { out in
        unsafe try write(image, into: out.bindMemory(to: Float.self))
      }
    } catch let error as ImageError {
      throw error
    } catch {
      throw .outOfMemory(name: "an input of \(shape)")
    }
  }

  /// Several pictures of one output size as [B, 3, H, W].
  public func batch(_ images: [Image]) throws(ImageError) -> Tensor {
    guard let first = images.first else { throw .invalidParameter("a batch needs at least one image") }
    let g = try geometry(width: first.width, height: first.height)
    let each = 3 * g.outputHeight * g.outputWidth
    for image in images {
      let other = try geometry(width: image.width, height: image.height)
      guard other.outputWidth == g.outputWidth, other.outputHeight == g.outputHeight else {
        throw .invalidParameter("images of one batch come out as \(g.outputWidth)x\(g.outputHeight) and \(other.outputWidth)x\(other.outputHeight); use one size or batches of one")
      }
    }
    let shape: Shape = [images.count, 3, g.outputHeight, g.outputWidth]
    do {
      return unsafe try Tensor(dtype: .f32, shape: shape) { out in
        let all = unsafe out.bindMemory(to: Float.self)
        for (i, image) in images.enumerated() {
          unsafe try write(image, into: UnsafeMutableBufferPointer(rebasing: all[(i * each)..<((i + 1) * each)]))
        }
      }
    } catch let error as ImageError {
      throw error
    } catch {
      throw .outOfMemory(name: "an input of \(shape)")
    }
  }

  /// Writes 3 · H · W floats into the caller's memory, which must have exactly that many.
  public func write(_ image: Image, into out: UnsafeMutableBufferPointer<Float>) throws(ImageError) {
    let picture = try resized(image)
    precondition(out.count == 3 * picture.width * picture.height, "the buffer does not have 3 · H · W floats")
    try unsafe normalize(picture, into: out)
  }

  private func normalize(_ picture: Image, into out: UnsafeMutableBufferPointer<Float>) throws(ImageError) {
    let table = try normalizationTable()
    unsafe picture.pixels.withUnsafeBufferPointer { pixels in
      unsafe table.withUnsafeBufferPointer { table in
        unsafe ic_normalize_rgb(pixels.baseAddress!, picture.stride, Int32(picture.width), Int32(picture.height), table.baseAddress!,
                                out.baseAddress!, picture.width * picture.height, picture.width)
      }
    }
  }

  /// A byte has 256 values, so torchvision's three roundings in single precision are done once for each: [3 · 256].
  func normalizationTable() throws(ImageError) -> [Float] {
    guard mean.count == 3, standardDeviation.count == 3, standardDeviation.allSatisfy({ $0 != 0 && $0.isFinite }), mean.allSatisfy(\.isFinite) else {
      throw .invalidParameter("mean and deviation need three finite numbers each, deviations not zero; they are \(mean) and \(standardDeviation)")
    }
    return (0..<3).flatMap { c in (0..<256).map { (Float($0) / 255 - mean[c]) / standardDeviation[c] } }
  }
}

/// What a plan does to one picture: sizes on the way, and what of the photograph the network saw.
public struct PreprocessingGeometry: Sendable, Equatable {
  public let sourceWidth: Int
  public let sourceHeight: Int
  /// The whole picture after resizing, before cropping.
  public let resizedWidth: Int
  public let resizedHeight: Int
  /// The network's input.
  public let outputWidth: Int
  public let outputHeight: Int
  /// The part of the resized picture that is in the output.
  public let visible: PixelBox
  /// Where that part begins in the output: not (0, 0) only where zeros were added around a picture smaller than the crop.
  public let padding: (x: Int, y: Int)

  public static func == (a: Self, b: Self) -> Bool {
    a.sourceWidth == b.sourceWidth && a.sourceHeight == b.sourceHeight && a.resizedWidth == b.resizedWidth && a.resizedHeight == b.resizedHeight
      && a.outputWidth == b.outputWidth && a.outputHeight == b.outputHeight && a.visible == b.visible && a.padding == b.padding
  }

  /// The rectangle of the photograph that the output shows, in the photograph's pixels. Padding reaches outside the photograph.
  public var sourceRectangle: PixelRectangle {
    // Product first: whole results then come out whole.
    func inSource(_ pixels: Int, _ source: Int, _ resized: Int) -> Double { Double(pixels) * Double(source) / Double(resized) }
    return PixelRectangle(x: inSource(visible.x - padding.x, sourceWidth, resizedWidth), y: inSource(visible.y - padding.y, sourceHeight, resizedHeight),
                          width: inSource(outputWidth, sourceWidth, resizedWidth), height: inSource(outputHeight, sourceHeight, resizedHeight))
  }

  /// Longest side of a picture before it is resized: what any file format can say.
  private static let maximumSource = Int(Int32.max)

  init(plan: PreprocessingPlan, width: Int, height: Int) throws(ImageError) {
    guard plan.patchMultiple >= 1 else { throw .invalidParameter("the patch size is \(plan.patchMultiple); it is at least 1") }
    guard (1...Self.maximumSource).contains(width), (1...Self.maximumSource).contains(height) else {
      throw .invalidParameter("a picture of \(width)x\(height) pixels cannot be; sides are 1 to \(Self.maximumSource)")
    }
    sourceWidth = width
    sourceHeight = height
    (resizedWidth, resizedHeight) = try Self.resizedSize(plan.resize, width: width, height: height)
    let horizontal = try Self.axis(resizedWidth, plan, name: "width")
    let vertical = try Self.axis(resizedHeight, plan, name: "height")
    outputWidth = horizontal.output
    outputHeight = vertical.output
    visible = PixelBox(x: horizontal.start, y: vertical.start, width: horizontal.length, height: vertical.length)
    padding = (horizontal.padding, vertical.padding)
  }

  private static func resizedSize(_ resize: PreprocessingPlan.Resize, width: Int, height: Int) throws(ImageError) -> (Int, Int) {
    func check(_ w: Int, _ h: Int) throws(ImageError) -> (Int, Int) {
      guard (1...Resampler.maximumSide).contains(w), (1...Resampler.maximumSide).contains(h) else {
        throw .invalidParameter("an image of \(width)x\(height) would be resized to \(w)x\(h); sides are 1 to \(Resampler.maximumSide)")
      }
      return (w, h)
    }
    switch resize {
    case .none: return (width, height)
    case .exact(let h, let w): return try check(w, h)
    case .shorterSide(let s):
      guard (1...Resampler.maximumSide).contains(s) else { throw .invalidParameter("a shorter side of \(s) is not 1 to \(Resampler.maximumSide)") }
      // Python's int(s * long / short): a quotient in double precision, rounded down.
      let long = Int(Double(s * max(width, height)) / Double(min(width, height)))
      return try width <= height ? check(s, long) : check(long, s)
    }
  }

  /// One axis: where the crop begins in the resized picture, how much of it is used, the output's length and where the picture
  /// begins in it. torchvision pads a short side first, (crop - size) / 2 before and the rest after; Python rounds halves to even.
  private static func axis(_ size: Int, _ plan: PreprocessingPlan, name: String) throws(ImageError) -> (start: Int, length: Int, output: Int, padding: Int) {
    let wanted = plan.crop ?? size, multiple = plan.patchMultiple
    guard wanted >= 1 else { throw .invalidParameter("a crop of \(wanted) pixels is empty") }
    let output = wanted / multiple * multiple
    guard output > 0 else { throw .invalidParameter("a \(name) of \(wanted) pixels is smaller than one patch of \(multiple)") }
    guard output <= Resampler.maximumSide * 4 else { throw .invalidParameter("a crop of \(wanted) pixels is too large") }
    if wanted > size {
      let padding = (wanted - size) / 2
      guard padding < output else { throw .invalidParameter("a \(name) of \(size) pixels disappears in a crop of \(wanted)") }
      return (0, min(size, output - padding), output, padding)
    }
    let start = plan.floorsCrop ? (size - wanted) / 2 : Int((Double(size - wanted) / 2).rounded(.toNearestOrEven))
    return (start, output, output, 0)
  }
}
