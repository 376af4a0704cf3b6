// Every kind of file against what Pillow makes of it, byte for byte.

import DinoImaging
import Foundation
import TestSupport
import Testing

@Suite struct DecoderTests {
  @Test func everyFixtureEqualsPillow() throws {
    let cases = try Golden.decodeCases()
    #expect(cases.count > 90)
    for (name, expected) in cases.sorted(by: { $0.key < $1.key }) {
      let image = try ImageDecoder.decode(path: Fixtures.path(Golden.folder + "decode/" + name))
      #expect(image == expected.image, "\(name): differs by \(largestDifference(image, expected.image)) grey levels")
      #expect(try ImageDecoder.size(path: Fixtures.path(Golden.folder + "decode/" + name)) == (expected.width, expected.height), "\(name)")
    }
  }

  @Test func orientationIsFollowedOnlyOnRequest() throws {
    var options = DecodeOptions()
    options.applyOrientation = true
    let cases = try Golden.decodeCases().filter { $0.value.upright != nil }
    #expect(cases.count == 10)
    for (name, expected) in cases {
      let bytes = try Golden.bytes(name)
      #expect(try ImageDecoder.decode(bytes: bytes, options: options) == expected.upright!.image, "\(name)")
      #expect(try ImageDecoder.size(bytes: bytes, options: options) == (expected.upright!.width, expected.upright!.height), "\(name)")
      #expect(try ImageDecoder.decode(bytes: bytes) == expected.image, "\(name)")
    }
  }

  @Test func formatIsToldFromBytesNotNames() throws {
    for (file, format) in [("png_rgb8.png", ImageFormat.png), ("jpeg_420.jpg", .jpeg), ("webp_lossy.webp", .webp), ("tiff_grey.tif", .tiff), ("pnm_p5.pgm", .portableAnymap)] {
      #expect(ImageFormat(signatureOf: try Golden.bytes(file)) == format)
    }
    let folder = try Fixtures.temporaryFolder()
    defer { try? FileManager.default.removeItem(at: folder) }
    let misnamed = folder.appendingPathComponent("picture.png")
    try Data(Golden.bytes("jpeg_420.jpg")).write(to: misnamed)
    #expect(try ImageDecoder.decode(path: misnamed.path) == Golden.decodeCases()["jpeg_420.jpg"]!.image)
    #expect(ImageFormat(signatureOf: Array("GIF89a".utf8)) == nil)
    #expect(ImageFormat(signatureOf: []) == nil)
  }

  @Test(.enabled(if: Fixtures.shared("images/decoder_cases") != nil, "needs the shared decoder cases"))
  func sharedTruncatedPhotographFails() throws {
    let path = try #require(Fixtures.shared("images/decoder_cases/truncated.jpg"))
    #expect { try ImageDecoder.decode(path: path) } throws: { error in
      if case ImageError.corrupt(path, "JPEG", _) = error { true } else { false }
    }
    for name in ["palette_color.png", "palette_gray.png", "chessboard_GRAY.png", "checker_bilevel.png", "foo3x5x4indexed.png", "logo.png"] {
      let image = try ImageDecoder.decode(path: try #require(Fixtures.shared("images/decoder_cases/" + name)))
      #expect(image.channels == 3)
    }
  }

  /// scikit-image documents this picture: a palette of four colours over 3 rows of 5.
  @Test(.enabled(if: Fixtures.shared("images/decoder_cases") != nil, "needs the shared decoder cases"))
  func sharedGreyAndBilevelAreGrey() throws {
    for name in ["chessboard_GRAY.png", "checker_bilevel.png", "palette_gray.png"] {
      let image = try ImageDecoder.decode(path: try #require(Fixtures.shared("images/decoder_cases/" + name)))
      #expect(image.grey().rgb() == image, "\(name)")
    }
  }
}
