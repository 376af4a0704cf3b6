// Camera frames: every order of channels, rows with a rest, and sizes that do not fit the bytes.

import DinoImaging
import TestSupport
import Testing

@Suite struct PixelLayoutTests {
  /// The frame of a picture: its pixels in an order of channels, each row followed by `rest` bytes that belong to no pixel (but the last).
  private static func frame(_ image: Image, _ layout: PixelLayout, rest: Int) -> [UInt8] {
    var bytes: [UInt8] = []
    for y in 0..<image.height {
      for x in 0..<image.width {
        let rgb = (0..<3).map { image[x, y, image.channels == 1 ? 0 : $0] }
        switch layout {
        case .grey: bytes.append(rgb[0])
        case .rgb: bytes += rgb
        case .bgr: bytes += rgb.reversed()
        case .rgba: bytes += rgb + [77]
        case .bgra: bytes += rgb.reversed() + [77]
        }
      }
      if y + 1 < image.height { bytes += [UInt8](repeating: 0xEE, count: rest) }
    }
    return bytes
  }

  @Test(arguments: PixelLayout.allCases, [0, 1, 13]) func framesAreThePicture(_ layout: PixelLayout, _ rest: Int) throws {
    var random = SplitMix64(seed: 3)
    for (width, height) in [(1, 1), (7, 5), (1, 9), (16, 1)] {
      let channels = layout == .grey ? 1 : 3
      let image = Image(width: width, height: height, channels: channels, pixels: (0..<width * height * channels).map { _ in UInt8.random(in: 0...255, using: &random) })
      let bytes = Self.frame(image, layout, rest: rest)
      #expect(try Image(width: width, height: height, bytesPerRow: width * layout.bytesPerPixel + rest, layout: layout, bytes: bytes.span) == image)
      if rest == 0 { #expect(try Image(width: width, height: height, layout: layout, bytes: bytes.span) == image) }
    }
  }

  @Test func sizesThatDoNotFitAreRefused() {
    let bytes = [UInt8](repeating: 0, count: 30)
    for (width, height, row) in [(0, 1, nil), (1, 0, nil), (-1, 5, nil), (4, 3, nil), (3, 3, 8), (3, 3, 11), (3, Int.max, nil), (Int.max, 1, nil), (1, 1 << 31, 1 << 40), (3, 3, Int.max)] as [(Int, Int, Int?)] {
      #expect(throws: ImageError.self, "\(width)x\(height) in rows of \(row ?? -1)") { try Image(width: width, height: height, bytesPerRow: row, layout: .rgb, bytes: bytes.span) }
    }
    #expect(throws: Never.self) { try Image(width: 3, height: 3, bytesPerRow: 10, layout: .bgr, bytes: bytes.span) }
  }
}
