// What a program asks by mistake, or on behalf of somebody: refused with a sentence or answered with nothing, and the process goes on.

import Dino
import DinoModels
import DinoTensor
import TestSupport
import Testing

@Suite struct RefusalTests {
  private static func refused(_ kind: DinoError.Kind = .usage, naming part: String, _ body: () throws -> Void) {
    do {
      try body()
      Issue.record("nothing was refused, where the sentence was to name '\(part)'")
    } catch let error as DinoError {
      #expect(error.kind == kind && error.message.contains(part), "\(error)")
    } catch {
      Issue.record("\(error)")
    }
  }

  private static func withModel(_ body: (DinoModel, String) throws -> Void) throws {
    try ModelTests.inFolder { folder in
      try ModelTests.writer().write(.dino, to: "\(folder)/m.safetensors")
      try body(try DinoModel(contentsOf: "\(folder)/m.safetensors"), folder)
    }
  }

  @Test(arguments: [Int.max, 9_000_000_000_000_000_000, 65_537, 0, -5]) func imageSizesHaveBounds(side: Int) {
    var changes = PreprocessingChanges()
    changes.size = .shorterSide(side)
    let wrong = changes
    Self.refused(naming: "not \(side)") { _ = try wrong.applied(to: Preprocessing.imageNet) }
  }

  @Test func batchesAreOfOneSize() throws {
    try Self.withModel { model, _ in
      var changes = PreprocessingChanges()
      changes.size = .exact(height: 32, width: 48)
      let photograph = ModelTests.photograph(width: 40, height: 44)
      let square = try model.preparer().prepare(photograph), wide = try model.preparer(changes).prepare(photograph)
      let extractor = try FeatureExtractor(model: model, settings: FeatureSettings())
      Self.refused(naming: "one size") { _ = try extractor.rows([square, wide]) }
      Self.refused(naming: "one size") { _ = try model.copyFeatures([wide, square]) }
      Self.refused(naming: "at least one") { _ = try PreparedImage.batch([]) }
      #expect(try extractor.rows([]).isEmpty)
      #expect(try model.copyFeatures([]).isEmpty)
    }
  }

  @Test func tensorsThatAreNoImages() throws {
    try Self.withModel { model, _ in
      let flat = Tensor([1, 2] as [Float], shape: [1, 2, 1])
      Self.refused(naming: "[1, 3, height, width]") { _ = try model.retrievalFeature(flat, multiScale: true) }
      Self.refused(naming: "[1, 3, height, width]") { _ = try model.retrievalFeature(flat, multiScale: false) }
      #expect(!model.holdsPatch(flat, multiScale: false))
    }
  }

  /// A profile is a run: it has the same outputs and the same budget.
  @Test func profilesKeepTheBudget() throws {
    try Self.withModel { model, _ in
      var options = DinoModel.Options()
      options.attentionBudget = 1000
      let small = DinoModel(checkpoint: model.checkpoint, options: options)
      let input = [DinoModel.inputName: try model.preparer().prepare(ModelTests.photograph(width: 40, height: 44)).tensor]
      Self.refused(.unavailable, naming: "budget") { _ = try small.run(input, outputs: ["attention"]) }
      Self.refused(.unavailable, naming: "budget") { _ = try small.profile(input, outputs: ["attention"]) }
      Self.refused(naming: "nosuch") { _ = try small.profile(input, outputs: ["nosuch"]) }
      #expect(try !small.profile(input, outputs: ["cls"]).isEmpty)
    }
  }

  @Test func photographsHaveASize() throws {
    let preparer = try ImagePreparer(Preprocessing.imageNet, patch: 16)
    for (height, width) in [(0, 0), (-4, Int.max), (224, 0), (Int.max, Int.max)] {
      Self.refused(naming: "sides are 1 to") { _ = try preparer.geometry(height: height, width: width) }
    }
    let bytes = Array("P6\n4 3\n255\n".utf8) + [UInt8](repeating: 7, count: 36)
    for side in [0, -5] {
      let thumbnails = ThumbnailPreparer(side: side, preprocessing: Preprocessing.imageNet)
      guard case .failure(let reason) = thumbnails.prepare(ImageInput(name: "a", place: .bytes(bytes))) else {
        Issue.record("a thumbnail of \(side) pixels was made")
        continue
      }
      #expect(reason.message.contains("not \(side)"), "\(reason)")
      #expect(thumbnails.size(height: 0, width: 0) == (0, 0))
    }
  }

  @Test func mapsOfNothing() throws {
    let geometry = try ImagePreparer(Preprocessing.imageNet, patch: 16).geometry(height: 224, width: 224)
    let none = AttentionMaps(heads: [], geometry: geometry)
    for choice in [HeadChoice.best, .mean, .head(0)] { Self.refused(naming: "no head") { _ = try choice.map(of: none, mass: 0.6) } }
    #expect(none.mean.values.isEmpty && none.bestHead(mass: 0.6) == 0)
    let mask = PatchMask(rows: 2, columns: 2, kept: [true, false, false, true])
    #expect(mask.strongestComponent(of: PatchMap(rows: 1, columns: 1, values: [1])) == mask)
  }

  @Test func rowsThatDoNotFit() throws {
    try ModelTests.inFolder { folder in
      let flat = Tensor([1, 2] as [Float], shape: [2])
      Self.refused(naming: "rows of shape") { try FeatureFile.write(flat, names: ["a", "b"], format: .npy, to: "\(folder)/f.npy") }
      Self.refused(naming: "one line") { _ = try PartialFeatures(output: "\(folder)/f.npy", fingerprint: "a\nb", width: 2, stamps: known([1])) }
      Self.refused(naming: "at least one number") { _ = try PartialFeatures(output: "\(folder)/f.npy", fingerprint: "a", width: 0, stamps: known([1])) }
      let partial = try PartialFeatures(output: "\(folder)/f.npy", fingerprint: "a", width: 2, stamps: known([1]))
      defer { partial.remove() }
      Self.refused(naming: "not 1") { try partial.append(row: [1], of: 0) }
      try partial.append(row: [1, 2], of: 0)
      for input in [0, 1, -1] { Self.refused(naming: "done already") { try partial.append(row: [1, 2], of: input) } }
      #expect(partial.rowCount == 1)
    }
    #expect(OrderedPrefetch(count: -3, ahead: 4, workers: 1) { $0 }.next() == nil)
  }

  @Test func modelsThatAreNotWhole() throws {
    try Self.withModel { model, folder in
      Self.refused(naming: "not -1") { _ = try QualityMeter(model, model).report(voters: -1) }
      let whole = try model.checkpoint.weights()
      var part = whole
      part["patch_embed.proj.weight"] = nil
      let lacking = part
      Self.refused(.data, naming: "is missing") { _ = try ModelQuantizer(config: model.config, weights: lacking, threads: 1) }
      var quantizer = try ModelQuantizer(config: model.config, weights: whole, threads: 1)
      Self.refused(naming: "'nosuch'") { try quantizer.keep("nosuch") }
      try quantizer.keep("blocks.0.attn.qkv")
      #expect(quantizer.kept == ["blocks.0.attn.qkv.weight"])
      var settings = OnnxExportSettings()
      settings.outputs = []
      let nothing = settings
      Self.refused(naming: "at least one output") { _ = try model.exportOnnx(to: "\(folder)/m.onnx", settings: nothing) }
      #expect(throws: DinoError.self) { try OnnxNetwork(contentsOf: "\(folder)/m.onnx") }
    }
  }
}
