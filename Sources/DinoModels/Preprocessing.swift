// How a photograph becomes the model's input, as data (`dino.preprocessing`). The pixels are DinoImaging's business.

/// A preprocessing record: resize, then crop the centre, then (value/255 - mean)/std for each channel.
public struct Preprocessing: Sendable, Hashable, Codable {
  public enum Resize: Sendable, Hashable {
    /// The shorter side becomes this many pixels; the ratio of sides is kept.
    case shorterSide(Int)
    /// Exactly this size.
    case exact(height: Int, width: Int)
  }
  public enum Interpolation: String, Sendable, Hashable, Codable { case nearest, bilinear, bicubic, lanczos }
  /// What becomes of half a pixel where the crop begins: to the even number (torchvision, timm), or down (transformers).
  public enum CropRounding: String, Sendable, Hashable, Codable { case even, floor }
  public enum ChannelOrder: String, Sendable, Hashable, Codable { case rgb, bgr }

  /// Nil leaves the size as it is.
  public var resize: Resize?
  public var interpolation: Interpolation
  /// Side of the centre square, or nil for none.
  public var crop: Int?
  public var cropRounding: CropRounding
  public var mean: [Double]
  public var std: [Double]
  public var channelOrder: ChannelOrder

  public init(resize: Resize?, interpolation: Interpolation, crop: Int?, mean: [Double], std: [Double], channelOrder: ChannelOrder = .rgb,
              cropRounding: CropRounding = .even) {
    self.resize = resize
    self.interpolation = interpolation
    self.crop = crop
    self.cropRounding = cropRounding
    self.mean = mean
    self.std = std
    self.channelOrder = channelOrder
  }

  /// What the original evaluation does: shorter side 256 bicubic, centre 224, ImageNet mean and deviation.
  public static let imageNet = Preprocessing(resize: .shorterSide(256), interpolation: .bicubic, crop: 224, mean: [0.485, 0.456, 0.406],
                                             std: [0.229, 0.224, 0.225])

  private enum Key: String, CodingKey { case resize, interpolation, crop, crop_rounding, mean, std, channel_order }

  public init(from decoder: any Decoder) throws {
    let c = try decoder.container(keyedBy: Key.self)
    if try !c.contains(.resize) || c.decodeNil(forKey: .resize) {
      resize = nil
    } else if let side = try? c.decode(Int.self, forKey: .resize) {
      resize = .shorterSide(side)
    } else {
      guard let size = try? c.decode([Int].self, forKey: .resize), size.count == 2 else {
        throw ModelError.invalid(key: "resize", reason: "it must be a number of pixels, [height, width] or null")
      }
      resize = .exact(height: size[0], width: size[1])
    }
    interpolation = try c.decodeIfPresent(Interpolation.self, forKey: .interpolation) ?? .bicubic
    crop = try c.decodeIfPresent(Int.self, forKey: .crop)
    cropRounding = try c.decodeIfPresent(CropRounding.self, forKey: .crop_rounding) ?? .even
    mean = try c.decode([Double].self, forKey: .mean)
    std = try c.decode([Double].self, forKey: .std)
    channelOrder = try c.decodeIfPresent(ChannelOrder.self, forKey: .channel_order) ?? .rgb
    try validate()
  }

  public func encode(to encoder: any Encoder) throws {
    var c = encoder.container(keyedBy: Key.self)
    switch resize {
    case nil: try c.encodeNil(forKey: .resize)
    case .shorterSide(let side)?: try c.encode(side, forKey: .resize)
    case .exact(let height, let width)?: try c.encode([height, width], forKey: .resize)
    }
    try c.encode(interpolation, forKey: .interpolation)
    try c.encode(crop, forKey: .crop)
    // Absent, it is even: records of the original's preprocessing are as they were before there was a choice.
    if cropRounding != .even { try c.encode(cropRounding, forKey: .crop_rounding) }
    try c.encode(mean, forKey: .mean)
    try c.encode(std, forKey: .std)
    try c.encode(channelOrder, forKey: .channel_order)
  }

  /// Checks sizes (1 to 65536), and that mean and deviation are finite, equally many (1 to 64), and deviations above 0.
  public func validate() throws(ModelError) {
    switch resize {
    case nil: break
    case .shorterSide(let side)?: try checkSize("resize", side)
    case .exact(let height, let width)?:
      try checkSize("resize", height)
      try checkSize("resize", width)
    }
    if let crop { try checkSize("crop", crop) }
    guard (1...64).contains(mean.count), mean.allSatisfy({ $0.isFinite && abs($0) <= 1e6 }) else {
      throw .invalid(key: "mean", reason: "it must be a finite number for each channel")
    }
    guard std.count == mean.count, std.allSatisfy({ $0.isFinite && $0 >= 1e-6 && $0 <= 1e6 }) else {
      throw .invalid(key: "std", reason: "it must be a number above 0 for each of \(mean.count) channels")
    }
  }

  private func checkSize(_ key: String, _ value: Int) throws(ModelError) {
    guard (1...65536).contains(value) else { throw .invalid(key: key, reason: "a size must be between 1 and 65536, not \(value)") }
  }

  /// The text for the key `dino.preprocessing`, and for `--preprocessing FILE.json`.
  public func json() throws(ModelError) -> String { try RecordCoding.encode(self, key: ModelRecord.Key.preprocessing) }

  /// Reads that text.
  public init(json: String) throws(ModelError) { self = try RecordCoding.decode(Self.self, from: json, key: ModelRecord.Key.preprocessing) }
}
