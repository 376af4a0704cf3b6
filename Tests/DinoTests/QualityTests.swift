// Figures of quality on networks whose answers are known.

@testable import Dino
import DinoModels
import DinoTensor
import Foundation
import TestSupport
import Testing

@Suite struct QualityTests {
  @Test func cosinesAreSummed() {
    let c = QualityReport.Cosines((0..<200).map { Float($0) / 200 })
    #expect(abs(c.mean - 0.4975) < 1e-6 && c.percentile1 == Double(Float(1) / 200) && c.least == 0)
    #expect(QualityReport.Cosines([]).mean.isNaN && QualityReport.Cosines([1, .nan]).least.isNaN)
  }

  /// Networks that give fixed tokens: two images of 1 + 2 tokens, three numbers each.
  private static func network(_ tokens: [Float], attention: [Float], heads: Int = 1) -> QualityMeter.Network {
    .init(heads: heads, run: { inputs, names in
      let image = Int(inputs[DinoModel.inputName]!.floats()[0])
      return Dictionary(uniqueKeysWithValues: names.map { name in
        name == "tokens" ? (name, Tensor(Array(tokens[image * 9..<image * 9 + 9]), shape: [1, 3, 3]))
          : (name, Tensor(Array(attention[image * 3 * heads..<(image + 1) * 3 * heads]), shape: [1, heads, 3]))
      })
    }, memory: { _ in 1000 })
  }

  private static func image(_ number: Int) -> PreparedImage {
    PreparedImage(tensor: Tensor([Float(number)], shape: [1, 1, 1, 1]),
                  geometry: .init(height: 1, width: 2, resizedHeight: 1, resizedWidth: 2, top: 0, left: 0, rows: 1, columns: 2, patch: 1))
  }

  @Test func figuresOfKnownTokens() throws {
    let a: [Float] = [1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 1, 0, 1, 1, 0, 0, 0, 2]
    // The class tokens stand at 60 and 0 degrees to those of `a`, the patches at 0, 90, 45 and 180.
    let b: [Float] = [0.5, 0.8660254, 0, 0, 3, 0, 1, 0, 0, 0, 2, 0, 1, 0, 0, 0, 0, -1]
    // Of two patches 0.7 and 0.3 the first holds 60 %; of 0.5 and 0.5 both are needed.
    let meter = { () throws -> QualityMeter in
      var m = QualityMeter(Self.network(a, attention: [0.2, 0.7, 0.3, 0.2, 0.5, 0.5]), Self.network(b, attention: [0.2, 0.7, 0.3, 0.2, 0.9, 0.1]), special: 1, threads: 1)
      for i in 0..<2 { try m.add([Self.image(i)]) }
      return m
    }
    let r = try meter().report()
    #expect(r.images == 2 && abs(r.classToken.mean - 0.75) < 1e-6 && abs(r.classToken.least - 0.5) < 1e-6)
    #expect(abs(r.patchTokens.mean - (1 + 0 + 0.5.squareRoot() - 1) / 4) < 1e-6 && abs(r.patchTokens.least + 1) < 1e-6)
    #expect(r.masks?.meanIoU == 0.75 && r.masks?.leastIoU == 0.5 && r.votes == nil)
    #expect(r.neighbours == [.init(k: 1, share: 1)] && r.first.memoryBytes == 1000)
    let gates = r.gates(calibrated: false)
    #expect(gates.count == 3 && gates.allSatisfy { !$0.passes })
    #expect(r.numbers.first { $0.name == "cosine_least" }?.value == r.classToken.least)
    // One class for both images tells nothing; two classes of one image each are never right.
    #expect(try meter().report(classes: ["x", "x"]).votes == nil)
    let votes = try #require(try meter().report(classes: ["x", "y"]).votes)
    #expect(votes.first == 0 && votes.second == 0 && votes.agreement == 1 && votes.classes == 2)
  }

  /// Four images in two pairs; the second network pairs them otherwise.
  @Test func neighboursAndVotes() throws {
    func tokens(_ angles: [Float]) -> [Float] { angles.flatMap { [cos($0), sin($0), 0, 1, 0, 0, 1, 0, 0] } }
    let a = tokens([0, 0.1, 1.5, 1.6]), b = tokens([0, 1.5, 0.1, 1.6])
    let attention = [Float](repeating: 0.5, count: 12)
    var meter = QualityMeter(Self.network(a, attention: attention), Self.network(b, attention: attention, heads: 2), special: 1, threads: 2)
    for i in 0..<4 { try meter.add([Self.image(i)]) }
    let r = try meter.report(classes: ["x", "x", "y", "y"], voters: 1)
    #expect(r.neighbours == [.init(k: 1, share: 0)] && r.masks == nil)
    let votes = try #require(r.votes)
    #expect(votes.first == 1 && votes.second == 0 && votes.agreement == 0 && votes.k == 1)
    #expect(r.gates(calibrated: true).last?.passes == false)
  }

  @Test func aModelIsItsOwnEqual() throws {
    try ModelTests.inFolder { folder in
      try ModelTests.writer().write(.dino, to: "\(folder)/m.safetensors")
      let model = try DinoModel(contentsOf: "\(folder)/m.safetensors"), again = try DinoModel(contentsOf: "\(folder)/m.safetensors")
      var meter = try QualityMeter(model, again)
      for seed in 1...3 { try meter.add([model.preparer().prepare(ModelTests.photograph(width: 40, height: 50, seed: UInt64(seed)))]) }
      let r = try meter.report()
      #expect(r.classToken.least > 0.999999 && r.patchTokens.least > 0.999999 && r.masks?.leastIoU == 1 && r.neighbours == [.init(k: 1, share: 1)])
      #expect(r.first.memoryBytes > 0 && r.first.memoryBytes == r.second.memoryBytes)
    }
  }
}
