// The original's augmentation as a whole: crops that torchvision made under main_dino.py's composition, made again from the parameters it drew
// (Tests/Reference/make_augmentation_cases.py). Another order of the same steps gives other pixels.

import DinoImaging
@testable import DinoTraining
import Foundation
import Testing
import TestSupport

private struct Recorded: Decodable {
  struct Crop: Decodable {
    let box: [Int]
    let mirrored: Bool?
    let jitter: [[Entry]]?
    let gray: Bool?
    let blur: Double?
    let solarized: Bool?
    let size: Int
    let rgb: Data
  }
  enum Entry: Decodable {
    case name(String), value(Double)
    init(from decoder: any Decoder) throws {
      let container = try decoder.singleValueContainer()
      if let text = try? container.decode(String.self) { self = .name(text) } else { self = .value(try container.decode(Double.self)) }
    }
  }
  let width: Int
  let height: Int
  let picture: Data
  let crops: [Crop]
}

@Suite struct AugmentationOrderTests {
  private static func recorded() throws -> Recorded {
    try JSONDecoder().decode(Recorded.self, from: Data(contentsOf: URL(fileURLWithPath: Fixtures.path("training/augmentation.json"))))
  }

  private static func parameters(_ c: Recorded.Crop) throws -> CropParameters {
    var p = CropParameters(box: PixelBox(x: c.box[0], y: c.box[1], width: c.box[2], height: c.box[3]))
    p.isMirrored = c.mirrored ?? false
    p.isGray = c.gray ?? false
    p.blurRadius = c.blur.map { Float($0) }
    p.isSolarized = c.solarized ?? false
    p.jitter = try (c.jitter ?? []).map { pair in
      guard pair.count == 2, case .name(let name) = pair[0], case .value(let value) = pair[1] else { throw CocoaError(.coderInvalidValue) }
      switch name {
      case "brightness": return .brightness(Float(value))
      case "contrast": return .contrast(Float(value))
      case "saturation": return .saturation(Float(value))
      default: return .hue(value)
      }
    }
    return p
  }

  private static func difference(_ a: Image, _ b: Image) -> Int { zip(a.pixels, b.pixels).reduce(0) { max($0, abs(Int($1.0) - Int($1.1))) } }

  @Test func cropsEqualTheOriginals() throws {
    let recorded = try Self.recorded(), picture = Image(width: recorded.width, height: recorded.height, channels: 3, pixels: [UInt8](recorded.picture))
    #expect(recorded.crops.count == 56)
    for (i, c) in recorded.crops.enumerated() {
      let found = try Self.parameters(c).crop(of: picture, size: c.size), expected = Image(width: c.size, height: c.size, channels: 3, pixels: [UInt8](c.rgb))
      #expect(Self.difference(found, expected) <= 1, "crop \(i): \(Self.difference(found, expected)) grey levels")
    }
  }

  /// The recorded pictures tell orders apart: jitter in reverse order is not what came out.
  @Test func theOrderOfColourStepsMatters() throws {
    let recorded = try Self.recorded(), picture = Image(width: recorded.width, height: recorded.height, channels: 3, pixels: [UInt8](recorded.picture))
    var told = 0
    for c in recorded.crops where c.jitter != nil {
      var p = try Self.parameters(c)
      p.jitter.reverse()
      if Self.difference(try p.crop(of: picture, size: c.size), Image(width: c.size, height: c.size, channels: 3, pixels: [UInt8](c.rgb))) > 1 { told += 1 }
    }
    #expect(told > 30, "\(told)")
  }

  /// All gray, none gray; what else is drawn stays as it was.
  @Test func grayscaleProbability() throws {
    func drawn(_ probability: Double) -> [CropParameters] {
      var a = MultiCropAugmentation(globalSize: 24, localSize: 16, localCrops: 2), random = Generator(seed: 3)
      a.grayscaleProbability = probability
      return (0..<50).flatMap { _ in a.parameters(width: 52, height: 40, random: &random) }
    }
    let all = drawn(1), none = drawn(0), usual = drawn(0.2)
    #expect(all.allSatisfy(\.isGray) && !none.contains(where: \.isGray) && usual.contains(where: \.isGray) && !usual.allSatisfy(\.isGray))
    for (p, q) in zip(all, none) { #expect(p.box == q.box && p.isMirrored == q.isMirrored && p.blurRadius == q.blurRadius && p.isSolarized == q.isSolarized) }
  }

  /// Negatives are as frequent as asked for and are the picture turned around; where none are asked for, what is drawn stays as it was. Blur keeps to its range.
  @Test func negativesAndBlur() throws {
    func drawn(_ probability: Double, blur: ClosedRange<Double> = 0.1...2) -> [CropParameters] {
      var a = MultiCropAugmentation(globalSize: 24, localSize: 16, localCrops: 2), random = Generator(seed: 3)
      a.negativeProbability = probability
      a.blurRadius = blur
      return (0..<500).flatMap { _ in a.parameters(width: 52, height: 40, random: &random) }
    }
    let half = drawn(0.5), share = Double(half.count(where: \.isNegative)) / Double(half.count)
    #expect(abs(share - 0.5) < 0.04 && !drawn(0).contains(where: \.isNegative) && drawn(1).allSatisfy(\.isNegative))
    let little = drawn(0, blur: 0.02...0.4), usual = drawn(0)
    #expect(little.allSatisfy { ($0.blurRadius ?? 0.1) <= 0.4 } && usual.contains { ($0.blurRadius ?? 0) > 1.5 })
    for (p, q) in zip(little, usual) { #expect(p.box == q.box && p.isSolarized == q.isSolarized && (p.blurRadius == nil) == (q.blurRadius == nil)) }
    let row: [UInt8] = [0, 100, 255, 127, 128, 1], picture = Image(width: 2, height: 2, channels: 3, pixels: row + row)
    var p = CropParameters(box: PixelBox(x: 0, y: 0, width: 2, height: 2))
    p.isNegative = true
    #expect(try p.crop(of: picture, size: 2).pixels == picture.pixels.map { 255 - $0 })
  }

  /// What is drawn is in the original's ranges, and of its probabilities.
  @Test func drawnParametersAreTheOriginals() throws {
    let a = MultiCropAugmentation(globalSize: 24, localSize: 16, localCrops: 1)
    var random = Generator(seed: 3), drawn: [[CropParameters]] = [[], [], []]
    for _ in 0..<2000 { for (v, p) in a.parameters(width: 52, height: 40, random: &random).enumerated() { drawn[v].append(p) } }
    for (v, blur, solar) in [(0, 1.0, 0.0), (1, 0.1, 0.2), (2, 0.5, 0.0)] {
      func share(_ of: (CropParameters) -> Bool) -> Double { Double(drawn[v].count { of($0) }) / 2000 }
      for (found, wanted) in [(share { $0.isMirrored }, 0.5), (share { !$0.jitter.isEmpty }, 0.8), (share { $0.isGray }, 0.2), (share { $0.blurRadius != nil }, blur), (share { $0.isSolarized }, solar)] {
        #expect(abs(found - wanted) < 0.04, "view \(v): \(found), wanted \(wanted)")
      }
      for p in drawn[v] {
        if let r = p.blurRadius { #expect(r >= 0.1 && r <= 2) }
        #expect(p.jitter.isEmpty || p.jitter.count == 4)
        for step in p.jitter {
          switch step {
          case .brightness(let f), .contrast(let f): #expect(f >= 0.6 && f <= 1.4)
          case .saturation(let f): #expect(f >= 0.8 && f <= 1.2)
          case .hue(let f): #expect(abs(f) <= 0.1)
          }
        }
      }
    }
    // All 24 orders appear.
    let orders = Set(drawn[0].filter { !$0.jitter.isEmpty }.map { p in
      p.jitter.map { step in
        switch step {
        case .brightness: "b"
        case .contrast: "c"
        case .saturation: "s"
        case .hue: "h"
        }
      }.joined()
    })
    #expect(orders.count == 24)
  }
}
