// The one EXIF field that matters here: the orientation of a photograph. Finds the block in JPEG, PNG and WebP; reads nothing else.

internal import CImageCodecs

enum EXIF {
  /// 1...8, the orientation that the file's EXIF block gives; 1 where there is none or it is damaged.
  static func orientation(of bytes: [UInt8], format: ImageFormat) -> Int {
    let block: Range<Int>? = switch format {
    case .jpeg: inJPEG(bytes)
    case .png: inPNG(bytes)
    case .webp: inWebP(bytes)
    case .tiff, .portableAnymap: nil
    }
    guard let block else { return 1 }
    return orientation(inTIFFBlock: bytes[block])
  }

  private static let marker: [UInt8] = [0x45, 0x78, 0x69, 0x66, 0, 0]  // Exif, two zeros

  private static func inJPEG(_ bytes: [UInt8]) -> Range<Int>? {
    var position = 2
    while position + 4 <= bytes.count {
      guard bytes[position] == 0xFF else { return nil }
      let code = bytes[position + 1]
      if code == 0xFF {  // padding
        position += 1
        continue
      }
      if code == 0xDA || code == 0xD9 { return nil }
      let length = Int(bytes[position + 2]) << 8 | Int(bytes[position + 3])
      let end = position + 2 + length
      guard length >= 2, end <= bytes.count else { return nil }
      let start = position + 4
      if code == 0xE1, end - start > 6, bytes[start..<(start + 6)].elementsEqual(marker) { return (start + 6)..<end }
      position = end
    }
    return nil
  }

  private static func inPNG(_ bytes: [UInt8]) -> Range<Int>? {
    var position = 8
    while position + 12 <= bytes.count {
      let length = bytes[position..<(position + 4)].reduce(0) { $0 << 8 | Int($1) }
      let start = position + 8
      guard length <= bytes.count - start - 4 else { return nil }
      if bytes[(position + 4)..<start].elementsEqual("eXIf".utf8) { return start..<(start + length) }
      position = start + length + 4
    }
    return nil
  }

  private static func inWebP(_ bytes: [UInt8]) -> Range<Int>? {
    var offset = 0, length = 0
    unsafe bytes.withUnsafeBufferPointer { b in unsafe ic_webp_exif(b.baseAddress, b.count, &offset, &length) }
    guard length > 0, offset >= 0, length <= bytes.count - offset else { return nil }
    let range = offset..<(offset + length)
    return bytes[range].starts(with: marker) ? (offset + 6)..<(offset + length) : range
  }

  /// Looks for tag 0x0112 in the first directory of a TIFF block.
  private static func orientation(inTIFFBlock block: ArraySlice<UInt8>) -> Int {
    let b = Array(block)
    guard b.count >= 8 else { return 1 }
    let little = b[0] == 0x49
    guard little || b[0] == 0x4D else { return 1 }
    func number(_ at: Int, _ width: Int) -> Int? {
      guard at >= 0, at <= b.count - width else { return nil }
      return (0..<width).reduce(0) { $0 << 8 | Int(b[at + (little ? width - 1 - $1 : $1)]) }
    }
    guard let directory = number(4, 4), let entries = number(directory, 2) else { return 1 }
    for i in 0..<entries {
      let entry = directory + 2 + 12 * i
      guard let tag = number(entry, 2) else { return 1 }
      if tag == 0x0112, let kind = number(entry + 2, 2), let value = number(entry + 8, kind == 4 ? 4 : 2) {
        return (1...8).contains(value) ? value : 1
      }
    }
    return 1
  }
}
