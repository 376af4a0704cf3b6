// What a program of a camera or a server does with a model: several pictures at once, frames, files' bytes with limits, warming up, tasks that wait and are cancelled.

import Dino
import DinoImaging
import Dispatch
import Synchronization
import TestSupport
import Testing

@Suite struct ApplicationTests {
  private static func model() throws -> DinoModel {
    try ModelTests.inFolder { folder in
      try ModelTests.writer().write(.dino, to: "\(folder)/m.safetensors")
      return try DinoModel(contentsOf: "\(folder)/m.safetensors")
    }
  }

  @Test(arguments: [1, 2, 4, 9]) func manyPicturesAreEachOne(_ batch: Int) throws {
    let model = try Self.model()
    let images = [(40, 50), (64, 36), (36, 36), (50, 40), (90, 37)].enumerated().map { ModelTests.photograph(width: $1.0, height: $1.1, seed: UInt64($0)) }
    let rows = try model.features(images, batch: batch)
    #expect(rows.count == images.count)
    for (row, image) in zip(rows, images) { #expect(try row == model.features(image)) }
    let none: [Image] = []
    #expect(try model.features(none).isEmpty)
    #expect(throws: DinoError.self) { try model.features(images, batch: 0) }
  }

  @Test func aFrameIsThePhotograph() throws {
    let model = try Self.model(), image = ModelTests.photograph(width: 41, height: 37)
    var frame: [UInt8] = []
    for y in 0..<image.height {
      for x in 0..<image.width { frame += [image[x, y, 2], image[x, y, 1], image[x, y, 0], 255] }
      frame += [1, 2, 3]
    }
    #expect(try model.features(DinoModel.image(width: 41, height: 37, bytesPerRow: 41 * 4 + 3, layout: .bgra, bytes: frame.span)) == model.features(image))
    #expect { try DinoModel.image(width: 41, height: 38, layout: .bgra, bytes: frame.span) } throws: { ($0 as? DinoError)?.kind == .usage }
  }

  @Test func limitsBoundBytesFromStrangers() throws {
    let bytes = Array("P6 40 30 255\n".utf8) + [UInt8](repeating: 9, count: 3600)
    #expect(try DinoModel.image(bytes: bytes).width == 40)
    var limits = DecodeOptions()
    limits.maximumPixels = 1000
    #expect(throws: DinoError.self) { try DinoModel.image(bytes: bytes, name: "upload", limits: limits) }
    var preparer = try Self.model().preparer()
    preparer.decoding = limits
    #expect(throws: DinoError.self) { try preparer.decode(ImageInput(name: "upload", place: .bytes(bytes))) }
    preparer.followsOrientation = true
    #expect(preparer.decoding.applyOrientation && preparer.decoding.maximumPixels == 1000)
  }

  @Test func warmingUpChangesNoNumber() throws {
    let cold = try Self.model(), warm = try Self.model(), image = ModelTests.photograph(width: 50, height: 40)
    try warm.warmUp(height: 32, width: 32)
    #expect(try warm.features(image) == cold.features(image))
    #expect(throws: DinoError.self) { try warm.warmUp(height: 0, width: 32) }
    #expect(throws: DinoError.self) { try warm.warmUp(height: 32, width: 32, outputs: ["nothing"]) }
  }

  @Test func tasksAskWithoutWaitingThreads() async throws {
    let model = try Self.model(), images = (0..<6).map { ModelTests.photograph(width: 40, height: 40, seed: UInt64($0)) }
    let expected = try images.map { try model.features($0) }
    let rows = try await withThrowingTaskGroup(of: (Int, [Float]).self) { group in
      for (i, image) in images.enumerated() { group.addTask { (i, try await model.background { model throws(DinoError) in try model.features(image) }) } }
      return try await group.reduce(into: [Int: [Float]]()) { $0[$1.0] = $1.1 }
    }
    for i in images.indices { #expect(rows[i] == expected[i]) }
    await #expect { try await model.background { _ throws(DinoError) in throw DinoError(.data, "told") } } throws: { ($0 as? DinoError)?.message == "told" }
  }

  @Test func aCancelledTaskIsNotDone() async throws {
    let model = try Self.model(), gate = DispatchSemaphore(value: 0), hasBegun = Flag(), isDone = Flag()
    // What is asked first keeps the others waiting.
    let first = Task {
      try await model.background { _ throws(DinoError) in
        hasBegun.set()
        gate.wait()
      }
    }
    while !hasBegun.isSet { await Task.yield() }
    let second = Task { try await model.background { _ throws(DinoError) in isDone.set() } }
    second.cancel()
    gate.signal()
    try await first.value
    await #expect { try await second.value } throws: { ($0 as? DinoError)?.kind == .interrupted }
    #expect(!isDone.isSet)
  }
}

private final class Flag: Sendable {
  private let value = Atomic(false)
  var isSet: Bool { value.load(ordering: .relaxed) }
  func set() { value.store(true, ordering: .relaxed) }
}
