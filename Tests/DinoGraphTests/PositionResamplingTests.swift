// Resampled positions against torch's own (Tests/Reference/make_position_fixtures.py), the rule of when they stay untouched, and properties of the weights.

import DinoGraph
import Foundation
import TestSupport
import Testing

private struct Golden: Decodable {
  struct Case: Decodable {
    var side: Int, rows: Int, columns: Int, variant: String, step: Int, values: [Float]
  }
  var width: Int
  var cases: [Case]

  static func load() throws -> Golden {
    try JSONDecoder().decode(Golden.self, from: Data(contentsOf: URL(fileURLWithPath: Fixtures.path("positions/positions.json"))))
  }
}

private let variants: [String: PositionResize] = [
  "A": .officialOffset, "BD": .antialiased, "C": .sized,
  "bilinear": PositionResize(kernel: .bilinear, cubicA: -0.75, antialias: false, offset: nil),
  "bilinear_antialias": PositionResize(kernel: .bilinear, cubicA: -0.75, antialias: true, offset: nil),
  "nearest": PositionResize(kernel: .nearest, cubicA: -0.75, antialias: false, offset: nil),
]

/// As `native` in the script.
private func native(_ side: Int, width: Int) -> [Float] {
  var values: [Float] = []
  for i in 0..<(side * side) {
    for d in 0..<width {
      let wave = sin(Double(i) * (0.37 + 0.11 * Double(d)))
      values.append(Float(wave + 0.3 * cos(Double(i * i) * 0.05 + Double(d))))
    }
  }
  return values
}

@Suite struct PositionResamplingTests {
  @Test(arguments: ["A", "BD", "C", "bilinear", "bilinear_antialias", "nearest"]) func agreesWithTorch(_ variant: String) throws {
    let golden = try Golden.load()
    let resize = try #require(variants[variant])
    let cases = golden.cases.filter { $0.variant == variant }
    #expect(cases.count == 27)
    for c in cases {
      let resampling = PositionResampling(nativeRows: c.side, nativeColumns: c.side, toRows: c.rows, toColumns: c.columns, resize: resize)
      let found = resampling.apply(native(c.side, width: golden.width), nativeColumns: c.side, width: golden.width)
      #expect(found.count == c.rows * c.columns * golden.width)
      let picked = stride(from: 0, to: c.rows * c.columns, by: c.step).prefix(64).flatMap { found[($0 * golden.width)..<(($0 + 1) * golden.width)] }
      let worst = maxAbsoluteDifference(Array(picked), c.values)
      #expect(worst < 1e-5, "\(variant) \(c.side) to \(c.rows)x\(c.columns): \(worst)")
    }
  }

  @Test func officialRuleOfIdentity() {
    func untouched(_ height: Int, _ width: Int, _ resize: PositionResize = .officialOffset, rows: Int = 14, columns: Int = 14) -> Bool {
      PositionResampling(nativeRows: rows, nativeColumns: columns, height: height, width: width, patch: 16, resize: resize) == nil
    }
    #expect(untouched(224, 224))
    #expect(untouched(230, 230))
    #expect(!untouched(230, 224))
    #expect(!untouched(448, 112))
    #expect(!untouched(240, 240))
    #expect(untouched(230, 224, .sized))
    #expect(!untouched(448, 112, .sized))
    #expect(untouched(64, 32, .officialOffset, rows: 4, columns: 2))
    #expect(!untouched(48, 48, .officialOffset, rows: 1, columns: 9))
  }

  @Test func theOffsetChangesTheSameGridToo() throws {
    // 448x112 has 196 patches: resampled from 14x14 to 28x7.
    let r = try #require(PositionResampling(nativeRows: 14, nativeColumns: 14, height: 448, width: 112, patch: 16, resize: .officialOffset))
    #expect(r.rows.taps.count == 28)
    #expect(r.columns.taps.count == 7)
  }

  @Test func weightsSumToOneAndStayInside() {
    var random = SplitMix64(seed: 4)
    for _ in 0..<300 {
      let from = Int.random(in: 1...40, using: &random), to = Int.random(in: 1...90, using: &random)
      let resize = variants.values.sorted { $0.text < $1.text }.randomElement(using: &random)!
      let axis = ResamplingAxis(from: from, to: to, resize: resize)
      #expect(axis.taps.count == to)
      for taps in axis.taps {
        #expect(abs(taps.reduce(0) { $0 + Double($1.weight) } - 1) < 1e-6)
        #expect(taps.allSatisfy { (0..<from).contains($0.source) })
        #expect(zip(taps, taps.dropFirst()).allSatisfy { $0.source < $1.source })
      }
    }
  }

  @Test func sameGridIsTheIdentityWithoutOffset() {
    let x = native(7, width: 3)
    for resize in variants.values where resize.offset == nil {
      let r = PositionResampling(nativeRows: 7, nativeColumns: 7, toRows: 7, toColumns: 7, resize: resize)
      #expect(maxAbsoluteDifference(r.apply(x, nativeColumns: 7, width: 3), x) < 1e-6, "\(resize.text)")
    }
  }
}
