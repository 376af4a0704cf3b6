// Several processes as one: two trainers that exchange sums against one at twice the batch; and, where Open MPI is installed, the command itself.

import Dino
import DinoKernels
import DinoModels
import DinoTensor
@testable import DinoTraining
import Foundation
import Testing
import TestSupport

/// Threads of one process in the place of processes.
private final class ThreadRanks: Ranks, @unchecked Sendable {
  final class Meeting: @unchecked Sendable {
    private let condition = NSCondition()
    private let count: Int
    private var arrived = 0, turn = 0
    private var values: [Int: [[Float]]] = [:]
    init(_ count: Int) { self.count = count }

    /// What all brought, once all are here.
    func exchange(_ index: Int, _ mine: [[Float]]) -> [[[Float]]] {
      condition.lock()
      defer { condition.unlock() }
      values[index] = mine
      let all = wait { (0..<self.count).map { self.values[$0]! } }
      _ = wait { [] }
      return all
    }

    private func wait(_ then: () -> [[[Float]]]) -> [[[Float]]] {
      let mine = turn
      arrived += 1
      if arrived == count {
        (arrived, turn) = (0, turn + 1)
        condition.broadcast()
      }
      while turn == mine { condition.wait() }
      return then()
    }
  }
  let index: Int
  let count: Int
  private let meeting: Meeting
  init(_ index: Int, of count: Int, _ meeting: Meeting) {
    self.index = index
    self.count = count
    self.meeting = meeting
  }
  func sum(_ block: ParameterBlock) {
    let all = meeting.exchange(index, block.tensors.map { $0.floats() })
    for (i, tensor) in block.tensors.enumerated() {
      tensor.overwrite(with: all.dropFirst().reduce(all[0][i]) { zip($0, $1[i]).map { $0 + $1 } })
    }
  }
}

@Suite struct RanksTests {
  private static func settings(batch: Int, _ precision: TrainingSettings.Precision) -> TrainingSettings {
    var s = TrainingSettings(config: ViTConfig(patchSize: 4, embedDim: 16, depth: 3, numHeads: 2, nativeRows: 4, nativeColumns: 4, head: .projection(.init(hiddenDim: 20, bottleneckDim: 8, outDim: 30))))
    s.batch = batch
    s.globalSize = 16
    s.localSize = 8
    s.localCrops = 2
    // What AdamW makes of rounding is not rounding.
    s.optimizer = .sgd
    s.rate = 0.1
    s.epochs = 3
    s.warmupEpochs = 0
    s.freezeLastLayer = 1
    s.dropPath = 0.4
    s.precision = precision
    return s
  }

  private static func trainer(_ s: TrainingSettings, _ ranks: (any Ranks)?) throws -> Trainer {
    let weights = Dictionary(uniqueKeysWithValues: try WeightInitializer.tensors(config: s.config, seed: 1).map { ($0.name, $0.tensor) })
    return try Trainer(s, stepsPerEpoch: 2, weights: weights, threads: 1, ranks: ranks)
  }

  /// A step's crops of images `part` of a batch of `all`.
  private static func crops(_ s: TrainingSettings, _ step: Int, all: Int, part: Range<Int>) -> (Tensor, Tensor) {
    var random = SplitMix64(seed: UInt64(300 + step))
    func make(_ views: Int, _ size: Int) -> Tensor {
      let image = 3 * size * size, values = random.floats(views * all * image)
      return Tensor((0..<views).flatMap { v in Array(values[(v * all + part.lowerBound) * image..<(v * all + part.upperBound) * image]) }, shape: [views * part.count, 3, size, size])
    }
    return (make(2, s.globalSize), make(s.localCrops, s.localSize))
  }

  @Test(arguments: [2, 3]) func severalRanksAreOneAtTheirWholeBatch(_ count: Int) throws {
    let whole = Self.settings(batch: 2 * count, .f32), own = Self.settings(batch: 2, .f32), one = try Self.trainer(whole, nil)
    let meeting = ThreadRanks.Meeting(count), ranks = try (0..<count).map { try Self.trainer(own, ThreadRanks($0, of: count, meeting)) }
    var losses: [Double] = []
    for step in 0..<6 {
      let c = Self.crops(whole, step, all: 2 * count, part: 0..<2 * count)
      losses.append(try one.run(globals: c.0, locals: c.1).loss)
    }
    nonisolated(unsafe) let trainers = ranks
    nonisolated(unsafe) var found = [[Double]](repeating: [], count: count)
    // Threads of their own: all must be under way at once, however few cores there are.
    let lock = NSLock(), done = DispatchGroup()
    for r in 0..<count {
      done.enter()
      let thread = Thread {
        defer { done.leave() }
        for step in 0..<6 {
          let c = Self.crops(own, step, all: 2 * count, part: 2 * r..<2 * r + 2)
          guard let loss = try? trainers[r].run(globals: c.0, locals: c.1).loss else { return }
          lock.withLock { found[r].append(loss) }
        }
      }
      thread.stackSize = 8 << 20
      thread.start()
    }
    done.wait()
    for r in 0..<count {
      #expect(found[r].count == 6 && zip(found[r], losses).allSatisfy { abs($0 - $1) < 1e-5 }, "\(found[r]), one process \(losses)")
      #expect(found[r] == found[0])
      for (i, name) in one.names.enumerated() {
        for (a, b) in [(ranks[r].student, one.student), (ranks[r].teacher, one.teacher)] {
          #expect(normalizedMeanSquaredError(a.tensors[i].floats(), reference: b.tensors[i].floats()).squareRoot() < 1e-5, "rank \(r), \(name)")
        }
        // And all ranks have the same bits.
        #expect(ranks[r].student.tensors[i].floats() == ranks[0].student.tensors[i].floats())
      }
      #expect(maxAbsoluteDifference(try #require(ranks[r].center).floats(), try #require(one.center).floats()) < 1e-6)
    }
  }

  @Test func whatLooksAtAWholeBatchIsRefused() throws {
    var s = Self.settings(batch: 2, .f32)
    let ranks = ThreadRanks(0, of: 2, .init(2))
    s.centering = .sinkhornKnopp
    #expect { try Self.trainer(s, ranks) } throws: { "\($0)".contains("--centering") }
    #expect(throws: Never.self) { try Self.trainer(s, nil) }
  }
}
