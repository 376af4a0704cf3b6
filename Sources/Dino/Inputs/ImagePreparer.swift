// From a photograph to the network's input, as torchvision does it: resize, crop, divide by 255, subtract the mean, divide by the deviation; then rows and
// columns that do not fill a patch are cut at the bottom and right. Resampling itself is DinoImaging's.

public import DinoImaging
public import DinoModels
public import DinoTensor

/// A photograph as the network reads it.
public struct PreparedImage: Sendable {
  /// Where the network's pixels are in the photograph.
  public struct Geometry: Sendable, Equatable {
    /// The photograph's own size.
    public var height: Int
    public var width: Int
    /// Its size after the resize.
    public var resizedHeight: Int
    public var resizedWidth: Int
    /// Corner of what is left after the crop, in resized pixels; negative where the crop is larger than the image.
    public var top: Int
    public var left: Int
    /// Patch rows and columns that the network sees.
    public var rows: Int
    public var columns: Int
    public var patch: Int
  }

  /// [1, 3, rows · patch, columns · patch]
  public let tensor: Tensor
  public let geometry: Geometry

  public var shape: Shape { tensor.shape }
  public var patches: Int { geometry.rows * geometry.columns }

  /// Images of one size as one input: [B, 3, H, W].
  public static func batch(_ images: [PreparedImage]) -> Tensor {
    precondition(!images.isEmpty && images.allSatisfy { $0.shape == images[0].shape })
    if images.count == 1 { return images[0].tensor }
    let shape = images[0].shape
    return Tensor(images.flatMap { $0.tensor.floats() }, shape: Shape([images.count] + shape.dims.dropFirst()))
  }
}

/// A reason why an input was left out, as a value.
public struct UnreadableInput: Error, Sendable, Equatable {
  public var message: String
}

/// Turns photographs into a model's input.
public struct ImagePreparer: Sendable {
  public let preprocessing: Preprocessing
  public let patch: Int
  /// Turn photographs as their EXIF orientation says.
  public var followsOrientation = false
  /// (v/255 - mean)/std for each value of each channel, in single precision as torch computes it: [3 · 256], in the order of the network's channels.
  private let table: [Float]

  public init(_ preprocessing: Preprocessing, patch: Int) throws(DinoError) {
    guard preprocessing.mean.count == 3, preprocessing.std.count == 3 else {
      throw DinoError(.usage, "mean and deviation must have 3 channels for photographs, not \(preprocessing.mean.count)")
    }
    self.preprocessing = preprocessing
    self.patch = patch
    var table: [Float] = []
    for c in 0..<3 {
      for v in 0..<256 { table.append((Float(v) / 255 - Float(preprocessing.mean[c])) / Float(preprocessing.std[c])) }
    }
    self.table = table
  }

  /// Decodes and prepares an input; what goes wrong with it is a value.
  public func prepareOrExplain(_ input: ImageInput) -> Result<PreparedImage, UnreadableInput> {
    do { return .success(try prepare(decode(input))) } catch { return .failure(UnreadableInput(message: error.message)) }
  }

  /// Decodes an input to RGB.
  public func decode(_ input: ImageInput) throws(DinoError) -> Image {
    var options = DecodeOptions()
    options.applyOrientation = followsOrientation
    do {
      switch input.place {
      case .file(let path): return try ImageDecoder.decode(path: path, options: options)
      case .bytes(let bytes): return try ImageDecoder.decode(bytes: bytes, name: input.name, options: options)
      case .member(let storage, let range): return try ImageDecoder.decode(bytes: storage.bytes(range), name: input.name, options: options)
      }
    } catch { throw DinoError(error, path: nil) }
  }

  /// Resizes, crops and normalises.
  public func prepare(_ image: Image) throws(DinoError) -> PreparedImage {
    let g = try geometry(height: image.height, width: image.width)
    let seen = try self.seen(image, g)
    let plane = seen.width * seen.height
    var values = [Float](repeating: 0, count: 3 * plane)
    let swapped = preprocessing.channelOrder == .bgr
    let pixels = seen.pixels, table = self.table, channels = seen.channels
    for c in 0..<3 {
      let from = channels == 1 ? 0 : swapped ? 2 - c : c
      for i in 0..<plane { values[c * plane + i] = table[c * 256 + Int(pixels[i * channels + from])] }
    }
    return PreparedImage(tensor: Tensor(values, shape: [1, 3, seen.height, seen.width]), geometry: g)
  }

  /// The 8-bit pixels that the network sees: resized, cropped, cut to whole patches.
  public func seen(_ image: Image, _ g: PreparedImage.Geometry) throws(DinoError) -> Image {
    let filter = Interpolation(rawValue: preprocessing.interpolation.rawValue) ?? .bicubic
    let height = g.rows * g.patch, width = g.columns * g.patch
    do {
      let x0 = max(0, g.left), y0 = max(0, g.top)
      let x1 = min(g.resizedWidth, g.left + width), y1 = min(g.resizedHeight, g.top + height)
      guard x1 > x0, y1 > y0 else { return Image(width: width, height: height, color: [UInt8](repeating: 0, count: image.channels)) }
      let window = PixelBox(x: x0, y: y0, width: x1 - x0, height: y1 - y0)
      let part = try Resampler.resize(image, width: g.resizedWidth, height: g.resizedHeight, interpolation: filter, window: window)
      if part.width == width && part.height == height { return part }
      return padded(part, width: width, height: height, x: x0 - g.left, y: y0 - g.top)
    } catch { throw DinoError(error, path: nil) }
  }

  /// Black around an image that is smaller than its crop.
  private func padded(_ image: Image, width: Int, height: Int, x: Int, y: Int) -> Image {
    var pixels = [UInt8](repeating: 0, count: width * height * image.channels)
    for row in 0..<image.height {
      let to = ((y + row) * width + x) * image.channels
      pixels.replaceSubrange(to..<to + image.stride, with: image.pixels[row * image.stride..<(row + 1) * image.stride])
    }
    return Image(width: width, height: height, channels: image.channels, pixels: pixels)
  }

  /// Sizes and places for a photograph of this size.
  public func geometry(height: Int, width: Int) throws(DinoError) -> PreparedImage.Geometry {
    var (h, w) = (height, width)
    switch preprocessing.resize {
    case nil: break
    case .exact(let eh, let ew)?: (h, w) = (eh, ew)
    case .shorterSide(let side)?:
      if height <= width { (h, w) = (side, Int(Double(side * width) / Double(height))) } else { (h, w) = (Int(Double(side * height) / Double(width)), side) }
    }
    guard h >= 1, w >= 1, h <= Resampler.maximumSide, w <= Resampler.maximumSide else {
      throw DinoError(.data, "a photograph of \(width)x\(height) cannot be resized to \(w)x\(h)")
    }
    var top = 0, left = 0, seenHeight = h, seenWidth = w
    if let crop = preprocessing.crop {
      (top, left) = (Self.cropStart(h, crop), Self.cropStart(w, crop))
      (seenHeight, seenWidth) = (crop, crop)
    }
    guard seenHeight >= patch, seenWidth >= patch else {
      throw DinoError(.data, "an image of \(seenWidth)x\(seenHeight) is smaller than one patch of \(patch)x\(patch)", hint: "give a larger --image-size")
    }
    return .init(height: height, width: width, resizedHeight: h, resizedWidth: w, top: top, left: left, rows: seenHeight / patch, columns: seenWidth / patch, patch: patch)
  }

  /// torchvision's CenterCrop: half the difference, rounded to even; where the crop is larger, the smaller half of the padding comes first.
  private static func cropStart(_ size: Int, _ crop: Int) -> Int {
    if crop > size { return -((crop - size) / 2) }
    return Int((Double(size - crop) / 2).rounded(.toNearestOrEven))
  }

  /// Patches of every image where that does not depend on its size; nil otherwise.
  public var fixedPatches: Int? {
    if let crop = preprocessing.crop { return (crop / patch) * (crop / patch) }
    if case .exact(let h, let w)? = preprocessing.resize { return (h / patch) * (w / patch) }
    return nil
  }

  /// The settings as one line.
  public var summary: String {
    let resize: String =
      switch preprocessing.resize {
      case nil: "no resize"
      case .shorterSide(let s)?: "shorter side \(s)"
      case .exact(let h, let w)?: "\(h)x\(w)"
      }
    let crop = preprocessing.crop.map { "crop \($0)" } ?? "no crop"
    func list(_ v: [Double]) -> String { v.map { "\($0)" }.joined(separator: ",") }
    return "\(resize) \(preprocessing.interpolation.rawValue), \(crop), mean \(list(preprocessing.mean)), std \(list(preprocessing.std)), \(preprocessing.channelOrder.rawValue)"
      + (followsOrientation ? ", orientation followed" : "")
  }
}
