// Exact search against a plain loop, for every kernel table, element type and way of cutting rows into parts; the kernels' scores against sums in double.

import CDinoKernels
import DinoKernels
import DinoTensor
import Testing
import TestSupport

private let tables = KernelTable.available.map(\.name)

/// Rows as they are stored, and as the numbers that they stand for.
private struct StoredCase {
  var stored: [StoredRows] = []
  var values: [[Float]] = []

  init(count: Int, width: Int, dtype: DType, cuts: [Int], removed: Set<Int> = [], random: inout SplitMix64) {
    values = (0..<count).map { _ in random.floats(width) }
    var first = 0
    for cut in cuts + [count] where cut > first {
      let rows = Array(values[first..<cut]), n = rows.count
      var bits: [UInt64] = removed.isEmpty ? [] : [UInt64](repeating: 0, count: (n + 63) / 64)
      for i in 0..<n where removed.contains(first + i) { bits[i / 64] |= 1 << UInt64(i % 64) }
      switch dtype {
      case .f32: stored.append(StoredRows(rows: Tensor(rows.flatMap { $0 }, shape: [n, width]), removed: bits)!)
      case .f16:
        let halves = rows.flatMap { $0.map(halfFromFloat) }
        for i in 0..<n { values[first + i] = rows[i].map { floatFromHalf(halfFromFloat($0)) } }
        stored.append(StoredRows(rows: Tensor.copy(halves, dtype: .f16, shape: [n, width]), removed: bits)!)
      default:
        var bytes: [Int8] = [], scales: [Float] = []
        for i in 0..<n {
          let scale = rows[i].map(abs).max()! / 127
          let row = rows[i].map { Int8(($0 / scale).rounded()) }
          bytes += row
          scales.append(scale)
          values[first + i] = row.map { Float($0) * scale }
        }
        stored.append(StoredRows(rows: Tensor.copy(bytes, dtype: .i8, shape: [n, width]), scales: Tensor(scales, shape: [n]), removed: bits)!)
      }
      first = cut
    }
  }

  /// The score of every row, in double.
  func scores(_ query: [Float]) -> [Double] {
    values.map { row in
      var sum = 0.0
      for i in 0..<query.count { sum += Double(row[i]) * Double(query[i]) }
      return sum
    }
  }

  /// What a search must give: rows by score, checked up to rounding of the scores.
  func check(_ found: [FoundRow], scores: [Double], k: Int, without: Set<Int>, _ what: String) {
    let wanted = values.indices.filter { !without.contains($0) }.sorted { scores[$0] > scores[$1] }.prefix(k)
    #expect(found.count == wanted.count, "\(what)")
    // One statement a search, not one a row: a check of many rows must not spend its time in the testing library.
    let removed = found.filter { without.contains($0.row) }
    #expect(removed == [], "\(what): rows that were to be passed over")
    // Another row may stand in a place only where the two scores are as good as equal.
    let misplaced = zip(found, wanted).filter { $0.row != $1 && abs(scores[$0.row] - scores[$1]) >= 1e-5 }.map { "\($0.row) instead of \($1)" }
    #expect(misplaced == [], "\(what)")
    let wrong = found.filter { abs(Double($0.score) - scores[$0.row]) >= 1e-4 }
    #expect(wrong == [], "\(what): scores")
    #expect(Set(found.map(\.row)).count == found.count, "\(what): a row twice")
  }
}

@Suite struct RowSearchTests {
  @Test(arguments: tables, [DType.f32, .f16, .i8]) func equalsAPlainLoop(_ name: String, _ dtype: DType) {
    let table = KernelTable.named(name)!
    var random = SplitMix64(seed: 5)
    for (count, width, queries, k) in [(1, 1, 1, 1), (3, 17, 2, 5), (257, 24, 1, 10), (300, 33, 7, 20), (130, 384, 40, 200), (5000, 16, 1, 3), (4500, 7, 5, 4)] {
      let removed: Set<Int> = count > 100 ? [0, 5, 64, count - 1] : []
      let rows = StoredCase(count: count, width: width, dtype: dtype, cuts: count > 200 ? [100, 101, 230] : [], removed: removed, random: &random)
      let asked = (0..<queries).map { _ in random.floats(width) }
      let scores = asked.map(rows.scores)
      for threads in [1, 3] {
        let found = RowSearch.nearest(rows.stored, to: asked.flatMap { $0 }, width: width, k: k, table: table, team: .shared(threads))
        #expect(found.count == queries)
        for (q, answer) in found.enumerated() { rows.check(answer, scores: scores[q], k: k, without: removed, "\(name) \(dtype) \(count)x\(width), query \(q)") }
      }
    }
  }

  @Test func anImageIsLeftOutOfItsOwnAnswers() {
    var random = SplitMix64(seed: 6)
    let rows = StoredCase(count: 50, width: 12, dtype: .f32, cuts: [20], random: &random)
    for count in [1, 50] {
      let found = RowSearch.nearest(rows.stored, to: rows.values[..<count].flatMap { $0 }, width: 12, k: 5, excluding: Array(0..<count), team: .shared(2))
      for q in 0..<count { rows.check(found[q], scores: rows.scores(rows.values[q]), k: 5, without: [q], "query \(q)") }
    }
  }

  @Test func equalScoresGoToTheEarlierRowWhateverTheThreads() {
    let same = Tensor((0..<5000).flatMap { _ in [Float(0.5), 0.5] }, shape: [5000, 2])
    let rows = [StoredRows(rows: same)!]
    for threads in [1, 2, 4] {
      for queries in [1, 6] {
        let found = RowSearch.nearest(rows, to: [Float](repeating: 1, count: 2 * queries), width: 2, k: 7, team: .shared(threads))
        for answer in found { #expect(answer.map(\.row) == Array(0..<7)) }
      }
    }
  }

  @Test func rowsThatCannotBeSearchedAreRefused() {
    let rows = Tensor([Float](repeating: 0, count: 6), shape: [3, 2])
    #expect(StoredRows(rows: rows.reshaped([6])) == nil)
    #expect(StoredRows(rows: rows, scales: rows) == nil)
    #expect(StoredRows(rows: Tensor.copy([Int8](repeating: 0, count: 6), dtype: .i8, shape: [3, 2])) == nil)
    #expect(StoredRows(rows: rows, removed: []) != nil)
    // Not aligned to its element.
    let bytes = Tensor.copy([UInt8](repeating: 0, count: 32), dtype: .u8, shape: [32])
    #expect(StoredRows(rows: Tensor(dtype: .f32, shape: [3, 2], storage: bytes.storage, byteOffset: 2)!) == nil)
  }

  /// Halves of every kind: subnormal, largest, infinite.
  @Test(arguments: tables) func halvesOfEveryKind(_ name: String) {
    let table = KernelTable.named(name)!.c.pointee
    let patterns: [UInt16] = (0..<0x7C00).filter { $0 % 131 == 0 || $0 < 40 }.map { UInt16($0) } + [0x7BFF, 0x8000, 0x8001, 0xFBFF]
    for pattern in patterns + [0x7C00, 0xFC00] {
      // In the vector part and behind it.
      for (width, at) in [(16, 3), (17, 16), (5, 4)] {
        var row = [UInt16](repeating: 0, count: width), query = [Float](repeating: 0, count: width), out: Float = 0
        row[at] = pattern
        query[at] = 1
        if pattern & 0x7FFF == 0x7C00 { query = query.map { $0 == 0 ? 0.5 : $0 } }
        table.f16_dots(row, width, 1, query, width, &out)
        #expect(out == floatFromHalf(pattern), "\(pattern)")
      }
    }
  }

  @Test(arguments: tables) func sumsOfBytesSeeEveryByte(_ name: String) {
    let table = KernelTable.named(name)!.c.pointee
    var bytes = [UInt8](repeating: 0, count: 1500)
    for i in [0, 1, 63, 64, 511, 512, 1023, 1499] {
      bytes[i] = 1
      #expect(table.sum_bytes(bytes, bytes.count) != 0, "byte \(i)")
      bytes[i] = 0
    }
    #expect(table.sum_bytes(bytes, bytes.count) == 0)
  }
}

@Suite struct DenseProductTests {
  @Test func equalSumsInDoubleOnAnyNumberOfThreads() throws {
    var random = SplitMix64(seed: 8)
    for (n, d, classes) in [(1, 1, 1), (7, 33, 2), (513, 40, 3), (1100, 65, 34)] {
      let x = random.floats(n * d), w = random.floats(classes * d), b = random.floats(classes), r = random.floats(n * classes)
      var first: ([Float], [Double])?
      for threads in [1, 2, 3] {
        let products = try DenseProducts(x, width: d, team: .shared(threads))
        let scores = products.scores(weights: w, bias: b), gradient = products.gradient(residuals: r, classes: classes)
        for i in [0, n / 2, n - 1] {
          for c in 0..<classes {
            let exact = (0..<d).reduce(Double(b[c])) { $0 + Double(x[i * d + $1]) * Double(w[c * d + $1]) }
            #expect(abs(Double(scores[i * classes + c]) - exact) < 1e-4)
          }
        }
        for c in 0..<classes {
          for j in [0, d / 2, d - 1] {
            let exact = (0..<n).reduce(0.0) { $0 + Double(r[$1 * classes + c]) * Double(x[$1 * d + j]) }
            #expect(abs(gradient[c * d + j] - exact) < 1e-3)
          }
        }
        if let first { #expect(first.0 == scores && first.1 == gradient) } else { first = (scores, gradient) }
      }
    }
  }

  /// All of it: sizes beside the blocks of rows, columns and classes.
  @Test(arguments: [(1, 1, 1), (2, 8, 8), (7, 33, 2), (64, 64, 9), (129, 130, 17)]) func doublesAreDoubles(n: Int, d: Int, classes: Int) {
    var random = SplitMix64(seed: 18)
    let x = random.floats(n * d)
    func doubles(_ count: Int) -> [Double] { (0..<count).map { _ in Double.random(in: -1...1, using: &random) } }
    let w = doubles(classes * d), b = doubles(classes), r = doubles(n * classes), importance = doubles(n)
    var first: ([Double], [Double], [Double])?
    for threads in [1, 2, 3] {
      let products = DoubleProducts(x, width: d, team: .shared(threads)), gram = products.gram(weights: importance)
      let scores = products.scores(weights: w[...], bias: b[...]), gradient = products.gradient(residuals: r, classes: classes)
      for i in 0..<n {
        for c in 0..<classes {
          let exact = (0..<d).reduce(b[c]) { $0 + Double(x[i * d + $1]) * w[c * d + $1] }
          #expect(abs(scores[i * classes + c] - exact) < 1e-13)
        }
      }
      for c in 0..<classes {
        for j in 0..<d {
          let exact = (0..<n).reduce(0.0) { $0 + r[$1 * classes + c] * Double(x[$1 * d + j]) }
          #expect(abs(gradient[c * d + j] - exact) < 1e-13)
        }
      }
      func value(_ i: Int, _ j: Int) -> Double { j < d ? Double(x[i * d + j]) : 1 }
      for a in 0...d {
        for b in 0...d { #expect(abs(gram[a * (d + 1) + b] - (0..<n).reduce(0) { $0 + importance[$1] * value($1, a) * value($1, b) }) < 1e-13) }
      }
      if let first { #expect(first.0 == scores && first.1 == gradient && first.2 == gram) } else { first = (scores, gradient, gram) }
    }
  }
}
