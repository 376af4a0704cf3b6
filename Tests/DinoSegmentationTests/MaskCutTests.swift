// Which side of MaskCut's cut is the object, on grids whose answer is known.

import Dino
import Testing

@testable import DinoSegmentation

@Suite struct MaskCutTests {
  private static let side = 10

  /// A grid of patches, each with the feature that `feature` gives it by its row and column.
  private func grid(_ feature: (Int, Int) -> [Float]) -> PatchFeatures {
    let n = Self.side
    return PatchFeatures(rows: n, columns: n, width: 3, values: (0..<n * n).flatMap { feature($0 / n, $0 % n) })
  }

  private let background: [Float] = [1, 0, 0], object: [Float] = [0, 1, 0], between: [Float] = [0.6, 0.8, 0]
  private func isCorner(_ r: Int, _ c: Int) -> Bool { (r == 0 || r == Self.side - 1) && (c == 0 || c == Self.side - 1) }
  private func isInside(_ r: Int, _ c: Int) -> Bool { (3...5).contains(r) && (4...6).contains(c) }

  /// Corners that are like the object belong to its side of the cut, but not to the object.
  @Test func cornersApartFromTheObjectDoNotMakeItTheBackground() {
    let features = grid { r, c in isInside(r, c) ? object : isCorner(r, c) ? between : background }
    let whole = TokenCut.object(unitRows: unitRows(features.values, width: 3), features, tau: 0.15, threads: 1)
    #expect(whole.side.kept[0] && whole.side.kept[Self.side - 1] && whole.side.count == 13, "the case is one only where the corners are on the object's side")
    let masks = MaskCut.objects(features, rounds: 1, threads: 1)
    #expect(masks.count == 1 && masks[0].kept.indices.allSatisfy { masks[0].kept[$0] == isInside($0 / Self.side, $0 % Self.side) })
  }

  /// The smaller part is the one with the peak; around the picture it is still the background.
  @Test func aFrameWithTheCornersIsTheBackground() {
    func isFrame(_ r: Int, _ c: Int) -> Bool { r == 0 || c == 0 || r == Self.side - 1 || c == Self.side - 1 }
    let features = grid { r, c in isFrame(r, c) ? object : background }
    let masks = MaskCut.objects(features, rounds: 1, threads: 1)
    #expect(masks.count == 1 && masks[0].kept.indices.allSatisfy { masks[0].kept[$0] != isFrame($0 / Self.side, $0 % Self.side) })
  }

  /// Each round takes the patches of those before it away; no patch is in two masks.
  @Test func roundsFindOneObjectAfterTheOther() {
    func isSecond(_ r: Int, _ c: Int) -> Bool { (7...8).contains(r) && (1...2).contains(c) }
    let features = grid { r, c in isInside(r, c) ? object : isSecond(r, c) ? [0, 0, 1] : background }
    let masks = MaskCut.objects(features, rounds: 2, threads: 1)
    #expect(masks.count == 2)
    let found = (0..<Self.side * Self.side).map { i in masks.map { $0.kept[i] ? 1 : 0 }.reduce(0, +) }
    #expect(found.indices.allSatisfy { found[$0] == (isInside($0 / Self.side, $0 % Self.side) || isSecond($0 / Self.side, $0 % Self.side) ? 1 : 0) })
  }
}
