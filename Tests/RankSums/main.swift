// What OpenMPIRanks adds up, against the sum of all ranks in their order by a plain loop, to the bit. Started by mpirun from OpenMPIRanksTests; says how many blocks were right,
// or which number is wrong and ends with 1.

import DinoKernels
import DinoTensor
import Foundation

/// Numbers of very different sizes, so that another order of adding gives other bits. Every rank knows those of all.
func numbers(_ count: Int, round: Int, rank: Int) -> [Float] {
  var state = UInt64(round * 1000 + rank + 1) &* 0x9E37_79B9_7F4A_7C15
  return (0..<count).map { _ in
    state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
    let mantissa = Float(Int32(truncatingIfNeeded: state >> 32)) / 2_147_483_648
    return mantissa * [1e-3, 1, 300, 1e6][Int(state >> 29 & 3)]
  }
}

func fail(_ what: String) -> Never {
  FileHandle.standardError.write(Data((what + "\n").utf8))
  exit(1)
}

let ranks = try OpenMPIRanks()
var blocks = 0, orderMatters = 0
// Shares of 16 floats: sizes around them, ranks that have none to add, and messages too large to go at once. Later rounds find the memory of earlier ones.
for (round, (floats, pieces)) in [(1, 1), (15, 1), (16, 2), (17, 3), (33, 1), (48, 5), (1_003, 7), (400_009, 3), (100, 2), (1_500_007, 4), (47, 47), (1_500_007, 1)].enumerated() {
  let block = try ParameterBlock(shapes: [Shape([floats])])
  let all = (0..<ranks.count).map { numbers(floats, round: round, rank: $0) }
  block.tensors[0].overwrite(with: all[ranks.index])
  // The first and the last float stay where there is room: what is outside a part is nobody's.
  let inside = floats > 2 && round % 2 == 1 ? 1..<floats - 1 : 0..<floats
  if pieces == 1 && inside.count == floats {
    ranks.sum(block)
  } else {
    let bounds = (0...pieces).map { inside.lowerBound + inside.count * $0 / pieces }
    for p in (0..<pieces).reversed() {
      // Ranks that come late, look often or never.
      usleep(UInt32((ranks.index * 7 + p * 3) % 5 * 700))
      ranks.begin(block, bounds[p]..<bounds[p + 1])
      for _ in 0..<(p + 2 * ranks.index) % 4 { ranks.advance() }
    }
    ranks.finish()
  }
  let found = block.tensors[0].floats()
  for i in 0..<floats {
    let terms = all.map { $0[i] }, sum = terms.dropFirst().reduce(terms[0], +), expected = inside.contains(i) ? sum : all[ranks.index][i]
    if found[i].bitPattern != expected.bitPattern { fail("round \(round), rank \(ranks.index) of \(ranks.count): float \(i) of \(floats) in \(pieces) parts is \(found[i]), expected \(expected)") }
    if terms.reversed().dropFirst().reduce(terms[ranks.count - 1], +) != sum { orderMatters += 1 }
  }
  blocks += 1
}
if ranks.count > 2 && orderMatters == 0 { fail("these numbers do not tell one order of adding from another") }
if ranks.index == 0 { print("\(blocks) blocks as \(ranks.count) ranks in order") }
ranks.leave()
