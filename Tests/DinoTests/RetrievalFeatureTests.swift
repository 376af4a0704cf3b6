// Sizes and pixels of thumbnails against Pillow's, and rescaled pixels against torch's bilinear interpolation (Tests/Reference/make_task_fixtures.py).

@testable import Dino
import DinoImaging
import DinoModels
import DinoTensor
import Foundation
import Safetensors
import TestSupport
import Testing

@Suite struct RetrievalFeatureTests {
  static let golden = try! JSONValue.parse(String(contentsOfFile: Fixtures.path("tasks/golden.json"), encoding: .utf8))

  private static func floats(_ json: JSONValue?) -> [Float] { (json?.arrayValue ?? []).compactMap { $0.doubleValue.map { Float($0) } } }

  @Test func thumbnailsHavePillowsSizes() throws {
    let cases = try #require(Self.golden["thumbnail"]?.arrayValue)
    #expect(cases.count == 22)
    for entry in cases {
      let n = entry.arrayValue!.compactMap(\.integerValue)
      let size = ThumbnailPreparer(side: n[0], preprocessing: .imageNet).size(height: n[2], width: n[1])
      #expect(size == (n[4], n[3]), "\(n)")
    }
  }

  @Test func thumbnailsHavePillowsPixels() throws {
    let cases = try #require(Self.golden["thumbnail_pixels"]?.arrayValue)
    #expect(cases.count == 7)
    for entry in cases {
      let width = try #require(entry["width"]?.integerValue), height = try #require(entry["height"]?.integerValue), side = try #require(entry["side"]?.integerValue)
      var pixels: [UInt8] = []
      for y in 0..<height {
        for x in 0..<width {
          let place = x * x * 7 + y * 13 + x * y
          for c in 0..<3 { pixels.append(UInt8((place + 31 * c) % 256)) }
        }
      }
      let image = Image(width: width, height: height, channels: 3, pixels: pixels)
      let found = try ThumbnailPreparer(side: side, preprocessing: .imageNet).thumbnail(image)
      #expect([found.width, found.height] == entry["size"]?.arrayValue?.compactMap(\.integerValue))
      #expect(found.pixels.map { Int($0) } == entry["values"]?.arrayValue?.compactMap(\.integerValue), "\(width)x\(height) in \(side)")
    }
  }

  @Test func rescaledPixelsAreTorchs() throws {
    let json = try #require(Self.golden["rescale"]), pixels = Tensor(Self.floats(json["values"]), shape: [1, 3, json["height"]!.integerValue!, json["width"]!.integerValue!])
    for expected in json["out"]!.arrayValue! {
      let result = DinoModel.rescaled(pixels, by: expected["scale"]!.doubleValue!)
      #expect(result.shape == [1, 3, expected["height"]!.integerValue!, expected["width"]!.integerValue!])
      #expect(maxAbsoluteDifference(result.floats(), Self.floats(expected["values"])) < 1e-5)
    }
  }

  @Test func whatFillsNoPatchIsCut() {
    let pixels = Tensor((0..<3 * 5 * 7).map { Float($0) }, shape: [1, 3, 5, 7])
    let cut = DinoModel.cut(pixels, patch: 2)
    #expect(cut?.shape == [1, 3, 4, 6] && cut.map { Array($0.floats()[6..<12]) } == [7, 8, 9, 10, 11, 12])
    #expect(DinoModel.cut(pixels, patch: 8) == nil)
  }
}
