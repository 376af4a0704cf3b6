// From an input to what the network reads: decode, then the model's preprocessing record as a plan of DinoImaging. Where the network's patches are in the
// photograph is kept, so that masks find back. The pixels' arithmetic is DinoImaging's.

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
    /// Corner of what the network sees, in resized pixels; negative where the crop is larger than the image.
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

  /// The same image with its pixels elsewhere.
  public func moved(to tensor: Tensor) -> PreparedImage { PreparedImage(tensor: tensor, geometry: geometry) }

  /// Images of one size as one input: [B, 3, H, W].
  public static func batch(_ images: [PreparedImage]) throws(DinoError) -> Tensor {
    guard let first = images.first else { throw DinoError(.usage, "a batch needs at least one image") }
    if let other = images.first(where: { $0.shape != first.shape }) {
      throw DinoError(.usage, "images of one batch must have one size, not \(first.shape) and \(other.shape)", hint: "run images of different sizes one by one, or prepare them with a crop")
    }
    if images.count == 1 { return first.tensor }
    do { return try Tensor.joined(images.map(\.tensor)) } catch { throw DinoError(error, path: nil) }
  }
}

/// A reason why an input was left out, as a value.
public struct UnreadableInput: Error, Sendable, Equatable {
  public var message: String
  public init(message: String) { self.message = message }

  /// Why `input` cannot be read, without its name, which stands before it wherever this is told.
  public init(_ error: DinoError, of input: ImageInput) {
    message = error.message
    for (start, instead) in [("\(input.name) is ", ""), ("\(input.name) ", ""), ("\(input.name): ", ""), ("cannot read \(input.name): ", "cannot be read: ")]
    where message.hasPrefix(start) {
      message = instead + message.dropFirst(start.count)
      break
    }
    // Then the file's name is another than the one that is told.
    if input.name.unicodeScalars.contains("\u{FFFD}") { message += " (the name is not UTF-8 text; rename it)" }
  }
}

/// Turns photographs into a model's input.
public struct ImagePreparer: Sendable {
  public let preprocessing: Preprocessing
  public let patch: Int
  /// How large a file may be that is decoded.
  public var decoding = DecodeOptions()
  /// Turn photographs as their EXIF orientation says.
  public var followsOrientation: Bool {
    get { decoding.applyOrientation }
    set { decoding.applyOrientation = newValue }
  }
  private let plan: PreprocessingPlan

  public init(_ preprocessing: Preprocessing, patch: Int) throws(DinoError) {
    guard preprocessing.mean.count == 3, preprocessing.std.count == 3 else {
      throw DinoError(.usage, "mean and deviation must have 3 channels for photographs, not \(preprocessing.mean.count)")
    }
    guard let filter = Interpolation(rawValue: preprocessing.interpolation.rawValue) else { throw DinoError(.bug, "no filter \(preprocessing.interpolation)") }
    self.preprocessing = preprocessing
    self.patch = patch
    let resize: PreprocessingPlan.Resize =
      switch preprocessing.resize {
      case nil: .none
      case .shorterSide(let s)?: .shorterSide(s)
      case .exact(let h, let w)?: .exact(height: h, width: w)
      }
    // Statistics are in the order of the network's channels; the plan works in RGB.
    let isSwapped = preprocessing.channelOrder == .bgr
    func inRGB(_ v: [Double]) -> [Float] { (isSwapped ? v.reversed() : v).map { Float($0) } }
    plan = PreprocessingPlan(resize: resize, interpolation: filter, crop: preprocessing.crop, mean: inRGB(preprocessing.mean), standardDeviation: inRGB(preprocessing.std), patchMultiple: patch,
                             floorsCrop: preprocessing.cropRounding == .floor)
  }

  /// Decodes and prepares an input; what goes wrong with it is a value.
  public func prepareOrExplain(_ input: ImageInput) -> Result<PreparedImage, UnreadableInput> {
    do { return .success(try prepare(decode(input))) } catch { return .failure(UnreadableInput(error, of: input)) }
  }

  /// Decodes an input to RGB.
  public func decode(_ input: ImageInput) throws(DinoError) -> Image {
    if let problem = input.problem { throw DinoError(.data, "\(input.name) \(problem)") }
    do {
      switch input.place {
      case .file(let path): return try ImageDecoder.decode(path: path, options: decoding)
      case .bytes(let bytes): return try ImageDecoder.decode(bytes: bytes, name: input.name, options: decoding)
      case .member(let storage, let range):
        guard let bytes = input.bytes(of: storage, range) else { throw DinoError(.io, "\(input.name): the archive was cut short while it was read") }
        return try ImageDecoder.decode(bytes: bytes, name: input.name, options: decoding)
      }
    } catch { throw DinoError(error, path: nil) }
  }

  /// Resizes, crops and normalises.
  public func prepare(_ image: Image) throws(DinoError) -> PreparedImage {
    let g = try geometry(height: image.height, width: image.width)
    try InputMemory.check(images: 1, height: g.resizedHeight, width: g.resizedWidth)
    let tensor: Tensor
    do { tensor = try plan.tensor(image) } catch { throw DinoError(error, path: nil) }
    let shape: Shape = [1, 3, g.rows * patch, g.columns * patch]
    guard preprocessing.channelOrder == .bgr else { return PreparedImage(tensor: tensor.reshaped(shape), geometry: g) }
    let values = tensor.floats(), plane = values.count / 3
    return PreparedImage(tensor: Tensor(Array(values[(2 * plane)...] + values[plane..<2 * plane] + values[..<plane]), shape: shape), geometry: g)
  }

  /// The 8-bit pixels that the network sees: resized, cropped, cut to whole patches.
  public func seen(_ image: Image) throws(DinoError) -> Image {
    do { return try plan.resized(image) } catch { throw DinoError(error, path: nil) }
  }

  /// Sizes and places for a photograph of this size.
  public func geometry(height: Int, width: Int) throws(DinoError) -> PreparedImage.Geometry {
    do {
      let g = try plan.geometry(width: width, height: height)
      return .init(height: height, width: width, resizedHeight: g.resizedHeight, resizedWidth: g.resizedWidth, top: g.visible.y - g.padding.y,
                   left: g.visible.x - g.padding.x, rows: g.outputHeight / patch, columns: g.outputWidth / patch, patch: patch)
    } catch { throw DinoError(error, path: nil) }
  }

  /// Pixels of every image's input where that does not depend on the photograph; nil otherwise.
  public var fixedSize: (height: Int, width: Int)? {
    if let crop = preprocessing.crop { return (crop, crop) }
    if case .exact(let h, let w)? = preprocessing.resize { return (h, w) }
    return nil
  }

  /// Refuses a size that no photograph could be run at, before any is read: smaller than a patch, or too large for the memory there is.
  public func checkSize() throws(DinoError) {
    guard let (height, width) = fixedSize else { return }
    guard height >= patch, width >= patch else {
      throw DinoError(.usage, "images of \(height)x\(width) pixels are smaller than one patch of \(patch)x\(patch)", hint: "give a larger --image-size")
    }
    try InputMemory.check(images: 1, height: height, width: width)
  }

  /// How many images may be held ready at once: `wanted`, fewer where they are large.
  public func inputsInMemory(atMost wanted: Int) -> Int {
    guard let (height, width) = fixedSize else { return wanted }
    return max(1, min(wanted, (1 << 29) / max(1, height * width * InputMemory.bytesPerPixel)))
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
