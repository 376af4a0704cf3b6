// Image files to 8-bit RGB: exactly what Pillow's Image.open(f).convert('RGB') gives. The format is told from the first bytes,
// limits are checked from the header before pixels are allocated. Profiles and gamma are not applied; of several frames, the first.

internal import CImageCodecs
internal import Synchronization

/// What is allowed and wanted when an image is decoded.
public struct DecodeOptions: Sendable, Equatable {
  /// Most pixels that a header may promise. The default is Pillow's.
  public var maximumPixels = 178_956_970
  /// Most bytes of a file.
  public var maximumFileBytes = 1 << 30
  /// Most memory for the pixels and the decoder's own work.
  public var maximumMemory = 4 << 30
  /// Turn the picture upright by its EXIF orientation. Off by default: Pillow, torchvision and the official DINO programs do not.
  /// (TIFF's own orientation tag is always followed, as Pillow does.)
  public var applyOrientation = false

  public init() {}
}

/// A kind of image file.
public enum ImageFormat: String, Sendable, CaseIterable {
  case png = "PNG"
  case jpeg = "JPEG"
  case webp = "WebP"
  case tiff = "TIFF"
  case portableAnymap = "PNM"

  /// The format whose signature these bytes begin with; nil where there is none.
  public init?(signatureOf bytes: some Collection<UInt8>) {
    let head = Array(bytes.prefix(16))
    func starts(_ prefix: [UInt8], at offset: Int = 0) -> Bool { head.dropFirst(offset).starts(with: prefix) }
    if starts([0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A]) {
      self = .png
    } else if starts([0xFF, 0xD8, 0xFF]) {
      self = .jpeg
    } else if starts(Array("RIFF".utf8)) && starts(Array("WEBPVP8".utf8), at: 8) {
      self = .webp
    } else if starts([0x49, 0x49, 0x2A, 0]) || starts([0x4D, 0x4D, 0, 0x2A]) || starts([0x49, 0x49, 0x2B, 0]) || starts([0x4D, 0x4D, 0, 0x2B]) {
      self = .tiff
    } else if head.count > 2, head[0] == 0x50, (0x31...0x36).contains(head[1]), PortableAnymap.isSpace(head[2]) || head[2] == 0x23 {
      self = .portableAnymap
    } else {
      return nil
    }
  }
}

/// Decodes image files.
public enum ImageDecoder {
  private static let clipped = Atomic<Int>(0)

  /// How many pictures of 16-bit grey (or 32-bit) with values of 255 and more this process has decoded: as in Pillow's conversion to RGB, those values are cut off, not scaled.
  public static var clippedPictures: Int { clipped.load(ordering: .relaxed) }

  private static let shortened = Atomic<Int>(0)

  /// Of how many TIFF files with further pages this process has decoded the first, which is all that is read.
  public static var filesWithMorePages: Int { shortened.load(ordering: .relaxed) }

  static func noteClipping(_ image: Image) {
    if image.pixels.contains(255) { clipped.add(1, ordering: .relaxed) }
  }

  /// The picture in a file, as RGB.
  public static func decode(path: String, options: DecodeOptions = .init()) throws(ImageError) -> Image {
    let bytes = try Files.read(path, limit: options.maximumFileBytes)
    return try decode(bytes: bytes, name: path, options: options)
  }

  /// A picture, and what its file says that the pixels do not.
  public struct StoredPicture: Sendable {
    public var image: Image
    /// The colours of an indexed PNG.
    public var palette: [[UInt8]]?
    /// A PNG whose alpha channel, which the pixels have not, is not the same everywhere.
    public var alphaVaries: Bool
    /// Compressed so that levels come back a little different: JPEG, and WebP's lossy kind.
    public var isLossy: Bool
  }

  /// The picture in a file, with what the pixels do not say.
  public static func decodeStored(path: String, options: DecodeOptions = .init()) throws(ImageError) -> StoredPicture {
    let bytes = try Files.read(path, limit: options.maximumFileBytes), format = ImageFormat(signatureOf: bytes)
    let (image, alphaVaries) = try decodeNotingAlpha(bytes, name: path, options: options)
    let isLossy = format == .jpeg || (format == .webp && bytes.dropFirst(12).starts(with: Array("VP8 ".utf8)))
    return StoredPicture(image: image, palette: palette(ofPNG: bytes), alphaVaries: alphaVaries, isLossy: isLossy)
  }

  /// The picture in bytes, as RGB. `name` is what an error calls it.
  public static func decode(bytes: [UInt8], name: String = "the image", options: DecodeOptions = .init()) throws(ImageError) -> Image {
    try decodeNotingAlpha(bytes, name: name, options: options).image
  }

  private static func decodeNotingAlpha(_ bytes: [UInt8], name: String, options: DecodeOptions) throws(ImageError) -> (image: Image, alphaVaries: Bool) {
    if bytes.count > options.maximumFileBytes { throw .fileTooLarge(name: name, bytes: bytes.count, limit: options.maximumFileBytes) }
    guard let format = ImageFormat(signatureOf: bytes) else { throw .unknownFormat(name: name) }
    if format == .portableAnymap { return (try PortableAnymap.decode(bytes, name: name, options: options), false) }
    let info = try readInfo(bytes, format: format, name: name, options: options)
    let (image, alphaVaries) = try readPixels(bytes, format: format, info: info, name: name, options: options)
    if info.is_wide_grey != 0 { noteClipping(image) }
    if info.has_more_pages != 0 { shortened.add(1, ordering: .relaxed) }
    if format == .tiff { return (image.oriented(Int(info.orientation)), alphaVaries) }
    return (options.applyOrientation ? image.oriented(EXIF.orientation(of: bytes, format: format)) : image, alphaVaries)
  }

  /// Width and height of the picture in a file, from the header alone.
  public static func size(path: String, options: DecodeOptions = .init()) throws(ImageError) -> (width: Int, height: Int) {
    try size(bytes: Files.read(path, limit: options.maximumFileBytes), name: path, options: options)
  }

  /// Width and height of the picture that `decode` gives, from the header alone.
  public static func size(bytes: [UInt8], name: String = "the image", options: DecodeOptions = .init()) throws(ImageError) -> (width: Int, height: Int) {
    guard let format = ImageFormat(signatureOf: bytes) else { throw .unknownFormat(name: name) }
    if format == .portableAnymap {
      let header = try PortableAnymap.Header(bytes, name: name)
      return (header.width, header.height)
    }
    let info = try readInfo(bytes, format: format, name: name, options: options)
    let orientation = format == .tiff ? Int(info.orientation) : options.applyOrientation ? EXIF.orientation(of: bytes, format: format) : 1
    // From 5 on columns and rows change places.
    return orientation < 5 ? (Int(info.width), Int(info.height)) : (Int(info.height), Int(info.width))
  }

  /// The colours (RGB) of an indexed PNG; nil for anything else.
  static func palette(ofPNG bytes: [UInt8]) -> [[UInt8]]? {
    guard ImageFormat(signatureOf: bytes) == .png, bytes.count > 25, bytes[25] == 3 else { return nil }
    // Chunks: length, name, data, checksum.
    var at = 8
    while at + 8 <= bytes.count {
      let length = bytes[at..<at + 4].reduce(0) { $0 << 8 | Int($1) }, data = at + 8
      guard length <= bytes.count - data else { return nil }
      if bytes[at + 4..<data].elementsEqual("PLTE".utf8) {
        return (0..<min(length / 3, 256)).map { Array(bytes[data + 3 * $0..<data + 3 * $0 + 3]) }
      }
      at = data + length + 4
    }
    return nil
  }

  /// Throws where a picture of this size and this working memory is not allowed.
  static func check(width: Int, height: Int, workingBytes: Int, name: String, options: DecodeOptions) throws(ImageError) {
    let (pixels, overflow) = width.multipliedReportingOverflow(by: height)
    if overflow || pixels > options.maximumPixels {
      throw .tooManyPixels(name: name, width: width, height: height, limit: options.maximumPixels)
    }
    let (bytes, memoryOverflow) = (pixels.multipliedReportingOverflow(by: 3))
    let (total, sumOverflow) = bytes.addingReportingOverflow(workingBytes)
    if memoryOverflow || sumOverflow || total > options.maximumMemory {
      throw .tooMuchMemory(name: name, bytes: sumOverflow || memoryOverflow ? .max : total, limit: options.maximumMemory)
    }
  }

  private static func readInfo(_ bytes: [UInt8], format: ImageFormat, name: String, options: DecodeOptions) throws(ImageError) -> ic_info {
    var info = ic_info()
    var message = [CChar](repeating: 0, count: Int(IC_MESSAGE_SIZE))
    let status = unsafe bytes.withUnsafeBufferPointer { b in
      switch format {
      case .png: unsafe ic_png_read_info(b.baseAddress, b.count, &info, &message)
      case .jpeg: unsafe ic_jpeg_read_info(b.baseAddress, b.count, &info, &message)
      case .webp: unsafe ic_webp_read_info(b.baseAddress, b.count, &info, &message)
      case .tiff: unsafe ic_tiff_read_info(b.baseAddress, b.count, UInt64(options.maximumMemory), &info, &message)
      case .portableAnymap: IC_UNSUPPORTED
      }
    }
    try throwing(status, message, format: format, name: name, options: options)
    try check(width: Int(info.width), height: Int(info.height), workingBytes: Int(clamping: info.working_bytes), name: name, options: options)
    return info
  }

  private static func readPixels(_ bytes: [UInt8], format: ImageFormat, info: ic_info, name: String, options: DecodeOptions) throws(ImageError) -> (image: Image, alphaVaries: Bool) {
    let width = info.width, height = info.height
    guard width > 0, height > 0 else { throw .corrupt(name: name, format: format.rawValue, detail: "a side has no pixels") }
    let count = Int(width) * Int(height) * 3
    var message = [CChar](repeating: 0, count: Int(IC_MESSAGE_SIZE))
    var status = IC_OK, alphaVaries: CInt = 0
    // Fresh pages cost nothing until the decoder fills them.
    let pixels = unsafe [UInt8](unsafeUninitializedCapacity: count) { out, filled in
      status = unsafe bytes.withUnsafeBufferPointer { b in
        switch format {
        case .png: unsafe ic_png_decode(b.baseAddress, b.count, out.baseAddress, width, height, &alphaVaries, &message)
        case .jpeg: unsafe ic_jpeg_decode(b.baseAddress, b.count, out.baseAddress, width, height, &message)
        case .webp: unsafe ic_webp_decode(b.baseAddress, b.count, out.baseAddress, width, height, &message)
        case .tiff: unsafe ic_tiff_decode(b.baseAddress, b.count, UInt64(options.maximumMemory), out.baseAddress, width, height, &message)
        case .portableAnymap: IC_UNSUPPORTED
        }
      }
      filled = status == IC_OK ? count : 0
    }
    try throwing(status, message, format: format, name: name, options: options)
    return (Image(width: Int(width), height: Int(height), channels: 3, pixels: pixels), alphaVaries != 0)
  }

  private static func throwing(_ status: ic_status, _ message: [CChar], format: ImageFormat, name: String, options: DecodeOptions) throws(ImageError) {
    let text = String(decoding: message.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    switch status {
    case IC_OK: return
    case IC_UNSUPPORTED: throw .unsupported(name: name, format: format.rawValue, detail: text)
    case IC_TOO_LARGE: throw .tooMuchMemory(name: name, bytes: .max, limit: options.maximumMemory)
    case IC_NO_MEMORY: throw .outOfMemory(name: name)
    default: throw .corrupt(name: name, format: format.rawValue, detail: text.isEmpty ? "it cannot be decoded" : text)
    }
  }
}
