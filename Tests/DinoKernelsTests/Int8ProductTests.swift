// Exact integer products: every kernel table against plain loops, all four combinations of signs, zero points of every kind, bytes at their extremes.

import DinoKernels
import Testing
import TestSupport

@Suite struct Int8ProductTests {
  @Test(arguments: KernelTable.available.map(\.name)) func products(_ name: String) throws {
    let table = KernelTable.named(name)!
    var random = SplitMix64(seed: 11)
    for (rows, depth, columns) in [(1, 1, 1), (2, 3, 5), (7, 4, 16), (13, 17, 33), (15, 64, 31), (65, 37, 48), (130, 129, 20), (3, 0, 4), (0, 4, 4), (197, 40, 65)] {
      for (aSigned, bSigned) in [(false, false), (false, true), (true, false), (true, true)] {
        for zeros in 0..<3 {
          // Extremes first: all sums at once at their largest.
          let extreme = zeros == 0 && rows > 1
          func bytes(_ n: Int, _ signed: Bool) -> [UInt8] { (0..<n).map { _ in extreme ? (signed ? 0x80 : 0xFF) : UInt8.random(in: 0...255, using: &random) } }
          func points(_ n: Int, _ signed: Bool) -> [Int32] {
            let one = { signed ? Int32.random(in: -128...127, using: &random) : Int32.random(in: 0...255, using: &random) }
            return zeros == 0 ? [0] : zeros == 1 ? [one()] : (0..<n).map { _ in one() }
          }
          let a = bytes(rows * depth, aSigned), b = bytes(depth * columns, bSigned)
          let za = rows == 0 ? [0] : points(rows, aSigned), zb = points(columns, bSigned)
          func values(_ x: [UInt8], _ signed: Bool) -> [Int] { x.map { signed ? Int(Int8(bitPattern: $0)) : Int($0) } }
          let expected = Reference.int8Product(values(a, aSigned), zero: za.map(Int.init), values(b, bSigned), zero: zb.map(Int.init), rows: rows, depth: depth, columns: columns)
          for threads in [1, 2] {
            let found = try (a + [0]).withUnsafeBytes { ap in try (b + [0]).withUnsafeBytes { bp in
              try Int8Products.multiply(ByteMatrix(ap.baseAddress!, isSigned: aSigned, zeroPoints: za), rows: rows, depth: depth,
                                        ByteMatrix(bp.baseAddress!, isSigned: bSigned, zeroPoints: zb), columns: columns, table: table, team: .shared(threads))
            } }
            #expect(found == expected, "\(rows)x\(depth)x\(columns) signs \(aSigned) \(bSigned) zero points \(zeros)")
          }
        }
      }
    }
  }
}
