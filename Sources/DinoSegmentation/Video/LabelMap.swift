// Which object each pixel is, and how that is a picture: grey levels, or the colours of DAVIS.

public import Dino
public import DinoImaging

/// Which object each pixel is.
public struct LabelMap: Sendable, Equatable {
  public var width: Int
  public var height: Int
  /// [height · width]; 0 is the background.
  public var values: [UInt8]

  public init(width: Int, height: Int, values: [UInt8]) {
    precondition(values.count == width * height)
    self.width = width
    self.height = height
    self.values = values
  }

  /// The labels other than 0, in order.
  public var labels: [UInt8] {
    var isThere = [Bool](repeating: false, count: 256)
    for value in values { isThere[Int(value)] = true }
    return (1...255).filter { isThere[Int($0)] }
  }

  public func mask(of label: UInt8) -> Mask { Mask(width: width, height: height, values: values.map { $0 == label ? 1 : 0 }) }

  /// At another size, by Pillow's nearest.
  public func resized(width newWidth: Int, height newHeight: Int) throws(DinoError) -> LabelMap {
    if newWidth == width && newHeight == height { return self }
    do {
      let image = try Resampler.resize(Image(width: width, height: height, channels: 1, pixels: values), width: newWidth, height: newHeight, interpolation: .nearest)
      return LabelMap(width: newWidth, height: newHeight, values: image.pixels)
    } catch { throw DinoError(error) }
  }

  /// How labels are written.
  public enum Colours: Sendable, Equatable {
    /// The label is the grey level, as in DAVIS 2016, whose one object is 255.
    case grey
    /// The label is the index of the colour in the palette of PASCAL VOC and DAVIS 2017.
    case palette
  }

  /// The palette of PASCAL VOC and DAVIS 2017: 256 colours, the bits of the index spread over red, green and blue from their highest bit down.
  public static let palette: [[UInt8]] = (0..<256).map { index in
    var colour: [UInt8] = [0, 0, 0]
    for bit in 0..<8 {
      for channel in 0..<3 where (index >> (3 * bit + channel)) & 1 == 1 { colour[channel] |= UInt8(1) << UInt8(7 - bit) }
    }
    return colour
  }

  /// The label of pixels that belong to nothing, where labels are colours or small numbers: PASCAL VOC's outlines.
  public static let void: UInt8 = 255

  /// The labels in a picture file, and how they are written there: in what colours, and whether the file keeps levels only nearly. Of a palette some colours are grey, so that pixels may not tell; an indexed PNG does by its palette.
  /// - Parameters:
  ///   - inColours: other pictures of the same set show that grey pixels are colours too.
  ///   - oneObject: which object a pixel is does not matter: black and one colour that no label has are labels 0 and 1.
  public static func read(_ path: String, inColours: Bool = false, oneObject: Bool = false) throws(DinoError) -> (labels: LabelMap, colours: Colours, isLossy: Bool) {
    let file: ImageDecoder.StoredPicture
    do { file = try ImageDecoder.decodeStored(path: path) } catch { throw DinoError(error) }
    if file.alphaVaries { throw DinoError(.data, "\(path): the object is in the alpha channel, which masks are not read from", hint: "save it as 8-bit grey PNG without transparency: 0 outside, 255 inside") }
    if file.hasCutLevels { throw DinoError(.data, "\(path): the mask is of 16 bits and has labels above 255, the most that a label may be", hint: "renumber the objects 1, 2, … and save it as 8-bit grey PNG") }
    // DAVIS's palette begins as PASCAL VOC's does and goes on in greys.
    if let own = file.palette, own.count > 1, own.prefix(8).elementsEqual(palette.prefix(min(8, own.count))) {
      return (try LabelMap(file.image, name: path, inColours: true, palette: own), .palette, file.isLossy)
    }
    return (try LabelMap(file.image, name: path, inColours: inColours, oneObject: oneObject), inColours || !isGrey(file.image) ? .palette : .grey, file.isLossy)
  }

  /// The labels in a picture that is all grey, unless it is known to be `inColours`, or has no colours but the palette's.
  public init(_ image: Image, name: String, inColours: Bool = false, oneObject: Bool = false, palette: [[UInt8]] = LabelMap.palette) throws(DinoError) {
    let rgb = image.rgb().pixels, count = image.width * image.height
    if !inColours && Self.isGrey(image) {
      self.init(width: image.width, height: image.height, values: (0..<count).map { rgb[3 * $0] })
      return
    }
    // Of several entries of one colour the first counts.
    let indices = Dictionary(palette.enumerated().map { (Self.packed($1[0], $1[1], $1[2]), UInt8($0)) }, uniquingKeysWith: { first, _ in first })
    var values: [UInt8] = []
    values.reserveCapacity(count)
    for i in 0..<count {
      guard let index = indices[Self.packed(rgb[3 * i], rgb[3 * i + 1], rgb[3 * i + 2])] else {
        if inColours && Self.isGrey(image) { throw DinoError(.data, "\(name): masks of one set are all grey or all in colours; this is grey and others are not", hint: "save all as 8-bit grey PNG: 0 outside, 1, 2, … inside") }
        if oneObject, let silhouette = Self.silhouette(rgb) {
          self.init(width: image.width, height: image.height, values: silhouette)
          return
        }
        throw DinoError(.data, "\(name): a mask is grey, a level an object, or has the colours of DAVIS; its pixel \(i % image.width),\(i / image.width) is neither", hint: "save it as 8-bit grey PNG: 0 outside, 1, 2, … or 255 inside")
      }
      values.append(index)
    }
    self.init(width: image.width, height: image.height, values: values)
  }

  /// 0 where a picture is black and 1 where it is not; nil where that is of several colours.
  private static func silhouette(_ rgb: [UInt8]) -> [UInt8]? {
    var values: [UInt8] = [], colour: Int?
    values.reserveCapacity(rgb.count / 3)
    for i in stride(from: 0, to: rgb.count, by: 3) {
      let pixel = packed(rgb[i], rgb[i + 1], rgb[i + 2])
      if pixel != 0 {
        if let colour, colour != pixel { return nil }
        colour = pixel
      }
      values.append(pixel == 0 ? 0 : 1)
    }
    return values
  }

  private static func packed(_ red: UInt8, _ green: UInt8, _ blue: UInt8) -> Int { Int(red) << 16 | Int(green) << 8 | Int(blue) }

  /// Whether every pixel has no colour.
  public static func isGrey(_ image: Image) -> Bool {
    let rgb = image.rgb().pixels
    for i in stride(from: 0, to: rgb.count, by: 3) where rgb[i] != rgb[i + 1] || rgb[i] != rgb[i + 2] { return false }
    return true
  }

  /// A PNG of one byte a pixel, the label: grey, or an index of the palette. Seen complete or not at all.
  public func write(_ colours: Colours, to path: String) throws(DinoError) {
    let image = Image(width: width, height: height, channels: 1, pixels: values)
    do {
      switch colours {
      case .grey: try PNGEncoder.write(image, to: path)
      case .palette: try PNGEncoder.write(indices: image, palette: Self.palette, to: path)
      }
    } catch { throw DinoError(error) }
  }
}
