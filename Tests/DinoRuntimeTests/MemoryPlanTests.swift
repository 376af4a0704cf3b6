// Buffers that live at the same time must not overlap, whatever the lifetimes.

@testable import DinoRuntime
import Testing
import TestSupport

@Suite struct MemoryPlanTests {
  @Test(arguments: 0..<50 as Range<UInt64>) func neverOverlaps(seed: UInt64) {
    var random = SplitMix64(seed: seed)
    let requests = (0..<Int.random(in: 1...60, using: &random)).map { _ in
      let first = Int.random(in: 0...40, using: &random)
      return BufferRequest(bytes: Int.random(in: 0...5000, using: &random), first: first, last: first + Int.random(in: 0...12, using: &random))
    }
    let plan = MemoryPlan(requests)
    for (i, a) in requests.enumerated() {
      #expect(plan.offsets[i] % MemoryPlan.alignment == 0 && plan.offsets[i] + a.bytes <= plan.arenaBytes)
      for (j, b) in requests.enumerated() where j > i && a.first <= b.last && b.first <= a.last {
        #expect(plan.offsets[i] + a.bytes <= plan.offsets[j] || plan.offsets[j] + b.bytes <= plan.offsets[i])
      }
    }
    // Not better than what lives at once, not worse than everything side by side.
    let most = (0...60).map { t in requests.filter { $0.first <= t && t <= $0.last }.reduce(0) { $0 + $1.bytes } }.max() ?? 0
    #expect(plan.arenaBytes >= most && plan.arenaBytes <= requests.reduce(0) { $0 + $1.bytes + 64 })
  }

  @Test func reusesWhatDied() {
    let chain = (0..<20).map { BufferRequest(bytes: 1024, first: $0, last: $0 + 1) }
    #expect(MemoryPlan(chain).arenaBytes == 2048)
  }

  @Test(arguments: 0..<20 as Range<UInt64>) func kindsNeverMeet(seed: UInt64) {
    var random = SplitMix64(seed: seed)
    let requests = (0..<30).map { i in BufferRequest(bytes: Int.random(in: 1...5000, using: &random), first: i, last: i + 1, kind: Int.random(in: 0...2, using: &random)) }
    let plan = MemoryPlan(requests)
    for (i, a) in requests.enumerated() {
      for (j, b) in requests.enumerated() where j > i && (a.kind != b.kind || b.first <= a.last) {
        #expect(plan.offsets[i] + a.bytes <= plan.offsets[j] || plan.offsets[j] + b.bytes <= plan.offsets[i])
      }
    }
    #expect(plan.arenaBytes < requests.reduce(0) { $0 + $1.bytes })
  }
}
