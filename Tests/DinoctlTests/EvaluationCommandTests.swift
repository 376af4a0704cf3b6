// evaluate segmentation, retrieval and video-segmentation, and video, as a person runs them, on made-up sets whose figures follow by hand.

import Dino
import DinoImaging
import DinoSegmentation
import DinoTensor
import Foundation
import Safetensors
import TestSupport
import Testing

@Suite struct EvaluationCommandTests {
  private static func run(_ arguments: [String], status: Int32 = 0) throws -> ToolResult {
    let result = try Tool.run(arguments)
    #expect(result.status == status, "\(arguments.joined(separator: " ")): \(result.errors)")
    return result
  }

  /// A grey picture, PGM.
  private static func grey(_ width: Int, _ height: Int, _ value: (Int, Int) -> UInt8) -> [UInt8] {
    Array("P5\n\(width) \(height)\n255\n".utf8) + (0..<width * height).map { value($0 % width, $0 / width) }
  }

  /// Labels in the colours of PASCAL VOC, PPM.
  private static func coloured(_ width: Int, _ height: Int, _ label: (Int, Int) -> UInt8) -> [UInt8] {
    let pixels: [UInt8] = (0..<width * height).flatMap { LabelMap.palette[Int(label($0 % width, $0 / width))] }
    return Array("P6\n\(width) \(height)\n255\n".utf8) + pixels
  }

  /// A picture in colours, PPM.
  private static func painted(_ width: Int, _ height: Int, _ colour: (Int, Int) -> [UInt8]) -> [UInt8] {
    let pixels: [UInt8] = (0..<width * height).flatMap { colour($0 % width, $0 / width) }
    return Array("P6\n\(width) \(height)\n255\n".utf8) + pixels
  }

  // MARK: segmentation

  /// What a method finds is its own truth: everything is 100. Of one photograph the truth turned inside out: nothing of it is right, and means are half.
  @Test(arguments: ["attention", "lost", "tokencut", "maskcut", "spectral", "pca"]) func measuresFollowTheMasks(method: String) throws {
    let bench = try Bench()
    defer { bench.remove() }
    for (i, name) in ["a", "b"].enumerated() { try bench.write("photos/\(name).ppm", Bench.photograph(seed: UInt64(20 + i), width: 61, height: 45)) }
    let common = ["--model", bench.model, "--image-size", "64x64"]
    // For maskcut X.png holds all masks together.
    _ = try Self.run(["segment", "--method", method, "--no-overlay", "-o", "\(bench.folder)/masks"] + common + ["\(bench.folder)/photos"])
    let evaluate = ["evaluate", "segmentation", "--images", "\(bench.folder)/photos", "--masks", "\(bench.folder)/truth", "--methods", method, "--json"] + common
    func figures() throws -> JSONValue { try #require(try JSONValue.parse(Self.run(evaluate).output)["methods"]?.arrayValue?.first) }
    var areas: [Int] = []
    for name in ["a", "b"] {
      let mask = try ImageDecoder.decode(path: "\(bench.folder)/masks/\(name).png")
      let values = (0..<61 * 45).map { mask.pixels[mask.channels * $0] }
      areas.append(values.count { $0 > 0 })
      try bench.write("truth/\(name).pgm", Self.grey(61, 45) { values[$1 * 61 + $0] })
      if name == "b" { try bench.write("inverse.pgm", Self.grey(61, 45) { 255 - values[$1 * 61 + $0] }) }
    }
    try #require(areas.allSatisfy { $0 > 0 && $0 < 61 * 45 })
    let own = try figures()
    for key in ["iou", "max_f", "accuracy", "corloc"] { #expect(own[key]?.doubleValue == 100, "\(key)") }
    try bench.write("truth/b.pgm", try bench.bytes("inverse.pgm"))
    let half = try figures()
    for key in ["iou", "accuracy"] { #expect(half[key]?.doubleValue == 50, "\(key)") }
    // At the threshold 0 a mask of zeros and ones is itself; no pixel of the second is right.
    #expect(abs((half["max_f"]?.doubleValue ?? 0) - 50) < 1e-9)
  }

  @Test func jaccardIsTheBestHeads() throws {
    let bench = try Bench()
    defer { bench.remove() }
    try bench.write("photos/a.ppm", Bench.photograph(seed: 30, width: 64, height: 64))
    let common = ["--model", bench.model, "--image-size", "64x64"]
    _ = try Self.run(["segment", "--head", "1", "--mass", "0.6", "--no-component", "--no-overlay", "-o", "\(bench.folder)/truth"] + common + ["\(bench.folder)/photos/a.ppm"])
    for file in ["coco.json", "a.json"] { try FileManager.default.removeItem(atPath: "\(bench.folder)/truth/\(file)") }
    let found = try JSONValue.parse(Self.run(["evaluate", "segmentation", "--images", "\(bench.folder)/photos", "--masks", "\(bench.folder)/truth", "--methods", "attention", "--json"] + common).output)
    let row = try #require(found["methods"]?.arrayValue?.first)
    #expect(row["jaccard"]?.doubleValue == 100 && found["images"]?.integerValue == 1)
    // One connected part of one head is not the whole of head 1.
    #expect(try #require(row["iou"]?.doubleValue) < 100)
  }

  @Test func masksThatDoNotFitAreRefused() throws {
    let bench = try Bench()
    defer { bench.remove() }
    try bench.write("photos/a.ppm", Bench.photograph(seed: 30, width: 64, height: 64))
    try bench.write("masks/a.pgm", Self.grey(64, 63) { _, _ in 255 })
    try bench.write("others/b.pgm", Self.grey(64, 64) { _, _ in 255 })
    func evaluate(_ masks: String) -> [String] {
      ["evaluate", "segmentation", "--images", "\(bench.folder)/photos", "--masks", "\(bench.folder)/\(masks)", "--model", bench.model, "--image-size", "64x64", "--methods", "lost"]
    }
    let size = try Self.run(evaluate("masks"), status: 65), missing = try Self.run(evaluate("others"), status: 66)
    #expect(size.errors.contains("64x63") && size.output.isEmpty)
    #expect(missing.errors.contains("no mask") && missing.output.isEmpty)
    _ = try Self.run(evaluate("masks") + ["--methods", "magic"], status: 64)
  }

  /// Photographs of one name in two folders have a mask each; where it is not clear which, nothing is measured.
  @Test func masksBelongToPaths() throws {
    let bench = try Bench()
    defer { bench.remove() }
    for (i, name) in ["a", "b"].enumerated() {
      try bench.write("photos/\(name)/1.ppm", Bench.photograph(seed: UInt64(30 + i), width: 64, height: 64))
      try bench.write("masks/\(name)/1.pgm", Self.grey(64, 64) { _, _ in 255 })
    }
    func evaluate(_ masks: String) -> [String] {
      ["evaluate", "segmentation", "--images", "\(bench.folder)/photos", "--masks", "\(bench.folder)/\(masks)", "--model", bench.model, "--image-size", "64x64", "--methods", "attention", "--json"]
    }
    func overlap() throws -> Double { try #require(try JSONValue.parse(Self.run(evaluate("masks")).output)["methods"]?.arrayValue?.first?["iou"]?.doubleValue) }
    let before = try overlap()
    try bench.write("masks/b/1.pgm", Self.grey(64, 64) { _, _ in 0 })
    #expect(try overlap() < before)
    try bench.write("flat/1.pgm", Self.grey(64, 64) { _, _ in 255 })
    #expect(try Self.run(evaluate("flat"), status: 65).errors.contains("both"))
    try bench.write("photos/c/1.ppm", Bench.photograph(seed: 32, width: 64, height: 64))
    let unclear = try Self.run(evaluate("masks"), status: 65).errors
    #expect(unclear.contains("masks/a/1.pgm") && unclear.contains("masks/b/1.pgm"))
    // The names of a ground truth are found the same way.
    try bench.write("clear.json", Array(#"{"imlist":["a/1","b/1","c/1"],"qimlist":["a/1"],"gnd":[{"easy":[1],"hard":[2],"junk":[]}]}"#.utf8))
    try bench.write("unclear.json", Array(#"{"imlist":["1"],"qimlist":["1"],"gnd":[{"easy":[0],"hard":[],"junk":[]}]}"#.utf8))
    let retrieval = ["evaluate", "retrieval", "\(bench.folder)/photos", "--model", bench.model, "--ground-truth"]
    _ = try Self.run(retrieval + ["\(bench.folder)/clear.json"])
    #expect(try Self.run(retrieval + ["\(bench.folder)/unclear.json"], status: 65).errors.contains("photos/a/1.ppm"))
  }

  /// A true mask may be white on black, small labels, or colours; one without an object is named.
  @Test func trueMasksAreReadAsOneSet() throws {
    let bench = try Bench()
    defer { bench.remove() }
    for (i, name) in ["a", "b"].enumerated() {
      try bench.write("photos/\(name).ppm", Bench.photograph(seed: UInt64(30 + i), width: 64, height: 64))
      try bench.write("white/\(name).pgm", Self.grey(64, 64) { x, _ in x < 32 ? 200 : 100 })
      try bench.write("small/\(name).pgm", Self.grey(64, 64) { x, _ in x < 32 ? UInt8(1 + i) : 0 })
      try bench.write("colours/\(name).ppm", Self.coloured(64, 64) { x, _ in x < 32 ? (i == 0 ? 4 : 7) : 0 })
      try bench.write("red/\(name).ppm", Self.painted(64, 64) { x, _ in x < 32 ? [255, 0, 0] : [0, 0, 0] })
      try bench.write("several/\(name).ppm", Self.painted(64, 64) { x, _ in x < 16 ? [0, 255, 0] : x < 32 ? [255, 0, 0] : [0, 0, 0] })
      try bench.write("none/\(name).pgm", Self.grey(64, 64) { _, _ in 0 })
      try bench.write("some/\(name).pgm", Self.grey(64, 64) { _, _ in i == 0 ? 0 : 255 })
    }
    func evaluate(_ masks: String, status: Int32 = 0) throws -> ToolResult {
      try Self.run(["evaluate", "segmentation", "--images", "\(bench.folder)/photos", "--masks", "\(bench.folder)/\(masks)", "--model", bench.model, "--image-size", "64x64", "--methods", "attention", "--json"], status: status)
    }
    var overlaps: [Double] = []
    for masks in ["white", "small", "colours", "red"] {
      let result = try evaluate(masks)
      #expect(!result.errors.contains("no object"))
      overlaps.append(try #require(try JSONValue.parse(result.output)["methods"]?.arrayValue?.first?["iou"]?.doubleValue))
    }
    #expect(overlaps[0] > 0 && Set(overlaps).count == 1, "\(overlaps)")
    #expect(try evaluate("several", status: 65).errors.contains("a mask is grey"))
    let some = try evaluate("some"), none = try evaluate("none", status: 65)
    #expect(some.errors.contains("1 of 2 masks have no object") && some.errors.contains("some/a.pgm"))
    #expect(none.errors.contains("no mask has an object") && none.output.isEmpty)
  }

  // MARK: segmentation heads

  /// Photographs of a bright object on dark noise: its columns are class 255. A random network tells bright patches from dark ones.
  private static func brightObjects(_ bench: Bench, _ folder: String, seeds: ClosedRange<UInt64>, levels: [UInt8] = [255]) throws {
    for seed in seeds {
      var random = SplitMix64(seed: seed)
      let first = 8 * Int(seed % 4), pixels = (0..<64 * 64 * 3).map { at in
        let x = at / 3 % 64, isObject = x >= first && x < first + 32, isSecond = x >= first + 16
        return UInt8.random(in: 0..<60, using: &random) + (isObject ? (isSecond && levels.count > 1 && at % 3 == 0 ? 60 : 190) : 0)
      }
      try bench.write("\(folder)/photos/\(seed).ppm", Array("P6\n64 64\n255\n".utf8) + pixels)
      try bench.write("\(folder)/masks/\(seed).pgm", grey(64, 64) { x, _ in x >= first && x < first + 32 ? levels[x >= first + 16 ? levels.count - 1 : 0] : 0 })
    }
  }

  @Test(arguments: [[255], [1, 7]] as [[UInt8]]) func aSegmentationHeadIsLearntAndUsed(levels: [UInt8]) throws {
    let bench = try Bench()
    defer { bench.remove() }
    try Self.brightObjects(bench, "train", seeds: 60...67, levels: levels)
    try Self.brightObjects(bench, "test", seeds: 70...73, levels: levels)
    let common = ["--image-size", "64x64"], model = "\(bench.folder)/head.safetensors", again = "\(bench.folder)/again.safetensors"
    let learnt = try JSONValue.parse(Self.run(["finetune", "--task", "segmentation", "--data", "\(bench.folder)/train/photos", "--masks", "\(bench.folder)/train/masks", "--model", bench.model,
                                               "-o", model, "--json"] + common).output)
    #expect(learnt["patches"]?.integerValue == 8 * 64 && learnt["labels"]?.arrayValue?.map(\.integerValue) == [0] + levels.map { Int($0) } && learnt["converged"]?.boolValue == true)
    let file = try SafetensorsFile(path: model)
    #expect(file.tensor("seg_head.weight")?.shape == [levels.count + 1, 24] && file.metadata["dino.segmentation"]?.contains(#""tokens":"patch""#) == true)
    _ = try Self.run(["convert", model, again])
    let kept = try SafetensorsFile(path: again).tensor("seg_head.bias")?.floats()
    #expect(kept != nil && kept == file.tensor("seg_head.bias")?.floats())
    _ = try Self.run(["segment", "--method", "head", "--model", again, "--no-overlay", "-o", "\(bench.folder)/out", "\(bench.folder)/test/photos"] + common)
    for seed in 70...73 {
      let found = try LabelMap(ImageDecoder.decode(path: "\(bench.folder)/out/\(seed)_labels.png"), name: "labels"), truth = try LabelMap(ImageDecoder.decode(path: "\(bench.folder)/test/masks/\(seed).pgm"), name: "truth")
      #expect(zip(found.values, truth.values).count { $0 == $1 } > 64 * 64 * 9 / 10)
    }
    let coco = try JSONValue.parse(String(decoding: bench.bytes("out/coco.json"), as: UTF8.self))
    let categories: [Int] = try #require(coco["annotations"]?.arrayValue).compactMap { $0["category_id"]?.integerValue }
    #expect(Set(categories) == Set(levels.map { Int($0) }))
    #expect(coco["categories"]?.arrayValue?.compactMap { $0["name"]?.stringValue } == levels.map { "label \($0)" })
    let figures = try JSONValue.parse(Self.run(["evaluate", "segmentation", "--images", "\(bench.folder)/test/photos", "--masks", "\(bench.folder)/test/masks", "--methods", "head", "--model", model, "--json"] + common).output)
    let measured = try #require(figures["methods"]?.arrayValue?.first), own = try #require(measured["classes"]?.arrayValue)
    #expect(try #require(measured["iou"]?.doubleValue) > 90)
    #expect(own.compactMap { $0["label"]?.integerValue } == [0] + levels.map { Int($0) })
    // What it says is what segment draws.
    var scores = ClassScores()
    for seed in 70...73 {
      scores.add(try LabelMap.read("\(bench.folder)/out/\(seed)_labels.png").labels, truth: try LabelMap.read("\(bench.folder)/test/masks/\(seed).pgm").labels)
    }
    #expect(own.compactMap { $0["iou"]?.doubleValue } == scores.classes.map { 100 * $0.iou })
    #expect(measured["miou"]?.doubleValue == 100 * scores.meanIoU && measured["pixel_accuracy"]?.doubleValue == 100 * scores.accuracy)
    // A head of one object measures all objects as that, whatever their level.
    if levels.count == 1 {
      for seed in 70...73 {
        let truth = try LabelMap.read("\(bench.folder)/test/masks/\(seed).pgm").labels
        try bench.write("test/other/\(seed).pgm", Self.grey(64, 64) { truth.values[$1 * 64 + $0] == 255 ? 3 : 0 })
      }
      let other = ["evaluate", "segmentation", "--images", "\(bench.folder)/test/photos", "--masks", "\(bench.folder)/test/other", "--methods", "head", "--model", model] + common
      let again = try JSONValue.parse(Self.run(other + ["--json"]).output)["methods"]?.arrayValue?.first
      #expect(again?["miou"]?.doubleValue == 100 * scores.meanIoU)
      #expect(try Self.run(other).output.contains("head: mIoU \(String(format: "%.1f", 100 * scores.meanIoU)) of 2 classes"))
    }
    // A class that is nowhere in a photograph has no mask that could be moved to edges.
    if levels.count > 1 {
      try Self.brightObjects(bench, "single", seeds: 71...71, levels: [levels[0]])
      let moved = try JSONValue.parse(Self.run(["segment", "--method", "head", "--refine", "bilateral", "--model", model, "--no-overlay", "-o", "\(bench.folder)/moved", "\(bench.folder)/single/photos", "--json"] + common).output)
      let report = try #require(moved["images"]?.arrayValue?.first)
      #expect(report["refined"]?.boolValue == true && report["labels"]?.arrayValue?.count == 2)
      #expect(report["refined_labels"]?.arrayValue?.map(\.integerValue) == [1])
      // What coco.json has of a class is what the picture of labels has.
      _ = try Self.run(["segment", "--method", "head", "--refine", "bilateral", "--model", model, "--no-overlay", "-o", "\(bench.folder)/moved2", "\(bench.folder)/test/photos"] + common)
      let movedCOCO = try JSONValue.parse(String(decoding: bench.bytes("moved2/coco.json"), as: UTF8.self))
      let annotations = try #require(movedCOCO["annotations"]?.arrayValue)
      for level in levels {
        let drawn = try (70...73).map { try LabelMap.read("\(bench.folder)/moved2/\($0)_labels.png").labels.mask(of: level).area }.reduce(0, +)
        let told = annotations.filter { $0["category_id"]?.integerValue == Int(level) }.compactMap { $0["area"]?.integerValue }.reduce(0, +)
        #expect(drawn == told)
      }
    }
    // Fewer patches are spread over all photographs.
    let few = try JSONValue.parse(Self.run(["finetune", "--task", "segmentation", "--data", "\(bench.folder)/train/photos", "--masks", "\(bench.folder)/train/masks", "--model", bench.model,
                                            "--patches", "128", "-o", "\(bench.folder)/few.safetensors", "--json"] + common).output)
    #expect(abs((few["patches"]?.integerValue ?? 0) - 128) <= 2)
  }

  /// The second mask has no pixel of a colour: PASCAL VOC's 7 is a grey. Nothing is learnt from void, columns 32 to 39 of the first.
  @Test func classesAreThoseOfColours() throws {
    let bench = try Bench()
    defer { bench.remove() }
    try Self.brightObjects(bench, "train", seeds: 60...61)
    try bench.write("train/colours/60.ppm", Self.coloured(64, 64) { x, _ in x < 32 ? 1 : x < 40 ? 255 : 0 })
    try bench.write("train/colours/61.ppm", Self.coloured(64, 64) { x, _ in x >= 8 && x < 40 ? 7 : 0 })
    let learnt = try JSONValue.parse(Self.run(["finetune", "--task", "segmentation", "--data", "\(bench.folder)/train/photos", "--masks", "\(bench.folder)/train/colours", "--model", bench.model,
                                               "-o", "\(bench.folder)/h.safetensors", "--image-size", "64x64", "--json"]).output)
    #expect(learnt["labels"]?.arrayValue?.map(\.integerValue) == [0, 1, 7] && learnt["patches"]?.integerValue == 2 * 64 - 8)
  }

  /// Beside small labels 255 is void, as in grey label maps of PASCAL VOC and Cityscapes: in learning, in measuring, and of a video. Without them it is white.
  @Test func greyVoidIsNoClassAndNoObject() throws {
    let bench = try Bench()
    defer { bench.remove() }
    try Self.brightObjects(bench, "train", seeds: 60...61)
    try bench.write("train/grey/60.pgm", Self.grey(64, 64) { x, _ in x < 32 ? 1 : x < 40 ? 255 : 0 })
    try bench.write("train/grey/61.pgm", Self.grey(64, 64) { x, _ in x >= 8 && x < 40 ? 7 : 0 })
    try bench.write("train/even/60.pgm", Self.grey(64, 64) { x, _ in x < 32 ? 127 : x < 40 ? 255 : 0 })
    try bench.write("train/even/61.pgm", Self.grey(64, 64) { x, _ in x >= 8 && x < 40 ? 127 : 0 })
    for seed in 60...61 {
      try bench.write("train/colours/\(seed).ppm", Self.coloured(64, 64) { x, _ in seed == 60 ? (x < 32 ? 1 : x < 40 ? 255 : 0) : x >= 8 && x < 40 ? 7 : 0 })
    }
    let photos = "\(bench.folder)/train/photos", said = "is read as void"
    func learn(_ masks: String) throws -> (labels: [Int?], patches: Int?, errors: String) {
      let result = try Self.run(["finetune", "--task", "segmentation", "--data", photos, "--masks", "\(bench.folder)/train/\(masks)", "--model", bench.model, "-o", "\(bench.folder)/h.safetensors", "--image-size", "64x64", "--json"])
      let learnt = try JSONValue.parse(result.output)
      return (learnt["labels"]?.arrayValue?.map(\.integerValue) ?? [], learnt["patches"]?.integerValue, result.errors)
    }
    let even = try learn("even"), learnt = try learn("grey")
    #expect(even.labels == [0, 127, 255] && !even.errors.contains(said))
    #expect(learnt.labels == [0, 1, 7] && learnt.patches == 2 * 64 - 8 && learnt.errors.components(separatedBy: said).count == 2)
    func figures(_ masks: String, _ method: String) throws -> (JSONValue, String) {
      let model = method == "head" ? "\(bench.folder)/h.safetensors" : bench.model
      let result = try Self.run(["evaluate", "segmentation", "--images", photos, "--masks", "\(bench.folder)/train/\(masks)", "--model", model, "--methods", method, "--image-size", "64x64", "--json"])
      return (try #require(try JSONValue.parse(result.output)["methods"]?.arrayValue?.first), result.errors)
    }
    for method in ["attention", "head"] {
      let (grey, errors) = try figures("grey", method), (colours, _) = try figures("colours", method)
      #expect(errors.contains(said))
      for key in ["iou", "accuracy", "corloc", "jaccard", "miou"] { #expect(grey[key] == colours[key], "\(method) \(key)") }
    }
    for i in 0..<5 {
      try bench.write("davis/JPEGImages/one/0\(i).ppm", Bench.photograph(seed: 40, width: 64, height: 64))
      try bench.write("davis/Annotations/one/0\(i).pgm", Self.grey(64, 64) { x, _ in x < 24 ? 1 : x < 56 ? 0 : 255 })
    }
    let video = try Self.run(["evaluate", "video-segmentation", "\(bench.folder)/davis", "--model", bench.model, "--json"] + Self.still)
    #expect(try JSONValue.parse(video.output)["sequences"]?.arrayValue?.first?["objects"]?.arrayValue?.map { $0["j"]?.doubleValue } == [100])
    #expect(video.errors.contains(said))
  }

  /// A photograph whose mask is void everywhere has no figures, and is counted; a class too small for the grid of patches is named.
  @Test func masksThatSayNothingAreCounted() throws {
    let bench = try Bench()
    defer { bench.remove() }
    try Self.brightObjects(bench, "train", seeds: 60...61)
    let evaluate = ["evaluate", "segmentation", "--images", "\(bench.folder)/train/photos", "--masks", "\(bench.folder)/masks", "--model", bench.model, "--methods", "attention", "--image-size", "64x64"]
    func row() throws -> JSONValue { try #require(try JSONValue.parse(Self.run(evaluate + ["--json"]).output)["methods"]?.arrayValue?.first) }
    try bench.write("masks/60.ppm", Self.coloured(64, 64) { x, _ in x < 32 ? 1 : 0 })
    try bench.write("masks/61.ppm", Self.coloured(64, 64) { _, _ in 255 })
    let result = try Self.run(evaluate + ["--json"]), both = try JSONValue.parse(result.output)
    #expect(both["images"]?.integerValue == 1 && result.errors.contains("1 of 2 masks are void everywhere") && result.errors.contains("61.ppm") && !result.errors.contains("no object"))
    let mean = try row()["iou"]
    try FileManager.default.removeItem(atPath: "\(bench.folder)/train/photos/61.ppm")
    #expect(try row()["iou"] == mean)
    // Centres of patches of 8 pixels are at 4, 12, 20, …
    try bench.write("small/60.pgm", Self.grey(64, 64) { x, y in x < 32 ? 1 : x > 56 && x < 60 && y < 2 ? 2 : 0 })
    let finetune = ["finetune", "--task", "segmentation", "--data", "\(bench.folder)/train/photos", "--model", bench.model, "-o", "\(bench.folder)/h.safetensors", "--image-size", "64x64"]
    let small = try Self.run(finetune + ["--masks", "\(bench.folder)/small"]).errors
    #expect(small.contains("class 2 is in 1 mask, but in no patch that was learnt from"))
    try bench.write("void/60.ppm", Self.coloured(64, 64) { x, y in x == 0 && y == 0 ? 1 : 255 })
    #expect(try Self.run(finetune + ["--masks", "\(bench.folder)/void"], status: 65).errors.contains("no patch has a class"))
    // Masks in an archive.
    try bench.write("masks.tar", Self.tar([("60.pgm", Self.grey(64, 64) { x, _ in x < 32 ? 255 : 0 })]))
    for command in [finetune, evaluate.filter { $0 != "--masks" && !$0.hasSuffix("/masks") }] {
      let refused = try Self.run(command + ["--masks", "\(bench.folder)/masks.tar"], status: 64).errors
      #expect(refused.contains("masks.tar: masks are read from a folder") && refused.contains("tar -xf"))
    }
  }

  /// An archive with these files, in this order.
  private static func tar(_ files: [(name: String, bytes: [UInt8])]) -> [UInt8] {
    var all: [UInt8] = []
    for file in files {
      var header = [UInt8](repeating: 0, count: 512)
      func put(_ text: String, _ at: Int) { for (i, byte) in text.utf8.enumerated() { header[at + i] = byte } }
      func octal(_ value: Int, _ digits: Int) -> String { let text = String(value, radix: 8); return String(repeating: "0", count: digits - text.count) + text }
      put(file.name, 0)
      put("0000644", 100)
      put(octal(file.bytes.count, 11), 124)
      put("00000000000", 136)
      put("        ", 148)
      put("0", 156)
      put("ustar", 257)
      put("00", 263)
      put(octal(header.reduce(0) { $0 + Int($1) }, 6), 148)
      header[154] = 0
      all += header + file.bytes + [UInt8](repeating: 0, count: (512 - file.bytes.count % 512) % 512)
    }
    return all + [UInt8](repeating: 0, count: 1024)
  }

  /// Masks are drawn on what viewers show.
  @Test func photographsOnTheirSideAreSaid() throws {
    let bench = try Bench()
    defer { bench.remove() }
    try bench.write("photos/a.jpg", Bench.onItsSide())
    let stored = try ImageDecoder.decode(path: "\(bench.folder)/photos/a.jpg"), width = stored.width, height = stored.height
    try #require(width != height)
    try bench.write("viewed/a.pgm", Self.grey(height, width) { x, _ in x < 12 ? 255 : 0 })
    try bench.write("stored/a.pgm", Self.grey(width, height) { x, _ in x < 12 ? 255 : 0 })
    let said = "1 photograph has an EXIF orientation that is not followed"
    let evaluate = ["evaluate", "segmentation", "--images", "\(bench.folder)/photos", "--model", bench.model, "--methods", "attention,kmeans", "--image-size", "64x64", "--masks"]
    let finetune = ["finetune", "--task", "segmentation", "--data", "\(bench.folder)/photos", "--model", bench.model, "-o", "\(bench.folder)/h.safetensors", "--image-size", "64x64", "--masks"]
    for command in [evaluate, finetune] {
      #expect(try Self.run(command + ["\(bench.folder)/viewed"], status: 65).errors.contains("--exif-orientation turns photographs"))
      #expect(try Self.run(command + ["\(bench.folder)/stored", "--exif-orientation"], status: 65).errors.contains("leave --exif-orientation out"))
      #expect(try !Self.run(command + ["\(bench.folder)/viewed", "--exif-orientation"]).errors.contains(said))
      #expect(try Self.run(command + ["\(bench.folder)/stored"]).errors.contains(said))
    }
    for method in ["attention", "kmeans"] {
      let segment = ["segment", "\(bench.folder)/photos", "--model", bench.model, "--method", method, "--image-size", "64x64", "-o", "\(bench.folder)/out"]
      #expect(try Self.run(segment).errors.contains(said))
      #expect(try !Self.run(segment + ["--exif-orientation"]).errors.contains("EXIF"))
    }
    // So are those that features are made of.
    for command in [["features", "\(bench.folder)/photos", "-o", "\(bench.folder)/x.npy"], ["attention", "\(bench.folder)/photos", "--output-dir", "\(bench.folder)/attention"], ["index", "\(bench.folder)/photos", "-o", "\(bench.folder)/bank"]] {
      #expect(try Self.run(command + ["--model", bench.model]).errors.contains(said), "\(command[0])")
    }
  }

  @Test func headsThatCannotBeLearntOrAreMissingAreTold() throws {
    let bench = try Bench()
    defer { bench.remove() }
    try Self.brightObjects(bench, "train", seeds: 60...61)
    let finetune = ["finetune", "--task", "segmentation", "--data", "\(bench.folder)/train/photos", "--model", bench.model, "-o", "\(bench.folder)/h.safetensors", "--image-size", "64x64"]
    #expect(try Self.run(["segment", "--method", "head", "--model", bench.model, "-o", "\(bench.folder)/out", "\(bench.folder)/train/photos"], status: 65).errors.contains("no segmentation head"))
    #expect(try Self.run(finetune + ["--masks", "\(bench.folder)/train/photos"], status: 65).errors.contains("a mask is grey"))
    try bench.write("one/60.pgm", Self.grey(64, 64) { _, _ in 9 })
    try bench.write("one/61.pgm", Self.grey(64, 64) { _, _ in 9 })
    #expect(try Self.run(finetune + ["--masks", "\(bench.folder)/one"], status: 65).errors.contains("at least 2"))
    try bench.write("one/61.pgm", Self.grey(64, 32) { _, _ in 9 })
    #expect(try Self.run(finetune + ["--masks", "\(bench.folder)/one"], status: 65).errors.contains("64x32"))
    try FileManager.default.removeItem(atPath: "\(bench.folder)/one/61.pgm")
    #expect(try Self.run(finetune + ["--masks", "\(bench.folder)/one"], status: 66).errors.contains("no mask"))
    #expect(!bench.exists("h.safetensors"))
  }

  // MARK: retrieval

  @Test func retrievalTakesOnlyWhatItUnderstands() throws {
    let bench = try Bench()
    defer { bench.remove() }
    for i in 0..<4 { try bench.write("set/\(i).ppm", Bench.photograph(seed: UInt64(20 + i), width: 40, height: 40)) }
    func truth(_ images: String, _ query: String) throws -> [String] {
      try bench.write("g.json", Array(#"{"imlist":[\#(images)],"qimlist":["0.ppm"],"gnd":[\#(query)]}"#.utf8))
      return ["evaluate", "retrieval", "\(bench.folder)/set", "--ground-truth", "\(bench.folder)/g.json", "--model", bench.model, "--image-size", "32"]
    }
    // A name may have its ending. No query has a hard image.
    let names = #""0.ppm","1","2","3""#, good = #"{"easy":[1],"hard":[],"junk":[0]}"#
    let evaluate = try truth(names, good)
    let text = try Self.run(evaluate + ["--expand", "\(Int.max)"]).output, json = try JSONValue.parse(Self.run(evaluate + ["--json"]).output)
    let maps = try #require(json["results"]?.arrayValue).map { $0["map"] }
    try #require(maps.count == 3)
    #expect(maps[0]?.doubleValue != nil && maps[2] == JSONValue.null)
    #expect(text.contains("hard: mAP -,"))
    // Whitening goes without what it cannot read, which is counted.
    try bench.write("bad/a.ppm", [7])
    #expect(try Self.run(evaluate + ["--whiten", "\(bench.folder)/bad"], status: 65).errors.contains("bad: none of the 1 inputs"))
    for i in 0..<2 { try bench.write("mixed/\(i).ppm", Bench.photograph(seed: UInt64(25 + i), width: 40, height: 40)) }
    try bench.write("mixed/small.ppm", Bench.photograph(seed: 1, width: 1, height: 2))
    let whitened = try Self.run(evaluate + ["--whiten", "\(bench.folder)/mixed"], status: 1)
    #expect(whitened.errors.contains("small.ppm: its 1x2 pixels") && whitened.errors.contains("skipped 1 of 8"))
    #expect(whitened.errors.contains("2 pictures of") && whitened.errors.contains("fewer than the 24 numbers"))
    try bench.write("single/a.ppm", Bench.photograph(seed: 25, width: 40, height: 40))
    #expect(try Self.run(evaluate + ["--whiten", "\(bench.folder)/single"], status: 65).errors.contains("at least 2"))
    // The protocol does not go without any of its images.
    try bench.write("set/small.ppm", Bench.photograph(seed: 1, width: 1, height: 2))
    #expect(try Self.run(truth(names + #","small""#, good), status: 65).errors.contains("small.ppm: its 1x2 pixels"))
    for (query, sentence) in [(#"{"easy":[],"hard":[],"junk":[0]}"#, "no query has"), (#"{"easy":[1],"hard":[],"Junk":[0]}"#, "no 'junk'"), (#"{"ok":[1],"junk":[0]}"#, "gnd_roxford5k")] {
      let refused = try Self.run(truth(names, query), status: 65)
      #expect(refused.errors.contains(sentence) && refused.output.isEmpty)
    }
  }

  // MARK: video

  /// A video that stands still, 64 x 64, whose object is the left `width` columns in the first annotation and the left `truth` columns in those that count; the last is nonsense.
  private static func sequence(_ bench: Bench, _ name: String, width: Int, truth: Int) throws {
    for i in 0..<5 {
      try bench.write("davis/JPEGImages/\(name)/0\(i).ppm", Bench.photograph(seed: 40, width: 64, height: 64))
      let columns = i == 0 ? width : i == 4 ? 1 : truth
      try bench.write("davis/Annotations/\(name)/0\(i).pgm", Self.grey(64, 64) { x, _ in x < columns ? 255 : 0 })
    }
  }

  /// One neighbour only: each patch is most like itself, so labels stay where they are.
  private static let still = ["--size", "64", "--top-k", "1"]

  @Test func videoFiguresFollowByHand() throws {
    let bench = try Bench()
    defer { bench.remove() }
    try Self.sequence(bench, "one", width: 24, truth: 24)
    // Half of what is asked for, and its outline nowhere near.
    try Self.sequence(bench, "two", width: 24, truth: 48)
    let evaluate = ["evaluate", "video-segmentation", "\(bench.folder)/davis", "--model", bench.model, "--json"] + Self.still
    let found = try JSONValue.parse(Self.run(evaluate + ["-o", "\(bench.folder)/out"]).output)
    let sequences = try #require(found["sequences"]?.arrayValue)
    #expect(sequences.map { $0["name"]?.stringValue } == ["one", "two"])
    func object(_ i: Int, _ key: String) -> Double? { sequences[i]["objects"]?.arrayValue?.first?[key]?.doubleValue }
    #expect(object(0, "j") == 100 && object(0, "f") == 100 && object(1, "j") == 50 && object(1, "f") == 0)
    #expect(found["j"]?.doubleValue == 75 && found["f"]?.doubleValue == 50 && found["jf"]?.doubleValue == 62.5)
    let mask = try LabelMap(ImageDecoder.decode(path: "\(bench.folder)/out/two/03.png"), name: "03.png")
    #expect(mask.values == (0..<64 * 64).map { $0 % 64 < 24 ? 255 : 0 })
    #expect(try bench.listing("out/one").count == 5)
    let one = try JSONValue.parse(Self.run(evaluate + ["--sequences", "one"]).output)
    #expect(one["jf"]?.doubleValue == 100)
    #expect(found["j_recall"]?.doubleValue == 50 && found["f_recall"]?.doubleValue == 50 && found["j_decay"]?.doubleValue == 0)
    // The data set's own lists, of names or of paths, and a list of one's own.
    func names(_ more: [String] = []) throws -> ([String?], String) {
      let result = try Self.run(evaluate + more)
      return (try #require(try JSONValue.parse(result.output)["sequences"]?.arrayValue).map { $0["name"]?.stringValue }, result.errors)
    }
    try bench.write("davis/ImageSets/480p/val.txt", Array("/JPEGImages/480p/two/00.jpg /Annotations/480p/two/00.png\n/JPEGImages/480p/two/01.jpg /Annotations/480p/two/01.png\n".utf8))
    let pairs = try names()
    #expect(pairs.0 == ["two"] && pairs.1.contains("1 of 2 sequences") && pairs.1.contains("480p/val.txt"))
    try bench.write("davis/ImageSets/2017/val.txt", Array("one\r\n\n".utf8))
    #expect(try names().0 == ["one"])
    try bench.write("mine.txt", Array("two\none\n".utf8))
    #expect(try names(["--sequences", "\(bench.folder)/mine.txt"]).0 == ["two", "one"])
    #expect(try Self.run(evaluate + ["--sequences", "\(bench.folder)/no.txt"], status: 66).errors.contains("no.txt"))
    try bench.write("davis/ImageSets/2017/val.txt", Array("three\n".utf8))
    #expect(try Self.run(evaluate, status: 66).errors.contains("there is no sequence three"))
  }

  /// After the first no annotation has a pixel of a colour; label 7 stays label 7.
  @Test func annotationsOfASequenceAreReadAlike() throws {
    let bench = try Bench()
    defer { bench.remove() }
    for i in 0..<5 {
      try bench.write("davis/JPEGImages/one/0\(i).ppm", Bench.photograph(seed: 40, width: 64, height: 64))
      try bench.write("davis/Annotations/one/0\(i).ppm", Self.coloured(64, 64) { x, _ in x < 8 ? (i == 0 ? 1 : 0) : x < 24 ? 7 : 0 })
    }
    let found = try JSONValue.parse(Self.run(["evaluate", "video-segmentation", "\(bench.folder)/davis", "--model", bench.model, "--json"] + Self.still).output)
    let objects = try #require(found["sequences"]?.arrayValue?.first?["objects"]?.arrayValue)
    #expect(objects.map { $0["j"]?.doubleValue } == [0, 100])
  }

  /// DAVIS' void is background in the first annotation, as in davis2017-evaluation, and is not carried along.
  @Test func voidIsNoObjectOfAVideo() throws {
    let bench = try Bench()
    defer { bench.remove() }
    for i in 0..<5 {
      try bench.write("davis/JPEGImages/one/0\(i).ppm", Bench.photograph(seed: 40, width: 64, height: 64))
      try bench.write("davis/Annotations/one/0\(i).ppm", Self.coloured(64, 64) { x, _ in x < 24 ? 1 : x < 56 ? 0 : 255 })
    }
    let found = try JSONValue.parse(Self.run(["evaluate", "video-segmentation", "\(bench.folder)/davis", "--model", bench.model, "--json"] + Self.still).output)
    let objects = try #require(found["sequences"]?.arrayValue?.first?["objects"]?.arrayValue)
    #expect(objects.map { $0["j"]?.doubleValue } == [100])
    let carry = ["video", "\(bench.folder)/davis/JPEGImages/one", "--mask", "\(bench.folder)/davis/Annotations/one/00.ppm", "--model", bench.model, "-o", "\(bench.folder)/out", "--json"]
    let carried = try JSONValue.parse(Self.run(carry + Self.still).output)
    #expect(carried["labels"]?.arrayValue?.map(\.integerValue) == [1])
    for i in [0, 4] { #expect(try LabelMap.read("\(bench.folder)/out/0\(i).png").labels.labels == [1]) }
  }

  /// A mask whose edges are smooth has two levels all the same, wherever masks are read; labels of many small numbers stay labels, and what is neither is refused.
  @Test func smoothMasksAreBlackAndWhite() throws {
    let bench = try Bench()
    defer { bench.remove() }
    try Self.sequence(bench, "one", width: 24, truth: 24)
    try Self.brightObjects(bench, "train", seeds: 60...61)
    for i in 0..<5 { try bench.write("davis/Annotations/one/0\(i).pgm", Self.grey(64, 64) { x, y in x < 24 ? 255 : x == 24 ? UInt8(4 * y) : 0 }) }
    for seed in 60...61 {
      try bench.write("smooth/\(seed).pgm", Self.grey(64, 64) { x, y in x < 24 ? 255 : x == 24 ? UInt8(4 * y) : 0 })
      try bench.write("many/\(seed).pgm", Self.grey(64, 64) { x, y in x < 8 && y < 32 ? 255 : UInt8(x / 8 + 8 * (y / 32)) })
      try bench.write("ramp/\(seed).pgm", Self.grey(64, 64) { x, _ in UInt8(4 * x) })
      try bench.write("photo/\(seed).jpg", [UInt8](Data(contentsOf: URL(fileURLWithPath: Fixtures.path("imaging/decode/jpeg_grey.jpg")))))
    }
    let frames = "\(bench.folder)/davis/JPEGImages/one", said = "read as black and white"
    let evaluated = try Self.run(["evaluate", "video-segmentation", "\(bench.folder)/davis", "--model", bench.model, "--json"] + Self.still)
    let objects = try #require(try JSONValue.parse(evaluated.output)["sequences"]?.arrayValue?.first?["objects"]?.arrayValue)
    #expect(objects.count == 1 && evaluated.errors.components(separatedBy: said).count == 2)
    let carry = ["video", frames, "--mask", "\(bench.folder)/smooth/60.pgm", "--model", bench.model, "-o", "\(bench.folder)/out", "--json"]
    let carried = try Self.run(carry + Self.still)
    #expect(try JSONValue.parse(carried.output)["labels"]?.arrayValue?.map(\.integerValue) == [255])
    #expect(carried.errors.contains(said))
    func learn(_ masks: String, status: Int32 = 0) throws -> ToolResult {
      let data = ["--data", "\(bench.folder)/train/photos", "--masks", "\(bench.folder)/\(masks)"]
      return try Self.run(["finetune", "--task", "segmentation", "--model", bench.model, "-o", "\(bench.folder)/h.safetensors", "--image-size", "64x64", "--json"] + data, status: status)
    }
    func labels(_ result: ToolResult) throws -> [Int] { try (JSONValue.parse(result.output)["labels"]?.arrayValue ?? []).compactMap(\.integerValue) }
    let smooth = try learn("smooth"), many = try learn("many")
    #expect(try labels(smooth) == [0, 255])
    #expect(smooth.errors.contains(said))
    #expect(try labels(many) == Array(1...15))
    #expect(!many.errors.contains(said))
    for neither in ["ramp", "photo"] { #expect(try learn(neither, status: 65).errors.contains("this is neither")) }
    let measure = ["evaluate", "segmentation", "--images", "\(bench.folder)/train/photos", "--masks", "\(bench.folder)/ramp", "--model", bench.model, "--image-size", "64x64", "--methods", "attention"]
    #expect(try Self.run(measure).errors.contains(said))
  }

  /// White everywhere, and cut out by transparency: pixels without alpha would be all object.
  @Test func masksInTheAlphaChannelAreRefused() throws {
    let bench = try Bench()
    defer { bench.remove() }
    try Self.sequence(bench, "one", width: 24, truth: 24)
    func cutOut(_ alpha: (Int) -> UInt8) throws -> [UInt8] {
      let pixels: [UInt8] = (0..<64 * 64).flatMap { i -> [UInt8] in
        let level: UInt8 = i % 64 < 24 ? 255 : 0
        return [level, level, level, alpha(i % 64)]
      }
      return try PNGEncoder.encode(Image(width: 64, height: 64, channels: 4, pixels: pixels))
    }
    try bench.write("cut.png", cutOut { $0 < 24 ? 255 : 0 })
    try bench.write("whole.png", cutOut { _ in 255 })
    func carry(_ mask: String) -> [String] {
      ["video", "\(bench.folder)/davis/JPEGImages/one", "--mask", "\(bench.folder)/\(mask)", "--model", bench.model, "--no-overlay", "-o", "\(bench.folder)/out"] + Self.still
    }
    let refused = try Self.run(carry("cut.png"), status: 65)
    #expect(refused.errors.contains("cut.png: the object is in the alpha channel") && refused.errors.contains("grey PNG"))
    _ = try Self.run(carry("whole.png"))
  }

  @Test func setsWithHolesAreRefused() throws {
    let bench = try Bench()
    defer { bench.remove() }
    try Self.sequence(bench, "one", width: 24, truth: 24)
    let evaluate = ["evaluate", "video-segmentation", "\(bench.folder)/davis", "--model", bench.model] + Self.still
    #expect(try Self.run(evaluate + ["--sequences", "three"], status: 66).errors.contains("three"))
    for twice in ["one,one", ","] { #expect(try Self.run(evaluate + ["--sequences", twice], status: 64).errors.contains("--sequences")) }
    for kind in ["JPEGImages", "Annotations"] { try bench.write("davis/\(kind)/one/sub/00.ppm", Bench.photograph(seed: 40, width: 64, height: 64)) }
    #expect(try Self.run(evaluate, status: 65).errors.contains("several frames have one name"))
    for kind in ["JPEGImages", "Annotations"] { try FileManager.default.removeItem(atPath: "\(bench.folder)/davis/\(kind)/one/sub") }
    try FileManager.default.removeItem(atPath: "\(bench.folder)/davis/Annotations/one/02.pgm")
    #expect(try Self.run(evaluate, status: 66).errors.contains("02"))
    try bench.write("davis/Annotations/one/02.pgm", Self.grey(63, 64) { _, _ in 255 })
    #expect(try Self.run(evaluate, status: 65).errors.contains("63x64"))
    try bench.write("davis/Annotations/one/02.pgm", Self.grey(64, 64) { x, _ in x < 24 ? 255 : 0 })
    // Annotations of no frame, and of no sequence.
    try bench.write("davis/Annotations/one/05.pgm", Self.grey(64, 64) { _, _ in 255 })
    #expect(try Self.run(evaluate, status: 65).errors.contains("05.pgm: the annotation is of no frame"))
    try FileManager.default.removeItem(atPath: "\(bench.folder)/davis/Annotations/one/05.pgm")
    try bench.write("davis/Annotations/lost/00.pgm", Self.grey(64, 64) { _, _ in 255 })
    #expect(try Self.run(evaluate, status: 65).errors.contains("lost: the annotated sequence has no frames"))
    _ = try Self.run(evaluate + ["--sequences", "one"])
    try FileManager.default.removeItem(atPath: "\(bench.folder)/davis/Annotations/lost")
    // What is wrong with the last sequence is known before the first runs.
    try Self.sequence(bench, "two", width: 24, truth: 24)
    for (file, bytes, sentence) in [
      ("Annotations/two/00.pgm", Self.grey(64, 64) { _, _ in 0 }, "two/00.pgm: the mask of the first frame has no object"), ("Annotations/two/03.pgm", Self.grey(64, 60) { _, _ in 255 }, "64x60"),
      ("JPEGImages/two/03.ppm", Bench.photograph(seed: 1, width: 60, height: 64), "60x64"),
    ] {
      let good = try bench.bytes("davis/\(file)")
      try bench.write("davis/\(file)", bytes)
      let refused = try Self.run(evaluate + ["-o", "\(bench.folder)/never"], status: 65)
      #expect(refused.errors.contains(sentence) && !refused.errors.contains("finished before") && !bench.exists("never"), "\(refused.errors)")
      try bench.write("davis/\(file)", good)
    }
    // What only shows later takes nothing away from what is measured.
    try bench.write("davis/JPEGImages/two/03.ppm", Array("P6\n64 64\n255\n".utf8))
    let late = try Self.run(evaluate, status: 65)
    #expect(late.errors.contains("finished before this failed: one: J&F 100.0") && late.errors.contains("two/03.ppm") && late.output.isEmpty)
    try FileManager.default.removeItem(atPath: "\(bench.folder)/davis/JPEGImages/two")
    try FileManager.default.removeItem(atPath: "\(bench.folder)/davis/Annotations/two")
    for i in 2..<5 { try FileManager.default.removeItem(atPath: "\(bench.folder)/davis/JPEGImages/one/0\(i).ppm") }
    #expect(try Self.run(evaluate, status: 65).errors.contains("at least 3"))
    #expect(try Self.run(["evaluate", "video-segmentation", bench.folder, "--model", bench.model], status: 66).errors.contains("JPEGImages"))
  }

  @Test func aMaskIsCarriedThroughAVideo() throws {
    let bench = try Bench()
    defer { bench.remove() }
    try Self.sequence(bench, "one", width: 24, truth: 24)
    let frames = "\(bench.folder)/davis/JPEGImages/one"
    _ = try Self.run(["video", frames, "--mask", "\(bench.folder)/davis/Annotations/one/00.pgm", "--model", bench.model, "-o", "\(bench.folder)/out"] + Self.still)
    #expect(try bench.listing("out") == (0..<5).flatMap { ["0\($0).png", "0\($0)_overlay.png"] })
    #expect(try LabelMap(ImageDecoder.decode(path: "\(bench.folder)/out/04.png"), name: "04.png").values == (0..<64 * 64).map { $0 % 64 < 24 ? 255 : 0 })
    try bench.write("empty.pgm", Self.grey(64, 64) { _, _ in 0 })
    #expect(try Self.run(["video", frames, "--mask", "\(bench.folder)/empty.pgm", "--model", bench.model, "-o", "\(bench.folder)/none"] + Self.still, status: 65).errors.contains("no object"))
    // A mask among the frames is none of them; results are not put beside frames, which the next run would take them for.
    try bench.write("davis/JPEGImages/one/00.pgm", bench.bytes("davis/Annotations/one/00.pgm"))
    let among = ["video", frames, "--mask", "\(bench.folder)/davis/JPEGImages/one/../one/00.pgm", "--model", bench.model, "--no-overlay"] + Self.still
    #expect(try Self.run(among + ["-o", "\(bench.folder)/among"]).errors.contains("00.pgm is the mask, and no frame"))
    #expect(try bench.listing("among") == (0..<5).map { "0\($0).png" })
    for i in 0..<5 { #expect(try bench.bytes("among/0\(i).png") == bench.bytes("out/0\(i).png")) }
    let files = ["video", "\(frames)/00.ppm", "\(frames)/01.ppm", "--mask", "\(bench.folder)/davis/Annotations/one/00.pgm", "--model", bench.model]
    #expect(try Self.run(files + ["-o", frames] + Self.still, status: 64).errors.contains("that this command reads"))
    #expect(try bench.listing("davis/JPEGImages/one") == ["00.pgm"] + (0..<5).map { "0\($0).ppm" })
  }

  /// An archive's members come as they were put in, and a video's frames by their names. An object between the centres of patches is said to be lost.
  @Test func framesOfAnArchiveAreInOrder() throws {
    let bench = try Bench()
    defer { bench.remove() }
    try Self.sequence(bench, "one", width: 24, truth: 24)
    let frames = try (0..<4).map { i in ("0\(i).ppm", i == 0 ? try bench.bytes("davis/JPEGImages/one/00.ppm") : Bench.photograph(seed: UInt64(40 + i), width: 64, height: 64)) }
    for (name, bytes) in frames { try bench.write("frames/\(name)", bytes) }
    try bench.write("mixed.tar", Self.tar([frames[2], frames[0], frames[3], frames[1]]))
    try bench.write("fall.txt", Array([2, 0, 3, 1].map { "\(bench.folder)/frames/0\($0).ppm\n" }.joined().utf8))
    func carry(_ input: String, _ out: String, mask: String = "davis/Annotations/one/00.pgm") throws -> String {
      try Self.run(["video", "\(bench.folder)/\(input)", "--mask", "\(bench.folder)/\(mask)", "--model", bench.model, "--no-overlay", "--size", "64", "-o", "\(bench.folder)/\(out)"]).errors
    }
    let inOrder = try carry("frames", "a") + carry("mixed.tar", "b"), fall = try carry("fall.txt", "c")
    #expect(!inOrder.contains("is taken before") && !inOrder.contains("under no patch") && fall.contains("02.ppm is taken before") && fall.contains("of a list in its own"))
    for i in 0..<4 { #expect(try bench.bytes("a/0\(i).png") == bench.bytes("b/0\(i).png")) }
    try bench.write("small.pgm", Self.grey(64, 64) { x, y in x < 24 ? 1 : x > 56 && x < 60 && y < 2 ? 2 : 0 })
    #expect(try carry("frames", "d", mask: "small.pgm").contains("small.pgm: object 2 is under no patch of the first frame and cannot be followed; a larger --size may help"))
  }

  /// Each patch is a square in the colour of the heads' mean; a frame that cannot be read is named and left out.
  @Test func attentionIsDrawnFrameByFrame() throws {
    let bench = try Bench()
    defer { bench.remove() }
    for i in 0..<3 { try bench.write("frames/\(i).ppm", Bench.photograph(seed: UInt64(50 + i), width: 64, height: 64)) }
    try bench.write("frames/1.ppm", [7])
    let result = try Self.run(["video", "\(bench.folder)/frames", "--model", bench.model, "--size", "64", "-o", "\(bench.folder)/out", "--json"], status: 1)
    #expect(result.errors.contains("1.ppm") && !result.errors.contains("is taken before"))
    #expect(try JSONValue.parse(result.output)["frames"]?.integerValue == 2)
    #expect(try bench.listing("out") == ["0.png", "2.png"])
    let mean = try PictureCommandTests.maps(bench, "frames/2.ppm", height: 64, width: 64).mean
    let expected = HeatMap(width: 8, height: 8, values: mean.values).image(.inferno), found = try ImageDecoder.decode(path: "\(bench.folder)/out/2.png")
    try #require(found.width == 64 && found.height == 64)
    for y in 0..<64 { for x in 0..<64 { #expect((0..<3).allSatisfy { found[x, y, $0] == expected[x / 8, y / 8, $0] }) } }
    for name in ["1", "3", "11"] { try bench.write("walk/\(name).ppm", try bench.bytes("frames/0.ppm")) }
    let unpadded = try Self.run(["video", "\(bench.folder)/walk", "--model", bench.model, "--size", "64", "-o", "\(bench.folder)/walked"]).errors
    #expect(unpadded.contains("11.ppm is taken before") && unpadded.contains("zeros"))
    try bench.write("wide/0.ppm", Bench.photograph(seed: 1, width: 4000, height: 3))
    #expect(try Self.run(["video", "\(bench.folder)/wide", "--model", bench.model, "-o", "\(bench.folder)/none"], status: 65).errors.contains("4000x3 pixels would be resized to 640000x480"))
    try bench.write("bad/0.ppm", [7])
    #expect(try Self.run(["video", "\(bench.folder)/bad", "--model", bench.model, "-o", "\(bench.folder)/none"], status: 65).output.isEmpty)
  }
}
