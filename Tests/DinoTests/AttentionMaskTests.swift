// Masks from attention maps against the steps of the official visualize_attention.py (fixtures by Tests/Reference/make_attention_masks.py),
// and the geometry of masks on made-up grids.

import Dino
import DinoTensor
import Foundation
import NumPyArrays
import Safetensors
import TestSupport
import Testing

@Suite struct AttentionMaskTests {
  /// The three maps of the fixture: 9 × 14 patches.
  static func maps() throws -> [PatchMap] {
    let t = try NumPyArray.read(path: Fixtures.path("dino/attention_masks/attention.npy"))
    let values = t.floats(), n = 9 * 14
    return (0..<3).map { PatchMap(rows: 9, columns: 14, values: Array(values[$0 * n..<($0 + 1) * n])) }
  }

  static func mask(_ mass: Double) throws -> [[Bool]] {
    let values = try NumPyArray.read(path: Fixtures.path("dino/attention_masks/mask_\(mass).npy")).floats()
    let n = 36 * 56
    return (0..<3).map { h in values[h * n..<(h + 1) * n].map { $0 > 0 } }
  }

  @Test(arguments: [0.6, 0.25, 0.95])
  func keepsWhatTheOfficialScriptKeeps(mass: Double) throws {
    let maps = try Self.maps(), expected = try Self.mask(mass)
    for head in [0, 2] {
      let pixels = maps[head].mask(holding: mass).pixels(patch: 4)
      #expect(pixels.height == 36 && pixels.width == 56)
      #expect(pixels.values.map { $0 > 0 } == expected[head], "head \(head)")
    }
    // Head 1 has many equal values, which torch sorts in no fixed order: how many are kept is fixed, which of them is not.
    #expect(maps[1].mask(holding: mass).count * 16 == expected[1].count { $0 })
  }

  @Test func keepsAllOrNothingAtTheEnds() {
    let map = PatchMap(rows: 1, columns: 4, values: [0.1, 0.2, 0.3, 0.4])
    #expect(map.mask(holding: 1).count == 4)
    #expect(map.mask(holding: 0).count == 0)
    #expect(map.mask(holding: 0.5).kept == [false, false, true, true])
    #expect(PatchMap(rows: 1, columns: 2, values: [0, 0]).mask(holding: 0.6).count == 0)
    #expect(PatchMap(rows: 1, columns: 2, values: [.nan, 1]).mask(holding: 0.6).count <= 2)
  }

  @Test func findsComponents() {
    let picture = [
      "##..#",
      ".#..#",
      "#...#",
    ]
    let mask = PatchMask(rows: 3, columns: 5, kept: picture.flatMap { $0.map { $0 == "#" } })
    #expect(mask.components() == [[0, 1, 6], [4, 9, 14], [10]])  // corners do not connect
    var values = [Float](repeating: 0.01, count: 15)
    values[10] = 5
    let strongest = mask.strongestComponent(of: PatchMap(rows: 3, columns: 5, values: values))
    #expect(strongest.kept.indices.filter { strongest.kept[$0] } == [10])
    let empty = PatchMask(rows: 1, columns: 1, kept: [false])
    #expect(empty.strongestComponent(of: PatchMap(rows: 1, columns: 1, values: [1])) == empty)
  }

  @Test func mapsBackToThePhotograph() {
    // A photograph of 6 × 8, resized to 4 × 4 for a model of patch 2: 2 × 2 patches, each 3 × 4 pixels of the photograph.
    let mask = PatchMask(rows: 2, columns: 2, kept: [true, false, false, true])
    let pixels = mask.pixels(height: 6, width: 8, patch: 2, resized: (4, 4))
    for y in 0..<6 { for x in 0..<8 { #expect((pixels.values[y * 8 + x] > 0) == ((y < 3) == (x < 4))) } }
    #expect(pixels.area == 24)
    // What the model cut at the bottom and right, and outside its crop, is 0.
    let cut = PatchMask(rows: 1, columns: 1, kept: [true]).pixels(height: 5, width: 5, patch: 2, resized: (5, 5), crop: (1, 1))
    #expect(cut.box! == (1, 1, 2, 2))
    #expect(cut.area == 4)
  }

  @Test func boxesAndRunLengths() throws {
    var mask = PixelMask(height: 3, width: 4)
    #expect(mask.box == nil)
    #expect(mask.runLengths == [12])
    mask.values[1 * 4 + 2] = 255
    mask.values[2 * 4 + 2] = 255
    #expect(mask.box! == (2, 1, 1, 2))
    #expect(mask.runLengths == [7, 2, 3])
    mask.values[0] = 255
    #expect(mask.runLengths == [0, 1, 6, 2, 3])
  }

  @Test func runLengthsAreThoseOfCOCO() throws {
    let expected = try JSONValue.parse(String(contentsOfFile: Fixtures.path("dino/attention_masks/coco.json"), encoding: .utf8))
    let pixels = try Self.maps()[2].mask(holding: 0.6).pixels(patch: 4)
    #expect(pixels.compressedRunLengths == expected["counts"]?.stringValue)
    #expect(pixels.area == expected["area"]?.integerValue)
    let box = try #require(pixels.box)
    #expect([box.x, box.y, box.width, box.height].map(Double.init) == expected["bbox"]?.arrayValue?.compactMap(\.doubleValue))
  }
}
