// Resizing against Pillow, and what must hold for any size.

import DinoImaging
import TestSupport
import Testing

@testable import DinoImaging

@Suite struct ResamplerTests {
  @Test func equalsPillow() throws {
    let golden = try Golden.json("resize.json", ResizeCases.self)
    let source = golden.source
    #expect(golden.cases.count > 60)
    for c in golden.cases {
      let box = c.box.map { PixelRectangle(x: $0[0], y: $0[1], width: $0[2] - $0[0], height: $0[3] - $0[1]) }
      let filter = try #require(Interpolation(rawValue: c.filter))
      for avx2 in [false, ResamplerTests.hasAVX2] {
        let image = try Resampler.resize(source, width: c.width, height: c.height, interpolation: filter, box: box, avx2: avx2)
        let expected = Image(width: c.width, height: c.height, channels: 3, pixels: [UInt8](c.rgb))
        #expect(image == expected, "\(c.filter) to \(c.width)x\(c.height), box \(String(describing: c.box)), AVX2 \(avx2): \(largestDifference(image, expected))")
      }
    }
  }

  static let hasAVX2 = Resampler.usesAVX2

  @Test(.enabled(if: Fixtures.shared("reference/preprocessing") != nil, "needs the shared golden data"), arguments: ["astronaut", "coffee"])
  func equalsSharedPillow(name: String) throws {
    let folder = try #require(Fixtures.shared("reference/preprocessing/\(name)"))
    let image = try ImageDecoder.decode(path: folder + "/image.png")
    for (file, width, height, filter) in [("bicubic_97x61", 97, 61, Interpolation.bicubic), ("bilinear_300x211", 300, 211, .bilinear), ("lanczos_64x64", 64, 64, .lanczos),
                                          ("box_50x70", 50, 70, .box), ("resize_h112_w80_bilinear", 80, 112, .bilinear)] {
      #expect(try Resampler.resize(image, width: width, height: height, interpolation: filter) == NPY(folder + "/\(file).npy").image, "\(file)")
    }
  }

  @Test func theTwoLoopsAgree() throws {
    var random = SplitMix64(seed: 3)
    for i in 0..<60 {
      let image = noise(Int.random(in: 1...90, using: &random), Int.random(in: 1...90, using: &random), channels: [1, 3, 4][i % 3], seed: UInt64(i))
      let w = Int.random(in: 1...90, using: &random), h = Int.random(in: 1...90, using: &random)
      for filter in Interpolation.allCases {
        let a = try Resampler.resize(image, width: w, height: h, interpolation: filter, avx2: false)
        let b = try Resampler.resize(image, width: w, height: h, interpolation: filter, avx2: Self.hasAVX2)
        #expect(a == b)
      }
    }
  }

  @Test func aWindowIsTheCropOfTheWhole() throws {
    var random = SplitMix64(seed: 4)
    for i in 0..<60 {
      let image = noise(Int.random(in: 1...60, using: &random), Int.random(in: 1...60, using: &random), seed: UInt64(100 + i))
      let w = Int.random(in: 2...60, using: &random), h = Int.random(in: 2...60, using: &random)
      let window = PixelBox(x: Int.random(in: 0..<(w - 1), using: &random), y: Int.random(in: 0..<(h - 1), using: &random), width: 1, height: 1)
      let part = PixelBox(x: window.x, y: window.y, width: w - window.x, height: h - window.y)
      for filter in Interpolation.allCases {
        let whole = try Resampler.resize(image, width: w, height: h, interpolation: filter)
        #expect(try Resampler.resize(image, width: w, height: h, interpolation: filter, window: part) == whole.cropped(to: part))
        #expect(try Resampler.resize(image, width: w, height: h, interpolation: filter, window: window) == whole.cropped(to: window))
      }
    }
  }

  /// Weights are normalised: one colour stays that colour; black and white stay exact.
  @Test func oneColourStays() throws {
    for value in [UInt8(0), 1, 128, 254, 255] {
      for (w, h) in [(1, 1), (7, 5), (33, 70), (200, 3)] {
        for filter in Interpolation.allCases {
          let out = try Resampler.resize(Image(width: 23, height: 31, color: [value, value, value]), width: w, height: h, interpolation: filter)
          #expect(out.pixels.allSatisfy { abs(Int($0) - Int(value)) <= 0 }, "\(filter) \(value)")
        }
      }
    }
  }

  @Test func channelsAreIndependent() throws {
    let image = noise(31, 27, seed: 9)
    let out = try Resampler.resize(image, width: 17, height: 40, interpolation: .lanczos)
    for c in 0..<3 {
      let one = Image(width: 31, height: 27, channels: 1, pixels: stride(from: c, to: image.pixels.count, by: 3).map { image.pixels[$0] })
      let resized = try Resampler.resize(one, width: 17, height: 40, interpolation: .lanczos)
      #expect(resized.pixels == stride(from: c, to: out.pixels.count, by: 3).map { out.pixels[$0] })
    }
  }

  @Test func ownSizeIsACopy() throws {
    let image = noise(20, 15, seed: 1)
    for filter in Interpolation.allCases { #expect(try Resampler.resize(image, width: 20, height: 15, interpolation: filter) == image) }
  }

  /// The order of passes matters where the height shrinks much more than the width; elsewhere the two settings agree.
  @Test func passOrderIsPillow13s() throws {
    let image = noise(30, 80, seed: 2)
    let a = try Resampler.resize(image, width: 40, height: 10, interpolation: .bicubic)
    let b = try Resampler.resize(image, width: 40, height: 10, interpolation: .bicubic, order: .horizontalFirst)
    #expect(a != b && a.pixels.count == b.pixels.count)
    #expect(try Resampler.resize(image, width: 15, height: 60, interpolation: .bicubic) == Resampler.resize(image, width: 15, height: 60, interpolation: .bicubic, order: .horizontalFirst))
  }

  @Test func senselessSizesAreRefused() {
    let image = noise(4, 4, seed: 5)
    for (w, h) in [(0, 4), (4, 0), (-1, 4), (1 << 17, 4), (Int.max, Int.max)] {
      #expect(throws: ImageError.self) { try Resampler.resize(image, width: w, height: h, interpolation: .bicubic) }
    }
    for box in [PixelRectangle(x: -1, y: 0, width: 2, height: 2), .init(x: 0, y: 0, width: 5, height: 2), .init(x: .nan, y: 0, width: 1, height: 1), .init(x: 0, y: 0, width: -1, height: 1)] {
      #expect(throws: ImageError.self) { try Resampler.resize(image, width: 2, height: 2, interpolation: .bicubic, box: box) }
    }
    #expect(throws: ImageError.self) { try Resampler.resize(image, width: 2, height: 2, interpolation: .box, window: PixelBox(x: 1, y: 0, width: 2, height: 1)) }
  }
}
