// Pictures to PNG files: 8-bit grey, RGB, RGBA, indices of a palette, and 1-bit masks. The same pixels give the same bytes; no time stamps, no metadata.

internal import CImageCodecs

/// Writes PNG.
public enum PNGEncoder {
  /// The file's bytes. `compression` is zlib's 1 (fast) to 9 (small).
  public static func encode(_ image: Image, compression: Int = 6) throws(ImageError) -> [UInt8] {
    try encode(image.pixels, width: image.width, height: image.height, channels: image.channels, bilevel: false, compression: compression)
  }

  /// A mask as a 1-bit file: black outside, white inside.
  public static func encode(_ mask: Mask, compression: Int = 6) throws(ImageError) -> [UInt8] {
    try encode(mask.values, width: mask.width, height: mask.height, channels: 1, bilevel: true, compression: compression)
  }

  /// Writes a file that is seen complete or not at all.
  public static func write(_ image: Image, to path: String, compression: Int = 6) throws(ImageError) {
    try save(try encode(image, compression: compression), to: path)
  }

  /// Writes a mask as a 1-bit file that is seen complete or not at all.
  public static func write(_ mask: Mask, to path: String, compression: Int = 6) throws(ImageError) {
    try save(try encode(mask, compression: compression), to: path)
  }

  /// One channel of indices and their colours (at most 256, RGB) as a palette file.
  public static func encode(indices: Image, palette: [[UInt8]], compression: Int = 6) throws(ImageError) -> [UInt8] {
    guard indices.channels == 1, (1...256).contains(palette.count), palette.allSatisfy({ $0.count == 3 }), indices.pixels.allSatisfy({ Int($0) < palette.count }) else {
      throw .invalidParameter("a palette has 1 to 256 colours of red, green and blue, and one for each index")
    }
    return try encode(indices.pixels, width: indices.width, height: indices.height, channels: 1, bilevel: false, compression: compression, palette: palette.flatMap { $0 })
  }

  /// Writes a palette file that is seen complete or not at all.
  public static func write(indices: Image, palette: [[UInt8]], to path: String, compression: Int = 6) throws(ImageError) {
    try save(try encode(indices: indices, palette: palette, compression: compression), to: path)
  }

  private static func save(_ bytes: [UInt8], to path: String) throws(ImageError) {
    var failure: ImageError?
    unsafe bytes.withUnsafeBytes { raw in
      do throws(ImageError) { try unsafe Files.writeAtomically(raw, to: path) } catch { failure = error }
    }
    if let failure { throw failure }
  }

  private static func encode(_ pixels: [UInt8], width: Int, height: Int, channels: Int, bilevel: Bool, compression: Int,
                             palette: [UInt8] = []) throws(ImageError) -> [UInt8] {
    guard (1...9).contains(compression) else { throw .invalidParameter("a compression level of \(compression) is not 1 to 9") }
    guard width < 1 << 31, height < 1 << 31 else { throw .invalidParameter("a PNG cannot have \(width)x\(height) pixels") }
    var message = [CChar](repeating: 0, count: Int(IC_MESSAGE_SIZE))
    var out: UnsafeMutablePointer<UInt8>?
    var count = 0
    let status = unsafe pixels.withUnsafeBufferPointer { p in
      unsafe palette.withUnsafeBufferPointer { colours in
        unsafe ic_png_encode(p.baseAddress, UInt32(width), UInt32(height), Int32(channels), bilevel ? 1 : 0, colours.baseAddress, Int32(palette.count / 3), Int32(compression), &out, &count,
                             &message)
      }
    }
    guard status == IC_OK, let bytes = unsafe out else { throw .outOfMemory(name: "a PNG of \(width)x\(height)") }
    defer { unsafe ic_free(bytes) }
    return unsafe Array(UnsafeBufferPointer(start: bytes, count: count))
  }
}
