// PBM, PGM and PPM (P1 to P6), 8 and 16 bit, in plain Swift, with Pillow's values: wide grey keeps 16 bits and is then clipped at 255,
// everything else is scaled to 255 and rounded to nearest even. PAM, PFM and several pictures in one file are not read.

internal import CImageCodecs

enum PortableAnymap {
  static func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || (0x09...0x0D).contains(byte) }

  /// The words before the pixels.
  struct Header {
    /// 1...6, the digit of the signature.
    let kind: Int
    let width: Int
    let height: Int
    /// 1 for bitmaps, else 1...65535.
    let maximum: Int
    /// Offset of the first byte of pixels.
    let dataStart: Int

    var isPlain: Bool { kind <= 3 }
    var isBitmap: Bool { kind == 1 || kind == 4 }
    var samples: Int { kind == 3 || kind == 6 ? 3 : 1 }
    var isWideGrey: Bool { samples == 1 && maximum > 255 }

    init(_ bytes: [UInt8], name: String) throws(ImageError) {
      var scanner = Scanner(bytes: bytes, position: 2, name: name)
      kind = Int(bytes[1]) - 0x30
      width = try scanner.headerNumber()
      height = try scanner.headerNumber()
      maximum = kind == 1 || kind == 4 ? 1 : try scanner.headerNumber()
      dataStart = scanner.position
      guard width > 0, height > 0 else { throw scanner.damaged("a side has no pixels") }
      guard (1...65535).contains(maximum) else { throw scanner.damaged("the largest value is \(maximum), not 1 to 65535") }
    }
  }

  /// Reads words separated by white space and comments.
  struct Scanner {
    let bytes: [UInt8]
    var position: Int
    let name: String

    func damaged(_ detail: String) -> ImageError { .corrupt(name: name, format: "PNM", detail: detail) }

    mutating func skipComment() {
      while position < bytes.count, bytes[position] != 0x0A, bytes[position] != 0x0D { position += 1 }
    }

    /// A header's number: ends with one white space, which is consumed.
    mutating func headerNumber() throws(ImageError) -> Int {
      var value = 0, digits = 0
      while position < bytes.count {
        let byte = bytes[position]
        position += 1
        if byte == 0x23 {
          skipComment()
          position = min(position + 1, bytes.count)
        } else if PortableAnymap.isSpace(byte) {
          if digits > 0 { return value }
        } else if (0x30...0x39).contains(byte), digits < 10 {
          value = value * 10 + Int(byte - 0x30)
          digits += 1
        } else {
          throw damaged("the header holds something other than numbers")
        }
      }
      if digits > 0 { return value }
      throw damaged("the file ends inside its header")
    }

    /// The next number of a plain file, or nil at the end.
    mutating func plainNumber() throws(ImageError) -> Int? {
      var value = 0, digits = 0
      while position < bytes.count {
        let byte = bytes[position]
        if byte == 0x23 {
          skipComment()
        } else if PortableAnymap.isSpace(byte) {
          position += 1
          if digits > 0 { return value }
        } else if (0x30...0x39).contains(byte), digits < 10 {
          value = value * 10 + Int(byte - 0x30)
          digits += 1
          position += 1
        } else {
          throw damaged("the pixels hold something other than numbers")
        }
      }
      return digits > 0 ? value : nil
    }

    /// The next 0 or 1 of a plain bitmap; digits need no space between them.
    mutating func plainBit() throws(ImageError) -> Int? {
      while position < bytes.count {
        let byte = bytes[position]
        if byte == 0x23 {
          skipComment()
          continue
        }
        position += 1
        if byte == 0x30 || byte == 0x31 { return Int(byte - 0x30) }
        if !PortableAnymap.isSpace(byte) { throw damaged("the pixels hold something other than 0 and 1") }
      }
      return nil
    }
  }

  static func decode(_ bytes: [UInt8], name: String, options: DecodeOptions) throws(ImageError) -> Image {
    let header = try Header(bytes, name: name)
    try ImageDecoder.check(width: header.width, height: header.height, workingBytes: 0, name: name, options: options)
    let pixels = header.width * header.height
    let smallest = try smallestFile(header, pixels)
    guard bytes.count - header.dataStart >= smallest else {
      throw .corrupt(name: name, format: "PNM", detail: "the file is truncated: \(header.width)x\(header.height) pixels need at least \(smallest) bytes, there are \(bytes.count - header.dataStart)")
    }
    let samples = header.isPlain ? try plainSamples(bytes, header, pixels, name) : rawSamples(bytes, header, pixels)
    if header.samples == 3 { return Image(width: header.width, height: header.height, channels: 3, pixels: samples) }
    var rgb = [UInt8](repeating: 0, count: pixels * 3)
    for i in 0..<pixels {
      let v = samples[i]
      rgb[3 * i] = v
      rgb[3 * i + 1] = v
      rgb[3 * i + 2] = v
    }
    return Image(width: header.width, height: header.height, channels: 3, pixels: rgb)
  }

  /// What levels wide grey has before they are cut off, as IC_LEVELS; 0 of other pictures. The pixels were decoded before.
  static func levels(_ bytes: [UInt8], name: String) throws(ImageError) -> CInt {
    let header = try Header(bytes, name: name), pixels = header.width * header.height
    guard header.isWideGrey else { return 0 }
    var found: CInt = 0, scanner = Scanner(bytes: bytes, position: header.dataStart, name: name)
    for i in 0..<pixels {
      let stored = header.isPlain ? try scanner.plainNumber() ?? 0 : Int(bytes[header.dataStart + 2 * i]) << 8 | Int(bytes[header.dataStart + 2 * i + 1])
      found |= ic_level(Int64(wide(min(stored, header.maximum), header)))
    }
    return found
  }

  /// Fewest bytes that can hold the pixels; the counts were limited before.
  private static func smallestFile(_ h: Header, _ pixels: Int) throws(ImageError) -> Int {
    switch h.kind {
    case 1: pixels
    case 2, 3: 2 * pixels * h.samples - 1
    case 4: (h.width + 7) / 8 * h.height
    default: pixels * h.samples * (h.maximum > 255 ? 2 : 1)
    }
  }

  /// What a stored value becomes: index 0...maximum.
  private static func table(_ h: Header) -> [UInt8] {
    (0...h.maximum).map { value in
      if h.isBitmap { return value == 0 ? 255 : 0 }
      // Pillow: mode I, clipped at 255 by the conversion to RGB.
      if h.isWideGrey { return UInt8(min(wide(value, h), 255)) }
      return UInt8((Double(value) / Double(h.maximum) * 255).rounded(.toNearestOrEven))
    }
  }

  /// A value of wide grey scaled to 65535.
  private static func wide(_ value: Int, _ h: Header) -> Double { (Double(value) / Double(h.maximum) * 65535).rounded(.toNearestOrEven) }

  private static func plainSamples(_ bytes: [UInt8], _ h: Header, _ pixels: Int, _ name: String) throws(ImageError) -> [UInt8] {
    let table = table(h)
    let count = pixels * h.samples
    var scanner = Scanner(bytes: bytes, position: h.dataStart, name: name)
    var out: [UInt8] = []
    out.reserveCapacity(count)
    for _ in 0..<count {
      guard let value = h.isBitmap ? try scanner.plainBit() : try scanner.plainNumber() else {
        throw scanner.damaged("the file is truncated: \(count) values are needed, there are \(out.count)")
      }
      guard value <= h.maximum else { throw scanner.damaged("a value of \(value) is larger than the header's \(h.maximum)") }
      out.append(table[value])
    }
    return out
  }

  private static func rawSamples(_ bytes: [UInt8], _ h: Header, _ pixels: Int) -> [UInt8] {
    var out = [UInt8](repeating: 0, count: pixels * h.samples)
    if h.isBitmap {
      let rowBytes = (h.width + 7) / 8
      for y in 0..<h.height {
        for x in 0..<h.width {
          let byte = bytes[h.dataStart + y * rowBytes + x / 8]
          out[y * h.width + x] = byte & (0x80 >> UInt8(x % 8)) == 0 ? 255 : 0
        }
      }
      return out
    }
    let table = table(h)
    for i in 0..<out.count {
      // Values above the maximum count as the maximum, as in Pillow.
      let value = h.maximum > 255 ? Int(bytes[h.dataStart + 2 * i]) << 8 | Int(bytes[h.dataStart + 2 * i + 1]) : Int(bytes[h.dataStart + i])
      out[i] = table[min(value, h.maximum)]
    }
    return out
  }
}
