// The team does every task once, whoever comes; and the choice of kernels follows the environment.

import DinoKernels
import DinoTensor
import Foundation
import Synchronization
import Testing

@Suite(.serialized) struct ThreadTeamTests {
  @Test(arguments: [1, 2, 3, 8]) func everyTaskOnce(threads: Int) {
    let team = ThreadTeam.shared(threads)
    for tasks in [0, 1, 2, 7, 100] {
      for _ in 0..<200 {
        let counts = (0..<tasks).map { _ in Counter() }
        team.forEach(tasks) { counts[$0].value.wrappingAdd(1, ordering: .relaxed) }
        #expect(counts.allSatisfy { $0.value.load(ordering: .relaxed) == 1 })
      }
    }
  }

  /// Workers that sleep between jobs wake up for the next.
  @Test func sleepsAndWakes() {
    let team = ThreadTeam.shared(2)
    for _ in 0..<20 {
      usleep(3000)
      let sum = Counter()
      team.forEach(50) { sum.value.wrappingAdd($0, ordering: .relaxed) }
      #expect(sum.value.load(ordering: .relaxed) == 1225)
    }
  }

  @Test func callersTakeTurns() async {
    let team = ThreadTeam.shared(3)
    await withTaskGroup(of: Int.self) { group in
      for _ in 0..<40 {
        group.addTask {
          let sum = Counter()
          team.forEach(100) { sum.value.wrappingAdd($0, ordering: .relaxed) }
          return sum.value.load(ordering: .relaxed)
        }
      }
      for await sum in group { #expect(sum == 4950) }
    }
  }

  private final class Counter: Sendable {
    let value = Atomic<Int>(0)
  }
}

@Suite struct KernelTableTests {
  @Test func portableIsLastAndNamesDiffer() {
    let names = KernelTable.available.map(\.name)
    #expect(names.last == "portable")
    #expect(Set(names).count == names.count)
    #expect(KernelTable.named("abacus") == nil)
    #expect(availableCores() >= 1)
  }

  /// Whatever DINO_FORCE_ISA says in this process took effect, or is reported as not available.
  @Test func theOverrideTook() {
    switch KernelTable.choice {
    case .best: #expect(KernelTable.selected.name == KernelTable.available[0].name)
    case .forced(let name): #expect(KernelTable.selected.name == name)
    case .forcedButUnavailable(let name): #expect(KernelTable.named(name) == nil)
    }
  }

  @Test(arguments: [DType.f32, .f16, .bf16, .f64]) func packingConverts(dtype: DType) throws {
    let values = (0..<35 * 18).map { Float($0 % 61) / 8 - 3 }
    let tensor: Tensor = dtype == .f64 ? Tensor.copy(values.map(Double.init), dtype: .f64, shape: [35, 18]) : try Tensor(values, shape: [35, 18]).converted(to: dtype)
    for table in KernelTable.available {
      var pool = WeightPool()
      let packed = try PackedWeights(tensor, outFeatures: 35, table: table, team: .shared(2), pool: &pool)
      let nr = table.panelColumns
      for o in 0..<35 { for i in 0..<18 {
        #expect(packed.base[(o / nr) * packed.panelFloats + i * nr + o % nr] == values[o * 18 + i])
      } }
    }
  }

  /// What the pool says it takes is the same before anything is allocated: the weights, as the ends of blocks go back.
  @Test func poolsSayWhatTheyTake() throws {
    let sizes = [(576, 192), (192, 192), (768, 192), (192, 768)]
    func resident(measuring: Bool) throws -> Int {
      var pool = WeightPool(block: 4 << 20, measuring: measuring)
      for _ in 0..<5 {
        for (out, depth) in sizes { _ = try PackedWeights(Tensor([Float](repeating: 0, count: out * depth), shape: [out, depth]), outFeatures: out, table: .selected, team: .shared(1), pool: &pool) }
      }
      return pool.residentBytes
    }
    // 1.69 MiB of weights five times: blocks end where the next layer does not fit.
    let taken = try resident(measuring: false)
    #expect(try resident(measuring: true) == taken)
    let weights = 5 * 4 * (576 + 192 + 768 + 768) * 192
    #expect(taken >= weights && taken <= weights + weights / 4)
  }
}
