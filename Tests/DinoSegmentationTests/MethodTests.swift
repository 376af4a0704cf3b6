// Segmentation by features against the papers' methods with dense eigensolvers, scikit-learn's k-means and the bilateral solver in scipy, written out by
// Tests/Reference/make_segmentation_fixtures.py; co-segmentation on photographs whose answer is known.

import DinoImaging
import DinoTensor
import Foundation
import NumPyArrays
import Safetensors
import TestSupport
import Testing

@testable import Dino
@testable import DinoSegmentation

private let golden: JSONValue = {
  let text = (try? String(contentsOfFile: Fixtures.path("segmentation/golden.json"), encoding: .utf8)) ?? ""
  return (try? JSONValue.parse(text)) ?? .null
}()

extension JSONValue {
  fileprivate func list(_ name: String) -> [JSONValue] { self[name]?.arrayValue ?? [] }
  fileprivate func int(_ name: String) -> Int { self[name]?.integerValue ?? -1 }
  fileprivate func ints(_ name: String) -> [Int] { list(name).compactMap(\.integerValue) }
  fileprivate func floats(_ name: String) -> [Float] { list(name).compactMap { $0.doubleValue.map { Float($0) } } }
  fileprivate func mask(_ name: String) -> [Bool] { ints(name).map { $0 == 1 } }
}

@Suite struct MethodTests {
  private static func cases() throws -> [(features: PatchFeatures, expected: JSONValue)] {
    let all = golden.list("methods")
    try #require(all.count == 3)
    return all.map { (PatchFeatures(rows: $0.int("rows"), columns: $0.int("columns"), width: $0.int("width"), values: $0.floats("features")), $0) }
  }

  @Test(arguments: [1, 2]) func masksAreThoseOfTheDenseMethods(threads: Int) throws {
    for (features, expected) in try Self.cases() {
      let name = "\(features.rows)x\(features.columns)"
      #expect(LOST.object(features, threads: threads).mask.kept == expected.mask("lost"), "lost, \(name)")
      let cut = TokenCut.object(features, threads: threads)
      #expect(cut.converged && cut.mask.kept == expected.mask("tokencut"), "tokencut, \(name)")
      let parts = MaskCut.objects(features, threads: threads)
      #expect((0..<features.count).map { i in parts.contains { $0.kept[i] } } == expected.mask("maskcut"), "maskcut, \(name)")
      let spectral = try DeepSpectral.object(features, threads: threads)
      #expect(spectral.converged && spectral.mask.kept == expected.mask("spectral"), "spectral, \(name)")
    }
  }

  /// Of a network with registers nothing but patches is looked at: features and maps are those of the original's outputs behind its five first tokens.
  @Test func registersAreNoPatches() throws {
    func array(_ name: String) throws -> [Float] { try NumPyArray.read(path: Fixtures.path("registers/other.\(name).npy")).floats() }
    let model = try DinoModel(contentsOf: Fixtures.path("registers/timm"))
    let geometry = PreparedImage.Geometry(height: 21, width: 42, resizedHeight: 21, resizedWidth: 42, top: 0, left: 0, rows: 3, columns: 6, patch: 7)
    let image = PreparedImage(tensor: try NumPyArray.read(path: Fixtures.path("registers/other.input.npy")), geometry: geometry)
    let (features, maps) = try model.patchFeaturesWithAttention(image, .tokens), rows = try array("attention_cls")
    #expect(maxAbsoluteDifference(features.values, Array(try array("tokens")[(5 * 24)...])) < 2e-5)
    #expect(features.count == 18 && maps.heads.count == 3)
    for (h, map) in maps.heads.enumerated() { #expect(maxAbsoluteDifference(map.values, Array(rows[h * 23 + 5..<(h + 1) * 23])) < 2e-5) }
    #expect(LOST.object(try model.patchFeatures(image)).mask.kept.count == 18)
  }

  @Test func principalComponentsAreThoseOfTheSingularVectors() throws {
    for (features, expected) in try Self.cases() {
      let found = PrincipalComponents.object(features)
      #expect(found.mask.kept == expected.mask("pca"))
      // A grey level for what lies between two.
      #expect(zip(found.colours, expected.ints("colours")).allSatisfy { abs(Int($0) - $1) <= 1 } && found.colours.count == 3 * features.count)
    }
  }

  @Test(arguments: [1, 2]) func clicksTakeWhatIsLikeThem(threads: Int) throws {
    for (features, expected) in try Self.cases() {
      for click in expected.list("clicks") {
        let found = Clicks.object(features, foreground: click.ints("foreground"), background: click.ints("background"), threads: threads)
        #expect(found.kept == click.mask("mask"), "\(features.rows)x\(features.columns), \(click.ints("foreground")) against \(click.ints("background"))")
      }
    }
  }

  @Test func kMeansFindsTheBestGroups() throws {
    let cases = golden.list("kmeans")
    try #require(cases.count == 3)
    for c in cases {
      let rows = c.floats("rows"), width = c.int("width"), expected = c.ints("labels")
      let (labels, objective) = KMeans(rows, width: width, k: c.int("k"), threads: 1).nearest(rows, threads: 1)
      #expect(objective <= (c["objective"]?.doubleValue ?? 0) * 1.0001 + 1e-4, "\(objective)")
      // The same groups, under whatever numbers.
      #expect(Set(zip(labels, expected).map { [$0, $1] }).count == Set(expected).count && Set(labels).count == Set(expected).count)
    }
  }

  @Test func theBilateralSolverAgreesWithSparseMatrices() throws {
    let cases = golden.list("bilateral")
    try #require(cases.count == 2)
    for c in cases {
      let photograph = Image(width: c.int("width"), height: c.int("height"), channels: 3, pixels: c.ints("pixels").map(UInt8.init))
      var settings = BilateralSolver.Settings()
      (settings.spatial, settings.luma, settings.chroma) = (Double(c.int("spatial")), Double(c.int("luma")), Double(c.int("chroma")))
      let found = BilateralSolver(photograph, settings: settings).solve(c.ints("target").map(Double.init))
      #expect(maxAbsoluteDifference(found, c.floats("result")) < 1e-4)
    }
  }

  /// A class may be in two parts, and no pixel is of two classes.
  @Test func classesKeepTheirParts() {
    let photograph = Image(width: 96, height: 48, channels: 3, pixels: (0..<96 * 48).flatMap { i -> [UInt8] in
      let column = i % 96
      return column < 64 && column >= 32 ? [20, 30, 220] : [220, 30, 20]
    })
    func mask(_ isInside: (Int) -> Bool) -> PixelMask {
      var mask = PixelMask(height: 48, width: 96)
      for i in mask.values.indices where isInside(i % 96) { mask.values[i] = 255 }
      return mask
    }
    // The edges of what the patches say are a little off; the third class is nowhere.
    let sides = mask { $0 < 28 || $0 >= 64 }, middle = mask { $0 >= 28 && $0 < 64 }, none = mask { _ in false }
    let found = Refinement.bilateral(classes: [sides, middle, none], on: photograph)
    #expect(found.map(\.isAccepted) == [true, true, false])
    #expect(found[0].mask == mask { $0 < 32 || $0 >= 64 })
    #expect(found[1].mask == mask { $0 >= 32 && $0 < 64 })
    #expect(found[2].mask.area == 0)
    // One that the photograph knows nothing of stays as it is; what is left is the others'.
    let speck = mask { $0 == 10 }, rest = mask { $0 < 10 || ($0 > 10 && $0 < 32) || $0 >= 64 }
    let second = Refinement.bilateral(classes: [speck, rest, mask { $0 >= 32 && $0 < 64 }], on: photograph)
    #expect(second.map(\.isAccepted) == [false, true, true])
    #expect(second[0].mask == speck)
    #expect(second[1].mask == rest)
  }

  // MARK: Co-segmentation

  /// Four photographs of 4x4 patches: a background, and an object that is in each of them; a third kind of patch is in the first alone.
  private static func photographs(attended: [Bool]) -> [CoSegmentation.Input] {
    (0..<4).map { photograph in
      let kinds = (0..<16).map { p in p % 4 == photograph ? 1 : photograph == 0 && p == 15 ? 2 : 0 }
      let directions: [[Float]] = [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
      let features = PatchFeatures(rows: 4, columns: 4, width: 3, values: kinds.flatMap { directions[$0] })
      // One patch of the border is attended to in any case, so that there is a most and a least.
      let attention = kinds.enumerated().map { (i, kind) in kind == 1 ? attended[photograph] ? Float(0.05) : 0.001 : i == 12 - photograph ? 0.1 : 0.001 }
      let geometry = PreparedImage.Geometry(height: 64, width: 64, resizedHeight: 64, resizedWidth: 64, top: 0, left: 0, rows: 4, columns: 4, patch: 16)
      return CoSegmentation.Input(features, AttentionMaps(heads: [PatchMap(rows: 4, columns: 4, values: attention)], geometry: geometry))
    }
  }

  @Test func whatThreeQuartersAttendToIsTheObject() {
    var settings = CoSegmentation.Settings()
    settings.salience = 0.2
    let found = CoSegmentation(Self.photographs(attended: [true, true, false, true]), settings: settings, threads: 1)
    #expect(found.salient.count { $0 } == 1 && found.attending.max() == 0.75)
    for (photograph, mask) in found.masks.enumerated() { #expect(mask.kept == (0..<16).map { $0 % 4 == photograph }) }
  }

  @Test func whatHalfAttendToIsNot() {
    var settings = CoSegmentation.Settings()
    settings.salience = 0.2
    let found = CoSegmentation(Self.photographs(attended: [true, false, false, true]), settings: settings, threads: 1)
    #expect(!found.salient.contains(true) && found.attending.max() == 0.5 && found.masks.allSatisfy { $0.count == 0 })
  }

  @Test func noPhotographsGiveNoMasks() {
    #expect(CoSegmentation([], threads: 1).masks.isEmpty)
  }
}
