// The segmentation head of the weight format (M13): it comes back as it was written, beside a classifier too, and what contradicts itself is refused with a sentence.

import Dino
import DinoModels
import DinoTensor
import TestSupport
import Testing

@Suite struct SegmentationHeadTests {
  private static func head(_ labels: [UInt8] = [0, 7, 255]) -> SegmentationHead {
    var random = SplitMix64(seed: 3)
    return SegmentationHead(labels: labels, weight: Tensor(random.floats(labels.count * 24), shape: [labels.count, 24]), bias: Tensor(random.floats(labels.count), shape: [labels.count]))
  }

  @Test func aHeadComesBackBesideAClassifier() throws {
    try ModelTests.inFolder { folder in
      var writer = try ModelTests.writer()
      var head = Self.head()
      let features = FeatureSettings(tokens: .clsAndMean, layers: 2)
      head.preprocessing = Preprocessing(resize: .exact(height: 96, width: 64), interpolation: .nearest, crop: nil, mean: [0, 0.5, 1], std: [1, 0.25, 0.5])
      writer.setSegmentationHead(head)
      writer.setClassifier(ClassifierHead(names: ["a", "b"], settings: features, weight: Tensor([Float](repeating: 1, count: 2 * 96), shape: [2, 96]), bias: Tensor([0, 1], shape: [2])))
      try writer.write(.dino, to: "\(folder)/m.safetensors")
      let checkpoint = try Checkpoint(path: "\(folder)/m.safetensors"), found = try #require(try checkpoint.segmentationHead())
      #expect(found.labels == head.labels && found.weight.floats() == head.weight.floats() && found.bias.floats() == head.bias.floats())
      #expect(found.preprocessing == head.preprocessing)
      #expect(try checkpoint.classifierHead()?.names == ["a", "b"])
      // Nobody is told that its tensors are of no use.
      #expect(!DinoModel(checkpoint: checkpoint).notes.contains { $0.contains("seg_head") })
      // The greatest score by hand.
      var random = SplitMix64(seed: 9)
      let rows = random.floats(5 * 24), w = head.weight.floats(), b = head.bias.floats()
      let expected = (0..<5).map { i in
        let scores = (0..<3).map { c in Double(b[c]) + (0..<24).reduce(0.0) { $0 + Double(w[c * 24 + $1]) * Double(rows[i * 24 + $1]) } }
        return scores.firstIndex(of: scores.max()!)!
      }
      #expect(found.classes(rows) == expected)
      // A file without one has none.
      try ModelTests.writer().write(.dino, to: "\(folder)/n.safetensors")
      #expect(try Checkpoint(path: "\(folder)/n.safetensors").segmentationHead() == nil)
    }
  }

  @Test(arguments: [
    (#"{"labels":[0,7,255],"tokens":"cls"}"#, "must say 'patch'"), (#"{"labels":[0,7,256],"tokens":"patch"}"#, "labels from 0 to 255"), (#"{"labels":[0,7,7],"tokens":"patch"}"#, "none twice"),
    (#"{"labels":[0],"tokens":"patch"}"#, "at least two"), (#"{"tokens":"patch"}"#, "at least two"), ("{", "no valid JSON"), (#"{"labels":[0,7],"tokens":"patch"}"#, "where [2, 24]"),
    (#"{"labels":[0,7,255],"tokens":"patch","preprocessing":{"resize":0}}"#, "malformed preprocessing"),
  ])
  func contradictionsAreRefused(_ record: String, _ sentence: String) throws {
    try ModelTests.inFolder { folder in
      var writer = try ModelTests.writer()
      writer.setSegmentationHead(Self.head())
      writer.other[SegmentationHead.metadataKey] = record
      try writer.write(.dino, to: "\(folder)/m.safetensors")
      let error = #expect(throws: DinoError.self) { _ = try Checkpoint(path: "\(folder)/m.safetensors").segmentationHead() }
      #expect(error?.message.contains(sentence) == true, "\(error?.message ?? "")")
    }
  }

  @Test func aRecordWithoutItsTensorsIsRefused() throws {
    try ModelTests.inFolder { folder in
      var writer = try ModelTests.writer()
      writer.setSegmentationHead(Self.head())
      writer.extra = []
      try writer.write(.dino, to: "\(folder)/m.safetensors")
      let error = #expect(throws: DinoError.self) { _ = try Checkpoint(path: "\(folder)/m.safetensors").segmentationHead() }
      #expect(error?.message.contains("seg_head.weight") == true)
    }
  }
}
