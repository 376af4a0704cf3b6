// Video segmentation against OpenCV, the official label propagation and the official measures, written out again by Tests/Reference/make_video_fixtures.py.

import Dino
import DinoImaging
import DinoModels
import Foundation
import Safetensors
import TestSupport
import Testing

@testable import DinoSegmentation

private let golden: JSONValue = {
  let text = (try? String(contentsOfFile: Fixtures.path("video/golden.json"), encoding: .utf8)) ?? ""
  return (try? JSONValue.parse(text)) ?? .null
}()

extension JSONValue {
  fileprivate subscript(cases name: String) -> [JSONValue] { self[name]?.arrayValue ?? [] }
  fileprivate func int(_ name: String) -> Int { self[name]?.integerValue ?? -1 }
  fileprivate func floats(_ name: String) -> [Float] { (self[name]?.arrayValue ?? []).floats }
  fileprivate func bytes(_ name: String) -> [UInt8] { (self[name]?.arrayValue ?? []).compactMap { $0.integerValue.map(UInt8.init) } }
}

extension [JSONValue] {
  fileprivate var floats: [Float] { compactMap { $0.doubleValue.map { Float($0) } } }
}

@Suite struct VideoTests {
  @Test func framesAreResizedAsOpenCVDoes() {
    let cases = golden[cases: "resize"]
    #expect(cases.count == 6)
    for c in cases {
      let image = Image(width: c.int("width"), height: c.int("height"), channels: 3, pixels: c.bytes("pixels"))
      let found = image.resizedUnfiltered(width: c.int("to_width"), height: c.int("to_height"))
      #expect(found.pixels == c.bytes("result"), "\(image.width)x\(image.height) to \(found.width)x\(found.height)")
    }
  }

  @Test func labelsPropagateAsInTheOriginal() {
    let cases = golden[cases: "propagation"]
    #expect(cases.count == 4)
    for c in cases {
      let rows = c.int("rows"), columns = c.int("columns"), labels = c.int("labels")
      let frames = c[cases: "features"].map { PatchFeatures(rows: rows, columns: columns, width: c.int("width"), values: ($0.arrayValue ?? []).floats) }
      for threads in [1, 2] {
        var settings = LabelPropagation.Settings()
        (settings.lastFrames, settings.neighbourhood, settings.topK, settings.threads) = (c.int("last"), c.int("neighbourhood"), c.int("top_k"), threads)
        var propagation = LabelPropagation(first: frames[0], labels: .init(rows: rows, columns: columns, labels: labels, values: c.floats("first")), settings: settings)
        for (features, expected) in zip(frames.dropFirst(), c[cases: "frames"]) {
          #expect(maxAbsoluteDifference(propagation.next(features).values, (expected.arrayValue ?? []).floats) < 1e-5)
        }
      }
    }
  }

  @Test func pixelsTakeTheGreatestLabel() throws {
    let cases = golden[cases: "maps"]
    #expect(cases.count == 3)
    for c in cases {
      let labels = c.int("labels")
      let soft = LabelPropagation.SoftLabels(rows: c.int("rows"), columns: c.int("columns"), labels: labels, values: c.floats("soft"))
      let map = try soft.map(labels: (1..<labels).map { UInt8($0) }, patch: c.int("patch"), width: c.int("width"), height: c.int("height"))
      #expect(map.values == c.bytes("result"))
    }
  }

  @Test func regionsAndOutlinesAreMeasuredAsInTheChallenge() {
    let cases = golden[cases: "measures"]
    #expect(cases.count == 24)
    func mask(_ c: JSONValue, _ name: String) -> Mask {
      var values: [UInt8] = [], value: UInt8 = 0
      for run in c[cases: name].compactMap(\.integerValue) {
        values += [UInt8](repeating: value, count: run)
        value = 1 - value
      }
      return Mask(width: c.int("width"), height: c.int("height"), values: values)
    }
    for c in cases {
      let found = mask(c, "found"), truth = mask(c, "truth")
      #expect(abs(VideoMeasures.j(found, truth: truth) - c["j"]!.doubleValue!) < 1e-12)
      #expect(abs(VideoMeasures.f(found, truth: truth) - c["f"]!.doubleValue!) < 1e-12)
    }
  }

  @Test func meansAreOverFramesThenObjects() {
    func map(_ values: [UInt8]) -> LabelMap { LabelMap(width: 4, height: 1, values: values) }
    var scores = VideoScores(objects: 2)
    scores.add(found: map([1, 1, 2, 2]), truth: map([1, 1, 2, 2]), labels: [1, 2])
    scores.add(found: map([1, 1, 1, 2]), truth: map([1, 1, 2, 2]), labels: [1, 2])
    let first: Double = (1.0 + 2.0 / 3.0) / 2, second = 0.75
    #expect(scores.objects.map(\.j) == [first, second])
    #expect(scores.objects.map(\.jRecall) == [1, 0.5])
    #expect(scores.objects.mean.j == (first + second) / 2)
  }

  /// By davis2017-evaluation's db_statistics: bounds 1, 3.25, 5.5, 7.75, 10 are frames 0, 2, 5, 7 and 9, and 5.5 is rounded up; with 10 frames the last quarter is of three.
  @Test func recallAndDecayAreThoseOfTheChallenge() {
    let frames: [Double] = [1, 0.8, 0.6, 0.5, 0.51, 0.2, 0.9, 0.4, 0.3, 0.2]
    #expect(VideoScores.recall(frames) == 0.5)
    #expect(abs(VideoScores.decay(frames) - (0.8 - 0.3)) < 1e-12)
    // 1, 2.5, 4, 5.5, 7 are frames 0, 2, 3, 5 and 6.
    #expect(abs(VideoScores.decay([1, 1, 0.4, 0, 0, 0.5, 0.7]) - (0.8 - 0.6)) < 1e-12)
    #expect(VideoScores.decay([0.7]) == 0 && VideoScores.decay([]) == 0)
  }

  @Test func framesHaveTheProtocolsSizes() throws {
    let preparer = try VideoPreparer(preprocessing: .imageNet, patch: 16)
    for (width, height, w, h) in [(854, 480, 832, 480), (480, 854, 480, 832), (910, 480, 896, 480), (1920, 1080, 832, 480), (100, 100, 448, 480), (1000, 2, 240_000, 480)] {
      #expect(preparer.size(height: height, width: width) == (h, w), "\(width)x\(height)")
    }
    // Nothing becomes narrower than its shorter side can be.
    #expect(try VideoPreparer(side: 32, preprocessing: .imageNet, patch: 16).size(height: 40, width: 40) == (32, 32))
    #expect(throws: (any Error).self) { _ = try VideoPreparer(side: 8, preprocessing: .imageNet, patch: 16) }
  }

  /// Label 7 of the palette is a grey.
  @Test func labelsWhoseColoursAreGrey() throws {
    let folder = try Fixtures.temporaryFolder()
    defer { try? FileManager.default.removeItem(at: folder) }
    let path = folder.appendingPathComponent("m.png").path
    func expect(_ values: [UInt8], _ colours: LabelMap.Colours, inColours: Bool = false) throws {
      let found = try LabelMap.read(path, inColours: inColours)
      #expect(found.labels.values == values)
      #expect(found.colours == colours)
    }
    try LabelMap(width: 3, height: 1, values: [0, 7, 7]).write(.palette, to: path)
    try expect([0, 7, 7], .palette)
    // Pixels alone do not say it; the other pictures of a set may.
    try PNGEncoder.write(Image(width: 2, height: 1, channels: 3, pixels: [0, 0, 0, 128, 128, 128]), to: path)
    try expect([0, 128], .grey)
    try expect([0, 7], .palette, inColours: true)
    // DAVIS's own palette: 191 where PASCAL VOC has 192, and greys from index 22 on.
    var davis: [[UInt8]] = (0..<256).map { [UInt8($0), UInt8($0), UInt8($0)] }
    for i in 0..<8 { davis[i] = LabelMap.palette[i] }
    davis[9] = [191, 0, 0]
    try PNGEncoder.write(indices: Image(width: 3, height: 1, channels: 1, pixels: [0, 7, 9]), palette: davis, to: path)
    try expect([0, 7, 9], .palette)
    // A palette of black and white is no one's labels.
    try PNGEncoder.write(indices: Image(width: 2, height: 1, channels: 1, pixels: [0, 1]), palette: [[0, 0, 0], [255, 255, 255]], to: path)
    try expect([0, 255], .grey)
  }

  /// Numbers of objects that 8 bits do not hold are refused, not made one; black and white of 16 bits are what they are.
  @Test func labelsAboveAByteAreRefused() throws {
    let folder = try Fixtures.temporaryFolder()
    defer { try? FileManager.default.removeItem(at: folder) }
    let path = folder.appendingPathComponent("m.pgm").path
    func write(_ values: [UInt16], plain: Bool = false) throws {
      let header = Array("P\(plain ? 2 : 5)\n\(values.count) 1\n65535\n".utf8)
      let pixels = plain ? Array(values.map { "\($0)" }.joined(separator: " ").utf8) : values.flatMap { [UInt8($0 >> 8), UInt8($0 & 255)] }
      try Data(header + pixels).write(to: URL(fileURLWithPath: path))
    }
    for values: [UInt16] in [[0, 1001, 2001], [0, 1, 65535], [0, 256]] {
      for plain in [false, true] {
        try write(values, plain: plain)
        let error = #expect(throws: DinoError.self) { _ = try LabelMap.read(path) }
        #expect(error?.kind == .data && error?.message.contains("labels above 255") == true && error?.hint?.contains("1, 2, …") == true)
      }
    }
    for name in ["png_grey16.png", "png_grey16_interlaced.png", "tiff_grey16.tif"] {
      #expect(throws: DinoError.self) { _ = try LabelMap.read(Fixtures.path("imaging/decode/\(name)")) }
    }
    for (values, labels) in [([0, 65535], [0, 255]), ([0, 1, 255], [0, 1, 255])] as [([UInt16], [UInt8])] {
      try write(values)
      #expect(try LabelMap.read(path).labels.values == labels)
    }
  }

  @Test func labelsAreGreyLevelsOrDavisColours() throws {
    #expect(LabelMap.palette[..<4] == [[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0]] && LabelMap.palette[255] == [224, 224, 192])
    #expect(Set(LabelMap.palette).count == 256)
    let folder = try Fixtures.temporaryFolder()
    defer { try? FileManager.default.removeItem(at: folder) }
    let map = LabelMap(width: 3, height: 2, values: [0, 1, 255, 7, 0, 2]), path = folder.appendingPathComponent("m.png").path
    for colours in [LabelMap.Colours.grey, .palette] {
      try map.write(colours, to: path)
      let image = try ImageDecoder.decode(path: path)
      #expect(LabelMap.isGrey(image) == (colours == .grey))
      #expect(try LabelMap(image, name: "m") == map)
    }
    #expect(map.labels == [1, 2, 7, 255] && map.mask(of: 7).values == [0, 0, 0, 1, 0, 0])
    #expect(throws: (any Error).self) { _ = try LabelMap(Image(width: 1, height: 1, channels: 3, pixels: [1, 2, 3]), name: "m") }
    #expect(throws: (any Error).self) { _ = try PNGEncoder.encode(indices: Image(width: 1, height: 1, channels: 1, pixels: [2]), palette: [[0, 0, 0], [1, 1, 1]]) }
  }
}
