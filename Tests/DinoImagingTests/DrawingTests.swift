// PNG writing, colour maps, masks, overlays, sheets.

import DinoImaging
import Foundation
import TestSupport
import Testing

@Suite struct DrawingTests {
  @Test func pngComesBackAndIsDeterministic() throws {
    for channels in [1, 3, 4] {
      let image = noise(33, 17, channels: channels, seed: UInt64(channels))
      let bytes = try PNGEncoder.encode(image)
      #expect(try ImageDecoder.decode(bytes: bytes) == image.rgb())
      #expect(try PNGEncoder.encode(image) == bytes)
    }
    let mask = Mask(width: 13, height: 5, values: (0..<65).map { $0 % 3 == 0 ? 1 : 0 })
    #expect(try ImageDecoder.decode(bytes: try PNGEncoder.encode(mask)) == mask.image().rgb())
    #expect(throws: ImageError.self) { try PNGEncoder.encode(mask, compression: 0) }
  }

  @Test func writingReplacesWholeFilesOnly() throws {
    let folder = try Fixtures.temporaryFolder()
    defer { try? FileManager.default.removeItem(at: folder) }
    let path = folder.appendingPathComponent("a.png").path
    try PNGEncoder.write(noise(4, 4, seed: 1), to: path)
    let second = noise(5, 4, seed: 2)
    try PNGEncoder.write(second, to: path)
    #expect(try ImageDecoder.decode(path: path) == second)
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path) == ["a.png"])
    let nowhere = folder.appendingPathComponent("no/a.png").path
    #expect(throws: ImageError.cannotWrite(path: nowhere, code: 2)) { try PNGEncoder.write(second, to: nowhere) }
  }

  /// matplotlib's documented ends of its maps, and monotone lightness of viridis.
  @Test func colourMaps() throws {
    #expect(ColorMap.viridis.table.count == 768 && ColorMap.inferno.table.count == 768 && ColorMap.magma.table.count == 768)
    #expect(ColorMap.viridis.color(0) == (68, 1, 84))
    #expect(ColorMap.viridis.color(1) == (253, 231, 36))
    #expect(ColorMap.magma.color(0) == (0, 0, 3))
    #expect(ColorMap.inferno.color(2) == ColorMap.inferno.color(1) && ColorMap.inferno.color(.nan) == ColorMap.inferno.color(0))
    #expect(ColorMap.grey.color(0.5) == (128, 128, 128))
    let light = (0..<256).map { i in Int(ColorMap.viridis.table[3 * i]) * 299 + Int(ColorMap.viridis.table[3 * i + 1]) * 587 + Int(ColorMap.viridis.table[3 * i + 2]) * 114 }
    #expect(zip(light, light.dropFirst()).allSatisfy { $0 <= $1 + 600 })
    #expect(ColorMap(named: "magma") != nil && ColorMap(named: "jet") == nil)
  }

  @Test func heatMapEnlargement() {
    let map = HeatMap(width: 2, height: 2, values: [0, 1, 2, 3])
    let blocks = map.resized(width: 4, height: 4, .nearest)
    #expect(blocks.values == [0, 0, 1, 1, 0, 0, 1, 1, 2, 2, 3, 3, 2, 2, 3, 3])
    // torch.nn.functional.interpolate(mode="bilinear", align_corners=False)
    #expect(map.resized(width: 4, height: 2, .bilinear).values == [0, 0.25, 0.75, 1, 2, 2.25, 2.75, 3])
    let flat = HeatMap(width: 3, height: 1, values: [5, 5, 5])
    for kind in HeatMap.Enlargement.allCases { #expect(flat.resized(width: 7, height: 3, kind).values.allSatisfy { abs($0 - 5) < 1e-5 }) }
    #expect(flat.image().pixels == [68, 1, 84, 68, 1, 84, 68, 1, 84])
    #expect(map.image(.grey).pixels[9] == 255 && map.image(.grey).pixels[0] == 0)
    #expect(HeatMap(width: 2, height: 1, values: [.nan, 1]).range == 1...1)
  }

  static let parts = Mask(width: 6, height: 4, values: [
    1, 1, 0, 0, 0, 1,
    1, 0, 0, 0, 1, 0,
    0, 0, 1, 1, 1, 0,
    0, 0, 0, 0, 1, 0])

  @Test func connectedParts() {
    let four = Self.parts.components(.four)
    #expect(four.areas == [3, 1, 5])
    #expect(Self.parts.components(.eight).areas == [3, 6])
    #expect(Self.parts.largestComponent().area == 5)
    #expect(Self.parts.component(containingX: 0, y: 1).area == 3)
    #expect(Self.parts.component(containingX: 2, y: 0).area == 0)
    #expect(Self.parts.componentBoxes(minimumArea: 2) == [PixelBox(x: 0, y: 0, width: 2, height: 2), PixelBox(x: 2, y: 1, width: 3, height: 3)])
    #expect(Self.parts.boundingBox == PixelBox(x: 0, y: 0, width: 6, height: 4))
    let empty = Mask(width: 2, height: 2, values: [0, 0, 0, 0])
    #expect(empty.boundingBox == nil && empty.largestComponent() == empty && empty.componentBoxes().isEmpty)
  }

  /// Areas add up, labels agree with the mask, no part touches another: for random masks.
  @Test func componentsPartitionTheMask() {
    var random = SplitMix64(seed: 12)
    for _ in 0..<30 {
      let w = Int.random(in: 1...20, using: &random), h = Int.random(in: 1...20, using: &random)
      let mask = Mask(width: w, height: h, values: (0..<(w * h)).map { _ in random.next() % 5 < 3 ? 1 : 0 })
      let (labels, areas) = mask.components(.four)
      #expect(areas.reduce(0, +) == mask.area)
      for i in 0..<(w * h) {
        #expect((labels[i] != 0) == (mask.values[i] != 0))
        if i % w > 0 && labels[i] != 0 && labels[i - 1] != 0 { #expect(labels[i] == labels[i - 1]) }
        if i >= w && labels[i] != 0 && labels[i - w] != 0 { #expect(labels[i] == labels[i - w]) }
      }
    }
  }

  @Test func outlineIsTheEdgeOfTheInside() {
    let square = Mask(width: 7, height: 7, values: (0..<49).map { (1...5).contains($0 % 7) && (1...5).contains($0 / 7) ? 1 : 0 })
    #expect(square.outline().area == 16)
    #expect(square.outline(thickness: 3) == square)
    #expect(square.outline(thickness: 0).area == 0)
    let all = Mask(width: 3, height: 3, values: [UInt8](repeating: 9, count: 9))
    #expect(all.area == 9 && all.outline().area == 0 && all.inverted().area == 0)
    #expect(square.resized(width: 14, height: 14).area == 100)
    #expect(square.resized(width: 14, height: 14, smooth: true).boundingBox == PixelBox(x: 2, y: 2, width: 10, height: 10))
  }

  @Test func overlaysChangeOnlyTheInside() {
    let photo = noise(6, 4, seed: 6)
    let out = photo.overlaying(Self.parts, color: [255, 0, 0], opacity: 0.5, outline: 0)
    for i in 0..<24 {
      for c in 0..<3 {
        let before = Int(photo.pixels[3 * i + c]), target = c == 0 ? 255 : 0
        let expected = Self.parts.values[i] == 0 ? before : (before * 128 + target * 128 + 128) >> 8
        #expect(Int(out.pixels[3 * i + c]) == expected)
      }
    }
    #expect(photo.overlaying(noise(6, 4, seed: 7), opacity: 1) == noise(6, 4, seed: 7))
    #expect(photo.overlaying(noise(6, 4, seed: 7), opacity: 0) == photo)
  }

  @Test func boxesAndTextAreClipped() {
    var image = Image(width: 10, height: 8, color: [0, 0, 0])
    image.drawBox(PixelBox(x: -3, y: 2, width: 100, height: 4), color: [255, 255, 255], thickness: 1)
    #expect(image[0, 2, 0] == 255 && image[9, 5, 0] == 255 && image[4, 3, 0] == 0 && image[4, 1, 0] == 0)
    image.drawBox(PixelBox(x: 50, y: -20, width: 3, height: 3), color: [9, 9, 9])
    image.drawText("Abc é 09", x: -2, y: 6, color: [1, 2, 3], scale: 1)
    var letter = Image(width: 3, height: 5, color: [0])
    letter.drawText("i", x: 0, y: 0, color: [1], scale: 1)
    #expect(letter.pixels == [1, 1, 1, 0, 1, 0, 0, 1, 0, 0, 1, 0, 1, 1, 1])
    #expect(Image.textWidth("ab", scale: 2) == 14 && Image.textWidth("") == 0)
  }

  @Test func contactSheet() throws {
    let images = [noise(10, 6, seed: 1), noise(8, 8, channels: 1, seed: 2), noise(4, 4, seed: 3)]
    let sheet = try ContactSheet.make(images, labels: ["one", "two", "a label that is far too long"], gap: 2)
    #expect((sheet.width, sheet.height) == (2 * 12 + 2, 2 * (8 + 7 + 2) + 2))
    #expect(sheet.cropped(to: PixelBox(x: 2, y: 3, width: 10, height: 6)) == images[0])
    #expect(throws: ImageError.self) { try ContactSheet.make([]) }
  }

  @Test func turningAndMirroring() {
    let image = noise(5, 3, seed: 4)
    for (there, back) in [(1, 1), (2, 2), (3, 3), (4, 4), (5, 5), (6, 8), (7, 7), (8, 6)] { #expect(image.oriented(there).oriented(back) == image) }
    #expect(image.mirrored()[0, 1, 2] == image[4, 1, 2])
    #expect(image.cropped(to: PixelBox(x: -1, y: -1, width: 3, height: 3))[0, 0, 0] == 0)
    #expect(image.cropped(to: PixelBox(x: 100, y: 100, width: 2, height: 2)).pixels.allSatisfy { $0 == 0 })
  }
}
