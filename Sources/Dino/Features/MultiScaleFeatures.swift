// The features of the official retrieval and copy-detection evaluations that are more than one forward pass or one token: the mean over three sizes
// (utils.multi_scale), and the class token with the generalised mean of the patches. Photographs keep their shape, as Pillow's thumbnail makes them.

internal import DinoImaging
public import DinoModels
internal import DinoTasks
public import DinoTensor
#if canImport(Glibc)
internal import Glibc
#elseif canImport(Musl)
internal import Musl
#endif

/// Photographs at their own shape: within a square of `side` pixels, never enlarged.
public struct ThumbnailPreparer: Sendable {
  public let side: Int
  public let preprocessing: Preprocessing
  public var followsOrientation = false

  /// Takes mean, deviation and channel order from `preprocessing`; its resize and crop are not used.
  public init(side: Int, preprocessing: Preprocessing) {
    self.side = side
    self.preprocessing = preprocessing
  }

  /// The size that Pillow's `thumbnail((side, side))` gives.
  public func size(height: Int, width: Int) -> (height: Int, width: Int) {
    guard side > 0, height > 0, width > 0, width > side || height > side else { return (height, width) }
    let aspect = Double(width) / Double(height)
    func nearest(_ number: Double, _ distance: (Double) -> Double) -> Int {
      let below = number.rounded(.down), above = number.rounded(.up)
      return max(1, Int(distance(above) < distance(below) ? above : below))
    }
    let s = Double(side)
    if 1 >= aspect { return (side, nearest(s * aspect) { abs(aspect - $0 / s) }) }
    return (nearest(s / aspect) { $0 == 0 ? 0 : abs(aspect - s / $0) }, side)
  }

  /// The normalised pixels of an input: [1, 3, H, W], not cut to whole patches.
  public func prepare(_ input: ImageInput) -> Result<PreparedImage, UnreadableInput> {
    do {
      var record = preprocessing
      record.resize = nil
      record.crop = nil
      var plain = try ImagePreparer(record, patch: 1)
      plain.followsOrientation = followsOrientation
      return .success(try plain.prepare(try thumbnail(plain.decode(input))))
    } catch { return .failure(UnreadableInput(error, of: input)) }
  }

  /// The picture within the square, as Pillow's `thumbnail` with Lanczos' filter makes it of a picture that is decoded.
  func thumbnail(_ image: Image) throws(DinoError) -> Image {
    guard side > 0 else { throw DinoError(.usage, "the side of a thumbnail must be at least 1 pixel, not \(side)") }
    let size = size(height: image.height, width: image.width)
    if size == (image.height, image.width) { return image }
    do { return try image.thumbnail(width: size.width, height: size.height) } catch { throw DinoError(error, path: nil) }
  }
}

extension DinoModel {
  /// The class token of normalised pixels [1, 3, H, W]: at their size, or the mean over sizes 1, 1/√2 and 1/2, as a vector of length 1.
  public func retrievalFeature(_ pixels: Tensor, multiScale: Bool) throws(DinoError) -> [Float] {
    guard Self.isImage(pixels) else { throw DinoError(.usage, "pixels must be numbers of shape [1, 3, height, width], not \(pixels.dtype.rawValue) \(pixels.shape)") }
    guard multiScale else { return try classToken(pixels) }
    var sum = [Float](repeating: 0, count: config.embedDim)
    for scale in [1, 1 / 2.0.squareRoot(), 0.5] {
      let feature = try classToken(scale == 1 ? pixels : Self.rescaled(pixels, by: scale))
      for i in sum.indices { sum[i] += feature[i] / 3 }
    }
    return unitVector(sum).values
  }

  /// Class token and generalised mean of the patches, 2 · D numbers.
  public func copyFeatures(_ images: [PreparedImage]) throws(DinoError) -> [[Float]] {
    if images.isEmpty { return [] }
    guard let tensor = try run([Self.inputName: try PreparedImage.batch(images)], outputs: ["tokens"])["tokens"] else { throw DinoError(.bug, "the network gave no 'tokens'") }
    let values = tensor.floats(), count = values.count / images.count
    guard values.allSatisfy(\.isFinite) else { throw notFinite("tokens") }
    return images.indices.map { CopyFeature.classAndGeM(tokens: Array(values[$0 * count..<($0 + 1) * count]), width: config.embedDim, special: config.specialTokens) }
  }

  /// Whether each of the sizes of these pixels, [1, 3, H, W], has room for a patch.
  public func holdsPatch(_ pixels: Tensor, multiScale: Bool) -> Bool {
    guard Self.isImage(pixels) else { return false }
    let side = min(pixels.shape[2], pixels.shape[3])
    return (multiScale ? side / 2 : side) >= config.patchSize
  }

  private static func isImage(_ pixels: Tensor) -> Bool { pixels.shape.rank == 4 && pixels.shape[0] == 1 && pixels.shape[1] == 3 && pixels.dtype.convertsToFloat }

  private func classToken(_ pixels: Tensor) throws(DinoError) -> [Float] {
    let cut = Self.cut(pixels, patch: config.patchSize)
    guard let cut else {
      throw DinoError(.data, "an image of \(pixels.shape[2])x\(pixels.shape[3]) pixels is smaller than one patch of \(config.patchSize)", hint: "give a larger --image-size, or no --multi-scale")
    }
    guard let cls = try run([Self.inputName: cut], outputs: ["cls"])["cls"]?.floats() else { throw DinoError(.bug, "the network gave no 'cls'") }
    guard cls.allSatisfy(\.isFinite) else { throw notFinite("cls") }
    return cls
  }

  /// Whole patches from the top left corner, as a convolution of that stride reads them; nil where there is none.
  static func cut(_ pixels: Tensor, patch: Int) -> Tensor? {
    let (h, w) = (pixels.shape[2] / patch * patch, pixels.shape[3] / patch * patch)
    guard h > 0, w > 0 else { return nil }
    if h == pixels.shape[2] && w == pixels.shape[3] { return pixels }
    let from = pixels.floats(), (height, width) = (pixels.shape[2], pixels.shape[3])
    var out: [Float] = []
    out.reserveCapacity(3 * h * w)
    for c in 0..<3 { for y in 0..<h { out += from[(c * height + y) * width..<(c * height + y) * width + w] } }
    return Tensor(out, shape: [1, 3, h, w])
  }

  /// torch's `interpolate(scale_factor:, mode: 'bilinear', align_corners: false)`: the size is rounded down, the factor itself decides where is sampled.
  static func rescaled(_ pixels: Tensor, by scale: Double) -> Tensor {
    let (height, width) = (pixels.shape[2], pixels.shape[3])
    let h = max(1, Int(Double(height) * scale)), w = max(1, Int(Double(width) * scale))
    let from = pixels.floats()
    /// Left neighbour, right neighbour, and the weight of the right one.
    func places(_ count: Int, _ size: Int) -> [(Int, Int, Float)] {
      (0..<count).map { i in
        let at = max(0, Float((Double(i) + 0.5) / scale - 0.5)), low = min(Int(at), size - 1)
        return (low, min(low + 1, size - 1), at - Float(low))
      }
    }
    let rows = places(h, height), columns = places(w, width)
    var out: [Float] = []
    out.reserveCapacity(3 * h * w)
    for c in 0..<3 {
      for (top, bottom, v) in rows {
        let a = (c * height + top) * width, b = (c * height + bottom) * width
        for (left, right, u) in columns {
          let upper = (1 - u) * from[a + left] + u * from[a + right], lower = (1 - u) * from[b + left] + u * from[b + right]
          out.append((1 - v) * upper + v * lower)
        }
      }
    }
    return Tensor(out, shape: [1, 3, h, w])
  }
}

func exponential(_ x: Double) -> Double { exp(x) }
