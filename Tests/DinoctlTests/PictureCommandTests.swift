// dinoctl segment and attention: files, sizes, agreement of masks with the library, boxes and COCO.

import Dino
import DinoImaging
import DinoTensor
import Foundation
import NumPyArrays
import Safetensors
import TestSupport
import Testing

@Suite struct PictureCommandTests {
  static func maps(_ bench: Bench, _ photo: String, height: Int, width: Int) throws -> AttentionMaps {
    let model = try DinoModel(contentsOf: bench.model)
    var changes = PreprocessingChanges()
    changes.size = .exact(height: height, width: width)
    changes.interpolation = "bilinear"
    return try model.attention(model.preparer(changes).prepare(DinoModel.image(at: "\(bench.folder)/\(photo)")))
  }

  @Test func masksAreThoseOfTheLibrary() throws {
    let bench = try Bench()
    defer { bench.remove() }
    try bench.write("photo.ppm", Bench.photograph(seed: 2, width: 70, height: 45))
    let result = try Tool.run(["segment", "--model", bench.model, "--head", "1", "--mass", "0.6", "--no-component", "--size", "model", "--image-size", "48x64", "-o",
                               "\(bench.folder)/out", "\(bench.folder)/photo.ppm"])
    #expect(result.status == 0, "\(result.errors)")
    #expect(try bench.listing("out") == ["coco.json", "photo.json", "photo.png", "photo_overlay.png"])
    let mask = try ImageDecoder.decode(path: "\(bench.folder)/out/photo.png")
    #expect(mask.width == 64 && mask.height == 48)
    let expected = try Self.maps(bench, "photo.ppm", height: 48, width: 64).heads[1].mask(holding: 0.6).pixels(patch: 8)
    #expect(stride(from: 0, to: mask.pixels.count, by: mask.channels).map { mask.pixels[$0] } == expected.values)
  }

  @Test func photographsKeepTheirSize() throws {
    let bench = try Bench()
    defer { bench.remove() }
    try bench.write("a/photo.ppm", Bench.photograph(seed: 2, width: 71, height: 45))
    try bench.write("b/photo.ppm", Bench.photograph(seed: 3, width: 33, height: 90))
    let result = try Tool.run(["segment", "--model", bench.model, "--image-size", "64x64", "-o", "\(bench.folder)/out", "\(bench.folder)/a", "\(bench.folder)/b", "--json"])
    #expect(result.status == 0, "\(result.errors)")
    for (name, width, height) in [("photo", 71, 45), ("photo-2", 33, 90)] {
      for file in ["\(name).png", "\(name)_overlay.png"] {
        let image = try ImageDecoder.decode(path: "\(bench.folder)/out/\(file)")
        #expect(image.width == width && image.height == height, "\(file)")
      }
      let mask = try ImageDecoder.decode(path: "\(bench.folder)/out/\(name).png")
      let on = stride(from: 0, to: mask.pixels.count, by: mask.channels).map { mask.pixels[$0] }
      #expect(Set(on).isSubset(of: [0, 255]))
      let report = try JSONValue.parse(String(decoding: bench.bytes("out/\(name).json"), as: UTF8.self))
      #expect(report["area"]?.integerValue == on.count { $0 > 0 })
      // One connected part, so one box, and it is the mask's.
      let boxes = try #require(report["boxes"]?.arrayValue)
      #expect(boxes.count == 1)
      var pixels = PixelMask(height: height, width: width)
      pixels.values = on
      let box = try #require(pixels.box)
      #expect(boxes[0].arrayValue?.compactMap(\.integerValue) == [box.x, box.y, box.width, box.height])
    }
    let coco = try JSONValue.parse(String(decoding: bench.bytes("out/coco.json"), as: UTF8.self))
    #expect(coco["images"]?.arrayValue?.count == 2 && coco["annotations"]?.arrayValue?.count == 2)
    #expect(try JSONValue.parse(result.output)["images"]?.arrayValue?.count == 2)
  }

  /// Folders one after the other: photographs of one name are not each other's results. The same photograph by another path is.
  @Test func resultsOfAnotherPhotographStay() throws {
    let bench = try Bench()
    defer { bench.remove() }
    try bench.write("a/photo.ppm", Bench.photograph(seed: 2, width: 71, height: 45))
    try bench.write("b/photo.ppm", Bench.photograph(seed: 3, width: 33, height: 90))
    let segment = ["segment", "--model", bench.model, "--image-size", "64x64", "-o", "\(bench.folder)/out"]
    #expect(try Tool.run(segment + ["\(bench.folder)/a"]).status == 0)
    let mask = try bench.bytes("out/photo.png")
    let refused = try Tool.run(segment + ["\(bench.folder)/b"])
    #expect(refused.status == 64 && refused.errors.contains("a/photo.ppm") && refused.errors.contains("b/photo.ppm"), "\(refused.errors)")
    #expect(try bench.bytes("out/photo.png") == mask)
    #expect(try Tool.run(segment + ["\(bench.folder)/a/../a/photo.ppm"]).status == 0)
    // A run that ends early leaves no list of other masks.
    try bench.write("c/broken.ppm", Array("P6 9 9 255\n".utf8))
    #expect(try Tool.run(segment + ["--strict", "\(bench.folder)/c"]).status == 65)
    #expect(try !bench.listing("out").contains("coco.json"))
  }

  /// Boxes of a refined mask are those of its parts, as without --refine; of one that was not moved those of its patches.
  @Test func refinedMasksHaveABoxForEachPart() throws {
    let bench = try Bench()
    defer { bench.remove() }
    for seed in 0..<6 { try bench.write("photos/p\(seed).ppm", Bench.photograph(seed: UInt64(seed), width: 70, height: 60)) }
    let segment = ["segment", "--model", bench.model, "--image-size", "64x64", "--head", "0", "--no-component", "--json", "\(bench.folder)/photos", "-o", "\(bench.folder)/out"]
    func reports(_ more: [String]) throws -> [JSONValue] { try JSONValue.parse(Tool.run(segment + more).output)["images"]?.arrayValue ?? [] }
    let plain = try reports([]), refined = try reports(["--refine", "bilateral"])
    #expect(plain.count == 6 && refined.count == 6)
    for (i, (before, after)) in zip(plain, refined).enumerated() {
      let boxes = after["boxes"]?.arrayValue ?? []
      if after["refined"]?.boolValue == false {
        #expect(before["boxes"]?.arrayValue == boxes, "p\(i)")
        continue
      }
      let mask = try ImageDecoder.decode(path: "\(bench.folder)/out/p\(i).png")
      let parts = Mask(width: mask.width, height: mask.height, values: stride(from: 0, to: mask.pixels.count, by: mask.channels).map { mask.pixels[$0] })
      #expect(boxes.count == parts.components().areas.count, "p\(i)")
      let found = Set(boxes.map { $0.arrayValue?.compactMap(\.integerValue) ?? [] })
      #expect(found == Set(parts.componentBoxes().map { [$0.x, $0.y, $0.width, $0.height] }), "p\(i)")
    }
    #expect(plain.contains { ($0["boxes"]?.arrayValue?.count ?? 0) > 1 })
  }

  @Test func corruptPhotographsAreNamedAndSkipped() throws {
    let bench = try Bench()
    defer { bench.remove() }
    try bench.photographs("photos", count: 3)
    try bench.write("photos/001.ppm", [9])
    for command in [["segment", "-o", "\(bench.folder)/s"], ["attention", "--output-dir", "\(bench.folder)/a"]] {
      let result = try Tool.run(command + ["--model", bench.model, "--image-size", "32x32", "\(bench.folder)/photos"])
      #expect(result.status == 1 && result.errors.contains("001.ppm"), "\(result.errors)")
    }
    #expect(!bench.exists("s/001.png") && bench.exists("s/000.png") && bench.exists("a/002/attention.npy") && !bench.exists("a/001"))
  }

  @Test func attentionIsAsTheNetworkGivesIt() throws {
    let bench = try Bench()
    defer { bench.remove() }
    try bench.write("photo.ppm", Bench.photograph(seed: 4, width: 60, height: 60))
    let result = try Tool.run(["attention", "--model", bench.model, "--mass", "0.6", "--output-dir", "\(bench.folder)/out", "\(bench.folder)/photo.ppm"])
    #expect(result.status == 0, "\(result.errors)")
    #expect(try bench.listing("out") == ["attention.npy", "attn-head0.png", "attn-head1.png", "attn-head2.png", "attn-mean.png", "mask-head0.png", "mask-head1.png", "mask-head2.png"])
    // 480 × 480 by default, in patches of 8.
    let values = try NumPyArray.read(path: "\(bench.folder)/out/attention.npy")
    #expect(values.shape == [3, 60, 60])
    let maps = try Self.maps(bench, "photo.ppm", height: 480, width: 480)
    #expect(maxAbsoluteDifference(values.floats(), maps.heads.flatMap(\.values)) < 1e-7)
    let heat = try ImageDecoder.decode(path: "\(bench.folder)/out/attn-head0.png")
    #expect(heat.width == 480 && heat.height == 480)
    // Each patch is one colour.
    #expect((0..<3).allSatisfy { heat[0, 0, $0] == heat[7, 7, $0] })
  }

  @Test func decodingIsTimedWithoutAModel() throws {
    let bench = try Bench()
    defer { bench.remove() }
    try bench.photographs("photos", count: 3)
    let timed = try Tool.run(["bench", "--decode", "\(bench.folder)/photos", "--threads", "2", "--repeat", "2", "--json"])
    #expect(timed.status == 0, "\(timed.errors)")
    let report = try JSONValue.parse(timed.output)
    #expect(report["photographs"]?.integerValue == 3 && (report["milliseconds_per_image"]?.doubleValue ?? 0) > 0 && report["preprocessing"]?.stringValue?.contains("crop 224") == true)
    let small = try Tool.run(["bench", "--decode", "\(bench.folder)/photos", "--image-size", "64", "--repeat", "1"])
    #expect(small.status == 0 && small.output.contains("crop 64"), "\(small.output) \(small.errors)")
    try bench.write("photos/001.ppm", [9])
    let skipped = try Tool.run(["bench", "--decode", "\(bench.folder)/photos", "--repeat", "2"])
    #expect(skipped.status == 1 && skipped.errors.contains("001.ppm") && skipped.output.contains("2 photographs"))
    #expect(try Tool.run(["bench", "--decode", bench.folder, "--train"]).status == 64)
  }
}
