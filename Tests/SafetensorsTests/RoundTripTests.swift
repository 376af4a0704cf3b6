// Written and read again: the same tensors; the reference library's bytes; and nothing lost when writing fails.

import DinoTensor
import Foundation
import Safetensors
import Testing
import TestSupport

/// A tensor of random bytes.
func randomTensor(_ dtype: DType, _ shape: Shape, _ generator: inout SplitMix64) -> Tensor {
  let bytes = (0..<dtype.byteCount(of: shape.count)!).map { _ in UInt8.random(in: 0...255, using: &generator) }
  let raw = Tensor.copy(bytes, dtype: .u8, shape: [bytes.count])
  return Tensor(dtype: dtype, shape: shape, storage: raw.storage, byteOffset: 0)!
}

func bytes(of tensor: Tensor) -> [UInt8] { tensor.storage.bytes(tensor.byteRange) }

@Suite struct RoundTripTests {
  static func randomSet(_ seed: UInt64) -> (tensors: [(name: String, tensor: Tensor)], metadata: [String: String]) {
    var generator = SplitMix64(seed: seed)
    var tensors: [(name: String, tensor: Tensor)] = []
    for i in 0..<Int.random(in: 0...12, using: &generator) {
      let dtype = DType.allCases.randomElement(using: &generator)!
      var dims = (0..<Int.random(in: 0...4, using: &generator)).map { _ in Int.random(in: 0...5, using: &generator) }
      // A type narrower than a byte needs a multiple of four elements.
      if dtype.bitWidth < 8 { dims.append(4) }
      let name = ["w", "ä.weight", "a\"b\\c\n", "blocks.0.attn.qkv.weight", "🦕", ""].randomElement(using: &generator)! + "\(i)"
      tensors.append((name, randomTensor(dtype, Shape(dims), &generator)))
    }
    let metadata = Bool.random(using: &generator) ? [:] : ["format": "pt", "dino.config": "{\"a\":\"\\\"\u{1}\"}", "é": "line\nline"]
    return (tensors, metadata)
  }

  @Test(arguments: 0..<60) func writtenAndRead(_ seed: UInt64) throws {
    let (tensors, metadata) = RoundTripTests.randomSet(seed)
    let folder = try Fixtures.temporaryFolder()
    defer { try? FileManager.default.removeItem(at: folder) }
    let path = folder.appendingPathComponent("x.safetensors").path
    try SafetensorsWriter.write(tensors, metadata: metadata, to: path)
    let file = try SafetensorsFile(path: path)
    #expect(file.metadata == metadata)
    #expect(Set(file.names) == Set(tensors.map(\.name)))
    for (name, tensor) in tensors {
      let read = try #require(file.tensor(name))
      #expect(read.dtype == tensor.dtype && read.shape == tensor.shape && bytes(of: read) == bytes(of: tensor))
      // rule S21: aligned to its own width.
      if tensor.dtype.bitWidth >= 8 { #expect(read.byteOffset % (tensor.dtype.bitWidth / 8) == 0) }
    }
    // rule S22, rule S24: padded; the order given does not matter.
    let written = [UInt8](try Data(contentsOf: URL(fileURLWithPath: path)))
    #expect(written[0] % 8 == 0)
    #expect(try SafetensorsWriter.bytes(tensors.reversed(), metadata: metadata) == written)
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path) == ["x.safetensors"])
  }

  /// rule S23: the reference library's own files, read and written again, are the same bytes.
  @Test(arguments: ["every_type", "odd_shapes", "nothing"]) func sameBytesAsTheReference(_ name: String) throws {
    let path = Fixtures.path("safetensors/\(name).safetensors")
    let file = try SafetensorsFile(path: path)
    let again = try SafetensorsWriter.bytes(file.names.map { ($0, file.tensor($0)!) }, metadata: file.metadata)
    #expect(again == [UInt8](try Data(contentsOf: URL(fileURLWithPath: path))))
  }

  @Test func valuesOfTheReference() throws {
    let file = try SafetensorsFile(path: Fixtures.path("safetensors/every_type.safetensors"))
    #expect(file.metadata == ["format": "pt"])
    for name in file.names {
      let tensor = try #require(file.tensor(name))
      #expect(tensor.shape == [2, 3])
      guard tensor.dtype.convertsToFloat else { continue }
      #expect(tensor.floats() == (tensor.dtype == .bool ? [0, 1, 0, 1, 0, 1] : [0, 1, 2, 3, 4, 5]), "\(name)")
    }
    #expect(file.names.count == 16)
    #expect(file.tensor("t.missing") == nil)
  }

  /// rule S25: a map of the old file stays what it was, even when the new file is made from it.
  @Test func rewritingUnderAMap() throws {
    let folder = try Fixtures.temporaryFolder()
    defer { try? FileManager.default.removeItem(at: folder) }
    let path = folder.appendingPathComponent("x.safetensors").path
    var generator = SplitMix64(seed: 1)
    let original = randomTensor(.f32, [1000], &generator)
    try SafetensorsWriter.write([("w", original)], metadata: [:], to: path)
    let mapped = try SafetensorsFile(path: path)
    try SafetensorsWriter.write([("w", mapped.tensor("w")!), ("v", randomTensor(.f32, [3], &generator))], metadata: [:], to: path)
    #expect(bytes(of: mapped.tensor("w")!) == bytes(of: original))
    #expect(bytes(of: try SafetensorsFile(path: path).tensor("w")!) == bytes(of: original))
  }

  /// rule S25: a failure leaves what was there, and nothing else.
  @Test func failuresLeaveNothing() throws {
    let folder = try Fixtures.temporaryFolder()
    defer { try? FileManager.default.removeItem(at: folder) }
    let path = folder.appendingPathComponent("x.safetensors").path
    let tensor = Tensor([1], shape: [1])
    try SafetensorsWriter.write([("w", tensor)], metadata: [:], to: path)
    let before = try Data(contentsOf: URL(fileURLWithPath: path))
    #expect(throws: SafetensorsError.cannotStore(path: path, .duplicateTensor("a"))) {
      try SafetensorsWriter.write([("a", tensor), ("a", tensor)], metadata: [:], to: path)
    }
    #expect(throws: SafetensorsError.cannotStore(path: path, .duplicateTensor("e\u{301}"))) {
      try SafetensorsWriter.write([("é", tensor), ("e\u{301}", tensor)], metadata: [:], to: path)
    }
    #expect(throws: SafetensorsError.cannotStore(path: path, .reservedName)) {
      try SafetensorsWriter.write([("__metadata__", tensor)], metadata: [:], to: path)
    }
    // rule S2, when writing.
    let error = #expect(throws: SafetensorsError.self) {
      try SafetensorsWriter.write([("w", tensor)], metadata: ["k": String(repeating: "x", count: 100_000_000)], to: path)
    }
    guard case .cannotStore(_, .headerTooLarge)? = error else { Issue.record("\(String(describing: error))"); return }
    #expect(try Data(contentsOf: URL(fileURLWithPath: path)) == before)
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path) == ["x.safetensors"])
    for place in [folder.path, "/dev/null", folder.appendingPathComponent("none/x").path] {
      let error = #expect(throws: SafetensorsError.self) { try SafetensorsWriter.write([("w", tensor)], metadata: [:], to: place) }
      guard case .cannotWrite? = error else { Issue.record("\(place): \(String(describing: error))"); continue }
    }
  }
}
