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
    private var values: [Int: [Float]] = [:]
    init(_ count: Int) { self.count = count }

    /// What all brought, once all are here.
    func exchange(_ index: Int, _ mine: [Float]) -> [[Float]] {
      condition.lock()
      defer { condition.unlock() }
      values[index] = mine
      let all = wait { (0..<self.count).map { self.values[$0]! } }
      _ = wait { [] }
      return all
    }

    private func wait(_ then: () -> [[Float]]) -> [[Float]] {
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
  /// Whether parts are added up when they are begun, or all at the end: what is begun before its last writer has other bits in one of the two.
  private let isEager: Bool
  private let meeting: Meeting
  private var waiting: [(ParameterBlock, Range<Int>)] = []
  private var looks = 0
  /// How often the trainer had looked after exchanges when it began each part, and which part that was.
  private(set) var begun: [(part: Range<Int>, looks: Int)] = []

  init(_ index: Int, of count: Int, _ meeting: Meeting, isEager: Bool = true) {
    self.index = index
    self.count = count
    self.meeting = meeting
    self.isEager = isEager
  }

  func begin(_ block: ParameterBlock, _ part: Range<Int>) {
    begun.append((part, looks))
    if isEager { add(block, part) } else { waiting.append((block, part)) }
  }

  func advance() { looks += 1 }

  func finish() {
    for (block, part) in waiting { add(block, part) }
    waiting = []
  }

  private func add(_ block: ParameterBlock, _ part: Range<Int>) {
    let own = UnsafeMutableBufferPointer(start: block.pointer + part.lowerBound, count: part.count), all = meeting.exchange(index, Array(own))
    for i in own.indices { own[i] = all.dropFirst().reduce(all[0][i]) { $0 + $1[i] } }
  }
}

@Suite struct RanksTests {
  enum Kind: CaseIterable { case dino, ibot, features }

  private static func settings(batch: Int, _ kind: Kind, _ precision: TrainingSettings.Precision) -> TrainingSettings {
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
    if kind == .ibot { s.ibotWeight = 0.7 }
    if kind == .features {
      s.config.head = nil
      s.distillation = Distillation(teacher: ViTConfig(patchSize: 4, embedDim: 24, depth: 2, numHeads: 2, nativeRows: 4, nativeColumns: 4), teacherDigest: "t")
    }
    return s
  }

  private static func trainer(_ s: TrainingSettings, _ ranks: (any Ranks)?) throws -> Trainer {
    func weights(_ specs: [TensorSpec], seed: UInt64) throws -> [String: Tensor] { Dictionary(uniqueKeysWithValues: try specs.map { ($0.name, try WeightInitializer.tensor($0, seed: seed)) }) }
    return try Trainer(s, stepsPerEpoch: 2, weights: weights(s.studentTensors, seed: 1), teacherWeights: s.distillation.map { try weights($0.teacher.tensors, seed: 2) } ?? [:], threads: 1, ranks: ranks)
  }

  /// A step's crops of images `part` of a batch of `all`.
  private static func crops(_ s: TrainingSettings, _ step: Int, all: Int, part: Range<Int>) -> (Tensor, Tensor) {
    var random = SplitMix64(seed: UInt64(300 + step))
    func make(_ views: Int, _ size: Int) -> Tensor {
      let image = 3 * size * size, values = random.floats(views * all * image)
      var own: [Float] = []
      for v in 0..<views { own += values[(v * all + part.lowerBound) * image..<(v * all + part.upperBound) * image] }
      return Tensor(own, shape: [views * part.count, 3, size, size])
    }
    return (make(2, s.globalSize), make(s.localCrops, s.localSize))
  }

  /// All ranks' steps, each with its own part of the crops. Returns their losses, and what their meters read of all steps.
  private static func run(_ ranks: [Trainer], steps: Int, isMetered: Bool = false) -> (losses: [[Double]], readings: [CollapseMeter.Reading?]) {
    nonisolated(unsafe) let trainers = ranks
    nonisolated(unsafe) var readings = [CollapseMeter.Reading?](repeating: nil, count: ranks.count)
    nonisolated(unsafe) var found = [[Double]](repeating: [], count: ranks.count)
    // Threads of their own: all must be under way at once, however few cores there are.
    let lock = NSLock(), done = DispatchGroup()
    for r in 0..<ranks.count {
      done.enter()
      let thread = Thread {
        defer { done.leave() }
        let s = trainers[r].settings
        var meter = CollapseMeter()
        for step in 0..<steps {
          let c = crops(s, step, all: s.batch * trainers.count, part: s.batch * r..<s.batch * (r + 1))
          guard let report = try? trainers[r].run(globals: c.0, locals: c.1) else { return }
          lock.withLock { found[r].append(report.loss) }
          if isMetered { try? meter.add(report, of: trainers[r]) }
        }
        let reading = meter.read()
        lock.withLock { readings[r] = reading }
      }
      thread.stackSize = 8 << 20
      thread.start()
    }
    done.wait()
    return (found, readings)
  }

  @Test(arguments: [2, 3], Kind.allCases) func severalRanksAreOneAtTheirWholeBatch(_ count: Int, _ kind: Kind) throws {
    let whole = Self.settings(batch: 2 * count, kind, .f32), own = Self.settings(batch: 2, kind, .f32), one = try Self.trainer(whole, nil)
    let meeting = ThreadRanks.Meeting(count), ranks = try (0..<count).map { try Self.trainer(own, ThreadRanks($0, of: count, meeting)) }
    var losses: [Double] = []
    for step in 0..<6 {
      let c = Self.crops(whole, step, all: 2 * count, part: 0..<2 * count)
      losses.append(try one.run(globals: c.0, locals: c.1).loss)
    }
    let found = Self.run(ranks, steps: 6).losses
    for r in 0..<count {
      #expect(found[r].count == 6 && zip(found[r], losses).allSatisfy { abs($0 - $1) < 1e-5 }, "\(found[r]), one process \(losses)")
      #expect(found[r] == found[0])
      for (i, name) in one.names.enumerated() {
        for (a, b) in [(ranks[r].student, one.student)] + (kind == .features ? [] : [(ranks[r].teacher, one.teacher)]) {
          #expect(normalizedMeanSquaredError(a.tensors[i].floats(), reference: b.tensors[i].floats()).squareRoot() < 1e-5, "rank \(r), \(name)")
        }
        // And all ranks have the same bits.
        #expect(ranks[r].student.tensors[i].floats() == ranks[0].student.tensors[i].floats())
      }
      #expect(one.centers.count == [.dino: 1, .ibot: 2, .features: 0][kind])
      for (a, b) in zip(ranks[r].centers, one.centers) { #expect(a.name == b.name && maxAbsoluteDifference(a.tensor.floats(), b.tensor.floats()) < 1e-6) }
    }
  }

  /// Gradients that travel during the backward pass, against those that travel after it: the same bits, and many of them do begin before it ends.
  @Test(arguments: TrainingSettings.Precision.allCases) func whatTravelsDuringTheBackwardPassHasTheSameBits(_ precision: TrainingSettings.Precision) throws {
    var s = Self.settings(batch: 2, .ibot, precision)
    s.optimizer = .adamw
    s.clipGradient = 0.3
    func trained(isEager: Bool) throws -> (trainers: [Trainer], ranks: [ThreadRanks], losses: [[Double]]) {
      let meeting = ThreadRanks.Meeting(2), ranks = (0..<2).map { ThreadRanks($0, of: 2, meeting, isEager: isEager) }, trainers = try ranks.map { try Self.trainer(s, $0) }
      return (trainers, ranks, Self.run(trainers, steps: 4).losses)
    }
    let during = try trained(isEager: true), after = try trained(isEager: false)
    #expect(during.losses == after.losses && during.losses[0].count == 4)
    for r in 0..<2 {
      for (a, b) in [(during.trainers[r].gradients, after.trainers[r].gradients), (during.trainers[r].student, after.trainers[r].student), (during.trainers[r].teacher, after.trainers[r].teacher)] {
        for (x, y) in zip(a.tensors, b.tensors) { #expect(x.floats() == y.floats()) }
      }
    }
    // One step's parts: each float of the gradients once, the last tensors first; then what else is added up, at the end.
    let count = during.ranks[0].begun.count / 4, first = Array(during.ranks[0].begun[..<count]), gradients = first.dropLast()
    #expect(gradients.map(\.part.upperBound) == [during.trainers[0].gradients.ranges.last!.upperBound] + gradients.dropLast().map(\.part.lowerBound) && gradients.last?.part.lowerBound == 0)
    #expect(during.ranks[1].begun.map(\.part) == during.ranks[0].begun.map(\.part))
    #expect(gradients.count > 4 && Set(gradients.map(\.looks)).count > 3, "\(first)")
    // The head's are there when the backbone's have not begun.
    #expect(Double(first[0].looks) < 0.75 * Double(first[count - 1].looks), "\(first)")
  }

  /// What is told of an epoch is of all ranks' images, and each rank has it.
  @Test(arguments: Kind.allCases) func theMeterReadsAllRanks(_ kind: Kind) throws {
    let count = 3, whole = Self.settings(batch: 2 * count, kind, .f32), own = Self.settings(batch: 2, kind, .f32), one = try Self.trainer(whole, nil)
    let meeting = ThreadRanks.Meeting(count), ranks = try (0..<count).map { try Self.trainer(own, ThreadRanks($0, of: count, meeting)) }
    var meter = CollapseMeter()
    for step in 0..<3 {
      let c = Self.crops(whole, step, all: 2 * count, part: 0..<2 * count)
      try meter.add(one.run(globals: c.0, locals: c.1), of: one)
    }
    let expected = meter.read(), found = Self.run(ranks, steps: 3, isMetered: true).readings
    let paths: [KeyPath<CollapseMeter.Reading, Double>] = [\.loss, \.viewLoss, \.teacherEntropy, \.divergence, \.marginalEntropy, \.largestShare, \.featureSpread, \.effectiveRank, \.centerNorm]
    for reading in found {
      let r = try #require(reading)
      #expect(r == found[0] && r.steps == 3 && r.activePrototypes == expected.activePrototypes && r.hasPrototypes == expected.hasPrototypes)
      for path in paths {
        let a = r[keyPath: path], b = expected[keyPath: path]
        #expect(abs(a - b) < 1e-4 * max(1, abs(b)), "\(path): \(r), one process \(expected)")
      }
    }
  }

  /// Far finer than the floats that ranks exchange.
  @Test func totalsOfRanksAreNearlyExact() throws {
    let count = 3, s = Self.settings(batch: 2, .dino, .f32), meeting = ThreadRanks.Meeting(count)
    nonisolated(unsafe) let trainers = try (0..<count).map { try Self.trainer(s, ThreadRanks($0, of: count, meeting)) }
    let values: [[Double]] = [[1000, -1e-7, 0, 1], [1000 + 1.0 / 3, -2e-7, 0, 2], [1000 + 2.0 / 3, -3e-7, 0, 4]]
    nonisolated(unsafe) var totals = [[Double]](repeating: [], count: count)
    let lock = NSLock(), done = DispatchGroup()
    for r in 0..<count {
      done.enter()
      let thread = Thread {
        defer { done.leave() }
        let sums = (try? trainers[r].total(values[r])) ?? []
        lock.withLock { totals[r] = sums }
      }
      thread.start()
    }
    done.wait()
    for found in totals {
      try #require(found.count == 4)
      #expect(found == totals[0] && found[2] == 0 && found[3] == 7)
      #expect(abs(found[0] - 3001) < 1e-9 && abs(found[1] + 6e-7) < 1e-9)
    }
  }

  @Test func whatLooksAtAWholeBatchIsRefused() throws {
    var s = Self.settings(batch: 2, .dino, .f32)
    let ranks = ThreadRanks(0, of: 2, .init(2))
    s.centering = .sinkhornKnopp
    #expect { try Self.trainer(s, ranks) } throws: { "\($0)".contains("--centering") }
    #expect(throws: Never.self) { try Self.trainer(s, nil) }
  }
}
