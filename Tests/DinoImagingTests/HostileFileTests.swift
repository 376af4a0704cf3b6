// Damaged, truncated and lying files: a sentence, never a crash, never a large allocation.

import DinoImaging
import Foundation
import TestSupport
import Testing

@Suite struct HostileFileTests {
  /// The smallest fixtures of each kind; truncation at every byte, or at many.
  static let names = ["png_rgb8.png", "png_palette4_interlaced.png", "png_grey16.png", "jpeg_420.jpg", "jpeg_progressive.jpg", "jpeg_cmyk.jpg", "webp_lossy.webp",
                      "webp_lossless.webp", "webp_alpha_lossy.webp", "webp_animated.webp", "tiff_tiles.tif", "tiff_planes.tif", "tiff_rgb_tiff_lzw.tif",
                      "tiff_jpeg.tif", "pnm_p1.pbm", "pnm_p3.ppm", "pnm_p4.pbm", "pnm_p5.pgm", "pnm_p6_wide.ppm"]

  /// A cut file throws an `ImageError`, or, where only bytes after the last pixel are missing, gives the whole picture. Where Pillow
  /// pads what is missing we do not.
  @Test(arguments: names) func truncation(name: String) throws {
    let bytes = try Golden.bytes(name)
    let whole = try ImageDecoder.decode(bytes: bytes)
    let step = max(1, bytes.count / 400)
    var failures = 0
    for length in stride(from: 0, to: bytes.count, by: step) {
      do {
        let image = try ImageDecoder.decode(bytes: Array(bytes[..<length]))
        #expect(image == whole, "\(name) cut to \(length) of \(bytes.count) bytes gave another picture")
      } catch {
        #expect(!error.description.isEmpty)
        failures += 1
      }
    }
    #expect(failures > 10)
  }

  /// A TIFF file of 8-bit grey in one strip of `rows` rows that calls itself `height` high.
  private static func tiff(height: UInt32, rows: UInt32) -> [UInt8] {
    func little(_ v: UInt32, _ count: Int = 4) -> [UInt8] { (0..<count).map { UInt8(truncatingIfNeeded: v >> UInt32(8 * $0)) } }
    let width: UInt32 = 8, entries: [(UInt32, UInt32)] = [(256, width), (257, height), (258, 8), (259, 1), (262, 1), (273, 8 + 2 + 9 * 12 + 4), (277, 1), (278, rows), (279, width * rows)]
    let directory = little(UInt32(entries.count), 2) + entries.flatMap { little($0.0, 2) + little(4, 2) + little(1) + little($0.1) } + little(0)
    return [0x49, 0x49, 42, 0] + little(8) + directory + (0..<width * rows).map { UInt8(truncatingIfNeeded: $0) }
  }

  /// What libtiff makes up for strips that are not there, and for rows that a fax decoder gave up on, is no picture.
  @Test func madeUpPixelsOfTIFFAreRefused() throws {
    #expect(try ImageDecoder.decode(bytes: Self.tiff(height: 5, rows: 5)).height == 5)
    for height: UInt32 in [6, 11, 1000] {
      let error = #expect(throws: ImageError.self) { try ImageDecoder.decode(bytes: Self.tiff(height: height, rows: 5)) }
      #expect(error?.description.contains("strips or tiles are missing") == true, "height \(height)")
    }
    let fax = try Golden.bytes("tiff_bilevel_g4.tif")
    _ = try ImageDecoder.decode(bytes: fax)
    var wrong = fax
    for i in fax.count / 3..<fax.count / 2 { wrong[i] = 0 }
    #expect(throws: ImageError.self) { try ImageDecoder.decode(bytes: wrong) }
  }

  /// Half of each file is never enough.
  @Test(arguments: names) func halfAFileFails(name: String) throws {
    let bytes = try Golden.bytes(name)
    if name == "webp_animated.webp" { return }  // its first frame may be whole
    #expect(throws: ImageError.self) { try ImageDecoder.decode(bytes: Array(bytes[..<(bytes.count / 2)])) }
  }

  /// Random damage: anything but a crash; a picture that comes out has the size its header says.
  @Test(arguments: names) func randomDamage(name: String) throws {
    let bytes = try Golden.bytes(name)
    var random = SplitMix64(seed: 42)
    var options = DecodeOptions()
    options.maximumPixels = 1 << 20
    options.maximumMemory = 64 << 20
    for _ in 0..<300 {
      var damaged = bytes
      for _ in 0..<Int.random(in: 1...4, using: &random) {
        damaged[Int.random(in: 0..<damaged.count, using: &random)] = UInt8(truncatingIfNeeded: random.next())
      }
      guard let image = try? ImageDecoder.decode(bytes: damaged, options: options) else { continue }
      #expect(image.pixels.count == image.width * image.height * 3 && image.width * image.height <= options.maximumPixels)
    }
  }

  private func isRefused(_ bytes: [UInt8], _ options: DecodeOptions = .init()) -> ImageError? {
    do {
      _ = try ImageDecoder.decode(bytes: bytes, options: options)
      return nil
    } catch {
      return error
    }
  }

  @Test func enormousPNGIsRefusedByItsHeader() throws {
    var bytes = try Golden.bytes("png_rgb8.png")
    // IHDR: width and height at 16, the checksum over 12..<29 at 29.
    bytes.replaceSubrange(16..<24, with: [0x7F, 0xFF, 0xFF, 0xFF, 0x7F, 0xFF, 0xFF, 0xFF])
    let sum = crc32(Array(bytes[12..<29]))
    bytes.replaceSubrange(29..<33, with: (0..<4).map { UInt8(truncatingIfNeeded: sum >> UInt32(24 - 8 * $0)) })
    let error = try #require(isRefused(bytes))
    switch error {
    case .tooManyPixels(_, 0x7FFF_FFFF, 0x7FFF_FFFF, _), .corrupt: break
    default: Issue.record("\(error)")
    }
  }

  @Test func shortPNGCannotHoldALargePicture() throws {
    var bytes = try Golden.bytes("png_rgb8.png")
    bytes.replaceSubrange(16..<24, with: [0, 0, 0x20, 0, 0, 0, 0x20, 0])  // 8192 x 8192 in a few hundred bytes
    let sum = crc32(Array(bytes[12..<29]))
    bytes.replaceSubrange(29..<33, with: (0..<4).map { UInt8(truncatingIfNeeded: sum >> UInt32(24 - 8 * $0)) })
    guard case .corrupt(_, "PNG", let detail) = try #require(isRefused(bytes)) else { return #expect(Bool(false)) }
    #expect(detail.contains("too short"))
  }

  @Test func enormousJPEGIsRefusedByItsHeader() throws {
    var bytes = try Golden.bytes("jpeg_420.jpg")
    let frame = try #require((0..<(bytes.count - 9)).first { bytes[$0] == 0xFF && bytes[$0 + 1] == 0xC0 })
    bytes.replaceSubrange((frame + 5)..<(frame + 9), with: [0xFF, 0xDC, 0xFF, 0xDC])  // 65500 each, libjpeg's largest
    #expect(isRefused(bytes) == .tooManyPixels(name: "the image", width: 65500, height: 65500, limit: 178_956_970))
  }

  @Test func enormousTIFFAndPNMAreRefusedByTheirHeaders() throws {
    var tiff = try Golden.bytes("tiff_extra.tif")
    let directory = Int(tiff[4]) | Int(tiff[5]) << 8
    for entry in 0..<2 {  // width and length come first
      let at = directory + 2 + 12 * entry + 8
      tiff.replaceSubrange(at..<(at + 4), with: [0xFF, 0xFF, 0, 0])
    }
    #expect(isRefused(tiff) != nil)
    #expect(isRefused(Array("P6\n2147483647 2147483647\n255\n".utf8)) == .tooManyPixels(name: "the image", width: 2147483647, height: 2147483647, limit: 178_956_970))
    #expect(isRefused(Array("P6\n9999999999 9999999999\n255\n".utf8)) != nil)
    #expect(isRefused(Array("P1\n99999999999 1\n".utf8)) != nil)
  }

  @Test func limitsAreTheCallers() throws {
    let bytes = try Golden.bytes("webp_lossless.webp")
    var options = DecodeOptions()
    options.maximumPixels = 37 * 29
    #expect(isRefused(bytes, options) == nil)
    options.maximumPixels -= 1
    #expect(isRefused(bytes, options) == .tooManyPixels(name: "the image", width: 37, height: 29, limit: 37 * 29 - 1))
    options = DecodeOptions()
    options.maximumFileBytes = bytes.count - 1
    #expect(isRefused(bytes, options) == .fileTooLarge(name: "the image", bytes: bytes.count, limit: bytes.count - 1))
    options = DecodeOptions()
    options.maximumMemory = 37 * 29 * 3
    guard case .tooMuchMemory = try #require(isRefused(bytes, options)) else { return #expect(Bool(false)) }
  }

  @Test func missingFilesAndFoldersAreNamed() {
    #expect(throws: ImageError.cannotRead(path: "/no/such/file.png", code: 2)) { try ImageDecoder.decode(path: "/no/such/file.png") }
    #expect { try ImageDecoder.decode(path: "/") } throws: { "\($0)".contains("directory") }
    #expect(isRefused([]) == .unknownFormat(name: "the image"))
    #expect(isRefused(Array("GIF89a not read here".utf8)) == .unknownFormat(name: "the image"))
  }

  @Test func badPNMWordsAreRefused() {
    for text in ["P2\n2 2\n255\n1 2 3 256", "P2\n2 2\n0\n1 2 3 4", "P2\n2 2\n70000\n1 2 3 4", "P2\n2 x\n255\n", "P2\n2 2\n255\n1 2 -3 4", "P1\n2 2\n0102", "P5\n0 2\n255\n",
                 "P3\n1 1\n255\n1 2", "P2", "P2 ", "P2\n#", "P5\n1"] {
      #expect(isRefused(Array(text.utf8)) != nil, "\(text)")
    }
  }
}

private func crc32(_ bytes: [UInt8]) -> UInt32 {
  var crc: UInt32 = .max
  for byte in bytes {
    crc ^= UInt32(byte)
    for _ in 0..<8 { crc = crc & 1 != 0 ? crc >> 1 ^ 0xEDB8_8320 : crc >> 1 }
  }
  return ~crc
}
